"""Lines over layers.

Colours are those of Okabe and Ito, told apart under the three kinds of colour blindness; lines differ in dash and mark too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xtl.errors import check_choice, check_flag, check_whole
from xtl.plots.slots import is_layers, layer_ticks
from xtl.plots.style import COLOURS, DASHES, MARKS, lay_out, readable, with_room, wrap

SHARED = {"all": "all", "rows": "rows", "none": False}
"""Which panels can have one y axis, and plotly's word for it."""
_WIDTH = {1: 560, 2: 420}  # pixels of a panel, by columns; 300 for more
_FAINT = ("dot", "dash", "dashdot")


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        name: in the legend; lines of one name have one colour in all panels.
        x, y: points; NaN breaks the line.
        low, high: a band, or None.
        faint: draw thin and grey, without marks (a control, a level of chance): the first name dotted, the second dashed.
    """

    name: str
    x: Sequence[float] | np.ndarray | list[int]
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    faint: bool = False


def line_grid(
    panels: Sequence[tuple[str, Sequence[Line]]],
    *,
    columns: int,
    title: str,
    subtitle: str,
    y: str,
    x: str = "layer",
    zero: bool = False,
    y_range: tuple[float, float] | None = None,
    shared: str = "all",
) -> go.Figure:
    """Panels of lines, in rows of `columns`.

    Args:
        panels: a title and the lines of each; a second line of the title is small print (numbers that belong to the panel).
        columns: panels a row.
        title, subtitle: of the figure; shown as they are.
        x, y: titles of the axes.
        zero: draw a line at 0.
        y_range: of all panels; by default what the lines need.
        shared: which panels have one y axis: "all", those of each row ("rows"), or none ("none": what one panel holds flattens no
            other).

    >>> line_grid([("a", [Line("attn", [0, 1], np.array([0.0, 1.0]))])], columns=1, title="t", subtitle="s", y="v").data[0].name
    'attn'
    """
    check_flag("zero", zero)
    check_choice("shared", shared, SHARED)
    columns = min(check_whole("columns", columns, 1), len(panels))
    rows = math.ceil(len(panels) / columns)
    width = _WIDTH.get(columns, 300)
    headings = [_heading(name, width // 8) for name, _ in panels]
    small = 16 * max(heading.count("<br>") for heading in headings)
    inner = 250 * rows
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=headings, shared_yaxes=SHARED[shared],
        horizontal_spacing=(0.09 if SHARED[shared] else 0.16) / columns,
        vertical_spacing=(70 + small) / inner if rows > 1 else 0,
    )  # fmt: skip
    figure.update_annotations(font={"size": 14})
    names, faint = (
        list(dict.fromkeys(line.name for _, lines in panels for line in lines if line.faint is which))
        for which in (False, True)
    )
    shown: set[str] = set()
    for index, (_, lines) in enumerate(panels):
        row, column = divmod(index, columns)
        for line in lines:
            _add_line(figure, line, faint if line.faint else names, line.name not in shown, row + 1, column + 1)
            shown.add(line.name)
        figure.update_xaxes(
            title_text=readable(x) if index + columns >= len(panels) else None, row=row + 1, col=column + 1
        )
        if is_layers(x):
            _tick_layers(figure, lines, row + 1, column + 1)
        if column == 0:
            figure.update_yaxes(title_text=readable(y), row=row + 1, col=column + 1)
    if zero:
        figure.add_hline(y=0, line={"color": "#999999", "width": 1})
    any_cut = False
    for own in _sharing(len(panels), columns, shared):
        found, cut = _range([line for index in own for line in panels[index][1]], zero)
        any_cut |= cut and y_range is None
        for index in own if (y_range or found) is not None else []:
            figure.update_yaxes(range=list(y_range or found or ()), row=index // columns + 1, col=index % columns + 1)
    subtitle += "; bands that go further are cut" if any_cut else ""
    figure.update_xaxes(zeroline=False)
    figure.update_yaxes(zeroline=False, showticklabels=True)
    return lay_out(figure, title, subtitle, width=110 + width * columns, height=190 + small + inner)


def _heading(title: str, width: int) -> str:
    """A panel's title in lines of at most `width` characters, with its second line in small print."""
    first, _, small = title.partition("\n")
    return "<br>".join(wrap(first, width)) + (
        f'<br><span style="font-size: 12px">{readable(small)}</span>' if small else ""
    )


def _sharing(n: int, columns: int, shared: str) -> list[list[int]]:
    """Panels, from 0, that have one y axis."""
    size = {"all": n, "rows": columns, "none": 1}[shared]
    return [list(range(start, min(start + size, n))) for start in range(0, n, size)]


def _tick_layers(figure: go.Figure, lines: Sequence[Line], row: int, column: int) -> None:
    """Ticks at the layers that have a point; lines between them stand over what was not tried."""
    layers = np.unique(np.concatenate([np.asarray(line.x) for line in lines])) if lines else np.zeros(0)
    if len(layers) and (layers == layers.astype(int)).all():
        ticks = layer_ticks(layers.astype(int), room=10)
        figure.update_xaxes(tickmode="array", tickvals=ticks, ticktext=list(map(str, ticks)), row=row, col=column)


def _range(lines: Sequence[Line], zero: bool) -> tuple[tuple[float, float] | None, bool]:
    """The y range of all lines and their bands, and whether a band had to be cut: it may take as much room as the lines do."""
    values = [np.asarray(line.y, dtype=float) for line in lines]
    values += [np.zeros(1)] if zero else []
    finite = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.zeros(0)
    if not finite.size or np.ptp(finite) == 0:
        return None, False
    low, high, room = float(finite.min()), float(finite.max()), 0.5 * float(np.ptp(finite))
    ends = [end for line in lines for end in (line.low, line.high) if end is not None]
    banded = np.concatenate([np.asarray(end, dtype=float) for end in ends]) if ends else finite
    banded = banded[np.isfinite(banded)] if np.isfinite(banded).any() else finite
    bottom, top = max(min(low, float(banded.min())), low - room), min(max(high, float(banded.max())), high + room)
    cut = bool(banded.min() < bottom - 1e-9 or banded.max() > top + 1e-9)
    return with_room(bottom, top, share=0.04), cut


def _add_line(figure: go.Figure, line: Line, names: list[str], legend: bool, row: int, column: int) -> None:
    place = names.index(line.name)
    dash = _FAINT[place % 3] if line.faint else DASHES[place % 8]
    colour = "#777777" if line.faint else COLOURS[place % 8]
    x, y = np.asarray(line.x), np.asarray(line.y, dtype=float)
    if line.low is not None and line.high is not None:
        low, high = (np.where(np.isfinite(end), end, y) for end in (line.low, line.high))
        red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself", mode="lines",
                line={"width": 0}, fillcolor=f"rgba({red}, {green}, {blue}, 0.15)", hoverinfo="skip", showlegend=False,
                legendgroup=line.name,
            ), row=row, col=column,
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=x, y=y, name=readable(line.name), legendgroup=line.name, showlegend=legend,
            mode="lines" if line.faint else "lines+markers", marker={"size": 5, "symbol": MARKS[place % 8]},
            line={"color": colour, "width": 1.2 if line.faint else 2, "dash": dash},
            hovertemplate=f"{readable(line.name)}<br>%{{x}}: %{{y:.3f}}<extra></extra>",
        ), row=row, col=column,
    )  # fmt: skip
