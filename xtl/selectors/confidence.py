"""Trust the cell that is surest of itself: as it is, and after each cell's habits are taken off.

Raw confidence is expected to fail: a transplant that wrecks the model is often very sure of one label. Batch calibration (Zhou
et al., arXiv 2309.17249) takes from each option its mean log-probability over instances, here cell by cell and place by place,
with no answer known: a cell that always says the first option then says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax

from xtl.errors import check_choice
from xtl.selectors.base import Choice, Selector, entropy, margin
from xtl.selectors.maps import FLOOR, Development, MapView

MEASURES = {
    "probability": lambda logprob: logprob.max(-1),
    "margin": margin,
    "entropy": lambda logprob: -entropy(logprob),
}
"""How sure a cell is; larger is surer."""


@dataclass
class Confidence(Selector):
    """The answer of the cell that is surest; by what, nested folds choose.

    Attributes:
        measure: one of `MEASURES`.
    """

    name = "confidence"
    measure: str = "probability"
    grid: ClassVar = {"measure": tuple(MEASURES)}
    learns = False

    def choose(self, maps: MapView) -> Choice:
        """The surest cell of the whole map."""
        return Choice.of_cells(self._sure(maps.logprob).argmax(1), cells=maps.n_cells)

    def _sure(self, logprob: np.ndarray) -> Float[np.ndarray, "examples cells"]:
        return MEASURES[check_choice("measure", self.measure, MEASURES)](logprob)


@dataclass
class Calibrated(Confidence):
    """The same on calibrated log-probabilities; the answer is the calibrated one."""

    name = "calibrated"

    def fit(self, development: Development) -> None:
        """Mean log-probability of each place in each cell; golds are not looked at."""
        self.habit = mean_of_places(development.maps.logprob, development.maps.valid)

    def choose(self, maps: MapView) -> Choice:
        """The calibrated answer of the surest cell."""
        shifted = np.where(maps.valid[:, None], maps.logprob - self.habit, FLOOR)
        calibrated = log_softmax(shifted, axis=-1)
        cell = self._sure(calibrated).argmax(1)
        return Choice.of_scores(calibrated[np.arange(maps.n), cell], maps, cells=maps.n_cells)


def mean_of_places(
    logprob: Float[np.ndarray, "examples cells options"], valid: np.ndarray
) -> Float[np.ndarray, "cells options"]:
    """Mean over the examples that have an option in that place."""
    count = np.maximum(valid.sum(0), 1)
    return np.einsum("nck,nk->ck", logprob, valid.astype("float32")) / count
