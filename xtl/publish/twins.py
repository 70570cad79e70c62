"""Real minus control: the twin of each map of a report, and how surely each cell of it is no chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from xtl.errors import InputError
from xtl.stats import significance

LEVEL = 0.05
"""Cells with a p-value above it are muted."""
N_FLIPS = 10_000
"""Sign flips behind the p-values."""


@dataclass(frozen=True)
class Twin:
    """A map of differences, real minus control.

    Attributes:
        mean: of the examples `[module, source_layer, target_layer]`, in the measure's unit.
        p: sign-flip p-values, corrected over the map; NaN where too few instances, or a gap, allow none.
    """

    mean: Float[np.ndarray, "modules sources targets"]
    p: Float[np.ndarray, "modules sources targets"]

    @property
    def muted(self) -> np.ndarray:
        """Cells that may be chance (bool)."""
        return ~(self.p <= LEVEL)

    def in_words(self, module: int) -> str:
        """How many cells of a module are no chance.

        >>> Twin(np.zeros((1, 1, 2)), np.array([[[0.01, 1.0]]])).in_words(0)
        '1 of 2 cells differs for sure (dot); pale: may be chance'
        """
        p = self.p[module]
        if not np.isfinite(p).any():
            return "too few instances to tell from chance; all pale"
        clear = int((~self.muted[module]).sum())
        if not clear:
            return "no cell differs for sure; all pale"
        verb = "differs" if clear == 1 else "differ"
        return f"{clear} of {p.size} cells {verb} for sure (dot); pale: may be chance"


def make_twins(
    real: xr.Dataset, control: xr.Dataset, maps: Mapping[str, np.ndarray], of_control: Mapping[str, np.ndarray]
) -> dict[str, Twin]:
    """The twin of each measure that both have.

    Args:
        real, control: results of the same examples and cells.
        maps, of_control: their means by measure, `[module, source_layer, target_layer]`.
    """
    found = {}
    for measure in ("gain", "accuracy"):
        if measure in maps and measure in of_control and "gain" in real and "gain" in control:
            found[measure] = Twin(maps[measure] - of_control[measure], _p_values(real, control, measure))
    return found


def _p_values(real: xr.Dataset, control: xr.Dataset, measure: str) -> np.ndarray:
    try:
        tests = significance(real, control, measure=measure, by=None, n_resamples=N_FLIPS)
    except InputError:  # too few instances, gaps, or nothing that varies: no cell is told from chance
        return np.full(real["gain"].shape[1:], np.nan)
    return np.asarray(tests["p_max"].values[0])
