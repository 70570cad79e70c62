"""Many cells, one answer: a majority, and a learned pool.

A majority over cells is the null to beat: plain voting over a model's answers in many languages does not reach their upper bound
(arXiv 2504.11833). The pool is a logistic one: the option's log-probabilities in several cells and in vanilla, weighted by
numbers that are at least 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import logsumexp

from xtl.selectors.base import Choice, Selector
from xtl.selectors.maps import Development, MapView

BEST = (1, 3, 10, 30, 100)
"""Numbers of cells that nested folds choose from."""
NEAR_ZERO = 1e-3
"""Weight of vanilla's probabilities where votes are equal."""


def ballots(
    logprob: Float[np.ndarray, "examples cells options"], vanilla: Float[np.ndarray, "examples options"]
) -> Float[np.ndarray, "examples options"]:
    """How many cells have each option first; vanilla settles ties.

    >>> ballots(np.log([[[0.7, 0.3], [0.2, 0.8]]]), np.log([[0.4, 0.6]])).round(3).tolist()
    [[1.0, 1.001]]
    """
    first = logprob.argmax(-1)[..., None] == np.arange(logprob.shape[-1])
    return first.sum(1) + NEAR_ZERO * np.exp(vanilla)


@dataclass
class Vote(Selector):
    """The majority of all cells of the map."""

    name = "vote"
    learns = False

    def choose(self, maps: MapView) -> Choice:
        """The option that most cells choose."""
        return Choice.of_scores(ballots(maps.logprob, maps.vanilla), maps, cells=maps.n_cells)


@dataclass
class VoteOfBest(Selector):
    """The majority of the cells that are best on the development instances."""

    name = "vote_best"
    best: int = 10
    grid: ClassVar = {"best": BEST}

    def fit(self, development: Development) -> None:
        """The cells that vote."""
        self.cells = development.best_cells(self.best)

    def choose(self, maps: MapView) -> Choice:
        """The option that most of them choose."""
        return Choice.of_scores(ballots(maps.logprob[:, self.cells], maps.vanilla), maps, cells=len(self.cells))


@dataclass
class Pool(Selector):
    """A weighted log-linear pool of vanilla and the best cells, weights at least 0.

    Attributes:
        best: how many cells.
        ridge: cost of a squared weight, an example.
    """

    name = "pool"
    best: int = 10
    ridge: float = 0.01
    grid: ClassVar = {"best": (3, 10, 30), "ridge": (0.001, 0.01, 0.1)}

    def fit(self, development: Development) -> None:
        """The weights under which the gold options have the largest likelihood."""
        self.cells = development.best_cells(self.best)
        parts, gold = self._parts(development.maps), development.gold
        begin = np.full(parts.shape[1], 1 / parts.shape[1])
        bounds = [(0, None)] * len(begin)
        found = minimize(
            _loss, begin, (parts, gold, self.ridge), "L-BFGS-B", True, bounds=bounds, options={"maxiter": 50}
        )
        self.weights = found.x

    def choose(self, maps: MapView) -> Choice:
        """The option that the pool prefers."""
        scores = np.einsum("ncK,c->nK", self._parts(maps), self.weights)
        return Choice.of_scores(scores, maps, cells=len(self.cells))

    def _parts(self, maps: MapView) -> Float[np.ndarray, "examples parts options"]:
        parts = np.concatenate([maps.vanilla[:, None], maps.logprob[:, self.cells]], axis=1)
        return parts.astype("float64")


def _loss(
    weights: np.ndarray, parts: Float[np.ndarray, "examples parts options"], gold: np.ndarray, ridge: float
) -> tuple[float, np.ndarray]:
    """Mean negative log-likelihood of the gold options with its gradient, and the ridge."""
    scores = np.einsum("npk,p->nk", parts, weights)
    total = logsumexp(scores, axis=1)
    rows = np.arange(len(gold))
    share = np.exp(scores - total[:, None])
    gradient = (np.einsum("npk,nk->np", parts, share) - parts[rows, :, gold]).mean(0)
    return float((total - scores[rows, gold]).mean() + ridge * weights @ weights), gradient + 2 * ridge * weights
