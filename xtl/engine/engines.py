"""The engines by name. They differ in speed alone; `loop`, one `run_with_hooks` a cell, is the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, check_model
from xtl.engine.batched import Batched, why_not_batchable
from xtl.engine.loop import generate_loop, score_loop
from xtl.engine.packed import make_packed, why_not_packable
from xtl.engine.plan import Cell, Generated, Plan
from xtl.engine.rows import generate_rows, score_rows
from xtl.errors import InputError, check_choice


@dataclass(frozen=True)
class Engine:
    """How the cells of a plan are run. Both iterators begin with vanilla (cell None) and follow the plan's order.

    Attributes:
        score: yields log-probabilities of the plan's continuations.
        generate: yields greedy answers.
        why_not: why it can't run a model; None if it can.
    """

    score: Callable[[Model, Plan], Iterator[tuple[Cell | None, Float[Tensor, " continuation"]]]]
    generate: Callable[[Model, Plan], Iterator[tuple[Cell | None, Generated]]]
    why_not: Callable[[Model], str | None]


ENGINES: dict[str, Engine] = {
    "packed": Engine(partial(score_rows, make=make_packed), partial(generate_rows, make=make_packed), why_not_packable),
    "batched": Engine(partial(score_rows, make=Batched), partial(generate_rows, make=Batched), why_not_batchable),
    "loop": Engine(score_loop, generate_loop, lambda model: None),
}
"""From the fastest to the plainest."""


def resolve_engine(model: Model, engine: str) -> str:
    """The engine to run: "auto" becomes the first of `ENGINES` that can run the model.

    Raises:
        InputError: an unknown engine, or one that can't run the model; the message says why.
    """
    check_model(model)
    if check_choice("engine", engine, ["auto", *ENGINES]) == "auto":
        return next(name for name, one in ENGINES.items() if one.why_not(model) is None)
    reason = ENGINES[engine].why_not(model)
    if reason is not None:
        raise InputError(f"engine {engine!r} cannot run this model: {reason}; use 'loop' or 'auto'")
    return engine
