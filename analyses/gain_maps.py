"""Which layers and which module lift the target language?

Method: the layer-wise transplantation maps of XTransplant (arXiv 2412.12686, section 3). Every transplant (module,
source layer i, target layer j) of a pair is scored; its gain is the score minus the vanilla score. `compute` averages
the gains over the examples of one direction (such as en->es), then over source layers (how good is layer j as a
target?) and over target layers (how good is layer i as a source?).

How to read the figure: one row of maps per direction, one column per module, one colour scale for all. Blue cells
lift the gold answer, red cells push it down. A blue column is a target layer that takes activations from many
source layers; a blue row is a source layer that serves many target layers; a lone blue cell may well be chance.

What would falsify the claim that a module helps a language: no layer with a mean gain above zero; or a gain that goes
away on examples other than those that the cell was chosen on; or one that is as large with unrelated source prompts.

>>> import numpy as np, xarray as xr
>>> gain = xr.DataArray([[[[0.0, 0.5], [-0.5, 1.0]]]], dims=("example", "module", "source_layer", "target_layer"),
...     coords={"module": ["attn"], "source_layer": [0, 1], "target_layer": [0, 1]})
>>> data = compute(xr.Dataset({"gain": gain}))
>>> data["gain_as_target"].values.tolist()
[[[-0.25, 0.75]]]
>>> best_cells(data)[["module", "source_layer", "target_layer", "best_gain_in_sample"]].values.tolist()
[['attn', 1, 1, 1.0]]
"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from xtl import plots
from xtl.analysis import Analysis, Request, words_of_each
from xtl.errors import InputError, check_choice, check_whole, known_keywords
from xtl.languages import by_resource, resource_level
from xtl.plots.best import Best, best_in_sample, best_of_each
from xtl.results import (
    ROLES,
    Maps,
    as_results,
    check_mean_maps,
    labelled,
    mean_maps,
    model_name,
    per_example,
    provenance,
    score_unit,
)
from xtl.results.means import best_cells as best_cells
from xtl.results.means import in_words as in_words


@known_keywords(name="gain_maps.compute")
def compute(results: Maps, *, by: str = "direction", instances: int = 0, against: Maps | None = None) -> xr.Dataset:
    """Average sweep results per direction (or task, kind of task, resource level), and per layer.

    Args:
        results: result of `xtl.sweep_many` or `xtl.sweep`: `gain` in nats, dims (example,) module, source_layer,
            target_layer; `correct`, `vanilla_score` and `vanilla_correct` are used where they exist.
        by: "direction", "task", "kind", "resource", "target_lang" or "source_lang": examples that are averaged together. The
            dim is named `direction` in any case.
        instances: keep the maps of the first so many examples too.
        against: results of another task or model, whose maps are taken off (see `difference`).

    Returns:
        Dataset, float64, attrs as in `results`. Missing gains (NaN) are left out of every mean:
        - `gain` (direction, module, source_layer, target_layer): mean over the examples of the direction;
        - `gain_as_target`, `gain_as_source` (direction, module, layer): mean of `gain` over the other side's layers;
          NaN for a layer that was not tried on that side; `gain_same_layer` (the same dims): the cells i -> i;
        - `accuracy` (as `gain`), `vanilla_accuracy` (direction), `vanilla_score` (direction), where the data allow it;
        - `n` (direction): examples; `n_gain` (as `gain`): examples with a gain;
        - `instance_gain` (instance, module, source_layer, target_layer), where `instances` are asked for;
        - `best_source_layer`, `best_target_layer` (direction, module): the cell that is marked, -1 where none gains, and
          `best_held_out`: whether most halves of the instances choose it (`xtl.plots.best.best_of_each`);
        - `difference`, `n_difference` (as `gain`, `n`) where there is `against`; attribute `difference_of` says what of.

    Raises:
        InputError: no `gain`, a missing or an unknown dim, no examples, an unknown `by`, a negative number of instances.
    """
    results = as_results(results)
    instances = check_whole("instances", instances, 0)
    merged = mean_maps(results, by=by).assign(_marks(results, by))
    if instances:
        merged["instance_gain"] = _instance_gain(labelled(results), instances)
    if against is not None:
        gap = difference(merged, compute(against, by=by))
        merged = merged.merge(gap.rename(gain="difference", n="n_difference"), join="outer").assign_attrs(
            difference_of=gap.attrs["what"]
        )
    return merged


def figure(data: xr.Dataset) -> go.Figure:
    """The gain maps of all directions (rows) and modules (columns) on one colour scale.

    Args:
        data: result of `compute`.
    """
    check_mean_maps(data)
    hover = "source layer %{y} → target layer %{x}"
    panels = [
        plots.Panel(
            f"{direction}, {module} (n = {int(data['n'][d])})", data["gain"][d, m], data["n_gain"][d, m],
            f"{plots.readable(direction)}, {plots.readable(module)}<br>{hover}", _best(data, direction, module),
        )
        for d, direction in enumerate(data["direction"].values)
        for m, module in enumerate(data["module"].values)
    ]  # fmt: skip
    named = ", ".join(provenance(data))
    return plots.heatmap_grid(
        panels, columns=data.sizes["module"], title=f"Gain maps: {named}".removesuffix(": "),
        subtitle="mean gain over n examples; blue helps, red harms", unit=score_unit(data),
    )  # fmt: skip


def layers_figure(data: xr.Dataset) -> go.Figure:
    """Layer by module: the mean gain with the layer as target, as source and as both; a row a direction.

    Args:
        data: result of `compute`.
    """
    check_mean_maps(data)
    return plots.layer_module_heatmap(
        data, roles=tuple(ROLES.values()), title=f"Gain by layer and module: {model_name(data)}".removesuffix(": ")
    )


def languages_figure(data: xr.Dataset, module: str) -> go.Figure:
    """Small multiples: one map a language, from the one with the most text to the one with the least.

    The order is that of the classes of Joshi et al. 2020 (5: most text), which the titles give.

    Args:
        data: result of `compute` by direction or target_lang.
        module: which module's maps.

    Raises:
        InputError: an unknown module.
    """
    check_mean_maps(data)
    check_choice("module", module, map(str, data["module"].values))
    languages = {str(name): _other_language(str(name)) for name in data["direction"].values}
    order = by_resource(list(set(languages.values())))
    panels = []
    for name in sorted(languages, key=lambda name: (order.index(languages[name]), name)):
        part = data.sel(direction=name, module=module)
        level = resource_level(languages[name])
        title = f"{name} ({'class unknown' if level is None else f'class {level}'}, n = {int(part['n'])})"
        hover = f"{plots.readable(name)}<br>source layer %{{y}} → target layer %{{x}}"
        panels.append(plots.Panel(title, part["gain"], part["n_gain"], hover, _best(data, name, module)))
    return plots.heatmap_grid(
        panels, columns=min(len(panels), 3), title=f"Gain maps of {module} by language: {model_name(data)}",
        subtitle="from the language with the most text to the one with the least (classes of Joshi et al. 2020); mean gain",
        unit=score_unit(data),
    )  # fmt: skip


def instances_figure(data: xr.Dataset, module: str) -> go.Figure:
    """One map an instance: whether the mean is that of all of them or of a few.

    Args:
        data: result of `compute` with `instances`.
        module: which module's maps.

    Raises:
        InputError: an unknown module, or data without instances.
    """
    check_mean_maps(data)
    if "instance_gain" not in data:
        raise InputError("these data have no maps of instances: compute them with instances=12, say")
    check_choice("module", module, map(str, data["module"].values))
    panels = []
    for k, name in enumerate(data["instance"].values):  # by place: two tasks may have an instance of one name
        values = data["instance_gain"].isel(instance=k).sel(module=module)
        hover = f"{plots.readable(name)}<br>source layer %{{y}} → target layer %{{x}}"
        panels.append(plots.Panel(str(name), values, values.notnull().astype(int), hover))
    return plots.heatmap_grid(
        panels, columns=min(len(panels), 3), title=f"Gain maps of {module}, one an instance: {model_name(data)}",
        subtitle=f"{len(panels)} of {int(data['n'].sum())} examples; one colour scale", unit=score_unit(data),
    )  # fmt: skip


def difference(a: xr.Dataset, b: xr.Dataset) -> xr.Dataset:
    """The map of `a` minus that of `b`, cell by cell, for tasks or models.

    Models of different depth (attribute `n_layers`) are compared by relative depth: a cell of `a` with the cell of `b` whose
    layers, of those that were tried, lie nearest to the same share of the way from the first to the last layer.

    Args:
        a, b: results of `compute`; for two modules or two groups of one result, see `module_difference`, `group_difference`.

    Returns:
        Dataset with `gain` (direction, module, source_layer, target_layer) and `n` (the smaller one's), for the directions,
        modules and layers that both have; the layers are numbered as in `a`.

    Raises:
        InputError: nothing in common, or maps of two units.
    """
    for data in (a, b):
        check_mean_maps(data)
    units = [score_unit(data) for data in (a, b)]
    if units[0] != units[1]:
        raise InputError(f"maps in {units[0]} and in {units[1]} can't be subtracted")
    by_depth = (
        a.attrs.get("n_layers", 0) != b.attrs.get("n_layers", 0) and "n_layers" in a.attrs and "n_layers" in b.attrs
    )
    left, right = xr.align(a[["gain", "n"]], (_at_depths_of(a, b) if by_depth else b)[["gain", "n"]], join="inner")
    if not left["gain"].size:
        raise InputError("the two maps have no direction, module and cell in common")
    names = _contrast([(model_name(data) or "?", str(data.attrs.get("task") or "")) for data in (a, b)])
    gap = xr.Dataset({"gain": left["gain"] - right["gain"], "n": np.minimum(left["n"], right["n"])})
    return gap.assign_attrs(score_unit=units[0], what=names + (", by relative depth" if by_depth else ""))


def group_difference(data: xr.Dataset, first: str, second: str) -> xr.Dataset:
    """The maps of one group minus those of another, of one result: two tasks, kinds, directions or levels.

    Gains of chosen options and of written answers are both in nats, but a long answer has more of them to lose: the difference
    of two such tasks says little.

    Args:
        data: result of `compute`.
        first, second: entries of its dim `direction`.

    Raises:
        InputError: an unknown group.
    """
    gap = _minus(data, "direction", "group", first, second)
    n = min(int(data["n"].sel(direction=name)) for name in (first, second))
    return gap.assign(n=("direction", [n]))


def module_difference(data: xr.Dataset, first: str = "attn", second: str = "mlp") -> xr.Dataset:
    """The map of one module minus that of another, as `difference` gives it.

    Raises:
        InputError: an unknown module.
    """
    return _minus(data, "module", "module", first, second).assign(n=data["n"])


def _minus(data: xr.Dataset, dim: str, what: str, first: str, second: str) -> xr.Dataset:
    """The gain of one entry of a dim minus that of another; `what` is such an entry's name in an error."""
    check_mean_maps(data)
    for name in (first, second):
        check_choice(what, name, map(str, data[dim].values))
    gap = data["gain"].sel({dim: first}, drop=True) - data["gain"].sel({dim: second}, drop=True)
    name = f"{first} minus {second}"
    gap = gap.expand_dims({dim: [name]}).transpose("direction", "module", "source_layer", "target_layer")
    attrs = {"score_unit": score_unit(data), "what": f"{name}, {model_name(data)}".removesuffix(", ")}
    return xr.Dataset({"gain": gap}, attrs=attrs)


def difference_figure(gap: xr.Dataset) -> go.Figure:
    """Maps of a difference; blue: the first is better.

    Args:
        gap: result of `difference` or `module_difference`.

    Raises:
        InputError: anything else.
    """
    if not isinstance(gap, xr.Dataset) or "what" not in gap.attrs:
        raise InputError("gap must be the result of analyses.gain_maps.difference or module_difference")
    panels = [
        plots.Panel(
            f"{direction}, {module} (n = {int(gap['n'].sel(direction=direction))})",
            gap["gain"].sel(direction=direction, module=module),
            xr.full_like(gap["gain"].sel(direction=direction, module=module), int(gap["n"].sel(direction=direction)), dtype=int),
            f"{plots.readable(direction)}<br>source layer %{{y}} → target layer %{{x}}",
        )
        for direction in gap["direction"].values for module in gap["module"].values
    ]  # fmt: skip
    modules = gap.sizes["module"]
    drawn = plots.heatmap_grid(
        panels, columns=modules if modules > 1 else min(3, len(panels)), title=f"Difference of gain maps: {gap.attrs['what']}",
        subtitle="blue: the first has the higher gain, red: the second", unit=score_unit(gap),
    )  # fmt: skip
    return plots.relabel(drawn, f"difference ({score_unit(gap)})")


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    check_mean_maps(data)
    modules = [str(name) for name in data["module"].values]
    drawn = {"gain_maps": figure(data), "gain_maps_layers": layers_figure(data)}
    if data.attrs.get("by", "direction") in ("direction", "target_lang") and data.sizes["direction"] > 1:
        drawn |= {f"gain_maps_languages_{module}": languages_figure(data, module) for module in modules}
    if {"attn", "mlp"} <= set(modules):
        drawn["gain_maps_difference"] = difference_figure(module_difference(data))
    if data.attrs.get("by") in ("task", "kind") and data.sizes["direction"] > 1:
        first, *others = map(str, data["direction"].values)
        gaps = [group_difference(data, first, other) for other in others]
        drawn["gain_maps_groups"] = difference_figure(
            xr.concat(gaps, dim="direction", combine_attrs="drop_conflicts").assign_attrs(
                what=f"{data.attrs['by']} {first} minus others, {model_name(data)}".removesuffix(", ")
            )
        )
    if "difference" in data:
        gap = (
            data[["difference", "n_difference"]]
            .rename(difference="gain", n_difference="n")
            .dropna("direction", how="all")
        )
        drawn["gain_maps_against"] = difference_figure(gap.assign_attrs(what=data.attrs["difference_of"]))
    if "instance_gain" in data:
        drawn |= {f"gain_maps_instances_{module}": instances_figure(data, module) for module in modules}
    return drawn


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse gain_maps` computes."""
    return compute(request.open_run(), instances=12, against=request.open_against(), **request.given("by"))


ANALYSIS = Analysis(
    "gain_maps", "Which layers and which module lift the target language?", "run",
    from_request=from_request, figures=figures, words=words_of_each("direction", in_words),
    options=("by", "against"),
)  # fmt: skip


def _marks(results: xr.Dataset, by: str) -> dict[str, tuple[tuple[str, str], np.ndarray]]:
    """The cells to mark, as variables (direction, module)."""
    means, best = mean_maps(results, by=by), best_of_each(results, by=by)
    cells = [
        [best.get((str(d), str(m)), Best(-1, -1)) for m in means["module"].values] for d in means["direction"].values
    ]
    fields = {"best_source_layer": "row", "best_target_layer": "column", "best_held_out": "held_out"}
    dims = ("direction", "module")
    return {
        name: (dims, np.array([[getattr(one, field) for one in row] for row in cells]))
        for name, field in fields.items()
    }


def _best(data: xr.Dataset, direction: str, module: str) -> Best | None:
    """The cell to mark; of data that say nothing of it (an older file) the largest mean."""
    part = data.sel(direction=direction, module=module)
    if "best_held_out" not in data:
        return best_in_sample(part["gain"])
    row, column = int(part["best_source_layer"]), int(part["best_target_layer"])
    return None if row < 0 else Best(row, column, bool(part["best_held_out"]))


def _instance_gain(examples: xr.Dataset, most: int) -> xr.DataArray:
    """Maps of the first examples, named by id and direction."""
    part = examples.isel(example=range(min(most, examples.sizes["example"])))
    ids, directions = (per_example(part, name) for name in ("example", "direction"))
    names = [f"{name or k}, {direction}" for k, (name, direction) in enumerate(zip(ids, directions, strict=True))]
    gain = part["gain"].astype("float64").drop_vars("example", errors="ignore").rename(example="instance")
    return gain.reset_coords(drop=True).assign_coords(instance=names)


def _contrast(names: list[tuple[str, str]]) -> str:
    """What two results (model, task) differ in, then what they have in common.

    >>> _contrast([("gpt2", "capitals"), ("opt", "capitals")]), _contrast([("gpt2", "xnli"), ("gpt2", "capitals")])
    ('gpt2 minus opt: capitals', 'xnli minus capitals: gpt2')
    """
    shared = [one for one, other in zip(*names, strict=True) if one == other and one]
    own = [", ".join(part for part in name if part and part not in shared) or ", ".join(name) for name in names]
    return f"{' minus '.join(own)}: {', '.join(shared)}".removesuffix(": ")


def _at_depths_of(a: xr.Dataset, b: xr.Dataset) -> xr.Dataset:
    """The cells of `b` nearest in relative depth to those of `a`, numbered as in `a`."""
    scale = (int(b.attrs["n_layers"]) - 1) / max(int(a.attrs["n_layers"]) - 1, 1)
    for dim in ("source_layer", "target_layer"):
        tried = b[dim].values.tolist()
        nearest = [
            min(tried, key=lambda other: (abs(other - scale * layer), other)) for layer in a[dim].values.tolist()
        ]
        b = b.sel({dim: nearest}).assign_coords({dim: a[dim].values})
    return b


def _other_language(label: str) -> str:
    """The language of a direction that is not English; the target's where neither is."""
    source, _, target = label.rpartition("->")
    return source if target == "en" and source else target
