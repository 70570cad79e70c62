"""`attribution`: every cell's gain, estimated from one backward pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.label import label_scores
from xtl.engine.lengths import why_not_at_lengths
from xtl.engine.prepare import Sweep, SweepSettings, prepare
from xtl.errors import InputError, Whole, check_choice, check_whole, known_keywords
from xtl.gradients.backward import TargetRun
from xtl.gradients.carried import carried_estimates
from xtl.gradients.exact import Written, agreement, exact_gains
from xtl.gradients.slopes import METHODS, Reads, by_site, estimates, slopes
from xtl.hooks import Module
from xtl.layers import Layers
from xtl.models.caching import check_cache
from xtl.models.hook_points import count_heads
from xtl.models.state import check_model
from xtl.pairs import ParallelPair
from xtl.transplants import read_activations


@known_keywords()
def attribution(
    model: Model,
    pair: ParallelPair,
    *,
    modules: Sequence[str | Module] = ("attn", "mlp"),
    source_layers: Layers | None = None,
    target_layers: Layers | None = None,
    method: str = "gradient",
    points: Whole = 2,
    normalise: str = "none",
    verify: Whole = 0,
    sample: Whole = 0,
    seed: Whole = 0,
) -> xr.Dataset:
    """The map of one pair, estimated by gradients: (source - own) . d score / d own for every cell, from one backward pass.

    For layers an exact map (`xtl.sweep`) costs a few passes and this wins nothing; for all heads by all heads it does. How far to
    believe it: docs/attribution.md, and `sample` on your own pair.

    Args:
        model: from `xtl.load_model`, or any HookedTransformer or TransformerBridge through which gradients flow.
        pair: with options or an answer; scored by likelihood, as `xtl.sweep` does.
        modules: as for `xtl.sweep`; or modules by head, such as `["attn_head"]`: all heads by all heads.
        source_layers: layers to read; all by default.
        target_layers: layers to write; all by default.
        method: "gradient", one backward pass at the vanilla run; "integrated", gradients at `points` places on the way from each
            place's own activation to the sources' mean, `points` rows of a batch a target layer (and head); "relp", one backward
            pass by RelP's rules; "carried", for heads: what a head's change makes of attention's output exactly, and one
            backward pass from there.
        points: gradients a place, for "integrated".
        normalise: as for `xtl.sweep`.
        verify: so many cells with the largest estimates are computed exactly, and replaced.
        sample: so many cells, drawn at random, are computed exactly too, and replaced; the result says how far the estimates
            agree with them.
        seed: of the draw.

    Returns:
        A Dataset like that of `xtl.sweep`, dims `module, source_layer, target_layer` (of heads also `source_head, target_head`):
        `gain` and `score` (float32, nats), `exact` (bool: computed, not estimated), `vanilla_score`, `vanilla_correct`; no
        `correct`, which an estimate can't say. Of the checks the scalars `sample_spearman`, `sample_sign`, `sample_top10`,
        `sample_top50`, and the same with `verify_` (see `xtl.gradients.exact.agreement`). Attributes as there, and `estimate`
        (the method), `points`, `target_states` (states of the target run that were run forward and backward), `sample_cells`,
        `verify_cells`.

    Raises:
        InputError: an unknown module or method, heads beside other modules, a bad pair, an architecture without what "relp"
            needs, a length at which a model's keys and values can't be shared.
        ModelError: the score has no gradient at a hook point, or NaN.

    Example:
        >>> import xtl
        >>> pair = xtl.ParallelPair("Country: France. Capital:", "País: Francia. Capital:", options=[" París", " Roma"], gold=0)
        >>> model = xtl.load_model()  # doctest: +SKIP
        >>> heads = xtl.attribution(model, pair, modules=["attn_head"], verify=100)  # doctest: +SKIP
        >>> heads.gain.where(heads.exact).max()  # doctest: +SKIP
    """
    check_model(model)
    check_cache(model)
    check_choice("method", method, METHODS)
    points = check_whole("points", points, 1)
    verify, sample, seed = (
        check_whole(name, value, 0) for name, value in (("verify", verify), ("sample", sample), ("seed", seed))
    )
    sweep = _prepare(model, pair, modules, source_layers, target_layers, normalise)
    assert sweep.question is not None
    run = TargetRun(model, sweep.plan, sweep.question)
    gains, written, states = [], [], 0
    for module in sweep.plan.modules:
        vanilla, reads = _read(model, sweep, run, module)
        if method == "carried":
            found, n_states = carried_estimates(model, run, reads, module), 1
        else:
            slope, n_states = slopes(model, run, reads, method, points)
            found = estimates(reads, slope)
        gains.append(found.double().cpu().numpy())
        written.append((module, reads))
        states += n_states
    result = _label(model, sweep, vanilla, np.stack(gains))
    result.attrs |= {"estimate": method, "target_states": states} | (
        {"points": points} if method == "integrated" else {}
    )
    return _checked(model, sweep, result, written, verify, sample, seed)


def _prepare(
    model: Model,
    pair: ParallelPair,
    modules: Sequence[str | Module],
    source_layers: Layers | None,
    target_layers: Layers | None,
    normalise: str,
) -> Sweep:
    """The sweep whose cells are estimated. Raises `InputError`."""
    if not isinstance(pair, ParallelPair):
        raise InputError(f"pair must be a ParallelPair, got {type(pair).__name__}")
    settings = SweepSettings(modules, source_layers, target_layers, normalise=normalise, verify=0)
    sweep = prepare(model, pair, settings, settings.cells(model))
    if reason := why_not_at_lengths(model, sweep.plan, "batched"):
        raise InputError(
            f"gradients of a target prompt of {len(sweep.plan.target_ids)} tokens can't be had exactly: {reason}"
        )
    return sweep


def _read(model: Model, sweep: Sweep, run: TargetRun, module: Module) -> tuple[Float[Tensor, " continuation"], Reads]:
    """Vanilla's log-probabilities, and what both runs put out."""
    plan, n_heads = sweep.plan, count_heads(model, module) if module.heads else 1
    source = read_activations(model, plan.source_ids, [module], plan.source_layers)
    sites = tuple(module.write_hook(layer) for layer in plan.target_layers)
    vanilla, own = run.read(list(sites))
    read = torch.stack([source[module.name, layer].reshape(n_heads, -1) for layer in plan.source_layers])
    return vanilla, Reads(sites, read, by_site(own, sites, n_heads), own[sites[0]].shape)


def _label(
    model: Model,
    sweep: Sweep,
    vanilla: Float[Tensor, " continuation"],
    gains: Float[np.ndarray, "module source *places"],
) -> xr.Dataset:
    """The estimates as a result of `xtl.sweep`, without what only a transplant can tell."""
    same = label_scores(model, sweep, vanilla.cpu().expand(1 + sweep.plan.n_cells, -1), "gradients")
    told = same[[name for name in same.data_vars if str(name).startswith("vanilla_")]]
    gain = same["gain"].copy(data=gains.reshape(sweep.plan.shape).astype(np.float32))
    return told.assign(gain=gain, score=same["score"] + gain, exact=xr.zeros_like(gain, dtype=bool))


def _checked(
    model: Model,
    sweep: Sweep,
    result: xr.Dataset,
    written: list[tuple[Module, Reads]],
    verify: int,
    sample: int,
    seed: int,
) -> xr.Dataset:
    """The result with the best of its cells, and some drawn at random, computed exactly."""
    estimated = result["gain"].values.astype(np.float64).ravel()
    drawn = np.random.default_rng(seed).permutation(len(estimated))[:sample]
    best = np.argsort(-estimated, kind="stable")[:verify]
    cells = np.union1d(drawn, best)
    if not len(cells):
        return result
    assert sweep.question is not None
    n_heads = written[0][1].own.shape[1]
    shape = (len(written), len(sweep.plan.source_layers), len(sweep.plan.target_layers), n_heads, n_heads)
    places = [tuple(map(int, place)) for place in zip(*np.unravel_index(cells, shape), strict=True)]
    what = [_written(sweep, written, place) for place in places]
    exact = dict(zip(cells.tolist(), exact_gains(model, sweep.plan, sweep.question, what), strict=True))
    for name, chosen in (("sample", drawn), ("verify", best)):
        if len(chosen):
            alike = agreement(estimated[chosen], np.array([exact[cell] for cell in chosen.tolist()]))
            result.attrs[f"{name}_cells"] = len(chosen)
            result = result.assign({f"{name}_{key}": value for key, value in alike.items()})
    gain, known = result["gain"].values.copy(), result["exact"].values.copy()
    gain.ravel()[cells], known.ravel()[cells] = list(exact.values()), True
    gains = result["gain"].copy(data=gain)
    return result.assign(
        gain=gains,
        score=(gains + result["vanilla_score"]).assign_attrs(gains.attrs),
        exact=result["exact"].copy(data=known),
    )


def _written(sweep: Sweep, written: list[tuple[Module, Reads]], place: tuple[int, ...]) -> Written:
    """What the cell at a place of the map (module, source layer, target layer, source head, target head) writes."""
    number, source, target, source_head, target_head = place
    module, reads = written[number]
    value = reads.own[target].clone()
    value[target_head] = reads.source[source, source_head]
    layer = sweep.plan.target_layers[target]
    return whole(module) if module.heads else module, layer, value.reshape(reads.shape)


def whole(module: Module) -> Module:
    """The module without its heads: how a cell of one head is written exactly, beside the layer's own others."""
    return Module(f"{module.name}, all heads", module.read, module.write)
