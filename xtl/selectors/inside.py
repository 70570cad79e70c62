"""Selectors that look inside the transplanted run: at a middle layer's confidence, and at its final residual stream.

Outside English the last layer's confidence is poor (LACE, arXiv 2510.03136), and the residual stream says more of whether an
answer is right than the answer does (arXiv 2503.15299). What they need, maps keep with `details="lens"` and `"state"`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from xtl.selectors.base import Choice
from xtl.selectors.confidence import Confidence
from xtl.selectors.learned import Verifier
from xtl.selectors.maps import MapView


@dataclass
class LensConfidence(Confidence):
    """The cell whose options' first tokens a logit lens after three quarters of the layers tells apart most surely."""

    name = "lens_confidence"

    def lacks(self, maps: MapView) -> str:
        """The lens of the run and its controls."""
        return "" if maps.lens is not None else "lens_option_logprob of the run and its controls (--details lens)"

    def choose(self, maps: MapView) -> Choice:
        """The surest cell; those that write above the lens are vanilla to it, and the first of them stands for all."""
        assert maps.lens is not None
        return Choice.of_cells(self._sure(maps.lens[0]).argmax(1), cells=maps.n_cells)


@dataclass
class StateVerifier(Verifier):
    """The verifier, which sees the final residual stream of each cell too."""

    name = "state_verifier"

    def lacks(self, maps: MapView) -> str:
        """The states of the run and its controls."""
        return "" if maps.states is not None else "final_state of the run and its controls (--details state)"

    def features(self, maps: MapView) -> Float[np.ndarray, "examples cells features"]:
        """What is known of each cell, its state behind."""
        assert maps.states is not None
        return np.concatenate([super().features(maps), maps.states[0].astype("float64")], axis=-1)
