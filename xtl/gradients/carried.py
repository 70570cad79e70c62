"""Heads: what a head's change makes of the attention's output exactly, and the score's gradient from there on.

Between a head and the residual stream stand the output projection and, in some families (Gemma 2 and 3), a norm. A head of
another layer can be far larger than the one that it replaces; that norm then bends most of what a gradient at the head itself
takes for a straight line. To run it costs one product a cell.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.errors import InputError
from xtl.gradients.backward import Leaf, TargetRun
from xtl.gradients.slopes import Reads
from xtl.hooks import Module

MOST = 2**25
"""Numbers that may be there at a time, about."""

NEAR = 1e-3
"""How far an attention output that is computed here may be from the model's own, relative to its largest entry."""


def carried_estimates(
    model: Model, run: TargetRun, reads: Reads, module: Module
) -> Float[Tensor, "source site source_head head"]:
    """(what attention puts out with the source's head - what it puts out) . d score / d attention's output, of every cell.

    Raises:
        InputError: a module that does not write heads, or an architecture whose attention puts out something else than a
            projection of its heads, perhaps under a norm.
    """
    if not module.heads or module.write != "attn.hook_z":
        raise InputError(f"method 'carried' is for attention's heads, attn_head, not for {module.name}; use 'gradient'")
    layers = run.plan.target_layers
    sites = [f"blocks.{layer}.hook_attn_out" for layer in layers]
    known = model.hook_dict
    if missing := [site for site in sites if site not in known]:
        raise InputError(f"method 'carried' needs {missing[0]}, which this architecture does not have; use 'gradient'")
    _, own = run.read(sites)
    leaves = [Leaf(site, torch.tensor([0]), torch.zeros_like(own[site])[None]) for site in sites]
    slopes = run.gradients(leaves, 1)
    with torch.no_grad():
        found = [
            _of_layer(model.blocks[layer], reads.source, reads.own[place], own[site], slopes[place][0])
            for place, (layer, site) in enumerate(zip(layers, sites, strict=True))
        ]
    return torch.stack(found, dim=1)


def _of_layer(
    block: Any,
    source: Float[Tensor, "source head unit"],
    own: Float[Tensor, "head unit"],
    out: Float[Tensor, " d_model"],
    slope: Float[Tensor, " d_model"],
) -> Float[Tensor, "source source_head head"]:
    """The cells of one target layer."""
    weight, bias = block.attn.W_O, getattr(block.attn, "b_O", None)
    projected = torch.einsum("td,tdm->tm", own, weight)
    before = projected.sum(0) if bias is None else projected.sum(0) + bias
    norm = getattr(block, "ln1_post", None) or torch.nn.Identity()
    vanilla = norm(before[None, None])[0, 0]
    if not (vanilla - out).abs().max() <= NEAR * out.abs().max():
        raise InputError(
            "method 'carried' needs an attention whose output is a projection of its heads, under a norm or none; this "
            "architecture's is another: use 'gradient'"
        )
    found = []
    for heads in source.split(max(1, MOST // (len(own) * projected.numel()))):
        changed = torch.einsum("isd,tdm->istm", heads, weight) - projected
        put_out = norm((before + changed).flatten(0, 2)[None])[0]
        found.append(((put_out - vanilla) @ slope).unflatten(0, changed.shape[:3]))
    return torch.cat(found)
