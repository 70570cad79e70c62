"""A model's unembedding, by columns: logits of some tokens, and sums over the vocabulary, in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, upcast
from xtl.engine.logit_scale import logit_scale

VOCABULARY_TILE = 4096
"""Columns of the unembedding at a time when only the sum over the vocabulary is wanted; a tile of logits fits the cache."""


class Unembedding:
    """A model's unembedding, by columns, and what the model does to logits besides.

    Attributes:
        model: the model.
        weight: `[d_vocab, d_model]`.
        bias: `[d_vocab]`.
        dtype: of the logits: float32, or float64 of a float64 model.
        scale: the model's multipliers and soft cap of logits.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.weight: Float[Tensor, "d_vocab d_model"] = model.W_U.T
        bias = model.b_U
        self.bias = bias if bias is not None else self.weight.new_zeros(self.weight.shape[0])
        self.dtype = upcast(self.weight[:0]).dtype
        self.scale = logit_scale(model)

    def logits(self, normed: Float[Tensor, "row d_model"], columns: Tensor | slice) -> Float[Tensor, "row column"]:
        """Logits of some tokens, in float32 (of a float64 model in float64), from the residual stream after the final norm."""
        return self.scale(upcast(F.linear(self.scaled(normed), self.weight[columns], self.bias[columns])))

    def scaled(self, normed: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row d_model"]:
        """What the unembedding is given of the final norm's output."""
        return normed if self.scale.before == 1 else normed * self.scale.before

    def summed(self, normed: Float[Tensor, "row d_model"], columns: Tensor | None = None) -> Float[Tensor, " row"]:
        """Log of the sum of exp(logit) over the vocabulary, or over some columns of it, all in float32."""
        total = torch.full((normed.shape[0],), -torch.inf, dtype=self.dtype, device=normed.device)
        n_columns = self.weight.shape[0] if columns is None else len(columns)
        for start in range(0, n_columns if len(normed) else 0, VOCABULARY_TILE):
            here = slice(start, start + VOCABULARY_TILE)
            tile = self.logits(normed, here if columns is None else columns[here])
            total = torch.logaddexp(total, tile.logsumexp(dim=-1))
        return total
