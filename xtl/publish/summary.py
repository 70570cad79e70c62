"""The summary of a report: what a careful reader may take from the results, in words and as rows of a table."""

from __future__ import annotations

import math
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
CERTAINTY = 2.8
"""Standard errors that a mean must have for a 95% interval to exclude zero in four of five samples (1.96 + 0.84)."""


def summary_rows(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """A row a section and module: vanilla, the best cell in-sample, and what a best cell gains held out; None where unknown."""
    return [row for index, section in enumerate(sections) for row in _rows(index, section)]


def _rows(index: int, section: Section) -> list[dict[str, Any]]:
    measure = next(iter(section.maps))
    held = held_out_rows(section)
    vanilla, chance = _mean(section, "vanilla_correct"), section.chance
    rows = []
    for m, module in enumerate(section.modules):
        values = section.maps[measure][m]
        row: dict[str, Any] = {"section": index, "module_index": m, "module": module, "n": section.n}
        row |= {"vanilla": vanilla, "chance": chance, "instances": instances_of(section), "needed": None}
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
            if measure in section.twins:
                row["best_over"] = float(section.twins[measure].mean[m, i, j])
        row |= held.get(module, {})
        if "i" in row and measure == "gain":
            row["needed"] = needed(section, (m, row["i"], row["j"]), row.get("held", row["best"]))
        rows.append(row)
    return rows


def strength(row: dict[str, Any]) -> tuple[bool, bool, float]:
    """What rows are ordered by: sure gains over the control first, then sure gains, then the gain (the smaller of the two)."""
    sure = row.get("held_low", -1) > 0
    for names in (("over", "held"), ("best_over", "best")):
        known = [row[name] for name in names if np.isfinite(row.get(name, np.nan))]
        if known:
            return sure and row.get("over_low", -1) > 0, sure, float(min(known))
    return False, False, -np.inf


def instances_of(section: Section) -> int:
    """How many questions a section has; examples of one id are one."""
    return len(set(_instances(section)))


def _instances(section: Section) -> list[tuple[object, ...]]:
    """The instance of each example: its id, which counts within its task; each its own where none has one."""
    own = section.data["example"].values.tolist() if "example" in section.data.coords else range(section.n)
    return [(section.task, one) for one in own]


def needed(section: Section, cell: tuple[int, int, int], gain: float) -> int | None:
    """About how many instances show a gain of this size in a 95% interval, in four of five samples; None if there is no gain.

    It goes by how much the instances of the cell differ, so that it is rough where these are few. `MIN_FOR_MEAN` at least, in
    two digits.
    """
    values = _of_instances(section, section.data["gain"].values.astype("float64")[(slice(None), *cell)])
    if gain <= NOISE or len(values) < 2 or not np.isfinite(values).all():
        return None
    wanted = max(MIN_FOR_MEAN, (CERTAINTY * float(values.std(ddof=1)) / gain) ** 2)
    step = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    return math.ceil(wanted / step) * step


def _of_instances(section: Section, values: np.ndarray) -> np.ndarray:
    """Each instance's mean over its examples."""
    if "example" not in section.data.coords:
        return values
    places = np.unique(section.data["example"].values.astype(str), return_inverse=True)[1]
    return np.asarray(np.bincount(places, values) / np.bincount(places))


def in_words(sections: Sequence[Section], rows: Sequence[dict[str, Any]]) -> list[str]:
    """Sentences about all sections together."""
    directions = len({(s.model, s.task, s.direction) for s in sections})
    tasks = [name for name in dict.fromkeys(s.task for s in sections) if name]
    models = [name for name in dict.fromkeys(s.model for s in sections) if name]
    n, n_instances = sum(s.n for s in sections), len({key for s in sections for key in _instances(s)})
    cells = sorted({s.maps[next(iter(s.maps))].size for s in sections})
    where = f" of {_listed(tasks)}" if tasks else ""
    what = f" Model: {_listed(models)}." if models else ""
    lines = [
        f"{_count(n, 'example')} of {_count(n_instances, 'instance')} in {_count(directions, 'direction')}{where}, "
        f"each with {' or '.join(f'{c:,}' for c in cells)} transplant{'' if cells == [1] else 's'}.{what}"
    ]
    tested = [row for row in rows if row.get("held_low") is not None]
    if tested:
        clear = sum(row["held_low"] > 0 for row in tested)
        lines.append(_how_many(clear, len(tested)))
    elif not any("held" in row for row in rows) and any("gain" in s.maps for s in sections):
        lines.append(
            "There are too few instances to measure the best cells on others than those that they were chosen on: all gains "
            "here are in-sample, so too large."
        )
    return [line for line in lines if line]


def _how_many(clear: int, tested: int) -> str:
    """How many combinations gain for sure, beside how many would by luck.

    >>> _how_many(0, 4)
    'Measured on instances that the cell was not chosen on, none of the 4 combinations of direction and module gains for sure.'
    """
    where = "Measured on instances that the cell was not chosen on"
    if tested == 1:
        return ""
    if not clear:
        return f"{where}, none of the {tested} combinations of direction and module gains for sure."
    verb = "gains" if clear == 1 else "gain"
    lucky = max(0.025 * tested, 0.1)
    return (
        f"{where}, {clear} of the {tested} combinations of direction and module {verb} for sure (the whole 95% interval is "
        f"above zero); by luck alone it would be about {lucky:.1f}."
    )


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


def signed(value: float | None, decimals: int = 3) -> str:
    """Three decimals, or as many as asked for, with a sign; a dash where there is no value.

    >>> signed(-0.25), signed(None)
    ('−0.250', '–')
    """
    return "–" if value is None or not np.isfinite(value) else f"{value:+.{decimals}f}".replace("-", "−")


def percent(value: float | None) -> str:
    """A share in per cent; a dash where there is no value."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.0%}"


def points(value: float) -> str:
    """A difference of shares."""
    return f"{100 * value:+.0f} percentage points".replace("-", "−")


def held_out_rows(section: Section, confidence: float = 0.95) -> dict[str, dict[str, float]]:
    """Held-out gain, accuracy and gain over the control by module, with intervals; empty where the data don't allow it.

    No intervals below `MIN_FOR_MEAN` instances, whatever the unit: they would be so wide that they invite misuse.
    """
    if "gain" not in section.data or section.data.sizes["module"] == 0:
        return {}
    try:
        table = held_out(section.data, section.control, n_splits=N_SPLITS, confidence=confidence)
    except InputError:  # too few instances, or gaps: the page says that it has none
        return {}
    rows = {}
    for record in table.to_dict("records"):
        row = {"held": record["gain"]}
        for name, ends in (("held", "gain"), ("over", "gain_over_control")):
            if ends in record:
                row[name] = record[ends]
            if record["n_instances"] >= MIN_FOR_MEAN and np.isfinite(record.get(f"{ends}_low", np.nan)):
                row |= {f"{name}_low": record[f"{ends}_low"], f"{name}_high": record[f"{ends}_high"]}
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
