"""How figures in print are laid out: panels of one size, margins in letters, a colour bar as long as its title.

`Size` is the width in print; a letter ("em") is 8 points of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from xtl import plots
from xtl.errors import InputError
from xtl.plots.best import Best
from xtl.plots.heatmaps import add_marks
from xtl.plots.labels import FEW, name_lines
from xtl.plots.slots import Slots, is_layers, layer_ticks, spread
from xtl.plots.style import COLOURS, FONT, Scale, with_room, wrap
from xtl.results import provenance

LETTER = 0.53
"""Width of a letter, on average, as a share of its size."""
LINE = 1.4
"""Height of a line of text, as a share of its size."""
SMALLEST = 5
"""Least width of a cell in pixels; where layers would take less, gaps are shortened (`xtl.plots.slots`)."""
DASHES = ("solid", "4px,2px", "1.2px,1.6px", "6px,2px,1.2px,2px")
VANILLA = "#555555"


@dataclass(frozen=True)
class Size:
    """How large a figure is in print.

    Attributes:
        width: in pixels of 1/96 inch.
        style: one of `xtl.publish.figures.STYLES`.
    """

    width: float
    style: str = "paper"

    @property
    def label(self) -> float:
        """Size of labels in pixels: 8 points in print, 9 on a screen."""
        return (8 if self.style == "paper" else 9) * 96 / 72


@dataclass(frozen=True)
class Curve:
    """A line of a panel: its name, places (layers), values, and the ends of its interval where there are some."""

    name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def maps(
    panels: Sequence[plots.Panel], columns: int, unit: str, title: str, results: xr.Dataset, size: Size
) -> go.Figure:
    """Panels of heat maps in rows of `columns`, on one scale whose bar says where cells lie beyond it."""
    if not panels:
        raise InputError("no cell has a value: there is nothing to draw")
    em, marks = size.label, list({panel.best.words: panel.best for panel in panels if panel.best}.values())
    rough = (size.width - 11 * em) / columns
    places = [panel.places(int(rough // SMALLEST)) for panel in panels]
    ratio = max((_ratio(panel, place, rough, em) for panel, place in zip(panels, places, strict=True)), default=1.0)
    rows = math.ceil(len(panels) / columns)
    lines = _bar_lines(unit, rows * rough * ratio, em)
    said = _mark_lines(marks, size)
    named = [wrap(panel.title, int(rough // (LETTER * em)) - 1, least=6) for panel in panels]
    more = LINE * (max(map(len, named), default=1) - 1)
    figure, layout = grid(
        ["<br>".join(map(plots.readable, name)) for name in named], columns, size, ratio, right=5.6 + 1.2 * len(lines),
        above=1.8 + more, between=1.9 + more, below=0.3 + LINE * len(said) if marks else 0.0,
    )  # fmt: skip
    last = (len(panels) - 1) // columns
    for k, (panel, place) in enumerate(zip(panels, places, strict=True)):
        row, column = divmod(k, columns)
        _map(figure, panel, place, (row + 1, column + 1), shown=(row == last, column == 0), layout=layout, em=em)
    for panel, place, trace in zip(panels, places, list(figure.data), strict=True):
        add_marks(figure, panel, place, trace, layout["panel"] / len(place[1].labels))
    _say_marks(figure, said, em)
    font = {"family": FONT, "size": em, "color": "#000"}
    scale = Scale.of([panel.values for panel in panels])
    length = min(layout["inner"], max(layout["panel"] * ratio, _long(max(lines, key=len), em)))
    figure.update_layout(
        coloraxis=scale.axis() | {
            "colorbar": {
                "title": {"text": "<br>".join(lines), "side": "right", "font": font}, "tickfont": font,
                **scale.ticks(1.5 * em / length),
                "thickness": 0.8 * em, "outlinewidth": 0.5, "xpad": 4, "ypad": 0, "len": length, "lenmode": "pixels",
                "y": 1, "yanchor": "top", "ticklen": 2,
            },
        },
    )  # fmt: skip
    return finish(figure, layout, title, results, size)


def curves(
    panels: Mapping[tuple[int, int], Sequence[Curve]], titles: Sequence[str], axes: Sequence[str], y: str, title: str,
    results: xr.Dataset, size: Size, *, limits: tuple[float, float] | None = None, vanilla: Mapping[int, float] | None = None,
) -> go.Figure:  # fmt: skip
    """Lines over layers: a row a title, a column an axis; named beside themselves where they are few, else in a legend.

    Args:
        panels: curves by row and column, from 0.
        titles: of the rows; not shown of a single one.
        axes: titles of the x axes, a column each.
        y: title of the y axes.
        title, results, size: as for `finish`.
        limits: the range of all y axes; what the lines need by default.
        vanilla: a dashed line, by row.
    """
    em, rows, columns = size.label, len(titles), len(axes)
    names = list(dict.fromkeys(curve.name for own in panels.values() for curve in own))
    few = len(names) + (vanilla is not None) <= FEW
    longest = max([*map(len, names), 7 * (vanilla is not None)])
    right = LETTER * longest + 0.9 if few else 0.8
    left = 3.9 + (1.3 if rows > 1 else 0)
    figure, layout = grid([""] * (rows * columns), columns, size, 0.62 if not few else 0.8, left=left, right=right,
                          above=0.6 if few else 1.8, between=2.3)  # fmt: skip
    limits = limits or _limits([c for own in panels.values() for c in own], [*(vanilla or {}).values()])
    for (row, column), own in panels.items():
        place = {"row": row + 1, "col": column + 1}
        for curve in own:
            _curve(figure, curve, names.index(curve.name), legend=not few and (row, column) == (0, 0), **place)
        x = np.concatenate([curve.x for curve in own])
        if vanilla is not None and len(x):
            _vanilla_line(figure, x, vanilla[row], legend=not few and (row, column) == (0, 0), **place)
        ticks = layer_ticks(x, max(2, int(layout["panel"] // (1.9 * em))))
        figure.update_xaxes(tickmode="array", tickvals=ticks, ticktext=list(map(str, ticks)), **place)
        figure.update_xaxes(title_text=axes[column] if row == rows - 1 else None, **place)
        figure.update_yaxes(range=list(limits), showticklabels=column == 0, **place)
        if few and column == columns - 1:
            axis = str(row * columns + column + 1) if row + column else ""
            ends = [(plots.readable(c.name), COLOURS[names.index(c.name) % 8], float(c.y[-1])) for c in own if len(c.y)]
            ends += [("vanilla", VANILLA, vanilla[row])] if vanilla is not None else []
            name_lines(figure, ends, axis, limits, layout["panel"] * layout["ratio"], em)
    for row, name in enumerate(titles):
        named = f"{plots.readable(name)}<br>" if rows > 1 else ""
        figure.update_yaxes(title_text=f"{named}{plots.readable(y)}", row=row + 1, col=1)
    return finish(figure, layout, title, results, size)


def grid(
    titles: Sequence[str], columns: int, size: Size, ratio: float, *, left: float = 3.9, right: float = 0.8, above: float = 1.8,
    below: float = 0.0, between: float = 1.9,
) -> tuple[go.Figure, dict[str, float]]:  # fmt: skip
    """Panels in rows of `columns` and their layout: height / width of a panel is `ratio`; margins are in letters."""
    em, gap = size.label, size.label
    rows = math.ceil(len(titles) / columns)
    panel = (size.width - (left + right) * em - gap * (columns - 1)) / columns
    if panel < 3 * em:
        raise InputError(f"width is too small for {columns} panels side by side; give a larger one, or fewer modules")
    high, between = panel * ratio, between * em
    inner = rows * high + (rows - 1) * between
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=list(titles) if any(titles) else None, shared_yaxes=False,
        horizontal_spacing=gap / (size.width - (left + right) * em), vertical_spacing=between / inner if rows > 1 else 0,
    )  # fmt: skip
    bottom = 3.3 + below
    figure.update_layout(height=math.ceil(inner + (above + bottom) * em))
    margins = {"l": left * em, "r": right * em, "t": above * em, "b": bottom * em}
    return figure, margins | {"panel": panel, "inner": inner, "ratio": ratio}


def finish(figure: go.Figure, layout: Mapping[str, float], title: str, results: xr.Dataset, size: Size) -> go.Figure:
    """Fonts, margins and lines; on a screen also a title."""
    em = size.label
    margin = {side: layout[side] for side in "lrtb"} | {"pad": 0}
    height = figure.layout.height
    if size.style == "screen":
        head, room = _head(title, ", ".join(map(plots.readable, provenance(results))), size)
        margin["t"] += room
        height += math.ceil(room)
        figure.update_layout(
            title=head | {"x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"l": 6, "t": 8}}
        )
    font = {"family": FONT, "size": em, "color": "#000"}
    figure.update_layout(
        template="plotly_white", width=round(size.width), height=height, margin=margin, font=font, title_font_size=1.2 * em,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": font, "title": None, "itemwidth": 30},
    )  # fmt: skip
    figure.for_each_annotation(lambda note: note.update(font=font | {"color": note.font.color or "#000"}))
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
            **lines, showgrid=False, tickangle=0, tickfont=font, title_font=font, title_standoff=0.35 * em, zeroline=False,
        )  # fmt: skip
    return figure


def _head(title: str, named: str, size: Size) -> tuple[dict[str, object], float]:
    """A title with what it is of, and the pixels that it takes: on a second line where one is too short for both."""
    text = f"{title}: {named}".removesuffix(": ")
    if 0.65 * size.label * len(text) < size.width - 12:
        return {"text": text}, 3.2 * size.label
    return {"text": title, "subtitle": {"text": named, "font": {"size": size.label}}}, 4.8 * size.label


def _ratio(panel: plots.Panel, place: tuple[Slots, Slots], width: float, em: float) -> float:
    """Height / width of a panel: square cells, but rows of names no lower than a line of text, and no panel higher than wide."""
    rows, columns = (len(own.labels) for own in place)
    named = not is_layers(panel.values.dims[0])
    return min(max(rows / columns, (1.9 * em * rows if named else 3 * em) / width), 1.0)


def _map(
    figure: go.Figure, panel: plots.Panel, place: tuple[Slots, Slots], at: tuple[int, int], *, shown: tuple[bool, bool],
    layout: Mapping[str, float], em: float,
) -> None:  # fmt: skip
    """One heat map; `shown`: whether its x and its y axis have labels."""
    cells, (rows, columns) = panel.values.values.astype("float64"), place
    figure.add_trace(
        go.Heatmap(
            z=spread(np.where(np.isfinite(cells), cells, np.nan), rows, columns), x=list(columns.labels), y=list(rows.labels),
            coloraxis="coloraxis", name=plots.readable(panel.title), customdata=spread(panel.counts.values, rows, columns),
            hoverongaps=False,
        ),
        row=at[0], col=at[1],
    )  # fmt: skip
    y, x = map(str, panel.values.dims)
    for update, dim, own, labelled, length in (
        (figure.update_xaxes, x, columns, shown[0], layout["panel"]),
        (figure.update_yaxes, y, rows, shown[1], layout["panel"] * layout["ratio"]),
    ):
        ticks = own.ticks(max(2, int(length // (1.9 * em)))) if is_layers(dim) else list(own.labels)
        update(
            type="category", categoryorder="array", categoryarray=list(own.labels), tickmode="array", tickvals=ticks,
            constrain="domain", range=[-0.5, len(own.labels) - 0.5], showticklabels=labelled,
            title_text=dim.replace("_", " ") if labelled else None, row=at[0], col=at[1],
        )  # fmt: skip


def _mark_lines(marks: Sequence[Best], size: Size) -> list[list[Best]]:
    """What the marks are, side by side where the width is enough for all, else one a line."""
    taken = sum(_long(best.words, size.label) + 2.2 * size.label for best in marks)
    return [list(marks)] if taken < size.width - 3 * size.label else [[best] for best in marks]


def _say_marks(figure: go.Figure, lines: Sequence[Sequence[Best]], em: float) -> None:
    """Below the axes what the marks are: a legend of plotly's would push the panels up."""
    for line, marks in enumerate(lines):
        _say_line(figure, marks, -(4.2 + LINE * line) * em, em)


def _say_line(figure: go.Figure, marks: Sequence[Best], height: float, em: float) -> None:
    start = 0.0
    for best in marks:
        middle, half = (start + 0.5 * em, height), 0.28 * em
        shape = {
            "xref": "paper",
            "yref": "paper",
            "xsizemode": "pixel",
            "ysizemode": "pixel",
            "xanchor": 0,
            "yanchor": 0,
        }
        figure.add_shape(
            type="path", path=_outline(best.symbol, middle, half), fillcolor="#fff", line={"color": "#000", "width": 1}, **shape
        )  # fmt: skip
        figure.add_annotation(
            text=best.words, x=0, xref="paper", xanchor="left", xshift=start + 1.1 * em, y=0, yref="paper", yanchor="middle",
            yshift=middle[1], showarrow=False,
        )  # fmt: skip
        start += _long(best.words, em) + 2.2 * em


def _outline(symbol: str, middle: tuple[float, float], half: float) -> str:
    """A circle (of 16 corners) or a diamond as an SVG path."""
    corners = 4 if symbol == "diamond" else 16
    angles = [2 * math.pi * k / corners for k in range(corners)]
    points = [f"{middle[0] + half * math.cos(a):.2f},{middle[1] + half * math.sin(a):.2f}" for a in angles]
    return "M" + "L".join(points) + "Z"


def _bar_lines(unit: str, length: float, em: float) -> list[str]:
    """The colour bar's title in lines that are no longer than the bar can be."""
    return wrap(unit, int(length // (LETTER * em)), least=6)


def _long(text: str, em: float) -> float:
    return LETTER * em * len(text)


def _limits(own: Sequence[Curve], more: Sequence[float]) -> tuple[float, float]:
    """What lines and bands need, and a little room."""
    ends = [end for curve in own for end in (curve.y, curve.low, curve.high) if end is not None]
    values = np.concatenate([np.zeros(0), *ends, np.asarray(more, dtype=float)]).astype(float)
    values = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
    low, high = float(values.min()), float(values.max())
    return with_room(low, high, least=0.0 if high > low else 1.0)


def _curve(figure: go.Figure, curve: Curve, index: int, *, legend: bool, row: int, col: int) -> None:
    colour, ends = COLOURS[index % len(COLOURS)], None
    if curve.low is not None and curve.high is not None and np.isfinite(curve.low).any():
        ends = {"low": curve.low.tolist(), "high": curve.high.tolist()}
        red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([curve.x, curve.x[::-1]]), y=np.concatenate([curve.high, curve.low[::-1]]), fill="toself",
                mode="lines", line={"width": 0}, fillcolor=f"rgba({red}, {green}, {blue}, 0.18)", hoverinfo="skip",
                showlegend=False, legendgroup=curve.name, name=f"{plots.readable(curve.name)}, interval",
            ), row=row, col=col,
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=curve.x, y=curve.y, name=plots.readable(curve.name), mode="lines+markers", legendgroup=curve.name,
            showlegend=legend, meta=ends,
            marker={"size": 3.5, "symbol": index}, line={"color": colour, "width": 1.2, "dash": DASHES[index % 4]},
        ), row=row, col=col,
    )  # fmt: skip


def _vanilla_line(figure: go.Figure, x: np.ndarray, value: float, *, legend: bool, row: int, col: int) -> None:
    figure.add_trace(
        go.Scatter(
            x=[x.min(), x.max()], y=[value, value], name="vanilla", mode="lines", legendgroup="vanilla", showlegend=legend,
            line={"color": VANILLA, "width": 0.8, "dash": "3px,2px"},
        ), row=row, col=col,
    )  # fmt: skip
