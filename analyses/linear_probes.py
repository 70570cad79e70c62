"""What do attention and feed-forward outputs at the last position encode, layer by layer?

Method: a linear probe (multinomial logistic regression, L2) reads a label from the activation at the prompt's last position,
the one that a transplant moves: the language, the answer, the continent of the country asked about, the task. Folds are made of
whole *instances*: all languages of a question (and all questions about one country) are in one fold, so that no parallel copy
of a test prompt was trained on. Each
label has a control task (Hewitt and Liang 2019, arXiv 1909.03368): the same activations and folds with labels dealt out at
random, per instance (per language within an instance for labels that vary there). Accuracy minus the control's is the
*selectivity*. Trained in one language and tested in another, on other instances, a probe tells whether the languages share the
code: what XTransplant (arXiv 2412.12686) rests on. This analysis runs the model.

How to read the figure: one panel a label; lines are modules, bands intervals over instances; the thin dashed line is chance
(the share of the largest class), the thin dotted lines near it the control tasks. `transfer_figure`: rows are the language
that was trained in, columns the one tested in; off the diagonal as high as on it means one code for both.

What would falsify the claims: that FFN outputs hold the answer where attention's do not: an interval of `attn_minus_mlp` that
holds 0. That languages share a code: transfer at chance. A control task clearly above chance means a leak: believe nothing
then.

>>> rng = np.random.default_rng(0)
>>> instances, languages = np.repeat(np.arange(20), 2), np.array(["en", "es"] * 20)
>>> x = rng.normal(size=(40, 1, 2, 8)).astype("float32")
>>> x[:, 0, 1, 0] += 20 * (languages == "es")  # planted in layer 1
>>> data = probe(x, {"language": languages}, languages, instances.astype(str), modules=["attn"], n_controls=1)
>>> data["accuracy"].sel(label="language", module="attn").values.round(1).tolist()[1]
1.0
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from analyses._activations import Sample, check_pairs, read_last, samples_of
from analyses._probes import control_labels, cross_validated, folds_by_instance
from xtl import plots
from xtl.analysis import Analysis, Request, words_of_each
from xtl.backend import Model
from xtl.errors import InputError, check_choice, check_number, check_whole, known_keywords
from xtl.models.info import model_info
from xtl.pairs import ParallelPair
from xtl.plots.lines import Line, line_grid
from xtl.results import NOISE, check_computed, model_name
from xtl.runs.activations import ActivationCache, open_cache
from xtl.stats.examples import MIN_INSTANCES, check_confidence
from xtl.stats.intervals import DIFFERENCE, mean_interval, share_interval
from xtl.tasks.names import continent

LABELS = ("language", "answer", "task", "continent")
"""Labels that every pair (or, for "continent", every pair about a country) has; any key of `meta` is one too."""
_check = functools.partial(
    check_computed, made_by="analyses.linear_probes.compute(model, pairs)", holds=["selectivity"]
)


@known_keywords(name="linear_probes.compute")
def compute(
    model: Model,
    pairs: Iterable[ParallelPair],
    *,
    labels: Sequence[str] = ("language",),
    modules: Sequence[str] = ("attn", "mlp", "resid"),
    n_folds: int = 5,
    strength: float = 10.0,
    n_controls: int = 3,
    confidence: float = 0.95,
    seed: int = 0,
    cache: ActivationCache | None = None,
) -> xr.Dataset:
    """Read every prompt's activations, and probe them.

    Args:
        model: HookedTransformer or TransformerBridge.
        pairs: of one or several directions; source and target prompts are samples alike.
        labels: from `LABELS`, or keys of the pairs' `meta`.
        modules: names of `xtl.hooks.MODULES`.
        n_folds, strength, n_controls, confidence, seed: as for `probe`.
        cache: of activations; None keeps none.

    Returns:
        As `probe`, with the model's name.

    Raises:
        InputError: an unknown label or module, too few instances, a label with one class.
    """
    settings: dict[str, Any] = {
        "n_folds": check_whole("n_folds", n_folds, 2),
        "n_controls": check_whole("n_controls", n_controls, 1),
        "confidence": check_confidence(confidence),
        "strength": check_number("strength", strength),
        "seed": check_whole("seed", seed, 0),
    }
    pairs = check_pairs(pairs, least=max(MIN_INSTANCES, n_folds))
    samples = samples_of(pairs)
    found = {label: label_values(label, samples) for label in labels}
    x = read_last(model, [sample.prompt for sample in samples], modules, cache=cache)
    data = probe(
        x, found, np.array([s.language for s in samples]), np.array([s.instance for s in samples]),
        groups=np.array([_group(s) for s in samples]), modules=modules,
        **settings,
    )  # fmt: skip
    return data.assign_attrs(model=model_info(model).name)


def label_values(label: str, samples: Sequence[Sample]) -> np.ndarray:
    """The label of each sample as text; "" where it has none.

    Raises:
        InputError: no sample has such a label.
    """
    values = [_label(label, sample) for sample in samples]
    if not any(values):
        known = [*LABELS, *dict.fromkeys(str(key) for sample in samples for key in sample.pair.meta)]
        if label in known:
            raise InputError(f"label {label!r}: these pairs have none (no options, or no country in meta)")
        check_choice("label", label, known)
    return np.array(values)


def probe(
    x: Float[np.ndarray, "sample module layer d_model"],
    labels: Mapping[str, np.ndarray],
    languages: np.ndarray,
    instances: np.ndarray,
    *,
    modules: Sequence[str],
    groups: np.ndarray | None = None,
    n_folds: int = 5,
    strength: float = 10.0,
    n_controls: int = 3,
    confidence: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Probe activations for labels, cross-validated by instance.

    Args:
        x: activations.
        labels: by name, one value a sample; "" leaves the sample out.
        languages, instances: of each sample.
        modules: names of the axis `module`.
        groups: of each sample: what folds and intervals keep together; None: the instance.
        n_folds: each class needs as many instances; smaller classes are left out.
        strength: scikit-learn's C (the inverse of the penalty) times the number of features, so that it means the same in
            narrow and wide models; features are scaled to unit variance on the training folds.
        n_controls: random control tasks a label.
        confidence: level of the intervals.
        seed: of folds, controls and intervals.

    Returns:
        Dataset, shares from 0 to 1:
        - `accuracy`, `accuracy_low`, `accuracy_high` (label, module, layer): with its interval, clustered by instance;
        - `control` (label, module, layer): mean accuracy of the control tasks; `selectivity`, `_low`, `_high`: accuracy minus
          control;
        - `attn_minus_mlp`, `_low`, `_high` (label, layer), where both are there;
        - `chance`, `n_classes`, `n_samples`, `n_instances` (label);
        - `transfer` (label, module, layer, trained_in, tested_in): on instances that were not trained on; NaN for labels
          that don't vary within a language.

    Raises:
        InputError: a label with one class, fewer instances than folds, sizes that don't fit.
    """
    n_folds = check_whole("n_folds", n_folds, 2)
    n_controls = check_whole("n_controls", n_controls, 1)
    confidence, seed = check_confidence(confidence), check_whole("seed", seed, 0)
    if not check_number("strength", strength) > 0:
        raise InputError(f"strength must be greater than 0, got {strength!r}")
    if not len(x) == len(languages) == len(instances) or x.shape[1] != len(modules):
        raise InputError(
            f"activations have the shape {x.shape}; they need a row a sample and a module of {list(modules)}"
        )
    if len(np.unique(instances)) < n_folds:
        raise InputError(f"{len(np.unique(instances))} instances are too few for {n_folds} folds by instance")
    groups = instances if groups is None else np.asarray(groups)
    if len(groups) != len(x) or len(np.unique(groups)) < n_folds:
        raise InputError(f"groups must name {len(x)} samples in at least {n_folds} groups")
    codes = list(dict.fromkeys(map(str, languages)))
    parts = [
        _probe_label(name, x, np.asarray(values).astype(str), languages, instances, groups, codes, list(modules),
                     n_folds, strength, n_controls, confidence, seed)
        for name, values in labels.items()
    ]  # fmt: skip
    data = xr.concat(parts, dim="label", data_vars="all").assign_coords(label=list(labels))
    settings = {"n_folds": n_folds, "strength": strength, "n_controls": n_controls, "confidence": confidence}
    return data.assign_attrs(analysis="linear_probes", seed=seed, languages=", ".join(codes), **settings)


def in_words(data: xr.Dataset, label: str) -> list[str]:
    """Two or three sentences: where the label can be read best, attention against FFN, and across languages.

    Raises:
        InputError: an unknown label.
    """
    _check(data)
    check_choice("label", label, map(str, data["label"].values))
    part = data.sel(label=label)
    module, layer, best = _peak(part["accuracy"])
    place = part.sel(module=module, layer=layer)
    words = [
        f"{label} ({int(part['n_classes'])} classes, chance {float(part['chance']):.0%}) is read best from {module} in layer "
        f"{layer}: {best:.0%} [{float(place['accuracy_low']):.0%}, {float(place['accuracy_high']):.0%}], "
        f"control task {float(place['control']):.0%}."
    ]
    if "attn_minus_mlp" in part:
        low, high = part["attn_minus_mlp_low"], part["attn_minus_mlp_high"]
        attn, mlp = (int(count) for count in ((low > 0).sum(), (high < 0).sum()))
        words.append(
            f"Attention is ahead of FFN in {attn} and FFN ahead of attention in {mlp} of {part.sizes['layer']} layers "
            "(intervals without 0, not corrected for the number of layers)."
        )
    if bool(place["transfer"].notnull().any()) and data.sizes["trained_in"] > 1:
        table = place["transfer"].values
        same = np.eye(len(table), dtype=bool)
        own, other = np.nanmean(table[same]), np.nanmean(table[~same])
        words.append(f"There, trained and tested in one language: {own:.0%}; tested in another one: {other:.0%}.")
    return words


def figure(data: xr.Dataset) -> go.Figure:
    """Accuracy by layer: a panel a label, a line a module, with chance and control tasks.

    Args:
        data: result of `compute` or `probe`.
    """
    _check(data)
    panels = []
    for label in data["label"].values:
        part, lines = data.sel(label=label), []
        layers = part["layer"].values
        for module in part["module"].values:
            own = part.sel(module=module)
            lines.append(
                Line(
                    str(module), layers, own["accuracy"].values, own["accuracy_low"].values, own["accuracy_high"].values
                )
            )
        for module in part["module"].values:
            lines.append(Line("control task", layers, part["control"].sel(module=module).values, faint=True))
        lines.append(Line("chance", layers, np.full(len(layers), float(part["chance"])), faint=True))
        panels.append((f"{label}: {int(part['n_classes'])} classes, {int(part['n_samples'])} prompts", lines))
    return line_grid(
        panels, columns=3, y="share read right", y_range=(0.0, 1.03),
        title=f"Linear probes at the last position: {model_name(data)}".removesuffix(": "),
        subtitle=f"languages: {data.attrs['languages']}; folds by instance; bands: {data.attrs['confidence']:.0%} intervals over "
        "instances; dotted: control tasks; dashed: chance",
    )  # fmt: skip


def transfer_figure(data: xr.Dataset, label: str) -> go.Figure:
    """Accuracy above chance across languages: a panel a module, at the layer where the module transfers best.

    Args:
        data: result of `compute` or `probe`.
        label: one of its labels, which varies within a language.

    Raises:
        InputError: an unknown label, or one with nothing to transfer.
    """
    _check(data)
    check_choice("label", label, map(str, data["label"].values))
    part = data.sel(label=label)
    if not bool(part["transfer"].notnull().any()):
        raise InputError(f"label {label!r} does not vary within a language: there is nothing to transfer")
    panels = []
    for module in part["module"].values:
        own = part["transfer"].sel(module=module)
        layer = int(own.mean(("trained_in", "tested_in")).argmax("layer"))
        values = (own.isel(layer=layer) - part["chance"]).transpose("trained_in", "tested_in")
        counts = xr.full_like(values, int(part["n_instances"]), dtype=int)
        title = f"{module}, layer {int(own['layer'][layer])}"
        panels.append(plots.Panel(title, values, counts, "trained in %{y}, tested in %{x}"))
    drawn = plots.heatmap_grid(
        panels, columns=min(3, len(panels)), unit="", title=f"Probes of {label} across languages", numbers="+.2f",
        signed=any(bool((panel.values < -NOISE).any()) for panel in panels),
        subtitle=f"accuracy minus chance ({float(part['chance']):.0%}), on instances that were not trained on; "
        "the layer was chosen on the same data",
    )  # fmt: skip
    return plots.relabel(drawn, "accuracy minus chance")


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    _check(data)
    names = [str(name) for name in data["label"].values if bool(data["transfer"].sel(label=name).notnull().any())]
    names = names if data.sizes["trained_in"] > 1 else []
    return {"linear_probes": figure(data)} | {f"linear_probes_transfer_{n}": transfer_figure(data, n) for n in names}


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse linear_probes` computes."""
    samples = samples_of(check_pairs(request.pairs, least=MIN_INSTANCES))
    for label in request.labels:
        label_values(label, samples)
    model = request.load_model()
    pairs, _ = request.questions(model)
    return compute(model, pairs, labels=request.labels, cache=open_cache(model, request.activations))


ANALYSIS = Analysis(
    "linear_probes", "What do attention and FFN outputs encode, layer by layer?", "model",
    from_request=from_request, figures=figures, words=words_of_each("label", in_words),
    options=("labels", "activations"),
)  # fmt: skip


def _probe_label(
    name: str, x: np.ndarray, y: np.ndarray, languages: np.ndarray, instances: np.ndarray, groups: np.ndarray, codes: list[str],
    modules: list[str], n_folds: int, strength: float, n_controls: int, confidence: float, seed: int,
) -> xr.Dataset:  # fmt: skip
    """Everything about one label."""
    keep = y != ""
    for value in np.unique(y):
        if len(np.unique(groups[y == value])) < n_folds:
            keep &= y != value
    left_out = sorted(set(y) - set(y[keep]) - {""})
    x, y, languages = x[keep], y[keep], languages[keep]
    if len(np.unique(y)) < 2:
        raise InputError(
            f"label {name!r} has {_count(len(np.unique(y)))} of at least {n_folds} instances "
            f"(too small: {len(left_out)}); a probe needs two: give more languages or instances"
        )
    own, clusters = (np.unique(names[keep], return_inverse=True)[1] for names in (instances, groups))
    fold = folds_by_instance(y, clusters, n_folds, seed)
    n, (n_modules, n_layers) = len(y), x.shape[1:3]
    varies = any(len(set(y[own == k])) > 1 for k in range(own.max() + 1))
    controls = [control_labels(y, own, varies, seed + 1000 * (k + 1)) for k in range(n_controls)]
    correct = np.zeros((n, n_modules * n_layers))
    control = np.zeros_like(correct)
    inside = np.array([len(set(y[languages == code])) > 1 for code in codes])
    transfer = np.full((n_modules * n_layers, len(codes), len(codes)), np.nan)
    for site in range(n_modules * n_layers):
        features = x[:, site // n_layers, site % n_layers]
        correct[:, site] = cross_validated(features, y, fold, strength) == y
        for random in controls:
            control[:, site] += (cross_validated(features, random, fold, strength) == random) / n_controls
        for a in np.flatnonzero(inside):
            seen = languages == codes[a]
            right = cross_validated(features, y, fold, strength, seen) == y
            for b, code in enumerate(codes):
                transfer[site, a, b] = right[languages == code].mean()
    dims, shape = ("module", "layer"), (n_modules, n_layers)
    share = share_interval(correct, clusters, confidence=confidence)
    extra = mean_interval(correct - control, clusters, bounds=DIFFERENCE, confidence=confidence)
    columns = {
        "accuracy": share.mean, "accuracy_low": share.low, "accuracy_high": share.high, "control": control.mean(0),
        "selectivity": extra.mean, "selectivity_low": extra.low, "selectivity_high": extra.high,
    }  # fmt: skip
    data = xr.Dataset(
        {key: (dims, values.reshape(shape)) for key, values in columns.items()},
        coords={"module": modules, "layer": range(n_layers), "trained_in": codes, "tested_in": codes},
    )
    data["transfer"] = ((*dims, "trained_in", "tested_in"), transfer.reshape(*shape, len(codes), len(codes)))
    if {"attn", "mlp"} <= set(modules):
        cube = correct.reshape(n, *shape)
        gap = cube[:, modules.index("attn")] - cube[:, modules.index("mlp")]
        found = mean_interval(gap, clusters, bounds=DIFFERENCE, confidence=confidence)
        for end, values in (("", found.mean), ("_low", found.low), ("_high", found.high)):
            data[f"attn_minus_mlp{end}"] = ("layer", values)
    counts = np.unique(y, return_counts=True)[1]
    return data.assign(
        chance=counts.max() / n, n_classes=len(counts), n_samples=n, n_instances=int(clusters.max()) + 1,
        n_classes_left_out=len(left_out),
    )  # fmt: skip


def _group(sample: Sample) -> str:
    """What must not be torn apart by folds: the instance, or the country where several tasks ask about one."""
    return str(sample.pair.meta.get("country") or sample.instance)


def _label(label: str, sample: Sample) -> str:
    """One sample's label, "" for none."""
    pair = sample.pair
    if label == "language":
        return sample.language
    if label == "task":
        return str(pair.id).rpartition("/")[0]
    if label == "answer":
        if pair.options is None or pair.gold is None:
            return pair.answers[0] if pair.answers else ""
        keys = pair.meta.get("option_keys") or pair.labels or pair.options
        return str(keys[pair.gold])
    if label == "continent" and "continent" not in pair.meta:
        return continent(str(pair.meta.get("country", "")))
    value = pair.meta.get(label)
    return "" if value is None else str(value)


def _count(n: int) -> str:
    return "1 class" if n == 1 else f"{n} classes"


def _peak(values: xr.DataArray) -> tuple[str, int, float]:
    place = values.isel(values.argmax(("module", "layer")))
    return str(place["module"].item()), int(place["layer"]), float(place)
