"""How packed cells are laid out on a bridge: side by side on the position axis, in groups on the batch axis.

A bridge computes a block of scores between all tokens of a sequence, which grows with the square of its length, and each row of a
batch has its own copy of the prefix's keys. So cells are assigned to *groups*, rows of a batch that all look alike: a *slot* is
the same target layer and hook in every group, and only what is written there differs. In a full map a group is a source layer, or
several.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Int
from torch import Tensor

from xtl.engine.plan import Cell

LINEAR = 512
"""What a token costs outside of attention, in keys that it could have scores with instead (measured on two small models)."""


@dataclass(frozen=True)
class Groups:
    """Cells, assigned to groups.

    Attributes:
        numbers: `[group, slot]`, which of the cells stands there; where a slot is not full, its last cell stands again.
        groups: for each cell its group.
        slots: for each cell its slot.
    """

    numbers: Int[Tensor, "group slot"]
    groups: Int[Tensor, " cell"]
    slots: Int[Tensor, " cell"]


def assign_groups(cells: list[Cell], n_groups: int) -> Groups:
    """Assign cells, which are in branch order, to so many groups.

    >>> from xtl.hooks import MODULES
    >>> cells = [Cell(MODULES["attn"], source, target) for target in (0, 1) for source in (3, 4, 5)]
    >>> assign_groups(cells, 2).numbers.tolist()
    [[0, 2, 3, 5], [1, 2, 4, 5]]
    """
    slots: list[list[int]] = []
    for alike in _alike(cells):
        for start in range(0, len(alike), n_groups):
            slot = alike[start : start + n_groups]
            slots.append(slot + slot[-1:] * (n_groups - len(slot)))
    numbers = torch.tensor(slots, dtype=torch.long).reshape(-1, n_groups).T
    place = {
        number: (group, slot) for slot, row in reversed(list(enumerate(slots))) for group, number in enumerate(row)
    }
    at = torch.tensor([place[number] for number in range(len(cells))], dtype=torch.long).reshape(-1, 2)
    return Groups(numbers, at[:, 0], at[:, 1])


def best_number_of_groups(cells: list[Cell], n_nodes: int, n_prefix: int, most: int) -> int:
    """The number of groups, up to `most`, that costs least: filled slots, few keys to a token."""
    sizes = [len(alike) for alike in _alike(cells)]

    def cost(n_groups: int) -> int:
        tokens = (1 + sum(-(-size // n_groups) for size in sizes)) * n_nodes
        return n_groups * tokens * (LINEAR + n_prefix + tokens)

    return min(range(1, max(1, min(most, max(sizes, default=1))) + 1), key=cost)


def _alike(cells: list[Cell]) -> list[list[int]]:
    """Numbers of cells that can share a slot."""
    site = [(cell.target_layer, cell.module.write) for cell in cells]
    return [list(numbers) for _, numbers in groupby(range(len(cells)), key=site.__getitem__)]
