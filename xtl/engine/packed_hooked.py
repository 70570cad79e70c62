"""Packed cells on a HookedTransformer: they join the sequence at their target layer, and only the columns of the unembedding
that the score needs are used."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from xtl.backend import Model
from xtl.engine.packed_attention import Prefix, packed_attention
from xtl.engine.plan import Cell, Plan
from xtl.engine.readout import Readout
from xtl.engine.tree import Tree
from xtl.hooks import Hooks, capture, transplant_packed

MEMORY = 512 * 2**20
"""Bytes that a chunk's activations may take."""


class PackedHooked:
    """The cells of one plan, on a HookedTransformer.

    Attributes:
        chunk_size: cells at a time, so that their activations stay under `MEMORY`.
    """

    def __init__(self, model: Model, plan: Plan, tree: Tree) -> None:
        self.model = model
        self.tree = tree
        self.up_to_constant = plan.up_to_constant
        self.prefix = Prefix(model, plan.target_ids[:-1])
        self.readout = Readout(model)
        self.chunk_size = cells_that_fit(model, self.prefix.length, len(tree))

    def logprobs(self, cells: list[Cell], sources: Float[Tensor, "cell d_model"]) -> Float[Tensor, "row continuation"]:
        """Log-probability of each continuation, vanilla (row 0) and then the cells, which are in order of target layer.

        Where the score allows it, up to one constant a row.
        """
        residual = run_cells(self.model, self.prefix, self.tree, cells, sources)
        normed = self.model.ln_final(residual) if self.model.cfg.normalization_type is not None else residual
        return self.readout.logprobs(normed, self.tree, self.up_to_constant)


def run_cells(
    model: Model, prefix: Prefix, tree: Tree, cells: list[Cell], sources: Float[Tensor, "cell d_model"]
) -> Float[Tensor, "row node d_model"]:
    """Final residual stream of vanilla (row 0) and of each cell; cells come in the order in which they leave vanilla.

    A cell that writes an attention output joins before its target layer's block, and a hook writes it there. One that writes a
    feed-forward output or the whole residual stream joins after the block, without a hook: until then it is vanilla, and from
    there on the sum that the block would have made (`resid_mid + mlp_out`, the contract of `xtl.models.contract`) is made here.
    """
    residual = embed_nodes(model, prefix.length, tree)
    done = 0
    with packed_attention(model, prefix, tree):
        for layer in range(model.cfg.n_layers):
            joining = [cell for cell in cells[done:] if cell.target_layer == layer]
            early = [cell for cell in joining if cell.module.write == "hook_attn_out"]
            late = joining[len(early) :]
            residual = torch.cat([residual, residual[:1].expand(len(early), -1, -1)])
            vanilla: dict[str, Tensor] = {}
            hooks: Hooks = [
                (f"blocks.{layer}.{site}", capture(vanilla, site, position=0))
                for site in ("hook_resid_pre", "hook_attn_out")
            ]
            if early:
                rows = torch.arange(1 + done, 1 + done + len(early), device=residual.device)
                write = transplant_packed(sources[done : done + len(early)], rows, len(tree))
                hooks.append((f"blocks.{layer}.hook_attn_out", write))
            out = model.run_with_hooks(
                rearrange(residual, "row node d -> 1 (row node) d"),
                fwd_hooks=hooks,
                start_at_layer=layer,
                stop_at_layer=layer + 1,
            )
            residual = rearrange(out, "1 (row node) d -> row node d", node=len(tree))
            done += len(early)
            if late:
                joined = residual[:1].repeat(len(late), 1, 1)
                joined[:, 0] = sources[done : done + len(late)]
                through_mlp = [row for row, cell in enumerate(late) if cell.module.write == "hook_mlp_out"]
                joined[through_mlp, 0] += vanilla["hook_resid_pre"] + vanilla["hook_attn_out"]
                residual = torch.cat([residual, joined])
                done += len(late)
    return residual


def embed_nodes(model: Model, n_prefix: int, tree: Tree) -> Float[Tensor, "1 node d_model"]:
    """Input of the first layer for the tree's tokens, at their positions."""
    device = model.cfg.device
    residual = model.embed(torch.tensor([tree.tokens], device=device))
    if model.cfg.positional_embedding_type == "standard":
        positions: Int[Tensor, " node"] = torch.tensor(tree.depths, device=device) + n_prefix
        residual = residual + model.pos_embed.W_pos[positions]
    return residual


def cells_that_fit(model: Model, n_prefix: int, n_nodes: int) -> int:
    """Cells a chunk, so that its activations stay under `MEMORY`."""
    cfg = model.cfg
    widest = (
        4 * (cfg.d_mlp or 0) + 6 * cfg.n_heads * cfg.d_head + 6 * cfg.d_model + 4 * cfg.n_heads * (n_prefix + n_nodes)
    )
    return max(1, MEMORY // (4 * n_nodes * widest))
