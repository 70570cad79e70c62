"""Models whose positions depend on how long the call is, so that keys of a shorter call are no use to a longer one.

LongRoPE (Phi 3.5, Phi 4 mini) rotates *every* position by other angles once the text is longer than the original
context; dynamic NTK does so anew with every token beyond it. What such a model says about a text is then taken to be
what **one forward pass over the whole text, without a cache**, says: the prompt with the tokens of the continuation
before the one that is predicted. That is Hugging Face's forward pass as it stands, and what Phi 3's own `generate`
keeps to, which throws its cache away at the edge (`prepare_inputs_for_generation`); the `generate` of other classes
goes on there with keys that are rotated by both, and is not followed.

So a KV cache is used between lengths alone at which the model's own rotary modules, asked, give the same angles. The
engines that share a prefix between cells leave a pair that crosses an edge to the plain loop, and greedy generation
starts its cache anew there.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from xtl.backend import Model, is_bridge

N_ASKED = 8
"""Positions whose angles are compared; every one depends on the length where any does."""


def alike(model: Model, lengths: Iterable[int]) -> bool:
    """Whether calls of these lengths have the same positional angles, so that one's keys and values serve the others."""
    ordered = sorted(set(lengths))
    return all(_same(_angles(model, a), _angles(model, b), a) for a, b in pairwise(ordered))


def remembered(model: Model, name: str, make: Callable[[], Any]) -> Any:
    """What was found out about a model, kept as an attribute of it; made where there is none yet."""
    if not hasattr(model, name):
        setattr(model, name, make())
    return getattr(model, name)


class RotaryModules:
    """Copies of a bridge's rotary modules, to be asked for their angles: some remember the longest text that they have seen."""

    def __init__(self, model: Any) -> None:
        found = [module for module in model.modules() if _holds_frequencies(module)]
        self.modules = [copy.deepcopy(module) for module in found]

    def angles(self, length: int) -> list[Tensor]:
        """What they give for the first positions in a text of this length."""
        last = torch.tensor([[*range(min(N_ASKED, length)), length - 1]])
        return [angle for module in self.modules for angle in _ask(module, last)]


def _holds_frequencies(module: nn.Module) -> bool:
    return any(name.endswith("inv_freq") for name in [*module._buffers, *vars(module)])


def _ask(module: nn.Module, positions: Tensor) -> list[Tensor]:
    """Angles at all but the last of these positions, layer type by layer type."""
    parameters = inspect.signature(module.forward).parameters
    if "position_ids" not in parameters:
        return []  # a table of its own making, which a call can't change
    device = next((buffer.device for buffer in module.buffers()), torch.device("cpu"))
    positions, x = positions.to(device), torch.zeros(1, positions.shape[1], 2, device=device)
    kinds: list[dict[str, Any]] = [{}]
    if "layer_type" in parameters and isinstance(kind_of := getattr(module, "rope_type", None), dict):
        kinds = [{"layer_type": kind} for kind in kind_of]
    angles: list[Tensor] = []
    for kind in kinds:
        module(x, positions[:, :1], **kind)  # a short text, after which one that grew is as it was at first
        given = module(x, positions, **kind)
        angles += [one[:, :-1] for one in (given if isinstance(given, tuple) else (given,))]
    return angles


@torch.no_grad()
def _angles(model: Model, length: int) -> list[Tensor]:
    """The model's angles in a text of this length; remembered on it."""
    known = remembered(model, "xtl_angles", dict)
    if length not in known:
        if not is_bridge(model):
            known[length] = _hooked_angles(model, length)
        else:
            rotary = remembered(model, "xtl_rotary", lambda: RotaryModules(model.original_model))
            known[length] = rotary.angles(length)
    return known[length]


def _hooked_angles(model: Model, length: int) -> list[Tensor]:
    """A HookedTransformer's tables stand still, but for Qwen 1's dynamic NTK."""
    if not getattr(model.cfg, "use_dynamic_ntk_rope", False):
        return []
    ones = torch.ones(1, length, 1, model.cfg.d_head, device=model.cfg.device, dtype=model.cfg.dtype)
    return [model.blocks[0].attn.apply_rotary(ones, 0, None)[:, :N_ASKED]]


def _same(a: list[Tensor], b: list[Tensor], n: int) -> bool:
    """Whether angles are the same at the first `n` positions."""
    return all(torch.equal(x[:, :n], y[:, :n][:, : x.shape[1]]) for x, y in zip(a, b, strict=True))
