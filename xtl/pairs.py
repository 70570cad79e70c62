"""Parallel pairs: the same question in two languages.

A `ParallelPair` holds a *source prompt* (where activations are read) and a *target prompt* (where one is written), with what is
needed to score the answer to the target prompt: `options` and the index `gold` of the right one, or an `answer`.
The order of languages is free: en -> es lends English knowledge to Spanish, es -> en the other way round.

>>> pair = ParallelPair(
...     source="The capital of France is", target="La capital de Francia es",
...     source_lang="en", target_lang="es", options=(" París", " Roma"), gold=0,
... )
>>> pair.direction
'en->es'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Protocol, runtime_checkable

from xtl.errors import InputError, Whole, as_whole, check_text, known_fields, shown

LISTS = ("options", "labels", "answers", "distribution", "source_options", "source_labels", "source_answers")
"""What of a pair is in an order."""


@runtime_checkable
class TokenArray(Protocol):
    """A torch tensor or NumPy array of token ids, `[pos]` or `[1, pos]` (as `model.to_tokens` gives)."""

    def tolist(self) -> list[Any]:
        """Its items as a list."""


Prompt = str | Sequence[Whole | Sequence[Whole] | TokenArray] | TokenArray
"""A prompt: text, or token ids (taken as they are, with no BOS added): a list, a range, an array, a tensor."""


@known_fields
@dataclass(frozen=True)
class ParallelPair:
    """One question in two languages, and how to score the answer.

    Args:
        source: prompt whose activations are read; text or token ids.
        target: prompt into whose forward pass one of them is written; text or token ids.
        source_lang: language code of the source prompt, if known.
        target_lang: language code of the target prompt, if known.
        options: strings that continue the target prompt; at least two, all different.
        gold: index in `options` of the right one. Required with `options`.
        answer: string that continues the target prompt. Instead of `options`, never together with them.
        labels: for each of `options` the words behind it ("Neutral" behind " (2)"), for scores that read a generated text.
        answers: the answers that count as right in a generated text, the usual one first.
        source_options: `options` as they continue the source prompt, in the same order; the target's by default. These three are
            for what the source prompt itself is answered (`in_source`) and change no score.
        source_labels: `labels` in the source's language, likewise.
        source_answers: `answers` in the source's language, likewise.
        distribution: for each of `options` the share of people who chose it; adds up to 1.
        id: name of the instance, the same in every language.
        meta: anything else worth keeping (country, row, ...).

    Raises:
        InputError: an empty prompt, one in bytes, half a character (a lone surrogate) in any text, `gold` not an index of
            `options`, an empty or repeated option, `options` with `answer`, `labels` or `distribution` that do not go with
            `options`, an empty one of `answers`.
    """

    source: Prompt
    target: Prompt
    source_lang: str | None = None
    target_lang: str | None = None
    options: Sequence[str] | None = None
    gold: Whole | None = None
    answer: str | None = None
    labels: Sequence[str] | None = None
    answers: Sequence[str] | None = None
    distribution: Sequence[float] | None = None
    id: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    source_options: Sequence[str] | None = None
    source_labels: Sequence[str] | None = None
    source_answers: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("source", "target"):
            object.__setattr__(self, name, check_prompt(name, getattr(self, name)))
        for name in ("source_lang", "target_lang"):
            if getattr(self, name) is not None:
                check_characters(name, check_text(name, getattr(self, name)))
        if isinstance(self.id, str):
            check_characters("id", self.id)
        if not isinstance(self.meta, Mapping):
            raise InputError(f"meta must hold keys and values, got {shown(self.meta)}")
        for name in LISTS:
            object.__setattr__(self, name, _listed(name, getattr(self, name)))
        check_question(self.options, self.gold, self.answer)
        object.__setattr__(self, "gold", as_whole(self.gold))
        self._check_references()
        if any(one is not None for one in (self.source_options, self.source_labels, self.source_answers)):
            try:
                self.in_source()
            except InputError as error:
                raise InputError(f"the source's own options, labels and answers: {error}") from error

    def _check_references(self) -> None:
        for name in ("labels", "distribution", "source_options", "source_labels"):
            values = getattr(self, name)
            if values is None:
                continue
            if self.options is None or len(values) != len(self.options):
                n_options = 0 if self.options is None else len(self.options)
                raise InputError(f"{name} has {len(values)} items for {n_options} options; give one for each")
        if self.labels is not None and not all(isinstance(label, str) and label.strip() for label in self.labels):
            raise InputError(f"labels must be non-empty strings, got {list(self.labels)!r}")
        if self.answers is not None:
            good = not isinstance(self.answers, str) and len(self.answers) > 0
            if not good or not all(isinstance(answer, str) and answer.strip() for answer in self.answers):
                raise InputError(f"answers must be a list of non-empty strings, got {self.answers!r}")
        for name, texts in (("labels", self.labels or ()), ("answers", self.answers or ())):
            for index, text in enumerate(texts):
                check_characters(f"{name}[{index}]", text)
        if self.distribution is None:
            return
        if not all(is_share(value) for value in self.distribution) or abs(sum(self.distribution) - 1) > 1e-3:
            raise InputError(f"distribution must be shares that add up to 1, got {list(self.distribution)!r}")

    def in_source(self) -> ParallelPair:
        """The question as the source prompt asks it: that prompt as the target, with its own options, labels and answers.

        >>> pair = ParallelPair("Say yes:", "Di sí:", options=(" sí", " no"), gold=0, source_options=(" yes", " no"))
        >>> pair.in_source().target, pair.in_source().options
        ('Say yes:', (' yes', ' no'))
        """
        options, labels, answers = self.source_options, self.source_labels, self.source_answers
        return ParallelPair(
            source=self.source,
            target=self.source,
            source_lang=self.source_lang,
            target_lang=self.source_lang,
            options=self.options if options is None else options,
            gold=self.gold,
            answer=None if answers else self.answer,
            labels=self.labels if labels is None else labels,
            answers=self.answers if answers is None else answers,
            distribution=self.distribution,
            id=self.id,
        )

    @property
    def direction(self) -> str:
        """`source->target` as language codes, `?` where unknown."""
        return f"{self.source_lang or '?'}->{self.target_lang or '?'}"


def _listed(name: str, value: Any) -> Any:
    """A list or tuple as it is, an array as a tuple; None, and a text, which is told elsewhere, as they are.

    Raises:
        InputError: anything else; above all a set, which has no order.
    """
    if value is None or isinstance(value, (list, tuple, str)):
        return value
    if isinstance(value, TokenArray) and isinstance(found := value.tolist(), list):
        return tuple(found)
    raise InputError(f"{name} must be a list or a tuple, got the {type(value).__name__} {shown(value, 80)}")


def parse_direction(text: str) -> tuple[str, str]:
    """Source and target language of a direction, written en:es, en->es or, as figures do, en → es.

    >>> parse_direction("en:es"), parse_direction("en -> *"), parse_direction("en → es")
    (('en', 'es'), ('en', '*'), ('en', 'es'))
    >>> parse_direction("en-es")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: direction 'en-es' must look like en->es or en:es
    """
    parts = [part.strip() for part in str(text).replace("->", ":").replace("→", ":").split(":")]
    if len(parts) != 2 or not all(parts):
        raise InputError(f"direction {shown(text)} must look like en->es or en:es")
    return parts[0], parts[1]


def check_pairs(pairs: object, argument: str = "pairs") -> Sequence[ParallelPair] | Iterator[ParallelPair]:
    """Pairs to iterate over: a list as it is, checked now; anything else (a generator) pair by pair, as they are taken.

    Raises:
        InputError: no iterable of pairs: None, one pair alone, a text, a dict; or something in it that is no pair.

    >>> check_pairs("capitals")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: pairs must be a list of ParallelPairs, or a generator of them, got the str 'capitals'
    """
    if isinstance(pairs, (str, bytes, Mapping, ParallelPair)) or not isinstance(pairs, Iterable):
        hint = "; put it into a list" if isinstance(pairs, ParallelPair) else ""
        what = (
            "one ParallelPair" if isinstance(pairs, ParallelPair) else f"the {type(pairs).__name__} {str(pairs)[:40]!r}"
        )
        raise InputError(
            f"{argument} must be a list of ParallelPairs, or a generator of them, got {'None' if pairs is None else what}{hint}"
        )
    if not isinstance(pairs, Sequence):
        return (_check_pair(argument, number, pair) for number, pair in enumerate(pairs))
    for number, pair in enumerate(pairs):
        _check_pair(argument, number, pair)
    return pairs


def _check_pair(argument: str, number: int, pair: object) -> ParallelPair:
    if not isinstance(pair, ParallelPair):
        raise InputError(f"{argument} must be ParallelPairs; number {number} is a {type(pair).__name__}")
    return pair


def is_share(value: object) -> bool:
    """Whether a value is a number from 0 to 1, or a little over where it was rounded.

    >>> [is_share(value) for value in (0, 0.5, 1.001, 60, -0.1, float("nan"), True, "0.5", None)]
    [True, True, True, False, False, False, False, False, False]
    """
    return isinstance(value, Real) and not isinstance(value, bool) and bool(0 <= value <= 1.1)  # type: ignore[operator]


def check_characters(name: str, text: str) -> str:
    """Return a text of whole characters, else raise an `InputError` that says where one is not.

    Python's strings can hold halves of characters (lone surrogates: a text cut in the middle of an emoji, a wrong decoding),
    which no file keeps either.

    >>> check_characters("source", "half \\ud83d")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: source has half a character at position 5 (the lone surrogate '\\ud83d'), which no tokenizer reads; ...
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} has half a character at position {error.start} (the lone surrogate {text[error.start]!r}), which no "
            "tokenizer reads; mend the text where it was cut or decoded"
        ) from None
    return text


def check_prompt(name: str, prompt: object) -> str | list[int]:
    """The prompt as a text or a plain list of token ids.

    Raises:
        InputError: anything else, nothing in it, or half a character.

    >>> import numpy
    >>> check_prompt("source", range(3)), check_prompt("source", numpy.array([[5, 7]]))
    ([0, 1, 2], [5, 7])
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise InputError(f"{name} is an empty prompt: give a text or a list of token ids")
        return check_characters(name, prompt)
    if isinstance(prompt, (bytes, bytearray, memoryview)):
        raise InputError(
            f"{name} is {type(prompt).__name__}, not text: decode it, for example with {name}.decode('utf-8')"
        )
    ids = _plain(prompt)
    if isinstance(ids, list) and len(ids) == 1 and isinstance(ids[0], list):
        ids = ids[0]  # a batch of one
    if not isinstance(ids, list):
        raise InputError(f"{name} must be a text or a list of token ids, got {type(prompt).__name__}")
    if not ids:
        raise InputError(f"{name} is an empty prompt: give at least one token id")
    tokens = [as_whole(token) for token in ids]
    wrong = [item for item, token in zip(ids, tokens, strict=True) if token is None]
    if wrong:
        raise InputError(
            f"{name} must be a text or a list of token ids, got {type(prompt).__name__} with {wrong[0]!r}, no whole number"
        )
    return [token for token in tokens if token is not None]


def _plain(value: object) -> object:
    """Lists in place of arrays, tensors, ranges and tuples, also of those inside; texts and all else as they are."""
    if isinstance(value, TokenArray):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return [_plain(item) for item in value]
    return value


MOST_OPTIONS = 10_000
"""Most options of one question: each is scored in every cell of its map."""


def check_question(options: Sequence[str] | None, gold: Whole | None, answer: str | None) -> None:
    """Raise `InputError` unless options, gold and answer fit together (all of them may be absent)."""
    if options is None:
        if gold is not None:
            raise InputError(f"gold={gold!r} was given without options; give the options that it is an index of")
        if answer is not None and not isinstance(answer, str):
            raise InputError(f"answer must be a text, got {answer!r}")
        if answer == "":
            raise InputError("answer is empty: give the text that should continue the target prompt")
        check_characters("answer", answer or "")
        return
    if answer is not None:
        raise InputError("give options with gold, or answer, not both")
    if isinstance(options, str) or len(options) < 2:
        raise InputError(f"options must be a list of at least two strings, got {options!r}")
    if len(options) > MOST_OPTIONS:
        raise InputError(f"options are {len(options):,}; a question has at most {MOST_OPTIONS:,}")
    for index, option in enumerate(options):
        if not isinstance(option, str) or not option:
            raise InputError(f"option {index} must be a non-empty string, got {option!r}")
        check_characters(f"option {index}", option)
    if len(set(options)) < len(options):
        repeated = sorted(option for option, count in Counter(options).items() if count > 1)
        raise InputError(f"options must differ; repeated: {', '.join(map(repr, repeated))}")
    right = as_whole(gold)
    if right is None:
        which = f", which is option {options.index(gold)}" if isinstance(gold, str) and gold in options else ""
        raise InputError(f"gold must be the index of the right option (0 to {len(options) - 1}), got {gold!r}{which}")
    if not 0 <= right < len(options):
        raise InputError(f"gold {gold} is not among the options; valid: 0 to {len(options) - 1}")
