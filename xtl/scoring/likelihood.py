"""Likelihood scores: the log-probability of the right continuation, over all of its tokens, raw or by its length.

With options: log p(gold) - log sum_k p(option k), the log-probability of the gold option *among the options*; an instance is
*correct* where the gold option is likelier than every other. With an answer: log p(answer). Natural logarithm: the unit is nats.
An option's log-probability is the sum over its tokens, each given the prompt and the option's earlier tokens.

A sum favours short options: each token more is another factor below 1. *Length-normalised*, an option counts with its
log-probability per token or per UTF-8 byte, v_k = log p(option k) / n_k. The score among options is then
v_gold - log sum_k exp(v_k): the log of the gold option's share where each option weighs as much as its tokens (bytes) are likely
on average (their geometric mean). That is no probability of the model; only a score of the same normalisation compares with it.

Options that are equally likely to within rounding are *tied*, and a tie at the top is not right, whichever option comes first.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xtl.backend import Model
from xtl.errors import InputError, Whole, as_whole, check_choice
from xtl.pairs import Prompt, check_question
from xtl.results.units import NORMALISATIONS, UNITS
from xtl.tokens import check_fits, continue_prompt

TIE = 1e-5
"""Log-probabilities (nats) nearer than this are tied: float32 rounding decides which is larger."""


@dataclass(frozen=True)
class Question:
    """What is scored after the target prompt: continuations as token ids, and which one is right.

    Attributes:
        continuations: token ids of each option, or of the answer alone.
        gold: index of the right continuation (0 for an answer).
        has_options: whether the score is among options.
        texts: the continuations as texts, whose UTF-8 bytes are counted.
        alone: for each, whether it was tokenised alone, since it merges with the prompt's last token.
        normalise: what the score divides log-probabilities by; a key of `NORMALISATIONS`.
    """

    continuations: tuple[tuple[int, ...], ...]
    gold: int
    has_options: bool
    texts: tuple[str, ...] = ()
    alone: tuple[bool, ...] = ()
    normalise: str = "none"

    @property
    def description(self) -> str:
        """The score in words."""
        if self.normalise == "none":
            return f"log-probability of the {'gold option among the options' if self.has_options else 'answer'}"
        per = f"log-probability per {self.normalise}"
        return (
            f"log share of the gold option among the options, by {per}" if self.has_options else f"{per} of the answer"
        )

    @property
    def unit(self) -> str:
        """The score's unit."""
        return UNITS[self.normalise]

    @property
    def kept(self) -> tuple[str, ...]:
        """Normalisations whose scores a result keeps beside the one that was chosen: all, once any is asked for.

        Not otherwise: what the scores of options of different lengths need over the raw one is a sum over the vocabulary for each
        token that they share, as much as the rest of a map takes.
        """
        return () if self.normalise == "none" else tuple(NORMALISATIONS)

    @property
    def up_to_constant(self) -> bool:
        """Whether no score that is kept changes when a number is added to all log-probabilities.

        So for the raw one, and among options of equal lengths; what is divided by different lengths changes.
        """
        return self.has_options and all(len(set(self.lengths(by))) == 1 for by in self.kept)

    @property
    def mixed(self) -> str | None:
        """An option that was tokenised alone where others were not, so that they can't be compared; None where all are alike."""
        return self.texts[self.alone.index(True)] if len(set(self.alone)) > 1 else None

    def lengths(self, normalise: str) -> list[int]:
        """What each continuation's log-probability is divided by."""
        if normalise == "none":
            return [1] * len(self.continuations)
        return [len(one) for one in (self.continuations if normalise == "token" else map(str.encode, self.texts))]

    def values(
        self, logprobs: Float[Tensor, "*cells continuation"], normalise: str | None = None
    ) -> Float[Tensor, "*cells continuation"]:
        """What continuations are compared by: their log-probabilities divided by their lengths.

        Args:
            logprobs: of the continuations, in nats.
            normalise: a key of `NORMALISATIONS`; the question's own by default. Likewise below.
        """
        normalise = normalise or self.normalise
        return logprobs if normalise == "none" else logprobs / logprobs.new_tensor(self.lengths(normalise))

    def score(
        self, logprobs: Float[Tensor, "*cells continuation"], normalise: str | None = None
    ) -> Float[Tensor, "*cells"]:
        """The score, from each continuation's log-probability."""
        compared = self.shares(logprobs, normalise) if self.has_options else self.values(logprobs, normalise)
        return compared[..., self.gold]

    def shares(
        self, logprobs: Float[Tensor, "*cells option"], normalise: str | None = None
    ) -> Float[Tensor, "*cells option"]:
        """Log of each option's share among the options; nothing that all of them have in common matters."""
        values = self.values(logprobs, normalise)
        return values - torch.logsumexp(values, dim=-1, keepdim=True)

    def choice(self, logprobs: Float[Tensor, "*cells option"], normalise: str | None = None) -> Int[Tensor, "*cells"]:
        """The place of the likeliest option; -1 where two are tied at the top, so that none is.

        >>> two = Question(continuations=((5,), (6,)), gold=0, has_options=True)
        >>> two.choice(torch.tensor([[-1.0, -2.0], [-2.0, -1.0], [-1.0, -1.0]])).tolist()
        [0, 1, -1]
        """
        top, places = self.values(logprobs.double(), normalise).topk(2, dim=-1)
        tied = top[..., 0] - top[..., 1] <= TIE / min(self.lengths(normalise or self.normalise))
        return places[..., 0].masked_fill(tied, -1)

    def correct(
        self, logprobs: Float[Tensor, "*cells continuation"], normalise: str | None = None
    ) -> Bool[Tensor, "*cells"]:
        """Whether the gold option is likelier than every other (only with options); it is not where it ties with one.

        >>> two = Question(continuations=((5,), (6,)), gold=0, has_options=True)
        >>> two.correct(torch.tensor([[-1.0, -2.0], [-1.0, -1.0]])).tolist()
        [True, False]
        """
        return self.choice(logprobs, normalise) == self.gold

    def described(self) -> str:
        """The continuations as JSON, for a result: of each its text, tokens, UTF-8 bytes, and whether it was tokenised alone."""
        rows = zip(self.texts, self.lengths("token"), self.lengths("byte"), self.alone, strict=True)
        names = ("text", "tokens", "bytes", "alone")
        return json.dumps([dict(zip(names, row, strict=True)) for row in rows], ensure_ascii=False)


@dataclass
class MixedOptions:
    """Counts the pairs some of whose options were tokenised alone and some not, so that it is told once and not each time.

    Attributes:
        n: pairs that were seen.
        n_mixed: those of which it is true.
        example: an option that was tokenised alone.
    """

    n: int = 0
    n_mixed: int = 0
    example: str = ""

    def add(self, mixed: str | None) -> None:
        """Take a pair into account, by its question's `mixed`."""
        self.n += 1
        if mixed is not None:
            self.n_mixed += 1
            self.example = self.example or mixed

    def warn(self, stacklevel: int = 2) -> None:
        """Warn, with the count, if there were any; `stacklevel` as for `warnings.warn`, seen from the caller."""
        if self.n_mixed == 0:
            return
        which = "the options" if self.n == 1 else f"the options of {self.n_mixed} of {self.n} pairs"
        warnings.warn(
            f"some of {which} merge with the target prompt's last token (such as {self.example!r}) and were tokenised alone, the "
            "others not: their log-probabilities can't be compared. The coord 'options' says which; end the prompt, or begin all "
            "options, with a space or a sign that nothing merges with",
            stacklevel=stacklevel + 1,
        )


def prepare_question(
    model: Model,
    target: Prompt,
    target_ids: list[int],
    options: tuple[str, ...] | None,
    gold: Whole | None,
    answer: str | None,
    normalise: str = "none",
) -> Question:
    """Tokenise what is to be scored, and refuse what can't be told apart.

    Raises:
        InputError: neither options nor an answer; two options with the same tokens; a continuation over the context; an unknown
            normalisation.
    """
    check_question(options, gold, answer)
    check_choice("normalise", normalise, NORMALISATIONS)
    if options is None and answer is None:
        raise InputError("nothing to score: give options with gold, or answer (or max_new_tokens, to generate)")
    texts = tuple(options) if options is not None else (answer or "",)
    encoded = [continue_prompt(model, target, target_ids, text) for text in texts]
    continuations = tuple(tuple(one.ids) for one in encoded)
    for index, ids in enumerate(continuations):
        check_fits(model, f"target with {texts[index]!r}", len(target_ids) + len(ids) - 1)
        if ids in continuations[:index]:
            other = texts[continuations.index(ids)]
            raise InputError(
                f"options {other!r} and {texts[index]!r} have the same tokens: the model can't tell them apart"
            )
    return Question(
        continuations,
        as_whole(gold) or 0,
        options is not None,
        texts,
        tuple(one.alone for one in encoded),
        normalise,
    )
