"""Scores: how right the model is under a transplant, as a number."""

from xtl.scoring.likelihood import Question, prepare_question

__all__ = ["Question", "prepare_question"]
