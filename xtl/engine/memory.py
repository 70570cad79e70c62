"""How many cells fit into memory at a time: packed into one sequence, or as rows of a batch."""

from __future__ import annotations

from xtl.backend import Model

MEMORY = 512 * 2**20
"""Bytes that a chunk's activations, logits, and what is kept of it in caches, may take."""


def key_bytes(model: Model) -> int:
    """Bytes of a token's keys and values in all layers."""
    cfg = model.cfg
    n_heads = getattr(cfg, "n_key_value_heads", None) or cfg.n_heads
    return 2 * cfg.n_layers * n_heads * cfg.d_head * cfg.dtype.itemsize


def cells_that_fit(model: Model, n_keys: int, n_nodes: int, n_new: int) -> int:
    """Packed cells a chunk, so that its activations (and keys and values of new tokens) stay under `MEMORY`.

    Args:
        model: the model.
        n_keys: tokens that each has scores with.
        n_nodes: tokens a cell.
        n_new: tokens that it generates.
    """
    cfg = model.cfg
    widest = 4 * (cfg.d_mlp or 0) + 6 * cfg.n_heads * cfg.d_head + 6 * cfg.d_model + 4 * cfg.n_heads * n_keys
    return max(1, MEMORY // (4 * n_nodes * widest + key_bytes(model) * n_new))


def rows_that_fit(model: Model, n_tokens: int, n_read: int) -> int:
    """Rows of a batch a chunk, so that two copies of their keys and values, and of their float32 logits, stay under `MEMORY`.

    Args:
        model: the model.
        n_tokens: tokens a row.
        n_read: tokens of it whose logits are read.
    """
    return max(1, MEMORY // (2 * key_bytes(model) * n_tokens + 8 * model.cfg.d_vocab * n_read))
