"""How closely numbers agree that are equal but for rounding, at each precision. Three comparisons, and a table for each:

- the model against its contract: the same operations in the same order, but for Transformers' norms and rotary tables, which are
  float32 in any precision (so that float64 is no closer than float32);
- an engine against the plain loop: other orders of sums, through all layers and in log-probabilities, so twice as wide in half
  precision; a HookedTransformer in float64 is float64 throughout, and much closer;
- terms of the residual stream against the logits that they add up to: dozens of them, summed in float64 after the fact.
"""

from __future__ import annotations

import torch

from xtl.backend import Model, is_bridge

CONTRACT = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 2e-2}
"""Relative to the largest value compared. The embedded model in float32 is at about 1e-6."""

ENGINE = {torch.float64: 1e-8, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}
"""Relative to the largest log-probability or logit (at least 1)."""

DECOMPOSITION = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}
"""Relative to the largest value of the final norm's output."""


def contract_tolerance(model: Model) -> float:
    """Largest relative deviation that a check of the contract allows."""
    return CONTRACT.get(model.cfg.dtype, 5e-2)


def engine_tolerance(model: Model) -> float:
    """Largest difference of an engine's numbers from the loop's."""
    dtype = model.cfg.dtype
    return ENGINE.get(torch.float32 if dtype == torch.float64 and is_bridge(model) else dtype, 0.1)


def decomposition_tolerance(model: Model) -> float:
    """Largest relative deviation of a residual stream that is taken apart."""
    return DECOMPOSITION.get(model.cfg.dtype, 5e-2)
