"""The largest logit, and the sum over the vocabulary, with few float32 products: one in bfloat16 says which columns need them.

On a processor that multiplies bfloat16 matrices several times faster than float32 ones. The largest logit is exact. The sum is,
but for an error that is measured, row by row, and stays below what float32 rounding of the logits themselves does to it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xtl.engine.unembedding import Unembedding

WIDE_TILE = 8192
"""Columns of the unembedding at a time, a multiple of `TILE` and `EVERY`; after each, threads of a busy machine wait long."""

TILE = 512
"""Columns at a time in which the largest logit is looked for."""

ROUNDING = 2**-7 + 2**-13
"""Largest error of a product of two vectors whose entries are rounded to bfloat16 (2^-8 each), relative to their lengths."""

MANY = 128
"""Rows from which on a look in bfloat16 is quicker than the sums in float32."""

ALIKE = 256
"""Rows that are alike from which on a look of their own pays."""

ROWS = 2048
"""Most rows at a time: what they share of the vocabulary's likely tokens is summed for all of them."""

LIGHT = 1e-6
"""A column in which no row has a larger share of its sum than this may be summed in bfloat16."""

EVERY = 32
"""Of the light columns each such one is computed in float32 too, which corrects the sum of all."""

LIMIT = 3e-6
"""Largest standard error (nats) of a row's log-sum; another row is summed in float32. Ties are nearer than 1e-5."""


class Screened:
    """An unembedding in bfloat16, and what it is looked at for.

    Args:
        unembedding: of a float32 model on a CPU, without a cap of logits (see `xtl.engine.readout.Readout.screening`).
    """

    def __init__(self, unembedding: Unembedding) -> None:
        self.unembedding = unembedding
        weight, bias = unembedding.weight, unembedding.bias
        # Four columns more, for numbers that are added to all of a row's logits or to all of a column's (see `_given`).
        self.low: Float[Tensor, "d_vocab d_model+4"] = _memory(unembedding.model, len(weight), weight.shape[1] + 4)
        self.low[:, :-4], self.low[:, -4:-2], self.low[:, -2:] = weight, torch.cat(_halves(bias), dim=1), 1

    @cached_property
    def norms(self) -> Float[Tensor, " tile"]:
        """The longest column's length, of each tile."""
        lengths = self.unembedding.weight.norm(dim=1)
        return F.pad(lengths, (0, -len(lengths) % TILE)).unflatten(0, (-1, TILE)).amax(dim=1)

    def argmax(self, normed: Float[Tensor, "row d_model"]) -> tuple[Int[Tensor, " row"], Float[Tensor, " row"]]:
        """The likeliest token of each row (the first of several) and its logit, exactly.

        A product of vectors x and w, rounded to bfloat16, is off by at most `ROUNDING` |x| |w|, and by 2^-7 of itself once the
        result is rounded too. A tile whose largest logit is below the largest one of all by more than that can't hold it.
        """
        unembedding = self.unembedding
        given = unembedding.scaled(normed)
        ones = torch.ones(len(normed), 2, dtype=torch.bfloat16)
        low = torch.cat([given.bfloat16(), ones, torch.zeros_like(ones)], dim=1)
        tops = [tile.amax(dim=0) for values in self._products(low) for tile in values.split(TILE)]
        top: Float[Tensor, "row tile"] = torch.stack(tops, dim=1).float()
        off = ROUNDING * given.norm(dim=1)[:, None] * self.norms + 2**-7 * (top.abs() + unembedding.bias.abs().max())
        possible = ~(top + off < (top - off).amax(dim=1, keepdim=True))  # NaN is possible everywhere
        best = torch.full((normed.shape[0],), -torch.inf)
        tokens = torch.zeros(normed.shape[0], dtype=torch.long)
        for tile in possible.any(dim=0).nonzero()[:, 0].tolist():
            rows = possible[:, tile].nonzero()[:, 0]
            first = tile * TILE
            exact, columns_ = unembedding.logits(normed[rows], slice(first, first + TILE)).max(dim=-1)
            better = (exact > best[rows]) | exact.isnan()
            best[rows] = torch.where(better, exact, best[rows])
            tokens[rows] = torch.where(better, columns_ + first, tokens[rows])
        return tokens, best

    def normaliser(
        self, normed: Float[Tensor, "row d_model"], n_alike: int = 1
    ) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"]]:
        """Log of each row's sum over the vocabulary of exp(logit), and its standard error (nats).

        The heavy columns, where some row has more than `LIGHT` of its sum, are summed in float32. Of the light ones, all are
        summed in bfloat16 and each `EVERY`-th in both: by what the two differ there, times `EVERY`, the sum is put right. That
        leaves the spread of the differences as an error, over many columns of small share. NaN where a logit is.

        Args:
            normed: the rows after the final norm.
            n_alike: how many rows, one after the other, are alike, so that they have heavy columns in common.
        """
        alike = normed.split(n_alike) if n_alike >= ALIKE else [normed]
        parts = [self._of_rows(rows) for some in alike for rows in some.split(ROWS)]
        return torch.cat([one for one, _ in parts]), torch.cat([error for _, error in parts])

    def _of_rows(self, normed: Float[Tensor, "row d_model"]) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"]]:
        given, level = self._given(normed)
        heavy, light, sample = self._light(given)
        off, squares = self._differences(normed, level, heavy, sample)
        total = self.unembedding.summed(normed, heavy.nonzero()[:, 0])
        total = torch.logaddexp(total, (light + EVERY * off).clamp_min(0).log() + level)
        return total, (EVERY * (EVERY - 1) * squares).sqrt() * (level - total).exp()

    def _light(
        self, given: Float[Tensor, "row width"]
    ) -> tuple[Bool[Tensor, " column"], Float[Tensor, " row"], Float[Tensor, "sampled row"]]:
        """Which columns are heavy, and in bfloat16 what the others come to and each `EVERY`-th of them (0 for a heavy one)."""
        heavy, light, sample = [], torch.zeros(len(given)), []
        for values in self._products(given):
            # The bits of a number over 0, or of a NaN (one with a sign stays in the sum); bfloat16's own maximum is slow.
            heavy.append(values.view(torch.int16).amax(dim=1) > 0)
            values.exp_().index_fill_(0, heavy[-1].nonzero()[:, 0], 0)
            light += values.sum(dim=0)
            sample.append(values[::EVERY].clone())
        return torch.cat(heavy), light, torch.cat(sample)

    def _products(self, given: Float[Tensor, "row width"]) -> Iterator[Float[Tensor, "column row"]]:
        """Of all columns, tile by tile, in the same memory: a column's numbers stand side by side."""
        memory = torch.empty(WIDE_TILE, len(given), dtype=torch.bfloat16)
        for columns in self.low.split(WIDE_TILE):
            yield torch.mm(columns, given.T, out=memory[: len(columns)])

    def _differences(
        self,
        normed: Float[Tensor, "row d_model"],
        level: Float[Tensor, " row"],
        heavy: Bool[Tensor, " column"],
        sample: Float[Tensor, "sampled row"],
    ) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"]]:
        """By what float32 differs from the sample in all, and the sum of the differences' squares."""
        off, squares = torch.zeros(2, len(normed))
        for start in range(0, len(sample), WIDE_TILE):
            low = sample[start : start + WIDE_TILE]
            columns = slice(start * EVERY, (start + len(low)) * EVERY, EVERY)
            exact = (self.unembedding.logits(normed, columns) - level[:, None]).exp_()
            differences = exact.index_fill_(1, heavy[columns].nonzero()[:, 0], 0) - low.T
            off += differences.sum(dim=1)
            squares += differences.square().sum(dim=1)
        return off, squares

    def _given(
        self, normed: Float[Tensor, "row d_model"]
    ) -> tuple[Float[Tensor, "row d_model+4"], Float[Tensor, " row"]]:
        """What makes `low` give each row's logits less its level, and the level: the logit with a share of at most `LIGHT`.

        The sum is at least that over the columns which a few of the rows find likeliest.
        """
        unembedding = self.unembedding
        scale = unembedding.scale.after
        scaled, after = unembedding.scaled(normed) * scale, torch.full((len(normed), 1), scale)
        given = torch.cat([scaled.bfloat16(), after.bfloat16(), after.bfloat16()], dim=1)
        some = torch.randperm(len(normed), generator=torch.Generator().manual_seed(0))[:16]
        found = given[some] @ self.low[:, :-2].T
        likely = (found - found.amax(dim=1, keepdim=True)).amax(dim=0).topk(min(2048, len(self.low))).indices
        level = unembedding.summed(normed, likely) + math.log(LIGHT)
        high, rest = _halves(-level)
        return torch.cat([given, high, rest], dim=1), -(high.float() + rest.float())[:, 0]


_KEPT: WeakKeyDictionary[Any, Tensor] = WeakKeyDictionary()


def _memory(model: Any, *shape: int) -> Float[Tensor, "..."]:
    """Memory for a model's weights in bfloat16, the same one each time: a new one takes longer to get than to fill.

    It is filled anew each time, since weights can be changed between two maps.
    """
    if not isinstance(model, Hashable):
        return torch.empty(shape, dtype=torch.bfloat16)
    kept = _KEPT.get(model)
    if kept is None or kept.shape != shape:
        kept = _KEPT[model] = torch.empty(shape, dtype=torch.bfloat16)
    return kept


def _halves(numbers: Float[Tensor, " number"]) -> tuple[Float[Tensor, "number 1"], Float[Tensor, "number 1"]]:
    """Two bfloat16 numbers whose sum is each one, to 2^-17."""
    high = numbers.bfloat16()
    return high[:, None], (numbers - high.float()).bfloat16()[:, None]
