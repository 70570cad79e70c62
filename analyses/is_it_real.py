"""Is the gain more than chance, and is it the question's own content that does it?

Method: every transplant is run twice, with the real source prompt and with a control's (such as the English question about
another country, `xtl.controls`). `compute` tests the difference in every cell by sign flips of whole instances, corrected for the
number of cells of the map, and sums up in one table: the best fixed cell, held out; the instance-aware upper bound of
XTransplant (arXiv 2412.12686), and how much of it a control reaches too.

How to read the figures: `figure` shows the maps of the real run, of the control, and of their difference; where the difference
may be chance, it is pale, and what is left has a dark border. A cell that is as blue under the control as in the real run
doesn't need the question's content. `forest` shows, per language, what is left of the gain: an interval that reaches across the
line at 0 is no finding.

What would falsify the claim that the source's content helps: no bordered blue cell in the difference, and a best fixed cell,
chosen on other instances, that does no better than the control at the same place.

>>> from xtl import stats
>>> real, control = stats.simulate(n_instances=24, planted={("attn", 2, 3): 3.0}, control=True)
>>> data = compute(real, control, n_resamples=2000, n_splits=20)
>>> data["significant"].sum().item(), bool(data["significant"].sel(module="attn", source_layer=2, target_layer=3))
(1, True)
"""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from xtl.analysis import Analysis, Request, words_of_each
from xtl.errors import InputError, check_choice, check_whole, known_keywords
from xtl.plots import controls
from xtl.results import GAIN_DIMS, Maps, check_computed, score_unit, with_control
from xtl.stats.examples import check_confidence, check_resamples, on_map, split_groups, stack
from xtl.stats.intervals import bracket, cell_intervals
from xtl.stats.paired_tests import significance
from xtl.stats.summary import QUANTITIES, summary_table

_SUMMARY = ("value", "low", "high")
_ENDS = ("low", "high", "median", "median_low", "median_high")
_check = functools.partial(
    check_computed, made_by="analyses.is_it_real.compute(real, control)", holds=["p_max", "control", "significant"]
)


@known_keywords(name="is_it_real.compute")
def compute(
    real: Maps,
    control: Maps,
    *,
    by: str = "direction",
    measure: str = "gain",
    level: float = 0.05,
    n_resamples: int = 10_000,
    n_splits: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    """Maps of real, control and their difference with tests and intervals, and the summary.

    Args:
        real, control: results of `xtl.sweep_many` with the real source and with a control's, the same target prompts.
        by: "direction", each with a map of its own, or "all": one map of all examples, clustered by instance.
        measure: "gain" or "accuracy" of the maps.
        level: of significance; intervals have the level 1 - `level`.
        n_resamples: of tests and intervals (tests take more where a map has more cells than so many could tell apart).
        n_splits: random halvings of the held-out selection.
        seed: of everything.

    Returns:
        Dataset (direction, module, source_layer, target_layer), float64:
        - `real`, `control`: means over the examples of the direction; `mean`: their difference, `low`, `high` its interval, of
          gains also `median`, `median_low`, `median_high`, and `reason` (direction), all as in `xtl.stats.cell_intervals`;
        - `hedges_g`, `p`, `p_fdr`, `p_max` of the difference, as in `xtl.stats.significance`; `significant` (bool): `p_max` is
          at or below `level`;
        - `summary` (summary_direction, modules, quantity, estimate), where right answers are known:
          `xtl.stats.summary_table`, with its counts in `summary_n`, `summary_n_instances`;
        - `n`, `n_instances` (direction).

    Raises:
        InputError: see `xtl.stats.examples.split_groups`.
    """
    confidence = 1 - check_confidence(level, "level")
    n_resamples, n_splits = check_resamples(n_resamples), check_resamples(n_splits, 10, "n_splits")
    seed = check_whole("seed", seed, 0)
    real, control = with_control(real, control)
    group_by = None if check_choice("by", by, ("direction", "all")) == "all" else by
    groups = split_groups(real, control, by=group_by, measures=(measure,))
    means = [
        xr.Dataset({run: on_map(group.values(measure, run).mean(0), group.real) for run in ("real", "control")})
        for group in groups
    ]
    data = stack(means, [group.name for group in groups], "direction")
    wanted = None if n_resamples == 10_000 else n_resamples
    tests = significance(real, control, by=group_by, measure=measure, n_resamples=wanted, seed=seed)
    sure = cell_intervals(
        real, control, by=group_by, measure=measure, confidence=confidence, n_resamples=n_resamples, seed=seed
    )
    if by == "all":
        tests, sure = (found.rename(group="direction") for found in (tests, sure))
    names = ("mean", "hedges_g", "p", "p_fdr", "p_max", "n", "n_instances")
    known = [name for name in ("low", "high", "median", "median_low", "median_high", "reason") if name in sure]
    data = data.assign({name: tests[name] for name in names} | {name: sure[name] for name in known})
    data["significant"] = data["p_max"] <= level
    if "correct" in real and "correct" in control:
        table = summary_table(real, control, n_splits=n_splits, confidence=confidence, seed=seed)
        if by == "all" and "all" in set(table["direction"]):
            table = table[table["direction"] == "all"]
        elif by == "all":  # one direction alone
            table = table.assign(direction="all")
        data = data.merge(_packed(table))
    return data.assign_attrs(tests.attrs | {"level": level, "confidence": confidence, "n_splits": n_splits})


def table(data: xr.Dataset) -> pd.DataFrame:
    """The summary in the rows of `xtl.stats.summary_table`.

    Args:
        data: result of `compute`, with right answers known.

    Raises:
        InputError: other data, or no summary in them.
    """
    _check(data)
    if "summary" not in data:
        raise InputError("the data have no summary: it counts right answers, and these results have no 'correct'")
    rows = []
    for direction in data["summary_direction"].values:
        for module in data["modules"].values:
            part = data.sel(summary_direction=direction, modules=module)
            for quantity in data["quantity"].values:
                values = part["summary"].sel(quantity=quantity)
                rows.append(
                    {"direction": str(direction), "module": str(module), "n": int(part["summary_n"]),
                     "n_instances": int(part["summary_n_instances"]), "quantity": str(quantity)}
                    | {name: float(values.sel(estimate=name)) for name in _SUMMARY}
                )  # fmt: skip
    result = pd.DataFrame(rows)
    result.attrs = dict(data.attrs)
    return result


def in_words(data: xr.Dataset, direction: str) -> list[str]:
    """Two or three sentences: how many cells survive, the best of them, and what is left of the upper bound.

    Args:
        data: result of `compute`.
        direction: one of its directions, such as "en->es".

    Raises:
        InputError: an unknown direction.
    """
    _check(data)
    check_choice("direction", direction, map(str, data["direction"].values))
    part, against = data.sel(direction=direction), str(data.attrs["against"])
    unit = "points" if data.attrs["measure"] == "accuracy" else score_unit(data)
    scale = 100 if unit == "points" else 1
    better = part["significant"] & (part["mean"] > 0)
    n_cells, n = part["mean"].size, int(part["n"])
    count = int(better.sum())
    if count:
        best = part["mean"].where(better)
        place = best.isel(best.argmax(GAIN_DIMS))
        at = {name: float(part[name].isel(best.argmax(GAIN_DIMS))) * scale for name in _ENDS if name in part}
        sure = bracket(at["low"], at["high"])
        if np.isnan(at["low"]) and "median" in at:
            sure = f"(median {at['median']:+.2f} {bracket(at['median_low'], at['median_high'])})"
        are = "are" if count > 1 else "is"
        words = [
            f"{count} of {n_cells} cells {are} better than {against} beyond chance (p ≤ {data.attrs['level']:g} for the whole "
            f"map, n = {n}); the best is {place['module'].item()} {place['source_layer'].item()} → "
            f"{place['target_layer'].item()}, {float(place) * scale:+.2f} {unit} {sure}, "
            "in-sample."
        ]
    else:
        words = [f"None of {n_cells} cells is better than {against} beyond chance (n = {n})."]
    if "summary" in data:
        modules = data["modules"].values[-1]
        rows = data["summary"].sel(summary_direction=direction, modules=modules)
        for quantity, what in (
            ("fixed_over_control", "Best fixed cell, chosen on other instances: right answers"),
            ("corrected", "Upper bound, some cell right:"),
        ):
            value, low, high = (100 * float(rows.sel(quantity=quantity, estimate=name)) for name in _SUMMARY)
            words.append(f"{what} {value:+.0f} points {bracket(low, high, '+.0f')} against {against}.")
    return words


def figure(data: xr.Dataset) -> go.Figure:
    """Maps of real, control and difference; differences that may be chance are pale.

    Args:
        data: result of `compute`.
    """
    _check(data)
    return controls.real_against_control(data, level=data.attrs["level"])


def forest(data: xr.Dataset) -> go.Figure:
    """What survives, per direction and module: best fixed cell against vanilla and control, corrected upper bound.

    Args:
        data: result of `compute`, with right answers known.
    """
    return controls.forest(table(data))


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    return {"is_it_real": figure(data)} | ({"is_it_real_forest": forest(data)} if "summary" in data else {})


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse is_it_real` computes."""
    control = request.open_control()
    assert control is not None  # `ANALYSIS` needs one
    return compute(request.open_run(), control, **request.given("by"))


ANALYSIS = Analysis(
    "is_it_real", "Is the gain more than chance, and the question's own content?", "run and control",
    from_request=from_request, figures=figures, words=words_of_each("direction", in_words),
    options=("by",),
)  # fmt: skip


def _packed(rows: pd.DataFrame) -> xr.Dataset:
    """The summary's rows as labelled arrays."""
    directions, modules = (list(dict.fromkeys(rows[name])) for name in ("direction", "module"))
    dims = ("summary_direction", "modules", "quantity", "estimate")
    values = rows[list(_SUMMARY)].to_numpy(dtype=float).reshape(len(directions), len(modules), len(QUANTITIES), 3)
    coords = dict(zip(dims, (directions, modules, list(QUANTITIES), list(_SUMMARY)), strict=True))
    counts = rows.drop_duplicates("direction")
    return xr.Dataset(
        {
            "summary": (dims, values),
            "summary_n": ("summary_direction", counts["n"].to_numpy()),
            "summary_n_instances": ("summary_direction", counts["n_instances"].to_numpy()),
        },
        coords=coords,
    )
