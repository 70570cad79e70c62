"""How closely two exact ways to compute the same thing agree, at each precision."""

from __future__ import annotations

import torch

from xtl.backend import Model, is_bridge

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}


def tolerance(model: Model) -> float:
    """Largest difference that rounding explains, relative to the largest log-probability or logit (at least 1).

    Transformers' norms and rotary positions are computed in float32 whatever the model's precision, so that a bridge in float64
    is no closer than one in float32.
    """
    dtype = model.cfg.dtype
    return TOLERANCE.get(torch.float32 if dtype == torch.float64 and is_bridge(model) else dtype, 0.1)
