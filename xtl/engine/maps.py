"""`sweep`: run a pair's plan on an engine and label the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, backend_name, check_fits, check_hooks_exist, check_model, encode, model_info
from xtl.engine.loop import run_loop
from xtl.engine.packed import run_packed
from xtl.engine.packed_attention import why_not_packable
from xtl.engine.plan import Cell, Plan
from xtl.engine.verify import verify_cells
from xtl.errors import InputError, ModelError, check_choice, check_layer
from xtl.hooks import get_modules
from xtl.pairs import ParallelPair, Prompt, check_prompt, check_question
from xtl.scoring.likelihood import UNIT, Question, prepare_question
from xtl.transplants import check_source_and_target

Engine = Callable[[Model, Plan], Iterator[tuple[Cell | None, Float[Tensor, " continuation"]]]]
"""Yields the continuations' log-probabilities for vanilla (None, first) and then for every cell, in the plan's order."""

ENGINES: dict[str, Engine] = {"packed": run_packed, "loop": run_loop}

Progress = Callable[[int, int], None]
"""Called with (cells done, cells in all)."""


@torch.no_grad()
def sweep(
    model: Model,
    pair: ParallelPair | None = None,
    *,
    source: Prompt | None = None,
    target: Prompt | None = None,
    options: Sequence[str] | None = None,
    gold: int | None = None,
    answer: str | None = None,
    modules: Sequence[str] = ("attn", "mlp"),
    source_layers: Sequence[int] | None = None,
    target_layers: Sequence[int] | None = None,
    engine: str = "auto",
    verify: int = 1,
    chunk_size: int | str = "auto",
    progress: Progress | None = None,
) -> xr.Dataset:
    """The map of one pair: the score under every transplant, and what it gains over vanilla.

    Args:
        model: from `xtl.load_model`, or any HookedTransformer or TransformerBridge.
        pair: a `ParallelPair`, instead of `source`, `target`, `options`, `gold` and `answer`.
        source: prompt whose activations are read; text or token ids.
        target: prompt into which they are written, one at a time; text or token ids.
        options: strings that continue the target prompt; scores the log-probability of the gold one among them.
        gold: index of the right option.
        answer: a string that continues the target prompt, instead of options; scores its log-probability.
        modules: names from `xtl.hooks.MODULES`.
        source_layers: 0-based layers to read (negative: from the end); all by default.
        target_layers: 0-based layers to write; all by default.
        engine: "packed" (all cells at once, exact), "loop" (one `run_with_hooks` a cell), or "auto": packed where the model
            allows it, else the loop. The result's attributes say which it was.
        verify: number of cells, drawn at random, that are computed again by the loop and must agree; 0 for none. The result's
            attributes hold the largest difference.
        chunk_size: cells at a time for the packed engine; "auto" keeps their activations under half a GB. Where memory runs
            out all the same, the chunk is halved and a warning says so.
        progress: called after each cell with (cells done, cells in all).

    Returns:
        A Dataset with dims `module, source_layer, target_layer`; `score` and `gain` (float32, nats), `correct` (bool, with
        options), the scalars `vanilla_score` and `vanilla_correct`; coords for languages, prompts, gold and id; attributes that
        say model, backend, engine, score and versions.

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
    _check_count("verify", verify)
    plan, question = make_plan(model, pair, modules, source_layers, target_layers)
    plan = replace(plan, chunk_size=_check_chunk_size(chunk_size))
    logprobs: list[Float[Tensor, " continuation"]] = []
    for cell, values in ENGINES[engine](model, plan):
        if not bool(torch.isfinite(values).all()):
            where = f"cell {cell}" if cell else "vanilla"
            raise ModelError(f"{where}: the model's logits are NaN or infinite; try dtype='float32'")
        logprobs.append(values)
        if progress is not None:
            progress(len(logprobs) - 1, plan.n_cells)
    table = torch.stack(logprobs)
    result = _label(model, pair, plan, question, table, engine)
    if engine != "loop" and verify:
        largest = verify_cells(model, plan, question, table, verify)
        result.attrs |= {"verified_cells": min(verify, plan.n_cells), "verified_largest_difference": largest}
    return result


def sweep_many(
    model: Model,
    pairs: Sequence[ParallelPair],
    *,
    modules: Sequence[str] = ("attn", "mlp"),
    source_layers: Sequence[int] | None = None,
    target_layers: Sequence[int] | None = None,
    engine: str = "auto",
    verify: int = 1,
    chunk_size: int | str = "auto",
    progress: Progress | None = None,
) -> xr.Dataset:
    """The maps of many pairs, along a first dim `example`. All pairs are checked before the first one runs.

    Arguments and errors as for `sweep`; `progress` counts cells over all pairs. All pairs must have options, or none.

    Example:
        >>> import xtl
        >>> pairs = xtl.get_task("capitals").pairs("en", "es", limit=5)
        >>> xtl.sweep_many(xtl.load_model(), pairs)  # doctest: +SKIP
    """
    return concat_maps(
        list(
            sweep_each(
                model,
                pairs,
                modules=modules,
                source_layers=source_layers,
                target_layers=target_layers,
                engine=engine,
                verify=verify,
                chunk_size=chunk_size,
                progress=progress,
            )
        )
    )


def sweep_each(
    model: Model,
    pairs: Sequence[ParallelPair],
    *,
    modules: Sequence[str] = ("attn", "mlp"),
    source_layers: Sequence[int] | None = None,
    target_layers: Sequence[int] | None = None,
    engine: str = "auto",
    verify: int = 1,
    chunk_size: int | str = "auto",
    progress: Progress | None = None,
) -> Iterator[xr.Dataset]:
    """The maps of `sweep_many`, one at a time as they are done: what is finished is kept when the work is stopped."""
    pairs = list(pairs)
    if not pairs:
        raise InputError("pairs is empty: give at least one ParallelPair")
    if len({pair.options is None for pair in pairs}) > 1:
        raise InputError("some pairs have options and some have not: sweep them apart, their scores can't be compared")
    engine = resolve_engine(model, engine)
    sizes = [make_plan(model, pair, modules, source_layers, target_layers)[0].n_cells for pair in pairs]

    def each() -> Iterator[xr.Dataset]:
        for index, pair in enumerate(pairs):
            before = sum(sizes[:index])

            def count(done: int, _: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + done, sum(sizes))

            result = sweep(
                model,
                pair,
                modules=modules,
                source_layers=source_layers,
                target_layers=target_layers,
                engine=engine,
                verify=verify,
                chunk_size=chunk_size,
                progress=count,
            )
            yield result.assign_coords(example=pair.id or str(index))

    return each()


def concat_maps(maps: Sequence[xr.Dataset]) -> xr.Dataset:
    """Maps of several pairs as one Dataset, along a first dim `example`; attributes that differ are dropped."""
    per_example = ["source_lang", "target_lang", "source", "target", "gold"]
    together = xr.concat(
        maps,
        dim="example",
        data_vars="all",
        coords=per_example,
        compat="equals",
        join="exact",
        combine_attrs="drop_conflicts",
    )
    differences = [
        one.attrs["verified_largest_difference"] for one in maps if "verified_largest_difference" in one.attrs
    ]
    return together.assign_attrs(verified_largest_difference=max(differences)) if differences else together


def resolve_engine(model: Model, engine: str) -> str:
    """The engine to run: "auto" becomes "packed" where the model's attention can be packed, else "loop".

    Raises:
        InputError: an unknown engine, or "packed" for a model that it can't run; the message says why.
    """
    check_model(model)
    check_choice("engine", engine, ["auto", *ENGINES])
    if engine == "loop":
        return engine
    reason = why_not_packable(model)
    if reason is None:
        return "packed"
    if engine == "packed":
        raise InputError(f"engine 'packed' cannot run this model: {reason}; use 'loop' or 'auto'")
    return "loop"


def make_plan(
    model: Model,
    pair: ParallelPair,
    modules: Sequence[str],
    source_layers: Sequence[int] | None,
    target_layers: Sequence[int] | None,
) -> tuple[Plan, Question]:
    """Check and tokenise everything that a sweep needs, before any long work. Raises `InputError`."""
    specs = get_modules(modules)
    for spec in specs:
        check_hooks_exist(model, spec)
    source_ids, target_ids = encode(model, pair.source, "source"), encode(model, pair.target, "target")
    check_fits(model, "source", len(source_ids))
    check_fits(model, "target", len(target_ids))
    options = None if pair.options is None else tuple(pair.options)
    question = prepare_question(model, pair.target, target_ids, options, pair.gold, pair.answer)
    plan = Plan(
        source_ids=source_ids,
        target_ids=target_ids,
        modules=tuple(specs),
        source_layers=_check_layers("source_layers", source_layers, model.cfg.n_layers),
        target_layers=_check_layers("target_layers", target_layers, model.cfg.n_layers),
        continuations=question.continuations,
        up_to_constant=question.has_options,
    )
    return plan, question


def _as_pair(
    pair: ParallelPair | None,
    source: Prompt | None,
    target: Prompt | None,
    options: Sequence[str] | None,
    gold: int | None,
    answer: str | None,
) -> ParallelPair:
    source, target = check_source_and_target(pair, source, target)
    if pair is None:
        check_question(options, gold, answer)
        return ParallelPair(source, target, options=options, gold=gold, answer=answer)
    if (options, gold, answer) != (None, None, None):
        raise InputError("give a pair, or options, gold and answer, not both")
    return pair


def _check_chunk_size(value: object) -> int | None:
    if value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"chunk_size must be 'auto' or a whole number of at least 1, got {value!r}")
    return value


def _check_count(argument: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{argument} must be a whole number of at least 0, got {value!r}")


def _check_layers(argument: str, layers: Sequence[int] | None, n_layers: int) -> tuple[int, ...]:
    if layers is None:
        return tuple(range(n_layers))
    if isinstance(layers, (str, int)) or len(layers) == 0:
        raise InputError(f"{argument} must be a list of layers, got {layers!r}")
    checked = tuple(check_layer(argument, layer, n_layers) for layer in layers)
    if len(set(checked)) != len(checked):
        raise InputError(f"{argument} names a layer twice: {', '.join(map(str, layers))}")
    return checked


def _label(
    model: Model,
    pair: ParallelPair,
    plan: Plan,
    question: Question,
    logprobs: Float[Tensor, "runs continuation"],
    engine: str,
) -> xr.Dataset:
    """The labelled result; row 0 of `logprobs` is vanilla, the rest are the cells in the plan's order."""
    dims = ("module", "source_layer", "target_layer")
    shape = (len(plan.modules), len(plan.source_layers), len(plan.target_layers))
    scores = question.score(logprobs.double()).numpy()
    data = {
        "score": (dims, scores[1:].reshape(shape).astype(np.float32)),
        "gain": (dims, (scores[1:] - scores[0]).reshape(shape).astype(np.float32)),
        "vanilla_score": np.float32(scores[0]),
    }
    if question.has_options:
        correct = question.correct(logprobs).numpy()
        data["correct"] = (dims, correct[1:].reshape(shape))
        data["vanilla_correct"] = correct[0]
    gold_text = pair.options[pair.gold] if pair.options is not None and pair.gold is not None else pair.answer
    prompts = {
        name: prompt if isinstance(prompt, str) else json.dumps(check_prompt(name, prompt))
        for name, prompt in (("source", pair.source), ("target", pair.target))
    }
    info = model_info(model)
    result = xr.Dataset(
        data,
        coords={
            "module": [module.name for module in plan.modules],
            "source_layer": list(plan.source_layers),
            "target_layer": list(plan.target_layers),
            "source_lang": pair.source_lang or "",
            "target_lang": pair.target_lang or "",
            **prompts,
            "gold": gold_text or "",
        },
        attrs={
            "model": info.name,
            "backend": backend_name(model),
            "dtype": str(model.cfg.dtype).removeprefix("torch."),
            "engine": engine,
            "score": question.description,
            "score_unit": UNIT,
            **prompts,
            "versions": json.dumps(
                {name: version(name) for name in ("xtl", "transformer-lens", "torch", "transformers")}
            ),
        },
    )
    for name in ("score", "gain", "vanilla_score"):
        result[name].attrs["unit"] = UNIT
    return result
