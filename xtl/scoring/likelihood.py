"""Likelihood scores: the log-probability of the right continuation, over all of its tokens.

With options: log p(gold) - log sum_k p(option k), the log-probability of the gold option *among the options*; an instance is
*correct* where the gold option is the likeliest. With an answer: log p(answer). Natural logarithm, so the unit is nats.
An option's log-probability is the sum over its tokens, each given the prompt and the option's earlier tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xtl.backend import Model, check_fits, encode_continuation
from xtl.errors import InputError, Whole, as_whole
from xtl.pairs import Prompt, check_question

UNIT = "nats"


@dataclass(frozen=True)
class Question:
    """What is scored after the target prompt: continuations as token ids, and which one is right.

    Attributes:
        continuations: token ids of each option, or of the answer alone.
        gold: index of the right continuation (0 for an answer).
        has_options: whether the score is among options.
    """

    continuations: tuple[tuple[int, ...], ...]
    gold: int
    has_options: bool

    @property
    def description(self) -> str:
        """The score in words."""
        if self.has_options:
            return "log-probability of the gold option among the options"
        return "log-probability of the answer"

    def score(self, logprobs: Float[Tensor, "*cells continuation"]) -> Float[Tensor, "*cells"]:
        """The score, in nats, from each continuation's log-probability."""
        gold = logprobs[..., self.gold]
        return gold - torch.logsumexp(logprobs, dim=-1) if self.has_options else gold

    def correct(self, logprobs: Float[Tensor, "*cells continuation"]) -> Bool[Tensor, "*cells"]:
        """Whether the gold option is the likeliest one (only with options)."""
        return logprobs.argmax(dim=-1) == self.gold


def prepare_question(
    model: Model,
    target: Prompt,
    target_ids: list[int],
    options: tuple[str, ...] | None,
    gold: Whole | None,
    answer: str | None,
) -> Question:
    """Tokenise what is to be scored, and refuse what can't be told apart.

    Raises:
        InputError: neither options nor an answer; two options with the same tokens; a continuation over the context.
    """
    check_question(options, gold, answer)
    if options is None and answer is None:
        raise InputError("nothing to score: give options with gold, or answer (or max_new_tokens, to generate)")
    texts = tuple(options) if options is not None else (answer or "",)
    continuations = tuple(tuple(encode_continuation(model, target, target_ids, text)) for text in texts)
    for index, ids in enumerate(continuations):
        check_fits(model, f"target with {texts[index]!r}", len(target_ids) + len(ids) - 1)
        if ids in continuations[:index]:
            other = texts[continuations.index(ids)]
            raise InputError(
                f"options {other!r} and {texts[index]!r} have the same tokens: the model can't tell them apart"
            )
    return Question(continuations, as_whole(gold) or 0, options is not None)
