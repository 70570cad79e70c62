"""Modules of the user's own: which engines take them exactly.

No engine is believed to take a module: a map of a few of its cells is tried against the plain loop's, once a model and module.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from xtl.backend import Model
from xtl.engine.engines import ENGINES
from xtl.engine.lengths import MAKE
from xtl.engine.probe import SHORT, why_not_exact
from xtl.errors import InputError, SlowEngineWarning
from xtl.hooks import BUILT_IN, Module
from xtl.models.positions import remembered


def engine_for_modules(model: Model, modules: Sequence[Module], engine: str, asked: str) -> str:
    """The engine that runs these modules: `engine`, or the next that takes the user's own ones among them exactly.

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
    found, names = engine, list(ENGINES)
    for module in [module for module in modules if module not in BUILT_IN]:
        for name in names[names.index(found) :]:
            reason = why_not_module(model, name, module)
            if not reason:
                break
            if asked != "auto":
                raise InputError(
                    f"engine {asked!r} cannot take the module {module.name!r}: {reason}; use 'loop' or 'auto'"
                )
            _say(model, module, name, reason)
        found = name
    return found


def why_not_module(model: Model, engine: str, module: Module) -> str:
    """Why an engine can't take a module exactly; empty if it can. Tried once, then remembered on the model."""
    if engine not in MAKE:
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


def _say(model: Model, module: Module, engine: str, reason: str) -> None:
    said = remembered(model, "xtl_said", set)
    message = f"engine {engine!r} cannot take the module {module.name!r}: {reason}; a slower one runs this map"
    if message not in said:
        said.add(message)
        warnings.warn(message, SlowEngineWarning, stacklevel=5)
