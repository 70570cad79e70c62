"""In which language does the model think, layer by layer, and where does a transplant turn it?

Method: the logit lens (nostalgebraist 2020; for languages, Wendler et al. 2024, arXiv 2402.10588). After every layer the
residual stream at the last position goes through the model's own final norm and unembedding; what comes out is the probability
of the right answer's first token, as the *target* language writes it and as the *source* language does. It is read in the
source run, the target run and under a transplant (XTransplant, arXiv 2412.12686, claims that English latent knowledge reaches
the other language). Answers that start with the same token in both languages are left out: they can't tell the languages apart.
This analysis runs the model.

How to read the figure: solid, the answer in the target language; dashed, in the source language; a panel a run. If the dashed
line rises first and the solid one takes over in the last layers, the model passes through the source language. In
`lead_figure`, above 0 the source language's word is the likelier one.

What would falsify it: a source-language answer that is never likelier than the target's in the target run ("thinks in
English"); a transplant that leaves the lines where they were ("turns it"). The lens is the model's own reading of a layer: a
word that it doesn't show may be there in a code that later layers read.

>>> compute(model, pairs, back=back, cell=("attn", 12, 13))  # doctest: +SKIP
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
from xtl.backend import Model, forward_without_logits
from xtl.engine.head import Head
from xtl.errors import InputError, check_choice, known_keywords
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
LOWEST = -35.0
"""Log-probabilities below this are not drawn: the first layers' would flatten all others."""
_check = functools.partial(
    check_computed, made_by="analyses.language_flow.compute(model, pairs, back=...)", holds=["log_probability", "rank"]
)


@known_keywords(name="language_flow.compute")
def compute(
    model: Model,
    pairs: Iterable[ParallelPair],
    *,
    back: Iterable[ParallelPair],
    cell: tuple[str, int, int] | None = None,
) -> xr.Dataset:
    """Read the answer in both languages off every layer.

    Args:
        model: HookedTransformer or TransformerBridge.
        pairs: with options, or accepted answers.
        back: the pairs of the opposite directions (`task.pairs(target, source)`), whose answers are in the source language.
        cell: the transplant: module, source layer, target layer; None leaves the transplanted run out.

    Returns:
        Dataset: `log_probability` (example, run, language, layer), natural logarithm, of the answer's first token in the
        "source" and in the "target" language; the last layer is what the model answers. `rank` (the same dims): how many
        of the two and the wrong options' first tokens (both languages) are likelier. Attribute `left_out`: pairs whose answer
        starts with the same token in both.

    Raises:
        InputError: no answers; a pair that `back` lacks; no answer that differs between the languages; a bad cell.
    """
    check_model(model)
    pairs = check_pairs(pairs, least=1)
    matched = in_source_language(pairs, back)
    cell = None if cell is None else check_cell(model, cell)
    runs = RUNS[: 2 + (cell is not None)]
    head = Head(model)
    kept, logs, ranks = [], [], []
    for pair in pairs:
        other = matched[str(pair.id), pair.direction]
        ids = {"source": encode(model, pair.source, "source"), "target": encode(model, pair.target, "target")}
        words = {
            "source": _starts(model, pair.target, ids["target"], other),
            "target": _starts(model, pair.target, ids["target"], pair),
        }  # fmt: skip
        gold = [words[name][0] for name in ("source", "target")]
        if gold[0] == gold[1]:
            continue
        tokens = list(dict.fromkeys([*gold, *words["source"], *words["target"]]))
        table = torch.stack([head.log_probabilities(_stream(model, ids, run, cell), tokens) for run in runs])
        logs.append(table[..., :2].transpose(1, 2).numpy())  # [run, language, layer]
        ranks.append((table[..., None, :] > table[..., :2, None]).sum(-1).transpose(1, 2).numpy())
        kept.append(pair)
    if not kept:
        raise InputError(f"in all {len(pairs)} pairs the answer starts with the same token in both languages")
    dims = ("example", "run", "language", "layer")
    return xr.Dataset(
        {"log_probability": (dims, np.stack(logs)), "rank": (dims, np.stack(ranks))},
        coords={
            "example": [str(pair.id) for pair in kept], "run": list(runs), "language": ["source", "target"],
            "layer": range(model.cfg.n_layers), "direction": ("example", [pair.direction for pair in kept]),
        },
        attrs={
            "analysis": "language_flow", "model": model_info(model).name, "left_out": len(pairs) - len(kept),
            "cell": "none" if cell is None else f"{cell[0]} {cell[1]} -> {cell[2]}",
        },
    )  # fmt: skip


def lead(data: xr.Dataset) -> xr.DataArray:
    """How much likelier the source language's word is, log-probability in nats (example, run, layer); above 0: source."""
    _check(data)
    both = data["log_probability"]
    return both.sel(language="source", drop=True) - both.sel(language="target", drop=True)


def in_words(data: xr.Dataset, direction: str | None = None) -> list[str]:
    """Two or three sentences: where the source language leads, what the model ends with, and where a transplant turns it.

    Raises:
        InputError: other data, or an unknown direction.
    """
    data = _part(data, direction)
    ahead = lead(data).mean("example")
    n, n_layers = data.sizes["example"], data.sizes["layer"]
    layers = [int(k) for k in data["layer"].values[ahead.sel(run="target").values > 0]]
    end: xr.DataArray = np.exp(data["log_probability"].isel(layer=-1).sel(run="target"))  # type: ignore[assignment]
    end = end.mean("example")
    words = [
        f"In the target run the source language's word leads in {len(layers)} of {n_layers} layers"
        + (f" ({_ranges(layers)})" if layers else "")
        + f"; at the end the answer has {float(end.sel(language='target')):.1%} in the target and "
        f"{float(end.sel(language='source')):.1%} in the source language (n = {n})."
    ]
    if "transplanted" in data["run"].values:
        both = data["log_probability"].mean("example")
        change = (both.sel(run="transplanted") - both.sel(run="target")).sel(language="target")
        place = change.isel(layer=int(np.argmax(np.abs(change.values))))
        low, high = _interval(
            (data["log_probability"].sel(run="transplanted") - data["log_probability"].sel(run="target")).isel(
                layer=-1
            ),
            data,
        )
        last = change.isel(layer=-1)
        words.append(
            f"The transplant {data.attrs['cell']} moves the target language's answer most in layer {int(place['layer'])} "
            f"({float(place):+.2f} nats), and at the end by {float(last):+.2f} {bracket(low[1], high[1])}."
        )
    return words


def figure(data: xr.Dataset) -> go.Figure:
    """Mean log-probability of the answer in both languages by layer: a row a direction, a panel a run.

    Args:
        data: result of `compute`.
    """
    _check(data)
    panels = []
    for direction in dict.fromkeys(map(str, data["direction"].values)):
        part = _part(data, direction)
        for run in part["run"].values:
            lines = []
            for language in ("target", "source"):
                values = part["log_probability"].sel(run=run, language=language)
                low, high = _interval(values, part)
                lines.append(
                    Line(
                        f"answer in the {language} language",
                        part["layer"].values,
                        values.mean("example").values,
                        low,
                        high,
                    )
                )
            panels.append((f"{direction}, {run} run (n = {part.sizes['example']})", lines))
    return line_grid(
        panels,
        columns=data.sizes["run"],
        y="log-probability (nats)",
        y_range=(LOWEST, 1.5),
        title=f"Language by layer: {model_name(data)}",
        subtitle="logit lens at the last position: the right answer's first token in each language; transplant: "
        f"{data.attrs['cell']}; answers that start alike in both are left out; {_bands(data)}; "
        f"below {LOWEST:.0f} not drawn",
    )


def lead_figure(data: xr.Dataset) -> go.Figure:
    """How much likelier the source language's word is, by layer: a panel a direction, a line a run.

    Args:
        data: result of `compute`.
    """
    panels = []
    ahead = lead(data)
    for direction in dict.fromkeys(map(str, data["direction"].values)):
        part = _part(data, direction)
        own = ahead.isel(example=np.flatnonzero(data["direction"].values == direction))
        lines = [
            Line(
                f"{run} run",
                part["layer"].values,
                own.sel(run=run).mean("example").values,
                *_interval(own.sel(run=run), part),
            )
            for run in part["run"].values
        ]
        panels.append((f"{direction} (n = {part.sizes['example']})", lines))
    return line_grid(
        panels, columns=3, y="source minus target (nats)", zero=True, title=f"Which language leads: {model_name(data)}",
        subtitle=f"above 0 the source language's word is likelier; transplant: {data.attrs['cell']}; {_bands(data)}",
    )  # fmt: skip


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    return {"language_flow": figure(data), "language_flow_lead": lead_figure(data)}


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse language_flow` computes."""
    model = request.load_model()
    pairs, back = request.questions(model)
    return compute(model, pairs, back=back, cell=request.cell)


ANALYSIS = Analysis(
    "language_flow", "In which language does the model think, layer by layer?", "model",
    from_request=from_request, figures=figures, words=words_of_each("direction", in_words),
    options=("cell",),
)  # fmt: skip


def _starts(model: Model, prompt: object, ids: list[int], pair: ParallelPair) -> list[int]:
    """First tokens of a pair's answer (first) and of its other options, as they continue a prompt."""
    if pair.options is not None and pair.gold is not None:
        texts = [pair.options[pair.gold], *(o for k, o in enumerate(pair.options) if k != pair.gold)]
    elif pair.answer or pair.answers:
        texts = [str(pair.answer or " " + (pair.answers or [""])[0])]
    else:
        raise InputError(f"pair {pair.id} has no options and no answer: there is nothing to look for")
    return [encode_continuation(model, prompt, ids, text)[0] for text in texts]  # type: ignore[arg-type]


def _stream(
    model: Model, ids: dict[str, list[int]], run: str, cell: tuple[str, int, int] | None
) -> Float[Tensor, "layer d_model"]:
    """The residual stream at the last position after every layer of a run."""
    tokens = ids["source" if run == "source" else "target"]
    hooks: Hooks = []
    if run == "transplanted" and cell is not None:
        hooks, _ = transplant_hooks(model, ids["source"], len(tokens) - 1, cell)
    store: dict[int, Tensor] = {}
    hooks += [(f"blocks.{layer}.hook_resid_post", capture(store, layer)) for layer in range(model.cfg.n_layers)]
    forward_without_logits(model, tokens, hooks=hooks)
    return torch.stack([store[layer][0] for layer in range(model.cfg.n_layers)]).float().cpu()


def _interval(values: xr.DataArray, data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """95% interval of the mean over examples, along the other dim; NaN for fewer than 29 instances (`xtl.stats.intervals`)."""
    table = values.transpose("example", ...).values
    clusters = np.unique(data["example"].values, return_inverse=True)[1]
    if clusters.max() + 1 < MIN_INSTANCES:
        empty = np.full(table.shape[1], np.nan)
        return empty, empty
    found = mean_interval(table, clusters, n_resamples=2000)
    return found.low, found.high


def _bands(data: xr.Dataset) -> str:
    """What the subtitle says of bands."""
    parts = [_part(data, direction) for direction in dict.fromkeys(map(str, data["direction"].values))]
    return intervals_said(*(_interval(part["log_probability"].isel(run=0, language=0), part)[0] for part in parts))


def _part(data: xr.Dataset, direction: str | None) -> xr.Dataset:
    _check(data)
    if direction is None:
        return data
    check_choice("direction", direction, dict.fromkeys(map(str, data["direction"].values)))
    return data.isel(example=np.flatnonzero(data["direction"].values == direction))


def _ranges(layers: list[int]) -> str:
    """Layers as ranges.

    >>> _ranges([0, 1, 2, 5])
    '0-2, 5'
    """
    parts: list[list[int]] = []
    for layer in layers:
        if parts and layer == parts[-1][-1] + 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
