"""Confidence intervals of means over instances, for all cells of a map at once; each says what it can't promise.

An interval is as good as what is known of values that the sample doesn't show. `mean_interval` goes by that:

- *Bounded values* (shares of right answers, 0 to 1; paired differences of them, -1 to 1; cosines): "adjusted". z^2/2 imagined
  instances (about 2) are put at each of the two bounds, then comes the usual t interval. For shares that is Agresti and Coull's
  interval (The American Statistician 52, 1998) with t for z, for paired differences Bonett and Price's idea (Journal of
  Educational and Behavioral Statistics 37, 2012). It holds near 0 and 1, where nothing varied in the sample, for fractions and
  for instances of several examples.
- *Unbounded values* (gains in nats): "studentised" (bootstrap-t: Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993,
  chapter 12), at either end no nearer than the t interval. Resamples draw instances with replacement, each with all of its
  examples. It knows of skew, but of no loss that the sample doesn't hold. A loss that a tenth of all instances have is in 95% of
  samples of `MIN_FOR_MEAN`. With fewer the interval is refused: NaN ends, and the reason.
- *The median* instance (`median_interval`): order statistics. Exact for any distribution from 6 instances on, since it doesn't
  ask how large a loss can be.

docs/statistics.md has their measured coverage. Intervals with less of it (BCa, percentiles) were here, and are gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy import stats

from xtl.errors import InputError, check_choice, check_whole, known_keywords
from xtl.results import Maps, real_and_control
from xtl.stats.examples import (
    MIN_INSTANCES,
    check_confidence,
    check_resamples,
    cluster_sums,
    on_map,
    record,
    split_groups,
    stack,
)
from xtl.stats.seeds import generator

METHODS = ("adjusted", "studentised")
SHARE, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)
"""Bounds of shares, and of differences of two shares."""
MIN_FOR_MEAN = 29
"""Instances that an interval of an unbounded mean needs: the smallest n with 0.9^n <= 0.05, so that a change that a tenth of all
instances have is in the sample with 95% (Wilks, Annals of Mathematical Statistics 12, 1941)."""
CHUNK = 2**21
"""Resampled means held at a time: 16 MB."""


@dataclass(frozen=True)
class Interval:
    """Estimates and the ends of their confidence intervals, one a cell.

    Ends are NaN where there is no interval: in all cells for `reason` (empty: none), in a cell without variance.
    """

    mean: Float[np.ndarray, " cells"]
    low: Float[np.ndarray, " cells"]
    high: Float[np.ndarray, " cells"]
    method: str
    reason: str = ""


@known_keywords()
def cell_intervals(
    real: Maps,
    control: Maps | None = None,
    *,
    measure: str = "gain",
    by: str | None = "direction",
    method: str | None = None,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> xr.Dataset:
    """The mean difference of every cell, real minus control (or vanilla), with its interval; of gains also the median.

    The intervals are per cell, not for the map as a whole: of 1,000 cells without effect, 50 have one that excludes 0. To
    ask which cells have an effect, see `xtl.stats.significance`.

    Args:
        real, control: as for `xtl.stats.examples.split_groups`; without a control, the difference is to vanilla.
        measure: "gain" (mean, in the score's unit) or "accuracy" (difference of shares of right answers, -1 to 1).
        by: coord of the examples that makes the groups; None pools all, clustered by instance.
        method: one of `METHODS`; None takes "adjusted" where values have bounds (accuracies, scores that are fractions) and
            "studentised" where they have none (nats).
        confidence: level of the intervals.
        n_resamples, seed: of the bootstrap behind "studentised"; the same for every group.

    Returns:
        Dataset (group, module, source_layer, target_layer), the first dim named as `by` (or "group"): `mean`, `low`, `high`;
        for gains also `median`, `median_low`, `median_high` (of the instances' own means; float64); `method` and `reason`
        (group): how the mean's interval was made, or why its ends are NaN (empty otherwise); `n`, `n_instances` (group). The
        ends of a studentised interval are also NaN in a cell in which all instances are equal.

    Raises:
        InputError: see `split_groups`; an unknown method, or "adjusted" for values without bounds; no cell of a group has any
            variance.

    >>> from xtl import stats
    >>> result = cell_intervals(stats.simulate(n_instances=30, seed=0), n_resamples=500, seed=1)
    >>> result["low"].dims, bool((result["low"] < result["mean"]).all())
    (('direction', 'module', 'source_layer', 'target_layer'), True)
    >>> cell_intervals(stats.simulate(n_instances=20, seed=0))["reason"].item()
    '20 instances are too few for an interval of an unbounded mean (from 29): rare large losses may be unseen; see the median'
    """
    real, control = real_and_control(real, control)
    groups = split_groups(real, control, by=by, measures=(measure,))
    parts = []
    for group in groups:
        differences = group.varying(measure)
        found = mean_interval(
            differences, group.clusters, bounds=group.bounds(measure), method=method, confidence=confidence,
            n_resamples=n_resamples, seed=seed,
        )  # fmt: skip
        maps = {"mean": found.mean, "low": found.low, "high": found.high}
        if measure == "gain":
            middle = median_interval(differences, group.clusters, confidence=confidence)
            maps |= {"median": middle.mean, "median_low": middle.low, "median_high": middle.high}
        part = xr.Dataset({name: on_map(values, group.real) for name, values in maps.items()})
        parts.append(part.assign(method=found.method, reason=found.reason, n=group.n, n_instances=group.n_instances))
    result = stack(parts, [group.name for group in groups], by or "group")
    settings = {"measure": measure, "confidence": confidence, "n_resamples": n_resamples, "seed": seed}
    return result.assign_attrs(record(real, control, **settings))


def mean_interval(
    values: Float[np.ndarray, "examples cells"],
    clusters: Int[np.ndarray, " examples"],
    *,
    bounds: tuple[float, float] | None = None,
    method: str | None = None,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Mean over examples of every cell, with its interval; instances count as a whole.

    Args:
        values: one row an example, finite.
        clusters: the instance of each example, numbered from 0.
        bounds: lowest and highest value that there can be, such as `SHARE` or `DIFFERENCE`; None for none.
        method, confidence, n_resamples, seed: as for `cell_intervals`.

    Returns:
        `Interval`. Studentised ends are NaN with fewer than `MIN_FOR_MEAN` instances (`reason` says so) and in a cell without
        variance; an end is infinite where many resamples have none.

    Raises:
        InputError: fewer than 5 instances; values outside the bounds; "adjusted" without bounds; bad settings.

    >>> rng = np.random.default_rng(0)
    >>> found = mean_interval(rng.normal(1, 1, (50, 3)), np.arange(50), n_resamples=1000)
    >>> found.method, bool((found.low > 0).all() and (found.high < 2).all())
    ('studentised', True)
    """
    method = check_choice("method", method or ("studentised" if bounds is None else "adjusted"), METHODS)
    confidence, n_resamples = check_confidence(confidence), check_resamples(n_resamples)
    seed = check_whole("seed", seed, 0)
    sums = cluster_sums(values.astype("float64"), clusters)
    sizes = np.bincount(clusters).astype("float64")
    n = len(sizes)
    if n < MIN_INSTANCES:
        raise InputError(f"{n} instances are too few for an interval: at least {MIN_INSTANCES}")
    mean = sums.sum(0) / sizes.sum()
    if method == "adjusted":
        if bounds is None:
            raise InputError(
                "method 'adjusted' needs the bounds of the values, and gains in nats have none: 'studentised'"
            )
        if values.size and not bounds[0] - 1e-6 <= values.min() <= values.max() <= bounds[1] + 1e-6:
            raise InputError(f"values lie outside their bounds, {bounds[0]:g} to {bounds[1]:g}")
        mean = np.clip(mean, *bounds)
        return Interval(mean, *adjusted(mean, spread(sums, sizes, mean), n, bounds, confidence), method)
    low, high = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    if n < MIN_FOR_MEAN:
        return Interval(mean, low, high, method, too_few(n))
    counts = _draw(n, n_resamples, seed)
    step = max(1, CHUNK // n_resamples)
    for start in range(0, len(mean), step):
        part = slice(start, start + step)
        low[part], high[part] = _studentised(counts, sums[:, part], sizes, mean[part], confidence)
    constant = spread(sums, sizes, mean) <= 1e-12 * np.maximum(np.abs(sums).max(0), 1e-300)
    low[constant], high[constant] = np.nan, np.nan
    return Interval(mean, low, high, method)


def share_interval(
    values: Float[np.ndarray, "examples cells"], clusters: Int[np.ndarray, " examples"], *, confidence: float = 0.95
) -> Interval:
    """Mean of shares (0 to 1) with its adjusted interval: `mean_interval` with the bounds `SHARE`.

    >>> found = share_interval(np.ones((20, 1)), np.arange(20))
    >>> f"{found.low[0]:.3f} {found.high[0]:.3f}"
    '0.803 1.000'
    """
    return mean_interval(values, clusters, bounds=SHARE, confidence=confidence)


def median_interval(
    values: Float[np.ndarray, "examples cells"], clusters: Int[np.ndarray, " examples"], *, confidence: float = 0.95
) -> Interval:
    """The median over instances (of the mean over each one's examples), with its exact interval from order statistics.

    It holds for every distribution, ties and skew included, because all that it uses is that half of the instances lie on
    either side. The ends are values of instances; the level is at least `confidence`.

    Returns:
        `Interval` with the median as its `mean`; NaN ends where n is too small for any (below 6 at 95%).

    >>> found = median_interval(np.arange(20.0)[:, None], np.arange(20))  # 6th and 15th of 20
    >>> found.low.tolist(), found.mean.tolist(), found.high.tolist()
    ([5.0], [9.5], [14.0])
    """
    tail = (1 - check_confidence(confidence)) / 2
    ordered = np.sort(cluster_sums(values.astype("float64"), clusters) / np.bincount(clusters)[:, None], axis=0)
    n, middle = len(ordered), np.median(ordered, axis=0)
    outside = int(stats.binom.ppf(tail, n, 0.5))  # values left out at either end
    if stats.binom.cdf(outside - 1, n, 0.5) > tail or outside < 1:
        unknown = np.full_like(middle, np.nan)
        return Interval(
            middle, unknown, unknown, "median", f"{n} instances are too few for an interval of their median"
        )
    return Interval(middle, ordered[outside - 1], ordered[n - outside], "median")


def adjusted(
    mean: Float[np.ndarray, " cells"],
    error: Float[np.ndarray, " cells"],
    n: int,
    bounds: tuple[float, float],
    confidence: float,
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
    """Ends of the interval of a bounded mean, from its standard error: z^2/2 imagined instances at each bound, then t.

    Args:
        mean, error: of the mean over n instances; the error as sd / sqrt(n) with n - 1 in the standard deviation.
        n: instances.
        bounds: lowest and highest value that there can be.
        confidence: level.

    >>> low, high = adjusted(np.zeros(1), np.zeros(1), 20, DIFFERENCE, 0.95)  # 20 instances without any change
    >>> f"{low[0]:.3f} {high[0]:.3f}"
    '-0.172 0.172'
    """
    level = (1 + confidence) / 2
    imagined = stats.norm.ppf(level) ** 2 / 2
    total = n + 2 * imagined
    centre = (n * mean + imagined * sum(bounds)) / total
    squares = n * (mean**2 + (n - 1) * error**2) + imagined * (bounds[0] ** 2 + bounds[1] ** 2)
    reach = stats.t.ppf(level, n - 1) * np.sqrt(np.maximum(squares / total - centre**2, 0) / total)
    return np.clip(centre - reach, bounds[0], mean), np.clip(centre + reach, mean, bounds[1])


def too_few(n: int) -> str:
    """Why n instances have no interval of an unbounded mean."""
    return (
        f"{n} instances are too few for an interval of an unbounded mean (from {MIN_FOR_MEAN}): rare large losses may be "
        "unseen; see the median"
    )


def bracket(low: float, high: float, spec: str = "+.2f") -> str:
    """An interval in words, as it stands behind an estimate.

    >>> bracket(-0.5, 2.0), bracket(float("nan"), float("nan"))
    ('[-0.50, +2.00]', '[no interval]')
    """
    return "[no interval]" if np.isnan(low) or np.isnan(high) else f"[{low:{spec}}, {high:{spec}}]"


def spread(sums: np.ndarray, sizes: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Standard error of the mean over clusters, by linearisation; for equal sizes, sd / sqrt(n)."""
    n = len(sizes)
    rest = sums - sizes[:, None] * mean
    return np.sqrt((rest**2).sum(0) * n / max(n - 1, 1)) / sizes.sum()


def _draw(n: int, n_resamples: int, seed: int) -> Int[np.ndarray, "resamples instances"]:
    """How often each resample holds each instance, in 2 bytes a count."""
    rng, counts = generator(seed, "bootstrap"), np.empty((n_resamples, n), dtype="int16")
    step = max(1, CHUNK // n)
    for start in range(0, n_resamples, step):
        rows = counts[start : start + step]
        drawn = rng.integers(0, n, rows.shape) + n * np.arange(len(rows))[:, None]
        rows[:] = np.bincount(drawn.ravel(), minlength=rows.size).reshape(rows.shape)
    return counts


def _times(counts: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Matrix product [resamples, cells], a few rows at a time."""
    product = np.empty((len(counts), columns.shape[1]))
    step = max(1, CHUNK // counts.shape[1])
    for start in range(0, len(counts), step):
        rows = slice(start, start + step)
        np.matmul(counts[rows].astype("float64"), columns, out=product[rows])
    return product


def _studentised(
    counts: np.ndarray, sums: np.ndarray, sizes: np.ndarray, mean: np.ndarray, confidence: float
) -> np.ndarray:
    """Ends [2, cells] from the quantiles of (resampled mean - mean) / resampled standard error, at least those of t."""
    n, weights = len(sizes), _times(counts, sizes[:, None])
    rest = sums - sizes[:, None] * mean  # centred first: the squares below then lose no digits
    shift = _times(counts, sums) / weights - mean
    squares = (
        counts @ rest**2 - 2 * shift * (counts @ (rest * sizes[:, None])) + shift**2 * (counts @ sizes**2)[:, None]
    )
    scale = np.abs(rest).max(0)
    error = np.sqrt(np.clip(squares, 0, None) * n / (n - 1)) / weights
    flat = error <= 1e-9 * scale
    t = np.divide(
        shift, error, out=np.where(np.abs(shift) > 1e-9 * scale, np.copysign(np.inf, shift), 0.0), where=~flat
    )
    t.sort(axis=0)
    last = len(t) - 1
    tail = (1 - confidence) / 2
    ends = t[[int(np.ceil((1 - tail) * last)), int(np.floor(tail * last))]]
    least = stats.t.ppf(1 - tail, n - 1)
    ends = np.stack([np.maximum(ends[0], least), np.minimum(ends[1], -least)])
    error_of_mean = spread(sums, sizes, mean)
    with np.errstate(invalid="ignore"):  # infinite times zero: a cell without variance, NaN in the end
        return mean - ends * error_of_mean
