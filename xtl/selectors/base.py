"""What a selector is: `fit` learns from development instances, `choose` picks a cell or an answer for maps without their golds.

Yours in a few lines: take the option that most probability goes to on average over the cells that are best on development
instances.

>>> from dataclasses import dataclass
>>> from xtl.selectors import Choice, Development, MapView, Selector, evaluate, simulate
>>> @dataclass
... class MeanOfBest(Selector):
...     name = "mean_of_best"
...     best: int = 3
...     grid = {"best": (1, 3, 10)}  # chosen by nested folds
...
...     def fit(self, development: Development) -> None:
...         self.cells = development.best_cells(self.best)
...
...     def choose(self, maps: MapView) -> Choice:
...         mean = maps.logprob[:, self.cells].mean(axis=1)
...         return Choice.of_scores(mean, maps, cells=self.best)
>>> table = evaluate(*simulate(planted={("attn", 1, 2): 3.0}), selectors=[MeanOfBest()], n_splits=2)
>>> bool(table.loc["mean_of_best", "accuracy"] > table.loc["vanilla", "accuracy"] + 0.2)
True
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from xtl.errors import InputError
from xtl.selectors.maps import Development, MapView

VANILLA = -1
"""In the place of a cell: leave the model alone."""
PASSES_A_CELL = 0.0056
"""What one more cell of a packed map costs, in passes over a prompt: 648 cells of Gemma 3 270M took 5.6 with both prompts."""


@dataclass(frozen=True)
class Choice:
    """What a selector chose for each example: a cell (`VANILLA`: none), or an answer.

    Attributes:
        passes: forward passes that each example's choice takes (see `passes`).
        cells: flat cells, or None.
        options: places of options, or None.
    """

    passes: Float[np.ndarray, " examples"]
    cells: Int[np.ndarray, " examples"] | None = None
    options: Int[np.ndarray, " examples"] | None = None

    @classmethod
    def of_cells(cls, chosen: Int[np.ndarray, " examples"], *, cells: int, controls: int = 0) -> Choice:
        """A cell for each example; `cells` of a map were looked at, and as many of each of some controls."""
        return cls(np.full(len(chosen), passes(cells, controls)), cells=np.asarray(chosen))

    @classmethod
    def of_scores(
        cls, scores: Float[np.ndarray, "examples options"], maps: MapView, *, cells: int, controls: int = 0
    ) -> Choice:
        """The option with the largest score, of those that a question has. Raises `InputError` where a score is NaN."""
        if np.isnan(np.where(maps.valid, scores, 0.0)).any():
            raise InputError("scores of options hold NaN: none of them would be the largest")
        options = np.where(maps.valid, scores, -np.inf).argmax(-1)
        return cls(np.full(len(options), passes(cells, controls)), options=options)


def passes(cells: int, controls: int = 0) -> float:
    """Forward passes over a prompt that a question costs: its target prompt, each source prompt, and the packed cells.

    >>> passes(0), passes(1), round(passes(324, controls=2), 1)
    (1.0, 2.0, 9.4)
    """
    if cells <= 1 and not controls:
        return 1.0 + cells
    return 2.0 + controls + PASSES_A_CELL * cells * (1 + controls)


class Selector:
    """A way to choose. Subclasses are dataclasses whose fields are their settings.

    Attributes:
        name: in tables.
        grid: values of settings among which nested folds choose, the first of equals.
        learns: whether `fit` looks at what is right; the null on permuted golds says nothing of one that doesn't.
    """

    name: str = ""
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {}
    learns: bool = True

    def fit(self, development: Development) -> None:
        """Learn from instances whose answers are known; what is learned becomes attributes."""

    def choose(self, maps: MapView) -> Choice:
        """Choose for each example of maps whose answers aren't there."""
        raise NotImplementedError

    def candidates(self) -> list[Selector]:
        """This selector with every setting of its grid."""
        values = itertools.product(*self.grid.values())
        return [replace(self, **dict(zip(self.grid, one, strict=True))) for one in values]  # type: ignore[type-var]

    def lacks(self, maps: MapView) -> str:
        """What these maps lack that it needs, in words; empty where it can be used."""
        return ""

    def settings(self) -> str:
        """Its settings, as they stand in tables."""
        own = [(one.name, getattr(self, one.name)) for one in fields(self) if one.name != "name"]  # type: ignore[arg-type]
        shown = [(key, value) for key, value in own if key in self.grid or isinstance(value, Selector)]
        return ", ".join(value.settings() if isinstance(value, Selector) else f"{key}={value}" for key, value in shown)


def margin(logprob: Float[np.ndarray, "*batch options"]) -> Float[np.ndarray, "*batch"]:
    """By how many nats the first option leads the second.

    >>> margin(np.array([[-1.0, -3.0, -9.0]])).tolist()
    [2.0]
    """
    ordered = np.sort(logprob, axis=-1)
    return ordered[..., -1] - ordered[..., -2]


def entropy(logprob: Float[np.ndarray, "*batch options"]) -> Float[np.ndarray, "*batch"]:
    """Of the options, in nats."""
    return -(np.exp(logprob) * logprob).sum(-1)
