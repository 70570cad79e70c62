"""A map checks itself: a few of its cells, drawn at random, are computed again by the plain loop."""

from __future__ import annotations

import random
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward, upcast
from xtl.engine.loop import generate_cells, score_cells, write_hooks
from xtl.engine.plan import Cell, Generated, Plan
from xtl.engine.readings import n_readings
from xtl.errors import ModelError
from xtl.models.precision import engine_tolerance
from xtl.results.units import UNITS
from xtl.scoring.likelihood import Question


def verify_scores(
    model: Model, plan: Plan, question: Question, table: Float[Tensor, "runs number"], n_cells: int
) -> float:
    """Compare the scores of `n_cells` cells with the loop's, all that are kept; return the largest difference, in nats.

    The shares of the other options, by which an answer is right or not, are compared too.

    Args:
        model: HookedTransformer or TransformerBridge.
        plan: the map's plan.
        question: what is scored.
        table: the engine's log-probabilities and readings, vanilla first and then the cells in the plan's order.
        n_cells: how many cells to draw; the same ones for the same plan.

    Raises:
        ModelError: a cell differs by more than its precision explains; the message has the figures.
    """
    drawn = _draw(plan, n_cells)
    largest = 0.0
    for index, (cell, want) in zip(drawn, score_cells(model, plan, drawn.values()), strict=True):
        values, read = want.double().split([len(plan.continuations), n_readings(plan)])
        allowed = engine_tolerance(model) * max(1.0, float(values.abs().max()))
        for normalise in question.kept or ("none",):
            got = float(question.score(table[1 + index, : len(values)].double(), normalise))
            reference = float(question.score(values, normalise))
            difference = abs(got - reference)
            if not difference <= allowed / min(question.lengths(normalise)):
                raise ModelError(
                    f"the engine's map failed its check: cell {cell} has score {got:.6g}, the plain loop gives "
                    f"{reference:.6g} ({UNITS[normalise]}); use engine='loop' and please report the model"
                )
            largest = max(largest, difference)
        _check_shares(cell, table[1 + index, : len(values)].double(), values, 2 * allowed)
        _check_read(model, cell, table[1 + index, len(values) :].double(), read)
    return largest


def _check_shares(
    cell: Cell, got: Float[Tensor, " continuation"], want: Float[Tensor, " continuation"], allowed: float
) -> None:
    """Raise `ModelError` where some option's share (log-probabilities may all be off by one number) is not the loop's."""
    shares, loop = got.log_softmax(0), want.log_softmax(0)
    off = float((shares - loop).abs().where(shares != loop, 0.0).max())
    if not off <= allowed:
        raise ModelError(
            f"the engine's map failed its check: the options' log shares of cell {cell} are off by {off:.3g} from the "
            "plain loop; use engine='loop' and please report the model"
        )


def _check_read(model: Model, cell: Cell, got: Float[Tensor, " number"], want: Float[Tensor, " number"]) -> None:
    """Raise `ModelError` where what an engine read of a cell beside the score is not what the loop read."""
    if len(want) and not (off := float((got - want).abs().max())) <= engine_tolerance(model) * max(
        1.0, float(want.abs().max())
    ):
        raise ModelError(
            f"the engine's map failed its check: what details read of cell {cell} is off by {off:.3g} from the plain loop; "
            "use engine='loop' and please report the model"
        )


def verify_answers(model: Model, plan: Plan, answers: Sequence[Generated], n_cells: int) -> float:
    """Compare the tokens of `n_cells` cells with the loop's; return the largest difference of logits where two tied, else 0.

    Where tokens part, both must be all but equally likely to the loop (a tie, which rounding decides); the rest is not compared.

    Args:
        model: HookedTransformer or TransformerBridge.
        plan: the map's plan.
        answers: the engine's, vanilla first and then the cells in the plan's order.
        n_cells: how many cells to draw; the same ones for the same plan.

    Raises:
        ModelError: a cell's tokens differ where the loop is in no doubt; the message has both.
    """
    drawn = _draw(plan, n_cells)
    largest = 0.0
    for index, (cell, want) in zip(drawn, generate_cells(model, plan, drawn.values()), strict=True):
        got = answers[1 + index].tokens
        if got == want.tokens:
            continue
        step = next(at for at, pair in enumerate(zip(got, want.tokens, strict=False)) if pair[0] != pair[1])
        hooks = next(write_hooks(model, plan, [cell]))[1]
        logits = upcast(forward(model, [*plan.target_ids, *want.tokens[:step]], hooks=hooks, keep=1)[-1])
        lead = float(logits[want.tokens[step]] - logits[got[step]])
        if not lead <= engine_tolerance(model) * max(1.0, float(logits.abs().max())):
            raise ModelError(
                f"the engine's map failed its check: cell {cell} generates {got}, the plain loop {want.tokens}, which "
                f"leads by {lead:.3g} in logits at token {step}; use engine='loop' and please report the model"
            )
        largest = max(largest, lead)
    return largest


def _draw(plan: Plan, n_cells: int) -> dict[int, Cell]:
    """Some cells by their place in the plan; the same ones for the same plan."""
    cells = list(plan.cells())
    seed = repr((plan.source_ids, plan.target_ids))
    return {index: cells[index] for index in random.Random(seed).sample(range(len(cells)), min(n_cells, len(cells)))}
