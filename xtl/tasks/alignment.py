"""Are two files the same questions, row by row? A check of parallel data, from gold labels and from what the texts share.

A transplant means nothing unless source and target are the same instance. Row numbers alone don't make them so: in the paper's
release, the German `XNLI_unseen` leaves the order of the other languages at row 210. Two kinds of evidence are weighed for
each row, as the logarithm of how much likelier it is if the rows belong together than if they don't:

- *gold labels*: the same question has the same gold. Two that differ prove a fault. Two that agree may do so by chance (a
  third of the time with three labels), so that the first difference is no proof that the rows before it are sound;
- *texts*: translations keep numbers and names, and have lengths in proportion. Lines that most rows share are no evidence.

The sum over rows rises while files are parallel and falls when they are not any more; where it is highest, they part. Short
sentences with no number or name (XCOPA) say little: there the gold labels decide.

>>> report = check_alignment([f"row {n} costs {n}" for n in range(100, 140)], [f"Zeile {n} kostet {n}" for n in range(100, 140)])
>>> report.parallel
True
>>> check_alignment(["a", "b", "c"], ["A", "B", "C"], ["1", "2", "1"], ["1", "2", "2"]).start
2
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xtl.errors import InputError, check_flag

PROOF = 8.0
"""Evidence (nats) that texts must give against a row and all after it before they count as no translations."""
SAME_GOLD = 0.999  # how often the golds of one question agree in two languages
SAME_ANCHOR = 0.85  # how often a number or a name survives translation
LENGTH_SPREAD = 0.22  # spread of the logarithm of the ratio of lengths, between translations
LIMIT = 8.0  # no row alone says more than this (nats)


@dataclass(frozen=True)
class Alignment:
    """What a check found.

    Attributes:
        n_rows: number of rows compared.
        gold_differs: rows (from 0) whose gold labels differ.
        start: first row that is not to be trusted, and with it all after it; None where the files are parallel.
        evidence: what the rows from `start` on say against being parallel, in nats.
    """

    n_rows: int
    gold_differs: tuple[int, ...] = ()
    start: int | None = None
    evidence: float = 0.0

    @property
    def parallel(self) -> bool:
        """Whether all rows can be used."""
        return self.start is None

    def describe(self) -> str:
        """The finding in words, with the rows.

        >>> Alignment(1000, (210, 211, 212, 216), 210, 50.0).describe()
        'not parallel from row 210 on: gold labels differ in 4 of the 790 rows from there (210-212, 216)'
        """
        if self.start is None:
            return f"{self.n_rows} rows parallel"
        after = self.n_rows - self.start
        if self.gold_differs:
            rows = _ranges(self.gold_differs)
            found = f"gold labels differ in {len(self.gold_differs)} of the {after} rows from there ({rows})"
            if self.start < self.gold_differs[0]:
                found += f", and the texts of the rows before {self.gold_differs[0]} do not belong together either"
        else:
            found = f"numbers, names and lengths of the {after} rows from there do not belong together"
        about = "" if self.gold_differs else "about "
        return f"not parallel from {about}row {self.start} on: {found}"


def check_alignment(
    source: Sequence[str],
    target: Sequence[str],
    source_golds: Sequence[str] | None = None,
    target_golds: Sequence[str] | None = None,
    *,
    texts: bool = True,
) -> Alignment:
    """Compare two files row by row.

    Args:
        source: the prompts in one language.
        target: the prompts in another, as many.
        source_golds: gold labels of the first, where they don't depend on the language.
        target_golds: gold labels of the second.
        texts: whether to look at the texts; not needed where rows were matched by an id of the data.

    Raises:
        InputError: unequal counts.
    """
    check_flag("texts", texts)
    if len(source) != len(target):
        raise InputError(f"unequal counts: {len(source)} source and {len(target)} target prompts")
    differs: tuple[int, ...] = ()
    weights = text_evidence(source, target) if texts else [0.0] * len(source)
    if source_golds is not None and target_golds is not None:
        differs = tuple(row for row, (a, b) in enumerate(zip(source_golds, target_golds, strict=True)) if a != b)
        golds = _gold_evidence(source_golds, target_golds)
        weights = [text + gold for text, gold in zip(weights, golds, strict=True)]
    start, evidence = _part(weights)
    if evidence < PROOF:
        start = len(source)
    elif not differs:
        start = _surely_parallel(weights)
    if differs:
        start = min(start, differs[0])
    if start == len(source):
        return Alignment(len(source))
    return Alignment(len(source), differs, start, round(-sum(weights[start:]), 1))


def text_evidence(source: Sequence[str], target: Sequence[str]) -> list[float]:
    """For each row, how much likelier its texts are as translations than as strangers (nats).

    >>> weights = text_evidence(["1492", "1789", "1914"], ["im Jahr 1492", "im Jahr 1914", "im Jahr 1789"])
    >>> weights[0] > 0 > weights[2]
    True
    """
    sources, targets = _varying(source), _varying(target)
    n_rows = len(sources)
    if n_rows < 2:
        return [0.0] * n_rows
    lengths = [[math.log(1 + len(text)) for text in texts] for texts in (sources, targets)]
    ratios = [b - a for a, b in zip(*lengths, strict=True)]
    middle = statistics.median(ratios)
    strangers = max(1.5 * LENGTH_SPREAD, math.sqrt(sum(statistics.pvariance(values) for values in lengths)))
    anchors = [[_anchors(text) for text in texts] for texts in (sources, targets)]
    counts = [Counter(anchor for found in side for anchor in found) for side in anchors]
    rare = {
        anchor
        for anchor in counts[0]
        if counts[1][anchor] > 0 and max(c[anchor] for c in counts) <= max(1, n_rows / 10)
    }
    weights = []
    for row in range(n_rows):
        distance = ratios[row] - middle
        weight = max(_log_normal(distance, LENGTH_SPREAD) - _log_normal(distance, strangers), -LIMIT / 2)
        for anchor in anchors[0][row] & rare:
            chance = min(counts[1][anchor] / n_rows, 0.5)
            both = anchor in anchors[1][row]
            weight += math.log(SAME_ANCHOR / chance) if both else math.log((1 - SAME_ANCHOR) / (1 - chance))
        weights.append(min(max(weight, -LIMIT), LIMIT))
    return weights


def _gold_evidence(source: Sequence[str], target: Sequence[str]) -> list[float]:
    """For each row, how much likelier its two golds are if they are one question's."""
    shares = [Counter(golds) for golds in (source, target)]
    chance = sum(shares[0][gold] * shares[1][gold] for gold in shares[0]) / max(1, len(source)) ** 2
    agree = math.log(SAME_GOLD / max(chance, 1e-6))
    differ = math.log((1 - SAME_GOLD) / max(1 - chance, 1e-6))
    return [agree if a == b else differ for a, b in zip(source, target, strict=True)]


def _part(weights: Sequence[float]) -> tuple[int, float]:
    """Where the running sum is highest (how many rows lie before), and how far it falls from there to the end."""
    best, best_at, total = 0.0, 0, 0.0
    for row, weight in enumerate(weights):
        total += weight
        if total > best:
            best, best_at = total, row + 1
    return best_at, best - total


def _surely_parallel(weights: Sequence[float]) -> int:
    """How many rows to keep where texts alone tell: as few as still fit nearly as well as the best guess."""
    best = max(0.0, *itertools.accumulate(weights))
    sums = [0.0, *itertools.accumulate(weights)]
    return next(row for row, total in enumerate(sums) if total >= best - PROOF)


def _varying(prompts: Sequence[str]) -> list[str]:
    """The prompts without the lines that a fifth of them share: instructions, option words."""
    counts = Counter(line for prompt in prompts for line in set(prompt.split("\n")))
    limit = max(3, len(prompts) / 5)
    return ["\n".join(line for line in prompt.split("\n") if counts[line] < limit) for prompt in prompts]


def _anchors(text: str) -> set[str]:
    """What survives translation: numbers, in any script's digits, and capitalised words in Latin letters."""
    text = unicodedata.normalize("NFKC", text)
    digits = "".join(str(unicodedata.digit(char, " ")) if char.isdigit() else char for char in text)
    numbers = {number.lstrip("0") or "0" for number in re.findall(r"\d+", digits)}
    return numbers | {word.casefold() for word in re.findall(r"[A-Z][A-Za-z]{2,}", text)}


def _log_normal(value: float, spread: float) -> float:
    return -0.5 * (value / spread) ** 2 - math.log(spread)


def _ranges(rows: Sequence[int], most: int = 8) -> str:
    """Rows as ranges, the first few.

    >>> _ranges([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    spans: list[list[int]] = []
    for row in rows:
        if spans and row == spans[-1][1] + 1:
            spans[-1][1] = row
        else:
            spans.append([row, row])
    parts = [str(first) if first == last else f"{first}-{last}" for first, last in spans[:most]]
    return ", ".join(parts + (["..."] if len(spans) > most else []))
