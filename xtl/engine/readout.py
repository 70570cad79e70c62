"""From the final residual stream to log-probabilities, with no more of the unembedding than the score needs.

A vocabulary of 262,144 tokens makes the unembedding dearer than all layers together; options need a few of its columns.
"""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xtl.engine.greedy import Best
from xtl.engine.screened import LIMIT, MANY, Screened
from xtl.engine.tree import Tree
from xtl.engine.unembedding import VOCABULARY_TILE, Unembedding


class Readout(Unembedding):
    """Log-probabilities of continuations, likeliest tokens and how sure the model is of them, by its unembedding."""

    def normaliser(self, normed: Float[Tensor, "row d_model"], n_alike: int | None = None) -> Float[Tensor, " row"]:
        """Log of the sum over the vocabulary of exp(logit), tile by tile: the logits are never there as a whole.

        Where a look in bfloat16 first pays, with a standard error of at most `xtl.engine.screened.LIMIT` from it. `n_alike` rows,
        one after the other, are known to be alike, which makes it quicker; all by default.
        """
        if not (self.screening(normed) and len(normed) >= MANY):
            return self.summed(normed)
        total, error = self.screened.normaliser(normed, n_alike or len(normed))
        unsure = (~(error <= LIMIT)).nonzero()[:, 0]
        total[unsure] = self.summed(normed[unsure])
        return total

    def logprobs(
        self, normed: Float[Tensor, "row node d_model"], tree: Tree, up_to_constant: bool
    ) -> Float[Tensor, "row continuation"]:
        """Log-probability of each continuation; with `up_to_constant`, without the normalisers that all of a row's share.

        They share those of the root and of the tokens that all of them begin with (" (" in " (1)" and " (2)").
        """
        n_continuations = len(tree.reads)
        reads = [
            [(index, token) for index, steps in enumerate(tree.reads) for at, token in steps if at == node]
            for node in range(len(tree))
        ]
        apart = [node for node in range(len(tree)) if not up_to_constant or len(reads[node]) < n_continuations]
        # In one go: what reads the whole unembedding should read it once. Rows of one token of the tree are alike.
        rows = normed[:, apart].transpose(0, 1)
        normalisers = self.normaliser(rows.flatten(0, 1), len(normed)).unflatten(0, rows.shape[:2])
        total = torch.zeros(normed.shape[0], n_continuations, dtype=self.dtype, device=normed.device)
        for node, here in enumerate(reads):
            columns = torch.tensor([token for _, token in here], device=normed.device)
            values = self.logits(normed[:, node], columns)
            if node in apart:
                values = values - normalisers[apart.index(node), :, None]
            total[:, [index for index, _ in here]] += values
        return total.cpu()

    def argmax(self, normed: Float[Tensor, "row d_model"]) -> tuple[Int[Tensor, " row"], Float[Tensor, " row"]]:
        """The likeliest token of each row (the first of several) and its logit, which is NaN where any logit is; tile by tile."""
        if self.screening(normed):
            return self.screened.argmax(normed)
        best = torch.full((normed.shape[0],), -torch.inf, dtype=self.dtype, device=normed.device)
        tokens = torch.zeros(normed.shape[0], dtype=torch.long, device=normed.device)
        for start in range(0, self.weight.shape[0], VOCABULARY_TILE):
            logits, columns = self.logits(normed, slice(start, start + VOCABULARY_TILE)).max(dim=-1)
            better = (logits > best) | logits.isnan()
            best = torch.where(better, logits, best)
            tokens = torch.where(better, columns + start, tokens)
        return tokens, best

    def first(self, normed: Float[Tensor, "row d_model"], confidence: bool) -> Best:
        """The likeliest first token of each row; with `confidence` how sure the model is of it, in one more pass of tiles."""
        best = Best(*self.argmax(normed))
        return self.spread(normed, best) if confidence else best

    def next(self, normed: Float[Tensor, "row d_model"], confidence: bool) -> Best:
        """The likeliest next token of each row; with `confidence` its normaliser too."""
        return Best(*self.argmax(normed), self.normaliser(normed) if confidence else None)

    def spread(self, normed: Float[Tensor, "row d_model"], best: Best) -> Best:
        """The same tokens with normalisers, margins and entropies; the logits are never there as a whole.

        All is reckoned from the largest logit, so that what a float32 of hundreds can't tell apart does not count.
        """
        nothing = torch.full_like(best.logits, -torch.inf)
        total, second, mean = nothing, nothing, torch.zeros_like(best.logits)
        for start in range(0, self.weight.shape[0], VOCABULARY_TILE):
            tile = self.logits(normed, slice(start, start + VOCABULARY_TILE)) - best.logits[:, None]
            inside, before = tile.logsumexp(dim=-1), total
            total = torch.logaddexp(total, inside)
            own = (tile.softmax(dim=-1) * tile.clamp_min(torch.finfo(tile.dtype).min)).sum(dim=-1)
            mean = mean * (before - total).exp() + own * (inside - total).exp()
            here = (best.tokens >= start) & (best.tokens < start + tile.shape[1])
            tile[here, best.tokens[here] - start] = -torch.inf
            second = torch.maximum(second, tile.amax(dim=-1))
        # Tiles of other sizes round otherwise: the second one of a tie may come out as the larger one.
        return Best(*best[:2], best.logits + total, (-second).clamp_min(0), (total - mean).clamp_min(0))

    @cached_property
    def screened(self) -> Screened:
        """The same weights in bfloat16."""
        return Screened(self)

    def screening(self, normed: Float[Tensor, "row d_model"]) -> bool:
        """Whether a look in bfloat16 first pays: float32 on a CPU that multiplies bfloat16 matrices faster, several rows."""
        on_cpu = normed.device.type == "cpu" and normed.dtype == self.weight.dtype == torch.float32
        big_enough = normed.shape[0] >= 16 and self.weight.shape[0] >= 8 * VOCABULARY_TILE
        keeps_order = self.scale.cap == 0 and self.scale.after > 0
        return on_cpu and big_enough and keeps_order and _multiplies_bfloat16()


def _multiplies_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices faster than float32 ones; no where torch can't be asked (in private)."""
    ask = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return ask is not None and bool(ask())
