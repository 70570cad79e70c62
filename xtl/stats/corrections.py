"""Corrections for the number of cells: p-values of a map, adjusted so that they can be held against one level.

Two promises. *False discovery rate* (Benjamini-Hochberg): of the cells called significant, on average at most 5% have no
effect. *Family-wise error* (the largest statistic of the map): of maps without any effect, at most 5% have a significant cell.
The first comes from scipy; the second uses the same resamples as the test itself, so that it knows how alike neighbouring
cells are, and costs less power than Bonferroni's.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import stats

from xtl.errors import check_flag


def adjust_fdr(p: Float[np.ndarray, " cells"], *, dependence: str = "bh") -> Float[np.ndarray, " cells"]:
    """Benjamini-Hochberg's adjusted p-values (`scipy.stats.false_discovery_control`).

    Args:
        p: p-values of all cells of the map.
        dependence: "bh" holds for independent or positively dependent cells, "by" (Benjamini-Yekutieli) for any, at a
            price of a factor of about ln(cells).

    >>> adjust_fdr(np.array([0.01, 0.04, 0.5])).tolist()
    [0.03, 0.06, 0.5]
    """
    return np.asarray(stats.false_discovery_control(p, method=dependence))


def adjust_max(
    observed: Float[np.ndarray, " cells"], largest: Float[np.ndarray, " resamples"], *, exact: bool = False
) -> Float[np.ndarray, " cells"]:
    """Family-wise p-values: the share of resamples whose largest statistic reaches the observed one.

    Args:
        observed: a statistic of each cell, comparable between cells.
        largest: the largest statistic of the map in each resample without effect.
        exact: `largest` holds every possible resample, the observed one among them; otherwise the observed one is added.

    >>> adjust_max(np.array([3.0, 1.0]), np.array([0.5, 1.5, 2.5])).tolist()
    [0.25, 0.75]
    """
    check_flag("exact", exact)
    ordered = np.sort(largest)
    tolerance = 1e-9 * max(1.0, float(np.abs(observed).max()))
    reached = len(ordered) - np.searchsorted(ordered, observed - tolerance, side="left")
    return reached / len(ordered) if exact else (1 + reached) / (1 + len(ordered))
