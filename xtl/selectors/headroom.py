"""How much is there to be had, luck taken off; and the share of it that a selector gets.

An upper bound counts a question as solved if any of hundreds of cells solves it, and so does luck: on a control's maps the same
bound often comes as high. Their difference is too small a measure: where luck solves 95%, it can't be more than 5 points,
however much the source knows. The *corrected bound* asks of the questions that vanilla gets wrong and luck does not solve: what
share of them does the real run solve? That share of all that vanilla gets wrong is the headroom (Abbott's correction for
guessing, Journal of Economic Entomology 18, 1925).

>>> from xtl import selectors
>>> real, controls = selectors.simulate(n_questions=200, n_layers=1, planted={("attn", 0, 0): 30.0}, known=0.0, n_controls=4)
>>> world = selectors.read_maps(real, controls)  # the one cell knows all, the controls' a quarter, by luck; so does vanilla
>>> round(float(headroom(world).mean()), 2), round(float(1 - world.vanilla_correct.mean()), 2)
(0.74, 0.74)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from xtl.selectors.maps import Development
from xtl.stats.examples import cluster_sums
from xtl.stats.intervals import spread


def lucky(world: Development) -> Float[np.ndarray, " examples"]:
    """The share of controls under which any cell solves an example."""
    return world.control_correct.max(2).mean(0)


def headroom(world: Development) -> Float[np.ndarray, " examples"]:
    """The corrected bound less vanilla: what each example adds to it, so that the mean is the headroom.

    It is a ratio of means, wrong * (solved - lucky) / (wrong * (1 - lucky)) times wrong; an example adds its influence on it (the
    delta method). All NaN where luck solves everything.
    """
    wrong, luck = 1.0 - world.vanilla_correct, lucky(world)
    parts = np.stack([wrong, wrong * (world.labels.max(1) - luck), wrong * (1 - luck)])
    all_wrong, more, left = parts.mean(1)
    if left <= 0:
        return np.full(len(wrong), np.nan)
    weights = np.array([more / left, all_wrong / left, -all_wrong * more / left**2])
    return weights @ parts


def interval(
    values: Float[np.ndarray, " examples"], clusters: Int[np.ndarray, " examples"], confidence: float
) -> tuple[float, float, float]:
    """Mean with the ends of its t interval over questions."""
    sizes, mean = np.bincount(clusters).astype("float64"), values.mean(keepdims=True)
    error = spread(cluster_sums(values[:, None].astype("float64"), clusters), sizes, mean)[0]
    reach = stats.t.ppf((1 + confidence) / 2, len(sizes) - 1) * error
    return float(mean[0]), float(mean[0] - reach), float(mean[0] + reach)


def share(
    gain: Float[np.ndarray, " examples"],
    room: Float[np.ndarray, " examples"],
    clusters: Int[np.ndarray, " examples"],
    *,
    confidence: float = 0.95,
    stretch: float = 1.0,
) -> tuple[float, float, float]:
    """Mean gain over mean headroom with its ends; all NaN where the headroom could be 0.

    The interval is Fieller's (Journal of the Royal Statistical Society B 16, 1954): all ratios r for which gain - r * headroom
    could be 0 on average, over questions.

    Args:
        gain: of each example, in right answers over vanilla.
        room: of each example (`headroom`).
        clusters: the question of each example.
        confidence: level.
        stretch: by how much the gain's standard error is larger than over questions alone, since other ones would have
            chosen otherwise.

    >>> rng = np.random.default_rng(0)
    >>> room = rng.random(200) < 0.5
    >>> value, low, high = share(0.5 * room + rng.normal(0, 0.1, 200), room.astype(float), np.arange(200))
    >>> bool(low < 0.5 < high), bool(high - low < 0.1)
    (True, True)
    """
    both = cluster_sums(np.stack([gain, room], 1).astype("float64"), clusters)
    sizes = np.bincount(clusters).astype("float64")
    means = both.sum(0) / sizes.sum()
    rest = both - sizes[:, None] * means
    n = len(sizes)
    covariance = rest.T @ rest * n / (n - 1) / sizes.sum() ** 2
    covariance *= np.outer([stretch, 1.0], [stretch, 1.0])
    t = stats.t.ppf((1 + confidence) / 2, n - 1)
    products = np.outer(means, means) - t**2 * covariance  # r^2 p11 - 2 r p01 + p00 <= 0
    if not (means[1] > 0 and products[1, 1] > 0):
        return (np.nan, np.nan, np.nan)
    centre = products[0, 1] / products[1, 1]
    reach = np.sqrt(max(centre**2 - products[0, 0] / products[1, 1], 0.0))
    return float(means[0] / means[1]), float(centre - reach), float(centre + reach)
