"""Engines that run many cells at once, as rows: read the sources, take the cells chunk by chunk, put the results in order.

What a row is (tokens on one position axis, or a member of a batch) is the affair of a `Rows` class; see `xtl.engine.packed` and
`xtl.engine.batched`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xtl.backend import Model
from xtl.engine.greedy import Greedy
from xtl.engine.loop import source_activations
from xtl.engine.plan import Cell, Confidence, Generated, Plan
from xtl.engine.readings import n_readings
from xtl.engine.staging import in_branch_order
from xtl.engine.written import Written
from xtl.hooks import HookFunction, Hooks
from xtl.models.info import model_info

Result = TypeVar("Result")


@runtime_checkable
class Rows(Protocol):
    """The cells of one plan on one model, a chunk at a time; row 0 is vanilla.

    Attributes:
        chunk_size: cells at a time, so that they fit into memory.
    """

    chunk_size: int

    def logprobs(self, cells: list[Cell], written: Written) -> Float[Tensor, "row number"]:
        """Log-probability of each continuation (and what else is read), vanilla and then the cells."""

    def generate(self, cells: list[Cell], written: Written, ends: Int[Tensor, " end"]) -> Greedy:
        """Greedy answers of vanilla and of the cells, each up to one of `ends`."""


MakeRows = Callable[[Model, Plan], Rows]


def score_rows(model: Model, plan: Plan, make: MakeRows) -> Iterator[tuple[Cell | None, Float[Tensor, " number"]]]:
    """Log-probabilities of the continuations, and what else is read, of vanilla (cell None) and the cells, in order."""
    table = torch.empty(1 + plan.n_cells, len(plan.continuations) + n_readings(plan), dtype=torch.float64)
    for numbers, values in _chunks(model, plan, make, lambda rows, cells, written: rows.logprobs(cells, written)):
        table[numbers] = values.double()
    yield from zip([None, *plan.cells()], table, strict=True)


def generate_rows(model: Model, plan: Plan, make: MakeRows) -> Iterator[tuple[Cell | None, Generated]]:
    """Greedy answers for vanilla (cell None) and for each cell, in the plan's order."""
    ends = torch.tensor(model_info(model).eos_token_ids, device=model.cfg.device, dtype=torch.long)
    answers: dict[int, Generated] = {}
    for numbers, values in _chunks(model, plan, make, lambda rows, cells, written: rows.generate(cells, written, ends)):
        sure = [None] * len(numbers) if values.confidence is None else values.confidence.tolist()
        for number, tokens, logits, row in zip(numbers, values.tokens, values.logits, sure, strict=True):
            written = [int(token) for token in tokens if token >= 0]
            confidence = None if row is None else Confidence(*row)
            answers[number] = Generated(written, bool(torch.isfinite(logits).all()), confidence)
    yield from ((cell, answers[number]) for number, cell in enumerate([None, *plan.cells()]))


def _chunks(
    model: Model,
    plan: Plan,
    make: MakeRows,
    run: Callable[[Rows, list[Cell], Written], Result],
) -> Iterator[tuple[list[int], Result]]:
    """Results of chunks of cells, each with its rows' numbers: 0 for vanilla, then 1 + the cell's place in the plan.

    Where memory runs out the chunk is halved, with a warning.
    """
    activations = source_activations(model, plan)
    rows = make(model, plan)
    size = plan.chunk_size or -(-plan.n_cells // -(-plan.n_cells // rows.chunk_size))  # as few chunks, all alike
    waiting = in_branch_order(list(enumerate(plan.cells())))
    while waiting:
        shape = waiting[0][1].source(activations).shape
        alike = [one for one in waiting if one[1].source(activations).shape == shape]
        chunk = alike[:size]
        cells = [cell for _, cell in chunk]
        try:
            result = run(rows, cells, Written.of(cells, activations))
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        else:
            yield [0, *(1 + number for number, _ in chunk)], result
            done = {number for number, _ in chunk}
            waiting = [one for one in waiting if one[0] not in done]
            continue
        # Outside of `except`, whose traceback would keep the failed run's tensors alive.
        warnings.warn(f"out of memory with {size} cells at a time; going on with {size // 2}", stacklevel=2)
        size = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        rows = make(model, plan)  # the failed run may have left its cache half filled


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an allocation that failed, on an accelerator or on the CPU."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def hooks_by_site(cells: list[Cell], numbers: list[int], hook: Callable[[list[int], list[int]], HookFunction]) -> Hooks:
    """A hook for each place where rows write.

    Args:
        cells: the chunk's cells; cell c is row 1 + c.
        numbers: which rows are present, in order; 0, vanilla, writes nowhere.
        hook: makes the hook, from the places of its rows among the present ones and the cells that they are.
    """
    places: dict[str, list[tuple[int, int]]] = {}
    for place, number in enumerate(numbers):
        if number > 0:
            cell = cells[number - 1]
            places.setdefault(cell.module.write_hook(cell.target_layer), []).append((place, number - 1))
    return [(name, hook([place for place, _ in at], [cell for _, cell in at])) for name, at in places.items()]
