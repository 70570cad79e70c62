"""Which engines are exact for a plan, by the lengths of its texts.

An engine that shares a prefix between cells has keys of a shorter text in longer ones. That needs positions that don't
depend on how long the text is (`xtl.models.positions`), and masks that are right on both sides of every edge that the
text reaches: sliding windows and chunks of attention, and positions from which a model scales its scores. Edges are
read off the configuration; whether an engine is right there is tried on a text that crosses the edge, once a model, and
only when a plan gets that far (`xtl.engine.probe`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from xtl.backend import Model, is_bridge
from xtl.engine.batched import Batched
from xtl.engine.engines import ENGINES
from xtl.engine.packed import make_packed
from xtl.engine.packed.bridge import GROUP
from xtl.engine.plan import Plan
from xtl.engine.probe import AFTER, SHORT, why_not_exact
from xtl.engine.tree import trees_of
from xtl.errors import SlowEngineWarning
from xtl.models.positions import alike, remembered
from xtl.tokens import context_length

EDGE = re.compile(r"(window|window_size|chunk_size|floor_scale|original_max_position_embeddings)$")
"""Numbers of a configuration that are lengths at which attention or positions change, by the ends of their names."""


def plan_lengths(plan: Plan) -> list[int]:
    """The lengths of the calls that a plan's scores and answers are defined by, and of its prefix, which is cached."""
    n_prompt = len(plan.target_ids)
    longest = n_prompt - 1 + (plan.max_new_tokens or max(map(len, plan.continuations), default=1))
    return [*([plan.start] if plan.start else []), *range(n_prompt, longest + 1)]


def engine_for(model: Model, plan: Plan, engine: str) -> str:
    """The engine that runs a plan: `engine`, which can run the model, or where it isn't exact at these lengths, the next one.

    Warns:
        SlowEngineWarning: once a model and reason, where it is the next one.
    """
    reasons: list[str] = []
    for name in list(ENGINES)[list(ENGINES).index(engine) :]:
        reason = (ENGINES[name].why_not(model) if reasons else None) or why_not_at_lengths(model, plan, name)
        if reason is None:
            break
        reasons.append(reason)
    if reasons:
        _say(model, f"engine {name!r} runs a pair of {len(plan.target_ids)} tokens instead of {engine!r}: {reasons[0]}")
    return name


def why_not_at_lengths(model: Model, plan: Plan, engine: str) -> str | None:
    """Why an engine is not exact at the lengths of a plan's texts; None if it is."""
    if engine not in MAKE:
        return None
    if engine == "packed" and plan.max_new_tokens and plan.start < len(plan.target_ids) - 1:
        return "answers to a prompt that is written before its end are not packed"
    lengths = plan_lengths(plan)
    if not alike(model, lengths):
        return (
            f"this model rotates all positions otherwise in texts of {lengths[-1]} tokens than in those of {lengths[0]}, so that "
            "what it computed for a shorter one can't be kept for a longer one"
        )
    reach = lengths[-1] + (_packed_tokens(plan) if engine == "packed" and is_bridge(model) else 0)
    for edge, name in edges(model).items():
        for n_prefix in (edge - 2, edge + 2):
            if n_prefix < reach and (reason := _tried(model, engine, n_prefix)):
                return f"at the edge of {edge} tokens ({name} in its configuration) {reason}"
    return None


def _packed_tokens(plan: Plan) -> int:
    """Tokens that may stand side by side after the prefix, on a bridge: some models count them as positions (Llama 4)."""
    n_nodes = len(trees_of(plan.target_ids, plan.start, plan.continuations)[0])
    n_sites = len(plan.modules) * len(plan.target_layers)
    return (1 + min(plan.n_cells, max(GROUP // n_nodes, 2 * n_sites))) * max(n_nodes, plan.max_new_tokens or 1)


MAKE = {"packed": make_packed, "batched": Batched}
"""The engines that share a prefix between cells."""


def edges(model: Model) -> dict[int, str]:
    """Lengths at which a model's attention or positions change, and what its configuration calls them; in order."""
    config = model.original_model.config.get_text_config().to_dict() if is_bridge(model) else vars(model.cfg)
    found = {edge: name for name, edge in _numbers(config) if EDGE.search(name) and edge > SHORT + 2}
    return dict(sorted((edge, name) for edge, name in found.items() if edge + 2 + AFTER < context_length(model)))


def _numbers(config: Mapping[Any, Any]) -> Iterator[tuple[str, int]]:
    """The whole numbers of a configuration, by name."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield str(name), value


def _tried(model: Model, engine: str, n_prefix: int) -> str:
    """What is wrong with an engine's map of a text with this prefix; tried once a model, then remembered on it."""
    known = remembered(model, "xtl_tried", dict)
    if (engine, n_prefix) not in known:
        lengths = range(n_prefix, n_prefix + 1 + AFTER)
        # Where the text's own positions change, the plan's lengths are what decides, above.
        known[engine, n_prefix] = (
            why_not_exact(
                model, MAKE[engine], n_prefix, "its forward pass fails", "a map differs from the plain loop's"
            )
            if alike(model, lengths)
            else ""
        )
    return known[engine, n_prefix]


def _say(model: Model, message: str) -> None:
    """Warn once a model and reason."""
    said = remembered(model, "xtl_said", set)
    reason = message.partition(": ")[2]
    if reason not in said:
        said.add(reason)
        warnings.warn(message, SlowEngineWarning, stacklevel=4)
