"""Does a transplant do better than what a user would do instead?

Method: the same questions, answered in seven ways: as they are (*vanilla*); with one fixed transplant (XTransplant, arXiv
2412.12686); with the same transplant from another question (*shuffled*, a control); asked *in the source language*, with its
options; with *both languages* in one prompt, the source's question first (translate-then-ask with a perfect translation); with
*few-shot* examples in the target language; and *steered*: the mean difference of the residual streams of source and target
prompts, taken over the other questions, is added at the transplant's target layer. All are scored by the likelihood of the
options. Beside accuracy stands the cost: prompt tokens that the model reads for one question, and forward passes. This analysis
runs the model.

How to read the figure: left, right answers with their intervals; middle, the gain in score over vanilla on the same questions
(paired; its intervals need 29 questions); right, the cost in tokens. The cell must have been chosen on other questions.

What would falsify the claim that transplants are of use: a row with no more tokens and passes whose interval lies right of the
transplant's; that they lend *this question's* knowledge: a shuffled row as good as the transplant's.

>>> compute(model, pairs, back=back, cell=("attn", 12, 13))  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from torch import Tensor

from analyses._activations import check_cell, check_pairs, in_source_language
from analyses._learned import LEARNED, Questions, counted
from xtl.analysis import Analysis, Request
from xtl.backend import Model
from xtl.engine import sweep
from xtl.errors import InputError, check_whole, known_keywords
from xtl.hooks import get_modules
from xtl.layers import Layers, check_layers
from xtl.models.info import model_info
from xtl.models.state import check_model
from xtl.pairs import ParallelPair
from xtl.plots.forest import Estimate, forest
from xtl.results import check_computed, model_name
from xtl.stats.examples import MIN_INSTANCES
from xtl.stats.intervals import mean_interval, share_interval
from xtl.tokens import encode
from xtl.transplants import read_activations

STRATEGIES = {
    "vanilla": "as it is",
    "transplant": "transplant",
    "shuffled": "transplant, another question",
    "source language": "asked in the source language",
    "both languages": "both languages in the prompt",
    "few-shot": "few-shot, target language",
    "steered": "steered by the mean difference",
}
"""What is compared, and how a figure calls it."""
NAMES = STRATEGIES | LEARNED
"""The same with what is learned on other questions (`folds`)."""
_check = functools.partial(
    check_computed, made_by="analyses.effectiveness.compute(model, pairs, ...)", holds=["correct", "passes"]
)


@contextlib.contextmanager
def _warned_once() -> Iterator[None]:
    """While it lasts warnings wait; then each kind comes once, with how often it came: one of every example is too many."""
    with warnings.catch_warnings(record=True) as caught:
        yield
    kinds = Counter((one.category, one.filename, one.lineno) for one in caught)
    for one in caught:
        if times := kinds.pop((one.category, one.filename, one.lineno), 0):
            warnings.warn(
                f"{one.message} (said {times} times)" if times > 1 else one.message, one.category, stacklevel=3
            )


@known_keywords(name="effectiveness.compute")
@_warned_once()
def compute(
    model: Model,
    pairs: Iterable[ParallelPair],
    *,
    back: Iterable[ParallelPair],
    cell: tuple[str, int, int],
    shots: int = 3,
    separator: str = "\n",
    folds: int | None = None,
    alphas: Sequence[float] = (0.25, 0.5, 1.0, 2.0),
    learned_layers: Layers | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Answer every question in every way.

    Args:
        model: HookedTransformer or TransformerBridge.
        pairs: with options, of one or several directions; at least 5 instances in each.
        back: the pairs of the opposite directions, whose options are in the source language.
        cell: the transplant, chosen on other instances: module, source layer, target layer.
        shots: examples of the few-shot prompt: the questions that follow in the list, with their answers.
        separator: between the parts of prompts that are put together.
        folds: also answer with what is learned on other questions, in so many folds: the *mean difference* and the *linear map*
            (least squares, INCLINE, arXiv 2410.12462), each with layer and alpha chosen on other questions too; at least 2. None
            leaves them out.
        alphas: shares of the way that they may go.
        learned_layers: layers after which they may move the residual stream; all by default.
        seed: of the folds.

    Returns:
        Dataset (example, strategy): `score` (nats, log-probability of the gold option among the options), `correct` (bool),
        `tokens` (prompt tokens read), `passes` (strategy): forward passes over prompts. With `folds` the attribute `learned` says
        what was chosen, by direction, as JSON.

    Raises:
        InputError: no options, prompts that are no texts, fewer than 5 instances in a direction (with `folds`, fewer than 4
            to learn on), a bad cell, too many shots or folds, no alphas.
    """
    check_model(model)
    shots = check_whole("shots", shots, 1)
    folds = None if folds is None else check_whole("folds", folds, 2)
    seed = check_whole("seed", seed, 0)
    if not len(alphas) or not all(isinstance(alpha, (int, float)) and math.isfinite(alpha) for alpha in alphas):
        raise InputError(f"alphas must be numbers, at least one, got {alphas!r}")
    layers = check_layers("learned_layers", learned_layers, model.cfg.n_layers)
    pairs = check_pairs(pairs, least=MIN_INSTANCES, options=True)
    matched = in_source_language(pairs, back)
    cell = check_cell(model, cell)
    rows: list[dict[str, tuple[float, bool, int]]] = []
    ordered: list[ParallelPair] = []
    learned: dict[str, dict[str, dict[str, int]]] = {}
    for direction in dict.fromkeys(pair.direction for pair in pairs):
        own = [pair for pair in pairs if pair.direction == direction]
        if len(own) < max(MIN_INSTANCES, shots + 1):
            raise InputError(
                f"{direction} has {len(own)} instances: at least {max(MIN_INSTANCES, shots + 1)} are needed (shots={shots})"
            )
        if (folds is not None and len(own) - -(-len(own) // folds) < 4) or (folds or 0) > len(own):
            raise InputError(
                f"folds={folds} leaves too few of {direction}'s {len(own)} instances to learn on: at least 4 are needed"
            )
        for pair in own:
            if not isinstance(pair.source, str) or not isinstance(pair.target, str):
                raise InputError(f"{pair.id}: prompts must be texts here, to be put together")
        streams = [[_stream(model, prompt, cell[2]) for prompt in (pair.source, pair.target)] for pair in own]
        gaps = torch.stack([source - target for source, target in streams])
        for k, pair in enumerate(own):
            others = [own[(k + shift) % len(own)] for shift in range(1, shots + 1)]
            mean = (gaps.sum(0) - gaps[k]) / (len(own) - 1)
            rows.append(
                _answers(model, pair, matched[str(pair.id), direction], cell, others, streams[k][1] + mean, separator)
            )
            ordered.append(pair)
        if folds is not None:
            answers = Questions(model, own, layers, alphas).held_out(folds, seed)
            learned[direction] = counted(answers)
            for pair, row, by in zip(own, rows[-len(own) :], answers, strict=True):
                n_tokens = len(encode(model, pair.target))
                row |= {name: (answer.score, answer.correct, n_tokens) for name, answer in by.items()}
    names = list(NAMES if folds is not None else STRATEGIES)
    passes = [2 if name in ("transplant", "shuffled") else 1 for name in names]
    columns = {
        name: [[row[s][k] for s in names] for row in rows] for k, name in enumerate(("score", "correct", "tokens"))
    }
    return xr.Dataset(
        {name: (("example", "strategy"), np.array(values)) for name, values in columns.items()}
        | {"passes": ("strategy", passes)},
        coords={
            "example": [str(pair.id) for pair in ordered], "strategy": names,
            "direction": ("example", [pair.direction for pair in ordered]),
        },
        attrs={
            "analysis": "effectiveness", "model": model_info(model).name, "cell": f"{cell[0]} {cell[1]} -> {cell[2]}",
            "shots": shots, "score_unit": "nats",
            **({"folds": folds, "learned": json.dumps(learned)} if folds is not None else {}),
        },
    )  # fmt: skip


def table(data: xr.Dataset) -> pd.DataFrame:
    """A row a direction and strategy: accuracy and gain over vanilla with 95% intervals, and the cost.

    Args:
        data: result of `compute`.

    Returns:
        Columns `direction`, `strategy`, `n`, `accuracy`, `accuracy_low`, `accuracy_high`, `gain`, `gain_low`, `gain_high`
        (nats, paired; ends NaN for fewer than 29 questions), `tokens` (mean), `passes`.
    """
    _check(data)
    rows = []
    for direction in dict.fromkeys(map(str, data["direction"].values)):
        part = data.isel(example=np.flatnonzero(data["direction"].values == direction))
        clusters = np.arange(part.sizes["example"])
        share = share_interval(part["correct"].values.astype(float), clusters)
        gain = mean_interval(
            part["score"].values - part["score"].sel(strategy=["vanilla"]).values, clusters, n_resamples=2000
        )
        for k, name in enumerate(part["strategy"].values):
            rows.append(
                {"direction": direction, "strategy": str(name), "n": len(clusters), "accuracy": share.mean[k],
                 "accuracy_low": share.low[k], "accuracy_high": share.high[k], "gain": gain.mean[k], "gain_low": gain.low[k],
                 "gain_high": gain.high[k], "tokens": float(part["tokens"].values[:, k].mean()),
                 "passes": int(part["passes"].values[k])}
            )  # fmt: skip
    return pd.DataFrame(rows)


def in_words(data: xr.Dataset, direction: str | None = None) -> list[str]:
    """A sentence a direction: the transplant against vanilla, its control, and the best of the other ways."""
    rows = table(data)
    words = []
    for name, part in rows.groupby("direction", sort=False):
        if direction is not None and name != direction:
            continue
        by = part.set_index("strategy")
        rest = by.drop(index=["vanilla", "transplant", "shuffled"])["accuracy"]
        best = str(rest.idxmax())
        right, tokens = by["accuracy"], by["tokens"]
        words.append(
            f"{name} (n = {by['n'].iloc[0]}): right {right['vanilla']:.0%} vanilla, {right['transplant']:.0%} with "
            f"{data.attrs['cell']}, {right['shuffled']:.0%} from another question; the best other way is "
            f"{NAMES[best]}, {rest.max():.0%} ({tokens[best]:.0f} tokens, the transplant {tokens['transplant']:.0f})."
        )
    if not words:
        raise InputError(f"unknown direction {direction!r}; valid: {', '.join(dict.fromkeys(rows['direction']))}")
    return words


def figure(data: xr.Dataset) -> go.Figure:
    """Right answers, gain over vanilla and cost of every strategy; a series a direction.

    Args:
        data: result of `compute`.
    """
    rows = table(data)
    panels = []
    for what, title in (
        ("accuracy", "right answers"),
        ("gain", "gain over vanilla (nats)"),
        ("tokens", "prompt tokens read"),
    ):
        points = []
        for row in rows.to_dict("records"):
            passes = "2 passes" if row["passes"] == 2 else "1 pass"
            name, series = f"{NAMES[str(row['strategy'])]}, {passes}", f"{row['direction']} (n = {row['n']})"
            ends = (float(row.get(f"{what}{end}", np.nan)) for end in ("", "_low", "_high"))
            points.append(Estimate(name, series, *ends))
        panels.append((title, points))
    drawn = forest(
        panels, x="", zero=False, title=f"A transplant against what else one could do: {model_name(data)}",
        subtitle=f"transplant: {data.attrs['cell']}; few-shot: {data.attrs['shots']} examples; tokens: read from prompts for one "
        "question, mean; a pass is one forward pass over a prompt; 95% intervals over questions",
    )  # fmt: skip
    drawn.add_vline(x=0, line={"color": "#666666", "width": 1}, row=1, col=2)
    return drawn.update_xaxes(rangemode="tozero", row=1, col=3)


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    return {"effectiveness": figure(data)}


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse effectiveness` computes."""
    model = request.load_model()
    pairs, back = request.questions(model)
    return compute(model, pairs, back=back, **request.given("cell"))


ANALYSIS = Analysis(
    "effectiveness", "Is a transplant better than what one could do instead?", "model",
    from_request=from_request, figures=figures, words=in_words,
    options=("cell",), needed=("cell",),
)  # fmt: skip


def _answers(
    model: Model, pair: ParallelPair, back: ParallelPair, cell: tuple[str, int, int], others: list[ParallelPair], steered: Tensor,
    separator: str,
) -> dict[str, tuple[float, bool, int]]:  # fmt: skip
    """Score, right or wrong, and prompt tokens of each strategy."""
    layers: dict[str, Any] = {"modules": [cell[0]], "source_layers": [cell[1]], "target_layers": [cell[2]], "verify": 0}
    length = {side: len(encode(model, getattr(pair, side))) for side in ("source", "target")}
    real = sweep(model, pair, **layers)
    found = {
        "vanilla": _plain(real, length["target"]),
        "transplant": _patched(real, length["source"] + length["target"]),
    }
    shuffled = sweep(model, replace(pair, source=others[0].source), **layers)
    found["shuffled"] = _patched(shuffled, len(encode(model, others[0].source)) + length["target"])
    shown = separator.join([*(f"{other.target}{_gold(other)}" for other in others), str(pair.target)])
    prompts = {
        "source language": replace(back, source=str(pair.source), target=str(pair.source)),
        "both languages": replace(pair, target=f"{pair.source}{separator}{pair.target}"),
        "few-shot": replace(pair, target=shown),
    }
    for name, asked in prompts.items():
        found[name] = _plain(sweep(model, asked, **layers), len(encode(model, asked.target)))
    written: Mapping[tuple[str, int], Tensor] = {("resid", cell[2]): steered}
    steer = sweep(
        model, pair, modules=["resid"], source_layers=[cell[2]], target_layers=[cell[2]], verify=0, activations=written
    )
    found["steered"] = _patched(steer, length["target"])
    return found


def _plain(result: xr.Dataset, tokens: int) -> tuple[float, bool, int]:
    return float(result["vanilla_score"]), bool(result["vanilla_correct"]), tokens


def _patched(result: xr.Dataset, tokens: int) -> tuple[float, bool, int]:
    return float(result["score"].values.item()), bool(result["correct"].values.item()), tokens


def _gold(pair: ParallelPair) -> str:
    assert pair.options is not None
    assert pair.gold is not None
    return pair.options[pair.gold]


def _stream(model: Model, prompt: Any, layer: int) -> Tensor:
    """The residual stream after a layer at a prompt's last position."""
    return read_activations(model, encode(model, prompt), get_modules(["resid"]), [layer])["resid", layer]
