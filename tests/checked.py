"""What checks the shapes in signatures while tests run; `addopts` in pyproject.toml names it to jaxtyping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import beartype

_checkers: dict[tuple[str, ...], Callable[..., Any]] = {}


def check(checker: Callable[..., Any]) -> Callable[..., Any]:
    """Beartype, asked once for each signature: hooks are functions that every pass defines anew.

    What jaxtyping gives does nothing but take arguments, so that one with an equal signature stands for another. Its annotations
    are compared as they are written: jaxtyping makes a new class each time that it reads one.
    """
    key = (checker.__module__, checker.__qualname__, repr(checker.__annotations__))
    if key not in _checkers:
        _checkers[key] = beartype(checker)
    return _checkers[key]
