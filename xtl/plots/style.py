"""How every figure looks: colours, texts that are shown as they are, titles, and the colour scale of gains.

The scale of gains, `RdBu`, is symmetric about zero: blue helps, red harms, white changes nothing. It runs over lightness
symmetrically and keeps its two arms apart under the three kinds of colour blindness. Lines and marks have the colours of Okabe
and Ito, and differ in dash and mark too.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from xtl.languages import arrow
from xtl.results import NOISE, provenance

COLOUR_SCALE = "RdBu"
ONE_SIDED = "Blues"
"""Of values that have no other side: agreement, shares."""
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


def readable(text: object) -> str:
    """Escaped text with its directions and cells as readers see them everywhere: `xtl.languages.arrow`.

    >>> readable("en->es, attn 12 -> 13 & more")
    'en → es, attn 12 → 13 &amp; more'
    """
    return escape(arrow(text))


def wrap(text: str, width: int, least: int = 20) -> list[str]:
    """Readable lines of at most `width` characters (no narrower than `least`), one at least."""
    lines = [piece for line in arrow(text).splitlines() for piece in textwrap.wrap(line, max(width, least))]
    return [escape(line) for line in lines] or [""]


def headline(title: str, subtitle: str) -> dict[str, object]:
    """A figure's title and subtitle, at the left, shown as they are."""
    return {
        "text": readable(title), "subtitle": {"text": readable(subtitle)},
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
    words = ("loss", "has") if beyond == 1 else ("losses", "have")
    return f"; {beyond} {words[0]} beyond {-limit:.2g} {words[1]} the last colour" if beyond else ""


@dataclass(frozen=True)
class Scale:
    """A colour scale: its colours, its ends, and whether some cells lie beyond them.

    Attributes:
        colours: plotly's name.
        low, high: the values of the first and the last colour.
        below, above: whether there are cells beyond, which have the first or the last colour: the bar's end says ≤ or ≥.
    """

    colours: str
    low: float
    high: float
    below: bool = False
    above: bool = False

    @classmethod
    def of(cls, values: Sequence[xr.DataArray], *, signed: bool = True) -> Scale:
        """The scale of some maps: symmetric about zero (`symmetric_limit`), or of what has no other side, from 0.

        >>> Scale.of([xr.DataArray([0.5, -0.1] * 20 + [-9.0])])
        Scale(colours='RdBu', low=-0.5, high=0.5, below=True, above=False)
        >>> Scale.of([xr.DataArray([0.2, 0.9])], signed=False)
        Scale(colours='Blues', low=0.0, high=0.9, below=False, above=False)
        """
        limit = symmetric_limit(values)
        finite = np.concatenate([v.values[np.isfinite(v.values)].ravel() for v in values]).astype("float64")
        least, most = (float(end) for end in (finite.min(initial=0), finite.max(initial=0)))
        if not signed:
            return cls(ONE_SIDED, min(least, 0.0), most if most > NOISE else 1.0)
        return cls(COLOUR_SCALE, -limit, limit, least < -limit - NOISE, most > limit + NOISE)

    def ticks(self, least: float = 0.12) -> dict[str, object]:
        """Tick values and texts of the colour bar: both ends, with ≤ or ≥ where cells lie beyond, and round numbers between.

        Args:
            least: room of a text, as a share of the bar.

        >>> Scale("RdBu", -0.97, 0.97, below=True).ticks()["ticktext"]
        ['≤ −0.97', '−0.5', '0', '+0.5', '+0.97']
        >>> Scale("RdBu", -0.97, 0.97).ticks(0.4)["ticktext"]
        ['−0.97', '0', '+0.97']
        """
        room = least * (self.high - self.low)
        step = _round_step(max((self.high - self.low) / 5, room))
        first, last = math.ceil((self.low + room) / step), math.floor((self.high - room) / step)
        values = [self.low, *(step * k for k in range(first, last + 1)), self.high]
        texts = [self._number(value) for value in values]
        texts[0], texts[-1] = "≤ " * self.below + texts[0], "≥ " * self.above + texts[-1]
        return {"tickmode": "array", "tickvals": values, "ticktext": texts}

    def _number(self, value: float) -> str:
        text = f"{abs(value):.2g}" if value else "0"
        sign = "−" if value < 0 else "+" if value > 0 and self.low < 0 else ""
        return sign + text

    def axis(self) -> dict[str, object]:
        """Plotly's colour axis, without its bar."""
        middle = {"cmid": 0} if self.low == -self.high else {}
        return {"colorscale": self.colours, "cmin": self.low, "cmax": self.high, **middle}


def with_room(low: float, high: float, share: float = 0.06, least: float = 0.0) -> tuple[float, float]:
    """The range of an axis whose marks lie from `low` to `high`, with room of a share of it, or more, at either end.

    >>> with_room(0.0, 10.0), with_room(5.0, 5.0, least=1.0)
    ((-0.6, 10.6), (4.0, 6.0))
    """
    room = max(share * (high - low), least)
    return low - room, high + room


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten: the smallest that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return min(k * power for k in (1, 2, 5, 10) if k * power >= least * (1 - 1e-9))


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
