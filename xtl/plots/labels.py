"""Names written beside lines, in place of a legend, where lines are few.

>>> apart([10.0, 10.5, 30.0], least=2.0, low=0.0, high=40.0)
[9.25, 11.25, 30.0]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

FEW = 4
"""Lines that are named beside themselves; more have a legend."""


def name_lines(
    figure: go.Figure, lines: Sequence[tuple[str, str, float]], axis: str, limits: tuple[float, float], height: float, size: float
) -> None:  # fmt: skip
    """Write names at the right end of a panel's lines, in their colours, moved apart where they would overlap.

    Args:
        figure: drawn on.
        lines: name (escaped), colour, and value at the right end, of each; names without a finite value are left out.
        axis: the panel's number as plotly's axes have it: "", "2", ...
        limits: range of the panel's y axis.
        height: of the panel, in pixels.
        size: of the letters, in pixels.
    """
    shown = [line for line in lines if np.isfinite(line[2])]
    least = 1.1 * size * (limits[1] - limits[0]) / height
    places = apart([value for _, _, value in shown], least=least, low=limits[0], high=limits[1])
    for (name, colour, _), place in zip(shown, places, strict=True):
        figure.add_annotation(
            text=name, x=1, xref=f"x{axis} domain", xanchor="left", xshift=3, y=place, yref=f"y{axis}", yanchor="middle",
            showarrow=False, font={"color": colour, "size": size},
        )  # fmt: skip


def apart(values: Sequence[float], *, least: float, low: float, high: float) -> list[float]:
    """The same values moved as little as it takes to lie at least `least` apart, between two ends where there is room."""
    order = np.argsort(values, kind="stable")
    groups = [[float(values[k])] for k in order]
    centres = [group[0] for group in groups]
    k = 0
    while k + 1 < len(groups):
        room = least * (len(groups[k]) + len(groups[k + 1])) / 2
        if centres[k + 1] - centres[k] >= room:
            k += 1
            continue
        groups[k] += groups.pop(k + 1)
        centres.pop(k + 1)
        half = least * (len(groups[k]) - 1) / 2
        centres[k] = min(max(float(np.mean(groups[k])), low + half), high - half)
        k = max(k - 1, 0)
    moved = [
        centre + least * (place - (len(group) - 1) / 2)
        for centre, group in zip(centres, groups, strict=True) for place in range(len(group))
    ]  # fmt: skip
    found = [0.0] * len(moved)
    for place, value in zip(order.tolist(), moved, strict=True):
        found[place] = value
    return found
