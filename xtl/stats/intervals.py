"""Confidence intervals of means over instances: the bootstrap, clustered by instance, for all cells of a map at once.

A resample draws instances with replacement, each with all of its examples (languages, templates). Its mean is a weighted one,
so that all resamples of all cells are a matrix product of counts [resamples, instances] and sums [instances, cells], done in
chunks of cells.

Three methods (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapters 12 to 14):

- `studentised` (bootstrap-t): resamples (mean - estimate) / its standard error. Gains are skewed and heavy-tailed, and
  instances are few: of the three, only this one kept near its level there (docs/statistics.md has the measured coverage). Its
  intervals are wide where the data say little. The default for gains.
- `bca`: percentiles, corrected for bias and skew. Never leaves the range of the data, never infinite. The default for
  differences of right answers, where a resample often has no variance and so no studentised value.
- `percentile`: too narrow by a factor sqrt(1 - 1/n) even for a normal distribution. For comparison with others' work.

Shares (accuracies, upper bounds) have Wilson's score interval instead, which holds near 0 and 1 where no bootstrap does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy import special, stats

from xtl.errors import InputError, check_choice
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

METHODS = ("studentised", "bca", "percentile")
DEFAULT_METHOD = {"gain": "studentised", "accuracy": "bca"}
CHUNK = 2**21
"""Resampled means held at a time: 16 MB."""


@dataclass(frozen=True)
class Interval:
    """Means and the ends of their confidence intervals, one a cell; NaN ends where a cell has no variance."""

    mean: Float[np.ndarray, " cells"]
    low: Float[np.ndarray, " cells"]
    high: Float[np.ndarray, " cells"]


def cell_intervals(
    real: xr.Dataset,
    control: xr.Dataset | None = None,
    *,
    measure: str = "gain",
    by: str | None = "direction",
    method: str | None = None,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> xr.Dataset:
    """The mean difference of every cell, real minus control (or vanilla), with its bootstrap interval.

    The intervals are per cell, not for the map as a whole: of 1,000 cells without effect, 50 have one that excludes 0. To
    ask which cells have an effect, see `xtl.stats.significance`.

    Args:
        real, control: as for `xtl.stats.examples.split_groups`; without a control, the difference is to vanilla.
        measure: "gain" (mean, in the score's unit) or "accuracy" (difference of shares of right answers, -1 to 1).
        by: coord of the examples that makes the groups; None pools all, clustered by instance.
        method: one of `METHODS`; None takes "studentised" for gains, "bca" for accuracies.
        confidence: level of the intervals.
        n_resamples: bootstrap resamples.
        seed: of the resamples; the same for every group.

    Returns:
        Dataset (group, module, source_layer, target_layer), the first dim named as `by` (or "group"): `mean`, `low`,
        `high` (float64), and `n`, `n_instances` (group). The ends are NaN in a cell in which all instances are equal.

    Raises:
        InputError: see `split_groups`; an unknown method; no cell of a group has any variance.

    >>> from xtl import stats
    >>> result = cell_intervals(stats.simulate(n_instances=20, seed=0), n_resamples=500, seed=1)
    >>> result["low"].dims, bool((result["low"] < result["mean"]).all())
    (('direction', 'module', 'source_layer', 'target_layer'), True)
    """
    method = check_choice("method", method or DEFAULT_METHOD.get(measure, "bca"), METHODS)
    groups = split_groups(real, control, by=by, measures=(measure,))
    parts = []
    for group in groups:
        found = mean_interval(
            group.differences(measure), group.clusters, method=method, confidence=confidence, n_resamples=n_resamples, seed=seed
        )  # fmt: skip
        if np.isnan(found.low).all():
            raise InputError(
                f"{group.name}: {measure} has no variance, every instance has the same value in every cell"
            )
        maps = {name: on_map(getattr(found, name), group.real) for name in ("mean", "low", "high")}
        parts.append(xr.Dataset(maps).assign(n=group.n, n_instances=group.n_instances))
    result = stack(parts, [group.name for group in groups], by or "group")
    settings = {
        "measure": measure,
        "method": method,
        "confidence": confidence,
        "n_resamples": n_resamples,
        "seed": seed,
    }
    return result.assign_attrs(record(real, control, **settings))


def mean_interval(
    values: Float[np.ndarray, "examples cells"],
    clusters: Int[np.ndarray, " examples"],
    *,
    method: str = "studentised",
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Mean over examples of every cell, with its bootstrap interval; instances are resampled as a whole.

    Args:
        values: one row an example, finite.
        clusters: the instance of each example, numbered from 0.
        method, confidence, n_resamples, seed: as for `cell_intervals`.

    Returns:
        `Interval`; NaN ends for a cell without variance. A studentised end is infinite where many resamples have none.

    >>> rng = np.random.default_rng(0)
    >>> found = mean_interval(rng.normal(1, 1, (50, 3)), np.arange(50), n_resamples=1000)
    >>> bool((found.low > 0).all() and (found.high < 2).all())
    True
    """
    check_choice("method", method, METHODS)
    confidence, n_resamples = check_confidence(confidence), check_resamples(n_resamples)
    sums = cluster_sums(values.astype("float64"), clusters)
    sizes = np.bincount(clusters).astype("float64")
    n = len(sizes)
    if n < MIN_INSTANCES:
        raise InputError(f"{n} instances are too few for an interval: at least {MIN_INSTANCES}")
    counts = _draw(n, n_resamples, seed)
    mean = sums.sum(0) / sizes.sum()
    low, high = np.empty_like(mean), np.empty_like(mean)
    step = max(1, CHUNK // n_resamples)
    for start in range(0, len(mean), step):
        part = slice(start, start + step)
        resampled = _times(counts, sums[:, part]) / _times(counts, sizes[:, None])
        if method == "studentised":
            ends = _studentised(resampled, counts, sums[:, part], sizes, mean[part], confidence)
        else:
            tail = np.full((2, resampled.shape[1]), [[(1 - confidence) / 2], [(1 + confidence) / 2]])
            if method == "bca":
                tail = _bca_levels(resampled, sums[:, part], sizes, mean[part], tail)
            ends = _quantiles(resampled, tail)
        low[part], high[part] = ends
    constant = _spread(sums, sizes, mean) <= 1e-12 * np.maximum(np.abs(sums).max(0), 1e-300)
    low[constant], high[constant] = np.nan, np.nan
    return Interval(mean, low, high)


def share_interval(
    values: Float[np.ndarray, "examples cells"], clusters: Int[np.ndarray, " examples"], *, confidence: float = 0.95
) -> Interval:
    """Mean of shares (0 to 1) with Wilson's score interval.

    With one right-or-wrong example an instance this is the plain Wilson interval. Where an instance has several examples, or
    fractions, n is replaced by the effective sample size: that of independent answers whose mean would vary as much, times
    (z / t)^2 for its own uncertainty (Korn and Graubard, Survey Methodology 24, 1998). Where nothing varies it is the number
    of instances.

    >>> found = share_interval(np.ones((10, 1)), np.arange(10))
    >>> f"{found.low[0]:.3f} {found.high[0]:.3f}"
    '0.722 1.000'
    """
    n, z = int(clusters.max()) + 1, stats.norm.ppf((1 + check_confidence(confidence)) / 2)
    sizes = np.bincount(clusters).astype("float64")
    sums = cluster_sums(values.astype("float64"), clusters)
    mean = np.clip(sums.sum(0) / sizes.sum(), 0, 1)
    size = np.full_like(mean, n)
    plain = (sizes == 1).all() & ((values == 0) | (values == 1)).all(0)
    variance = _spread(sums, sizes, mean) ** 2
    estimated = ~plain & (variance > 1e-15)
    t = stats.t.ppf((1 + confidence) / 2, max(n - 1, 1))
    size[estimated] = (mean * (1 - mean))[estimated] / variance[estimated] * (z / t) ** 2
    return Interval(mean, *wilson(mean, size, confidence))


def wilson(
    mean: Float[np.ndarray, " cells"], size: Float[np.ndarray, " cells"], confidence: float
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
    """Ends of Wilson's score interval of shares from `size` (effective) independent answers."""
    z = stats.norm.ppf((1 + confidence) / 2)
    centre = (mean + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(mean * (1 - mean) / size + z**2 / (4 * size**2))
    return np.clip(centre - half, 0, mean), np.clip(centre + half, mean, 1)


def none_of(n: int, confidence: float) -> float:
    """Upper end of Clopper-Pearson's interval when none of n instances does it (two-sided level).

    >>> round(none_of(50, 0.95), 3)
    0.071
    """
    return float(1 - ((1 - confidence) / 2) ** (1 / n))


def _spread(sums: np.ndarray, sizes: np.ndarray, mean: np.ndarray) -> np.ndarray:
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
        rows[:] = rng.multinomial(n, np.full(n, 1 / n), size=len(rows))
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
    resampled: np.ndarray, counts: np.ndarray, sums: np.ndarray, sizes: np.ndarray, mean: np.ndarray, confidence: float
) -> np.ndarray:
    """Ends [2, cells] from the quantiles of (resampled mean - mean) / resampled standard error."""
    n = len(sizes)
    rest = sums - sizes[:, None] * mean  # centred first: the squares below then lose no digits
    shift = resampled - mean
    squares = (
        counts @ rest**2 - 2 * shift * (counts @ (rest * sizes[:, None])) + shift**2 * (counts @ sizes**2)[:, None]
    )
    scale = np.abs(rest).max(0)
    error = np.sqrt(np.clip(squares, 0, None) * n / (n - 1)) / _times(counts, sizes[:, None])
    flat = error <= 1e-9 * scale
    t = np.divide(
        shift, error, out=np.where(np.abs(shift) > 1e-9 * scale, np.copysign(np.inf, shift), 0.0), where=~flat
    )
    t.sort(axis=0)
    last = len(t) - 1
    tail = (1 - confidence) / 2
    ends = t[[int(np.ceil((1 - tail) * last)), int(np.floor(tail * last))]]
    error_of_mean = _spread(sums, sizes, mean)
    with np.errstate(invalid="ignore"):  # infinite times zero: a cell without variance, NaN in the end
        return mean - ends * error_of_mean


def _bca_levels(
    resampled: np.ndarray, sums: np.ndarray, sizes: np.ndarray, mean: np.ndarray, tail: np.ndarray
) -> np.ndarray:
    """The levels [2, cells] at which to take percentiles, corrected for bias and skew."""
    near = 1e-12 * np.maximum(np.abs(mean), 1e-300)
    below = ((resampled < mean - near).mean(0) + (resampled <= mean + near).mean(0)) / 2
    edge = 0.5 / len(resampled)
    bias = special.ndtri(np.clip(below, edge, 1 - edge))
    left_out = (sums.sum(0) - sums) / (sizes.sum() - sizes)[:, None]  # the jackknife
    rest = left_out.mean(0) - left_out
    squares = (rest**2).sum(0)
    skew = np.divide((rest**3).sum(0), 6 * squares**1.5, out=np.zeros_like(mean), where=squares > 1e-200)
    shifted = bias + special.ndtri(tail)
    return special.ndtr(bias + shifted / np.maximum(1 - skew * shifted, 1e-3))


def _quantiles(resampled: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles of each column at its own two levels [2, cells], interpolated."""
    ordered = np.sort(resampled, axis=0)
    place = levels * (len(ordered) - 1)
    floor = np.floor(place).astype(int)
    under = np.take_along_axis(ordered, floor, axis=0)
    over = np.take_along_axis(ordered, np.minimum(floor + 1, len(ordered) - 1), axis=0)
    return under + (place - floor) * (over - under)
