"""The plain loop: one `run_with_hooks` a cell. Obviously right, and the reference for every faster engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward, upcast
from xtl.engine.greedy import Best, best_of
from xtl.engine.plan import Cell, Confidence, Generated, Plan
from xtl.engine.readings import Readings
from xtl.hooks import Hooks, transplant_at
from xtl.transplants import generate, read_activations


def source_activations(model: Model, plan: Plan) -> Mapping[Any, Float[Tensor, "*unit"]]:
    """What the plan's cells write, by module name and source layer: read from one pass over the source prompt, unless given.

    Of several source prompts the mean, or where the plan has an axis `source_lang` by language too.
    """
    if plan.activations is not None:
        return plan.activations
    what = plan.modules, plan.source_layers, plan.source_positions
    if not plan.sources:
        return read_activations(model, plan.source_ids, *what)
    read = {lang: read_activations(model, ids, *what) for lang, ids in plan.sources}
    if "source_lang" in dict(plan.axes):
        return {(*site, lang): values for lang, found in read.items() for site, values in found.items()}
    return {site: torch.stack([one[site] for one in read.values()]).mean(dim=0) for site in next(iter(read.values()))}


def score_loop(model: Model, plan: Plan) -> Iterator[tuple[Cell | None, Float[Tensor, " number"]]]:
    """Log-probabilities of the continuations, and what else the plan reads, for vanilla (cell None) and for each cell."""
    yield None, _score(model, plan, Readings(model, plan), [])
    yield from score_cells(model, plan, plan.cells())


def score_cells(model: Model, plan: Plan, cells: Iterable[Cell]) -> Iterator[tuple[Cell, Float[Tensor, " number"]]]:
    """The same for some cells of the plan, without vanilla."""
    readings = Readings(model, plan)
    for cell, hooks, _ in write_hooks(model, plan, cells):
        yield cell, _score(model, plan, readings, hooks)


def _score(model: Model, plan: Plan, readings: Readings, hooks: Hooks) -> Float[Tensor, " number"]:
    """Log-probabilities of the continuations, and what else the plan reads, under hooks."""
    seen: dict[int, Tensor] = {}
    looking = readings.hooks(seen, len(plan.target_ids) - 1)
    logprobs = continuation_logprobs(model, plan.target_ids, plan.continuations, [*hooks, *looking])
    return readings.beside(logprobs[None], seen)[0].cpu()


def generate_loop(model: Model, plan: Plan) -> Iterator[tuple[Cell | None, Generated]]:
    """Greedy answers for vanilla (cell None) and for each cell of the plan, one at a time."""
    yield None, _generate(model, plan)
    yield from generate_cells(model, plan, plan.cells())


def generate_cells(model: Model, plan: Plan, cells: Iterable[Cell]) -> Iterator[tuple[Cell, Generated]]:
    """The same for some cells of the plan, without vanilla."""
    for cell, hooks, step_hooks in write_hooks(model, plan, cells):
        yield cell, _generate(model, plan, hooks, step_hooks)


def _generate(model: Model, plan: Plan, hooks: Hooks | None = None, step_hooks: Hooks | None = None) -> Generated:
    steps: list[Best] = []
    told = (lambda logits: steps.append(best_of(logits[None], confidence=True))) if plan.confidence else None
    answer = generate(model, plan.target_ids, plan.max_new_tokens or 0, hooks, step_hooks, told)
    return Generated(answer.tokens, answer.finite, _confidence(steps) if steps else None)


def _confidence(steps: list[Best]) -> Confidence:
    """How sure the model is of an answer, from each of its tokens."""
    logprobs = [float(step.logits - step.normalisers) for step in steps if step.normalisers is not None]
    first = [float(values) for values in (steps[0].margins, steps[0].entropies) if values is not None]
    return Confidence(sum(logprobs) / len(logprobs), *first)


def write_hooks(model: Model, plan: Plan, cells: Iterable[Cell]) -> Iterator[tuple[Cell, Hooks, Hooks]]:
    """Each cell with the hooks of its pass over the prompt and of each later step."""
    activations = source_activations(model, plan)
    position = plan.target_positions if len(plan.target_positions) > 1 else plan.start
    for cell in cells:
        source = cell.source(activations)
        site = cell.module.write_hook(cell.target_layer)
        how: dict[str, Any] = {"alpha": cell.alpha, "head": cell.target_head}
        hooks: Hooks = [(site, transplant_at(source, position, and_after=plan.every_step, **how))]
        yield cell, hooks, [(site, transplant_at(source, **how))] if plan.every_step else []


def continuation_logprobs(
    model: Model,
    prompt_ids: list[int],
    continuations: tuple[tuple[int, ...], ...],
    hooks: Hooks | None = None,
) -> Float[Tensor, " continuation"]:
    """Log-probability of each continuation after the prompt, teacher-forced, under hooks; in nats, in float32 at least.

    Continuations that share all but their last token (all one-token ones do) share a forward pass.
    """
    passes: dict[tuple[int, ...], Float[Tensor, "step d_vocab"]] = {}
    logprobs = []
    for ids in continuations:
        shared = ids[:-1]
        if shared not in passes:
            logits = forward(model, [*prompt_ids, *shared], hooks=hooks, keep=1 + len(shared))
            passes[shared] = upcast(logits).log_softmax(dim=-1)
        steps = passes[shared]
        logprobs.append(steps[torch.arange(len(ids)), list(ids)].sum())
    return torch.stack(logprobs).cpu()
