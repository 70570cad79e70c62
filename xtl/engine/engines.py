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
        score: yields log-probabilities of the plan's continuations, and behind them what else it reads (`xtl.engine.readings`).
        generate: yields greedy answers.
        why_not: why it can't run a model; None if it can.
        times: how many times as long as "packed" it takes for a whole map of a model of so many layers, about
            (docs/performance.md).
    """

    score: Callable[[Model, Plan], Iterator[tuple[Cell | None, Float[Tensor, " number"]]]]
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
            warnings.warn(str(slow), SlowEngineWarning, stacklevel=3)
        return found
    reason = ENGINES[engine].why_not(model)
    if reason is not None:
        raise InputError(f"engine {engine!r} cannot run this model: {reason}; use 'loop' or 'auto'")
    return engine


@dataclass(frozen=True)
class Slow:
    """That a lesser engine runs a map than a faster one would; `str()` says in one line why, what that costs and what to do.

    Attributes:
        engine: its name.
        reason: why the faster one can't.
        times: how many times as long a whole map takes, about.
        faster: that one's name.
        cannot: what it can't do.
        instead: what to do.
    """

    engine: str
    reason: str
    times: float
    faster: str = "packed"
    cannot: str = "run this model"
    instead: str = (
        "Give fewer source_layers, target_layers or modules; `xtl models check` says what each backend can do"
    )

    @property
    def note(self) -> str:
        """The same in a few words, for a line of progress."""
        return f"engine {self.engine}: {self.reason}"

    def __str__(self) -> str:
        return (
            f"engine {self.engine!r} takes about {self.times:.0f} times as long for a whole map as {self.faster!r}, which cannot "
            f"{self.cannot}: {self.reason}. {self.instead}"
        )


def why_slow(model: Model, engine: str) -> Slow | None:
    """That this engine is not the fastest one, where that one can't run the model; None where there is nothing to say."""
    fastest = next(iter(ENGINES))
    reason = None if engine == fastest else ENGINES[fastest].why_not(model)
    return None if reason is None else Slow(engine, reason, times_as_long(model, engine, fastest))


def times_as_long(model: Model, engine: str, other: str) -> float:
    """How many times as long as another engine one takes for a whole map, to one digit."""
    one, than = (ENGINES[name].times(model.cfg.n_layers) for name in (engine, other))
    return float(f"{one / than:.1g}")
