"""Which module helps which kind of task: attention or feed-forward (FFN)?

Method: XTransplant (arXiv 2412.12686, section 4) reports that attention-level transplants serve multilingual understanding, and
FFN-level ones generation and culture. Here both modules were transplanted on the same examples at the same layers, so that each
example gives a *paired* contrast: gain of attention minus gain of FFN. It is taken over all cells, over the same-layer cells,
at the paper's fixed layers, for the best cell of each module (chosen on other instances: `xtl.stats.held_out`'s halvings), and
layer by layer. Intervals are over instances (gains in nats need 29 of them: `xtl.stats.intervals`); p-values flip the sign of
whole instances, which is exact if the two modules could be swapped; layers are corrected together (`layer_p_max`). With a
control, gains are real minus control.

How to read the figures: `figure`: right of 0 attention is better, left FFN. Most cells harm, so "all cells" says which module
*harms less*; "best cell, held out" says which one *helps more*. The two often disagree, and the second is the paper's claim.
`layers_figure`: the gain of both modules layer by layer.

What would falsify the claim: for understanding, an interval of the best cell's contrast that lies left of 0; for generation or
culture, right of 0. One that holds 0 leaves the question open.

>>> from xtl import stats
>>> data = compute(stats.simulate(planted={("attn", 2, 3): 3.0}), n_resamples=500, n_splits=20)
>>> bool(data["low"].sel(group="unknown", quantity="best cell, held out") > 1)
True
"""

from __future__ import annotations

import functools

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from analyses._results import check_modules, check_units, intervals_said
from xtl.analysis import Analysis, Request, words_of_each
from xtl.errors import InputError, check_choice, check_whole, known_keywords
from xtl.plots.forest import Estimate, forest
from xtl.plots.lines import Line, line_grid
from xtl.results import Maps, check_computed, labelled, model_name, real_and_control, score_unit
from xtl.results.axes import diagonal
from xtl.stats.examples import Group, check_confidence, check_resamples, cluster_sums, record, split_groups
from xtl.stats.intervals import bracket, mean_interval
from xtl.stats.paired_tests import sign_flips
from xtl.stats.selection import chosen_cells, held_out_interval, held_out_means, split_halves
from xtl.tasks import PAPER

QUANTITIES = ("all cells", "same layer", "paper's layers", "best cell, held out")
ROLES = ("target", "source", "same")
CLAIM = {"understanding": "attn", "generation": "mlp", "culture": "mlp"}
"""The module that the paper says serves a kind of task."""
NAMES = {"attn": "attention", "mlp": "FFN"}
_check = functools.partial(check_computed, made_by="analyses.attn_vs_ffn.compute(results)", holds=["layer_difference"])


@known_keywords(name="attn_vs_ffn.compute")
def compute(
    results: Maps,
    control: Maps | None = None,
    *,
    by: str = "kind",
    measure: str = "gain",
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    n_splits: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    """Contrast attention and FFN on the same examples.

    Args:
        results: of `xtl.sweep_many` or `xtl.runs.open_run`, with the modules attn and mlp.
        control: the same with a control's source; gains are then real minus control.
        by: what makes a group: "kind" (of task), "task", "direction" or "resource".
        measure: "gain" or "accuracy".
        confidence, n_resamples: of the intervals; n_splits: of the held-out choice; seed: of everything.

    Returns:
        Dataset, in the score's unit:
        - `attn`, `mlp`, `difference`, `low`, `high`, `p` (group, quantity), quantity in `QUANTITIES`; NaN where a quantity
          can't be had (no same-layer cells, no layers of the paper for this kind, no p-value for the held-out cell);
        - `layer_attn`, `layer_mlp`, `layer_difference`, `layer_low`, `layer_high`, `layer_p`, `layer_p_max`
          (group, role, layer): with the layer as target (mean over source layers), as source, or as both;
        - `n`, `n_instances` (group); `kind` (group).

    Raises:
        InputError: a missing module; see `xtl.stats.examples.split_groups`.
    """
    results, control = real_and_control(results, control)
    check_choice("by", by, ("kind", "task", "direction", "resource"))
    confidence, seed = check_confidence(confidence), check_whole("seed", seed, 0)
    n_resamples, n_splits = check_resamples(n_resamples), check_resamples(n_splits, 10, "n_splits")
    check_modules(results, "attn", "mlp")
    groups = split_groups(labelled(results), None if control is None else labelled(control), by=by, measures=(measure,))
    parts = [_compare(group, measure, confidence, n_resamples, n_splits, seed) for group in groups]
    data = xr.concat(parts, dim="group", join="outer", data_vars="all").assign_coords(group=[g.name for g in groups])
    settings = {
        "measure": measure,
        "confidence": confidence,
        "n_resamples": n_resamples,
        "n_splits": n_splits,
        "seed": seed,
    }
    return data.assign_attrs(record(results, control, **settings) | {"analysis": "attn_vs_ffn", "by": by})


def verdict(data: xr.Dataset, group: str) -> str:
    """ "yes", "no" or "open": does the paper's claim hold for this group? "no claim" for kinds that it says nothing of.

    Raises:
        InputError: an unknown group.
    """
    _check(data)
    check_choice("group", group, map(str, data["group"].values))
    part = data.sel(group=group)
    wanted = CLAIM.get(str(part["kind"].item()))
    if wanted is None:
        return "no claim"
    best = part.sel(quantity="best cell, held out")
    ahead = "attn" if best["low"] > 0 else "mlp" if best["high"] < 0 else None
    return "open" if ahead is None else "yes" if ahead == wanted else "no"


def in_words(data: xr.Dataset, group: str) -> list[str]:
    """Three sentences: which module harms less, which helps more, and what that says of the paper's claim."""
    said, part, unit = verdict(data, group), data.sel(group=group), _unit(data)
    words = []
    for quantity, better in (("all cells", "the higher mean"), ("best cell, held out", "the better best cell")):
        place = part.sel(quantity=quantity)
        value, low, high = (float(place[name]) for name in ("difference", "low", "high"))
        who = "attention" if low > 0 else "FFN" if high < 0 else "neither module, beyond chance,"
        who = "too few instances to say which module" if np.isnan(low) else who
        words.append(
            f"{quantity.capitalize()}: {who} has {better} ({value:+.3f} {unit} {bracket(low, high, '+.3f')}, "
            f"attention minus FFN, n = {int(part['n'])})."
        )
    kind = str(part["kind"].item())
    if said == "no claim":
        words.append(f"The paper makes no claim for tasks of this kind ({kind}).")
    else:
        words.append(f"The paper's claim that {NAMES[CLAIM[kind]]} serves {kind}: {said}.")
    return words


def figure(data: xr.Dataset) -> go.Figure:
    """The contrast of each group, a panel a quantity; right of 0 attention is better.

    Args:
        data: result of `compute`.
    """
    _check(data)
    panels = []
    for quantity in data["quantity"].values:
        part = data.sel(quantity=quantity)
        points = [
            Estimate(f"{group} (n = {int(part['n'].sel(group=group))})", "attention minus FFN",
                     *(float(part[name].sel(group=group)) for name in ("difference", "low", "high")))
            for group in data["group"].values if np.isfinite(part["difference"].sel(group=group))
        ]  # fmt: skip
        if points:
            panels.append((str(quantity), points))
    return forest(
        panels, title=f"Attention against FFN: {model_name(data)}".removesuffix(": "), x=f"difference ({_unit(data)})", columns=2,
        zero=[True] * len(panels),
        subtitle=f"gain of attention minus gain of FFN on the same examples, against {data.attrs['against']}; "
        f"{_intervals(data['low'], data)}; one scale; right of 0: attention is better",
    )  # fmt: skip


def layers_figure(data: xr.Dataset) -> go.Figure:
    """The gain of both modules by layer: a row a group, a panel a role of the layer.

    Args:
        data: result of `compute`.
    """
    _check(data)
    panels, roles = [], set()
    for group in data["group"].values:
        name = f"{group} (n = {int(data['n'].sel(group=group))})"
        for role in data["role"].values:
            part = data.sel(group=group, role=role).dropna("layer", subset=["layer_difference"])
            if not part.sizes["layer"]:
                continue
            lines = [Line(NAMES[m], part["layer"].values, part[f"layer_{m}"].values) for m in ("attn", "mlp")]
            low, high = part["layer_low"].values, part["layer_high"].values
            lines.append(Line("attention minus FFN", part["layer"].values, part["layer_difference"].values, low, high))
            of = f"layer as {'source and target' if role == 'same' else role}".replace(" ", "\N{NO-BREAK SPACE}")
            panels.append((f"{name}: {of}", lines))
            roles.add(str(role))
    return line_grid(
        panels, columns=len(roles), y=f"mean gain ({_unit(data)})", zero=True, shared="rows",
        title=f"Attention and FFN by layer: {model_name(data)}".removesuffix(": "),
        subtitle=f"against {data.attrs['against']}; {_intervals(data['layer_low'], data, 'band of the paired difference: ')}; "
        "each row has a scale of its own",
    )  # fmt: skip


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    return {"attn_vs_ffn": figure(data), "attn_vs_ffn_layers": layers_figure(data)}


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse attn_vs_ffn` computes; without a control, of tasks that are not scored alike each for itself."""
    control = request.open_control()
    results = [request.open_run()] if control is not None else request.open_apart()
    parts = [compute(part, control, **request.given("by")) for part in results]
    check_units(parts)
    groups = [str(name) for part in parts for name in part["group"].values]
    if len(set(groups)) < len(groups):
        raise InputError(f"tasks of one group are not scored alike: {', '.join(groups)}; group them by task")
    return xr.concat(parts, dim="group", join="outer", data_vars="all", combine_attrs="drop_conflicts")


ANALYSIS = Analysis(
    "attn_vs_ffn", "Which module helps which kind of task?", "run",
    from_request=from_request, figures=figures, words=words_of_each("group", in_words),
    options=("control", "by"),
)  # fmt: skip


def _compare(group: Group, measure: str, confidence: float, n_resamples: int, n_splits: int, seed: int) -> xr.Dataset:
    """One group."""
    sizes = [group.real.sizes[dim] for dim in ("module", "source_layer", "target_layer")]
    values = xr.DataArray(
        group.differences(measure).reshape(group.n, *sizes), dims=("example", "module", "source_layer", "target_layer"),
        coords={dim: group.real[dim].values for dim in ("module", "source_layer", "target_layer")},
    )  # fmt: skip
    values = values.sel(module=["attn", "mlp"])
    kinds = list(dict.fromkeys(group.real["kind"].values))
    kind = str(kinds[0]) if len(kinds) == 1 else "mixed"
    columns = {"all cells": values.mean(("source_layer", "target_layer")).values}
    same = diagonal(values)
    if same.sizes["layer"]:
        columns["same layer"] = same.mean("layer").values
    n_layers = group.real.attrs.get("n_layers")
    paper = _paper_cell(values, kind, None if n_layers is None else int(n_layers))
    if paper is not None:
        columns["paper's layers"] = paper
    names = list(columns)
    means = np.stack([columns[name] for name in names])  # [quantity, example, module]
    bounds = group.bounds(
        measure
    )  # of one module's difference; that of two modules reaches from -1 to 1 against vanilla too
    if bounds is not None and group.control is not None:
        bounds = (2 * bounds[0], 2 * bounds[1])
    found = _test((means[..., 0] - means[..., 1]).T, group, bounds, confidence, n_resamples, seed)
    table = np.full((len(QUANTITIES), 6), np.nan)
    for row, name in enumerate(names):
        table[QUANTITIES.index(name)] = [*means[row].mean(0), *found[:4, row]]
    table[-1, :5] = _held_out(values, group, bounds, confidence, n_splits, seed)
    fields = ("attn", "mlp", "difference", "low", "high", "p")
    data = xr.Dataset(
        {field: ("quantity", table[:, column]) for column, field in enumerate(fields)},
        coords={"quantity": list(QUANTITIES)},
    )
    by_role = {
        "target": values.mean("source_layer").rename(target_layer="layer"),
        "source": values.mean("target_layer").rename(source_layer="layer"),
        "same": same,
    }
    stacked = np.concatenate([by_role[role].transpose("example", "module", "layer").values for role in ROLES], axis=2)
    found = _test(stacked[:, 0] - stacked[:, 1], group, bounds, confidence, n_resamples, seed)
    parts, start = [], 0
    for role in ROLES:
        layers = by_role[role]["layer"].values
        part = slice(start, start := start + len(layers))
        rows = [*stacked.mean(0)[:, part], *found[:, part]]
        labels = ("attn", "mlp", "difference", "low", "high", "p", "p_max")
        own = {f"layer_{name}": ("layer", row) for name, row in zip(labels, rows, strict=True)}
        parts.append(xr.Dataset(own, coords={"layer": layers.astype(int)}))
    layers_data = xr.concat(parts, dim="role", join="outer", data_vars="all").assign_coords(role=list(ROLES))
    return data.merge(layers_data).assign(n=group.n, n_instances=group.n_instances, kind=kind)


def _test(
    columns: np.ndarray,
    group: Group,
    bounds: tuple[float, float] | None,
    confidence: float,
    n_resamples: int,
    seed: int,
) -> np.ndarray:
    """Mean, low, high, p and p_max of each column [example, column]."""
    found = mean_interval(
        columns, group.clusters, bounds=bounds, confidence=confidence, n_resamples=n_resamples, seed=seed
    )
    flips = sign_flips(cluster_sums(columns, group.clusters), n_resamples=n_resamples, seed=seed)
    return np.stack([found.mean, found.low, found.high, flips.p, flips.p_max])


def _held_out(
    values: xr.DataArray,
    group: Group,
    bounds: tuple[float, float] | None,
    confidence: float,
    n_splits: int,
    seed: int,
) -> list[float]:
    """Gain of each module's best cell on instances that it was not chosen on, their difference and its interval."""
    halves = split_halves(group.n_instances, n_splits, seed)
    shape = (1, values.sizes["source_layer"], values.sizes["target_layer"])
    maps = [values.sel(module=module).values.reshape(group.n, -1) for module in ("attn", "mlp")]
    cells = [chosen_cells([flat], group.clusters, halves, shape, "overall") for flat in maps]
    means = [held_out_means(flat, group.clusters, halves, own).mean() for flat, own in zip(maps, cells, strict=True)]
    picked = [flat[:, own.ravel()].T for flat, own in zip(maps, cells, strict=True)]
    gap = held_out_interval(
        picked[0] - picked[1], group.clusters, halves, bounds=bounds, confidence=confidence, seed=seed
    )
    return [*means, gap.mean[0], gap.low[0], gap.high[0]]


def _paper_cell(values: xr.DataArray, kind: str, n_layers: int | None) -> np.ndarray | None:
    """Gain of both modules at the layers that the paper fixes for this kind (a model's first and last), if the run has them."""
    if kind not in PAPER:
        return None
    layers = [values[dim].values.tolist() for dim in ("source_layer", "target_layer")]
    if n_layers is None and layers == [list(range(len(own))) for own in layers]:
        n_layers = len(layers[0])  # an older run doesn't say; a grid without a gap from 0 on is taken for a whole one
    if n_layers is None:
        return None
    place = [range(n_layers)[layer] for layer in (PAPER[kind].source_layer, PAPER[kind].target_layer)]
    if any(layer not in own for layer, own in zip(place, layers, strict=True)):
        return None
    return np.asarray(values.sel(source_layer=place[0], target_layer=place[1]).values)


def _unit(data: xr.Dataset) -> str:
    return "share right" if data.attrs.get("measure") == "accuracy" else score_unit(data)


def _intervals(low: xr.DataArray, data: xr.Dataset, of: str = "") -> str:
    return intervals_said(low.values, words=f"{of}{data.attrs['confidence']:.0%} intervals over instances")
