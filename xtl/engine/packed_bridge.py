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

from xtl.backend import Model, forward
from xtl.engine.plan import Cell, Plan
from xtl.engine.tree import Tree, build_tree
from xtl.hooks import Hooks, transplant_packed

LOGITS = 256 * 2**20
"""Bytes that a chunk's logits may take."""

TOKENS = 1024
"""Most tokens of cells in one pass: the block of scores between them, masked, grows with their square."""


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
            forward(model, self.prefix, cache=self.cache)
        rows = min(TOKENS, LOGITS // (8 * model.cfg.d_vocab)) // len(tree)
        self.chunk_size = max(1, rows - 1)

    def logprobs(self, cells: list[Cell], sources: Float[Tensor, "cell d_model"]) -> Float[Tensor, "row continuation"]:
        """Log-probability of each continuation, vanilla (row 0) and then the cells."""
        n_nodes = len(self.tree)
        hooks: Hooks = []
        for module, layer in dict.fromkeys((cell.module, cell.target_layer) for cell in cells):
            rows = [row for row, cell in enumerate(cells) if (cell.module, cell.target_layer) == (module, layer)]
            at = torch.tensor([1 + row for row in rows], device=sources.device)
            hooks.append((module.write_hook(layer), transplant_packed(sources[rows], at, n_nodes)))
        logits = self.run(1 + len(cells), hooks)
        normed = logits.float().log_softmax(dim=-1).unflatten(0, (1 + len(cells), n_nodes))
        columns = [sum(normed[:, node, token] for node, token in reads) for reads in self.tree.reads]
        return torch.stack([torch.as_tensor(column) for column in columns], dim=-1).cpu()

    def run(self, n_rows: int, hooks: Hooks) -> Float[Tensor, "packed d_vocab"]:
        """Logits of `n_rows` copies of the tree, side by side."""
        device = self.model.cfg.device
        ids = torch.tensor([self.tree.tokens * n_rows], device=device)
        depths = torch.tensor(self.tree.depths * n_rows, device=device)
        options: dict[str, Any] = {
            "position_ids": (depths + len(self.prefix))[None],
            "attention_mask": self.masks(n_rows),
            "past_key_values": self.cache,
            "use_cache": True,
        }
        logits = self.model.run_with_hooks(ids, fwd_hooks=hooks, **options)[0]
        self.cache.crop(-ids.shape[1])  # the prefix alone again
        return logits

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
    plan = Plan([3], text[:4], (), (), (), (tuple(text[4:]),))
    tree = build_tree(text[3], ((text[4], text[5], 0),))
    try:
        got = PackedBridge(model, plan, tree).run(2, []).unflatten(0, (2, 3)).float()
    except Exception as error:
        return f"its forward pass does not take packed masks ({type(error).__name__})"
    want = forward(model, text)[3:].float()
    close = (got - want).abs().max() <= 1e-3 * want.abs().max()
    return "" if bool(close) else "its attention does not follow packed masks and positions"
