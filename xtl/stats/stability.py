"""How stable is the chosen cell: across random halves, languages, templates?

A cell that another half of the instances would not have chosen is a cell of these instances. A cell that every language
chooses is one of the model.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int

from xtl.errors import InputError, check_choice, known_keywords
from xtl.results import GAIN_DIMS, Maps, as_results
from xtl.stats.examples import MEASURES, Group, check_resamples, record, split_groups
from xtl.stats.selection import STRATEGIES, chosen_cells, held_out_means, map_shape, split_halves


@known_keywords()
def cell_stability(
    results: Maps,
    *,
    strategy: str = "overall",
    choose_by: str = "gain",
    by: str | None = "direction",
    n_splits: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """How alike are the cells that random halves of the instances choose, and that different groups choose?

    Args:
        results: from `xtl.sweep_many`.
        strategy, choose_by, n_splits, seed: as for `held_out`.
        by: coord of the examples that makes the groups, such as "direction", "target_lang" or "template"; None pools all.

    Returns:
        A row a group, then, if there are several, one named "between groups". Settings in `attrs`. Columns: the group (named
        as `by`, or "group"), `n_instances`; of the cells chosen by all halves:
        - `module`, `source_layer`, `target_layer`: the most frequent one; `share`: how often it is chosen (0 to 1);
        - `same_module`, `same_cell`: the share of pairs of choices with the same module, the same cell;
        - `distance`: mean of |source layers' difference| + |target layers' difference| over pairs of choices;
        - `entropy`: of the choices, in bits; 0 if all are the same.

        Pairs are the two halves of a split (they share no instance); between groups, the first half's choice in one group and
        the second half's in another.

    Raises:
        InputError: see `xtl.stats.examples.split_groups`; an unknown strategy or measure.

    >>> from xtl import stats
    >>> table = cell_stability(stats.simulate(planted={("attn", 2, 3): 3.0}))
    >>> table[["module", "source_layer", "target_layer", "share"]].values.tolist()
    [['attn', 2, 3, 1.0]]
    """
    results = as_results(results)
    groups, chosen, by = _choices(results, strategy, choose_by, by, n_splits, seed)
    rows = []
    shape = map_shape(groups[0])
    for group, cells in zip(groups, chosen, strict=True):
        row: dict[str, object] = {by: group.name, "n_instances": group.n_instances}
        rows.append(row | _most_frequent(cells.ravel(), group) | _alike(cells[:1], cells[1:], shape))
    if len(groups) > 1:
        pairs = [(a, b) for a in range(len(groups)) for b in range(len(groups)) if a != b]
        first, second = (np.stack([chosen[pair[side]][side] for pair in pairs]) for side in (0, 1))
        row = {by: "between groups", "n_instances": _n_instances(groups)}
        rows.append(row | _most_frequent(np.stack(chosen).ravel(), groups[0]) | _alike(first, second, shape))
    table = pd.DataFrame(rows)
    settings = {"strategy": strategy, "choose_by": choose_by, "n_splits": n_splits, "seed": seed}
    table.attrs = record(results, None, **settings)
    return table


@known_keywords()
def cell_transfer(
    results: Maps,
    *,
    strategy: str = "overall",
    choose_by: str = "gain",
    measure: str = "gain",
    by: str = "direction",
    n_splits: int = 200,
    seed: int = 0,
) -> xr.DataArray:
    """What does the cell that one group chooses give in another? Chosen and measured on different instances.

    Args:
        results: from `xtl.sweep_many`, of several languages (or templates, ...).
        strategy, choose_by, n_splits, seed: as for `held_out`.
        measure: "gain" (mean, in the score's unit) or "accuracy" (difference to vanilla, -1 to 1).
        by: coord of the examples that makes the groups.

    Returns:
        DataArray (chosen_on, measured_on), mean over splits; the diagonal is the held-out value of `held_out`. An instance that
        is in both groups is in the choosing half of both or in the measuring half of both.

    Raises:
        InputError: see `xtl.stats.examples.split_groups`; only one group; groups of which a half of the splits has no instances.

    >>> from xtl import stats
    >>> matrix = cell_transfer(stats.simulate(languages=["es", "sw"], planted={("attn", 2, 3): 3.0}))
    >>> matrix.dims, bool((matrix > 2).all())
    (('chosen_on', 'measured_on'), True)
    """
    results = as_results(results)
    check_choice("measure", measure, MEASURES)
    groups, chosen, _ = _choices(results, strategy, choose_by, by, n_splits, seed, also=measure)
    if len(groups) < 2:
        raise InputError(f"cell_transfer compares groups, and there is but one {by}: {groups[0].name}")
    halves = _halves(groups, n_splits, seed)
    table = np.array(
        [
            [
                held_out_means(group.differences(measure), group.clusters, half, cells).mean()
                for group, half in zip(groups, halves, strict=True)
            ]
            for cells in chosen
        ]
    )
    names = [group.name for group in groups]
    settings = {"strategy": strategy, "choose_by": choose_by, "measure": measure, "n_splits": n_splits, "seed": seed}
    return xr.DataArray(
        table, dims=("chosen_on", "measured_on"), coords={"chosen_on": names, "measured_on": names},
        attrs=record(results, None, **settings), name=measure,
    )  # fmt: skip


def _choices(
    results: xr.Dataset, strategy: str, choose_by: str, by: str | None, n_splits: int, seed: int, also: str = "gain"
) -> tuple[list[Group], list[Int[np.ndarray, "2 splits"]], str]:
    """The groups, and the flat cells that each one's halves choose."""
    check_choice("strategy", strategy, STRATEGIES)
    check_choice("choose_by", choose_by, MEASURES)
    n_splits = check_resamples(n_splits, 10, "n_splits")
    groups = split_groups(results, by=by, measures=list({"gain": None, choose_by: None, also: None}))
    chosen = []
    for group, halves in zip(groups, _halves(groups, n_splits, seed), strict=True):
        maps = [group.values(measure) for measure in dict.fromkeys((choose_by, "gain"))]
        chosen.append(chosen_cells(maps, group.clusters, halves, map_shape(group), strategy))
    return groups, chosen, by or "group"


def _halves(groups: list[Group], n_splits: int, seed: int) -> list[np.ndarray]:
    """One halving of all instances, as each group sees it: what is held out in one language is in all."""
    ids = [np.unique(group.real["example"].values.astype(str)) for group in groups]
    everything = np.unique(np.concatenate(ids))
    halves = split_halves(len(everything), n_splits, seed)
    parts = [halves[:, np.searchsorted(everything, some)] for some in ids]
    for group, part in zip(groups, parts, strict=True):
        if (part.all(1) | (~part).all(1)).any():
            raise InputError(
                f"{group.name} has {group.n_instances} of {len(everything)} instances: a half of some split has none of them; "
                "give groups of the same instances"
            )
    return parts


def _most_frequent(cells: np.ndarray, group: Group) -> dict[str, object]:
    values, counts = np.unique(cells, return_counts=True)
    place = np.unravel_index(values[counts.argmax()], map_shape(group))
    names = {dim: group.real[dim].values[index].item() for dim, index in zip(GAIN_DIMS, place, strict=True)}
    shares = counts / counts.sum()
    return {**names, "share": float(shares.max()), "entropy": float(abs((shares * np.log2(shares)).sum()))}


def _alike(first: np.ndarray, second: np.ndarray, shape: tuple[int, int, int]) -> dict[str, object]:
    """How alike are the choices in two arrays of flat cells, place by place?"""
    a, b = (np.stack(np.unravel_index(cells, shape)) for cells in (first, second))
    return {
        "same_module": float((a[0] == b[0]).mean()),
        "same_cell": float((first == second).mean()),
        "distance": float(np.abs(a[1:] - b[1:]).sum(0).mean()),
    }


def _n_instances(groups: list[Group]) -> int:
    return len(np.unique(np.concatenate([group.real["example"].values.astype(str) for group in groups])))
