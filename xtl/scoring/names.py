"""Scores of generated texts by name: what a task lists in `text_scores` and a user types."""

from __future__ import annotations

from xtl.errors import InputError, check_choice
from xtl.scoring.paper import PAPER
from xtl.scoring.squad import CONTAINS, EM, F1
from xtl.scoring.strict import STRICT
from xtl.scoring.text import TextScore

TEXT_SCORES: dict[str, TextScore] = {score.name: score for score in (STRICT, EM, F1, CONTAINS)}
"""The scores that are the same for every task."""


def get_text_score(name: str, task: str | None = None) -> TextScore:
    """The score of that name.

    Args:
        name: "strict", "em", "f1", "contains", or "paper".
        task: name of a benchmark of the paper; "paper" needs it, since each has its own rule.

    Raises:
        InputError: an unknown name; "paper" for a task that is not the paper's. The message lists what there is.

    >>> get_text_score("paper", "xquad").description
    "the release's rule for XQuAD: the answer is in the text"
    """
    if check_choice("text score", name, ["paper", *TEXT_SCORES]) != "paper":
        return TEXT_SCORES[name]
    if task not in PAPER:
        raise InputError(f"score 'paper' has no rule for task {task!r}; it has one for: {', '.join(PAPER)}")
    return PAPER[task]
