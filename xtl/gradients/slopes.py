"""From a target run to the slope of its score at every place that a transplant writes to.

(`carried` alone has no slope at the head: see `xtl.gradients.carried`.)

A *place* is a hook point at a target layer, of heads one head of it. An estimate is (source - own) . slope, so that what a method
gives is one slope a place, and one backward pass serves all source layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.memory import rows_that_fit
from xtl.gradients.backward import Leaf, TargetRun
from xtl.gradients.relp import relp_hooks

METHODS = {
    "gradient": "the score's gradient at the vanilla run (attribution patching)",
    "integrated": "the gradient averaged along the way from a place's own activation to the sources' mean",
    "relp": "the gradient at the vanilla run by RelP's rules (arXiv 2508.21258)",
    "carried": "heads: what a head's change makes of attention's output, exactly, times the gradient there",
}
"""How a gain is estimated."""

Places = Float[Tensor, "place head unit"]
"""A vector for each hook point and each of its heads; a hook point that is written as a whole has one head."""


@dataclass(frozen=True)
class Reads:
    """What the two runs put out.

    Attributes:
        sites: hook points that are written, in the order of the target layers.
        source: of each source layer, and head.
        own: of each site, and head: the target run's.
        shape: of an activation at a site.
    """

    sites: tuple[str, ...]
    source: Float[Tensor, "source head unit"]
    own: Places
    shape: torch.Size


def slopes(model: Model, run: TargetRun, reads: Reads, method: str, points: int) -> tuple[Places, int]:
    """The slope at each place, and the states of the target run that it took."""
    if method == "integrated":
        return _integrated(model, run, reads, points), len(reads.sites) * reads.own.shape[1] * points
    hooks = relp_hooks(model) if method == "relp" else []
    leaves = [Leaf(site, torch.tensor([0]), reads.own.new_zeros(1, *reads.shape)) for site in reads.sites]
    found = run.gradients(leaves, 1, hooks)
    return torch.cat(found).reshape(reads.own.shape), 1


def _integrated(model: Model, run: TargetRun, reads: Reads, points: int) -> Places:
    """Each place alone is moved towards the mean of the sources, by `points` shares in the middles of equal steps."""
    way = reads.source.mean(0) - reads.own
    shares = (torch.arange(points) + 0.5) / points
    states = [(site, head, float(share)) for site, head in _each(reads) for share in shares]
    total = torch.zeros_like(way)
    n_fit = rows_that_fit(model, len(run.plan.target_ids) + run.tokens.shape[1], len(run.tree)) // (4 * run.n_paths)
    for start in range(0, len(states), max(1, n_fit)):
        chunk = states[start : start + max(1, n_fit)]
        for (site, head, _), slope in zip(chunk, _at(run, reads, way, chunk), strict=True):
            total[site, head] += slope / points
    return total


def _each(reads: Reads) -> list[tuple[int, int]]:
    return [(site, head) for site in range(reads.own.shape[0]) for head in range(reads.own.shape[1])]


def _at(
    run: TargetRun, reads: Reads, way: Places, states: list[tuple[int, int, float]]
) -> list[Float[Tensor, " unit"]]:
    """The gradient at the one place that each state moves, by how much it moves it."""
    by_site: dict[int, list[int]] = {}
    for number, (site, _, _) in enumerate(states):
        by_site.setdefault(site, []).append(number)
    leaves = []
    for site, numbers in by_site.items():
        value = way.new_zeros(len(numbers), *way.shape[1:])
        for row, number in enumerate(numbers):
            _, head, share = states[number]
            value[row, head] = share * way[site, head]
        leaves.append(Leaf(reads.sites[site], torch.tensor(numbers), value.reshape(-1, *reads.shape)))
    found: dict[int, Tensor] = {}
    for numbers, gradient in zip(by_site.values(), run.gradients(leaves, len(states)), strict=True):
        heads = gradient.reshape(len(numbers), *way.shape[1:])
        found |= {number: heads[row, states[number][1]] for row, number in enumerate(numbers)}
    return [found[number] for number in range(len(states))]


def estimates(reads: Reads, slope: Places) -> Float[Tensor, "source site source_head head"]:
    """(source - own) . slope of every cell."""
    from_source = torch.einsum("isd,jtd->ijst", reads.source, slope)
    return from_source - (reads.own * slope).sum(-1)[None, :, None, :]


def by_site(activations: Mapping[str, Tensor], sites: tuple[str, ...], n_heads: int) -> Places:
    """Activations at sites, a vector a head."""
    return torch.stack([activations[site].reshape(n_heads, -1) for site in sites])
