"""How much do gain maps move when nothing that should matter is changed?

Method: one study is run several times, with another prompt template, order of options (seed), precision or engine. Two maps are
compared by Spearman's rank correlation of their cells' mean gains and by the overlap of their k best cells. So that sampled
instances don't count as agreement, the map of run A is taken on one random half of the instances and that of run B on the other
half, many times. A run compared with *itself* that way gives the noise floor: what two samples of so many instances agree on
even if nothing was changed. `by_size` gives the same for fewer instances. From stored runs alone: no model runs.

How to read the figures: `figure`: the diagonal is the noise floor of each run; an entry off the diagonal that is clearly lower
than the two diagonal ones means that the change moved the map. `size_figure`: how many instances a map needs; chance is 0 for
the rank correlation and k / cells for the overlap.

What would falsify the claim that a map is a property of the model: off-diagonal entries near chance while the noise floor is
high. A low noise floor falsifies nothing: it says that there are too few instances to tell.

>>> from xtl import stats
>>> runs = {f"seed {k}": stats.simulate(planted={("attn", 2, 3): 5.0, ("mlp", 1, 1): 4.0}, seed=k) for k in (0, 1)}
>>> data = compute(runs, n_splits=20)
>>> data["agreement"].dims
('statistic', 'module', 'run', 'other')
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from scipy.stats import rankdata

from analyses._results import check_runs, names_by_difference
from xtl import plots
from xtl.analysis import Analysis, Request
from xtl.errors import InputError, check_whole, known_keywords
from xtl.plots.lines import Line, line_grid
from xtl.results import GAIN_DIMS, check_computed, model_name
from xtl.stats.examples import MIN_INSTANCES, check_resamples, cluster_sums
from xtl.stats.selection import split_halves

STATISTICS = ("rank correlation", "top overlap")
_check = functools.partial(check_computed, made_by="analyses.stability.compute(runs)", holds=["same_best"])


@known_keywords(name="stability.compute")
def compute(
    runs: Mapping[str, xr.Dataset],
    *,
    top: int = 10,
    n_splits: int = 100,
    sizes: Sequence[int] | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Compare the maps of several runs, on disjoint instances.

    Args:
        runs: by name, each of `xtl.sweep_many`; the same cells, and instances that they share (at least 10). One run alone gives
            its noise floor.
        top: how many best cells are compared.
        n_splits: random halvings.
        sizes: numbers of instances for `by_size`; by default 2, 4, 8, ... up to a half.
        seed: of the halvings.

    Returns:
        Dataset:
        - `agreement`, `spread` (statistic, module, run, other): mean and standard deviation over halvings; the diagonal is the
          noise floor; the module "all" ranks the cells of all modules together;
        - `same_instances` (the same dims): the whole maps compared, on the same instances;
        - `by_size` (statistic, module, run, size): a run's maps of `size` instances each, disjoint;
        - `same_best` (module, run, other): share of halvings whose best cell is the same;
        - `chance` (statistic, module), `n_instances`; `label` (run): what figures call it, by what it has that the first has not.

    Raises:
        InputError: no runs, other cells, too few shared instances, gaps, `top` over the number of cells.
    """
    top = check_whole("top", top, 1)
    n_splits, seed = check_resamples(n_splits, 10, "n_splits"), check_whole("seed", seed, 0)
    named = check_runs(runs, least=1)
    first = next(iter(named.values()))
    keys = {name: _keys(data, name) for name, data in named.items()}
    shared = sorted(set.intersection(*({k[0] for k in own} for own in keys.values())))
    if len(shared) < 2 * MIN_INSTANCES:
        raise InputError(
            f"the runs share {len(shared)} instances: at least {2 * MIN_INSTANCES} are needed for two halves"
        )
    directions = set.intersection(*({k[1] for k in own} for own in keys.values()))
    sums = {name: _instance_means(data, keys[name], shared, directions, name, first) for name, data in named.items()}
    modules = [str(module) for module in first["module"].values]
    per_module = int(np.prod([first.sizes[dim] for dim in GAIN_DIMS[1:]]))
    parts = {module: slice(k * per_module, (k + 1) * per_module) for k, module in enumerate(modules)}
    if len(modules) > 1:
        parts["all"] = slice(None)
    if top > per_module:
        raise InputError(f"top {top} is more than the {per_module} cells of a module's map")
    halves = split_halves(len(shared), n_splits, seed)
    names = list(named)
    shape = (len(STATISTICS), len(parts), len(names), len(names))
    found, spread, whole = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    best = np.zeros(shape[1:])
    for a, left in enumerate(names):
        for b, right in enumerate(names):
            maps = [_half(sums[left], halves), _half(sums[right], ~halves)]
            means = [sums[name].mean(0)[None] for name in (left, right)]
            for m, part in enumerate(parts.values()):
                values = _compare(maps[0][:, part], maps[1][:, part], top)
                found[:, m, a, b], spread[:, m, a, b] = values.mean(1), values.std(1)
                whole[:, m, a, b] = _compare(means[0][:, part], means[1][:, part], top)[:, 0]
                best[m, a, b] = (maps[0][:, part].argmax(1) == maps[1][:, part].argmax(1)).mean()
    half = len(shared) // 2
    sizes = list(sizes) if sizes is not None else [k for k in (2, 4, 8, 16, 32, 64, 128, 256) if k < half] + [half]
    if min(sizes) < 1 or max(sizes) > half:
        raise InputError(f"sizes must lie between 1 and {half}, half of the shared instances; got {sizes}")
    by_size = np.zeros((len(STATISTICS), len(parts), len(names), len(sizes)))
    order = np.stack([np.random.default_rng([seed, k]).permutation(len(shared)) for k in range(n_splits)])
    for s, size in enumerate(sizes):
        masks = [np.zeros((n_splits, len(shared)), dtype=bool) for _ in range(2)]
        for side, mask in enumerate(masks):
            np.put_along_axis(mask, order[:, side * size : (side + 1) * size], True, axis=1)
        for a, name in enumerate(names):
            maps = [_half(sums[name], mask) for mask in masks]
            for m, part in enumerate(parts.values()):
                by_size[:, m, a, s] = _compare(maps[0][:, part], maps[1][:, part], top).mean(1)
    dims = ("statistic", "module", "run", "other")
    cells = np.array([per_module * (len(modules) if name == "all" else 1) for name in parts])
    return xr.Dataset(
        {
            "agreement": (dims, found), "spread": (dims, spread), "same_instances": (dims, whole),
            "by_size": (("statistic", "module", "run", "size"), by_size), "same_best": (dims[1:], best),
            "chance": (dims[:2], np.stack([0 * cells, top / cells])), "n_instances": len(shared),
            "label": ("run", names_by_difference(named)),
        },
        coords={"statistic": list(STATISTICS), "module": list(parts), "run": names, "other": names, "size": sizes},
        attrs={"analysis": "stability", "model": str(first.attrs.get("model", "")), "top": top, "n_splits": n_splits,
               "seed": seed},
    )  # fmt: skip


def in_words(data: xr.Dataset, module: str = "all") -> list[str]:
    """A sentence on the noise floor, and one a pair of runs."""
    _check(data)
    module = module if module in data["module"].values else str(data["module"].values[0])
    part = data.sel(module=module)
    rho = part["agreement"].sel(statistic="rank correlation")
    floors = {str(run): float(rho.sel(run=run, other=run)) for run in data["run"].values}
    half = int(data["n_instances"]) // 2
    words = [
        f"Noise floor, two disjoint halves of {half} instances: rank correlation "
        + ", ".join(f"{value:.2f} ({name})" for name, value in floors.items()) + "."
    ]  # fmt: skip
    names = list(floors)
    for a, left in enumerate(names):
        for right in names[a + 1 :]:
            between = (float(rho.sel(run=left, other=right)) + float(rho.sel(run=right, other=left))) / 2
            floor = np.sqrt(max(floors[left], 0) * max(floors[right], 0))
            share = f": {between / floor:.0%} of the noise floor" if floor > 0.05 else ""
            overlap = float(part["agreement"].sel(statistic="top overlap", run=left, other=right))
            words.append(
                f"{left} against {right}: {between:.2f}{share}; {overlap:.0%} of the {data.attrs['top']} best cells are the same."
            )
    return words


def figure(data: xr.Dataset) -> go.Figure:
    """Agreement of every two runs, a panel a statistic and module; the diagonal is the noise floor.

    Args:
        data: result of `compute`.
    """
    _check(data)
    panels, labels = [], _labels(data)
    for statistic in data["statistic"].values:
        for module in data["module"].values:
            values = data["agreement"].sel(statistic=statistic, module=module).transpose("run", "other")
            values = values.assign_coords(run=labels, other=labels)
            counts = xr.full_like(values, int(data["n_instances"]), dtype=int)
            panels.append(
                plots.Panel(f"{statistic}, {module}", values, counts, f"{statistic}<br>%{{y}} against %{{x}}")
            )
    drawn = plots.heatmap_grid(
        panels, columns=data.sizes["module"], unit="", title=f"How much maps move: {model_name(data)}", numbers=".2f",
        signed=bool((data["agreement"] < 0).any()),
        subtitle=f"maps of disjoint halves of {int(data['n_instances'])} instances, mean of {data.attrs['n_splits']} halvings; "
        "the diagonal is the noise floor of a run; rank correlation of cells, and share of the best cells in common",
    )  # fmt: skip
    for column in range(2, data.sizes["module"] + 1):  # the runs' names once, at the left: they are long
        drawn.update_yaxes(showticklabels=False, title_text=None, col=column)
    return plots.relabel(drawn, "agreement")


def size_figure(data: xr.Dataset) -> go.Figure:
    """Agreement of two maps of one run by number of instances: a panel a statistic and module.

    Args:
        data: result of `compute`.
    """
    _check(data)
    panels = []
    for statistic in data["statistic"].values:
        for module in data["module"].values:
            part = data.sel(statistic=statistic, module=module)
            size = part["size"].values
            runs = zip(_labels(data), part["run"].values, strict=True)
            lines = [Line(label, size, part["by_size"].sel(run=run).values) for label, run in runs]
            lines.append(Line("chance", size, np.full(len(size), float(part["chance"])), faint=True))
            panels.append((f"{statistic}, {module}", lines))
    return line_grid(
        panels, columns=data.sizes["module"], x="instances a map", y="agreement", zero=True,
        title=f"How many instances a map needs: {model_name(data)}",
        subtitle=f"two maps of disjoint instances of one run, mean of {data.attrs['n_splits']} draws; dotted: chance",
    )  # fmt: skip


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    return {"stability_size": size_figure(data)} | ({"stability": figure(data)} if data.sizes["run"] > 1 else {})


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse stability` computes."""
    return compute(request.open_runs())


ANALYSIS = Analysis(
    "stability", "How much do maps move when nothing that matters is changed?", "runs",
    from_request=from_request, figures=figures, words=in_words,
)  # fmt: skip


def _labels(data: xr.Dataset) -> list[str]:
    """What runs are called in figures; of an older file, their folders."""
    return [str(name) for name in (data["label"] if "label" in data else data["run"]).values]


def _keys(data: xr.Dataset, name: str) -> list[tuple[str, str]]:
    """Instance and direction of each example."""
    if "example" not in data.coords:
        raise InputError(f"run {name!r} has no ids of instances (coord example): a single sweep can't be split")
    return list(zip(map(str, data["example"].values), map(str, data["direction"].values), strict=True))


def _instance_means(
    data: xr.Dataset, keys: list[tuple[str, str]], shared: list[str], directions: set[str], name: str, first: xr.Dataset
) -> np.ndarray:
    """Mean gain of every shared instance over the shared directions [instance, cell]."""
    for dim in GAIN_DIMS:
        if not np.array_equal(data[dim].values, first[dim].values):
            raise InputError(f"run {name!r} has other cells than the first one: {dim} differs")
    place = {instance: k for k, instance in enumerate(shared)}
    rows = [k for k, (instance, direction) in enumerate(keys) if instance in place and direction in directions]
    clusters = np.array([place[keys[k][0]] for k in rows], dtype=int)
    if len(set(clusters)) < len(shared):
        raise InputError(f"run {name!r} lacks instances in the directions that the runs share")
    values = data["gain"].transpose("example", *GAIN_DIMS).values[rows].astype(float).reshape(len(rows), -1)
    if not np.isfinite(values).all():
        raise InputError(f"run {name!r} has gaps in its gains: sweep those examples again, or drop them")
    return np.asarray(cluster_sums(values, clusters) / np.bincount(clusters)[:, None])


def _half(means: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Maps [split, cell] of the instances that a mask [split, instance] names."""
    return np.asarray(mask.astype(float) @ means / mask.sum(1, keepdims=True))


def _compare(a: np.ndarray, b: np.ndarray, top: int) -> np.ndarray:
    """Rank correlation and overlap of the best cells, row by row [statistic, row]; 0 where a map is flat."""
    ranks = [rankdata(x, axis=1) for x in (a, b)]
    centred = [x - x.mean(1, keepdims=True) for x in ranks]
    size = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    rho = np.divide((centred[0] * centred[1]).sum(1), size, out=np.zeros(len(a)), where=size > 0)
    best = [np.argsort(-x, axis=1, kind="stable")[:, :top] for x in (a, b)]
    overlap = np.array([len(set(x) & set(y)) / top for x, y in zip(*best, strict=True)])
    return np.stack([rho, overlap])
