"""Packed cells on a TransformerBridge, whose forward pass is the Hugging Face model's.

That model takes the cells as one text, with a mask that lets each token see the prompt's prefix and its own cell, positions
that put every cell at the prompt's end, and the prefix as `past_key_values`. Cells join layer by layer
(`xtl.engine.bridge_stages`); tokens that they generate go through all layers, each seeing the prefix and its own cell's tokens.

Whether a model honours all this is not left to its name: it is tried once on a short text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xtl.backend import Model, forward, forward_without_logits
from xtl.engine.bridge_stages import Stages
from xtl.engine.greedy import Best, greedy
from xtl.engine.plan import Cell, Plan
from xtl.engine.readout import Readout
from xtl.engine.rows import hooks_by_site
from xtl.engine.tree import build_tree
from xtl.hooks import MODULES, HookFunction, Hooks, capture, transplant_packed

TOKENS = 512
"""Most tokens of cells in one pass: the block of scores between them, masked, grows with their square."""

GENERATING = 160
"""Most cells in one pass when they generate: every step adds a token of each to what all of them have scores with."""

TRIED = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Largest relative difference of logits in the try, by precision."""


class PackedBridge:
    """The cells of one plan, on a TransformerBridge.

    Attributes:
        chunk_size: cells at a time.
    """

    def __init__(self, model: Model, plan: Plan) -> None:
        from transformers import DynamicCache

        self.model = model
        self.plan = plan
        self.tree = build_tree(plan.target_ids[-1], plan.continuations)
        self.prefix = plan.target_ids[:-1]
        # Without the configuration, every layer keeps all keys; a sliding window is in the mask.
        self.cache = DynamicCache()
        if self.prefix:
            forward_without_logits(model, self.prefix, cache=self.cache)
        self.readout = Readout(model)
        self.chunk_size = max(1, TOKENS // len(self.tree) - 1)
        if plan.max_new_tokens:
            self.chunk_size = min(GENERATING, self.chunk_size)

    def logprobs(self, cells: list[Cell], sources: Float[Tensor, "cell d_model"]) -> Float[Tensor, "row continuation"]:
        """Log-probability of each continuation, vanilla (row 0) and then the cells, which are in joining order.

        Where the score allows it, up to one constant a row.
        """
        with self.run(cells, sources) as normed:
            return self.readout.logprobs(normed, self.tree, self.plan.up_to_constant)

    def generate(
        self, cells: list[Cell], sources: Float[Tensor, "cell d_model"], ends: Int[Tensor, " end"]
    ) -> tuple[Int[Tensor, "row token"], Float[Tensor, "row token"]]:
        """Greedy tokens of vanilla (row 0) and of each cell, -1 after the end, and the logit of each; a row stops at its end."""
        with self.run(cells, sources) as normed:
            first = self.readout.argmax(normed[:, 0])
            rows = PackedBridgeRows(self, cells, sources)
            return greedy(rows, first, self.plan.max_new_tokens or 0, ends)

    @contextmanager
    def run(
        self, cells: list[Cell], sources: Float[Tensor, "cell d_model"]
    ) -> Iterator[Float[Tensor, "row node d_model"]]:
        """Residual stream after the final norm, of vanilla and of each cell; while it lasts, the cache holds their keys too."""
        n_rows, device = 1 + len(cells), self.model.cfg.device
        options: dict[str, Any] = {
            "position_ids": torch.tensor([self.tree.depths * n_rows], device=device) + len(self.prefix),
            "attention_mask": self.masks(n_rows),
        }
        kept: dict[str, Tensor] = {}
        stages = Stages(self.model, self.tree, len(self.prefix), self.plan, cells, sources)
        hooks: Hooks = [*stages.hooks, ("ln_final.hook_out", capture(kept, "normed", slice(None)))]
        try:
            with stages.joining():
                tokens = self.tree.tokens * n_rows
                forward_without_logits(self.model, tokens, hooks=hooks, cache=self.cache, **options)
            yield kept["normed"][0].unflatten(0, (n_rows, len(self.tree)))
        finally:
            for layer in self.cache.layers:  # the prefix alone again
                if layer.is_initialized:
                    layer.crop(len(self.prefix) - layer.get_seq_length())

    def masks(self, n_rows: int) -> Any:
        """What each token of the prompt's pass may see: the prefix, and its cell's tokens on its branch of the tree."""
        depths = torch.tensor(self.tree.depths)
        row = torch.arange(n_rows)

        def own(window: int | None) -> Bool[Tensor, "packed key"]:
            seen = torch.zeros(n_rows, len(depths), n_rows, len(depths), dtype=torch.bool)
            seen[row, :, row] = self.tree.sees() & near(depths, depths, window)
            return seen.flatten(2, 3).flatten(0, 1)

        return self.as_masks(depths.repeat(n_rows), own)

    def as_masks(self, depths: Int[Tensor, " packed"], own: Callable[[int | None], Bool[Tensor, "packed key"]]) -> Any:
        """Masks as the model wants them, one or one for each type of layer: 0 where a token may look, else very negative.

        Args:
            depths: how many tokens after the prompt's last one each token stands.
            own: which tokens after the prefix each sees, under a sliding window if there is one.
        """
        config, cfg = self.model.original_model.config, self.model.cfg
        prefix = torch.arange(-len(self.prefix), 0)

        def mask(window: int | None) -> Float[Tensor, "1 1 packed key"]:
            seen = torch.cat([near(depths, prefix, window), own(window)], dim=1).to(cfg.device)
            zeros = torch.zeros(seen.shape, dtype=cfg.dtype, device=cfg.device)
            return zeros.masked_fill_(~seen, torch.finfo(cfg.dtype).min)[None, None]

        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or [])
        if kinds:
            return {kind: mask(window if kind == "sliding_attention" else None) for kind in kinds}
        return mask(window)


def near(queries: Int[Tensor, " query"], keys: Int[Tensor, " key"], window: int | None) -> Bool[Tensor, "query key"]:
    """Which positions are within the sliding window (all where there is none)."""
    far = queries[:, None] - keys[None, :]
    return torch.ones_like(far, dtype=torch.bool) if window is None else far < window


class PackedBridgeRows:
    """Packed cells after the prompt: what runs their next tokens (see `xtl.engine.greedy`).

    In the cache stand the prefix and then, step by step, a token of each row.
    """

    def __init__(self, packed: PackedBridge, cells: list[Cell], sources: Float[Tensor, "cell d_model"]) -> None:
        self.packed = packed
        self.cells = cells
        self.sources = sources
        self.n_rows = 1 + len(cells)
        self.n_steps = 1
        every = torch.arange(self.n_rows)
        for layer in packed.cache.layers:  # a row that had not joined by then was vanilla, which is row 0
            there = layer.keys.shape[2] - len(packed.prefix)
            self._keep(layer, torch.where(every < there, every, 0))

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Go on with these rows alone."""
        steps = torch.arange(self.n_steps, device=rows.device)[:, None] * self.n_rows
        for layer in self.packed.cache.layers:
            self._keep(layer, (steps + rows).flatten())
        self.n_rows = len(rows)

    def _keep(self, layer: Any, own: Int[Tensor, " token"]) -> None:
        """Leave the prefix and these of the tokens after it in a layer of the cache."""
        n_prefix = len(self.packed.prefix)
        kept = torch.cat([torch.arange(n_prefix), n_prefix + own.cpu()]).to(layer.keys.device)
        layer.keys, layer.values = layer.keys[:, :, kept], layer.values[:, :, kept]

    def next(self, tokens: Int[Tensor, " row"], live: Int[Tensor, " row"]) -> Best:
        """Run one more token of each row, patched with `steps="every"`; all of them go through all layers."""
        packed, n_rows, depth = self.packed, self.n_rows, self.n_steps
        hooks = hooks_by_site(self.cells, live.tolist(), self.hook) if packed.plan.every_step else []
        earlier = torch.arange(depth + 1).repeat_interleave(n_rows)
        depths = torch.full((n_rows,), depth)
        kept: dict[str, Tensor] = {}
        forward_without_logits(
            packed.model,
            tokens.tolist(),
            hooks=[*hooks, ("ln_final.hook_out", capture(kept, "normed", slice(None)))],
            cache=packed.cache,
            position_ids=(depths + len(packed.prefix))[None].to(tokens.device),
            attention_mask=packed.as_masks(
                depths, lambda window: torch.eye(n_rows).bool().repeat(1, depth + 1) & near(depths, earlier, window)
            ),
        )
        self.n_steps += 1
        return packed.readout.argmax(kept["normed"][0])

    def hook(self, places: list[int], which: list[int]) -> HookFunction:
        """What the cells `which` write at the rows `places`."""
        return transplant_packed(self.sources[which], torch.tensor(places, device=self.sources.device), 1)


def why_not_packable_bridge(model: Model) -> str | None:
    """Why cells can't be packed on this bridge; None if they can. Tried once a model, then remembered on it."""
    if not hasattr(model, "xtl_packable"):
        model.xtl_packable = _try(model)
    return model.xtl_packable or None


@torch.no_grad()
def _try(model: Model) -> str:
    """Vanilla and cells that write what stands there anyway, with tokens after them, must all give what a plain pass gives."""
    text = [token % model.cfg.d_vocab for token in (5, 11, 7, 13, 3, 9)]
    middle = model.cfg.n_layers // 2
    modules = [module for module in (MODULES["attn"], MODULES["mlp"]) if module.write_hook(0) in model.hook_dict]
    own: dict[str, Tensor] = {}
    hooks: Hooks = [(module.read_hook(middle), capture(own, module.name)) for module in modules]
    plan = Plan([3], text[:4], (), (), (), ((text[4], text[5], 0),))
    try:
        forward_without_logits(model, text[:4], hooks=hooks)
        packed = PackedBridge(model, plan)
        cells = [Cell(module, middle, middle) for module in modules]
        with packed.run(cells, torch.cat([own[module.name] for module in modules])) as normed:
            got = packed.readout.logits(normed.flatten(0, 1), slice(None))
    except Exception as error:
        return f"its forward pass does not take packed masks ({type(error).__name__})"
    want = forward(model, text)[3:].float().repeat(1 + len(cells), 1)
    close = got.shape == want.shape and (got - want).abs().max() <= TRIED.get(model.cfg.dtype, 0.1) * want.abs().max()
    return "" if bool(close) else "its attention does not follow packed masks and positions"
