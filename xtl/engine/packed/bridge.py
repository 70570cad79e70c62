"""Packed cells on a TransformerBridge, whose forward pass is the Hugging Face model's.

That model takes the cells as a few texts (`groups`), with a mask that lets each token see the prompt's prefix and its
own cell, positions that put every cell at the prompt's end, and the prefix as `past_key_values`. Cells branch off layer by layer
(`bridge_stages`); tokens that they generate go through all layers, each seeing the prefix and its own cell's tokens.

Whether a model honours all this is not left to its name: it is tried once on a short text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xtl.backend import Model, forward_without_logits
from xtl.engine.greedy import Best, Greedy, greedy
from xtl.engine.memory import MEMORY, cells_that_fit, key_bytes
from xtl.engine.packed.bridge_stages import Stages
from xtl.engine.packed.groups import Groups, assign_groups, best_number_of_groups
from xtl.engine.plan import Cell, Plan
from xtl.engine.readings import Readings
from xtl.engine.readout import Readout
from xtl.engine.rows import hooks_by_site
from xtl.engine.tree import trees_of
from xtl.engine.written import Written
from xtl.hooks import HookFunction, capture, transplant_packed

GROUP = 256
"""Tokens of a group, about, from which the number of cells a chunk is reckoned."""

GENERATING = 16
"""Cells a group when they generate: every step adds a token of each to what all of them have scores with."""


class PackedBridge:
    """The cells of one plan, on a TransformerBridge.

    Attributes:
        chunk_size: cells at a time.
    """

    def __init__(self, model: Model, plan: Plan) -> None:
        self.model = model
        self.plan = plan
        self.tree, self.read_tree = trees_of(plan.target_ids, plan.start, plan.continuations)
        self.read_from = len(self.tree) - len(self.read_tree)
        self.prefix = plan.target_ids[: plan.start]
        self.cache = empty_cache()
        if self.prefix:
            forward_without_logits(model, self.prefix, cache=self.cache)
        self.readout = Readout(model)
        self.readings = Readings(model, plan)
        self.most_groups = max(1, MEMORY // 2 // max(1, key_bytes(model) * len(self.prefix)))
        slots = GENERATING if plan.max_new_tokens else GROUP // len(self.tree)
        self.chunk_size = min(
            max(1, slots) * self.most_groups,
            cells_that_fit(model, len(self.prefix) + GROUP, len(self.tree), plan.max_new_tokens or 0),
        )

    def logprobs(self, cells: list[Cell], written: Written) -> Float[Tensor, "row number"]:
        """Log-probability of each continuation (and what else is read), vanilla (row 0) and then the cells, in branch order.

        Where the score allows it, up to one constant a row.
        """
        seen = dict.fromkeys(self.readings.layers.values(), torch.empty(0))
        with self.run(cells, written, seen) as normed:
            normed = normed[:, self.read_from :]
            return self.readings.beside(self.readout.logprobs(normed, self.read_tree, self.plan.up_to_constant), seen)

    def generate(self, cells: list[Cell], written: Written, ends: Int[Tensor, " end"]) -> Greedy:
        """Greedy answers of vanilla (row 0) and of each cell; a row stops at its end."""
        with self.run(cells, written) as normed:
            first = self.readout.first(normed[:, 0], self.plan.confidence)
            rows = PackedBridgeRows(self, cells, written, self.assign(cells))
            return greedy(rows, first, self.plan.max_new_tokens or 0, ends)

    @contextmanager
    def run(
        self, cells: list[Cell], written: Written, seen: dict[int, Tensor] | None = None
    ) -> Iterator[Float[Tensor, "row node d_model"]]:
        """Residual stream after the final norm, of vanilla and of each cell; while it lasts, the cache holds their keys too.

        The layers in `seen` are given the residual stream after them, of each row's prompt's last token.
        """
        device, n_nodes = self.model.cfg.device, len(self.tree)
        assigned = self.assign(cells)
        n_groups, n_slots = assigned.numbers.shape
        alike = [cells[number] for number in assigned.numbers[0].tolist()]
        tokens = torch.tensor(self.tree.tokens * (1 + n_slots), device=device).expand(n_groups, -1)
        positions = torch.tensor(self.tree.depths * (1 + n_slots), device=device) + len(self.prefix)
        kept: dict[str, Tensor] = {}
        stages = Stages(
            self.model, self.tree, self.read_from, len(self.prefix), self.plan, alike, written[assigned.numbers]
        )
        stages.seen.update(seen or {})
        with self.prefix_of_groups(n_groups):
            with stages.branching():
                forward_without_logits(
                    self.model,
                    tokens,
                    hooks=[*stages.hooks, ("ln_final.hook_out", capture(kept, "normed", slice(None)))],
                    cache=self.cache,
                    position_ids=positions.expand(n_groups, -1),
                    attention_mask=self.masks(1 + n_slots, n_groups),
                )
            normed = kept.pop("normed").unflatten(1, (1 + n_slots, n_nodes))
            for layer, states in stages.seen.items():
                later = states[:, :1].expand(-1, 1 + n_slots - states.shape[1], -1)  # vanilla still
                states = torch.cat([states, later], dim=1)
                (seen or {})[layer] = torch.cat([states[:1, 0], states[assigned.groups, 1 + assigned.slots]])
            yield torch.cat([normed[:1, 0], normed[assigned.groups, 1 + assigned.slots]])

    def assign(self, cells: list[Cell]) -> Groups:
        """The cells in groups."""
        most = min(self.most_groups, len(cells))
        return assign_groups(cells, best_number_of_groups(cells, len(self.tree), len(self.prefix), most))

    @contextmanager
    def prefix_of_groups(self, n_groups: int) -> Iterator[None]:
        """While it lasts, the cache holds the prefix for each group, and what is added to it; then the prefix alone again."""
        prefix = [(layer.keys, layer.values) for layer in self.cache.layers]
        for layer, (keys, values) in zip(self.cache.layers, prefix, strict=True):
            layer.keys, layer.values = keys.expand(n_groups, -1, -1, -1), values.expand(n_groups, -1, -1, -1)
        try:
            yield
        finally:
            if not prefix:
                self.cache = empty_cache()
            for layer, (keys, values) in zip(self.cache.layers, prefix, strict=True):
                layer.keys, layer.values = keys, values

    def masks(self, n_rows: int, n_groups: int) -> Any:
        """What each token of the prompt's pass may see: the prefix, and its cell's tokens on its branch of the tree."""
        depths = torch.tensor(self.tree.depths)
        row = torch.arange(n_rows)

        def own(near: Near) -> Bool[Tensor, "packed key"]:
            seen = torch.zeros(n_rows, len(depths), n_rows, len(depths), dtype=torch.bool)
            seen[row, :, row] = self.tree.sees() & self.within(near, depths, depths)
            return seen.flatten(2, 3).flatten(0, 1)

        return self.as_masks(depths.repeat(n_rows), own, n_groups)

    def as_masks(
        self, depths: Int[Tensor, " packed"], own: Callable[[Near], Bool[Tensor, "packed key"]], n_groups: int
    ) -> Any:
        """Masks as the model wants them, one or one for each type of layer: 0 where a token may look, else very negative.

        Args:
            depths: how many tokens after the prompt's last one each token stands.
            own: which tokens after the prefix each sees, of those that a layer's kind of attention lets it.
            n_groups: groups, which are all alike.
        """
        config, cfg = self.model.original_model.config.get_text_config(), self.model.cfg
        prefix = torch.arange(-len(self.prefix), 0)

        def mask(near: Near) -> Float[Tensor, "group 1 packed key"]:
            seen = torch.cat([self.within(near, depths, prefix), own(near)], dim=1).to(cfg.device)
            zeros = torch.zeros(seen.shape, dtype=cfg.dtype, device=cfg.device)
            return zeros.masked_fill_(~seen, torch.finfo(cfg.dtype).min).expand(n_groups, 1, -1, -1)

        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or [])
        slides = everywhere if window is None else partial(in_window, window)
        if not kinds:
            return mask(slides)
        chunk = getattr(config, "attention_chunk_size", None)
        chunks = everywhere if chunk is None else partial(in_chunk, chunk)
        nearness = {"sliding_attention": slides, "chunked_attention": chunks}
        return {kind: mask(nearness.get(kind, everywhere)) for kind in kinds}

    def within(
        self, near: Near, queries: Int[Tensor, " query"], keys: Int[Tensor, " key"]
    ) -> Bool[Tensor, "query key"]:
        """Which keys are near enough to each query; both count from the prompt's last token."""
        return near(queries[:, None] + len(self.prefix), keys[None, :] + len(self.prefix))


def empty_cache() -> Any:
    """A cache whose layers keep all keys, as it does not know the configuration: a sliding window is in the mask."""
    from transformers import DynamicCache

    return DynamicCache()


Near = Callable[[Int[Tensor, "query 1"], Int[Tensor, "1 key"]], Bool[Tensor, "query key"]]
"""Whether a layer's kind of attention lets positions see others, which come before them."""


def everywhere(queries: Int[Tensor, "query 1"], keys: Int[Tensor, "1 key"]) -> Bool[Tensor, "query key"]:
    """All of them."""
    return torch.ones(len(queries), keys.shape[1], dtype=torch.bool)


def in_window(window: int, queries: Int[Tensor, "query 1"], keys: Int[Tensor, "1 key"]) -> Bool[Tensor, "query key"]:
    """The last `window` ones, its own included (`sliding_window`)."""
    return queries - keys < window


def in_chunk(chunk: int, queries: Int[Tensor, "query 1"], keys: Int[Tensor, "1 key"]) -> Bool[Tensor, "query key"]:
    """Those in its chunk of the text (`attention_chunk_size`, Llama 4)."""
    return queries // chunk == keys // chunk


class PackedBridgeRows:
    """Packed cells after the prompt: what runs their next tokens (see `xtl.engine.greedy`).

    Row r stands in group r // size at slot r % size. In the cache stand the prefix and then, step by step, a token of each slot.
    """

    def __init__(self, packed: PackedBridge, cells: list[Cell], written: Written, assigned: Groups) -> None:
        self.packed = packed
        self.cells = cells
        self.written = written
        self.n_steps = 1
        groups = torch.cat([torch.zeros(1, dtype=torch.long), assigned.groups])
        slots = torch.cat([torch.zeros(1, dtype=torch.long), 1 + assigned.slots])
        self.lay_out(groups, slots, n_slots_before=None)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Go on with these rows alone."""
        rows = rows.cpu()
        self.lay_out(rows // self.size, rows % self.size, n_slots_before=self.size)

    def lay_out(self, groups: Int[Tensor, " row"], slots: Int[Tensor, " row"], n_slots_before: int | None) -> None:
        """Lay the rows that stand at these places out anew, and their keys and values in the cache with them.

        Args:
            groups: of each row.
            slots: of each row.
            n_slots_before: slots a group; None after the prompt's pass, in which a layer has those that had branched off by then.
        """
        self.n_rows = len(groups)
        n_groups = -(-self.n_rows // GENERATING)
        self.size = -(-self.n_rows // n_groups)
        padding = [0, n_groups * self.size - self.n_rows]  # the last group's empty slots hold row 0
        groups, slots = F.pad(groups, padding), F.pad(slots, padding)
        groups[self.n_rows :], slots[self.n_rows :] = groups[0].clone(), slots[0].clone()
        n_prefix = len(self.packed.prefix)
        for layer in self.packed.cache.layers:
            n_slots = n_slots_before or layer.keys.shape[2] - n_prefix
            there = torch.where(slots < n_slots, slots, 0)  # a row that had not branched off by then was vanilla
            for name in ("keys", "values"):
                held = getattr(layer, name)
                own = held[:, :, n_prefix:].unflatten(2, (self.n_steps, n_slots))
                own = own[groups.to(held.device), :, :, there.to(held.device)]
                own = rearrange(own, "(group slot) kv step d -> group kv (step slot) d", group=n_groups)
                prefix = held[:1, :, :n_prefix].expand(n_groups, -1, -1, -1)
                setattr(layer, name, torch.cat([prefix, own], dim=2))

    def next(self, tokens: Int[Tensor, " row"], live: Int[Tensor, " row"]) -> Best:
        """Run one more token of each row, patched with `steps="every"`; all of them go through all layers."""
        packed, size, depth = self.packed, self.size, self.n_steps
        hooks = hooks_by_site(self.cells, live.tolist(), self.hook) if packed.plan.every_step else []
        filled = torch.cat([tokens, tokens[:1].expand(-len(tokens) % size)]).unflatten(0, (-1, size))
        earlier = torch.arange(depth + 1).repeat_interleave(size)
        depths = torch.full((size,), depth)
        kept: dict[str, Tensor] = {}
        forward_without_logits(
            packed.model,
            filled,
            hooks=[*hooks, ("ln_final.hook_out", capture(kept, "normed", slice(None)))],
            cache=packed.cache,
            position_ids=(depths + len(packed.prefix)).to(tokens.device).expand(len(filled), -1),
            attention_mask=packed.as_masks(
                depths,
                lambda near: torch.eye(size).bool().repeat(1, depth + 1) & packed.within(near, depths, earlier),
                len(filled),
            ),
        )
        self.n_steps += 1
        return packed.readout.next(kept["normed"].flatten(0, 1)[: self.n_rows], packed.plan.confidence)

    def hook(self, places: list[int], which: list[int]) -> HookFunction:
        """What the cells `which` write at the rows `places`."""
        these = self.written[which]
        rows = torch.tensor(places, device=these.sources.device)
        return transplant_packed(these.sources, rows % self.size, 1, groups=rows // self.size, **these.how)
