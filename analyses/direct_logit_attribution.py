"""What does each layer's attention and FFN output add to the right answer's logit, and what does a transplant change of that?

Method: direct logit attribution (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"). At the last position
the final residual stream is a sum: the embedding, and each layer's attention and FFN output. With the final norm's scale frozen
at its true value, norm and unembedding are linear, so that the logit of the right answer's first token minus the mean logit of
the other options' is a sum too, one term a module and layer, exactly; that the terms add up is checked on every prompt. It is
done for the source prompt, the target prompt, and the target prompt under a transplant (XTransplant, arXiv 2412.12686). Gemma
2's soft cap comes after the sum and is left out. This analysis runs the model.

How to read the figure: lines over layers, one a module; above 0 the module pushes the right answer up against the other
options. The panel "change" is transplanted minus target: at the target layer, what the transplant itself adds (its *direct*
part); after it, what later layers make of it (the *indirect* part). Terms are large where the residual stream is, also if they
cancel later: a term is no proof that a layer knows the answer.

What would falsify the claim that the transplant hands over the answer: a change whose sum has an interval that holds 0. If the
change is direct, the answer itself was handed over; if it is indirect, something that later layers turn into the answer.

>>> compute(model, pairs, cell=("attn", 12, 13))  # doctest: +SKIP
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from analyses._activations import check_cell, check_pairs, in_source_language, transplant_hooks
from analyses._results import intervals_said
from xtl.analysis import Analysis, Request, words_of_each
from xtl.backend import Model, forward
from xtl.engine.head import Head
from xtl.errors import InputError, ModelError, check_choice, known_keywords
from xtl.hooks import Hooks, capture
from xtl.models.info import model_info
from xtl.models.state import check_model
from xtl.pairs import ParallelPair
from xtl.plots.lines import Line, line_grid
from xtl.results import check_computed, model_name
from xtl.stats.examples import MIN_INSTANCES
from xtl.stats.intervals import bracket, mean_interval
from xtl.tokens import encode, encode_continuation

RUNS = ("source", "target", "transplanted")
MODULES = ("attn", "mlp")
_check = functools.partial(
    check_computed,
    made_by="analyses.direct_logit_attribution.compute(model, pairs)",
    holds=["contribution", "logit_difference"],
)


@known_keywords(name="direct_logit_attribution.compute")
def compute(
    model: Model,
    pairs: Iterable[ParallelPair],
    *,
    cell: tuple[str, int, int] | None = None,
    back: Iterable[ParallelPair] | None = None,
) -> xr.Dataset:
    """Take the logit difference of every pair apart, in every run.

    Args:
        model: HookedTransformer or TransformerBridge.
        pairs: with options, of one or several directions.
        cell: the transplant: module, source layer, target layer; None leaves the transplanted run out.
        back: the pairs of the opposite directions, whose options are in the source language: the source run is then judged by
            those. None judges all runs by the target's options.

    Returns:
        Dataset of logits (nats), float64:
        - `contribution` (example, run, module, layer): of attention and FFN;
        - `embed`, `bias`, `written` (example, run): of the embedding (positions included), of the final norm's and the
          unembedding's biases, and, for a transplant of the whole stream, of what it replaced it with;
        - `logit_difference` (example, run): gold's first token minus the mean of the others', before any soft cap; it is the
          sum of the above;
        - `n_others` (example): options with another first token than gold's; pairs that have none are left out, and counted
          in the attribute `left_out`.

    Raises:
        InputError: no options; a module or layer that isn't there; no pair whose gold differs in its first token.
        ModelError: terms that don't add up to what the model computes.
    """
    check_model(model)
    pairs = check_pairs(pairs, least=1, options=True)
    matched = {} if back is None else in_source_language(pairs, back)
    cell = None if cell is None else check_cell(model, cell)
    runs = RUNS[: 2 + (cell is not None)]
    head = Head(model)
    kept, parts, worst = [], [], 0.0
    for pair in pairs:
        tokens = first_tokens(model, pair)
        others = sorted(set(tokens) - {tokens[pair.gold or 0]})
        sources = first_tokens(model, matched[str(pair.id), pair.direction]) if matched else tokens
        source_others = sorted(set(sources) - {sources[pair.gold or 0]})
        if not others or not source_others:
            continue
        ids = {"source": encode(model, pair.source, "source"), "target": encode(model, pair.target, "target")}
        rows = []
        for run in runs:
            gold, rest = (
                (sources[pair.gold or 0], source_others) if run == "source" else (tokens[pair.gold or 0], others)
            )
            found, off = _attribute(model, head, ids, run, cell, gold, rest)
            rows.append(found)
            worst = max(worst, off)
        kept.append((pair, len(others)))
        parts.append(torch.stack(rows).numpy())
    if not kept:
        raise InputError(
            f"in all {len(pairs)} pairs every option starts with the same token: there is nothing to tell apart"
        )
    n_layers = model.cfg.n_layers
    table = np.stack(parts)  # [example, run, 3 + 2 * layers]
    terms = table[:, :, 3:].reshape(len(kept), len(runs), 2, n_layers)
    data = xr.Dataset(
        {
            "contribution": (("example", "run", "module", "layer"), terms, {"unit": "nats"}),
            **{name: (("example", "run"), table[:, :, k]) for k, name in enumerate(("embed", "bias", "written"))},
            "logit_difference": (("example", "run"), table.sum(-1)),
            "n_others": ("example", [count for _, count in kept]),
        },
        coords={
            "example": [str(pair.id) for pair, _ in kept], "run": list(runs), "module": list(MODULES), "layer": range(n_layers),
            "direction": ("example", [pair.direction for pair, _ in kept]),
        },
    )  # fmt: skip
    return data.assign_attrs(
        analysis="direct_logit_attribution", model=model_info(model).name,
        cell="none" if cell is None else f"{cell[0]} {cell[1]} -> {cell[2]}",
        module=cell[0] if cell else "", target_layer=cell[2] if cell else -1, left_out=len(pairs) - len(kept),
        source_options="source language" if matched else "target language", largest_error=worst,
    )  # fmt: skip


def first_tokens(model: Model, pair: ParallelPair) -> list[int]:
    """The first token of each option, as it continues the target prompt."""
    ids = encode(model, pair.target, "target")
    return [encode_continuation(model, pair.target, ids, option)[0] for option in pair.options or ()]


def summary(data: xr.Dataset, direction: str | None = None) -> xr.Dataset:
    """Means over examples with 95% intervals (NaN for fewer than 29 instances).

    Args:
        data: result of `compute`.
        direction: of these examples alone; None: all.

    Returns:
        Dataset with dims run (and "change", transplanted minus target, if there is a transplant) x term, where a term is
        "embed", "bias", "written", "sum" or such as "attn 3": `mean`, `low`, `high`.

    Raises:
        InputError: other data, or an unknown direction.
    """
    _check(data)
    if direction is not None:
        check_choice("direction", direction, dict.fromkeys(map(str, data["direction"].values)))
        data = data.isel(example=np.flatnonzero(data["direction"].values == direction))
    names = ["embed", "bias", "written", "sum"]
    columns = [data[name].values for name in (*names[:3], "logit_difference")]
    for module in MODULES:
        for layer in data["layer"].values:
            names.append(f"{module} {layer}")
            columns.append(data["contribution"].sel(module=module, layer=layer).values)
    runs, table = list(data["run"].values), np.stack(columns, -1)  # [example, run, term]
    if "transplanted" in runs:
        table = np.concatenate([table, table[:, 2:] - table[:, 1:2]], axis=1)
        runs.append("change")
    flat = table.reshape(len(table), -1)
    low = high = np.full(flat.shape[1], np.nan)
    clusters = np.unique(data["example"].values, return_inverse=True)[1]
    if clusters.max() + 1 >= MIN_INSTANCES:
        found = mean_interval(flat, clusters, n_resamples=2000)
        low, high = found.low, found.high
    shape = (len(runs), len(names))
    columns_ = {"mean": flat.mean(0), "low": low, "high": high}
    found_ = {name: (("run", "term"), values.reshape(shape)) for name, values in columns_.items()}
    return xr.Dataset(found_, coords={"run": runs, "term": names}, attrs=dict(data.attrs) | {"n": len(table)})


def in_words(data: xr.Dataset, direction: str | None = None) -> list[str]:
    """Two or three sentences: what pushes the answer most in each run, and how much of a transplant's change is direct."""
    found = summary(data, direction)
    words = []
    for run in ("source", "target"):
        part = found["mean"].sel(run=run)
        modules = part.sel(term=[name for name in part["term"].values if name.split()[0] in MODULES])
        top = modules.isel(term=int(np.argmax(modules.values)))
        words.append(
            f"In the {run} run the right answer is {float(part.sel(term='sum')):+.2f} nats above the other options; the largest "
            f"term is {top['term'].item()}, {float(top):+.2f} (n = {found.attrs['n']})."
        )
    if "change" in found["run"].values:
        change = found.sel(run="change")
        total = change.sel(term="sum")
        module, layer = data.attrs["module"], data.attrs["target_layer"]
        own = "written" if module == "resid" else f"{module.split('_')[0]} {layer}"
        direct = float(change["mean"].sel(term=own))
        later = float(total["mean"]) - direct
        words.append(
            f"The transplant {data.attrs['cell']} changes it by {float(total['mean']):+.2f} nats "
            f"{bracket(float(total['low']), float(total['high']))}: {direct:+.2f} directly, {later:+.2f} through later modules."
        )
    return words


def figure(data: xr.Dataset) -> go.Figure:
    """Contribution by layer: a row a direction, a panel a module, a line a run and one for the transplant's change.

    Args:
        data: result of `compute`.
    """
    _check(data)
    layers, panels, lows = data["layer"].values, [], list[np.ndarray]()
    for direction in dict.fromkeys(map(str, data["direction"].values)):
        found = summary(data, direction)
        for module in MODULES:
            own = found.sel(term=[f"{module} {layer}" for layer in layers])
            lows.append(own["low"].values)
            lines = [_line(own.sel(run=run)) for run in found["run"].values]
            sums = ", ".join(
                f"{run} {float(found['mean'].sel(run=run, term='sum')):+.1f}" for run in found["run"].values
            )
            panels.append((f"{direction}, {module}" + f"\nall terms: {sums}" * (module == MODULES[0]), lines))
    return line_grid(
        panels, columns=len(MODULES), y="contribution (nats)", zero=True, title=f"Direct logit attribution: {model_name(data)}",
        subtitle=f"right answer's first token against the other options', last position; transplant: {data.attrs['cell']}; all "
        f"terms: embedding and biases too; source run: options in the {data.attrs['source_options']}; {intervals_said(*lows)}",
    )  # fmt: skip


def _line(part: xr.Dataset) -> Line:
    layers = [int(str(term).split()[1]) for term in part["term"].values]
    return Line(str(part["run"].item()), layers, part["mean"].values, part["low"].values, part["high"].values)


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    return {"direct_logit_attribution": figure(data)}


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse direct_logit_attribution` computes."""
    model = request.load_model()
    pairs, back = request.questions(model)
    return compute(model, pairs, back=back, cell=request.cell)


ANALYSIS = Analysis(
    "direct_logit_attribution", "What does each module add to the right answer's logit?", "model",
    from_request=from_request, figures=figures, words=words_of_each("direction", in_words),
    options=("cell",),
)  # fmt: skip


def _attribute(
    model: Model, head: Head, ids: dict[str, list[int]], run: str, cell: tuple[str, int, int] | None, gold: int, others: list[int]
) -> tuple[Float[Tensor, " term"], float]:  # fmt: skip
    """The terms of one run's logit difference (embed, bias, written, attention by layer, FFN by layer), and its largest error."""
    n_layers, store = model.cfg.n_layers, {}  # type: tuple[int, dict[object, Tensor]]
    tokens = ids["source" if run == "source" else "target"]
    hooks: Hooks = []
    if run == "transplanted" and cell is not None and cell[0] == "resid":
        hooks.append((f"blocks.{cell[2]}.hook_resid_post", capture(store, "replaced")))
    if run == "transplanted" and cell is not None:
        transplant, activation = transplant_hooks(model, ids["source"], len(tokens) - 1, cell)
        hooks += transplant
        store["activation"] = activation[None]
    hooks.append(("blocks.0.hook_resid_pre", capture(store, "embed")))
    for layer in range(n_layers):  # after the transplant's hook: what was written is what is read
        hooks.append((f"blocks.{layer}.hook_attn_out", capture(store, ("attn", layer))))
        hooks.append((f"blocks.{layer}.hook_mlp_out", capture(store, ("mlp", layer))))
    hooks.append((f"blocks.{n_layers - 1}.hook_resid_post", capture(store, "final")))
    logits = forward(model, tokens, hooks=hooks, keep=1)[-1].double().cpu()
    at = {key: value[0].double().cpu() for key, value in store.items()}
    written = at["activation"] - at["replaced"] if "replaced" in at else torch.zeros_like(at["embed"])
    terms = [at["embed"], written] + [at[module, layer] for module in MODULES for layer in range(n_layers)]
    frozen = head.frozen(at["final"].float())
    rows, biases = head.rows([gold, *others])
    weights = torch.tensor([1.0] + [-1 / len(others)] * len(others), dtype=torch.float64)
    away = weights @ rows
    values = frozen(torch.stack(terms)) @ away
    bias = frozen.bias @ away + weights @ biases
    model_says = (
        logits[[gold, *others]],
        head.capped((frozen(torch.stack(terms).sum(0)) + frozen.bias) @ rows.T + biases),
    )
    off = float((model_says[0] - model_says[1]).abs().max() / model_says[0].abs().max().clamp_min(1.0))
    if not off < 5 * head.tolerance:
        raise ModelError(
            f"the terms don't add up to the model's logits (off by {off:.1e}, {run} run): something between its blocks and "
            "its logits is not known to this analysis"
        )
    return torch.cat([values[:1], bias[None], values[1:2], values[2:]]), off
