"""The plain loop: one `run_with_hooks` a cell. Obviously right, and the reference for every faster engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward
from xtl.engine.plan import Cell, Plan
from xtl.hooks import Hooks, transplant_at
from xtl.transplants import read_activations


def run_loop(model: Model, plan: Plan) -> Iterator[tuple[Cell | None, Float[Tensor, " continuation"]]]:
    """Log-probabilities of the continuations for vanilla (cell None) and for each cell of the plan, one at a time."""
    yield None, continuation_logprobs(model, plan.target_ids, plan.continuations)
    yield from run_loop_cells(model, plan, plan.cells())


def run_loop_cells(
    model: Model, plan: Plan, cells: Iterable[Cell]
) -> Iterator[tuple[Cell, Float[Tensor, " continuation"]]]:
    """The same for some cells of the plan, without vanilla."""
    activations = read_activations(model, plan.source_ids, plan.modules, plan.source_layers)
    position = len(plan.target_ids) - 1
    for cell in cells:
        write = transplant_at(activations[cell.module.name, cell.source_layer], position)
        hooks: Hooks = [(cell.module.write_hook(cell.target_layer), write)]
        yield cell, continuation_logprobs(model, plan.target_ids, plan.continuations, hooks)


def continuation_logprobs(
    model: Model,
    prompt_ids: list[int],
    continuations: tuple[tuple[int, ...], ...],
    hooks: Hooks | None = None,
) -> Float[Tensor, " continuation"]:
    """Log-probability of each continuation after the prompt, teacher-forced, under hooks; in nats, float32.

    Continuations that share all but their last token (all one-token ones do) share a forward pass.
    """
    passes: dict[tuple[int, ...], Float[Tensor, "step d_vocab"]] = {}
    logprobs = []
    for ids in continuations:
        shared = ids[:-1]
        if shared not in passes:
            logits = forward(model, [*prompt_ids, *shared], hooks=hooks, keep=1 + len(shared))
            passes[shared] = logits.float().log_softmax(dim=-1)
        steps = passes[shared]
        logprobs.append(steps[torch.arange(len(ids)), list(ids)].sum())
    return torch.stack(logprobs).cpu()
