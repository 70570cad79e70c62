"""Kinds of figures that a run can be drawn as, at a size in print: `KINDS`. Each is a function (results, size) -> figure.

All panels of a figure share one scale. Labels have 8 points in print; colours can be told apart with every kind of colour
blindness.

>>> sorted(KINDS)
['accuracy_map', 'gain_map', 'held_out', 'layer_module', 'layer_profile', 'upper_bound']
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from xtl import plots, stats
from xtl.errors import InputError
from xtl.languages import arrow
from xtl.plots.maps import layer_module_panels
from xtl.plots.style import COLOURS, DASHES, FONT
from xtl.results import mean_maps, provenance, score_unit

STYLES = ("paper", "screen")


@dataclass(frozen=True)
class Size:
    """How large a figure is in print.

    Attributes:
        width: in pixels of 1/96 inch.
        style: one of `STYLES`.
    """

    width: float
    style: str = "paper"

    @property
    def label(self) -> float:
        """Size of labels in pixels: 8 points in print, 9 on a screen."""
        return (8 if self.style == "paper" else 9) * 96 / 72


def gain_map(results: xr.Dataset, size: Size) -> go.Figure:
    """Mean gain by source and target layer: a row of panels a direction, a column a module."""
    data = mean_maps(results)
    return _cells(
        data["gain"], data["n"], f"mean gain ({plots.escape(score_unit(results))})", "Gain maps", results, size
    )


def accuracy_map(results: xr.Dataset, size: Size) -> go.Figure:
    """Change of accuracy by source and target layer."""
    data = mean_maps(results)
    if "accuracy" not in data or "vanilla_accuracy" not in data:
        raise InputError("kind 'accuracy_map' needs right answers, and the run's results have no 'correct'")
    change = 100 * (data["accuracy"] - data["vanilla_accuracy"]).transpose(*data["gain"].dims)
    return _cells(change, data["n"], "change of accuracy (points)", "Change of accuracy", results, size)


def layer_module(results: xr.Dataset, size: Size) -> go.Figure:
    """Mean gain by layer and module, with the layer as target and as source: a row of panels a direction."""
    data = mean_maps(results)
    panels = [replace(panel, title=panel.title.replace(": layer", ",")) for panel in layer_module_panels(data)]
    unit = f"mean gain ({plots.escape(score_unit(results))})"
    return _maps(panels, 2, 0.9, unit, "Gain by layer and module", results, size)


def layer_profile(results: xr.Dataset, size: Size) -> go.Figure:
    """Mean gain by target layer, over all source layers, and by source layer, over all target layers: a line a module."""
    data = mean_maps(results)
    directions = [str(name) for name in data["direction"].values]
    figure, layout = _grid(directions, 2, size, ratio=0.62, shared_y=True, legend=True)
    for d, direction in enumerate(directions):
        for c, role in enumerate(("target", "source")):
            values = data[f"gain_as_{role}"].sel(direction=direction)
            for m, module in enumerate(data["module"].values):
                line = values.sel(module=module).dropna("layer")
                figure.add_trace(
                    go.Scatter(
                        x=line["layer"].values, y=line.values, name=plots.escape(module), mode="lines+markers",
                        legendgroup=str(module), showlegend=d == c == 0, marker={"size": 3.5, "symbol": m},
                        line={"color": COLOURS[m % len(COLOURS)], "width": 1.2, "dash": DASHES[m % 4]},
                    ),
                    row=d + 1, col=c + 1,
                )  # fmt: skip
            figure.update_xaxes(title_text=f"{role} layer" if d == len(directions) - 1 else None, row=d + 1, col=c + 1)
        named = f"{_arrow(direction)}<br>" if len(directions) > 1 else ""
        figure.update_yaxes(title_text=f"{named}mean gain ({plots.escape(score_unit(results))})", row=d + 1, col=1)
    for c in (1, 2):
        figure.add_hline(y=0, line={"color": "#888", "width": 0.8}, row="all", col=c)
    return _finish(figure, layout, "Mean gain by layer", results, size)


def held_out(results: xr.Dataset, size: Size) -> go.Figure:
    """What the best cell gains on instances that it was not chosen on, with 95% intervals, beside its in-sample gain."""
    table = stats.held_out(results)
    names = [f"{_arrow(row['direction'])}, {plots.escape(row['module'])}" for row in table.to_dict("records")][::-1]
    table = table.iloc[::-1]
    left = 0.56 * size.label * max(len(name.replace("&#36;", "$")) for name in names) + 10
    height = (1.9 * len(names) + 6.5) * size.label
    figure = go.Figure(layout={"height": math.ceil(height)})
    low, high = (table["gain"] - table["gain_low"], table["gain_high"] - table["gain"])
    label = "held out, 95% interval" + (" (no bar: too few instances)" if (table["reason"] != "").any() else "")
    figure.add_trace(
        go.Scatter(
            x=table["gain"], y=names, mode="markers", name=label, marker={"color": COLOURS[0], "size": 6},
            error_x={"array": high.fillna(0), "arrayminus": low.fillna(0), "symmetric": False, "thickness": 1.2, "width": 3},
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=table["in_sample_gain"], y=names, mode="markers", name="in-sample",
            marker={"color": COLOURS[1], "size": 6, "symbol": "diamond-open"},
        )
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": "#888", "width": 0.8})
    figure.update_xaxes(title_text=f"gain of the best cell ({plots.escape(score_unit(results))})")
    figure.update_yaxes(type="category", range=[-0.6, len(names) - 0.4])
    margin = {"l": left, "r": 8.0, "t": 2.4 * size.label, "b": 3.2 * size.label}
    return _finish(figure, margin, "The best cell on other instances", results, size)


def upper_bound(results: xr.Dataset, size: Size) -> go.Figure:
    """Share of instances that some cell of a source row, or of a target column, gets right (upper bounds); grey: vanilla."""
    data = stats.layer_upper_bounds(results)
    directions = [str(name) for name in data["direction"].values]
    figure, layout = _grid(directions, 2, size, ratio=0.62, shared_y=True, legend=True)
    for d, direction in enumerate(directions):
        for c, (name, dim) in enumerate((("source_row", "source_layer"), ("target_column", "target_layer"))):
            for m, module in enumerate(data["module"].values):
                line = data[name].sel(direction=direction, module=module, condition="real").dropna(dim)
                figure.add_trace(
                    go.Scatter(
                        x=line[dim].values, y=100 * line.values, name=plots.escape(module), mode="lines", showlegend=d == c == 0,
                        legendgroup=str(module), line={"color": COLOURS[m % len(COLOURS)], "width": 1.2, "dash": DASHES[m % 4]},
                    ),
                    row=d + 1, col=c + 1,
                )  # fmt: skip
            vanilla = 100 * float(data["vanilla"].sel(direction=direction).values.ravel()[0])
            figure.add_hline(y=vanilla, line={"color": "#666", "width": 0.8, "dash": "dash"}, row=d + 1, col=c + 1)
            figure.update_xaxes(
                title_text=dim.replace("_", " ") if d == len(directions) - 1 else None, row=d + 1, col=c + 1
            )
        named = f"{_arrow(direction)}<br>" if len(directions) > 1 else ""
        figure.update_yaxes(title_text=f"{named}solved (%)", row=d + 1, col=1)
    figure.update_yaxes(range=[0, 103])
    return _finish(figure, layout, "Upper bounds (dashes: vanilla)", results, size)


KINDS: dict[str, Callable[[xr.Dataset, Size], go.Figure]] = {
    "gain_map": gain_map,
    "accuracy_map": accuracy_map,
    "layer_module": layer_module,
    "layer_profile": layer_profile,
    "held_out": held_out,
    "upper_bound": upper_bound,
}
"""Kinds by name."""


def _cells(values: xr.DataArray, n: xr.DataArray, unit: str, title: str, results: xr.Dataset, size: Size) -> go.Figure:
    """Maps: rows are directions, columns modules; `values` (direction, module, source_layer, target_layer)."""
    directions, modules = ([str(name) for name in values[dim].values] for dim in ("direction", "module"))
    panels = []
    for d in directions:
        for m in modules:
            part = values.sel(direction=d, module=m)
            name = f"{arrow(d)}, {m}" if len(directions) > 1 else m
            panels.append(plots.Panel(name, part, xr.full_like(part, int(n.sel(direction=d)), dtype=int), ""))
    ratio = values.sizes["source_layer"] / values.sizes["target_layer"]
    return _maps(panels, len(modules), ratio, unit, title, results, size)


def _maps(
    panels: Sequence[plots.Panel], columns: int, ratio: float, unit: str, title: str, results: xr.Dataset, size: Size
) -> go.Figure:
    """Panels of heat maps in rows of `columns`, on one scale; height / width of a panel is `ratio`."""
    figure, layout = _grid(
        [plots.escape(panel.title) for panel in panels], columns, size, ratio=ratio, shared_y=True, bar=True
    )
    limit = plots.symmetric_limit([panel.values for panel in panels])
    last = (len(panels) - 1) // columns
    for k, panel in enumerate(panels):
        row, column = divmod(k, columns)
        cells = panel.values.values.astype("float64")
        y, x = map(str, panel.values.dims)
        labels = {dim: [plots.escape(label) for label in panel.values[dim].values] for dim in (x, y)}
        figure.add_trace(
            go.Heatmap(
                z=np.where(np.isfinite(cells), cells, np.nan), x=labels[x], y=labels[y], coloraxis="coloraxis",
                name=plots.escape(panel.title), customdata=panel.counts.values,
            ),
            row=row + 1, col=column + 1,
        )  # fmt: skip
        room = max(2, layout["panel"] * min(1, ratio) // (1.9 * size.label))
        common = {"type": "category", "categoryorder": "array", "tickmode": "array", "constrain": "domain"}
        for update, dim, shown, named in (
            (figure.update_xaxes, x, row == last, row == last),
            (figure.update_yaxes, y, column == 0, column == 0),
        ):
            step = 1 if dim == "module" else max(1, math.ceil(len(labels[dim]) / room))
            update(
                categoryarray=labels[dim], tickvals=labels[dim][::step], row=row + 1, col=column + 1, showticklabels=shown,
                title_text=dim.replace("_", " ") if named else None, **common,
            )  # fmt: skip
    font = {"family": FONT, "size": size.label, "color": "#000"}
    figure.update_layout(
        coloraxis={
            "colorscale": plots.COLOUR_SCALE, "cmin": -limit, "cmax": limit,
            "colorbar": {
                "title": {"text": unit, "side": "right", "font": font}, "tickfont": font,
                "thickness": 0.8 * size.label, "outlinewidth": 0.5, "xpad": 4,
                "ypad": 0,
                "len": min(layout["panel"] * ratio, 14 * size.label) / layout["inner"], "y": 1, "yanchor": "top",
                "tickformat": "+.2~g", "nticks": 5, "ticklen": 2,
            },
        },
        plot_bgcolor="#c8c8c8",
    )  # fmt: skip
    return _finish(figure, layout, title, results, size)


def _grid(
    titles: Sequence[str],
    columns: int,
    size: Size,
    ratio: float,
    shared_y: bool,
    bar: bool = False,
    legend: bool = False,
) -> tuple[go.Figure, dict[str, float]]:
    """Panels in rows of `columns` and their layout: height / width of a panel is `ratio`."""
    em = size.label
    rows = math.ceil(len(titles) / columns) if not legend else len(titles)
    left, right = 3.9 * em, 5.6 * em if bar else 0.8 * em
    if legend and len(titles) > 1:
        left += 1.3 * em
    gap = (1.0 if shared_y else 3.6) * em
    panel = (size.width - left - right - gap * (columns - 1)) / columns
    if panel < 3 * em:
        raise InputError(f"width is too small for {columns} panels side by side; give a larger one, or fewer modules")
    high, between = panel * ratio, (2.3 if legend else 1.9) * em
    inner = rows * high + (rows - 1) * between
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=None if legend else list(titles), shared_yaxes=False,
        horizontal_spacing=gap / (size.width - left - right), vertical_spacing=between / inner if rows > 1 else 0,
    )  # fmt: skip
    figure.update_layout(height=math.ceil(inner + 1.8 * em + 3.3 * em))
    if legend:
        figure.update_yaxes(matches="y")
        figure.update_yaxes(showticklabels=False, col=2)
    return figure, {"l": left, "r": right, "t": 1.8 * em, "b": 3.3 * em, "panel": panel, "inner": inner}


def _finish(figure: go.Figure, layout: Mapping[str, float], title: str, results: xr.Dataset, size: Size) -> go.Figure:
    """Fonts, margins and lines; on a screen also a title."""
    em = size.label
    margin = {side: layout[side] for side in "lrtb"} | {"pad": 0}
    height = figure.layout.height
    if size.style == "screen":
        margin["t"] += 3.2 * em
        height += math.ceil(3.2 * em)
        named = ", ".join(map(plots.escape, provenance(results)))
        text = f"{title}: {named}".removesuffix(": ")
        figure.update_layout(
            title={"text": text, "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"l": 6, "t": 8}}
        )
    font = {"family": FONT, "size": em, "color": "#000"}
    figure.update_layout(
        template="plotly_white", width=round(size.width), height=height, margin=margin, font=font, title_font_size=1.2 * em,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": font, "title": None, "itemwidth": 30},
    )  # fmt: skip
    figure.update_annotations(font=font)
    lines = {
        "showline": True,
        "linewidth": 0.6,
        "linecolor": "#000",
        "ticks": "outside",
        "ticklen": 2.5,
        "tickwidth": 0.6,
    }
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(
            **lines,
            showgrid=False,
            tickangle=0,
            tickfont=font,
            title_font=font,
            title_standoff=0.35 * em,
            zeroline=False,
        )
    return figure


def _arrow(direction: str) -> str:
    return plots.escape(arrow(direction))
