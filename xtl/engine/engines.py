"""The engines by name. They differ in speed alone; `loop`, one `run_with_hooks` a cell, is the reference.

Where the fastest can't run a model, "auto" takes the next one and says so (`SlowEngineWarning`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.batched import Batched, why_not_batchable
from xtl.engine.loop import generate_loop, score_loop
from xtl.engine.packed import make_packed, why_not_packable
from xtl.engine.plan import Cell, Generated, Plan
from xtl.engine.rows import generate_rows, score_rows
from xtl.errors import InputError, SlowEngineWarning, check_choice
from xtl.models.caching import check_cache, why_no_cache
from xtl.models.state import check_model


@dataclass(frozen=True)
class Engine:
    """How the cells of a plan are run. Both iterators begin with vanilla (cell None) and follow the plan's order.

    Attributes:
        score: yields log-probabilities of the plan's continuations.
        generate: yields greedy answers.
        why_not: why it can't run a model; None if it can.
        times: how many times as long as "packed" it takes for a whole map of a model of so many layers, about
            (docs/performance.md).
    """

    score: Callable[[Model, Plan], Iterator[tuple[Cell | None, Float[Tensor, " continuation"]]]]
    generate: Callable[[Model, Plan], Iterator[tuple[Cell | None, Generated]]]
    why_not: Callable[[Model], str | None]
    times: Callable[[int], float] = lambda n_layers: 1.0


def _with_cache(why_not: Callable[[Model], str | None]) -> Callable[[Model], str | None]:
    """`why_not` of an engine that needs a model's KV cache."""
    return lambda model: why_no_cache(model) or why_not(model)


ENGINES: dict[str, Engine] = {
    "packed": Engine(
        partial(score_rows, make=make_packed), partial(generate_rows, make=make_packed), _with_cache(why_not_packable)
    ),
    "batched": Engine(
        partial(score_rows, make=Batched),
        partial(generate_rows, make=Batched),
        _with_cache(why_not_batchable),
        lambda n_layers: 15.0,
    ),
    "loop": Engine(score_loop, generate_loop, lambda model: None, lambda n_layers: 9.0 * n_layers),
}
"""From the fastest to the plainest."""


def resolve_engine(model: Model, engine: str) -> str:
    """The engine to run: "auto" becomes the first of `ENGINES` that can run the model.

    Raises:
        InputError: an unknown engine, or one that can't run the model; the message says why.
        ContractError: see `check_cache`.

    Warns:
        SlowEngineWarning: "auto", once a model: it can't be packed.
    """
    check_model(model)
    check_cache(model)
    if check_choice("engine", engine, ["auto", *ENGINES]) == "auto":
        found = next(name for name, one in ENGINES.items() if one.why_not(model) is None)
        if (slow := why_slow(model, found)) and not getattr(model, "xtl_slow_said", False):
            model.xtl_slow_said = True
            warnings.warn(slow, SlowEngineWarning, stacklevel=3)
        return found
    reason = ENGINES[engine].why_not(model)
    if reason is not None:
        raise InputError(f"engine {engine!r} cannot run this model: {reason}; use 'loop' or 'auto'")
    return engine


def why_slow(model: Model, engine: str) -> str:
    """Why this engine and not "packed" runs a model, what that costs and what to do, in one line; empty for "packed"."""
    fastest = next(iter(ENGINES))
    reason = ENGINES[fastest].why_not(model)
    if engine == fastest or reason is None:
        return ""
    times = float(f"{ENGINES[engine].times(model.cfg.n_layers):.1g}")
    return (
        f"engine {engine!r} takes about {times:.0f} times as long for a whole map as {fastest!r}, which cannot run this model: "
        f"{reason}. Give fewer source_layers, target_layers or modules; `xtl models check` says what each backend can do"
    )


def slow_note(model: Model, engine: str) -> str:
    """The same in a few words, for a line of progress."""
    return f"engine {engine}: {ENGINES[next(iter(ENGINES))].why_not(model)}" if why_slow(model, engine) else ""
