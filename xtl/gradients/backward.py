"""The target run with gradients: how its score changes with what stands at hook points of the prompt's last position.

What comes before the last token no transplant there changes, so that its keys and values are computed once, without a graph; the
last token and the continuations that are scored after it are rows of a batch over them. To the activation at a hook point a
*leaf* is added, a tensor of its own, and the score's gradient is taken with respect to it: that works wherever a hook can write,
on views too, and no gradient of a parameter is ever made.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xtl.backend import Model, forward_differentiable, forward_without_logits, new_cache, repeat_cache
from xtl.engine.batched import why_not_batchable
from xtl.engine.plan import Plan
from xtl.engine.readout import Readout
from xtl.engine.tree import Tree, build_tree
from xtl.errors import ModelError
from xtl.hooks import HookFunction, Hooks, capture
from xtl.models.caching import why_no_cache
from xtl.scoring.likelihood import Question


@dataclass
class Leaf:
    """What is added at one hook point, in some of the states of a batch.

    Attributes:
        site: name of the hook point.
        states: of each row of `value` the state in which it is added.
        value: zeros where the gradient is wanted at the vanilla run itself, else a displacement.
    """

    site: str
    states: Int[Tensor, " state"]
    value: Float[Tensor, "state ..."]


class TargetRun:
    """The target run of one plan, in several states at once: vanilla, or with something added at a hook point.

    Attributes:
        n_paths: rows that a state takes: the continuations' beginnings, of which none goes on with another.
        n_tokens: tokens that a state takes.
    """

    def __init__(self, model: Model, plan: Plan, question: Question) -> None:
        self.model, self.plan, self.question = model, plan, question
        self.tree = build_tree(plan.target_ids[-1], plan.continuations)
        self.cache = _cached(model, plan.target_ids[:-1])
        start = plan.target_ids if self.cache is None else plan.target_ids[-1:]
        self.position = len(start) - 1
        paths, self.places = branches(self.tree)
        width = len(start) + max(map(len, paths))
        rows = [[*start, *path] + [0] * (width - len(start) - len(path)) for path in paths]
        self.tokens = torch.tensor(rows, device=model.cfg.device)
        self.n_paths, self.n_tokens = len(paths), self.tokens.numel()
        self.readout = Readout(model)

    def score(self, n_states: int, hooks: Hooks) -> Float[Tensor, " state"]:
        """The score of each state under hooks, in nats, from one forward pass; in torch's graph wherever gradients are on."""
        return self.question.score(self.logprobs(n_states, hooks))

    def logprobs(self, n_states: int, hooks: Hooks) -> Float[Tensor, "state continuation"]:
        """Each continuation's log-probability, up to a constant where the score allows it."""
        cache = None if self.cache is None else repeat_cache(self.model, self.cache, n_states * self.n_paths)
        with (
            warnings.catch_warnings()
        ):  # a bridge's norm, where RelP's hooks hold its scale: other numerics at rounding scale
            warnings.filterwarnings("ignore", message="A forward hook edited hook_scale")
            normed = forward_differentiable(self.model, self.tokens.repeat(n_states, 1), hooks=hooks, cache=cache)
        rows, after = zip(*self.places, strict=True)
        states = normed.unflatten(0, (n_states, self.n_paths))
        nodes = states[:, list(rows), [self.position + one for one in after]]
        return self.readout.logprobs(nodes, self.tree, self.plan.up_to_constant)

    def read(self, sites: list[str]) -> tuple[Float[Tensor, " continuation"], dict[str, Tensor]]:
        """Vanilla's log-probabilities, and what stands at hook points, `[*unit]` each."""
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            logprobs = self.logprobs(1, [(site, capture(found, site, self.position)) for site in sites])[0]
        return logprobs, {site: activation[0] for site, activation in found.items()}

    def gradients(self, leaves: list[Leaf], n_states: int, hooks: Hooks | None = None) -> list[Tensor]:
        """The gradient of each state's score with respect to each leaf, from one forward and one backward pass.

        Args:
            leaves: what is added where.
            n_states: states of the batch.
            hooks: further hooks, such as those of RelP's rules.

        Raises:
            ModelError: the score does not depend on a leaf, or the gradient holds NaN.
        """
        with torch.inference_mode(False), torch.enable_grad():
            values = [leaf.value.detach().clone().requires_grad_() for leaf in leaves]
            adding = [(leaf.site, self.add(leaf, value)) for leaf, value in zip(leaves, values, strict=True)]
            score = self.score(n_states, [*adding, *(hooks or [])])
            found = torch.autograd.grad(score.sum(), values, allow_unused=True) if score.requires_grad else [None]
        for leaf, gradient in zip(leaves, found, strict=False):
            if gradient is None:
                raise ModelError(
                    f"the score has no gradient at {leaf.site}: the model's forward pass does not carry it"
                )
            if not torch.isfinite(gradient).all():
                raise ModelError(f"the score's gradient at {leaf.site} is NaN or infinite; try dtype='float32'")
        return [gradient for gradient in found if gradient is not None]

    def add(self, leaf: Leaf, value: Tensor) -> HookFunction:
        """A hook function that adds a leaf at the prompt's last position, in each row of its states."""
        rows = (leaf.states[:, None] * self.n_paths + torch.arange(self.n_paths)).flatten().to(value.device)

        def write(activation: Float[Tensor, "row pos *unit"], hook: Any) -> Float[Tensor, "row pos *unit"]:
            moved = activation.clone()
            moved[rows, self.position] += value.repeat_interleave(self.n_paths, dim=0).to(activation)
            return moved

        return write


def _cached(model: Model, prefix: list[int]) -> Any:
    """The keys and values of what comes before the last token; None where there is nothing, or a model can't go on with them."""
    if not prefix or why_no_cache(model) or why_not_batchable(model):
        return None
    cache = new_cache(model)
    forward_without_logits(model, prefix, cache=cache)
    return cache


def branches(tree: Tree) -> tuple[list[tuple[int, ...]], list[tuple[int, int]]]:
    """The tree's branches as tokens after the root, and of each node its branch and its depth there.

    >>> branches(build_tree(9, ((1,), (2, 3), (2, 4, 5))))
    ([(2, 4)], [(0, 0), (0, 1), (0, 2)])
    """
    paths: list[tuple[int, ...]] = []
    for token, parent in zip(tree.tokens, tree.parents, strict=True):
        paths.append(() if parent < 0 else (*paths[parent], token))
    leaves = [path for node, path in enumerate(paths) if node not in tree.parents]
    of_node = [next(row for row, leaf in enumerate(leaves) if leaf[: len(path)] == path) for path in paths]
    return leaves, list(zip(of_node, tree.depths, strict=True))
