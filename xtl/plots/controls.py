"""Figures that show chance beside effect: maps with what may be chance muted, real beside control, a forest of estimates.

All are drawn from what `xtl.stats` returned. Maps have the colours of `xtl.plots`. Lines and marks have those of Okabe and Ito,
told apart under the three kinds of colour blindness, and in grey by dashes and shapes. Upper bounds: `xtl.plots.bounds`.

>>> from xtl import stats
>>> tests = stats.significance(*stats.simulate(control=True, planted={("attn", 2, 3): 3.0}))
>>> [trace.type for trace in significant_map(tests).data]  # two maps, and what mutes them
['heatmap', 'heatmap', 'heatmap', 'heatmap']
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from xtl.errors import InputError, check_choice, check_number, known_keywords
from xtl.languages import arrow
from xtl.plots.forest import Estimate
from xtl.plots.forest import forest as estimates
from xtl.plots.heatmaps import Panel, heatmap_grid, mute
from xtl.plots.style import readable, title_of
from xtl.results import score_unit
from xtl.stats.summary import DIFFERENCES, QUANTITIES

CORRECTIONS = {
    "max": ("p_max", "family-wise: largest statistic of the map"),
    "fdr": ("p_fdr", "false discovery rate, Benjamini-Hochberg"),
    "none": ("p", "not corrected for the number of cells"),
}


@known_keywords()
def significant_map(
    tests: xr.Dataset, *, correction: str = "max", level: float = 0.05, direction: str | None = None
) -> go.Figure:
    """Mean differences of every cell: those that may be chance are pale, the others have a dark border.

    Where p-values of the mean are withheld (gains against vanilla), those of the sign test decide, and the figure says so.

    Args:
        tests: result of `xtl.stats.significance`.
        correction: of the p-values: "max" (family-wise), "fdr" (Benjamini-Hochberg) or "none".
        level: cells with a p-value at or below it are significant.
        direction: draw this group only; None: all, a row each.

    Raises:
        InputError: an unknown correction or direction; no tests.
    """
    name, words = CORRECTIONS[check_choice("correction", correction, CORRECTIONS)]
    check_number("level", level, 0, 1)
    group = group_dim(tests, "p_max")
    tests = _chosen(tests, group, direction)
    withheld = bool(tests[name].isnull().any())
    name = name.replace("p", "p_sign", 1) if withheld else name
    panels, p_values = [], []
    for label in tests[group].values:
        for module in tests["module"].values:
            part = tests.sel({group: label, "module": module})
            title = f"{arrow(label)}, {module} (n = {int(part['n'])})"
            panels.append(_panel(title, part["mean"], int(part["n"])))
            p_values.append(part[name].values)
    against = str(tests.attrs.get("against", "vanilla"))
    caution = (
        "; takes gains and losses as symmetric" if tests.attrs.get("assume_symmetric") and against == "vanilla" else ""
    )
    if withheld:
        caution = "; sign test: do more examples go up than down, or more down than up?"
    significant = [p <= level for p in p_values]
    found = f"{sum(map(np.sum, significant))} of {sum(p.size for p in p_values)} cells"
    figure = heatmap_grid(
        panels, columns=tests.sizes["module"], unit=_unit(tests),
        title=title_of(f"{_measure(tests).capitalize()} against {against}, significant cells", tests),
        subtitle=f"mean difference over n examples; bordered: p ≤ {level:g} ({found}), pale: may be chance\n{words}{caution}",
    )  # fmt: skip
    for index, (panel, p, mask) in enumerate(zip(panels, p_values, significant, strict=True)):
        mute(figure, panel, index, ~mask, _p_texts(p))
    return figure


@known_keywords()
def real_against_control(
    tests: xr.Dataset, *, correction: str = "max", level: float = 0.05, direction: str | None = None
) -> go.Figure:
    """Maps of the real run, the control and their difference, on one colour scale; differences that may be chance are pale.

    Args:
        tests: result of `analyses.is_it_real.compute`, or any Dataset with `real`, `control`, `mean` (their difference) and
            the p-values of `xtl.stats.significance`.
        correction, level, direction: as for `significant_map`.

    Raises:
        InputError: an unknown correction or direction; a Dataset without these maps.
    """
    name, words = CORRECTIONS[check_choice("correction", correction, CORRECTIONS)]
    check_number("level", level, 0, 1)
    group = group_dim(tests, "control")
    tests = _chosen(tests, group, direction)
    against = str(tests.attrs.get("against", "control"))
    panels: list[Panel] = []
    masks: dict[int, np.ndarray] = {}
    for label in tests[group].values:
        for module in tests["module"].values:
            part = tests.sel({group: label, "module": module})
            n = int(part["n"])
            for what, title in (("real", "real"), ("control", against), ("mean", "difference")):
                if what == "mean":
                    masks[len(panels)] = part[name].values
                panels.append(_panel(f"{arrow(label)}, {module}: {title}", part[what], n))
    figure = heatmap_grid(
        panels, columns=3, unit=_unit(tests), title=title_of(f"{_measure(tests).capitalize()}: real source and control", tests),
        subtitle=f"mean over {_counts(tests['n'].values)} examples; in the difference, bordered: p ≤ {level:g}, "
        f"pale: may be chance\n{words}",
    )  # fmt: skip
    for index, p in masks.items():
        mute(figure, panels[index], index, ~(p <= level), _p_texts(p))
    return figure


@known_keywords()
def forest(
    table: pd.DataFrame, *, quantities: Sequence[str] = ("fixed_gain", "fixed_over_control", "corrected")
) -> go.Figure:
    """Estimates with their intervals, a line a direction and module, a column a quantity.

    Args:
        table: result of `xtl.stats.summary_table`.
        quantities: from `xtl.stats.summary.QUANTITIES`.

    Raises:
        InputError: an unknown quantity; another table.
    """
    if not {"direction", "module", "quantity", "n", "value", "low", "high"} <= set(table.columns):
        raise InputError("table must be the result of xtl.stats.summary_table")
    for quantity in quantities:
        check_choice("quantity", quantity, QUANTITIES)
    panels, signed = [], [quantity in DIFFERENCES for quantity in quantities]
    for quantity in quantities:
        rows = table[table["quantity"] == quantity].to_dict("records")
        points = [
            Estimate(
                f"{arrow(row['direction'])}  (n = {row['n']})", str(row["module"]),
                *(100 * float(row[end]) for end in ("value", "low", "high")),
            )
            for row in rows
        ]  # fmt: skip
        panels.append((QUANTITIES[quantity], points))
    level = f"{table.attrs.get('confidence', 0.95):.0%} intervals"
    against = table.attrs.get("against", "control")
    return estimates(
        panels, title=title_of("What survives the controls", xr.Dataset(attrs=dict(table.attrs))),
        subtitle=f"{level} over instances; control: {against}", zero=signed, decimals=1,
        x=[f"right answers ({'points' if one else '%'})" for one in signed],
    )  # fmt: skip


def _p_texts(p: np.ndarray) -> np.ndarray:
    return np.vectorize("p = {:.2g}".format, otypes=[object])(p)


def _panel(title: str, values: xr.DataArray, n: int) -> Panel:
    counts = xr.full_like(values, n, dtype=int)
    hover = f"{readable(title)}<br>source layer %{{y}} → target layer %{{x}}"
    return Panel(title, values.transpose("source_layer", "target_layer"), counts, hover)


def group_dim(data: xr.Dataset, variable: str) -> str:
    """The dim of the groups: the one that is none of the map's."""
    if not isinstance(data, xr.Dataset) or variable not in data:
        raise InputError(
            f"data have no '{variable}': give the result of the function of xtl.stats that the docstring names"
        )
    known = {"module", "source_layer", "target_layer", "layer", "role", "condition", "cells"}
    return next(str(dim) for dim in data[variable].dims if dim not in known)


def _chosen(data: xr.Dataset, group: str, direction: str | None) -> xr.Dataset:
    if direction is None:
        return data
    check_choice("direction", direction, map(str, data[group].values))
    return data.sel({group: [direction]})


def _unit(data: xr.Dataset) -> str:
    return "share" if data.attrs.get("measure") == "accuracy" else score_unit(data)


def _measure(data: xr.Dataset) -> str:
    return "right answers" if data.attrs.get("measure") == "accuracy" else "gain"


def _counts(n: np.ndarray) -> str:
    low, high = int(n.min()), int(n.max())
    return f"n = {low}" if low == high else f"n = {low} to {high}"
