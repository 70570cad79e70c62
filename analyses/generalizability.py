"""Does a cell that was found on one task, language or model help on another one?

Method: the paper (XTransplant, arXiv 2412.12686) fixes one cell for each kind of task and uses it on unseen data. Here every
group (a direction, a task, or a run of another model) chooses its best cell on one half of the instances, and the cell is
measured on the other half of every group, 200 times (`xtl.stats.cell_transfer`'s halvings: an instance that two groups share is
never used to choose for one and to measure the other). Models of different depth are compared by relative depth: layer i of n
stands for the layer of the other model nearest to i / (n - 1). A fixed cell is also broken down by resource level of the
language (Joshi et al. 2020) and by culture (the continent of the country asked about, where instances are countries), with
intervals. From stored runs alone: no model runs.

How to read the figures: `figure`: rows chose the cell, columns measured it; a row as blue as the diagonal generalises.
`levels_figure`: the gain of one fixed cell by resource level and culture.

What would falsify the claim that a fixed cell serves unseen data: off-diagonal gains whose mean is at or below 0.

>>> from xtl import stats
>>> data = compute(stats.simulate(languages=["es", "sw"], planted={("attn", 2, 3): 3.0}), n_splits=20)
>>> bool((data["transfer"] > 2).all())
True
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from analyses._results import check_units, intervals_said, names_by_origin, nearest_layer
from xtl import plots
from xtl.analysis import Analysis, Request
from xtl.errors import InputError, check_choice, check_whole, known_keywords
from xtl.plots.forest import Estimate, forest
from xtl.results import GAIN_DIMS, NOISE, Maps, as_results, check_computed, labelled, model_name, score_unit
from xtl.stats.examples import MEASURES, MIN_INSTANCES, Group, check_resamples, split_groups
from xtl.stats.intervals import bracket, mean_interval
from xtl.stats.selection import STRATEGIES, chosen_cells, held_out_means, map_shape, split_halves
from xtl.tasks.names import continent

_check = functools.partial(
    check_computed, made_by="analyses.generalizability.compute(results)", holds=["transfer", "retained"]
)


@known_keywords(name="generalizability.compute")
def compute(
    results: Maps | Mapping[str, Maps],
    *,
    by: str = "direction",
    measure: str = "gain",
    strategy: str = "overall",
    cell: tuple[str, int, int] | None = None,
    n_splits: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    """Choose on every group, measure on every group; and a fixed cell by resource level and culture.

    Args:
        results: one result of `xtl.sweep_many` or `xtl.runs.open_run`, whose groups are made `by` direction, task, kind or
            resource; or several by name (tasks, models), which are the groups.
        by: what makes a group of one result.
        measure: "gain" or "accuracy".
        strategy: how a cell is chosen (`xtl.stats.selection`).
        cell: the fixed cell of the breakdown; None takes the best one over all examples (in-sample: too high).
        n_splits, seed: of the halvings.

    Returns:
        Dataset: `transfer` (chosen_on, measured_on), mean over halvings, in the score's unit (differences of shares for
        accuracies); `retained` (the same dims): as a share of the group's own held-out value; `module`, `source_layer`,
        `target_layer` (chosen_on): the cell chosen most often; `level_value`, `level_low`, `level_high`, `level_n` (level):
        the fixed cell by resource level ("class 5" ...) and continent; `n_instances` (measured_on); `label` (measured_on): what
        figures call a group: of runs task and model, as far as they differ.

    Raises:
        InputError: one group alone; too few instances; modules that differ; a fixed cell that isn't there.
    """
    check_choice("measure", measure, MEASURES)
    check_choice("strategy", strategy, STRATEGIES)
    n_splits, seed = check_resamples(n_splits, 10, "n_splits"), check_whole("seed", seed, 0)
    if not isinstance(results, Mapping) or isinstance(results, xr.Dataset):
        results = as_results(results)
        check_choice("by", by, ("direction", "task", "kind", "resource"))
        groups = split_groups(labelled(results), by=by, measures=_measures(measure))
        runs, labels = [results], list[str]()
    else:
        runs = [as_results(run) for run in results.values()]
        groups, labels = [], names_by_origin(dict(zip(map(str, results), runs, strict=True)))
        for name, run in zip(results, runs, strict=True):
            (group,) = split_groups(labelled(run), by=None, measures=_measures(measure))
            groups.append(Group(str(name), group.real, None, group.clusters))
    if len(groups) < 2:
        only = groups[0].name if groups else "nothing"
        raise InputError(
            f"there is one group alone ({only}): generalising needs two languages, tasks or models at least"
        )
    if measure == "gain":
        check_units(runs)
    modules = {tuple(map(str, group.real["module"].values)) for group in groups}
    if len(modules) > 1:
        raise InputError(f"the groups have different modules: {'; '.join(', '.join(names) for names in modules)}")
    table, most = _transfer(groups, measure, strategy, n_splits, seed)
    names = [group.name for group in groups]
    own = np.diag(table)
    share = np.divide(table, own, out=np.full_like(table, np.nan), where=own > NOISE)
    data = xr.Dataset(
        {
            "transfer": (("chosen_on", "measured_on"), table), "retained": (("chosen_on", "measured_on"), share),
            **{dim: ("chosen_on", [place[k] for place in most]) for k, dim in enumerate(GAIN_DIMS)},
            "n_instances": ("measured_on", [group.n_instances for group in groups]), "label": ("measured_on", labels or names),
        },
        coords={"chosen_on": names, "measured_on": names},
    )  # fmt: skip
    if len(runs) == 1:
        levels = _levels(runs[0], cell, measure, seed)
        data = data.merge(levels).assign_attrs(levels.attrs)
    settings = {"measure": measure, "strategy": strategy, "n_splits": n_splits, "seed": seed}
    models = list(dict.fromkeys(model_name(run) for run in runs))
    unit = "share right" if measure == "accuracy" else score_unit(runs[0])
    return data.assign_attrs(
        data.attrs | settings | {"analysis": "generalizability", "model": ", ".join(models), "score_unit": unit}
    )


def table(data: xr.Dataset) -> pd.DataFrame:
    """A row a group: its cell, what that gives on its own instances (held out), and on the other groups' (mean and least)."""
    _check(data)
    rows = []
    for k, name in enumerate(data["chosen_on"].values):
        row = data["transfer"].values[k]
        others = np.delete(row, k)
        cell = data.isel(chosen_on=k)
        rows.append(
            {"chosen_on": str(name), **{dim: cell[dim].item() for dim in GAIN_DIMS}, "own": row[k], "others_mean": others.mean(),
             "others_least": others.min()}
        )  # fmt: skip
    return pd.DataFrame(rows)


def in_words(data: xr.Dataset) -> list[str]:
    """Two or three sentences: what a cell gives where it was chosen and elsewhere, and by level."""
    _check(data)
    values, unit = data["transfer"].values, score_unit(data)
    off = values[~np.eye(len(values), dtype=bool)]
    words = [
        f"A cell gives {np.diag(values).mean():+.3f} {unit} on other instances of the group that chose it, and {off.mean():+.3f} "
        f"on other groups (least: {off.min():+.3f}; above 0 in {int((off > 0).sum())} of {off.size})."
    ]
    cells = {tuple(data[dim].values[k].item() for dim in GAIN_DIMS) for k in range(len(values))}
    words.append(
        f"The {len(values)} groups most often choose {len(cells)} different cell{'s' if len(cells) > 1 else ''}."
    )
    if "level_value" in data:
        parts = [
            f"{level} {float(data['level_value'].sel(level=level)):+.2f} "
            + bracket(float(data["level_low"].sel(level=level)), float(data["level_high"].sel(level=level)))
            for level in data["level"].values
        ]  # fmt: skip
        words.append(f"The cell {data.attrs['cell']}: " + "; ".join(parts) + ".")
    return words


def figure(data: xr.Dataset) -> go.Figure:
    """What the cell of each group (rows) gives in each group (columns), held out.

    Args:
        data: result of `compute`.
    """
    _check(data)
    labels = [str(name) for name in (data["label"] if "label" in data else data["measured_on"]).values]
    values = data["transfer"].transpose("chosen_on", "measured_on")
    counts = values * 0 + data["n_instances"]
    values, counts = (each.assign_coords(chosen_on=labels, measured_on=labels) for each in (values, counts))
    panel = plots.Panel("", values, counts.astype(int), "chosen on %{y}, measured on %{x}")
    return plots.heatmap_grid(
        [panel], columns=1, unit=score_unit(data), numbers="+.2f", title=f"Does a cell generalise? {model_name(data)}",
        subtitle=f"best cell chosen on one half of a group's instances (rows), measured on the other half of each (columns); "
        f"{data.attrs['n_splits']} halvings",
    )  # fmt: skip


def levels_figure(data: xr.Dataset) -> go.Figure:
    """The gain of the fixed cell by resource level and by continent.

    Args:
        data: result of `compute` of one result.

    Raises:
        InputError: data of several runs.
    """
    _check(data)
    if "level_value" not in data:
        raise InputError("these data have no levels: compute them from one result")
    points = [
        Estimate(f"{level} (n = {int(data['level_n'].sel(level=level))})", "gain of the cell",
                 *(float(data[f"level_{end}"].sel(level=level)) for end in ("value", "low", "high")))
        for level in data["level"].values
    ]  # fmt: skip
    return forest(
        [(str(data.attrs["cell"]), points)], x=f"gain ({score_unit(data)})",
        title=f"One cell by level: {model_name(data)}",
        subtitle="by resource class of the language (Joshi et al. 2020; 5: most text) and continent of the country asked about; "
        f"{intervals_said(data['level_low'].values, words='95% intervals over instances')}; "
        f"cell: {data.attrs['cell_from']}",
    )  # fmt: skip


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    drawn = {"generalizability": figure(data)}
    return drawn | ({"generalizability_levels": levels_figure(data)} if data.sizes.get("level") else {})


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse generalizability` computes."""
    runs = request.open_runs()
    return compute(runs if len(runs) > 1 else request.open_run(), **request.given("by", "cell"))


ANALYSIS = Analysis(
    "generalizability", "Does a cell help on another task, language or model?", "runs",
    from_request=from_request, figures=figures, words=in_words,
    options=("by", "cell"),
)  # fmt: skip


def _transfer(
    groups: list[Group], measure: str, strategy: str, n_splits: int, seed: int
) -> tuple[np.ndarray, list[tuple[str, int, int]]]:
    """Held-out means of every group at the cells that every group chose, and each one's most frequent cell."""
    ids = [np.unique(group.real["example"].values.astype(str)) for group in groups]
    everything = np.unique(np.concatenate(ids))
    halves = split_halves(len(everything), n_splits, seed)
    parts = [halves[:, np.searchsorted(everything, own)] for own in ids]
    usable = ~np.stack([part.all(1) | (~part).all(1) for part in parts]).any(0)
    if usable.sum() < 10:
        raise InputError("the groups have too different instances: halves of all of them leave some group empty")
    parts = [part[usable] for part in parts]
    found = np.zeros((len(groups), len(groups)))
    most = []
    for a, (group, part) in enumerate(zip(groups, parts, strict=True)):
        cells = chosen_cells([group.values("gain")], group.clusters, part, map_shape(group), strategy)
        numbers, counts = np.unique(cells, return_counts=True)
        most.append(_labels(group, int(numbers[counts.argmax()])))
        for b, (other, other_part) in enumerate(zip(groups, parts, strict=True)):
            moved = np.vectorize({int(k): _move(group, other, int(k)) for k in numbers}.__getitem__)(cells)
            found[a, b] = held_out_means(other.differences(measure), other.clusters, other_part, moved).mean()
    return found, most


def _labels(group: Group, flat: int) -> tuple[str, int, int]:
    place = np.unravel_index(flat, map_shape(group))
    module, source, target = (group.real[dim].values[k].item() for dim, k in zip(GAIN_DIMS, place, strict=True))
    return str(module), int(source), int(target)


def _move(group: Group, other: Group, flat: int) -> int:
    """A flat cell of one group in another's map, by relative depth where their layers differ."""
    place = list(np.unravel_index(flat, map_shape(group)))
    depths = _n_layers(group), _n_layers(other)
    for k, dim in enumerate(GAIN_DIMS[1:], 1):
        layers, theirs = (g.real[dim].values.tolist() for g in (group, other))
        if layers != theirs or depths[0] != depths[1]:
            place[k] = theirs.index(nearest_layer(layers[place[k]], layers, theirs, depths))
    return int(np.ravel_multi_index(tuple(place), map_shape(other)))


def _n_layers(group: Group) -> int | None:
    """How many layers its model has; None where its results don't say."""
    known = group.real.attrs.get("n_layers")
    return None if known is None else int(known)


def _levels(results: xr.Dataset, cell: tuple[str, int, int] | None, measure: str, seed: int) -> xr.Dataset:
    """The fixed cell by resource level and continent; levels with fewer than 5 instances are left out."""
    (group,) = split_groups(labelled(results), by=None, measures=_measures(measure))
    if cell is None:
        place = _labels(group, int(group.values("gain").mean(0).argmax()))
        origin = "best one over all examples, in-sample"
    else:
        for dim, value in zip(GAIN_DIMS, cell, strict=True):
            if value not in group.real[dim].values:
                raise InputError(
                    f"the results have no {dim} {value!r}; they have: {', '.join(map(str, group.real[dim].values))}"
                )
        place, origin = cell, "given"
    index = np.ravel_multi_index(
        tuple(group.real[dim].values.tolist().index(value) for dim, value in zip(GAIN_DIMS, place, strict=True)),
        map_shape(group),
    )
    values = group.differences(measure)[:, [index]]
    continents = [continent(str(name).rpartition("/")[2]) for name in group.real["example"].values]
    rows = []
    for labels in (group.real["resource"].values.astype(str), np.array(continents, dtype=str)):
        for level in sorted(set(labels) - {""}):
            mine = labels == level
            clusters = np.unique(group.clusters[mine], return_inverse=True)[1]
            if clusters.max() + 1 >= MIN_INSTANCES:
                found = mean_interval(values[mine], clusters, bounds=group.bounds(measure), n_resamples=2000, seed=seed)
                rows.append((level, found.mean[0], found.low[0], found.high[0], int(mine.sum())))
    columns = {
        f"level_{name}": ("level", [row[k] for row in rows]) for k, name in enumerate(("value", "low", "high", "n"), 1)
    }
    attrs = {"cell": f"{place[0]} {place[1]} -> {place[2]}", "cell_from": origin}
    return xr.Dataset(columns, coords={"level": [row[0] for row in rows]}, attrs=attrs)


def _measures(measure: str) -> list[str]:
    return list(dict.fromkeys(("gain", measure)))
