"""Greedy answers of many rows at once; each row stops at its own end."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xtl.backend import upcast


class Best(NamedTuple):
    """The likeliest token of each row, and where it is asked for, how sure of it the model is.

    Attributes:
        tokens: token id.
        logits: its logit; NaN where any is.
        normalisers: log of the sum over the vocabulary of exp(logit).
        margins: of an answer's first token, its logit minus the second largest one.
        entropies: of an answer's first token, the distribution's entropy in nats.
    """

    tokens: Int[Tensor, " row"]
    logits: Float[Tensor, " row"]
    normalisers: Float[Tensor, " row"] | None = None
    margins: Float[Tensor, " row"] | None = None
    entropies: Float[Tensor, " row"] | None = None


class Greedy(NamedTuple):
    """Greedy answers of some rows.

    Attributes:
        tokens: -1 after a row's end.
        logits: of each token; 0 after the end.
        confidence: of each row the fields of `xtl.engine.plan.Confidence`, where they are asked for.
    """

    tokens: Int[Tensor, "row token"]
    logits: Float[Tensor, "row token"]
    confidence: Float[Tensor, "row 3"] | None = None


@runtime_checkable
class AfterPrompt(Protocol):
    """What holds the rows' keys and values, and runs one more token of each."""

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Go on with these of the present rows alone."""

    def next(self, tokens: Int[Tensor, " row"], live: Int[Tensor, " row"]) -> Best:
        """Run one more token of each present row; `live` says which of all rows they are."""


def best_of(logits: Float[Tensor, "row d_vocab"], confidence: bool = False) -> Best:
    """The likeliest token of each row; with `confidence` all that there is to say of it.

    >>> best = best_of(torch.tensor([[0.0, 2.0, -torch.inf]]), confidence=True)
    >>> best.tokens.item(), best.margins.item(), round(best.entropies.item(), 3)
    (1, 2.0, 0.365)
    """
    logits = upcast(logits)
    best, tokens = logits.max(dim=-1)
    if not confidence:
        return Best(tokens, best)
    second = logits.scatter(1, tokens[:, None], -torch.inf).amax(dim=-1)
    return Best(tokens, best, logits.logsumexp(dim=-1), best - second, entropy(logits))


def entropy(logits: Float[Tensor, "row d_vocab"]) -> Float[Tensor, " row"]:
    """Entropy of each row's distribution, in nats."""
    return torch.special.entr(logits.softmax(dim=-1)).sum(dim=-1)


def greedy(rows: AfterPrompt, first: Best, max_new_tokens: int, ends: Int[Tensor, " end"]) -> Greedy:
    """Greedy answers of each row.

    Args:
        rows: the rows, after the prompt.
        first: the first new token of each; how sure the model is of it decides whether that is said of the answers.
        max_new_tokens: most tokens a row.
        ends: tokens after which a row stops.
    """
    best = first
    tokens = torch.full((len(best.tokens), max_new_tokens), -1, device=best.tokens.device)
    logits = torch.zeros(len(best.tokens), max_new_tokens, device=best.tokens.device, dtype=best.logits.dtype)
    logprobs = logits.clone()
    live = torch.arange(len(best.tokens), device=best.tokens.device)
    for step in range(max_new_tokens):
        tokens[live, step], logits[live, step] = best.tokens, best.logits
        if best.normalisers is not None:
            logprobs[live, step] = best.logits - best.normalisers
        going, chosen = ~torch.isin(best.tokens, ends), best.tokens
        if step == max_new_tokens - 1 or not bool(going.any()):
            break
        if not bool(going.all()):
            live, chosen = live[going], chosen[going]
            rows.select(going.nonzero()[:, 0])
        best = rows.next(chosen, live)
    if first.margins is None or first.entropies is None:
        return Greedy(tokens.cpu(), logits.cpu())
    means = logprobs.sum(dim=1) / (tokens >= 0).sum(dim=1)
    return Greedy(tokens.cpu(), logits.cpu(), torch.stack([means, first.margins, first.entropies], dim=1).cpu())
