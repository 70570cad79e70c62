"""Estimates with their intervals: a forest plot, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from xtl.errors import InputError, check_flag, check_whole, known_keywords
from xtl.plots.style import COLOURS, MARKS, lay_out, readable, with_room
from xtl.stats.intervals import bracket


@dataclass(frozen=True)
class Estimate:
    """One point of a forest: a row, a series, a value and the ends of its interval (NaN where there is none)."""

    row: str
    series: str
    value: float
    low: float
    high: float


@known_keywords()
def forest(
    panels: Sequence[tuple[str, Sequence[Estimate]]],
    *,
    title: str,
    subtitle: str,
    x: str | Sequence[str],
    zero: bool | Sequence[bool] = True,
    decimals: int = 3,
    columns: int | None = None,
) -> go.Figure:
    """Estimates with intervals: a row each, panels beside each other.

    Args:
        panels: a title and the estimates of each; rows are shared, in the order in which they first appear.
        title, subtitle: texts of the figure.
        x: the axis, of all panels or of each.
        zero: whether a panel has a line at 0: its values are differences. Where that is said panel by panel, all that have it
            share one range.
        decimals: of the numbers at the pointer.
        columns: panels side by side; None: all of them.

    >>> forest([("gain", [Estimate("es", "attn", 0.2, 0.1, 0.3)])], title="t", subtitle="s", x="nats").data[0].name
    'attn'
    """
    decimals = check_whole("decimals", decimals, 0)
    if not any(points for _, points in panels):
        raise InputError("panels hold no estimate: there is nothing to draw")
    rows = list(dict.fromkeys(point.row for _, points in panels for point in points))
    series = list(dict.fromkeys(point.series for _, points in panels for point in points))
    axes = [x] * len(panels) if isinstance(x, str) else list(x)
    each = zero if isinstance(zero, (list, tuple)) and zero else [zero] * len(panels)
    differences = [check_flag("zero", one) for one in each]
    across = len(panels) if columns is None else min(check_whole("columns", columns, 1), len(panels))
    down = -(-len(panels) // across)
    high = max(24 * len(rows) * (len(series) + 1) // 2, 34 * len(rows))
    figure = make_subplots(
        rows=down, cols=across, shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=[readable(name) for name, _ in panels],
        vertical_spacing=90 / (high * down + 90 * (down - 1)) if down > 1 else 0,
    )  # fmt: skip
    figure.update_annotations(font={"size": 14})
    shown: set[str] = set()
    for index, (_, points) in enumerate(panels):
        place = {"row": index // across + 1, "col": index % across + 1}
        for name in series:
            own = [point for point in points if point.series == name]
            if own:
                legend = name not in shown and len(series) > 1
                figure.add_trace(_points(own, rows, series, legend, decimals), **place)
                shown.add(name)
        if differences[index]:
            figure.add_vline(x=0, line={"color": "#666666", "width": 1}, **place)
            if not isinstance(zero, bool):
                figure.update_xaxes(range=_range(panels, differences), **place)
        last = index + across >= len(panels)
        figure.update_xaxes(title_text=readable(axes[index]) if last or down == 1 else None, zeroline=False, **place)
    for edge in range(len(rows) - 1):
        figure.add_hline(y=edge + 0.5, line={"color": "#e4e4e4", "width": 1})
    figure.update_yaxes(
        tickmode="array", tickvals=list(range(len(rows))), ticktext=[readable(row) for row in rows], showgrid=False,
        zeroline=False, range=[len(rows) - 0.4, -0.6],
    )  # fmt: skip
    left = 40 + 7 * max(len(row) for row in rows)
    height = 200 + high * down + 90 * (down - 1)
    return lay_out(figure, title, subtitle, width=left + 60 + 300 * across, height=max(height, 300), left=left)


def _points(own: list[Estimate], rows: list[str], series: list[str], legend: bool, decimals: int) -> go.Scatter:
    """One series of a panel."""
    index = series.index(own[0].series)
    value, low, high = (np.array([getattr(p, end) for p in own], dtype=float) for end in ("value", "low", "high"))
    step = 0.6 / len(series)
    number = f":.{decimals}f"
    return go.Scatter(
        x=value, y=[rows.index(point.row) + (index - (len(series) - 1) / 2) * step for point in own], mode="markers",
        name=readable(own[0].series), legendgroup=own[0].series, showlegend=legend,
        marker={"color": COLOURS[index % 8], "symbol": MARKS[index % 8], "size": 8},
        error_x={"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low,
                 "color": COLOURS[index % 8], "thickness": 1.5, "width": 3},
        customdata=[_behind(*ends, decimals) for ends in zip(low, high, strict=True)],
        hovertemplate=f"%{{x{number}}}%{{customdata}}",
    )  # fmt: skip


def _behind(low: float, high: float, decimals: int) -> str:
    """An interval after its estimate; nothing where there is none."""
    return f" {bracket(low, high, f'.{decimals}f')}" if np.isfinite([low, high]).all() else ""


def _range(panels: Sequence[tuple[str, Sequence[Estimate]]], differences: Sequence[bool]) -> list[float]:
    """What all panels of differences need, with 0 in it."""
    points = [p for (_, own), signed in zip(panels, differences, strict=True) if signed for p in own]
    ends = np.array([[p.value, p.low, p.high] for p in points], dtype=float)
    low, high = min(np.nanmin(ends, initial=0), 0), max(np.nanmax(ends, initial=0), 0)
    return list(map(float, with_room(low, high, least=0.06)))
