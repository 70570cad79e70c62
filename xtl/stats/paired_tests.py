"""Could the gain be chance? Paired tests for all cells of a map, corrected for their number.

*Sign flips of the mean.* Flip the signs of instances at random (all languages of an instance together) and see how often a cell's
mean, over its standard error, is as far out as the observed one. Against a control the flip swaps real and control, and the
test is exact: it asks for nothing but that the two could be swapped. Against vanilla nothing is swapped: the test would take
gains without effect as symmetric. Where a few transplants wreck the answer they are not, and it would find too much
(docs/statistics.md says how much). So p-values of a mean gain against vanilla are withheld (NaN), unless `assume_symmetric`
takes the risk.

*Sign test.* Of the instances whose value changed, did more go up than a fair coin says? Exact, whatever the skew, with a control
and without; but the question is another one: a cell that helps most instances a little and wrecks a few is "up" here.

*McNemar.* Of the instances whose answer changed, how many changed for the better? Exact, from the binomial distribution. One
example an instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from scipy import stats

from xtl.errors import InputError, check_choice, check_flag, check_whole, known_keywords
from xtl.results import Maps, real_and_control
from xtl.stats.corrections import adjust_fdr, adjust_max
from xtl.stats.effects import cohens_d, hedges_g, odds_ratio
from xtl.stats.examples import Group, check_resamples, cluster_sums, on_map, record, split_groups, stack
from xtl.stats.seeds import generator

ALTERNATIVES = ("two-sided", "greater", "less")
CHUNK = 2**21
"""Flipped statistics held at a time: 16 MB."""


@dataclass(frozen=True)
class Flips:
    """Result of `sign_flips`: `p` of each cell alone and `p_max`, corrected for the map; how many flips; all there are?"""

    p: Float[np.ndarray, " cells"]
    p_max: Float[np.ndarray, " cells"]
    n_resamples: int
    exact: bool


@known_keywords()
def significance(
    real: Maps,
    control: Maps | None = None,
    *,
    measure: str = "gain",
    by: str | None = "direction",
    alternative: str = "two-sided",
    assume_symmetric: bool = False,
    n_resamples: int | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Test every cell, real against control (or vanilla), and correct over the map (all modules and layers of a group).

    Args:
        real, control: as for `xtl.stats.examples.split_groups`.
        measure: "gain" or "accuracy".
        by: coord of the examples that makes the groups, each with a map of its own; None pools all.
        alternative: "two-sided", "greater" (real is better) or "less".
        assume_symmetric: without a control, take differences without effect as symmetric around 0, and so give `p`, `p_fdr`
            and `p_max` too. Right answers of one example an instance are symmetric by themselves: a change up or down.
        n_resamples: sign flips. None takes 10,000, or more if so many could not show a lone cell to Benjamini-Hochberg
            (its p-value must get below 0.05 / cells). If there are fewer possible flips, each is taken once.
        seed: of the flips; the same for every group.

    Returns:
        Dataset (group, module, source_layer, target_layer), the first dim named as `by` (or "group"):
        - `mean`: mean difference; `cohens_d`, `hedges_g`: the same over its standard deviation;
        - `p`: sign-flip p-value of the mean; `p_fdr`, `p_max`: corrected over the map (`xtl.stats.corrections`). NaN where
          they are withheld: `reason` (group) says why, and is empty otherwise;
        - `p_sign`, `p_sign_fdr`, `p_sign_max`: the same of the sign test;
        - for "accuracy": `odds_ratio`, `odds_low`, `odds_high`, `p_mcnemar`, `p_mcnemar_fdr`; but for the ratio they are NaN
          where an instance has several examples, since they take answers as independent;
        - `n`, `n_instances`, `smallest_p` (group): neither `p` nor `p_max` nor `p_sign_max` can be smaller than the last.

    Raises:
        InputError: see `split_groups`; an unknown alternative; no cell of a group differs from the control at all.

    >>> from xtl import stats
    >>> real, control = stats.simulate(n_instances=20, planted={("mlp", 1, 2): 3.0}, control=True)
    >>> place = {"module": "mlp", "source_layer": 1, "target_layer": 2}
    >>> bool(significance(real, control)["p_max"].sel(place) < 0.05)
    True
    >>> alone = significance(real)
    >>> bool(alone["p_sign_max"].sel(place) < 0.05), bool(alone["p_max"].isnull().all())
    (True, True)
    """
    real, control = real_and_control(real, control)
    check_choice("alternative", alternative, ALTERNATIVES)
    check_flag("assume_symmetric", assume_symmetric)
    seed = check_whole("seed", seed, 0)
    if n_resamples is not None:
        n_resamples = check_resamples(n_resamples)
    groups = split_groups(real, control, by=by, measures=(measure,))
    n_cells = int(np.prod([real.sizes[dim] for dim in ("module", "source_layer", "target_layer")]))
    wanted = max(10_000, 40 * n_cells) if n_resamples is None else n_resamples
    parts = []
    for group in groups:
        differences = group.differences(measure)
        if not differences.any():
            raise InputError(f"{group.name}: {measure} has no variance, no cell differs from what it is compared with")
        sums = cluster_sums(differences, group.clusters)
        flip = partial(sign_flips, alternative=alternative, n_resamples=wanted, seed=seed)
        signs = np.sign(sums) * (np.abs(sums) > 1e-9)  # what is no more than rounding is no change
        flips = flip(signs)
        p_sign = mcnemar(signs > 0, signs < 0, alternative=alternative)
        columns = {
            "mean": differences.mean(0),
            "cohens_d": cohens_d(differences, group.clusters),
            "hedges_g": hedges_g(differences, group.clusters),
            "p_sign": p_sign, "p_sign_fdr": adjust_fdr(p_sign), "p_sign_max": flips.p_max,
        }  # fmt: skip
        reason = "" if assume_symmetric or control is not None else _asymmetric(group, measure)
        if reason:
            columns |= {name: np.full(len(p_sign), np.nan) for name in ("p", "p_fdr", "p_max")}
        else:
            flips = flip(sums)
            columns |= {"p": flips.p, "p_fdr": adjust_fdr(flips.p), "p_max": flips.p_max}
        if measure == "accuracy":
            columns |= _answers(group, differences, alternative)
        smallest = (
            (1 + (alternative == "two-sided")) / flips.n_resamples if flips.exact else 1 / (flips.n_resamples + 1)
        )
        parts.append(
            xr.Dataset({name: on_map(values, group.real) for name, values in columns.items()}).assign(
                n=group.n, n_instances=group.n_instances, smallest_p=smallest, reason=reason
            )
        )
    settings = {
        "measure": measure, "alternative": alternative, "assume_symmetric": assume_symmetric, "n_resamples": wanted,
        "seed": seed,
    }  # fmt: skip
    return stack(parts, [group.name for group in groups], by or "group").assign_attrs(record(real, control, **settings))


def sign_flips(
    sums: Float[np.ndarray, "instances cells"],
    *,
    alternative: str = "two-sided",
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Flips:
    """Sign-flip test of each column's mean against 0, by its t statistic, and of the largest one of all.

    Under sign flips a column's sum of squares stays, so that its t statistic grows with its sum over the root of that: one
    matrix product, and the same order in all columns. Columns of zeros have p = 1.

    Args:
        sums: differences, one row an instance (sums over its examples).
        alternative: "two-sided", "greater" or "less" than 0.
        n_resamples: random flips; where 2^instances is no more, all flips are taken once and the p-values are exact.
        seed: of the flips.

    >>> found = sign_flips(np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]))
    >>> found.p.tolist(), found.exact  # 2 of 32 flips are as far out
    ([0.0625], True)
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    n = len(sums)
    norm = np.sqrt((sums**2).sum(0))
    unit = np.divide(sums, norm, out=np.zeros_like(sums), where=norm > 0)
    if alternative == "less":
        unit = -unit
    two_sided = alternative == "two-sided"
    observed = np.abs(unit.sum(0)) if two_sided else unit.sum(0)
    threshold = observed - 1e-9  # equal values differ by rounding
    exact = n < 60 and 2**n <= n_resamples + 1
    total = 2**n if exact else n_resamples
    rng = generator(seed, "sign flips")
    reached, largest = np.zeros(len(observed)), np.empty(total)
    step = max(1, CHUNK // max(len(observed), 1))
    for start in range(0, total, step):
        size = min(step, total - start)
        every = (np.arange(start, start + size)[:, None] >> np.arange(n)) & 1 if exact else None
        bits = rng.integers(0, 2, (size, n)) if every is None else every
        flipped = (1.0 - 2.0 * bits) @ unit
        if two_sided:
            np.abs(flipped, out=flipped)
        reached += (flipped >= threshold).sum(0)
        largest[start : start + size] = flipped.max(1)
    p = reached / total if exact else (1 + reached) / (1 + total)
    return Flips(p, adjust_max(observed, largest, exact=exact), total, exact)


def mcnemar(
    after: Bool[np.ndarray, "instances cells"],
    before: Bool[np.ndarray, "instances cells"],
    *,
    alternative: str = "two-sided",
) -> Float[np.ndarray, " cells"]:
    """Exact McNemar p-value per cell: of the answers that changed, did more become right (or wrong) than a fair coin says?

    Args:
        after, before: right answers with and without, the same instances; each instance once.
        alternative: "two-sided", "greater" (more right after) or "less".

    >>> right = np.array([[True]] * 6)
    >>> mcnemar(right, ~right).tolist()  # 2 / 2^6
    [0.03125]
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    gained, lost = (after & ~before).sum(0), (before & ~after).sum(0)
    changed = gained + lost
    if alternative == "two-sided":
        return np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(gained, lost), changed, 0.5))
    return np.asarray(stats.binom.cdf(lost if alternative == "greater" else gained, changed, 0.5))


def _asymmetric(group: Group, measure: str) -> str:
    """Why differences to vanilla can't be flipped; empty if they can: right answers of one example an instance."""
    if measure == "accuracy" and group.n == group.n_instances:
        return ""
    return (
        "against vanilla, differences without effect need not be symmetric, so a mean has no p-value: give a control, or "
        "see p_sign"
    )


def _answers(group: Group, differences: np.ndarray, alternative: str) -> dict[str, np.ndarray]:
    """Odds ratio and McNemar's test of right answers. All but the ratio need independent examples: NaN without."""
    gained, lost = (differences > 0).sum(0), (differences < 0).sum(0)
    ratio, low, high = odds_ratio(gained, lost)
    p = mcnemar(differences > 0, differences < 0, alternative=alternative)
    columns = {"odds_low": low, "odds_high": high, "p_mcnemar": p, "p_mcnemar_fdr": adjust_fdr(p)}
    if group.n > group.n_instances:
        columns = {name: np.full(len(p), np.nan) for name in columns}
    return {"odds_ratio": ratio, **columns}
