"""What only the question's own activations say: a control is taken from it, option by option.

A control's cell holds another question's activations. What it says of the options is habit: which texts the model likes at that
place whatever is asked. The *contrast* takes that from the real cell. But habit can be taken from vanilla as well, and then no
activation of the source is used at all: `VanillaContrast` is what a contrast has to beat before it may claim anything for the
transplant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from xtl.selectors.base import Choice, Selector
from xtl.selectors.maps import Development, MapView
from xtl.selectors.votes import BEST, Pool


@dataclass
class Contrast(Selector):
    """Real minus the mean of the controls, option by option, over the best cells; vanilla's own view may count as well.

    Attributes:
        best: how many cells.
        vanilla: weight of vanilla's log-probabilities beside the mean contrast.
    """

    name = "contrast"
    best: int = 10
    vanilla: float = 0.0
    grid: ClassVar = {"best": BEST, "vanilla": (0.0, 0.3, 1.0)}

    def fit(self, development: Development) -> None:
        """The cells that count."""
        self.cells = development.best_cells(self.best)

    def choose(self, maps: MapView) -> Choice:
        """The option that the question's own activations speak for."""
        scores = contrasts(maps, self.cells).mean(1) + self.vanilla * maps.vanilla
        return Choice.of_scores(scores, maps, cells=len(self.cells), controls=len(maps.controls))

    def lacks(self, maps: MapView) -> str:
        """A control, of course."""
        return without_control(maps)


def contrasts(maps: MapView, cells: Int[np.ndarray, " cells"]) -> Float[np.ndarray, "examples cells options"]:
    """Real minus the mean over the controls."""
    return maps.logprob[:, cells] - maps.controls[:, :, cells].mean(0)


def without_control(maps: MapView) -> str:
    """What is lacking where there is no control."""
    return "" if len(maps.controls) else "a control to contrast with"


@dataclass
class VanillaContrast(Selector):
    """Vanilla minus the mean of the controls, option by option: habit is taken off, and no source is used.

    Attributes:
        best: how many of the controls' cells, those with which it is right most often.
        weight: of the controls.
    """

    name = "vanilla_contrast"
    best: int = 3
    weight: float = 1.0
    grid: ClassVar = {"best": BEST, "weight": (0.3, 1.0)}

    def fit(self, development: Development) -> None:
        """The control's cells."""
        self.cells = habit_cells(development, self.best)

    def choose(self, maps: MapView) -> Choice:
        """The option that vanilla prefers more than habit does."""
        habit = maps.controls[:, :, self.cells].mean((0, 2))
        scores = maps.vanilla - self.weight * habit
        return Choice.of_scores(scores, maps, cells=len(self.cells), controls=len(maps.controls) - 1)

    def lacks(self, maps: MapView) -> str:
        """A control."""
        return without_control(maps)


def habit_cells(development: Development, most: int) -> Int[np.ndarray, " cells"]:
    """The cells whose control, taken from vanilla, leaves most right answers; ties go to the lower cell."""
    maps = development.maps
    left = maps.vanilla[:, None] - maps.controls.mean(0)
    right = (np.where(maps.valid[:, None], left, -np.inf).argmax(-1) == development.gold[:, None]).mean(0)
    return np.argsort(-right, kind="stable")[:most]


@dataclass
class ContrastPool(Pool):
    """A pool of vanilla, the best cells, and what is to be taken off: the control's cells, with weights of at most 0."""

    name = "contrast_pool"
    best: int = 3
    grid: ClassVar = {"best": (1, 3, 10), "ridge": (0.001, 0.01, 0.1)}

    def fit(self, development: Development) -> None:
        """Which cells, and their weights."""
        self.habits = habit_cells(development, self.best)
        super().fit(development)

    def choose(self, maps: MapView) -> Choice:
        """The option that the pool prefers."""
        scores = np.einsum("npk,p->nk", self._parts(maps), self.weights)
        return Choice.of_scores(scores, maps, cells=2 * len(self.cells), controls=len(maps.controls))

    def _parts(self, maps: MapView) -> Float[np.ndarray, "examples parts options"]:
        return np.concatenate([super()._parts(maps), -maps.controls.mean(0)[:, self.habits]], axis=1)

    def lacks(self, maps: MapView) -> str:
        """A control."""
        return without_control(maps)
