"""The packed engine: the whole map for about the price of a few forward passes, exactly.

A transplant touches the last position of the target prompt alone. So one pass over the source prompt gives every activation
that is read; one pass over the target prompt's prefix (all but its last token) gives keys and values that no cell changes; and
below its target layer a cell is the vanilla run. What is left of a cell is *one token* (and the tokens of the continuations to
score after it). All cells are put side by side on the position axis of one sequence, each seeing the prefix and itself.

How that is done is the backend's: `packed_hooked` replaces the blocks' attention, lets cells join at their target layer and
scores with the columns of the unembedding that are needed; `packed_bridge` gives the Hugging Face model a mask and positions.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, is_bridge
from xtl.engine.packed_bridge import PackedBridge
from xtl.engine.packed_hooked import PackedHooked
from xtl.engine.plan import Cell, Plan
from xtl.engine.tree import build_tree
from xtl.transplants import read_activations


def run_packed(model: Model, plan: Plan) -> Iterator[tuple[Cell | None, Float[Tensor, " continuation"]]]:
    """Log-probabilities of the continuations for vanilla (cell None) and for each cell, in the plan's order.

    With `plan.up_to_constant`, up to a constant a cell.
    """
    activations = read_activations(model, plan.source_ids, plan.modules, plan.source_layers)
    tree = build_tree(plan.target_ids[-1], plan.continuations)
    kind = PackedBridge if is_bridge(model) else PackedHooked
    packed = kind(model, plan, tree)
    size = plan.chunk_size or packed.chunk_size
    # In the order in which the cells leave vanilla: by layer, and within a block attention before the rest.
    by_layer = sorted(enumerate(plan.cells()), key=lambda item: (item[1].target_layer, item[1].module.write))
    table = torch.empty(1 + plan.n_cells, len(plan.continuations))
    while by_layer:
        chunk = by_layer[:size]
        cells = [cell for _, cell in chunk]
        sources = torch.stack([activations[cell.module.name, cell.source_layer] for cell in cells])
        try:
            values = packed.logprobs(cells, sources)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            warnings.warn(f"out of memory with {size} cells at a time; going on with {size // 2}", stacklevel=2)
            size = size // 2
            packed = kind(model, plan, tree)  # the failed pass may have left its cache half filled
            continue
        by_layer = by_layer[size:]
        table[0] = values[0]
        table[[1 + index for index, _ in chunk]] = values[1:]
    yield from zip([None, *plan.cells()], table, strict=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an allocation that failed, on an accelerator or on the CPU."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
