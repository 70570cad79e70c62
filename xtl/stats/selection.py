"""The best cell without selection bias: chosen on one half of the instances, measured on the other.

The largest of a thousand means is too large: some of it is luck, and the luck is gone on other instances. `select_cell`
chooses; `held_out` splits the instances in two halves at random, many times, chooses on each half and measures on the other.
Everything that depends on the data (the cell, the module where there are several) is chosen anew inside each half.

Strategies:

- "overall": the cell with the largest mean.
- "target_first": the target layer with the largest mean over source layers, then the best source layer for it. It averages
  away most of the luck of single cells before it chooses.
- "source_first": the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from xtl.errors import check_choice, check_whole, known_keywords
from xtl.results import GAIN_DIMS, Maps, as_results, real_and_control
from xtl.stats.examples import MEASURES, Group, check_confidence, check_resamples, cluster_sums, record, split_groups
from xtl.stats.intervals import DIFFERENCE, SHARE, Interval, adjusted, mean_interval, share_interval, spread
from xtl.stats.seeds import generator

STRATEGIES = ("overall", "target_first", "source_first")


@dataclass(frozen=True)
class ChosenCell:
    """A cell, and its mean on the examples that it was chosen on (`in_sample`: too high)."""

    module: str
    source_layer: int
    target_layer: int
    in_sample: float
    n: int


@known_keywords()
def select_cell(
    results: Maps, *, strategy: str = "overall", measure: str = "accuracy", min_instances: int = 1
) -> ChosenCell:
    """Choose one cell on all examples of `results`; measure it on others.

    Args:
        results: from `xtl.sweep_many`; to choose within a direction or a module, give that part.
        strategy: one of `STRATEGIES`.
        measure: "accuracy" (of equal cells, the one with the larger mean gain) or "gain"; then the lowest source layer, then
            the lowest target layer.
        min_instances: instances that must be there.

    Raises:
        InputError: an unknown strategy or measure; see `xtl.stats.examples.split_groups`.

    >>> from xtl import stats
    >>> select_cell(stats.simulate(planted={("mlp", 1, 2): 3.0}), strategy="target_first", measure="gain").target_layer
    2
    """
    results = as_results(results)
    check_choice("strategy", strategy, STRATEGIES)
    measures = ("gain", measure) if measure == "accuracy" and "gain" in results else (measure,)
    min_instances = check_whole("min_instances", min_instances, 1)
    (group,) = split_groups(results, by=None, measures=measures, min_instances=min_instances)
    maps = [group.values(measure).mean(0)[None] for measure in measures[::-1]]
    place = int(choose(maps, map_shape(group), strategy)[0])
    module, i, j = np.unravel_index(place, map_shape(group))
    names = [group.real[dim].values[index].item() for dim, index in zip(GAIN_DIMS, (module, i, j), strict=True)]
    return ChosenCell(str(names[0]), int(names[1]), int(names[2]), float(maps[0][0, place]), group.n)


@known_keywords()
def held_out(
    real: Maps,
    control: Maps | None = None,
    *,
    strategy: str = "overall",
    choose_by: str = "gain",
    by: str | None = "direction",
    n_splits: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The best cell's gain and accuracy on instances that it was not chosen on.

    Args:
        real: from `xtl.sweep_many`.
        control: measured at the cells that were chosen on the real run; None for none.
        strategy: one of `STRATEGIES`.
        choose_by: "gain" or "accuracy": what the choosing half is judged by.
        by: coord of the examples that makes the groups; None pools all. An instance is in one half with all its examples.
        n_splits: random halvings; each is used both ways.
        confidence: level of the intervals.
        seed: of the halvings.

    Returns:
        A row a group and module (and all modules as one set, such as "attn+mlp", where the module is chosen too). Columns: the
        group (named as `by`, or "group"), `module`, `n`, `n_instances`; `gain` (held out, mean over splits, score's unit)
        with `gain_low`, `gain_high`; `in_sample_gain` of the cell chosen on all; with right answers known also `accuracy`,
        `vanilla_accuracy` and `accuracy_gain`, each with its ends; with a control, `control_...` the same of the control,
        and `gain_over_control`, `accuracy_over_control`. Settings in `attrs`. The intervals are for the true mean of the cells
        that were chosen (`held_out_interval`); the ends of a gain in nats are NaN with fewer than 29 instances (`reason`
        says so; empty otherwise) and where all instances are equal.

    Raises:
        InputError: see `xtl.stats.examples.split_groups`; an unknown strategy or measure; fewer than 10 splits.

    >>> from xtl import stats
    >>> table = held_out(stats.simulate(n_instances=40, n_layers=8))
    >>> table[["in_sample_gain", "gain"]].round(1).values.tolist()  # nothing planted
    [[0.7, 0.4], [0.4, 0.1], [0.7, 0.3]]
    """
    real, control = real_and_control(real, control)
    check_choice("strategy", strategy, STRATEGIES)
    check_choice("choose_by", choose_by, MEASURES)
    confidence, n_splits = check_confidence(confidence), check_resamples(n_splits, 10, "n_splits")
    seed = check_whole("seed", seed, 0)
    measures = ["gain", *(["accuracy"] if "correct" in real and (control is None or "correct" in control) else [])]
    if choose_by not in measures:
        measures.append(choose_by)  # refused below, with the reason
    rows = []
    for group in split_groups(real, control, by=by, measures=measures):
        halves = split_halves(group.n_instances, n_splits, seed)
        for name, part in group.modules():
            row: dict[str, object] = {
                by or "group": group.name,
                "module": name,
                "n": group.n,
                "n_instances": group.n_instances,
            }
            maps = [part.values(measure) for measure in ([choose_by, "gain"] if choose_by != "gain" else ["gain"])]
            cells = chosen_cells(maps, part.clusters, halves, map_shape(part), strategy)
            best = choose([values.mean(0)[None] for values in maps], map_shape(part), strategy)[0]
            row["in_sample_gain"] = part.values("gain")[:, best].mean()
            row["reason"] = ""
            for measure in measures:
                row |= _measured(part, measure, halves, cells, confidence, seed)
            rows.append(row)
    table = pd.DataFrame(rows)
    settings = {
        "strategy": strategy,
        "choose_by": choose_by,
        "n_splits": n_splits,
        "confidence": confidence,
        "seed": seed,
    }
    table.attrs = record(real, control, **settings)
    return table


def split_halves(n_instances: int, n_splits: int, seed: int) -> np.ndarray:
    """Random halvings [splits, instances]: True for the first half, which is the larger one by at most 1.

    >>> split_halves(5, 3, seed=0).sum(1).tolist()
    [3, 3, 3]
    """
    rng = generator(seed, "splits")
    first = np.arange(n_instances) < (n_instances + 1) // 2
    return np.stack([rng.permutation(first) for _ in range(n_splits)])


def chosen_cells(
    maps: Sequence[Float[np.ndarray, "examples cells"]],
    clusters: Int[np.ndarray, " examples"],
    halves: np.ndarray,
    shape: tuple[int, int, int],
    strategy: str,
) -> np.ndarray:
    """The flat cell that each half chooses [2, splits]: by the first half of each split, then by the second."""
    sizes = np.bincount(clusters).astype("float64")
    sums = [cluster_sums(values, clusters) for values in maps]
    both = []
    for half in (halves, ~halves):
        weights = half.astype("float64")
        both.append(choose([weights @ part / (weights @ sizes)[:, None] for part in sums], shape, strategy))
    return np.stack(both)


def choose(
    means: Sequence[Float[np.ndarray, "rows cells"]], shape: tuple[int, int, int], strategy: str
) -> Int[np.ndarray, " rows"]:
    """The best flat cell of each row of means; ties go to the next of `means`, then to the lowest cell.

    >>> choose([np.array([[1.0, 0.0, 0.9, 0.9]])], (1, 2, 2), "overall").tolist()
    [0]
    >>> choose([np.array([[1.0, 0.9, 0.0, 0.9]])], (1, 2, 2), "target_first").tolist()  # target layer 1 is the better one
    [1]
    """
    if strategy == "overall":
        return _argmax(means)
    keep = 3 if strategy == "target_first" else 2
    cubes = [mean.reshape(len(mean), *shape) for mean in means]
    lines = [cube.mean(axis=5 - keep) for cube in cubes]  # [rows, modules, layers kept]
    line = _argmax([values.reshape(len(values), -1) for values in lines])
    module, layer = np.unravel_index(line, lines[0].shape[1:])
    rows = np.arange(len(line))
    other = _argmax([cube[rows, module, :, layer] if keep == 3 else cube[rows, module, layer] for cube in cubes])
    i, j = (other, layer) if keep == 3 else (layer, other)
    return np.ravel_multi_index((module, i, j), shape)


def _argmax(means: Sequence[np.ndarray]) -> np.ndarray:
    """First place of the largest value of each row, ties settled by the further arrays."""
    open_ = np.ones(means[0].shape, dtype=bool)
    for mean in means:
        values = np.where(open_, mean, -np.inf)
        top = values.max(1, keepdims=True)
        open_ = values >= top - 1e-9 * np.maximum(np.abs(top), 1e-3)
    return open_.argmax(1)


def held_out_means(
    values: Float[np.ndarray, "examples cells"],
    clusters: Int[np.ndarray, " examples"],
    halves: np.ndarray,
    cells: np.ndarray,
) -> Float[np.ndarray, " splits"]:
    """The mean of each half at the cell that the other half chose [2 * splits]; `cells` [2, splits] from `chosen_cells`."""
    outside = np.concatenate([~halves, halves])[:, clusters]
    picked = values[:, cells.ravel()].T
    return np.asarray((picked * outside).sum(1) / outside.sum(1))


def split_error(means: Float[np.ndarray, " splits"]) -> float:
    """Standard error of the mean over random halvings (Nadeau and Bengio, Machine Learning 52, 2003).

    Halvings of the same instances are no independent repetitions: the variance between them is not divided by their number
    J but multiplied by 1 / J + (size of the measuring half) / (size of the choosing half). Where all choose the same cell this
    is its plain standard error.
    """
    return float(np.sqrt((1 + 1 / len(means)) * means.var(ddof=1)))


def held_out_interval(
    picked: Float[np.ndarray, "splits examples"],
    clusters: Int[np.ndarray, " examples"],
    halves: np.ndarray,
    *,
    bounds: tuple[float, float] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean over splits of what each half has at the cell that the other half chose, with its interval.

    The interval is that of `mean_interval` (by the same bounds, refused for the same reason) of what each example adds to the
    mean, stretched where `split_error` is the larger standard error: other instances would also have chosen other cells.

    Args:
        picked: every example's value at the cells [2, splits] that `chosen_cells` chose: `values[:, cells.ravel()].T`.
        clusters, halves: as for `held_out_means`.
        bounds, confidence, seed: as for `mean_interval`.

    >>> picked = np.tile(np.random.default_rng(0).normal(1, 1, 40), (100, 1))  # always the same cell
    >>> found = held_out_interval(picked, np.arange(40), split_halves(40, 50, seed=0))
    >>> bool(abs(found.mean[0] - picked[0].mean()) < 1e-9), bool(found.low[0] < 1 < found.high[0])
    (True, True)
    """
    outside = np.concatenate([~halves, halves])[:, clusters]
    shares = picked * outside / outside.sum(1, keepdims=True)
    added = shares.mean(0)[:, None] * len(clusters)  # of each example; their mean is that of the splits
    sizes, mean = np.bincount(clusters).astype("float64"), added.mean(0)
    own = spread(cluster_sums(added, clusters), sizes, mean)
    error = np.maximum(own, split_error(shares.sum(1)))
    if bounds is not None:
        mean = np.clip(mean, *bounds)
        return Interval(mean, *adjusted(mean, error, len(sizes), bounds, confidence), "adjusted")
    found = mean_interval(added, clusters, confidence=confidence, n_resamples=2000, seed=seed)
    stretch = np.divide(error, own, out=np.ones(1), where=own > 1e-12)
    return replace(found, low=mean - stretch * (mean - found.low), high=mean + stretch * (found.high - mean))


def _measured(
    group: Group, measure: str, halves: np.ndarray, cells: np.ndarray, confidence: float, seed: int
) -> dict[str, object]:
    """Held-out means, with intervals: of the real run, vanilla and the control."""
    conditions = ["real"] if group.control is None else ["real", "control"]
    values = {condition: group.values(measure, condition) for condition in conditions}
    bounds = group.bounds(measure)
    columns: dict[str, object] = {}

    def add(name: str, found: Interval) -> None:
        ends = {"": found.mean, "_low": found.low, "_high": found.high}
        columns.update({name + end: float(value[0]) for end, value in ends.items()})
        if found.reason:
            columns["reason"] = found.reason

    def add_held_out(name: str, some: np.ndarray, bounds: tuple[float, float] | None) -> None:
        picked = some[:, cells.ravel()].T
        add(name, held_out_interval(picked, group.clusters, halves, bounds=bounds, confidence=confidence, seed=seed))

    for condition, name in (("real", measure), ("control", f"control_{measure}")):
        if condition in values:
            add_held_out(name, values[condition], SHARE if measure == "accuracy" else bounds)
    if measure == "accuracy":
        vanilla = group.real["vanilla_correct"].values.astype("float64")[:, None]
        add("vanilla_accuracy", share_interval(vanilla, group.clusters, confidence=confidence))
        add_held_out("accuracy_gain", values["real"] - vanilla, DIFFERENCE)
    if "control" in values:
        add_held_out(f"{measure}_over_control", values["real"] - values["control"], bounds)
    return columns


def map_shape(group: Group) -> tuple[int, int, int]:
    """How many modules, source layers and target layers."""
    module, source, target = (group.real.sizes[dim] for dim in GAIN_DIMS)
    return module, source, target
