"""Which heads a map reads and writes: axes of modules that go head by head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xtl.backend import Model
from xtl.errors import InputError
from xtl.hooks import Module
from xtl.layers import Layers, check_heads
from xtl.models.hook_points import count_heads

Axes = tuple[tuple[str, tuple[Any, ...]], ...]
"""Axes of a map beside modules and layers, each with its values."""


def head_axes(
    model: Model, modules: Sequence[Module], heads: Layers | None, source: Layers | None, target: Layers | None
) -> Axes:
    """The axes `source_head` and `target_head` of modules by head; none for others.

    Args:
        model: HookedTransformer or TransformerBridge.
        modules: of the map.
        heads: which are read and written; all by default.
        source: which are read, where not those.
        target: which are written, where not those.

    Raises:
        InputError: a head that the model lacks, heads of modules that have none, modules with and without heads in one map.
    """
    by_head = [module for module in modules if module.heads]
    if not by_head:
        if given := [value for value in (heads, source, target) if value is not None]:
            names = ", ".join(module.name for module in modules)
            raise InputError(f"heads ({given[0]!r}) are for a module by head, such as attn_head, not for {names}")
        return ()
    counts = {module.name: count_heads(model, module) if module.heads else 0 for module in modules}
    if len(set(counts.values())) > 1:
        own = ", ".join(f"{module} {n or 'none'}" for module, n in counts.items())
        raise InputError(f"modules of one map must have as many heads; sweep them apart ({own})")
    n_heads = counts[by_head[0].name]
    read, write = ((one if one is not None else heads) for one in (source, target))
    return (
        ("source_head", check_heads("heads" if source is None else "source_heads", read, n_heads)),
        ("target_head", check_heads("heads" if target is None else "target_heads", write, n_heads)),
    )
