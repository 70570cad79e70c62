"""Packed cells on a TransformerBridge, whose forward pass is the Hugging Face model's.

That model takes the cells as one text, with a mask that lets each token see the prompt's prefix and its own cell, positions
that put every cell at the prompt's end, and the prefix as `past_key_values`. All layers run for all cells: a bridge can't start
in the middle. Whether a model honours such masks and positions is not left to its name: it is tried once on a short text.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward, forward_without_logits, takes_logits_to_keep
from xtl.engine.plan import Cell, Plan
from xtl.engine.readout import Readout
from xtl.engine.tree import Tree, build_tree
from xtl.hooks import Hooks, transplant_packed

TOKENS = 1024
"""Most tokens of cells in one pass: the block of scores between them, masked, grows with their square."""


TRIED = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Largest relative difference of logits in the try, by precision."""


class PackedBridge:
    """The cells of one plan, on a TransformerBridge.

    Attributes:
        chunk_size: cells at a time.
    """

    def __init__(self, model: Model, plan: Plan, tree: Tree) -> None:
        from transformers import DynamicCache

        self.model = model
        self.tree = tree
        self.prefix = plan.target_ids[:-1]
        # Without the configuration, every layer keeps all keys; a sliding window is in the mask.
        self.cache = DynamicCache()
        if self.prefix:
            forward_without_logits(model, self.prefix, cache=self.cache)
        self.readout = Readout(model)
        self.up_to_constant = plan.up_to_constant
        self.chunk_size = max(1, TOKENS // len(tree) - 1)

    def logprobs(self, cells: list[Cell], sources: Float[Tensor, "cell d_model"]) -> Float[Tensor, "row continuation"]:
        """Log-probability of each continuation, vanilla (row 0) and then the cells."""
        n_nodes = len(self.tree)
        hooks: Hooks = []
        for module, layer in dict.fromkeys((cell.module, cell.target_layer) for cell in cells):
            rows = [row for row, cell in enumerate(cells) if (cell.module, cell.target_layer) == (module, layer)]
            at = torch.tensor([1 + row for row in rows], device=sources.device)
            hooks.append((module.write_hook(layer), transplant_packed(sources[rows], at, n_nodes)))
        return self.readout.logprobs(self.run(1 + len(cells), hooks), self.tree, self.up_to_constant)

    def run(self, n_rows: int, hooks: Hooks) -> Float[Tensor, "row node d_model"]:
        """Residual stream after the final norm of `n_rows` copies of the tree, side by side."""
        device = self.model.cfg.device
        ids = torch.tensor([self.tree.tokens * n_rows], device=device)
        depths = torch.tensor(self.tree.depths * n_rows, device=device)
        options: dict[str, Any] = {
            "position_ids": (depths + len(self.prefix))[None],
            "attention_mask": self.masks(n_rows),
            "past_key_values": self.cache,
            "use_cache": True,
        }
        if takes_logits_to_keep(self.model):
            options["logits_to_keep"] = 1
        kept: dict[str, Tensor] = {}

        def keep(activation: Float[Tensor, "1 packed d_model"], hook: Any) -> None:
            kept["normed"] = activation.detach()

        self.model.run_with_hooks(ids, fwd_hooks=[*hooks, ("ln_final.hook_out", keep)], **options)
        self.cache.crop(-ids.shape[1])  # the prefix alone again
        return kept["normed"][0].unflatten(0, (n_rows, len(self.tree)))

    def masks(self, n_rows: int) -> Any:
        """What each token may see, as the model wants it: one mask, or one for each type of layer."""
        config = self.model.original_model.config
        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or [])
        if kinds:
            return {kind: self.mask(n_rows, window if kind == "sliding_attention" else None) for kind in kinds}
        return self.mask(n_rows, window)

    def mask(self, n_rows: int, window: int | None) -> Float[Tensor, "1 1 packed key"]:
        """0 where a token may look, a very negative number elsewhere."""
        n_prefix = len(self.prefix)
        depths = torch.tensor(self.tree.depths)
        own = self.tree.sees()
        to_prefix = torch.ones(len(self.tree), n_prefix, dtype=torch.bool)
        if window is not None:
            own = own & (depths[:, None] - depths[None, :] < window)
            to_prefix = (depths[:, None] + n_prefix) - torch.arange(n_prefix)[None, :] < window
        seen = torch.cat([to_prefix.repeat(n_rows, 1), torch.block_diag(*[own] * n_rows).bool()], dim=1)
        dtype = self.model.cfg.dtype
        mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
        return mask[None, None].to(self.model.cfg.device)


def why_not_packable_bridge(model: Model) -> str | None:
    """Why cells can't be packed on this bridge; None if they can. Tried once a model, then remembered on it."""
    if not hasattr(model, "xtl_packable"):
        model.xtl_packable = _try(model)
    return model.xtl_packable or None


@torch.no_grad()
def _try(model: Model) -> str:
    """Two packed copies of a short text's end, with two tokens after it, must give what a plain pass gives."""
    text = [token % model.cfg.d_vocab for token in (5, 11, 7, 13, 3, 9)]
    plan = Plan([3], text[:4], (), (), (), ())
    tree = build_tree(text[3], ((text[4], text[5], 0),))
    try:
        packed = PackedBridge(model, plan, tree)
        got = packed.readout.logits(packed.run(2, []).flatten(0, 1), slice(None))
    except Exception as error:
        return f"its forward pass does not take packed masks ({type(error).__name__})"
    want = forward(model, text)[3:].float().repeat(2, 1)
    close = got.shape == want.shape and (got - want).abs().max() <= TRIED.get(model.cfg.dtype, 0.1) * want.abs().max()
    return "" if bool(close) else "its attention does not follow packed masks and positions"
