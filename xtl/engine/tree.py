"""Continuations as a tree of tokens, so that what they share is computed once.

The root is the prompt's last token. Every other node is a token of some continuation that a later token is predicted from
(a continuation's own last token predicts nothing here and is no node).

>>> tree = build_tree(last_token=9, continuations=((1,), (2, 3), (2, 4, 5)))
>>> tree.tokens, tree.depths, tree.parents
([9, 2, 4], [0, 1, 2], [-1, 0, 1])
>>> tree.reads  # of each continuation: (node, token that it predicts)
[[(0, 1)], [(0, 2), (1, 3)], [(0, 2), (1, 4), (2, 5)]]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor


@dataclass(frozen=True)
class Tree:
    """Tokens in order of depth, node 0 the prompt's last token.

    Attributes:
        tokens: token id of each node.
        depths: how many tokens after the prompt's last one each node stands.
        parents: node before each node; -1 for the root.
        reads: for each continuation its `(node, token)`: the token's log-probability is read at that node.
    """

    tokens: list[int]
    depths: list[int]
    parents: list[int]
    reads: list[list[tuple[int, int]]]

    def __len__(self) -> int:
        return len(self.tokens)

    def sees(self) -> Bool[Tensor, "node other"]:
        """Whether a node attends to another: to itself and to the nodes before it on its branch."""
        mask = torch.eye(len(self), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                mask[node] |= mask[parent]
        return mask


def trees_of(target_ids: list[int], start: int, continuations: tuple[tuple[int, ...], ...]) -> tuple[Tree, Tree]:
    """What is computed of a cell, from the first written token on, and of that what is read, from the prompt's last token on.

    The second is the end of the first, and the same where the last token is the first written one.

    >>> computed, read = trees_of([7, 8, 9], 1, ((1,), (2, 3)))
    >>> computed.tokens, read.tokens
    ([8, 9, 2], [9, 2])
    """
    tail = target_ids[start:]
    computed = build_tree(tail[0], tuple((*tail[1:], *ids) for ids in continuations) or ((*tail[1:], 0),))
    return computed, build_tree(tail[-1], continuations)


def build_tree(last_token: int, continuations: tuple[tuple[int, ...], ...]) -> Tree:
    """The tree of these continuations after a prompt that ends in `last_token`."""
    paths = {(), *(ids[:end] for ids in continuations for end in range(len(ids)))}
    order = sorted(paths, key=lambda path: (len(path), path))
    node = {path: index for index, path in enumerate(order)}
    return Tree(
        tokens=[path[-1] if path else last_token for path in order],
        depths=[len(path) for path in order],
        parents=[node[path[:-1]] if path else -1 for path in order],
        reads=[[(node[ids[:end]], ids[end]) for end in range(len(ids))] for ids in continuations],
    )
