"""How every figure looks: colours, texts that are shown as they are, titles, and the colour scale of gains.

The scale of gains, `RdBu`, is symmetric about zero: blue helps, red harms, white changes nothing. It runs over lightness
symmetrically and keeps its two arms apart under the three kinds of colour blindness. Lines and marks have the colours of Okabe
and Ito, and differ in dash and mark too.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from xtl.results import NOISE, provenance

COLOUR_SCALE = "RdBu"
COLOURS = ("#0072B2", "#D55E00", "#222222", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c8c00")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "solid", "dash", "dot")
MARKS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "pentagon")
REAL, CONTROL = COLOURS[:2]
"""Real runs and their controls."""
FONT = "Liberation Sans, Arial, Helvetica, Noto Sans, Noto Sans CJK SC, sans-serif"


def escape(text: object) -> str:
    """Text as plotly must be given it so that it is shown as it is: no tags, no LaTeX, no hover variables.

    >>> escape("<b> & $x$")
    '&lt;b&gt; &amp; &#36;x&#36;'
    """
    return html.escape(str(text), quote=False).replace("$", "&#36;").replace("%{", "&#37;{")


def wrap(text: str, width: int) -> list[str]:
    """Escaped lines of at most `width` characters, one at least."""
    lines = [piece for line in text.splitlines() for piece in textwrap.wrap(line, max(width, 20))]
    return [escape(line) for line in lines] or [""]


def headline(title: str, subtitle: str) -> dict[str, object]:
    """A figure's title and subtitle, at the left, shown as they are."""
    return {
        "text": escape(title), "subtitle": {"text": escape(subtitle)},
        "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"l": 12, "t": 14},
    }  # fmt: skip


def title_of(what: str, data: xr.Dataset) -> str:
    """What a figure shows, of which model and task."""
    return f"{what}: {', '.join(provenance(data))}".removesuffix(": ")


def symmetric_limit(values: Sequence[xr.DataArray]) -> float:
    """The end of a zero-centred colour scale: the largest gain, or what four of five cells stay within if that is more.

    A few transplants that wreck the answer lose ten times what the best one gains; they are drawn in the last colour rather
    than bleach all the rest. 1 where there is nothing but noise.

    >>> symmetric_limit([xr.DataArray([0.5, -0.1] * 20 + [-9.0])])
    0.5
    >>> symmetric_limit([xr.DataArray([0.5, -2.0, -1.0, float("nan")])])
    2.0
    >>> symmetric_limit([xr.DataArray([0.0])])
    1.0
    """
    finite = np.concatenate([np.zeros(1), *(v.values[np.isfinite(v.values)].ravel() for v in values)])
    usual = float(np.quantile(np.abs(finite), 0.8, method="higher"))
    limit = max(float(finite.max()), usual)
    return limit if limit > NOISE else 1.0


def saturation(values: Sequence[xr.DataArray]) -> str:
    """A note on the cells that lie beyond the colour scale; empty if there are none."""
    limit = symmetric_limit(values)
    beyond = sum(int((v.values < -limit - NOISE).sum()) for v in values)
    return f"; {beyond} losses beyond {-limit:.2g} have the last colour" if beyond else ""


def lay_out(figure: go.Figure, title: str, subtitle: str, *, width: int, height: int, left: int = 80) -> go.Figure:
    """Size, title, margins and legend of a figure of lines or points."""
    width = max(width, 560)
    lines = wrap(subtitle, width // 7)
    figure.update_layout(
        template="plotly_white", width=width, height=height + 16 * len(lines),
        title=headline(title, "") | {"subtitle": {"text": "<br>".join(lines)}},
        margin={"l": left, "r": 30, "t": 100 + 17 * len(lines), "b": 100},
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
    )  # fmt: skip
    return figure
