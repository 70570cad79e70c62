"""Attention of packed cells, for HookedTransformer: each cell sees the prompt's prefix and itself, never another cell.

This goes below TransformerLens's hook points, on purpose. Its own attention would take the cells, which stand side by side on
one position axis, for one text: a hook on `hook_attn_scores` could mask that out, but only after a (cells x cells) block of
scores, and a copy of the prefix's keys and values for every query head, had been computed in vain. So while cells are
packed, each block's `attn.forward` is replaced; queries, keys and values still come from its own `calculate_qkv_matrices`
(with its hooks and QK norm), rotations from its own `apply_rotary`, what the heads put out goes through its `hook_z`, and
everything around attention is untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xtl.backend import Model, forward_without_logits, new_cache
from xtl.engine.tree import Tree


def why_not_packable_hooked(model: Model) -> str | None:
    """Why a HookedTransformer's attention can't be packed here; None if it can."""
    cfg = model.cfg
    if cfg.positional_embedding_type not in ("rotary", "standard", "alibi"):
        return f"its positions are {cfg.positional_embedding_type!r}"
    checks = {
        "bidirectional attention": cfg.attention_dir != "causal",
        "log-n scaling of queries": cfg.use_logn_attn,
        "rotary angles that depend on length": cfg.use_dynamic_ntk_rope,
        "attention sinks": cfg.use_attention_sinks,
        "clipped queries and keys": cfg.clip_qkv is not None,
        "4-bit weights": cfg.load_in_4bit,
        "inputs split by head": cfg.use_split_qkv_input or cfg.use_attn_in,
        "outputs split by head": cfg.use_attn_result,
        "keys and values repeated by head": cfg.ungroup_grouped_query_attention,
        "QK norm over all heads": cfg.original_architecture
        in ("OlmoeForCausalLM", "Olmo2ForCausalLM", "Olmo3ForCausalLM"),
    }
    return next((reason for reason, holds in checks.items() if holds), None)


class Prefix:
    """Keys (rotated) and values of the target prompt's prefix, all tokens but the last, by layer: no cell changes them."""

    def __init__(self, model: Model, tokens: list[int]) -> None:
        self.length = len(tokens)
        self.keys: list[Float[Tensor, "kv_head d_head prefix"]] = []
        self.values: list[Float[Tensor, "kv_head prefix d_head"]] = []
        cache = new_cache(model)
        if tokens:
            forward_without_logits(model, tokens, cache=cache)
        for block, entry in zip(model.blocks, cache.entries, strict=True):
            keys = entry.past_keys
            if tokens and model.cfg.positional_embedding_type == "rotary":
                keys = block.attn.apply_rotary(keys, 0, None)
            self.keys.append(rearrange(keys[0], "pos kv d -> kv d pos").contiguous())
            self.values.append(rearrange(entry.past_values[0], "pos kv d -> kv pos d").contiguous())


class OwnTokens:
    """Keys (rotated) and values of each row's own tokens, from the prompt's last one on, by layer; they grow as it writes.

    Attributes:
        length: earlier tokens a row.
        keys: `[kv_head, row, d_head, token]` a layer.
        values: `[kv_head, row, token, d_head]` a layer.
    """

    def __init__(self) -> None:
        self.length = 0
        self.keys: dict[int, Float[Tensor, "kv_head row d_head token"]] = {}
        self.values: dict[int, Float[Tensor, "kv_head row token d_head"]] = {}

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add a token's; returns those of all tokens so far."""
        if layer in self.keys:
            keys = torch.cat([self.keys[layer], keys], dim=-1)
            values = torch.cat([self.values[layer], values], dim=-2)
        self.keys[layer], self.values[layer] = keys, values
        return keys, values

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Keep these rows alone; a row that a layer doesn't have was vanilla there, which is its row 0."""
        for layer, keys in self.keys.items():
            there = torch.where(rows < keys.shape[1], rows, 0)
            self.keys[layer] = keys[:, there]
            self.values[layer] = self.values[layer][:, there]


@contextmanager
def packed_attention(model: Model, prefix: Prefix, tree: Tree, own: OwnTokens | None = None) -> Iterator[None]:
    """While it lasts, every block takes its input `[1, cells * nodes, d_model]` for packed cells.

    Args:
        model: a HookedTransformer.
        prefix: keys and values that all cells see.
        tree: a cell's tokens from the prompt's last one on, node index innermost.
        own: earlier tokens of each cell, which it sees too and to which these are added; then the tree is one token.
    """
    try:
        for layer, block in enumerate(model.blocks):
            block.attn.forward = _make_forward(block.attn, layer, prefix, tree, own)
        yield
    finally:
        for block in model.blocks:
            vars(block.attn).pop("forward", None)  # the class's own method is back


def _make_forward(attn: Any, layer: int, prefix: Prefix, tree: Tree, own: OwnTokens | None) -> Callable[..., Tensor]:
    cfg = attn.cfg
    keys, values = prefix.keys[layer], prefix.values[layer]
    n_nodes, n_kv = len(tree), keys.shape[0]
    n_earlier = own.length if own is not None else 0
    device = keys.device
    depths = [n_earlier + depth for depth in tree.depths]
    prefix_bias, own_bias = _biases(attn, prefix.length, depths, _sees(tree, n_earlier).to(device))
    weight = rearrange(attn.W_O, "head d_head d_model -> d_model (head d_head)").contiguous()

    def rotate(x: Float[Tensor, "cell node head d_head"]) -> Float[Tensor, "cell node head d_head"]:
        if cfg.positional_embedding_type != "rotary":
            return x
        parts = []
        for depth in sorted(set(depths)):  # nodes are in order of depth, and a depth is a position
            part = x[:, [node for node in range(n_nodes) if depths[node] == depth]]
            one_position = rearrange(part, "cell node head d -> (cell node) 1 head d")
            rotated = attn.apply_rotary(one_position, prefix.length + depth, None)
            parts.append(rearrange(rotated, "(cell node) 1 head d -> cell node head d", cell=x.shape[0]))
        return torch.cat(parts, dim=1)

    def softcap(scores: Tensor) -> Tensor:
        cap = cfg.attn_scores_soft_cap
        return scores if cap is None or cap <= 0 else cap * torch.tanh(scores / cap)

    def forward_packed(
        query_input: Tensor, key_input: Tensor, value_input: Tensor, **_: Any
    ) -> Float[Tensor, "1 packed d_model"]:
        q, k, v = (
            rearrange(x, "1 (cell node) head d -> cell node head d", node=n_nodes)
            for x in attn.calculate_qkv_matrices(query_input, key_input, value_input)
        )
        q = rearrange(rotate(q), "cell node (kv group) d -> kv group cell node d", kv=n_kv)
        k = rearrange(rotate(k), "cell node kv d -> kv cell d node")
        v = rearrange(v, "cell node kv d -> kv cell node d")
        if own is not None:
            k, v = own.append(layer, k, v)
        n_group, n_cells = q.shape[1], q.shape[2]

        flat = rearrange(q, "kv group cell node d -> kv (group cell node) d")
        to_prefix = rearrange(
            flat @ keys, "kv (group cell node) p -> kv group cell node p", group=n_group, cell=n_cells
        )
        to_prefix = softcap(to_prefix / attn.attn_scale) + prefix_bias
        to_own = softcap(q @ k[:, None] / attn.attn_scale) + own_bias
        pattern = torch.cat([to_prefix, to_own], dim=-1).softmax(dim=-1)
        from_prefix, from_own = pattern.split([prefix.length, to_own.shape[-1]], dim=-1)
        z = rearrange(from_prefix, "kv group cell node p -> kv (group cell node) p") @ values
        z = rearrange(z, "kv (group cell node) d -> kv group cell node d", group=n_group, cell=n_cells)
        z = z + from_own @ v[:, None]
        z = attn.hook_z(rearrange(z, "kv group cell node d -> 1 (cell node) (kv group) d"))
        return F.linear(rearrange(z, "1 packed head d -> 1 packed (head d)"), weight, attn.b_O)

    return forward_packed


def _sees(tree: Tree, n_earlier: int) -> Bool[Tensor, "node token"]:
    """Which of a cell's own tokens each node attends to: all earlier ones, and those of the tree on its branch."""
    return torch.cat([torch.ones(len(tree), n_earlier, dtype=torch.bool), tree.sees()], dim=1)


def _biases(
    attn: Any, n_prefix: int, depths: list[int], sees: Bool[Tensor, "node token"]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """What is added to the scores on the prefix and on the cell's own tokens: masks, and ALiBi's slopes.

    Both broadcast to `[kv_head, group, cell, node, key]`.
    """
    device = sees.device
    positions = torch.tensor(depths, device=device) + n_prefix
    own_positions = torch.cat([torch.arange(sees.shape[1] - len(depths), device=device) + n_prefix, positions])
    prefix_positions = torch.arange(n_prefix, device=device)
    window = attn.cfg.window_size if attn.attn_type == "local" else None
    far = positions[:, None] - prefix_positions[None, :]
    own_far = positions[:, None] - own_positions[None, :]
    hidden = torch.zeros_like(far, dtype=torch.bool) if window is None else far >= window
    own_hidden = ~sees if window is None else ~sees | (own_far >= window)
    dtype = attn.cfg.dtype
    bias = torch.zeros(far.shape, device=device, dtype=dtype).masked_fill(hidden, -torch.inf)
    own_bias = torch.zeros(own_far.shape, device=device, dtype=dtype).masked_fill(own_hidden, -torch.inf)
    if attn.cfg.positional_embedding_type != "alibi":
        return bias, own_bias
    slopes = attn.create_alibi_multipliers(attn.cfg.n_heads, device)[:, None, None, None, None]
    return bias - slopes * far, own_bias - slopes * own_far  # ALiBi models have as many key heads as query heads
