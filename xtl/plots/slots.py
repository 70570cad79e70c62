"""Places along an axis of a map: every layer has its own, tried or not, so that what was left out is seen as a gap.

A row stands for one layer and is as high as one. Where a few layers of many were tried the gaps are shortened, all by one factor,
so that cells stay large enough to see; a pair of strokes through the axis says so.

>>> place = slots("source_layer", [0, 4, 5])
>>> place.labels, place.held
(('0', '1', '2', '3', '4', '5'), (0, 4, 5))
>>> slots("source_layer", [0, 40, 79], most=12).labels
('0', '1-39 (1)', '1-39 (2)', '1-39 (3)', '1-39 (4)', '40', '41-78 (1)', '41-78 (2)', '41-78 (3)', '41-78 (4)', '79')
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Num

from xtl.plots.style import readable

WIDEST = 2
"""Of shortened axes: places a tried layer, at least; more where there is room."""


@dataclass(frozen=True)
class Slots:
    """Places along an axis.

    Attributes:
        labels: of every place, as plotly shows them; all different.
        held: the place of each entry of the data.
        breaks: the middles of gaps that are shortened.
    """

    labels: tuple[str, ...]
    held: tuple[int, ...]
    breaks: tuple[float, ...] = ()

    @property
    def has_gaps(self) -> bool:
        """Whether some place holds no entry."""
        return len(self.held) < len(self.labels)

    def ticks(self, room: int) -> list[str]:
        """The entries' labels, as many as have room: the first, then each that is far enough from the one before."""
        step, shown = math.ceil(len(self.labels) / max(room, 1)), list[int]()
        for place in sorted(self.held):
            if not shown or place - shown[-1] >= step:
                shown.append(place)
        return [self.labels[place] for place in shown]


def slots(dim: object, values: Sequence[object] | np.ndarray, most: int = 24) -> Slots:
    """Places of a map's rows or columns: layers by their number, anything else one beside the other.

    Args:
        dim: its name; layers are what ends in "layer".
        values: the entries: layers that were tried, in any order, or names.
        most: places that there is room for. Where layers would take more, and more than two each, gaps are shortened.
    """
    layers = np.asarray(values)
    if not is_layers(dim) or layers.dtype.kind not in "iu" or not len(layers):
        return Slots(tuple(readable(value) for value in values), tuple(range(len(values))))
    ordered = sorted(layers.tolist())
    gaps = [after - before - 1 for before, after in pairwise(ordered)]
    room = max(most, WIDEST * len(ordered)) - len(ordered)
    share = min(1.0, room / max(sum(gaps), 1))
    labels, held, breaks = [str(ordered[0])], {ordered[0]: 0}, []
    for layer, gap in zip(ordered[1:], gaps, strict=True):
        drawn = max(1, math.floor(gap * share)) if gap else 0
        first = layer - gap
        if drawn < gap:
            breaks.append(len(labels) + (drawn - 1) / 2)
            labels += [f"{first}-{layer - 1} ({k + 1})" for k in range(drawn)]
        else:
            labels += [str(first + k) for k in range(gap)]
        held[layer] = len(labels)
        labels.append(str(layer))
    return Slots(tuple(labels), tuple(held[layer] for layer in layers.tolist()), tuple(breaks))


def is_layers(dim: object) -> bool:
    """Whether a dim, or the title of an axis, is of layers.

    >>> is_layers("source_layer"), is_layers("source_head")
    (True, False)
    """
    return str(dim).endswith("layer")


def spread(values: Num[np.ndarray, "rows columns"], rows: Slots, columns: Slots) -> Num[np.ndarray, "a b"]:
    """Values of cells at their places, NaN in the gaps; the array itself where there are none."""
    if not rows.has_gaps and not columns.has_gaps and rows.held == tuple(range(len(rows.held))):
        return values
    found = np.full((len(rows.labels), len(columns.labels)), np.nan)
    found[np.ix_(rows.held, columns.held)] = values
    return found


def tried(rows: Slots, columns: Slots) -> Bool[np.ndarray, "row_slots column_slots"]:
    """Which places hold a cell."""
    mask = np.zeros((len(rows.labels), len(columns.labels)), dtype=bool)
    mask[np.ix_(rows.held, columns.held)] = True
    return mask


def border(mask: Bool[np.ndarray, "rows columns"]) -> str:
    """The edges between true and false cells, as an SVG path in numbers of cells.

    >>> border(np.array([[True]])).count("M")
    4
    """
    framed = np.pad(mask, 1)
    across = [
        f"M{j - 1.5},{i - 0.5}L{j - 0.5},{i - 0.5}" for i, j in zip(*np.nonzero(framed[1:] != framed[:-1]), strict=True)
    ]
    down = [
        f"M{j - 0.5},{i - 1.5}L{j - 0.5},{i - 0.5}"
        for i, j in zip(*np.nonzero(framed[:, 1:] != framed[:, :-1]), strict=True)
    ]
    return "".join(across + down)


def squares(mask: Bool[np.ndarray, "rows columns"]) -> str:
    """True cells as an SVG path of squares, in numbers of cells."""
    return "".join(f"M{j - 0.5},{i - 0.5}H{j + 0.5}V{i + 0.5}H{j - 0.5}Z" for i, j in np.argwhere(mask).tolist())


def strokes(breaks: Sequence[float], *, across: bool) -> str:
    """Two slanted strokes through an axis at each break: the first number along the axis in places, the second of the domain.

    >>> strokes([2.0], across=True)
    'M1.6,-0.02L2,0.02M2,-0.02L2.4,0.02'
    """
    parts = []
    for middle in breaks:
        for a, b in ((-0.4, 0.0), (0.0, 0.4)):
            ends = [(f"{middle + a:g}", "-0.02"), (f"{middle + b:g}", "0.02")]
            parts.append("L".join(",".join(end if across else end[::-1]) for end in ends))
    return "".join("M" + part for part in parts)


def left_out(layers: Sequence[int] | np.ndarray) -> list[int]:
    """Where layers are left out between neighbours that are drawn side by side: the entry after each such place.

    >>> left_out([0, 4, 5, 8])
    [1, 3]
    """
    return [k + 1 for k, (before, after) in enumerate(pairwise(np.asarray(layers).tolist())) if after - before > 1]


def layer_ticks(layers: Sequence[int] | np.ndarray, room: int) -> list[int]:
    """Layers to label on an axis of numbers: those that were tried, as many as have room.

    >>> layer_ticks([0, 4, 8, 12, 13, 17], room=9)
    [0, 4, 8, 12, 17]
    """
    numbers = sorted({int(layer) for layer in layers})
    span = max(numbers[-1] - numbers[0] + 1, 1) if numbers else 1
    return [int(label) for label in slots("layer", numbers, most=span).ticks(room)]
