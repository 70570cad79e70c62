"""`sweep`: the map of one pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.engines import ENGINES, resolve_engine
from xtl.engine.label import label_answers, label_scores
from xtl.engine.lengths import engine_for
from xtl.engine.plan import Cell, Generated, Plan
from xtl.engine.prepare import Sweep, prepare
from xtl.engine.verify import verify_answers, verify_scores
from xtl.errors import InputError, ModelError, Whole, known_keywords
from xtl.layers import Layers
from xtl.pairs import ParallelPair, Prompt, check_question
from xtl.scoring.likelihood import MixedOptions
from xtl.scoring.text import TextScore
from xtl.transplants import check_source_and_target

Progress = Callable[[int, int], None]
"""Called with (cells done, cells in all)."""


@dataclass(frozen=True)
class Outputs:
    """What an engine gives for a plan, before it is scored: log-probabilities or answers. First vanilla, then the plan's cells.

    Attributes:
        logprobs: of the continuations, on the CPU; None where answers are generated.
        answers: what was generated; None where continuations are scored.
        n_verified: cells that the loop computed again.
        largest_difference: of those cells from the loop's.
    """

    logprobs: Float[Tensor, "runs continuation"] | None = None
    answers: Sequence[Generated] | None = None
    n_verified: int = 0
    largest_difference: float = 0.0


@known_keywords()
@torch.no_grad()
def sweep(
    model: Model,
    pair: ParallelPair | None = None,
    *,
    source: Prompt | None = None,
    target: Prompt | None = None,
    options: Sequence[str] | None = None,
    gold: Whole | None = None,
    answer: str | None = None,
    modules: Sequence[str] = ("attn", "mlp"),
    source_layers: Layers | None = None,
    target_layers: Layers | None = None,
    max_new_tokens: Whole | None = None,
    text_score: TextScore | None = None,
    normalise: str = "none",
    steps: str = "first",
    engine: str = "auto",
    verify: Whole = 1,
    chunk_size: Whole | str = "auto",
    activations: Mapping[tuple[str, int], Float[Tensor, " d_model"]] | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """The map of one pair: what comes of every transplant, and what it gains over vanilla.

    Scores options or an answer by likelihood; with `max_new_tokens` the model answers greedily under every transplant instead.

    Args:
        model: from `xtl.load_model`, or any HookedTransformer or TransformerBridge.
        pair: a `ParallelPair`, instead of `source`, `target`, `options`, `gold` and `answer`.
        source: prompt whose activations are read; text or token ids.
        target: prompt into which they are written, one at a time; text or token ids.
        options: strings that continue the target prompt; scores the log-probability of the gold one among them.
        gold: index of the right option.
        answer: a string that continues the target prompt, instead of options; scores its log-probability.
        modules: names from `xtl.hooks.MODULES`.
        source_layers: layers to read, from 0 (negative: from the end), a list, an array or a text ("0-5", see `xtl.layers`); all
            by default.
        target_layers: layers to write, in the same form; all by default.
        max_new_tokens: generate an answer of at most so many tokens in every cell (the paper: 20); None scores by likelihood.
        text_score: how to score the generated answers (see `xtl.scoring.text`); None leaves them unscored.
        normalise: what likelihood is divided by: "none", "token" (the tokens of each option, or of the answer) or "byte" (its
            UTF-8 bytes). A sum over tokens favours short options (see docs/scoring.md).
        steps: "first" patches the pass over the prompt alone (the paper's rule); "every" also the tokens after it.
        engine: "packed" (all cells at once), "batched" (cells as a batch), "loop" (one `run_with_hooks` a cell), or "auto": the
            first of these that can run the model. All are exact. The result's attributes say which it was.
        verify: number of cells, drawn at random, that are computed again by the loop and must agree; 0 for none. The result's
            attributes hold the largest difference.
        chunk_size: cells at a time; "auto" keeps their activations under half a GB. Where memory runs
            out all the same, the chunk is halved and a warning says so.
        activations: write these instead of what the source prompt gives, by module name and (0-based) source layer.
        progress: called after each cell with (cells done, cells in all).

    Returns:
        A Dataset with dims `module, source_layer, target_layer`. By likelihood: `score` and `gain` (float32, nats), `correct`
        (bool, with options; a tie is not right), the scalars `vanilla_score` and `vanilla_correct`. With `normalise` also the
        same (but `gain`) of none and of each normalisation: `score_raw`, `score_per_token`, `correct_raw`, ... The coord
        `options` is JSON that says of each option its tokens, its bytes and whether it was tokenised alone. For a pair with a
        `distribution` also `similarity` and `vanilla_similarity` (1 - Jensen-Shannon distance of the options' probabilities from
        it). Generated: `text`, `tokens` (int32, with a dim `step`; -1 after the end), `vanilla_text`, `vanilla_tokens`, and with
        `text_score` also `score`, `gain` (from 0 to 1) and `correct`. Coords for languages, prompts and gold; attributes that say
        model, backend, engine, score and versions.

    Raises:
        InputError: an unknown module or engine, a layer out of range, bad prompts or options (see `ParallelPair`).
        ModelError: the model gives NaN or infinite logits (the message names the cell), or the check by `verify` fails.

    Example:
        >>> import xtl
        >>> model = xtl.load_model()  # doctest: +SKIP
        >>> result = xtl.sweep(  # doctest: +SKIP
        ...     model,
        ...     source="Country: France. Capital:",
        ...     target="País: Francia. Capital:",
        ...     options=[" París", " Roma", " Lima"], gold=0,
        ...     modules=["attn"], source_layers=[12], target_layers=[12, 13],
        ... )
        >>> result.gain.sel(module="attn", source_layer=12, target_layer=13)  # doctest: +SKIP
    """
    pair = _as_pair(pair, source, target, options, gold, answer)
    engine = resolve_engine(model, engine)
    prepared = prepare(
        model,
        pair,
        modules=modules,
        source_layers=source_layers,
        target_layers=target_layers,
        max_new_tokens=max_new_tokens,
        text_score=text_score,
        normalise=normalise,
        steps=steps,
        verify=verify,
        chunk_size=chunk_size,
        activations=activations,
    )
    if prepared.question is not None:
        mixed = MixedOptions()
        mixed.add(prepared.question.mixed)
        mixed.warn()
    return run(model, prepared, engine, progress)


def run(model: Model, sweep: Sweep, engine: str, progress: Progress | None = None) -> xr.Dataset:
    """Run a prepared sweep on an engine (a name from `ENGINES`), check some of its cells and label the result.

    Where that engine is not exact at the lengths of these texts, the next one runs it (`xtl.engine.lengths`).
    """
    engine = engine_for(model, sweep.plan, engine)
    return label(model, sweep, compute(model, sweep, engine, progress), engine)


@torch.no_grad()
def compute(model: Model, sweep: Sweep, engine: str, progress: Progress | None = None) -> Outputs:
    """What an engine (a name from `ENGINES`) gives for a prepared sweep, some of its cells checked."""
    plan = sweep.plan
    n_checked = 0 if engine == "loop" else min(sweep.verify, plan.n_cells)
    done = 0

    def count(cell: Cell | None, finite: bool) -> None:
        nonlocal done
        if not finite:
            bad = cell if engine == "loop" else _first_not_finite(model, plan, cell)
            raise ModelError(
                f"{f'cell {bad}' if bad else 'vanilla'}: the model's logits are NaN or infinite; try dtype='float32'"
            )
        if progress is not None:
            progress(done, plan.n_cells)
        done += 1

    difference = 0.0
    if sweep.question is not None:
        logprobs: list[Float[Tensor, " continuation"]] = []
        for cell, values in ENGINES[engine].score(model, plan):
            count(cell, bool(torch.isfinite(values).all()))
            logprobs.append(values)
        table = torch.stack(logprobs)
        if n_checked:
            difference = verify_scores(model, plan, sweep.question, table, n_checked)
        return Outputs(table, None, n_checked, difference)
    answers: list[Generated] = []
    for cell, generated in ENGINES[engine].generate(model, plan):
        count(cell, generated.finite)
        answers.append(generated)
    if n_checked:
        difference = verify_answers(model, plan, answers, n_checked)
    return Outputs(None, answers, n_checked, difference)


def label(model: Model, sweep: Sweep, outputs: Outputs, engine: str) -> xr.Dataset:
    """The scored and labelled result of an engine's outputs."""
    if outputs.logprobs is not None:
        result = label_scores(model, sweep, outputs.logprobs, engine)
    else:
        result = label_answers(model, sweep, outputs.answers or (), engine)
    if outputs.n_verified:
        result.attrs |= {
            "verified_cells": outputs.n_verified,
            "verified_largest_difference": outputs.largest_difference,
        }
    return result


def _first_not_finite(model: Model, plan: Plan, found: Cell | None) -> Cell | None:
    """The first run whose logits are no numbers, by the loop; None is vanilla.

    Cells that are computed together can hand a NaN on, even at a weight of 0: then `found`, where it was seen, may be another.
    """
    loop = ENGINES["loop"]
    runs = (
        ((cell, answer.finite) for cell, answer in loop.generate(model, plan))
        if plan.max_new_tokens
        else ((cell, bool(torch.isfinite(values).all())) for cell, values in loop.score(model, plan))
    )
    return next((cell for cell, finite in runs if not finite), found)


def _as_pair(
    pair: ParallelPair | None,
    source: Prompt | None,
    target: Prompt | None,
    options: Sequence[str] | None,
    gold: Whole | None,
    answer: str | None,
) -> ParallelPair:
    if isinstance(pair, Iterable) and not isinstance(pair, str):
        raise InputError(
            f"sweep takes one pair, got a {type(pair).__name__}; xtl.sweep_many(model, pairs) takes several"
        )
    source, target = check_source_and_target(pair, source, target)
    if pair is None:
        check_question(options, gold, answer)
        return ParallelPair(source, target, options=options, gold=gold, answer=answer)
    if not (options is None and gold is None and answer is None):
        raise InputError("give a pair, or options, gold and answer, not both")
    return pair
