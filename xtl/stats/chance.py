"""How far luck goes: the upper bound against the number of cells tried, and the instances that only the real source solves.

Draw k of the M cells at random: how many instances are solved? An instance that s of the M cells solve is missed with
probability C(M - s, k) / C(M, k) (hypergeometric), so that the mean over all subsets is exact, without drawing any. So is its
spread over subsets: two instances are both missed with the same formula, s being the cells that solve either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float
from scipy import special

from xtl.errors import InputError, known_keywords
from xtl.results import Maps, real_and_control, with_control
from xtl.stats.examples import Group, check_confidence, record, split_groups, stack
from xtl.stats.intervals import DIFFERENCE, mean_interval, share_interval
from xtl.stats.upper_bounds import solved

BLOCK = 2**21
"""Pairs of instances looked at together."""


@known_keywords()
def upper_bound_curve(
    real: Maps,
    control: Maps | None = None,
    *,
    sizes: Sequence[int] | None = None,
    by: str | None = "direction",
    confidence: float = 0.95,
) -> xr.Dataset:
    """The expected upper bound of k cells drawn at random, for k = 1, 2, 4, ... up to all of them.

    Args:
        real, control: as for `xtl.stats.examples.split_groups`, with `correct` and `vanilla_correct`.
        sizes: numbers of cells; None takes the powers of 2 and the number of all cells (of one module, of all modules).
        by: coord of the examples that makes the groups; None pools all, clustered by instance.
        confidence: level of the intervals over instances.

    Returns:
        Dataset (group, module, condition, cells), shares from 0 to 1: `upper_bound`, its interval over instances `low`, `high`,
        and `spread`, the standard deviation over random subsets of that size (NaN for "difference"). NaN where a set of
        modules has fewer cells. `condition` and `module` as for `layer_upper_bounds`; `vanilla`, `n`, `n_instances` (group).

    Raises:
        InputError: see `split_groups`; sizes below 1 or above the number of cells.

    >>> from xtl import stats
    >>> curve = upper_bound_curve(stats.simulate(n_instances=20, n_layers=4))
    >>> curve["cells"].values.tolist()
    [1, 2, 4, 8, 16, 32]
    """
    confidence = check_confidence(confidence)
    real, control = real_and_control(real, control)
    groups = split_groups(real, control, by=by, measures=("accuracy",))
    parts = []
    for group in groups:
        modules = group.modules()
        wanted = _sizes(sizes, modules)
        found = [_curve(part, wanted, confidence) for _, part in modules]
        vanilla = float(group.real["vanilla_correct"].values.astype("float64").mean())
        data = stack(found, [name for name, _ in modules], "module")
        parts.append(data.assign(vanilla=vanilla, n=group.n, n_instances=group.n_instances))
    result = stack(parts, [group.name for group in groups], by or "group")
    return result.assign_attrs(record(real, control, method="adjusted", confidence=confidence))


@known_keywords()
def solved_instances(real: Maps, control: Maps, *, by: str | None = "direction") -> pd.DataFrame:
    """Which instances does only the real source solve, which only the control?

    Args:
        real, control: as for `xtl.stats.examples.split_groups`, with `correct` and `vanilla_correct`.
        by: coord of the examples that makes the groups.

    Returns:
        A row an example and module: the group (column named as `by`, or "group"), `module`, `example`, `vanilla` (bool),
        `cells_real` and `cells_control` (how many cells solve it), `solved_by`: "both", "only real", "only control", "neither".

    Raises:
        InputError: see `split_groups`.

    >>> from xtl import stats
    >>> table = solved_instances(*stats.simulate(n_instances=20, control=True))
    >>> sorted(table["solved_by"].unique())
    ['both', 'neither', 'only control', 'only real']
    """
    real, control = with_control(real, control)
    tables = []
    for group in split_groups(real, control, by=by, measures=("accuracy",)):
        for name, part in group.modules():
            cells = {condition: solved(part, condition).sum((1, 2, 3)) for condition in ("real", "control")}
            tables.append(
                pd.DataFrame(
                    {
                        by or "group": group.name,
                        "module": name,
                        "example": group.real["example"].values,
                        "vanilla": group.real["vanilla_correct"].values.astype(bool),
                        "cells_real": cells["real"],
                        "cells_control": cells["control"],
                        "solved_by": np.select(
                            [(cells["real"] > 0) & (cells["control"] > 0), cells["real"] > 0, cells["control"] > 0],
                            ["both", "only real", "only control"], "neither",
                        ),
                    }
                )
            )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def subset_solves(
    right: Bool[np.ndarray, "examples cells"], sizes: Sequence[int]
) -> tuple[Float[np.ndarray, "examples sizes"], Float[np.ndarray, " sizes"]]:
    """The probability that k cells, drawn at random without replacement, hold one that solves the example; exact.

    Returns:
        The probabilities, and the standard deviation over subsets of the share of examples solved.

    >>> share, spread = subset_solves(np.array([[True, False], [False, False]]), [1, 2])
    >>> share.tolist(), spread.round(2).tolist()
    ([[0.5, 1.0], [0.0, 0.0]], [0.25, 0.0])
    """
    n, m = right.shape
    solving, numbers = right.sum(1), right.astype("float32")
    missed = np.stack([_missed(m, k) for k in sizes])
    alone = missed[:, solving]
    together = np.zeros(len(sizes))
    step = max(1, BLOCK // n)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        either = solving[rows, None] + solving - np.rint(numbers[rows] @ numbers.T).astype(int)
        for place, table in enumerate(missed):
            together[place] += (table[either] - np.outer(alone[place, rows], alone[place])).sum()
    shares, spread = 1 - alone.T, np.sqrt(np.maximum(together, 0)) / n
    return shares, spread


def _missed(m: int, k: int) -> Float[np.ndarray, " counts"]:
    """The probability that k of m cells hold none of s, for s = 0 ... m."""
    left = m - np.arange(m + 1)
    possible = left >= k
    fewer = np.maximum(left, k)  # keeps the logarithm finite where the answer is 0
    log = (
        special.gammaln(fewer + 1)
        - special.gammaln(fewer - k + 1)
        - special.gammaln(m + 1)
        + special.gammaln(m - k + 1)
    )
    return np.where(possible, np.exp(np.minimum(log, 0)), 0.0)


def _curve(group: Group, sizes: Sequence[int], confidence: float) -> xr.Dataset:
    """The curve of one group and one set of modules."""
    conditions = ["real"] if group.control is None else ["real", "control"]
    m = int(np.prod(solved(group, "real").shape[1:]))
    sizes = [size for size in sizes if size <= m]
    parts, shares = [], []
    for condition in conditions:
        share, spread = subset_solves(solved(group, condition).reshape(group.n, -1), sizes)
        found = share_interval(share, group.clusters, confidence=confidence)
        parts.append({"upper_bound": found.mean, "low": found.low, "high": found.high, "spread": spread})
        shares.append(share)
    if len(conditions) == 2:
        found = mean_interval(shares[0] - shares[1], group.clusters, bounds=DIFFERENCE, confidence=confidence)
        unknown = np.full(len(sizes), np.nan)
        parts.append({"upper_bound": found.mean, "low": found.low, "high": found.high, "spread": unknown})
        conditions = [*conditions, "difference"]
    tables = {name: (("condition", "cells"), np.stack([part[name] for part in parts])) for name in parts[0]}
    return xr.Dataset(tables, coords={"condition": conditions, "cells": sizes})


def _sizes(sizes: Sequence[int] | None, modules: Sequence[tuple[str, Group]]) -> list[int]:
    """Numbers of cells, checked, in order."""
    counts = [int(np.prod(solved(part, "real").shape[1:])) for _, part in modules]
    if sizes is None:
        powers = [2**power for power in range(max(counts).bit_length())]
        return sorted({size for size in (*powers, *counts) if size <= max(counts)})
    if not sizes or min(sizes) < 1 or max(sizes) > max(counts):
        raise InputError(f"sizes must lie between 1 and the {max(counts)} cells that there are, got {list(sizes)}")
    return sorted(set(sizes))
