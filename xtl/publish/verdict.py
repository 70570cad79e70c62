"""The first sentence of a report: does a transplant help here, how sure is that, and where?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from xtl.publish.sections import MEASURES, Section
from xtl.publish.summary import held_out_rows, percent, points, signed, strength
from xtl.results import NOISE
from xtl.stats.intervals import MIN_FOR_MEAN

Row = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What a page answers first.

    Attributes:
        answer: in a few words.
        because: a sentence: where, how much, with interval and control.
        how: how the numbers were measured; may be empty.
        best: rows of the summary of the two best maps, the best one first.
    """

    answer: str
    because: str
    how: str
    best: list[Row]


def verdict(sections: Sequence[Section], rows: Sequence[Row]) -> Verdict:
    """The answer of the results, from the rows of `xtl.publish.summary.summary_rows`."""
    best = sorted(rows, key=strength, reverse=True)[:2]
    row = best[0]
    section = sections[row["section"]]
    answer, because, how = _answer(section, row, sum("held_low" in one for one in rows))
    if name := section.data.attrs.get("control"):
        how = f"These are the maps of a control, {name}: what they gain, the question did not do. {how}".strip()
    return Verdict(answer, because, how, best)


def _answer(section: Section, row: Row, tested: int) -> tuple[str, str, str]:
    if "gain" not in section.maps:
        return _without_gains(section, row)
    if "best" not in row:
        return "No gain was measured.", f"No cell has a value (n = {row['n']}).", ""
    if "i" not in row:
        return "No transplant helps here.", f"No cell has a mean gain above zero (n = {row['n']}).", ""
    if "held_low" in row:
        return _tested(section, _corrected(section, row, tested), tested)
    return "Too few instances to say whether a transplant helps.", _few(section, row), ""


def _corrected(section: Section, row: Row, tested: int) -> Row:
    """The row with intervals that hold for the best of all combinations (Bonferroni)."""
    if tested == 1:
        return row
    module = [row["module_index"]]
    control = None if section.control is None else section.control.isel(module=module)
    alone = replace(section, data=section.data.isel(module=module), control=control)
    found = held_out_rows(alone, confidence=1 - 0.05 / tested)
    return row | found.get(row["module"], {})


def _tested(section: Section, row: Row, tested: int) -> tuple[str, str, str]:
    gain = f"{amount(row['held'], section.unit)} ({_interval(row, 'held', section.unit)})"
    where = f"{row['module']} in {section.name or 'all'}"
    over, name = _over(section, row)
    how = f"Measured on instances that the cell was not chosen on (n = {row['instances']})"
    how += f"; the intervals hold for the best of {tested} combinations of direction and module." if tested > 1 else "."
    if row["held"] <= NOISE:
        return "No transplant helps here.", f"The best, {where}, has {gain}{over}.", how
    if row["held_low"] <= 0:
        because = f"The most, with {where}, is {gain}{over}.{_would_do(row)}"
        return "Whether a transplant helps is not clear.", because, how
    because = f"With {where} the right answer gains {gain}{over}. Best cell: {row['cell']}.{_right(row)}"
    if not name:
        return "A transplant helps here, as far as can be said without a control.", because, how
    if row.get("over_low", 0) > 0:
        return "A transplant helps here.", because, how
    return f"A transplant helps here, but not clearly more than the control {name}.", because, how


def _over(section: Section, row: Row) -> tuple[str, str]:
    """What the gain is over the control, and the control's name; empty where there is none."""
    if section.control is None or "over" not in row:
        return "", ""
    name = str(section.control.attrs.get("control") or "control")
    ends = f" ({_interval(row, 'over', section.unit, '')})" if "over_low" in row else ""
    return f"; over the control {name} it is {amount(row['over'], section.unit)}{ends}", name


def _few(section: Section, row: Row) -> str:
    over, n = "", row["instances"]
    if "best_over" in row and section.control is not None:
        name = section.control.attrs.get("control") or "control"
        over = f" ({amount(row['best_over'], section.unit)} over the control {name})"
    chosen = f" on the {n} instances that it was chosen on" if n > 1 else " in the one instance there is"
    held = f", and {amount(row['held'], section.unit)} on others" if "held" in row else ""
    told = f"{row['module']} {row['cell']} in {section.name or 'all'}, gains {amount(row['best'], section.unit)}"
    return f"The best cell, {told}{chosen}{over}{held}.{_right(row, 'accuracy')}{_would_do(row)}"


def _without_gains(section: Section, row: Row) -> tuple[str, str, str]:
    measure = next(iter(section.maps))
    because = "Nothing changed."
    if "cell" in row:
        value = percent(row["best"]) if measure == "changed" else points(row["best"])
        where = f"{row['module']} {row['cell']} in {section.name or 'all'}"
        because = f"The {MEASURES[measure]} is largest with {where}: {value} (n = {row['n']})."
    if measure == "changed":
        return "Answers were not scored, so this page can't say whether a transplant helps.", because, ""
    return "Only right answers are known, and no cell was measured on others than it was chosen on.", because, ""


def _would_do(row: Row) -> str:
    """How many instances would show it."""
    wanted = row.get("needed")
    if row["instances"] < MIN_FOR_MEAN:
        return f" An interval takes {MIN_FOR_MEAN} instances or more."
    if wanted is None or wanted <= row["instances"]:
        return ""
    return f" About {wanted:,} instances would show a gain of this size."


def _right(row: Row, name: str = "held_accuracy") -> str:
    if row.get(name) is None or row.get("vanilla") is None:
        return ""
    guessing = f", {percent(row['chance'])} by guessing" if row.get("chance") is not None else ""
    return f" Right: {percent(row[name])} with it, {percent(row['vanilla'])} without{guessing}."


def _interval(row: Row, name: str, unit: str, words: str = "95% interval ") -> str:
    low, high = (_number(row[f"{name}_{end}"], unit) for end in ("low", "high"))
    return f"{words}{low} to {high}"


def amount(value: float, unit: str) -> str:
    """A gain with its unit; shares in percentage points.

    >>> amount(-0.5, "nats"), amount(0.125, "fraction right")
    ('−0.50 nats', '+12 points')
    """
    return f"{_number(value, unit)} {'points' if unit == 'fraction right' else unit}"


def _number(value: float, unit: str) -> str:
    return signed(100 * value if unit == "fraction right" else value, 0 if unit == "fraction right" else 2)
