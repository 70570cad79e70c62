"""Where two scores of generated texts disagree, and why.

The reason is found by experiment: a list of small rewritings, each with its name ("full-width brackets", "letter case"), is
applied to the output one at a time; the first one under which the two scores agree is the reason.

>>> from xtl.scoring.paper import PAPER
>>> from xtl.scoring.strict import STRICT
>>> pair = ParallelPair("s", "t", options=(" (A)", " (B)"), gold=1, id="1")
>>> compare(PAPER["global_opinion_qa"], STRICT, [("（B）", pair), ("(B)", pair)])[["output", "paper", "strict", "reason"]]
  output  paper  strict               reason
0    （B）    0.0     1.0  full-width brackets
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pandas as pd

from xtl.errors import InputError
from xtl.pairs import ParallelPair
from xtl.scoring.cues import denials
from xtl.scoring.normalise import fold, tokens
from xtl.scoring.paper import LABELS_KEY
from xtl.scoring.squad import answer_lines, answer_words
from xtl.scoring.strict import choose
from xtl.scoring.tags import read
from xtl.scoring.text import TextScore

Case = tuple[str, ParallelPair]
"""A generated text and the pair that it answers."""

Rewriting = Callable[[str, ParallelPair], Case]

COLUMNS = ("id", "direction", "output", "gold")
OTHER = "other"


def compare(first: TextScore, second: TextScore, cases: Iterable[Case]) -> pd.DataFrame:
    """The outputs that two scores rate differently.

    Args:
        first: a score.
        second: another score, with another name.
        cases: generated texts with their pairs.

    Returns:
        A row for each disagreement, in order: `id`, `direction`, `output`, `gold` (the gold option with its label, or the first
        accepted answer), a column of ratings for each score by its name, `reason`.

    Raises:
        InputError: the two scores have the same name; a pair lacks what a score needs.
    """
    if first.name == second.name:
        raise InputError(f"the two scores are both named {first.name!r}; give two that differ")
    rows = []
    for output, pair in cases:
        ratings = first.rate(output, pair), second.rate(output, pair)
        if ratings[0] != ratings[1]:
            rows.append((pair.id, pair.direction, output, _gold(pair), *ratings, reason(first, second, output, pair)))
    return pd.DataFrame(rows, columns=[*COLUMNS, first.name, second.name, "reason"])


def reason(first: TextScore, second: TextScore, output: str, pair: ParallelPair) -> str:
    """Name of the first rewriting of an output, or of its pair's labels, under which the scores agree; "other" if none does."""
    for name, rewrite in REWRITINGS.items():
        case = rewrite(output, pair)
        if case != (output, pair) and first.rate(*case) == second.rate(*case):
            return name
    return OTHER


def _gold(pair: ParallelPair) -> str:
    if pair.options is not None and pair.gold is not None:
        label = "" if pair.labels is None else f" {pair.labels[pair.gold]}"
        return pair.options[pair.gold].strip() + label
    return next(iter(pair.answers or ()), pair.answer or "")


def _ascii_brackets(output: str, pair: ParallelPair) -> Case:
    return output.replace("（", "(").replace("）", ")"), pair


def _plain_labels(output: str, pair: ParallelPair) -> Case:
    """Labels without a non-breaking space or a tag in front."""
    labels: Sequence[str] | None = pair.meta.get(LABELS_KEY, pair.labels)
    if labels is None:
        return output, pair
    plain = [re.sub(r"^\s*\(\w+\)\s*", "", label).replace("\xa0", " ") for label in labels]
    if plain == list(labels):
        return output, pair
    return output, replace(pair, labels=plain, meta=pair.meta | {LABELS_KEY: plain})


def _without_markup(output: str, pair: ParallelPair) -> Case:
    return re.sub(r"[*_`]", "", output), pair


def _without_case(output: str, pair: ParallelPair) -> Case:
    labels = pair.meta.get(LABELS_KEY, pair.labels)
    if labels is None:
        return output.casefold(), pair
    lower = [label.casefold() for label in labels]
    return output.casefold(), replace(pair, meta=pair.meta | {LABELS_KEY: lower})


def _without_larger_words(output: str, pair: ParallelPair) -> Case:
    """Without the words that have a gold label or an accepted answer in them and are longer."""
    golds = [fold(gold).strip() for gold in _golds(pair)]
    if not all(golds):
        return output, pair
    kept = []
    for word in re.split(r"(\s+)", output):
        parts = [token.text for token in tokens(fold(word)) if token.kind == "word"]
        larger = any(gold in part and gold != part for gold in golds for part in parts)
        kept.append("" if larger else word)
    return "".join(kept), pair


def _first_line(output: str, pair: ParallelPair) -> Case:
    return answer_lines(output)[0], pair


def _first_sentence(output: str, pair: ParallelPair) -> Case:
    return answer_lines(output)[-1], pair


def _normal_form(output: str, pair: ParallelPair) -> Case:
    """Output and answers with plain characters (NFKC) and digits."""
    if pair.answers is None:
        return _plain(output), pair
    return _plain(output), replace(pair, answers=[_plain(answer) for answer in pair.answers])


def _plain(text: str) -> str:
    return re.sub(r"\d", lambda digit: str(int(digit.group())), unicodedata.normalize("NFKC", text))


def _only_words_that_count(output: str, pair: ParallelPair) -> Case:
    """Output and answers without punctuation and articles."""
    if pair.answers is None:
        return output, pair

    def bare(text: str) -> str:
        return " ".join(answer_words(text, pair.target_lang))

    return bare(answer_lines(output)[0]), replace(pair, answers=[bare(answer) for answer in pair.answers])


def _gold_alone(output: str, pair: ParallelPair) -> Case:
    """The gold label or answer instead of what is around it."""
    found = next((gold for gold in _golds(pair) if gold.lower() in output.lower()), None)
    return (output if found is None else found), pair


def _gold_tag_alone(output: str, pair: ParallelPair) -> Case:
    if pair.options is None or pair.gold is None or fold(pair.options[pair.gold]).strip(" ()") not in fold(output):
        return output, pair
    return f"({_tag(pair, pair.gold)})", pair


def _without_denials(output: str, pair: ParallelPair) -> Case:
    """Without "not", in the words of `xtl.scoring.cues`; only for questions with options."""
    if pair.options is None:
        return output, pair
    unwanted = denials(pair.target_lang)
    return "".join(word for word in re.split(r"(\s+)", output) if (fold(word),) not in unwanted), pair


def _first_tag(output: str, pair: ParallelPair) -> Case:
    """Cut behind the first tag in brackets, where there are more."""
    tags = list(re.finditer(r"\(\w\)", output))
    return (output[: tags[0].end()] if len(tags) > 1 else output), pair


def _bracketed_tag(output: str, pair: ParallelPair) -> Case:
    """The first bare tag of the option that the strict score reads, in brackets."""
    chosen = None if pair.options is None or pair.gold is None else choose(output, pair)
    if chosen is None:
        return output, pair
    tag = _tag(pair, chosen)
    return re.sub(
        rf"[(\[{{]?(?<![A-Za-z0-9]){tag}(?![A-Za-z0-9])[)\]}}.:]?", f"({tag})", output, count=1, flags=re.IGNORECASE
    ), pair


def _latin_tag(output: str, pair: ParallelPair) -> Case:
    """Tags of other scripts as A, B, C or 1, 2, 3."""
    numbers = any(char.isdigit() for char in "".join(pair.options or ()))
    signs = string.digits[1:] if numbers else string.ascii_uppercase

    def latin(match: re.Match[str]) -> str:
        places = [place for place in read(fold(match.group()), numbers) if place < len(signs)]
        return match.group() if match.group().isascii() or len(places) != 1 else signs[places[0]]

    return re.sub(r"(?<!\w)\w(?!\w)", latin, output), pair


def _canonical_tag(output: str, pair: ParallelPair) -> Case:
    """The option that the strict score reads, as "(B)"."""
    chosen = None if pair.options is None or pair.gold is None else choose(output, pair)
    return (output if chosen is None else f"({_tag(pair, chosen)})"), pair


def _tag(pair: ParallelPair, index: int) -> str:
    return re.sub(r"\W", "", (pair.options or ())[index])


def _golds(pair: ParallelPair) -> Sequence[str]:
    if pair.options is not None and pair.gold is not None:
        return () if pair.labels is None else (pair.labels[pair.gold],)
    return pair.answers or ([pair.answer] if pair.answer else ())


REWRITINGS: dict[str, Rewriting] = {
    "full-width brackets": _ascii_brackets,
    "label never matches (non-breaking space)": _plain_labels,
    '"not" before the answer': _without_denials,
    "Markdown": _without_markup,
    "letter case": _without_case,
    "gold inside another word": _without_larger_words,
    "text after the first line": _first_line,
    "text after the first sentence": _first_sentence,
    "Unicode form": _normal_form,
    "punctuation or articles": _only_words_that_count,
    "words around the answer": _gold_alone,
    "another option named later": _first_tag,
    "tag without both brackets": _bracketed_tag,
    "tag of another script": _latin_tag,
    "no tag in brackets": _canonical_tag,
    "label does not go with the tag": _gold_tag_alone,
}
"""Reasons and the rewritings that show them, in the order in which they are tried."""
