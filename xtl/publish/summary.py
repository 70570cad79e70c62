"""The summary of a report: what a careful reader may take from the results, in words and as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from xtl.errors import InputError
from xtl.publish.sections import MEASURES, Section
from xtl.results import NOISE, mean_maps
from xtl.results.means import in_words as means_in_words
from xtl.stats import held_out
from xtl.stats.intervals import MIN_FOR_MEAN

N_SPLITS = 50
"""Halvings behind the held-out numbers."""


def summary_rows(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """A row a section and module: vanilla, the best cell in-sample, and what a best cell gains held out; None where unknown."""
    return [row for index, section in enumerate(sections) for row in _rows(index, section)]


def _rows(index: int, section: Section) -> list[dict[str, Any]]:
    measure = next(iter(section.maps))
    held = _held_out(section)
    rows = []
    for m, module in enumerate(section.modules):
        values = section.maps[measure][m]
        row: dict[str, Any] = {"section": index, "module_index": m, "module": module, "n": section.n}
        row["vanilla"] = _mean(section, "vanilla_correct")
        if np.isfinite(values).any():
            i, j = np.unravel_index(int(np.where(np.isfinite(values), values, -np.inf).argmax()), values.shape)
            row["best"] = float(values[i, j])
            if row["best"] <= NOISE:  # of cells that gain nothing none is the best
                rows.append(row | held.get(module, {}))
                continue
            row |= {"i": int(i), "j": int(j)}
            row["cell"] = f"{section.layers[0][i]} → {section.layers[1][j]}"
            accuracy = section.maps.get("accuracy")
            if accuracy is not None:
                row["accuracy"] = row["vanilla"] + float(accuracy[m, i, j])
        rows.append(row | held.get(module, {}))
    return rows


def in_words(sections: Sequence[Section], rows: Sequence[dict[str, Any]]) -> list[str]:
    """Sentences about all sections together."""
    directions = len({(s.model, s.task, s.direction) for s in sections})
    tasks = [name for name in dict.fromkeys(s.task for s in sections) if name]
    models = [name for name in dict.fromkeys(s.model for s in sections) if name]
    n = sum(s.n for s in sections)
    cells = sorted({s.maps[next(iter(s.maps))].size for s in sections})
    where = f" of {_listed(tasks)}" if tasks else ""
    what = f" Model: {_listed(models)}." if models else ""
    lines = [
        f"{_count(n, 'instance')} in {_count(directions, 'direction')}{where}, "
        f"each with {' or '.join(f'{c:,}' for c in cells)} transplants.{what}"
    ]
    tested = [row for row in rows if row.get("held_low") is not None]
    if tested:
        clear = [row for row in tested if row["held_low"] > 0]
        line = (
            "Held out (the best cell is chosen on one half of the instances and measured on the other, "
            f"{N_SPLITS} random halvings), it gains clearly, with the whole 95% interval above zero, in {len(clear)} "
            f"of {len(tested)} combinations of direction and module"
        )
        if clear:
            best = max(clear, key=lambda row: row["held"])
            section = sections[best["section"]]
            line += f"; the most in {section.name} with {best['module']}: {signed(best['held'])} {section.unit}"
            if best.get("held_accuracy") is not None:
                line += f", {percent(best['vanilla'])} right without and {percent(best['held_accuracy'])} with it"
        lines.append(line + ".")
        if len(tested) > 1:
            lucky = max(0.025 * len(tested), 0.1)
            lines.append(f"Without any effect, about {lucky:.1f} of {len(tested)} would look clear by chance.")
    elif any("held" in row for row in rows):
        lines.append(
            f"Held-out gains are given without intervals, so that none is called clear: {MIN_FOR_MEAN} instances are needed. "
            "Among fewer, rare large losses may be unseen."
        )
    elif any("gain" in s.maps for s in sections):
        lines.append(
            "There are too few instances to measure the best cells on others than those that they were chosen on: the gains "
            "below are in-sample, so too large."
        )
    return lines


def section_words(section: Section) -> list[str]:
    """Sentences about one section."""
    if "gain" in section.maps:
        return means_in_words(mean_maps(section.data), section.direction)
    measure, values = next(iter(section.maps.items()))
    if not np.isfinite(values).any():
        return ["Nothing was measured."]
    m, i, j = np.unravel_index(int(np.nanargmax(values)), values.shape)
    cell = f"{section.modules[m]} {section.layers[0][i]} → {section.layers[1][j]}"
    if measure == "changed":
        return [
            f"Answers were not scored. On average a transplant changes {percent(float(np.nanmean(values)))} of them; {cell} "
            f"changes the most ({percent(float(values[m, i, j]))} of {section.n})."
        ]
    return [
        f"The largest {MEASURES[measure]} is that of {cell}: {points(float(values[m, i, j]))} (in-sample, n = {section.n})."
    ]


def signed(value: float | None) -> str:
    """Three decimals with a sign; a dash where there is no value.

    >>> signed(-0.25), signed(None)
    ('−0.250', '–')
    """
    return "–" if value is None or not np.isfinite(value) else f"{value:+.3f}".replace("-", "−")


def percent(value: float | None) -> str:
    """A share in per cent; a dash where there is no value."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.0%}"


def points(value: float) -> str:
    """A difference of shares."""
    return f"{100 * value:+.0f} percentage points".replace("-", "−")


def _held_out(section: Section) -> dict[str, dict[str, float]]:
    """Held-out gain and accuracy by module; empty where the data don't allow it."""
    if "gain" not in section.data:
        return {}
    try:
        table = held_out(section.data, n_splits=N_SPLITS)
    except InputError:  # too few instances, or gaps: the page says that it has none
        return {}
    rows = {}
    for record in table.to_dict("records"):
        row = {"held": record["gain"]}
        if np.isfinite(record["gain_low"]):
            row |= {"held_low": record["gain_low"], "held_high": record["gain_high"]}
        if not pd.isna(record.get("accuracy", np.nan)):
            row["held_accuracy"] = record["accuracy"]
        rows[str(record["module"])] = row
    return rows


def _mean(section: Section, name: str) -> float | None:
    return float(section.data[name].astype("float64").mean()) if name in section.data else None


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
