"""How alike are the two languages' representations of the same question, and does that go with the transplant's gain?

Method: for parallel prompts, per layer and module at the last position: the *cosine* of the two activations (beside that of
prompts that are not parallel); *CKA* with the debiased estimator (Kornblith et al. 2019; Song et al. 2012), which is 0 on average
for unrelated representations however many dimensions they have; *retrieval*: how often the nearest neighbour in the other
language, after each language's mean is taken off, is the same question (both ways; chance is 1 / n). Where a stored run is given,
Spearman's correlation over layers of each measure with the gain of the same-layer transplant, and with the layer's gain as target
and as source. Layers next to each other are alike, so that its p-value comes from shifting one of the two round the layers. This
analysis runs the model; XTransplant (arXiv 2412.12686) puts its gains down to aligned latent spaces.

How to read the figure: a row a direction, a panel a measure, lines are modules. `gain_figure`: alignment against gain, a point a
layer.

What would falsify the claim that alignment makes transplants work: a correlation at or below 0, or one with a large p-value. With
n layers no p-value is below 1 / n, and one model has few layers: a high correlation is a hint, no proof.

>>> rng = np.random.default_rng(0)
>>> a = rng.normal(size=(20, 4))
>>> round(debiased_cka(a, 3 * a[:, ::-1] + 1), 6)
1.0
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float
from scipy.stats import rankdata

from analyses._activations import check_layers_match, check_pairs, check_same_model, read_last
from xtl.analysis import Analysis, Request, words_of_each
from xtl.backend import Model
from xtl.errors import InputError, check_choice, known_keywords
from xtl.models.info import model_info
from xtl.pairs import ParallelPair
from xtl.plots.lines import Line, line_grid
from xtl.results import Maps, as_results, check_computed, model_name, score_unit, with_directions
from xtl.results.axes import diagonal
from xtl.runs.activations import ActivationCache, open_cache
from xtl.stats.examples import MIN_INSTANCES
from xtl.stats.intervals import mean_interval, share_interval

MEASURES = ("cosine", "cka", "retrieval")
ROLES = ("same", "target", "source")
_check = functools.partial(
    check_computed, made_by="analyses.alignment.compute(model, pairs)", holds=["cka", "retrieval"]
)


@known_keywords(name="alignment.compute")
def compute(
    model: Model,
    pairs: Iterable[ParallelPair],
    *,
    results: Maps | None = None,
    modules: Sequence[str] = ("attn", "mlp", "resid"),
    cache: ActivationCache | None = None,
) -> xr.Dataset:
    """Measure how alike parallel prompts are, and correlate it with a run's gains.

    Args:
        model: HookedTransformer or TransformerBridge.
        pairs: of one or several directions.
        results: of the same model and directions (other instances may do); None: no correlation.
        modules: names of `xtl.hooks.MODULES`.
        cache: of activations; None: this call alone.

    Returns:
        As `align` for each direction (dim `direction` first), with `rho`, `p` (direction, module, measure, role) and
        `gain` (direction, module, role, layer) if there are results; NaN for modules and layers that they lack.

    Raises:
        InputError: fewer than 5 instances in a direction, results of another model or without these directions.
    """
    pairs = check_pairs(pairs, least=MIN_INSTANCES)
    if results is not None:
        results = as_results(results)
        check_same_model(results, model)
        check_layers_match(results, model.cfg.n_layers)
        results = with_directions(results)
    cache = cache or ActivationCache(model_info(model).name)
    names = list(dict.fromkeys(pair.direction for pair in pairs))
    parts = []
    for name in names:
        own = [pair for pair in pairs if pair.direction == name]
        sides = [
            read_last(model, [getattr(p, side) for p in own], modules, cache=cache) for side in ("source", "target")
        ]
        part = align(*sides, modules=modules)
        if results is not None:
            part = part.merge(_correlate(part, results, name))
        parts.append(part)
    data = xr.concat(parts, dim="direction", data_vars="all").assign_coords(direction=names)
    unit = "nats" if results is None else score_unit(results)
    return data.assign_attrs(analysis="alignment", model=model_info(model).name, score_unit=unit)


def align(
    source: Float[np.ndarray, "example module layer d_model"],
    target: Float[np.ndarray, "example module layer d_model"],
    *,
    modules: Sequence[str],
) -> xr.Dataset:
    """Cosine, debiased CKA and retrieval of parallel activations.

    Args:
        source, target: row k of both is the same question.
        modules: names of the axis `module`.

    Returns:
        Dataset (module, layer): `cosine` with `_low`, `_high`; `cosine_unrelated` (prompts that are not parallel); `cka`;
        `retrieval` with `_low`, `_high`; `n`, and `chance`, that of retrieval.

    Raises:
        InputError: fewer than 5 examples, or sides of different shapes.
    """
    n = len(source)
    if source.shape != target.shape or source.shape[1] != len(modules):
        raise InputError(f"source and target must have the same shape; got {source.shape} and {target.shape}")
    if n < MIN_INSTANCES:
        raise InputError(f"{n} parallel prompts are too few: at least {MIN_INSTANCES}")
    shape, clusters = source.shape[1:3], np.arange(n)
    columns = {name: np.full(shape, np.nan) for name in ("cosine_unrelated", "cka")}
    cosines, found = np.zeros((n, *shape)), np.zeros((n, *shape))
    for m, layer in np.ndindex(*shape):
        a, b = source[:, m, layer].astype(float), target[:, m, layer].astype(float)
        table = cosine_table(a, b)
        cosines[:, m, layer] = np.diag(table)
        columns["cosine_unrelated"][m, layer] = table[~np.eye(n, dtype=bool)].mean()
        columns["cka"][m, layer] = debiased_cka(a, b)
        found[:, m, layer] = retrieved(a, b)
    data = xr.Dataset(
        {name: (("module", "layer"), values) for name, values in columns.items()},
        coords={"module": list(modules), "layer": range(shape[1])},
    )
    intervals = {
        "cosine": mean_interval(cosines.reshape(n, -1), clusters, bounds=(-1.0, 1.0)),
        "retrieval": share_interval(found.reshape(n, -1), clusters),
    }
    for name, ends in intervals.items():
        for end, values in (("", ends.mean), ("_low", ends.low), ("_high", ends.high)):
            data[name + end] = (("module", "layer"), values.reshape(shape))
    return data.assign(n=n, chance=1 / n)


def cosine_table(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """Cosine of every row of `a` with every row of `b`; 0 for a row of zeros."""
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30) for x in (a, b)]
    return np.asarray(unit[0] @ unit[1].T)


def debiased_cka(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n e"]) -> float:
    """Linear centred kernel alignment with the unbiased estimator of HSIC; 1 for equal up to rotation and scale, 0 on average for
    unrelated ones (below 0 by chance). NaN where a side doesn't vary. Needs at least 4 rows.
    """
    inner, left, right = _hsic(a @ a.T, b @ b.T), _hsic(a @ a.T, a @ a.T), _hsic(b @ b.T, b @ b.T)
    return float(inner / np.sqrt(left * right)) if left > 0 and right > 0 else float("nan")


def retrieved(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """How often the nearest neighbour is the parallel one: 0, 0.5 or 1 a question, the mean of both ways; ties don't count."""
    table = cosine_table(a - a.mean(0), b - b.mean(0))
    own = np.diag(table)
    rest = np.where(np.eye(len(table), dtype=bool), -np.inf, table)
    return np.asarray(((own > rest.max(1)).astype(float) + (own > rest.max(0))) / 2)


def shift_test(x: Float[np.ndarray, " layer"], y: Float[np.ndarray, " layer"]) -> tuple[float, float]:
    """Spearman's correlation over layers, and the share of all circular shifts of `y` with one at least as large (two-sided).

    >>> rho, p = shift_test(np.array([1.0, 2.0, 4.0, 3.0, 5.0]), np.array([2.0, 4.0, 8.0, 6.0, 9.0]))
    >>> round(rho, 3), round(p, 3)
    (1.0, 0.2)
    """
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    a, b = rankdata(x), rankdata(y)
    found = np.array([np.corrcoef(a, np.roll(b, k))[0, 1] for k in range(len(x))])
    return float(found[0]), float(np.mean(np.abs(found) >= abs(found[0]) - 1e-9))


def in_words(data: xr.Dataset, direction: str) -> list[str]:
    """Two or three sentences: where the languages are most alike, and whether that goes with the gain.

    Raises:
        InputError: an unknown direction.
    """
    _check(data)
    check_choice("direction", direction, map(str, data["direction"].values))
    part = data.sel(direction=direction)
    words = []
    for module in part["module"].values:
        own = part.sel(module=module)
        best = own.isel(layer=int(np.argmax(own["retrieval"].values)))
        words.append(
            f"{module}: retrieval is highest in layer {int(best['layer'])}, {float(best['retrieval']):.0%} "
            f"(chance {float(own['chance']):.0%}, n = {int(own['n'])}); CKA there {float(best['cka']):.2f}."
        )
    if "rho" in part:
        for module in part["module"].values:
            rho, p = (part[name].sel(module=module, measure="cka", role="same") for name in ("rho", "p"))
            if np.isfinite(rho):
                words.append(
                    f"{module}: CKA and same-layer gain, rank correlation over layers {float(rho):+.2f} (p = {float(p):.2f})."
                )
    return words


def figure(data: xr.Dataset) -> go.Figure:
    """Alignment by layer: a row a direction, a panel a measure, a line a module.

    Args:
        data: result of `compute`.
    """
    _check(data)
    panels = []
    for direction in data["direction"].values:
        part = data.sel(direction=direction)
        layers = part["layer"].values
        for measure in MEASURES:
            lines = []
            for module in part["module"].values:
                own = part.sel(module=module)
                ends = (
                    [own[f"{measure}{end}"].values for end in ("_low", "_high")] if measure != "cka" else [None, None]
                )
                lines.append(Line(str(module), layers, own[measure].values, *ends))
                if measure == "cosine":
                    lines.append(Line("not parallel", layers, own["cosine_unrelated"].values, faint=True))
            if measure == "retrieval":
                lines.append(Line("chance", layers, np.full(len(layers), float(part["chance"])), faint=True))
            panels.append((f"{direction}: {measure} (n = {int(part['n'])})", lines))
    return line_grid(
        panels, columns=3, y="alignment", title=f"How alike parallel prompts are: {model_name(data)}", y_range=(-0.15, 1.05),
        subtitle="activations at the last position; cosine (dotted: prompts that are not parallel), debiased CKA, retrieval of "
        "the same question in the other language (dashed: chance); bands: 95% intervals",
    )  # fmt: skip


def gain_figure(data: xr.Dataset) -> go.Figure:
    """Alignment against the gain of same-layer transplants, a point a layer: a row a direction, a panel a module.

    Args:
        data: result of `compute` with results.

    Raises:
        InputError: data without gains.
    """
    _check(data)
    if "rho" not in data:
        raise InputError("these data have no gains: give compute the results of a run")
    panels = []
    for direction in data["direction"].values:
        for module in data["module"].values:
            part = data.sel(direction=direction, module=module)
            gain = part["gain"].sel(role="same").values
            if not np.isfinite(gain).any():
                continue
            lines = []
            for measure in MEASURES:
                order = np.argsort(part[measure].values)
                lines.append(Line(measure, part[measure].values[order], gain[order]))
            rho = ", ".join(f"{m} {_signed(float(part['rho'].sel(measure=m, role='same')))}" for m in MEASURES)
            panels.append((f"{direction}, {module}\nρ: {rho.replace('-', '−')}", lines))
    if not panels:
        raise InputError("these data have no same-layer gain of any module: the run was of other modules or layers")
    figure = line_grid(
        panels, columns=max(1, len(panels) // data.sizes["direction"]), x="alignment", zero=True, shared="none",
        y=f"same-layer gain ({data.attrs['score_unit']})", title=f"Alignment and gain over layers: {model_name(data)}",
        subtitle="a point a layer; ρ: rank correlation over layers; each panel has a scale of its own",
    )  # fmt: skip
    return figure.update_traces(mode="markers").update_xaxes(range=[-0.15, 1.05])


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    _check(data)
    gains = "gain" in data and bool(np.isfinite(data["gain"].sel(role="same")).any())
    return {"alignment": figure(data)} | ({"alignment_gain": gain_figure(data)} if gains else {})


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse alignment` computes."""
    results = request.open_run() if request.runs else None
    model = request.load_model()
    pairs, _ = request.questions(model)
    return compute(model, pairs, results=results, cache=open_cache(model, request.activations))


ANALYSIS = Analysis(
    "alignment", "How alike are two languages' representations, and does the gain follow?", "model",
    from_request=from_request, figures=figures, words=words_of_each("direction", in_words),
    options=("run", "activations"),
)  # fmt: skip


def _correlate(part: xr.Dataset, results: xr.Dataset, direction: str) -> xr.Dataset:
    """Gains of a run by layer and role, and their correlations with the measures."""
    labels = results["direction"].values
    check_choice("direction", direction, dict.fromkeys(map(str, labels)))
    own = results["gain"].isel(example=np.flatnonzero(labels == direction)).astype(float).mean("example")
    by_role = {
        "same": diagonal(own),
        "target": own.mean("source_layer").rename(target_layer="layer"),
        "source": own.mean("target_layer").rename(source_layer="layer"),
    }
    aligned = [
        by_role[role].reindex(module=part["module"], layer=part["layer"]).drop_vars("direction", errors="ignore")
        for role in ROLES
    ]
    gain = xr.concat(aligned, dim="role").assign_coords(role=list(ROLES))
    found = np.full((2, part.sizes["module"], len(MEASURES), len(ROLES)), np.nan)
    for m, module in enumerate(part["module"].values):
        for k, measure in enumerate(MEASURES):
            for r, role in enumerate(ROLES):
                x, y = part[measure].sel(module=module).values, gain.sel(module=module, role=role).values
                there = np.isfinite(x) & np.isfinite(y)
                found[:, m, k, r] = shift_test(x[there], y[there])
    dims = ("module", "measure", "role")
    coords = {"measure": list(MEASURES), "role": list(ROLES)}
    return xr.Dataset({"rho": (dims, found[0]), "p": (dims, found[1]), "gain": gain}, coords=coords)


def _signed(value: float) -> str:
    return f"{value:+.2f}" if np.isfinite(value) else "–"


def _hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Unbiased estimator of the Hilbert-Schmidt independence criterion of two kernel matrices (up to a constant factor)."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    both = (k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k.sum(0) @ l.sum(0)) / (n - 2)
    return float(both)
