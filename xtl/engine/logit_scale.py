"""What a model does to its logits besides the unembedding: multipliers and a soft cap, asked of the model itself.

Granite divides logits by `logits_scaling`, HyperCLOVA X multiplies them by it, Cohere has `logit_scale`, Falcon H1
`lm_head_multiplier`, MiniCPM divides before the unembedding, Gemma 2 caps. So names of configurations are not gone by.
In one pass over one token the unembedding is made to give chosen numbers: what comes out as logits for them is what the
model does to any. What the unembedding was given, beside what the final norm gave, is what it does before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward, is_bridge
from xtl.hooks import capture

SMALL = torch.linspace(1, 2, 64) * 2**-12
"""Logits at which no soft cap shows."""

PROBED = torch.cat([SMALL, torch.tensor([sign * 2.0**power for sign in (1, -1) for power in range(-6, 21)])])
"""Logits that the model is given, up to where nothing but a soft cap is left of them."""


@dataclass(frozen=True)
class LogitScale:
    """logits = c tanh(a (W (b x) + bias) / c) for a final norm's output x, without the tanh where there is no cap.

    Attributes:
        before: b, on the way to the unembedding.
        after: a, on the unembedding's output.
        cap: c, the soft cap; 0 for none.
    """

    before: float = 1.0
    after: float = 1.0
    cap: float = 0.0

    def __call__(self, unembedded: Float[Tensor, "*row"]) -> Float[Tensor, "*row"]:
        """Logits from the unembedding's output, in its precision."""
        logits = unembedded if self.after == 1 else unembedded * self.after
        return self.cap * torch.tanh(logits / self.cap) if self.cap > 0 else logits


def logit_scale(model: Model) -> LogitScale:
    """The model's `LogitScale`, found out once a model and remembered on it.

    Where the model does something else to its logits, the nearest; what reads logits out with it compares them with the
    model's own (`xtl.engine.probe`).
    """
    if not hasattr(model, "xtl_logit_scale"):
        model.xtl_logit_scale = _ask(model) if is_bridge(model) else LogitScale(cap=_stated_cap(model))
    return model.xtl_logit_scale


def _stated_cap(model: Model) -> float:
    """A HookedTransformer's own soft cap (-1 is none); it has no other way with logits."""
    return max(0.0, float(getattr(model.cfg, "output_logits_soft_cap", None) or 0.0))


@torch.no_grad()
def _ask(model: Model) -> LogitScale:
    head = model.original_model.get_output_embeddings()
    if head is None:
        return LogitScale(cap=_stated_cap(model))
    seen: dict[str, Tensor] = {}

    def give(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        seen["given"] = hidden[:, -1].detach().clone()
        return PROBED.to(hidden.device).expand(*hidden.shape[:-1], -1)

    hooks = [("ln_final.hook_out", capture(seen, "normed"))] if "ln_final.hook_out" in model.hook_dict else []
    vars(head)["forward"] = give  # straight into the instance, as in `xtl.backend`
    try:
        got = forward(model, [model.cfg.d_vocab // 2], hooks=hooks)[-1].double().cpu()
    finally:
        vars(head).pop("forward", None)
    before = _ratio(seen["given"], seen["normed"]) if "normed" in seen else 1.0
    n_small = len(SMALL)
    after = _ratio(got[:n_small], PROBED[:n_small])
    largest = int(PROBED.argmax())
    reached = float(got[largest].abs())
    capped = reached < 0.5 * abs(after) * float(PROBED[largest])
    return LogitScale(before, after, reached if capped else 0.0)


def _ratio(scaled: Tensor, values: Tensor) -> float:
    """The factor between two vectors (least squares); 1 exactly where they are equal."""
    if torch.equal(scaled, values.to(scaled)):
        return 1.0
    scaled, values = scaled.double().flatten(), values.double().flatten().to(scaled.device)
    return float(scaled @ values / (values @ values))
