"""Grids of heatmaps: panels on one colour scale, every layer at its place.

>>> values = xr.DataArray([[0.1, -0.2], [0.3, -9.0]], dims=("source_layer", "target_layer"),
...     coords={"source_layer": [0, 4], "target_layer": [0, 4]})
>>> figure = heatmap_grid([Panel("attn", values, xr.ones_like(values, dtype=int), "")], columns=1, title="t")
>>> figure.data[0].y
('0', '1', '2', '3', '4')
>>> figure.layout.coloraxis.colorbar.ticktext[-1]
'+9'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from xtl.errors import InputError, check_flag, check_whole, known_keywords
from xtl.plots.best import Best, mark, said
from xtl.plots.slots import Slots, border, is_layers, slots, spread, squares, strokes, tried
from xtl.plots.style import Scale, escape, readable, saturation, wrap

GREY = "#c8c8c8"
"""Cells that have no finite value."""
PALE = "rgba(240, 240, 240, 0.8)"
"""Over cells that may be chance."""
FRAME = "#bcbcbc"
"""Around blocks of cells, where layers between were not tried."""
_PANEL_WIDTH = {1: 440, 2: 380, 3: 290}  # pixels, by number of columns; more columns: as for 3
_MARGIN = {"l": 70, "r": 110, "t": 120, "b": 60}
_GAP = 70
_CELL, _ROW = 14, 40
"""Least height of a layer's row, and of a named one, in pixels."""
_NAMES = 150
"""Pixels beside the panels that a row's name has before it is broken."""
_BAR = 170
"""Least length of the colour bar, with its title."""


@dataclass(frozen=True)
class Panel:
    """One heatmap.

    Attributes:
        title: above it.
        values: [rows, columns]; their dims name the axes. Layers (dims that end in "layer") stand at their numbers.
        counts: examples averaged, same shape.
        hover: what the pointer says first; whoever builds it escapes it.
        best: a cell to mark.
    """

    title: str
    values: xr.DataArray
    counts: xr.DataArray
    hover: str
    best: Best | None = None

    def places(self, most: int) -> tuple[Slots, Slots]:
        """Places of its rows and of its columns, where there is room for so many."""
        rows, columns = (slots(dim, self.values[dim].values, most=most) for dim in self.values.dims)
        return rows, columns


@known_keywords()
def heatmap_grid(
    panels: Sequence[Panel],
    *,
    columns: int,
    title: str,
    subtitle: str = "",
    unit: str = "nats",
    signed: bool = True,
    numbers: str = "",
) -> go.Figure:
    """Draw panels in rows of `columns`, all on one colour scale; its bar says where cells lie beyond.

    Values are mean gains in `unit` (another quantity: `relabel`); NaN and infinite values stay grey, layers that were not tried
    blank. Titles and labels are shown as they are (escaped). `Panel.hover` is a plotly hover template.

    Args:
        panels: what is drawn.
        columns: panels a row.
        title, subtitle: of the figure.
        unit: of the values.
        signed: the scale is symmetric about zero. False: from 0 up, for what has no other side.
        numbers: a format such as "+.2f": write the values into the cells.
    """
    columns = check_whole("columns", columns, 1)
    check_flag("signed", signed)
    if not panels:
        raise InputError("panels is empty: there is nothing to draw")
    rows = math.ceil(len(panels) / columns)
    width = _PANEL_WIDTH[min(columns, 3)]
    places = [panel.places(width // _CELL) for panel in panels]
    height = max((_height(panel, place, width) for panel, place in zip(panels, places, strict=True)), default=width)
    inner_width, inner_height = columns * width + (columns - 1) * _GAP, rows * height + (rows - 1) * (_GAP + 20)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[readable(panel.title) for panel in panels],
        horizontal_spacing=_GAP / inner_width, vertical_spacing=(_GAP + 20) / inner_height if rows > 1 else 0,
    )  # fmt: skip
    for index, (panel, place) in enumerate(zip(panels, places, strict=True)):
        row, column = divmod(index, columns)
        _add_heatmap(figure, panel, place, row + 1, column + 1, escape(unit), numbers, width)
    for panel, place, trace in zip(panels, places, list(figure.data), strict=True):
        add_marks(figure, panel, place, trace, width / len(place[1].labels))
    scale = Scale.of([panel.values for panel in panels], signed=signed)
    subtitle += (saturation([panel.values for panel in panels]) if signed else "") + said([p.best for p in panels])
    left = max([_MARGIN["l"], *map(_room_for_names, places)])
    total = inner_width + left + _MARGIN["r"]
    headline, lines = (wrap(text, total // characters) for text, characters in ((title, 9), (subtitle, 7)))
    top = _MARGIN["t"] + 24 * (len(headline) - 1) + 16 * max(0, len(lines) - 2)
    bottom = _MARGIN["b"] + max(0, _BAR - inner_height)
    figure.update_layout(
        template="plotly_white",
        title={
            "text": "<br>".join(headline), "subtitle": {"text": "<br>".join(lines)},
            "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"l": 12, "t": 26 if len(headline) > 1 else 14},
        },
        coloraxis={
            **scale.axis(),
            "colorbar": {
                "title": {"text": _bar_title(f"mean gain\n({unit})" if unit else "mean gain")}, **scale.ticks(),
                "thickness": 14, "len": max(min(width, inner_height), _BAR), "lenmode": "pixels", "y": 1, "yanchor": "top",
            },
        },
        margin=_MARGIN | {"l": left, "t": top, "b": bottom},
        width=total,
        height=inner_height + top + bottom,
    )  # fmt: skip
    return figure


def relabel(figure: go.Figure, what: str) -> go.Figure:
    """A figure of `heatmap_grid` whose values are no gains: say what they are, in the colour bar and at the pointer."""
    figure.update_layout(coloraxis_colorbar_title_text=_bar_title(what))
    return figure.for_each_trace(
        lambda trace: trace.update(hovertemplate=trace.hovertemplate.replace("mean gain", escape(what))),
        selector={"type": "heatmap"},
    )


def add_marks(
    figure: go.Figure, panel: Panel, place: tuple[Slots, Slots], trace: go.Heatmap, cell: int | float
) -> None:
    """On a panel that is drawn, with cells of so many pixels: what has no value in grey, frames and strokes at gaps, the best."""
    rows, columns = place
    refs = {"xref": trace.xaxis or "x", "yref": trace.yaxis or "y"}
    missing = tried(rows, columns) & ~np.isfinite(np.asarray(trace.z, dtype=float))
    if missing.any():
        figure.add_shape(type="path", path=squares(missing), fillcolor=GREY, line={"width": 0}, layer="below", **refs)
    if rows.has_gaps or columns.has_gaps:
        figure.add_shape(
            type="path",
            path=border(tried(rows, columns)),
            line={"color": FRAME, "width": 0.75 if cell > 8 else 0.4},
            **refs,
        )
    for own, across in ((columns, True), (rows, False)):
        if own.breaks:
            domain = {("yref" if across else "xref"): f"{refs['yref' if across else 'xref']} domain"}
            figure.add_shape(
                type="path", path=strokes(own.breaks, across=across), line={"color": "#333", "width": 0.9}, **(refs | domain)
            )  # fmt: skip
    if panel.best is not None:
        x, y = (own.labels[own.held[k]] for own, k in zip((columns, rows), panel.best.place(panel.values), strict=True))
        figure.add_trace(mark(panel.best, x, y, trace, min(max(0.45 * cell, 3.5), 9)))


def mute(
    figure: go.Figure, panel: Panel, index: int, pale: np.ndarray, text: np.ndarray | None = None, *, width: float = 1.5
) -> None:  # fmt: skip
    """Cover cells of panel number `index` (those of `pale` [rows, columns]), border the others, add `text` at the pointer."""
    trace = figure.data[index]
    rows, columns = (_held(labels, panel.values[dim].values) for labels, dim in zip(
        (trace.y, trace.x), panel.values.dims, strict=True))  # fmt: skip
    if text is not None:
        shown = np.full((len(rows.labels), len(columns.labels)), "", dtype=object)
        shown[np.ix_(rows.held, columns.held)] = text
        trace.update(
            text=shown, hovertemplate=trace.hovertemplate.replace("<extra></extra>", "<br>%{text}<extra></extra>")
        )
    own = tried(rows, columns)
    hidden = np.zeros_like(own)
    hidden[np.ix_(rows.held, columns.held)] = pale
    if hidden.any():
        cover = go.Heatmap(
            z=np.where(hidden, 1.0, np.nan), x=trace.x, y=trace.y, xaxis=trace.xaxis, yaxis=trace.yaxis, showscale=False,
            colorscale=[[0, PALE], [1, PALE]], hoverinfo="skip", hoverongaps=False,
        )  # fmt: skip
        figure.add_trace(cover)
    if path := border(own & ~hidden):
        line = {"color": "#111111", "width": width}
        figure.add_shape(type="path", path=path, xref=trace.xaxis or "x", yref=trace.yaxis or "y", line=line)


def _held(labels: Sequence[str], values: np.ndarray) -> Slots:
    """The places of a heatmap that is drawn."""
    known = {label: place for place, label in enumerate(labels)}
    return Slots(tuple(labels), tuple(known[readable(value)] for value in values))


def _height(panel: Panel, place: tuple[Slots, Slots], width: int | float) -> int:
    """Height of a panel in pixels: square cells, unless rows would be too low for their labels or the panel higher than wide."""
    rows, columns = (len(own.labels) for own in place)
    least = rows * (_CELL if is_layers(panel.values.dims[0]) else _ROW)
    return round(min(max(width * rows / columns, least), max(width, least)))


def _room_for_names(place: tuple[Slots, Slots]) -> int:
    """Pixels that the names of a panel's rows take, with the axis' title."""
    lines = [line for label in place[0].labels for line in _broken(label, _NAMES).split("<br>")]
    return 45 + round(6.5 * max(map(len, lines), default=0))


def _bar_title(text: str) -> str:
    """In lines that are no wider than the room beside the panels."""
    return "<br>".join(wrap(text, 13, least=8)) + "<br>&nbsp;"


def _add_heatmap(
    figure: go.Figure, panel: Panel, place: tuple[Slots, Slots], row: int, column: int, unit: str, numbers: str, width: int
) -> None:  # fmt: skip
    """Add one panel at a 1-based place, on category axes: a category a layer, tried or not, so that all cells have one size."""
    values, (rows, columns) = panel.values.values.astype("float64"), place
    trace = go.Heatmap(
        z=spread(np.where(np.isfinite(values), values, np.nan), rows, columns),
        x=list(columns.labels), y=list(rows.labels), customdata=spread(panel.counts.values, rows, columns),
        coloraxis="coloraxis", hoverongaps=False,
        hovertemplate=f"{panel.hover}<br>mean gain %{{z:+.4f}} {unit}<br>n = %{{customdata}}<extra></extra>",
    )  # fmt: skip
    if numbers:
        text = [
            [f"{value:{numbers}}".replace("-", "−") if np.isfinite(value) else "" for value in line] for line in trace.z
        ]
        trace.update(text=text, texttemplate="%{text}")
    figure.add_trace(trace, row=row, col=column)
    for update, dim, own in zip(
        (figure.update_yaxes, figure.update_xaxes), panel.values.dims, place, strict=True
    ):  # fmt: skip
        name = str(dim)
        shown = own.ticks(9) if is_layers(name) else list(own.labels)
        room = _NAMES if update == figure.update_yaxes else width / len(own.labels)
        update(
            type="category", categoryorder="array", categoryarray=list(own.labels), tickmode="array", tickvals=shown,
            ticktext=[_broken(label, room) for label in shown], range=[-0.5, len(own.labels) - 0.5],
            title={"text": readable(name.replace("_", " ")), "standoff": 6}, showgrid=False, zeroline=False,
            ticks="outside", ticklen=3, tickangle=0, constrain="domain", row=row, col=column,
        )  # fmt: skip


def _broken(label: str, room: int | float) -> str:
    """A label (escaped) in lines that have room in so many pixels; broken at spaces alone."""
    lines: list[str] = []
    for word in label.split(" "):
        if lines and 6.5 * (len(lines[-1]) + len(word) + 1) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "<br>".join(lines)
