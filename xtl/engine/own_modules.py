"""Modules of the user's own: which engines take them exactly.

No engine is believed to take a module: a map of a few of its cells is tried against the plain loop's, once a model and module.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from xtl.backend import Model
from xtl.engine.engines import ENGINES, Slow, times_as_long, why_slow
from xtl.engine.lengths import MAKE
from xtl.engine.probe import SHORT, why_not_exact
from xtl.errors import InputError, SlowEngineWarning
from xtl.hooks import BUILT_IN, Module
from xtl.models.positions import remembered


def engine_for_modules(model: Model, modules: Sequence[Module], engine: str, asked: str) -> tuple[str, Slow | None]:
    """The engine that runs these modules, `engine` or the next that takes the user's own ones among them; and why it is slow.

    Args:
        model: HookedTransformer or TransformerBridge.
        modules: what is transplanted.
        engine: the engine that runs the model.
        asked: what the user asked for.

    Raises:
        InputError: the user asked for an engine that can't take one of them.

    Warns:
        SlowEngineWarning: once a model and module, where "auto" falls to a slower engine.
    """
    names, slow = list(ENGINES), why_slow(model, engine)
    for module in modules:
        reason = why_not_module(model, engine, module)
        if reason and asked != "auto":
            raise InputError(f"engine {asked!r} cannot take the module {module.name!r}: {reason}; use 'loop' or 'auto'")
        if reason:
            slower = names[names.index(engine) + 1 :]
            found = next(name for name in slower if not why_not_module(model, name, module))
            slow = _slow(model, found, engine, module, reason)
            engine = found
    return engine, slow


def why_not_module(model: Model, engine: str, module: Module) -> str:
    """Why an engine can't take a module exactly; empty if it can. Tried once, then remembered on the model."""
    if engine not in MAKE or module in BUILT_IN:
        return ""
    if reason := ENGINES[engine].why_not(model):
        return reason
    known = remembered(model, "xtl_modules_tried", dict)
    if (engine, module) not in known:
        known[engine, module] = why_not_exact(
            model,
            MAKE[engine],
            SHORT,
            "its cells can't be run together",
            "its map differs from the plain loop's",
            (module,),
        )
    return known[engine, module]


def _slow(model: Model, engine: str, faster: str, module: Module, reason: str) -> Slow:
    """What is said of an engine that runs a map since a faster one can't take a module; warned of once a model and module."""
    instead = "Give fewer source_layers or target_layers, and sweep the other modules apart from it"
    times = times_as_long(model, engine, faster)
    slow = Slow(engine, reason, times, faster, f"take the module {module.name!r}", instead)
    said = remembered(model, "xtl_said", set)
    if slow not in said:
        said.add(slow)
        warnings.warn(str(slow), SlowEngineWarning, stacklevel=5)
    return slow
