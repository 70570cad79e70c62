"""RelP's rules (Jafari et al., arXiv 2508.21258), as hooks that change gradients and no value.

Gradients of single activations are noisy since norms, attention and gates bend the function between the activation and the
score. RelP propagates relevance in their place, by rules that keep to what each nonlinear part did on this prompt:

- *norms*: the scale that a norm divides by is a constant.
- *attention*: the pattern is a constant; gradients run through the values alone.
- *activation functions*: f(x) counts as x times the constant f(x) / x.
- *gates*: of a product of two signals each gets half of the relevance.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xtl.backend import Model
from xtl.errors import InputError
from xtl.hooks import HookFunction, Hooks

TINY = 1e-12
"""Inputs of an activation function nearer to 0 count as that far away: f(x) / x is then about its slope."""


def relp_hooks(model: Model) -> Hooks:
    """The hooks that put RelP's rules in force, on either backend.

    Raises:
        InputError: the architecture lacks a hook point that the rules need.
    """
    known = model.hook_dict
    names = [name for name in known if name.endswith(("hook_scale", "attn.hook_pattern"))]
    hooks: Hooks = [(name, _freeze) for name in names]
    for layer in range(model.cfg.n_layers):
        pre, linear, post = (f"blocks.{layer}.mlp.{name}" for name in ("hook_pre", "hook_pre_linear", "hook_post"))
        if f"blocks.{layer}.attn.hook_pattern" not in names or not {pre, post} <= known.keys():
            raise InputError(
                f"method 'relp' needs the hook points attn.hook_pattern, mlp.hook_pre and mlp.hook_post in block {layer}, which "
                "this architecture does not have; use 'gradient' or 'integrated'"
            )
        seen: dict[str, Tensor] = {}
        hooks += [(site, _keep(seen, site)) for site in (pre, linear) if site in known]
        hooks.append((post, _halve(seen, pre, linear)))
    return hooks


def _freeze(activation: Tensor, hook: Any) -> Tensor:
    return activation.detach()


def _keep(seen: dict[str, Tensor], site: str) -> HookFunction:
    def keep(activation: Tensor, hook: Any) -> None:
        seen[site] = activation

    return keep


def _halve(seen: dict[str, Tensor], pre: str, linear: str) -> HookFunction:
    """A hook on f(pre), or f(pre) * linear: the same value, with the gradient that the rules give it."""

    def rule(post: Tensor, hook: Any) -> Tensor:
        signals = [seen[site] for site in (pre, linear) if site in seen]
        ruled = torch.stack([_ratio(post, signal) * signal for signal in signals]).mean(dim=0)
        return post.detach() + (ruled - ruled.detach())

    return rule


def _ratio(post: Tensor, signal: Tensor) -> Tensor:
    small = signal.abs() < TINY
    return (post / signal.masked_fill(small, TINY)).detach()
