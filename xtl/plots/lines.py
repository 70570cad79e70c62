"""Lines over layers, and estimates with their intervals: the two figures that several analyses share.

Colours are those of Okabe and Ito, told apart under the three kinds of colour blindness; lines differ in dash and mark too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xtl.plots.style import COLOURS, DASHES, MARKS, escape, headline, wrap


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        name: in the legend; lines of one name have one colour in all panels.
        x, y: points; NaN breaks the line.
        low, high: a band, or None.
        faint: draw thin and grey, without marks (a control, a level of chance).
    """

    name: str
    x: Sequence[float] | np.ndarray | list[int]
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    faint: bool = False


@dataclass(frozen=True)
class Estimate:
    """One point of a forest: a row, a series, a value and the ends of its interval."""

    row: str
    series: str
    value: float
    low: float
    high: float


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
        panels: a title and the lines of each.
        columns: panels a row.
        title, subtitle: of the figure; shown as they are.
        x, y: titles of the axes.
        zero: draw a line at 0.
        y_range: of all panels; by default what the lines need.
        shared: which panels have one y axis: "all", or those of each row ("rows").

    >>> line_grid([("a", [Line("attn", [0, 1], np.array([0.0, 1.0]))])], columns=1, title="t", subtitle="s", y="v").data[0].name
    'attn'
    """
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[escape(name) for name, _ in panels],
        shared_yaxes=shared, horizontal_spacing=0.09 / columns, vertical_spacing=min(0.25, 0.28 / rows),
    )  # fmt: skip
    figure.update_annotations(font={"size": 13})
    names = list(dict.fromkeys(line.name for _, lines in panels for line in lines if not line.faint))
    shown: set[str] = set()
    for index, (_, lines) in enumerate(panels):
        row, column = divmod(index, columns)
        for line in lines:
            _add_line(figure, line, names, line.name not in shown, row + 1, column + 1)
            shown.add(line.name)
        figure.update_xaxes(title_text=escape(x) if row == rows - 1 else None, row=row + 1, col=column + 1)
        if column == 0:
            figure.update_yaxes(title_text=escape(y), row=row + 1, col=column + 1)
    if zero:
        figure.add_hline(y=0, line={"color": "#999999", "width": 1})
    size, any_cut = columns if shared == "rows" else len(panels), False
    for start in range(0, len(panels), size):
        found, cut = _range([line for _, lines in panels[start : start + size] for line in lines], zero)
        any_cut |= cut and y_range is None
        place = {"row": start // columns + 1} if shared == "rows" else {}
        if (limits := y_range or found) is not None:
            figure.update_yaxes(range=list(limits), **place)
    subtitle += "; bands that go further are cut" if any_cut else ""
    figure.update_xaxes(zeroline=False)
    figure.update_yaxes(zeroline=False, showticklabels=True)
    return _layout(figure, title, subtitle, width=110 + 330 * columns, height=190 + 250 * rows)


def forest(
    panels: Sequence[tuple[str, Sequence[Estimate]]], *, title: str, subtitle: str, x: str, zero: bool = True
) -> go.Figure:
    """Estimates with intervals: a row each, a panel beside the other.

    Args:
        panels: a title and the estimates of each; rows are shared, in the order in which they first appear.
        title, subtitle, x: texts.
        zero: draw a line at 0.
    """
    rows = list(dict.fromkeys(point.row for _, points in panels for point in points))
    series = list(dict.fromkeys(point.series for _, points in panels for point in points))
    figure = make_subplots(
        rows=1, cols=len(panels), shared_yaxes=True, horizontal_spacing=0.04,
        subplot_titles=[escape(name) for name, _ in panels],
    )  # fmt: skip
    figure.update_annotations(font={"size": 13})
    step = 0.6 / len(series)
    shown: set[str] = set()
    for column, (_, points) in enumerate(panels, 1):
        for index, name in enumerate(series):
            own = [point for point in points if point.series == name]
            if not own:
                continue
            value, low, high = (
                np.array([getattr(p, end) for p in own], dtype=float) for end in ("value", "low", "high")
            )
            low, high = (np.where(np.isfinite(end), end, value) for end in (low, high))
            places = [rows.index(point.row) + (index - (len(series) - 1) / 2) * step for point in own]
            figure.add_trace(
                go.Scatter(
                    x=value, y=places, mode="markers", name=escape(name), legendgroup=name,
                    showlegend=name not in shown and len(series) > 1,
                    marker={"color": COLOURS[index % 8], "symbol": MARKS[index % 8], "size": 8},
                    error_x={"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low,
                             "color": COLOURS[index % 8], "thickness": 1.5, "width": 3},
                    customdata=np.stack([low, high], 1),
                    hovertemplate="%{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]",
                ), row=1, col=column,
            )  # fmt: skip
            shown.add(name)
        if zero:
            figure.add_vline(x=0, line={"color": "#666666", "width": 1}, row=1, col=column)
        figure.update_xaxes(title_text=escape(x), zeroline=False, row=1, col=column)
    figure.update_yaxes(
        tickmode="array", tickvals=list(range(len(rows))), ticktext=[escape(row) for row in rows], showgrid=False,
        zeroline=False, range=[len(rows) - 0.4, -0.6],
    )  # fmt: skip
    left = 40 + 7 * max(len(row) for row in rows)
    height = 200 + 24 * len(rows) * (len(series) + 1) // 2
    return _layout(figure, title, subtitle, width=left + 60 + 300 * len(panels), height=max(height, 300), left=left)


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
    pad = 0.04 * (top - bottom)
    return (bottom - pad, top + pad), cut


def _add_line(figure: go.Figure, line: Line, names: list[str], legend: bool, row: int, column: int) -> None:
    place = names.index(line.name) if line.name in names else 0
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
            x=x, y=y, name=escape(line.name), legendgroup=line.name, showlegend=legend,
            mode="lines" if line.faint else "lines+markers", marker={"size": 5, "symbol": MARKS[place % 8]},
            line={"color": colour, "width": 1.2 if line.faint else 2, "dash": "dot" if line.faint else DASHES[place % 8]},
            hovertemplate=f"{escape(line.name)}<br>%{{x}}: %{{y:.3f}}<extra></extra>",
        ), row=row, col=column,
    )  # fmt: skip


def _layout(figure: go.Figure, title: str, subtitle: str, *, width: int, height: int, left: int = 80) -> go.Figure:
    width = max(width, 560)
    lines = wrap(subtitle, width // 7)
    figure.update_layout(
        template="plotly_white", width=width, height=height + 16 * len(lines),
        title=headline(title, "") | {"subtitle": {"text": "<br>".join(lines)}},
        margin={"l": left, "r": 30, "t": 100 + 17 * len(lines), "b": 100},
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
    )  # fmt: skip
    return figure
