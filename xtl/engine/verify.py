"""A map checks itself: a few of its cells, drawn at random, are computed again by the plain loop."""

from __future__ import annotations

import random

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.loop import run_loop_cells
from xtl.engine.plan import Plan
from xtl.errors import ModelError
from xtl.scoring.likelihood import Question

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}
"""Largest difference allowed between an engine and the loop, relative to the largest log-probability at hand (at least 1 nat)."""


def verify_cells(
    model: Model, plan: Plan, question: Question, logprobs: Float[Tensor, "runs continuation"], n_cells: int
) -> float:
    """Compare the scores of `n_cells` cells with the loop's; return the largest difference, in nats.

    Args:
        model: HookedTransformer or TransformerBridge.
        plan: the map's plan.
        question: what is scored.
        logprobs: the engine's, vanilla first and then the cells in the plan's order.
        n_cells: how many cells to draw; the same ones for the same plan.

    Raises:
        ModelError: a cell differs by more than its precision explains; the message has the figures.
    """
    cells = list(plan.cells())
    drawn = random.Random(repr((plan.source_ids, plan.target_ids))).sample(range(len(cells)), min(n_cells, len(cells)))
    tolerance = TOLERANCE.get(model.cfg.dtype, 0.1)
    largest = 0.0
    for index, (cell, want) in zip(drawn, run_loop_cells(model, plan, [cells[i] for i in drawn]), strict=True):
        got = question.score(logprobs[1 + index].double())
        reference = question.score(want.double())
        difference = float((got - reference).abs())
        if not difference <= tolerance * max(1.0, float(want.abs().max())):
            raise ModelError(
                f"the engine's map failed its check: cell {cell} has score {float(got):.6g}, the plain loop gives "
                f"{float(reference):.6g} (nats); use engine='loop' and please report the model"
            )
        largest = max(largest, difference)
    return largest
