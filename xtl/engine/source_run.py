"""The source run: the source prompt's own answer, without a transplant; what the source language says to the question.

It is the vanilla run of another pair, whose target prompt is the source prompt (`ParallelPair.in_source`), by the engine that
runs the map: one to two forward passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.engines import ENGINES
from xtl.engine.lengths import engine_for
from xtl.engine.plan import Generated, Plan
from xtl.errors import InputError, ModelError
from xtl.pairs import ParallelPair
from xtl.scoring.likelihood import Question, prepare_question
from xtl.tokens import check_fits


@dataclass(frozen=True)
class SourceRun:
    """A prepared source run.

    Attributes:
        pair: the question as the source prompt asks it.
        plan: what an engine runs; of it, vanilla alone counts.
        question: how options are scored; None when an answer is generated.
    """

    pair: ParallelPair
    plan: Plan
    question: Question | None


def prepare_source_run(model: Model, pair: ParallelPair, plan: Plan, normalise: str) -> SourceRun:
    """The source run of a pair whose map has this plan.

    Raises:
        InputError: options or a length that don't suit the model.
    """
    own, ids = pair.in_source(), plan.source_ids
    question = None
    try:
        check_fits(model, "source", len(ids), plan.max_new_tokens or 0)
        if plan.max_new_tokens is None:
            question = prepare_question(model, own.target, ids, tuple(own.options or ()), own.gold, None, normalise)
    except InputError as error:
        raise InputError(f"details 'agreement', the source prompt's own answer: {error}") from error
    one_cell = replace(
        plan,
        target_ids=ids,
        modules=plan.modules[:1],
        source_layers=plan.source_layers[:1],
        target_layers=plan.target_layers[-1:],  # the less is to compute, the later
        continuations=question.continuations if question else (),
        up_to_constant=question.up_to_constant if question else False,
        readings=(),
        chunk_size=None,
        target_positions=(),
        axes=tuple((name, values[:1]) for name, values in plan.axes),
    )
    return SourceRun(own, one_cell, question)


def run_source(
    model: Model, run: SourceRun, activations: Mapping[Any, Float[Tensor, "*unit"]], engine: str
) -> Float[Tensor, " option"] | Generated:
    """Log-probabilities of the source run's options, or its answer.

    Args:
        model: HookedTransformer or TransformerBridge.
        run: what is asked.
        activations: what the map writes; read already, and of no effect on what comes.
        engine: that of the map.

    Raises:
        ModelError: NaN or infinite logits.
    """
    plan = replace(run.plan, activations=activations)
    how = ENGINES[engine_for(model, plan, engine)]
    found = next(how.score(model, plan))[1] if run.question else next(how.generate(model, plan))[1]
    if not (found.finite if isinstance(found, Generated) else bool(torch.isfinite(found).all())):
        raise ModelError("the source prompt's own answer: the model's logits are NaN or infinite; try dtype='float32'")
    return found
