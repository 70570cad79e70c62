"""Figures of instance-aware upper bounds: against the number of cells tried, and by layer; real beside control.

Real is blue and solid, control orange and dashed. Drawn from what `xtl.stats` returned.

>>> from xtl import stats
>>> real, control = stats.simulate(control=True)
>>> [trace.name for trace in curve(stats.upper_bound_curve(real, control)).data if trace.showlegend]
['real source', 'simulated control']
"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from xtl.errors import known_keywords
from xtl.languages import arrow
from xtl.plots.controls import group_dim
from xtl.plots.slots import layer_ticks
from xtl.plots.style import CONTROL, REAL, headline, readable, title_of, with_room


@known_keywords()
def curve(data: xr.Dataset) -> go.Figure:
    """Upper bound against number of cells drawn at random: real, control, vanilla; a row a group, a column a set of modules.

    Args:
        data: result of `xtl.stats.upper_bound_curve`.

    Raises:
        InputError: other data.
    """
    group = group_dim(data, "spread")
    figure, places = _grid(data, group, "", width=330, height=280)
    conditions = [condition for condition in data["condition"].values if condition != "difference"]
    for (row, column), (label, module) in places.items():
        part = data.sel({group: label, "module": module})
        cells = part["cells"].values[np.isfinite(part["upper_bound"].sel(condition="real").values)]
        part = part.sel(cells=cells)
        for condition in conditions:
            line = part.sel(condition=condition)
            extra = 100 * line["spread"].values
            _band(figure, cells, line["upper_bound"], line["low"], line["high"], condition, _condition_name(data, condition),
                  (row, column), extra)  # fmt: skip
        _vanilla(figure, float(part["vanilla"]), row, column)
    ticks = [int(k) for k in data["cells"].values if k & (k - 1) == 0][::2]
    figure.update_xaxes(type="log", tickmode="array", tickvals=ticks, ticktext=[f"{k:,}" for k in ticks])
    return _shares(
        figure, "cells tried, drawn at random", title_of("How far luck goes: upper bound by number of cells", data),
        f"share of instances that any of the cells solves, exact mean over subsets; bands: "
        f"{data.attrs.get('confidence', 0.95):.0%} intervals over instances",
    )  # fmt: skip


@known_keywords()
def layer_bounds(data: xr.Dataset) -> go.Figure:
    """Upper bounds of every source row and target column, real and control; a row a group, two columns a module.

    Args:
        data: result of `xtl.stats.layer_upper_bounds`.

    Raises:
        InputError: other data.
    """
    group = group_dim(data, "source_row")
    if data.sizes["module"] > 1:
        data = data.isel(module=slice(-1))  # without the set of all modules: each is drawn on its own
    kinds = {"source_row": "source_layer", "target_column": "target_layer"}
    figure, places = _grid(data, group, "source row,target column", width=300, height=260)
    conditions = [condition for condition in data["condition"].values if condition != "difference"]
    for (row, column), (label, module) in places.items():
        part = data.sel({group: label, "module": module})
        kind, axis = list(kinds.items())[(column - 1) % 2]
        for condition in conditions:
            line = part.sel(condition=condition)
            _band(figure, part[axis].values, line[kind], line[f"{kind}_low"], line[f"{kind}_high"], condition,
                  _condition_name(data, condition), (row, column))  # fmt: skip
        _vanilla(figure, float(part["vanilla"]), row, column)
        ticks = layer_ticks(part[axis].values, room=9)
        figure.update_xaxes(tickmode="array", tickvals=ticks, ticktext=list(map(str, ticks)), row=row, col=column)
        if row == max(place[0] for place in places):
            figure.update_xaxes(title_text=axis.replace("_", " "), row=row, col=column)
    return _shares(
        figure, None, title_of("Upper bound by layer", data),
        "share of instances that any cell of the row (column) solves; bands: "
        f"{data.attrs.get('confidence', 0.95):.0%} intervals over instances",
    )  # fmt: skip


def _band(
    figure: go.Figure, x: np.ndarray, middle: xr.DataArray, low: xr.DataArray, high: xr.DataArray, condition: str, name: str,
    place: tuple[int, int], spread: np.ndarray | None = None,
) -> None:  # fmt: skip
    """One line of shares (in per cent) with its band."""
    colour, fill = (REAL, "rgba(0, 114, 178, 0.18)") if condition == "real" else (CONTROL, "rgba(213, 94, 0, 0.18)")
    row, column = place
    y, below, above = (100 * values.values.astype("float64") for values in (middle, low, high))
    outline = {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([above, below[::-1]])}
    figure.add_trace(
        go.Scatter(**outline, fill="toself", fillcolor=fill, line={"width": 0}, mode="lines", hoverinfo="skip",
                   legendgroup=condition, showlegend=False), row=row, col=column,
    )  # fmt: skip
    shown = np.stack([below, above, spread if spread is not None else np.zeros_like(y)], 1)
    over_subsets = "<br>± %{customdata[2]:.1f} over subsets" if spread is not None else ""
    figure.add_trace(
        go.Scatter(
            x=x, y=y, name=readable(name), legendgroup=condition, showlegend=place == (1, 1), mode="lines+markers",
            line={"color": colour, "width": 2, "dash": "solid" if condition == "real" else "dash"},
            marker={"size": 5, "symbol": "circle" if condition == "real" else "square"}, customdata=shown,
            hovertemplate=f"%{{x}}: %{{y:.1f}}% [%{{customdata[0]:.1f}}, %{{customdata[1]:.1f}}]{over_subsets}",
        ),
        row=row, col=column,
    )  # fmt: skip


def _vanilla(figure: go.Figure, share: float, row: int, column: int) -> None:
    line = {"color": "#555555", "width": 1, "dash": "dot"}
    note = {"text": "vanilla", "font": {"size": 11, "color": "#555555"}}
    figure.add_hline(y=100 * share, line=line, annotation=note, annotation_position="bottom right", row=row, col=column)


def _grid(
    data: xr.Dataset, group: str, halves: str, *, width: int, height: int
) -> tuple[go.Figure, dict[tuple[int, int], tuple[str, str]]]:
    """Empty panels, a row a group, a column a module (two with `halves`), and which group and module stands where."""
    labels, modules = ([str(value) for value in data[dim].values] for dim in (group, "module"))
    names = halves.split(",")
    columns = [(module, half) for module in modules for half in names]
    counts = dict(zip(labels, data["n"].values, strict=True))
    titles = [
        readable(f"{arrow(label)}, {module}{', ' + half if half else ''} (n = {int(counts[label])})")
        for label in labels for module, half in columns
    ]  # fmt: skip
    figure = make_subplots(
        rows=len(labels), cols=len(columns), subplot_titles=titles, shared_yaxes=True, shared_xaxes=False,
        horizontal_spacing=0.12 / len(columns), vertical_spacing=min(0.3 / len(labels), 75 / (height * len(labels))),
    )  # fmt: skip
    figure.update_annotations(font={"size": 13})
    figure.update_layout(width=100 + width * len(columns), height=190 + height * len(labels))
    return figure, {
        (row, column): (label, module)
        for row, label in enumerate(labels, 1)
        for column, (module, _) in enumerate(columns, 1)
    }


def _shares(figure: go.Figure, x: str | None, title: str, subtitle: str) -> go.Figure:
    """Axes and layout of figures of shares."""
    figure.update_yaxes(range=_share_range(figure), ticksuffix="%", zeroline=False)
    figure.update_yaxes(title_text="instances solved", col=1)
    figure.update_xaxes(zeroline=False)
    if x is not None:
        rows = len(figure._grid_ref)
        figure.update_xaxes(title_text=x, row=rows)
    figure.update_layout(
        template="plotly_white", title=headline(title, subtitle), margin={"l": 80, "r": 20, "t": 120, "b": 90},
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
    )  # fmt: skip
    return figure


def _share_range(figure: go.Figure) -> list[float]:
    """What lines, bands and vanilla need; no more than there can be."""
    values = [np.asarray(trace.y, dtype=float) for trace in figure.data]
    values.append(np.array([shape.y0 for shape in figure.layout.shapes], dtype=float))
    joined = np.concatenate(values)
    low, high = float(np.nanmin(joined, initial=100)), float(np.nanmax(joined, initial=0))
    low, high = with_room(low, high, least=1.5)
    return [max(low, -3.0), min(high, 103.0)]


def _condition_name(data: xr.Dataset, condition: str) -> str:
    return "real source" if condition == "real" else str(data.attrs.get("against", "control"))
