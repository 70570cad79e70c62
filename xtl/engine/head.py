"""From the residual stream to logits: the final norm as a linear map with its scale frozen, and the unembedding.

The final norm is N(x) = D (x - m(x)) / s(x) + b, with m the mean (LayerNorm) or 0 (RMSNorm) and s the spread or root mean square.
With s(x) frozen it is linear in x, so that a sum of residual terms becomes a sum of logit terms, which is exact. D, b and whether
the mean is taken off are found by asking the norm itself, the same way for both backends and for every convention of weights
(Gemma's 1 + w among them); that they reproduce the norm is checked on each use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xtl.backend import Model, is_bridge
from xtl.engine.readout import VOCABULARY_TILE, Readout
from xtl.errors import ModelError
from xtl.models.precision import decomposition_tolerance
from xtl.scoring.likelihood import TIE


@dataclass(frozen=True)
class Frozen:
    """The final norm at one residual vector, its scale frozen.

    Attributes:
        weight: `[d_model]`, already divided by the scale.
        bias: `[d_model]`.
        centred: whether the mean is taken off.
    """

    weight: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    centred: bool

    def __call__(self, terms: Float[Tensor, "*term d_model"]) -> Float[Tensor, "*term d_model"]:
        """What terms of the residual stream become, without the bias."""
        terms = terms.double()
        if self.centred:
            terms = terms - terms.mean(-1, keepdim=True)
        return terms * self.weight


@torch.no_grad()
def final_norm(model: Model, residual: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
    """The model's final norm; a model without one leaves the residual stream as it is."""
    if not hasattr(model, "ln_final") or not (is_bridge(model) or model.cfg.normalization_type is not None):
        return residual
    return model.ln_final(residual[None])[0]


class Head:
    """What follows a model's last block.

    Args:
        model: HookedTransformer or TransformerBridge.
    """

    @torch.no_grad()
    def __init__(self, model: Model) -> None:
        self.model = model
        self.tolerance = decomposition_tolerance(model)
        self.readout = Readout(model)
        width = model.cfg.d_model
        signs = torch.ones(width, dtype=torch.float64)
        signs[1::2] = -1
        self.bias = self.norm(torch.zeros(1, width))[0].double()
        probe = 100 * signs - (100 * signs).mean()
        shifted = self.norm(torch.stack([probe, probe + 50]).float()).double()
        self.centred = bool((shifted[0] - shifted[1]).abs().max() < 1e-2 * (shifted[0] - self.bias).abs().max())
        rms = (probe**2).mean().sqrt()
        self.weight = (shifted[0] - self.bias) * rms / probe

    @torch.no_grad()
    def norm(self, residual: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """The model's final norm, on the CPU in float32."""
        weight = self.readout.weight
        return final_norm(self.model, residual.to(weight.device, weight.dtype)).float().cpu()

    def frozen(self, residual: Float[Tensor, " d_model"]) -> Frozen:
        """The norm at this residual vector.

        Raises:
            ModelError: it is neither a LayerNorm nor an RMSNorm.
        """
        true = self.norm(residual[None])[0].double()
        x = residual.double().cpu()
        scaled = (x - x.mean() if self.centred else x) * self.weight
        scale = (scaled @ scaled) / (scaled @ (true - self.bias))
        off = (scaled / scale + self.bias - true).abs().max() / true.abs().max()
        if not off < self.tolerance:
            raise ModelError(
                f"the final norm is neither LayerNorm nor RMSNorm (off by {float(off):.1e}): it can't be taken apart"
            )
        return Frozen(self.weight / scale, self.bias, self.centred)

    def rows(self, tokens: list[int]) -> tuple[Float[Tensor, "token d_model"], Float[Tensor, " token"]]:
        """Rows of the unembedding and its biases, float64; logits before a soft cap are `normed @ rows.T + biases`."""
        weight, bias = self.readout.weight[tokens].double().cpu(), self.readout.bias[tokens].double().cpu()
        scale = self.readout.scale
        return weight * (scale.before * scale.after), bias * scale.after

    def capped(self, logits: Float[Tensor, "*row"]) -> Float[Tensor, "*row"]:
        """What the model does to logits last (Gemma 2's soft cap)."""
        return replace(self.readout.scale, after=1.0)(logits)

    @torch.no_grad()
    def log_probabilities(
        self, residual: Float[Tensor, "row d_model"], tokens: list[int]
    ) -> Float[Tensor, "row token"]:
        """Log-probability of some tokens if the model ended at this residual stream (the logit lens), float64."""
        weight = self.readout.weight
        normed = self.norm(residual).to(weight.device, weight.dtype)
        total = self.readout.normaliser(normed).float().cpu()
        own = self.readout.logits(normed, torch.tensor(tokens, device=weight.device)).float().cpu()
        return own.double() - total[:, None].double()

    @torch.no_grad()
    def is_likeliest(self, residual: Float[Tensor, "row d_model"], token: int) -> Bool[Tensor, " row"]:
        """Whether a token is likelier than every other if the model ended at this residual stream; not so at a tie."""
        weight = self.readout.weight
        normed = self.norm(residual).to(weight.device, weight.dtype)
        logit = self.readout.logits(normed, slice(token, token + 1))[:, 0]
        as_likely = torch.zeros(len(normed), dtype=torch.bool)
        for start in range(0, weight.shape[0], VOCABULARY_TILE):
            rest = self.readout.logits(normed, slice(start, start + VOCABULARY_TILE))
            if start <= token < start + VOCABULARY_TILE:
                rest[:, token - start] = -torch.inf
            as_likely |= (rest.amax(-1) > logit - TIE).cpu()
        return ~as_likely
