"""The packed engine: the whole map for about the price of a few forward passes, exactly.

A transplant touches the last position of the target prompt alone. So one pass over the source prompt gives every activation
that is read; one pass over the target prompt's prefix (all but its last token) gives keys and values that no cell changes; and
below its target layer a cell is the vanilla run. What is left of a cell is *one token* (and the tokens of the continuations to
score, or those that it generates, after it). All cells are put side by side on the position axis of one sequence, each seeing the
prefix and itself.

How that is done is the backend's: `hooked` replaces the blocks' attention and scores with the columns of the unembedding
that are needed; `bridge` gives the Hugging Face model a mask and positions.
"""

from __future__ import annotations

from xtl.backend import Model, is_bridge
from xtl.engine.packed.bridge import PackedBridge
from xtl.engine.packed.hooked import PackedHooked
from xtl.engine.packed.hooked_attention import why_not_packable_hooked
from xtl.engine.plan import Plan
from xtl.engine.probe import SHORT, why_not_exact, why_not_readable


def make_packed(model: Model, plan: Plan) -> PackedHooked | PackedBridge:
    """The plan's cells, packed."""
    return PackedBridge(model, plan) if is_bridge(model) else PackedHooked(model, plan)


def why_not_packable(model: Model) -> str | None:
    """Why this model's cells can't be packed; None if they can. Tried once a model, then remembered on it."""
    if not hasattr(model, "xtl_packable"):
        model.xtl_packable = _try(model)
    return model.xtl_packable or None


def _try(model: Model) -> str:
    reason = why_not_readable(model) if is_bridge(model) else why_not_packable_hooked(model)
    return reason or why_not_exact(
        model,
        make_packed,
        SHORT,
        "its forward pass does not take the masks that keep cells in one text apart",
        "its attention does not follow the masks and positions that keep cells in one text apart",
    )
