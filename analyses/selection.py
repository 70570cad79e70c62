"""How much of the upper bound can be had without knowing the answer?

Method: selectors (`xtl.selectors`) learn on half of the questions and choose a cell, or an answer, for the other half, whose
golds they are not given; 20 random halves, each used both ways, all languages of a question on one side, settings chosen by folds
inside a half. What they get is compared with vanilla, with the best fixed cell, with asking in the source language, with the
paper's upper bound (arXiv 2412.12686), and with what luck leaves of that (`xtl.selectors.headroom`). Each is judged twice more in
the same way: on the control's maps, and with golds of other questions to learn from.

How to read the figures: `cost_figure` has a mark a selector, accuracy against forward passes a question; what lies higher and
further left is better. `gain_figure` has each one's gain over vanilla, and its two nulls, which must not lie above 0: a selector
whose null does gains by something else than the question's own activations.

What would falsify the claim that a cell can be chosen without the answer: no selector above the best fixed cell, or nulls
above 0.

>>> from xtl import selectors
>>> data = compute(*selectors.simulate(planted={("attn", 1, 2): 3.0}), selectors=["vote", "vote_best"], n_splits=5)
>>> print(in_words(data, "none")[0])
The best selector, vote_best, is right in 95% of n = 120 examples: +59 points [+44, +67] over vanilla (36%).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from xtl.analysis import Analysis, Request
from xtl.errors import check_choice, known_keywords
from xtl.plots.selection import cost_figure, gain_figure
from xtl.results import Maps, as_results, check_computed, per_example
from xtl.selectors import Selector, evaluate
from xtl.stats.intervals import bracket

_check = functools.partial(
    check_computed, made_by="analyses.selection.compute(real, controls)", holds=["accuracy", "null_holds"]
)
NEW = {"none": "new questions", "language": "new questions in new languages", "task": "new questions of another task"}
"""What selectors are judged on."""


@known_keywords(name="selection.compute")
def compute(
    real: Maps,
    controls: Maps | Sequence[Maps] = (),
    *,
    selectors: str | Sequence[str | Selector] = "all",
    across: Sequence[str] | None = None,
    n_splits: int = 20,
    seed: int = 0,
    told: Callable[[str], None] | None = None,
) -> xr.Dataset:
    """Judge selectors on new questions, and in new languages and of a new task where there are several.

    Args:
        real: with `details="options"` or more.
        controls: a control, or several.
        selectors: names, objects, or "all".
        across: some of `NEW`; None for all that the maps allow.
        n_splits, seed, told: as for `xtl.selectors.evaluate`.

    Returns:
        Dataset (across, selector): the columns of `xtl.selectors.evaluate`.

    Raises:
        InputError: see `xtl.selectors.evaluate`.
    """
    real = as_results(real, "real")
    names = list(across) if across is not None else _possible(real)
    tables = [evaluate(real, controls, selectors, across=one, n_splits=n_splits, seed=seed, told=told) for one in names]
    parts = [_typed(table).to_xarray().reindex(selector=tables[0].index.to_numpy()) for table in tables]
    data = xr.concat(parts, dim=xr.Variable("across", names))
    attrs = {key: value for key, value in tables[0].attrs.items() if key != "across"}
    return data.assign_attrs(attrs)


def _possible(real: xr.Dataset) -> list[str]:
    several = {"language": "target_lang", "task": "task"}
    return ["none", *(name for name, coord in several.items() if len(set(per_example(real, coord))) > 1)]


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Columns as netCDF can hold them: numbers, and texts; `null_holds` 1, 0 or NaN."""
    texts = ["kind", "settings", "reason"]
    numbers = table.drop(columns=texts).astype("float64")
    return numbers.join(table[texts].fillna("").astype(str))


def table(data: xr.Dataset, across: str = "none") -> pd.DataFrame:
    """The table of `xtl.selectors.evaluate` for one of `NEW`."""
    _check(data)
    check_choice("across", across, map(str, data["across"].values))
    found = data.sel(across=across).drop_vars("across").to_dataframe()
    found.attrs = {**data.attrs, "across": across}
    return found


def in_words(data: xr.Dataset, across: str) -> list[str]:
    """Which selector is best, against what, whether its nulls hold, what share of the headroom that is, and what it costs.

    Args:
        data: result of `compute`.
        across: one of `NEW` that it holds.

    Raises:
        InputError: another one.
    """
    rows = _rows(data, across)
    judged = {name: row for name, row in rows.items() if row["kind"] == "selector" and np.isfinite(row["accuracy"])}
    if not judged:
        why = dict.fromkeys(row["reason"] for row in rows.values() if row["reason"])
        return [f"No selector could be judged: {'; '.join(why)}."]
    name = max(judged, key=lambda one: judged[one]["accuracy"])
    best, fixed, vanilla = judged[name], rows["fixed"], rows["vanilla"]
    words = [
        f"The best selector, {name}, is right in {best['accuracy']:.0%} of n = {data.attrs['n']} examples: "
        f"{_points(best, 'gain')} over vanilla ({vanilla['accuracy']:.0%}).",
        f"The best fixed cell has {fixed['accuracy']:.0%} for {fixed['passes']:.1f} passes; {name} takes {best['passes']:.1f} "
        f"and is better with p = {best['p_fixed']:.2g}.",
    ]
    habit = rows["vanilla_contrast"]["accuracy"]
    if np.isfinite(habit):
        words.append(f"Vanilla less the control's habits, which needs no source, has {habit:.0%}.")
    return words + _of_headroom(rows, name) + _of_nulls(best)


def _rows(data: xr.Dataset, across: str) -> dict[str, dict[str, Any]]:
    return {
        str(name): {str(key): value for key, value in row.items()}
        for name, row in table(data, across).to_dict("index").items()
    }


def _of_headroom(rows: dict[str, dict[str, Any]], name: str) -> list[str]:
    if "corrected bound" not in rows:
        return ["Without a control nobody knows how much of the upper bound is luck."]
    upper, luck, corrected = (rows[f"{one} bound"]["accuracy"] for one in ("upper", "chance", "corrected"))
    words = f"Some cell solves {upper:.0%}, of a control {luck:.0%}; the corrected bound is {corrected:.0%}"
    best = rows[name]
    if np.isnan(best["share"]):
        return [words + ", no more than vanilla for sure, so that no share of it can be told."]
    ends = bracket(100 * best["share_low"], 100 * best["share_high"], ".0f")
    return [words + f", and {name} gets {100 * best['share']:.0f}% {ends} of what lies between it and vanilla."]


def _of_nulls(best: dict[str, Any]) -> list[str]:
    names = {"shuffled": "on the control's maps", "permuted": "with other questions' golds"}
    said = [f"{_points(best, key)} {words}" for key, words in names.items() if np.isfinite(best[key])]
    if not said:
        return []
    held = "its nulls hold" if len(said) == 2 else "this null holds"
    verdict = held if best["null_holds"] == 1 else "a null does not hold, so the gain is not the question's own"
    words = [f"Trained and judged in the same way it gains {' and '.join(said)}: {verdict}."]
    if np.isfinite(best["p_null"]):
        words.append(f"On the real maps it is better than on the control's with p = {best['p_null']:.2g}.")
    return words + ([f"But {best['reason']}."] if best["reason"] else [])


def _points(row: dict[str, Any], name: str) -> str:
    value, low, high = (100 * row[name + end] for end in ("", "_low", "_high"))
    return f"{value:+.0f} points {bracket(low, high, '+.0f')}"


def words(data: xr.Dataset) -> list[str]:
    """All sentences, each after what selectors were judged on."""
    _check(data)
    return [f"{NEW[one]}: {said}" for one in map(str, data["across"].values) for said in in_words(data, one)]


def figure(data: xr.Dataset) -> go.Figure:
    """Each selector's gain over vanilla on new questions, and its nulls.

    Args:
        data: result of `compute`.
    """
    return gain_figure(table(data, str(data["across"].values[0])))


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    _check(data)
    found: dict[str, go.Figure] = {}
    for one in map(str, data["across"].values):
        end = "" if one == "none" else f"_{one}"
        found[f"selection{end}"] = gain_figure(table(data, one))
        found[f"selection_cost{end}"] = cost_figure(table(data, one))
    return found


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse selection` computes."""
    return compute(request.open_run(), request.open_controls())


ANALYSIS = Analysis(
    "selection", "How much of the upper bound can be had without knowing the answer?", "run and control",
    from_request=from_request, figures=figures, words=words, several_controls=True,
)  # fmt: skip
