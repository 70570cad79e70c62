"""Scores of a generated text: how right is what the model wrote?

A `TextScore` rates one output against what its pair says is right, from 0 to 1. Tasks offer theirs by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from xtl.errors import InputError, check_function, shown
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


def check_text_score(value: object) -> None:
    """Raise `InputError` unless a value can score texts: a `TextScore`, or an object with all that one has.

    >>> check_text_score("paper")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: text_score must be an xtl.scoring.text.TextScore, got the name 'paper'; see xtl.scoring.names
    """
    if isinstance(value, str):
        raise InputError(
            f"text_score must be an xtl.scoring.text.TextScore, got the name {value!r}; see xtl.scoring.names"
        )
    missing = [one.name for one in fields(TextScore) if not hasattr(value, one.name)]
    if missing:
        raise InputError(
            f"text_score must be an xtl.scoring.text.TextScore, got a {type(value).__name__} without {', '.join(missing)}"
        )
    check_function("text_score's rate", value.rate, "output", "pair")  # type: ignore[attr-defined]


def rated(score: TextScore, output: str, pair: ParallelPair) -> float:
    """How right an output is, from 0 to 1.

    Raises:
        InputError: the score gives anything else, or something between for a score that says it is binary.

    >>> rated(TextScore("yes", "says yes", lambda output, pair: "yes" in output), "oh yes", ParallelPair("a", "b"))
    1.0
    >>> rated(TextScore("percent", "percent right", lambda output, pair: 50), "oh yes", ParallelPair("a", "b"))
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: text_score 'percent' rates 'oh yes' as 50; its rate must be 0 or 1 (or binary=False)
    """
    value = score.rate(output, pair)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, str) or not (number in (0, 1) if score.binary else 0 <= number <= 1):
        valid = "0 or 1 (or binary=False)" if score.binary else "from 0 to 1"
        raise InputError(f"text_score {score.name!r} rates {shown(output)} as {shown(value)}; its rate must be {valid}")
    return number
