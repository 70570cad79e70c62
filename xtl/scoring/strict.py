"""The strict score: the first answer that a generated text commits to, in any form, language and script.

For a question with options, `choose` reads which option an output names; it is right if that is the gold one. Read as an answer:

- a tag in brackets or quotes, anywhere: "(B)", "[B]", "（Ｂ）", "**(B)**", "\\boxed{B}";
- a bare tag where an answer may stand (the start of a line, after a colon, after a word such as "is", "answer", "option", 答案):
  "B", "B)", "B. No", "option B", "the answer is B", "**B**"; digits and letters of other scripts too (see `xtl.scoring.tags`);
- an option's label, as whole words, in the same places: "Neutral", "Respuesta: neutral".

It is no answer, and scores 0, where the output names no option; names two at once ("A or B", "(1) (2)"); has a tag and another
option's label together ("(1) Neutral" where (2) is neutral); lists the options (the next line starts with another tag); or has a
tag that can be read as two options ("В": B, or the third letter). "Not B" is skipped. Whatever comes after the first answer is
ignored.

A letter that is also a word ("A good one", Russian "в", Spanish "y") needs a sign or its own label behind it, a number too
("2 people"). What it can't do: understand a sentence. "They contradict each other" names no option, "B is wrong" names B.

For a question with answers instead of options, strict is the exact match of `xtl.scoring.squad`.

>>> pair = ParallelPair("s", "t", options=(" (A)", " (B)"), labels=("Yes", "No"), gold=1)
>>> [choose(output, pair) for output in ("The answer is B.", "（Ｂ） No", "no", "(A) No", "A or B", "Bad")]
[1, 1, 1, None, None, None]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import regex

from xtl.errors import InputError
from xtl.pairs import ParallelPair
from xtl.scoring.cues import AFTER, JOINS, LEADS, LONGEST, NAMES, denials
from xtl.scoring.normalise import UNSPACED, Token, check_gold, fold, tokens, words
from xtl.scoring.squad import EM
from xtl.scoring.tags import LONE_WORDS, read
from xtl.scoring.text import TextScore

_OPEN = frozenset("([{「『【〔〈《«‹“„‘\"'")
_CLOSE = frozenset(")]}」』】〕〉》»›”“’\"'")
_AFTER_TAG = frozenset(".,:;!?)]}-–—/、。·؛،۔।】」』”’\"'") | frozenset("|<$")
_DECOR = _OPEN | _CLOSE | frozenset("-–—•·#>~$\\+←→⇒")
_MARKUP = frozenset("*_`")
_SENTENCE_ENDS = frozenset(".!?。؟۔।")
_JOIN_SIGNS = frozenset(",/&+、،")
_UNSPACED = regex.compile(f"[{UNSPACED}]")


@dataclass(frozen=True)
class _Options:
    """A question's options, folded: the tag of each (None where options are words), and whose label which words are."""

    tags: tuple[str, ...] | None
    numbers: bool
    places: tuple[frozenset[int], ...]
    labels: dict[tuple[str, ...], frozenset[int]]

    def tagged(self, symbol: str) -> frozenset[int]:
        """The options whose tag a folded word can be."""
        if self.tags is None:
            return frozenset()
        if symbol in self.tags:
            return frozenset({self.tags.index(symbol)})
        places = read(symbol, self.numbers)
        return frozenset(k for k, own in enumerate(self.places) if len(own) == 1 and own <= places)


def choose(output: str, pair: ParallelPair) -> int | None:
    """The index of the option that a generated text commits to first, or None.

    Raises:
        InputError: the pair has no options.
    """
    check_gold("strict", pair.gold)
    options = _prepare(tuple(pair.options or ()), None if pair.labels is None else tuple(pair.labels))
    return _Reader(options, denials(pair.target_lang), tokens(fold(output))).choose()


def _rate(output: str, pair: ParallelPair) -> float:
    if pair.options is not None:
        return float(choose(output, pair) == pair.gold)
    if pair.answers is None and pair.answer is None:
        raise InputError("score 'strict' needs a pair with options and gold, or with answers; this one has neither")
    return EM.rate(output, pair)


STRICT = TextScore(
    "strict", "the first option that the text commits to, in any form; exact match without options", _rate
)


@lru_cache(maxsize=1024)
def _prepare(options: tuple[str, ...], labels: tuple[str, ...] | None) -> _Options:
    split = [words(option) for option in options]
    symbols = tuple(some[0] if len(some) == 1 else "" for some in split)
    numbers = all(read(symbol, True) for symbol in symbols)
    places = tuple(read(symbol, numbers) for symbol in symbols)
    tags = symbols if all(places) and len(set(symbols)) == len(symbols) else None
    found: dict[tuple[str, ...], frozenset[int]] = {}
    for k in range(len(options)):
        names = [] if labels is None else [_label_words(labels[k], symbols[k] if tags else None)]
        names += [] if tags else [split[k]]
        for name in names:
            if name:
                found[name] = found.get(name, frozenset()) | {k}
    return _Options(tags, numbers, places, found)


def _label_words(label: str, tag: str | None) -> tuple[str, ...]:
    """The words of a label, without its own tag where it starts with it, in brackets or before one ("(1) Yes", "A. Yes")."""
    parts = tokens(fold(label))
    at = 1 if parts and parts[0].text in _OPEN else 0
    if tag and len(parts) > at + 1 and parts[at].text == tag and parts[at + 1].text in ").]:":
        parts = parts[at + 2 :]
    return tuple(part.text for part in parts if part.kind == "word")


@dataclass(frozen=True)
class _Mention:
    """Options that are named from one token on, and the token behind."""

    options: frozenset[int]
    end: int
    is_tag: bool


class _Reader:
    def __init__(self, options: _Options, denials: frozenset[tuple[str, ...]], parts: Sequence[Token]) -> None:
        self.options = options
        self.denials = denials
        self.parts = [part for part in parts if part.text not in _MARKUP]
        self.longest_label = max((len(label) for label in options.labels), default=0)

    def choose(self) -> int | None:
        for at, part in enumerate(self.parts):
            mention = None if part.kind == "newline" else self.mention(at)
            if mention is not None and not self.is_denied(at):
                return self.settle(at, mention)
        return None

    def mention(self, at: int) -> _Mention | None:
        """The option named at a token, if any."""
        return self.bracketed(at) or (self.bare(at) if self.is_place_for_answer(at) else None)

    def bracketed(self, at: int) -> _Mention | None:
        if self.sign(at) in _OPEN and self.sign(at + 2) in _CLOSE and self.parts[at + 1].kind == "word":
            options = self.options.tagged(self.parts[at + 1].text)
            return _Mention(options, at + 3, True) if options else None
        return None

    def bare(self, at: int) -> _Mention | None:
        """A tag without brackets, or a label, from this token on."""
        label = self.label(at)
        if self.parts[at].kind != "word" or (label and label.end > at + 1):
            return label
        options = self.options.tagged(self.parts[at].text)
        if options and (self.stands_alone(at, options) or self.is_joined_to_another(at + 1)):
            return _Mention(options, at + 1 + (self.sign(at + 1) in _SENTENCE_ENDS | _CLOSE), True)
        return label

    def label(self, at: int) -> _Mention | None:
        """The longest label that starts at this token; signs within don't matter."""
        best = None
        said: list[str] = []
        while at < len(self.parts) and self.parts[at].kind != "newline" and len(said) < self.longest_label:
            if self.parts[at].kind == "word":
                said.append(self.parts[at].text)
                options = self.options.labels.get(tuple(said))
                best = _Mention(options, at + 1, False) if options else best
            elif not said:
                return None
            at += 1
        return best

    def stands_alone(self, at: int, options: frozenset[int]) -> bool:
        """Whether a tag without brackets is one, and no word or number of a sentence."""
        if at + 1 >= len(self.parts) or self.parts[at + 1].kind == "newline":
            return True
        symbol, following = self.parts[at].text, self.parts[at + 1]
        behind = self.label(self.skip_signs(at + 1))
        if behind is not None and behind.options & options:
            return True
        word_like = symbol in LONE_WORDS or not symbol.isascii() or symbol.isdigit()
        if following.kind == "sign":
            return self.is_sign_after_tag(at + 1, word_like)
        if self.phrase(at + 1, AFTER) or self.phrase_before(at, NAMES):
            return True
        return symbol.isalpha() and symbol.isascii() and (not word_like or not following.text[0].isascii())

    def is_joined_to_another(self, at: int) -> bool:
        """Whether "or" or "and" and another option come here: "A or (B)", and the A of "A or A or (B)"."""
        while (joining := self.phrase(at, JOINS)) and at + joining < len(self.parts):
            at += joining
            options = self.options.tagged(self.parts[at].text)
            if self.bracketed(at) or self.label(at) or (options and self.stands_alone(at, options)):
                return True
            if not options:
                return False
            at += 1
        return False

    def is_sign_after_tag(self, at: int, word_like: bool) -> bool:
        sign = self.sign(at)
        if sign in _OPEN - _CLOSE:
            return not word_like
        if sign not in _AFTER_TAG or (sign in "'’" and self.is_joined_word(at + 1)):
            return False
        if sign in "-–—" and self.is_joined_word(at + 1):
            return False  # "e-mail", "1-2"
        part = self.parts[at + 1].text if self.is_joined_word(at + 1) else ""
        letter = len(part) == 1 and not _UNSPACED.match(part)  # where words have no spaces, each character is a part
        return not (sign in ".,:" and (letter or part.isdigit()))  # "U.S.", "1.5", "2:30"

    def is_joined_word(self, at: int) -> bool:
        return at < len(self.parts) and self.parts[at].kind == "word" and not self.parts[at].spaced

    def is_place_for_answer(self, at: int) -> bool:
        """Whether an answer without brackets may start here: at the start of a line, after a colon or a word that leads to it."""
        before = self.back_over(at, _DECOR)
        if before < 0 or self.parts[before].kind == "newline" or self.sign(before) in {":", "="}:
            return True
        return self.phrase_before(before + 1, LEADS) > 0 or self.phrase_before(before + 1, NAMES) > 0

    def is_denied(self, at: int) -> bool:
        """Whether "not" stands right before, or before the word that leads here ("is not B", "不是B")."""
        end = self.back_over(at, _OPEN) + 1
        lead = self.phrase_before(end, LEADS | NAMES)
        return self.phrase_before(end, self.denials) > 0 or (
            lead > 0 and self.phrase_before(end - lead, self.denials) > 0
        )

    def settle(self, at: int, mention: _Mention) -> int | None:
        """The one option that a mention commits to, or None: see what stands right behind it."""
        options, end = mention.options, mention.end
        label = self.label(self.skip_signs(end)) if mention.is_tag else None
        if label is not None:
            options, end = options & label.options, label.end
        ended = label is None and self.sign(end - 1) in _SENTENCE_ENDS  # "B. (A) is wrong"
        if len(options) != 1 or (not ended and self.names_another(end, options)):
            return None
        return None if mention.is_tag and self.is_list(at, end, options) else next(iter(options))

    def names_another(self, at: int, options: frozenset[int]) -> bool:
        """Whether a second option follows: a tag in brackets at once, anything else behind a comma, a slash, "and" or "or"."""
        joined = False
        while at < len(self.parts) and self.parts[at].kind != "newline" and self.sign(at) not in _SENTENCE_ENDS:
            second = self.bracketed(at) or (self.bare(at) if joined else None)
            if second is not None:
                return not (second.options & options)
            joining = self.phrase(at, JOINS)
            if self.parts[at].kind == "word" and not joining:
                return False
            joined = joined or joining > 0 or self.sign(at) in _JOIN_SIGNS
            at += max(1, joining)
        return False

    def is_list(self, at: int, end: int, options: frozenset[int]) -> bool:
        """Whether the mention starts a line and the next line starts with another tag."""
        before = self.back_over(at, _DECOR)
        if before >= 0 and self.parts[before].kind != "newline":
            return False
        while end < len(self.parts) and self.parts[end].kind != "newline":
            end += 1
        start = end + 1
        while self.sign(start) in _DECOR - _OPEN:
            start += 1
        if start >= len(self.parts) or self.parts[start].kind == "newline":
            return False
        following = self.mention(start)
        return following is not None and following.is_tag and not (following.options & options)

    def sign(self, at: int) -> str:
        """The sign at a position, or "" where there is none."""
        return self.parts[at].text if 0 <= at < len(self.parts) and self.parts[at].kind == "sign" else ""

    def skip_signs(self, at: int) -> int:
        while self.sign(at):
            at += 1
        return at

    def back_over(self, at: int, signs: frozenset[str]) -> int:
        """The last position before `at` that holds none of the signs."""
        at -= 1
        while self.sign(at) in signs and self.sign(at):
            at -= 1
        return at

    def phrase(self, at: int, phrases: frozenset[tuple[str, ...]]) -> int:
        """How many tokens from a position on are one of the phrases, at most; 0 if none."""
        texts = tuple(part.text for part in self.parts[at : at + LONGEST])
        return max((n for n in range(1, len(texts) + 1) if texts[:n] in phrases), default=0)

    def phrase_before(self, end: int, phrases: frozenset[tuple[str, ...]]) -> int:
        """How many tokens right before a position are one of the phrases, at most; 0 if none."""
        texts = tuple(part.text for part in self.parts[max(0, end - LONGEST) : max(0, end)])
        return max((n for n in range(1, len(texts) + 1) if texts[-n:] in phrases), default=0)
