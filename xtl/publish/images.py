"""Maps as images of one pixel a cell, for pages that load nothing: a few hundred bytes each, in light and in dark colours.

>>> import numpy as np
>>> data_uri(np.array([[0.5, -0.5], [np.nan, 0.0]]), limit=0.5, dark=False)[:22]
'data:image/png;base64,'
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from jaxtyping import Bool, Float
from plotly.colors import sample_colorscale, unlabel_rgb

from xtl import plots

LEVELS = 127
"""Colours of a scale; odd, so that zero has its own."""
DARK_ENDS = ((255, 120, 105), (38, 43, 56), (95, 175, 255))
"""On a dark page: losses, nothing, gains. The stronger, the brighter."""


def palette(dark: bool) -> list[tuple[int, int, int]]:
    """Colours from the largest loss to the largest gain; the light ones are those of the figures (`xtl.plots`)."""
    places = np.linspace(0, 1, LEVELS)
    if dark:
        return [
            tuple(round(np.interp(p, (0, 0.5, 1), channel)) for channel in zip(*DARK_ENDS, strict=True)) for p in places
        ]
    return [tuple(round(c) for c in unlabel_rgb(text)) for text in sample_colorscale(plots.COLOUR_SCALE, places)]


def gradient(dark: bool, steps: int = 9) -> str:
    """The same scale as a CSS gradient, for a colour bar."""
    colours = palette(dark)
    chosen = [colours[round(k * (LEVELS - 1) / (steps - 1))] for k in range(steps)]
    return "linear-gradient(to right, " + ", ".join(f"rgb({r} {g} {b})" for r, g, b in chosen) + ")"


DOTTED, INK = 7, 2 * LEVELS + 1
"""Pixels a cell, on each side, where some have a dot; and its colour's place in the palette, after those of all cells."""
LIGHT_INK, DARK_INK = (20, 20, 20), (255, 255, 255)
PALE = 0.2
"""How much of its colour a muted cell keeps; the rest is the colour of no gain."""


def muted_palette(dark: bool) -> list[tuple[int, int, int]]:
    """The colours of cells that may be chance."""
    colours = palette(dark)
    page = colours[LEVELS // 2]
    mixed = (zip(colour, page, strict=True) for colour in colours)
    return [tuple(round(PALE * own + (1 - PALE) * paper) for own, paper in pairs) for pairs in mixed]  # type: ignore[misc]


def data_uri(
    values: Float[np.ndarray, "rows columns"],
    *,
    limit: float,
    dark: bool,
    scale: int = 1,
    muted: Bool[np.ndarray, "rows columns"] | None = None,
) -> str:
    """A map as a PNG in a data URI; row 0 is at the bottom, NaN is transparent.

    Args:
        values: one number a cell.
        limit: what the last colours stand for, on both sides of zero; larger values have them too.
        dark: colours for a dark page.
        scale: pixels a cell, on each side.
        muted: cells that have pale colours; the others have a dot.
    """
    finite = np.isfinite(values)
    level = np.clip(np.where(finite, values, 0) / limit, -1, 1) * (LEVELS // 2) + LEVELS // 2
    index = np.where(finite, np.rint(level) + 1, 0).astype(np.uint8)
    if muted is not None:
        index = np.where(finite & muted, index + LEVELS, index).astype(np.uint8)
    sure = finite & ~muted if muted is not None else np.zeros_like(finite)
    scale = max(scale, DOTTED) if sure.any() else scale
    index = index[::-1].repeat(scale, axis=0).repeat(scale, axis=1)
    index[scale // 2 :: scale, scale // 2 :: scale][sure[::-1]] = INK
    rows, columns = index.shape
    own = palette(dark) if muted is None else [*palette(dark), *muted_palette(dark), DARK_INK if dark else LIGHT_INK]
    colours = bytes(3) + b"".join(bytes(colour) for colour in own)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in index), 9)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data)
        for name, data in (
            (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
            (b"PLTE", colours),
            (b"tRNS", b"\0"),
            (b"IDAT", pixels),
            (b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
