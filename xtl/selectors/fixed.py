"""What a selector is compared with: no transplant, the source's own answer, one fixed cell.

>>> from xtl.selectors import simulate
>>> from xtl.selectors.maps import read_maps
>>> world = read_maps(*simulate(planted={("attn", 1, 2): 3.0}))
>>> fixed = Fixed()
>>> fixed.fit(world)
>>> fixed.choose(world.maps).cells[:3].tolist()  # attn 1 -> 2 of 4 x 4 layers
[6, 6, 6]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xtl.selectors.base import VANILLA, Choice, Selector
from xtl.selectors.maps import Development, MapView
from xtl.stats.selection import STRATEGIES


@dataclass
class Vanilla(Selector):
    """The target prompt, left alone: one pass."""

    name = "vanilla"
    learns = False

    def choose(self, maps: MapView) -> Choice:
        """No cell."""
        return Choice.of_cells(np.full(maps.n, VANILLA), cells=0)


@dataclass
class SourceAnswer(Selector):
    """Asking in the source language, and taking the option in that place."""

    name = "source_answer"
    learns = False

    def choose(self, maps: MapView) -> Choice:
        """The source prompt's own answer: one pass."""
        assert maps.source is not None
        return Choice.of_scores(maps.source, maps, cells=0)

    def lacks(self, maps: MapView) -> str:
        """The source's own answer is a detail of its own."""
        return (
            "" if maps.source is not None else "source_option_logprob: compute the maps with details=options,agreement"
        )


@dataclass
class Fixed(Selector):
    """The best cell of the development instances, for all: how it is found (`xtl.stats.selection`) is chosen by nested folds."""

    name = "fixed"
    strategy: str = "overall"
    grid: ClassVar = {"strategy": STRATEGIES}

    def fit(self, development: Development) -> None:
        """The cell with the largest mean label."""
        self.cell = development.best_cell(self.strategy)

    def choose(self, maps: MapView) -> Choice:
        """That cell."""
        return Choice.of_cells(np.full(maps.n, self.cell), cells=1)
