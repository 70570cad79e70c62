"""Scores of a generated text: how right is what the model wrote?

A `TextScore` rates one output against what its pair says is right, from 0 to 1. Tasks offer theirs by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xtl.pairs import ParallelPair


@dataclass(frozen=True)
class TextScore:
    """A score of generated texts.

    Attributes:
        name: what the user types ("paper", "strict", ...).
        description: one line for listings and results.
        rate: `(output, pair)` -> from 0 (wrong) to 1 (right).
        binary: whether it is always 0 or 1, so that outputs are right or wrong.

    >>> says_yes = TextScore("yes", "says yes", lambda output, pair: float("yes" in output))
    >>> says_yes.rate("oh yes", ParallelPair("a", "b"))
    1.0
    """

    name: str
    description: str
    rate: Callable[[str, ParallelPair], float]
    binary: bool = True
