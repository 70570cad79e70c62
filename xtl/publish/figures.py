"""Kinds of figures that a run can be drawn as, at a size in print: `KINDS`. Each is a function (results, size) -> figure.

All panels of a figure share one scale. Labels have 8 points in print; colours can be told apart with every kind of colour
blindness. Layers stand at their numbers; a colour bar says where cells lie beyond it; lines are named beside themselves.

>>> sorted(KINDS)
['accuracy_map', 'gain_map', 'held_out', 'interval_map', 'layer_module', 'layer_profile', 'upper_bound']
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import plotly.graph_objects as go
import xarray as xr

from xtl import plots, stats
from xtl.errors import InputError
from xtl.plots.best import Best, best_of_each
from xtl.plots.heatmaps import mute
from xtl.plots.intervals import unsure
from xtl.plots.maps import layer_module_panels
from xtl.plots.style import COLOURS
from xtl.publish.figure_layout import Curve, Size, curves, finish, maps
from xtl.results import mean_maps, score_unit

STYLES = ("paper", "screen")


def gain_map(results: xr.Dataset, size: Size) -> go.Figure:
    """Mean gain by source and target layer: a row of panels a direction, a column a module; the best cell is marked.

    A circle: the cell that most halves of the instances choose (held out); a diamond: the largest mean (in-sample), where
    instances are too few for that.
    """
    data = mean_maps(results)
    return _cells(data["gain"], data["n"], _gain(results), "Gain maps", results, size, best_of_each(results))


def accuracy_map(results: xr.Dataset, size: Size) -> go.Figure:
    """Change of accuracy by source and target layer; the best cell is marked, as in `gain_map`."""
    data = mean_maps(results)
    if "accuracy" not in data or "vanilla_accuracy" not in data:
        raise InputError("kind 'accuracy_map' needs right answers, and the run's results have no 'correct'")
    change = 100 * (data["accuracy"] - data["vanilla_accuracy"]).transpose(*data["gain"].dims)
    best = best_of_each(results, measure="accuracy")
    return _cells(change, data["n"], "change of accuracy (points)", "Change of accuracy", results, size, best)


def interval_map(results: xr.Dataset, size: Size) -> go.Figure:
    """Mean gain of many pairs: cells whose 95% interval over instances holds 0, or that have none, are pale, the others bordered.

    From 29 instances a direction; the intervals are per cell (`xtl.stats.cell_intervals`).
    """
    found = stats.cell_intervals(results)
    if reason := next((str(text) for text in found["reason"].values if text), ""):
        raise InputError(f"kind 'interval_map': {reason}")
    panels = _panels(found["mean"], found["n"], {})
    figure = maps(panels, found.sizes["module"], _gain(results), "Gain maps with intervals", results, size)
    pale = unsure(found["low"].values, found["high"].values).reshape(-1, *found["mean"].shape[2:])
    for index, panel in enumerate(panels):
        mute(figure, panel, index, pale[index], width=1.0)
    return figure


def layer_module(results: xr.Dataset, size: Size) -> go.Figure:
    """Mean gain by layer and module, with the layer as target and as source: a row of panels a direction."""
    panels = [
        replace(
            panel, title=panel.title.replace(": layer as ", ", as\u00a0"), values=panel.values.T, counts=panel.counts.T
        )
        for panel in layer_module_panels(mean_maps(results))
    ]
    return maps(panels, 2, _gain(results), "Gain by layer and module", results, size)


def layer_profile(results: xr.Dataset, size: Size) -> go.Figure:
    """Mean gain by target layer, over all source layers, and by source layer, over all target layers: a line a module.

    Bands: 95% intervals over instances, from 29 instances a direction; 0 is vanilla.
    """
    found = _profiles(results)
    directions = [str(name) for name in found["direction"].values]
    panels = {
        (d, c): [_profile(found.sel(direction=direction, role=role, module=m)) for m in found["module"].values]
        for d, direction in enumerate(directions)
        for c, role in enumerate(("target", "source"))
    }
    axes = ["target layer", "source layer"]
    figure = curves(panels, directions, axes, _gain(results), "Mean gain by layer", results, size)
    for c in (1, 2):
        figure.add_hline(y=0, line={"color": "#888", "width": 0.8}, row="all", col=c)
    return figure


def held_out(results: xr.Dataset, size: Size) -> go.Figure:
    """What the best cell gains on instances that it was not chosen on, with 95% intervals, beside its in-sample gain."""
    table = stats.held_out(results)
    names = [
        f"{plots.readable(row['direction'])}, {plots.readable(row['module'])}" for row in table.to_dict("records")
    ][::-1]
    table = table.iloc[::-1]
    left = 0.56 * size.label * max(len(name.replace("&#36;", "$")) for name in names) + 10
    top, bottom = 4.4 * size.label, 4.2 * size.label  # two lines of a legend; ticks and a title
    figure = go.Figure(layout={"height": math.ceil(1.9 * size.label * len(names) + top + bottom)})
    low, high = (table["gain"] - table["gain_low"], table["gain_high"] - table["gain"])
    label = "held out, 95% interval" + (" (no bar: too few instances)" if (table["reason"] != "").any() else "")
    figure.add_trace(
        go.Scatter(
            x=table["gain"], y=names, mode="markers", name=label, marker={"color": COLOURS[0], "size": 6},
            error_x={"array": high, "arrayminus": low, "symmetric": False, "thickness": 1.2, "width": 3},
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=table["in_sample_gain"], y=names, mode="markers", name="in-sample",
            marker={"color": COLOURS[1], "size": 6, "symbol": "diamond-open"},
        )
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": "#888", "width": 0.8})
    figure.update_xaxes(title_text=f"gain of the best cell ({plots.readable(score_unit(results))})")
    figure.update_yaxes(type="category", range=[-0.6, len(names) - 0.4])
    margin = {"l": left, "r": 8.0, "t": top, "b": bottom}
    finish(figure, margin, "The best cell on other instances", results, size)
    return figure.update_layout(legend_orientation="v")


def upper_bound(results: xr.Dataset, size: Size) -> go.Figure:
    """Share of instances that some cell of a source row, or of a target column, gets right (upper bounds), beside vanilla."""
    data = stats.layer_upper_bounds(results).sel(condition="real")
    directions = [str(name) for name in data["direction"].values]
    sides = {"source_row": "source_layer", "target_column": "target_layer"}
    panels = {
        (d, c): [_share(data[name].sel(direction=direction, module=module), dim) for module in data["module"].values]
        for d, direction in enumerate(directions)
        for c, (name, dim) in enumerate(sides.items())
    }
    vanilla = {
        d: 100 * float(data["vanilla"].sel(direction=name).values.ravel()[0]) for d, name in enumerate(directions)
    }
    axes = [dim.replace("_", " ") for dim in sides.values()]
    return curves(panels, directions, axes, "solved (%)", "Upper bounds", results, size, vanilla=vanilla)


KINDS: dict[str, Callable[[xr.Dataset, Size], go.Figure]] = {
    "gain_map": gain_map,
    "accuracy_map": accuracy_map,
    "interval_map": interval_map,
    "layer_module": layer_module,
    "layer_profile": layer_profile,
    "held_out": held_out,
    "upper_bound": upper_bound,
}
"""Kinds by name."""


def _gain(results: xr.Dataset) -> str:
    return f"mean gain ({score_unit(results)})"


def _panels(values: xr.DataArray, n: xr.DataArray, best: dict[tuple[str, str], Best]) -> list[plots.Panel]:
    """Rows are directions, columns modules; `values` (direction, module, source_layer, target_layer)."""
    directions, modules = ([str(name) for name in values[dim].values] for dim in ("direction", "module"))
    panels = []
    for d in directions:
        for m in modules:
            part = values.sel(direction=d, module=m)
            name = f"{d}, {m}" if len(directions) > 1 else m
            counts = xr.full_like(part, int(n.sel(direction=d)), dtype=int)
            panels.append(plots.Panel(name, part, counts, "", best.get((d, m))))
    return panels


def _cells(
    values: xr.DataArray, n: xr.DataArray, unit: str, title: str, results: xr.Dataset, size: Size,
    best: dict[tuple[str, str], Best],
) -> go.Figure:  # fmt: skip
    """Maps of all directions and modules."""
    return maps(_panels(values, n, best), values.sizes["module"], unit, title, results, size)


def _profiles(results: xr.Dataset) -> xr.Dataset:
    """Means by layer with their intervals, or where there can't be any without."""
    try:
        return stats.layer_intervals(results)
    except InputError:
        means = mean_maps(results)
        roles = [means[f"gain_as_{role}"] for role in ("target", "source")]
        mean = xr.concat(roles, dim="role", join="outer").assign_coords(role=["target", "source"])
        return xr.Dataset({"mean": mean, "low": mean * float("nan"), "high": mean * float("nan")})


def _profile(part: xr.Dataset) -> Curve:
    tried = part.dropna("layer", subset=["mean"])
    return Curve(
        str(part["module"].item()), tried["layer"].values, *(tried[end].values for end in ("mean", "low", "high"))
    )


def _share(values: xr.DataArray, dim: str) -> Curve:
    tried = values.dropna(dim)
    return Curve(str(values["module"].item()), tried[dim].values, 100 * tried.values)
