"""Effect sizes: how large, where a p-value says how surely.

>>> odds_ratio(np.array([8]), np.array([2]))[0].tolist()
[3.4]
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import special, stats

from xtl.stats.examples import check_confidence, cluster_sums


def cohens_d(
    differences: Float[np.ndarray, "examples cells"], clusters: Int[np.ndarray, " examples"]
) -> Float[np.ndarray, " cells"]:
    """Paired Cohen's d (d_z): mean of the differences over their standard deviation, instances averaged first.

    NaN where no instance differs from another.

    >>> cohens_d(np.array([[1.0], [2.0], [3.0]]), np.arange(3)).tolist()
    [2.0]
    """
    means = cluster_sums(differences.astype("float64"), clusters) / np.bincount(clusters)[:, None]
    deviation = means.std(0, ddof=1)
    flat = deviation <= 1e-12 * np.maximum(np.abs(means).max(0), 1e-300)
    return np.divide(means.mean(0), deviation, out=np.full(means.shape[1], np.nan), where=~flat)


def hedges_g(
    differences: Float[np.ndarray, "examples cells"], clusters: Int[np.ndarray, " examples"]
) -> Float[np.ndarray, " cells"]:
    """Paired Hedges' g: Cohen's d without its upward bias at small n (exact factor for n - 1 degrees of freedom).

    >>> round(float(hedges_g(np.array([[1.0], [2.0], [3.0]]), np.arange(3))[0]), 4)
    1.1284
    """
    freedom = int(clusters.max())
    factor = np.exp(special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)) / np.sqrt(freedom / 2)
    return cohens_d(differences, clusters) * factor


def odds_ratio(
    gained: Int[np.ndarray, " cells"], lost: Int[np.ndarray, " cells"], *, confidence: float = 0.95
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
    """Paired odds ratio of right answers: instances gained over instances lost, with its exact interval.

    Half an instance is added to both counts (Haldane's correction), so that it is finite. The interval is Clopper-Pearson's
    of gained / (gained + lost), as odds; 0 to infinity where nothing changed.

    Args:
        gained: instances right with the transplant and wrong without.
        lost: the other way round.
        confidence: level of the interval.

    Returns:
        ratio, low, high.
    """
    tail = (1 - check_confidence(confidence)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(gained > 0, stats.beta.ppf(tail, gained, lost + 1), 0.0)
        high = np.where(lost > 0, stats.beta.ppf(1 - tail, gained + 1, lost), 1.0)
        return (gained + 0.5) / (lost + 0.5), low / (1 - low), high / (1 - high)
