"""Learned selectors: a router, which looks at vanilla alone before it picks a cell, and a verifier, which looks at every cell.

The router follows the idea of W2S (arXiv 2604.03867): from the vanilla run it predicts the whole map of gains, at low rank. The
verifier follows "the model knows when it is wrong" (arXiv 2503.15299), but looks at what the transplanted run says (its
option log-probabilities), not at its residual stream, which maps don't keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from xtl.selectors.base import VANILLA, Choice, Selector, passes
from xtl.selectors.features import of_cells, of_questions, standard
from xtl.selectors.maps import Development, MapView

MOST_ROWS = 20_000
"""Cells of examples that the verifier learns from, evenly spread."""


@dataclass
class Router(Selector):
    """Predicts from the vanilla run which cell helps, by a ridge regression of low rank; vanilla where none is predicted to.

    Attributes:
        rank: of the map of gains.
        ridge: of the regression, on standardised features.
    """

    name = "router"
    rank: int = 2
    ridge: float = 10.0
    grid: ClassVar = {"rank": (0, 1, 2, 4), "ridge": (10.0, 100.0, 1000.0)}

    def fit(self, development: Development) -> None:
        """Coefficients [features, cells] of gains in right answers, cut to the rank."""
        self.languages = sorted(set(development.maps.languages))
        features = of_questions(development.maps, self.languages)
        self.scale = standard(features)
        x = (features - self.scale[0]) / self.scale[1]
        gains = development.labels - development.vanilla_correct[:, None]
        self.mean = gains.mean(0)
        full = np.linalg.solve(x.T @ x + self.ridge * np.eye(x.shape[1]), x.T @ (gains - self.mean))
        directions = np.linalg.svd(x @ full, full_matrices=False)[2][: self.rank]
        self.coefficients = full @ directions.T @ directions

    def choose(self, maps: MapView) -> Choice:
        """The cell with the largest predicted gain: vanilla's pass, and where a cell is taken, that of the source and its own."""
        x = (of_questions(maps, self.languages) - self.scale[0]) / self.scale[1]
        gains = x @ self.coefficients + self.mean
        cells = np.where(gains.max(1) > 0, gains.argmax(1), VANILLA)
        before = 1.0 if maps.source is None else passes(1)
        return Choice(np.where(cells == VANILLA, before, 1.0 + passes(1)), cells=cells)


@dataclass
class Verifier(Selector):
    """Predicts for every cell whether its answer is right, by a logistic regression.

    Attributes:
        combine: "best" takes the answer of the cell that is most likely right, "sum" adds up the cells of each answer.
        strength: inverse of the regression's penalty.
    """

    name = "verifier"
    combine: str = "best"
    strength: float = 1.0
    grid: ClassVar = {"combine": ("best", "sum")}

    def fit(self, development: Development) -> None:
        """The regression on cells of development instances."""
        from sklearn.linear_model import LogisticRegression  # half a second, and few need it

        self.accuracy = development.labels.mean(0)
        features = self.features(development.maps)
        self.scale = standard(features)
        rows = ((features - self.scale[0]) / self.scale[1]).reshape(-1, features.shape[-1])
        right, step = development.labels.ravel() > 0.5, -(-len(rows) // MOST_ROWS)
        self.model = (
            LogisticRegression(C=self.strength).fit(rows[::step], right[::step]) if right[::step].any() else None
        )

    def features(self, maps: MapView) -> Float[np.ndarray, "examples cells features"]:
        """What is known of each cell."""
        return of_cells(maps, self.accuracy)

    def choose(self, maps: MapView) -> Choice:
        """The answer of the cells that are likely right."""
        likely, first = self._likely(maps), maps.logprob.argmax(-1)
        each = np.where(first[..., None] == np.arange(maps.logprob.shape[-1]), likely[..., None], 0.0)
        scores = each.max(1) if self.combine == "best" else each.sum(1)
        return Choice.of_scores(scores, maps, cells=maps.n_cells, controls=len(maps.controls))

    def _likely(self, maps: MapView) -> Float[np.ndarray, "examples cells"]:
        features = (self.features(maps) - self.scale[0]) / self.scale[1]
        if self.model is None:
            return np.broadcast_to(self.accuracy, features.shape[:2])
        return self.model.predict_proba(features.reshape(-1, features.shape[-1]))[:, 1].reshape(features.shape[:2])
