"""Greedy answers of many rows at once; each row stops at its own end."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Best = tuple[Int[Tensor, " row"], Float[Tensor, " row"]]
"""The likeliest token of each row, and its logit."""


@runtime_checkable
class AfterPrompt(Protocol):
    """What holds the rows' keys and values, and runs one more token of each."""

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Go on with these of the present rows alone."""

    def next(self, tokens: Int[Tensor, " row"], live: Int[Tensor, " row"]) -> Best:
        """Run one more token of each present row; `live` says which of all rows they are."""


def greedy(
    rows: AfterPrompt, first: Best, max_new_tokens: int, ends: Int[Tensor, " end"]
) -> tuple[Int[Tensor, "row token"], Float[Tensor, "row token"]]:
    """Greedy tokens of each row, -1 after its end, and the logit of each (0 after the end).

    Args:
        rows: the rows, after the prompt.
        first: the first new token of each.
        max_new_tokens: most tokens a row.
        ends: tokens after which a row stops.
    """
    best, logit = first
    tokens = torch.full((len(best), max_new_tokens), -1, device=best.device)
    logits = torch.zeros(len(best), max_new_tokens, device=best.device, dtype=logit.dtype)
    live = torch.arange(len(best), device=best.device)
    for step in range(max_new_tokens):
        tokens[live, step], logits[live, step] = best, logit
        going = ~torch.isin(best, ends)
        if step == max_new_tokens - 1 or not bool(going.any()):
            break
        if not bool(going.all()):
            live, best = live[going], best[going]
            rows.select(going.nonzero()[:, 0])
        best, logit = rows.next(best, live)
    return tokens.cpu(), logits.cpu()
