"""What checks the types in signatures while tests run, shapes included; `addopts` in pyproject.toml names it to jaxtyping.

jaxtyping binds the arguments of every call of every function, to know the sizes that its annotations name: a seventh of all the
time that the tests take. A function whose signature names no array has no such sizes, and is beartype's alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import beartype

with_sizes = jaxtyping.jaxtyped
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


def jaxtyped(*, typechecker: Callable[..., Any]) -> Callable[[Any], Any]:
    """`jaxtyping.jaxtyped`, which decorates all that is under test, but for functions without arrays."""

    def decorate(found: Any) -> Any:
        if isinstance(found, type) or not callable(found) or "<locals>" in found.__qualname__:
            return with_sizes(found, typechecker=typechecker)
        return checked_as_it_needs(found, typechecker)

    return decorate


def checked_as_it_needs(function: Callable[..., Any], typechecker: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its types checked; what its annotations mean is known at its first call, when all modules are there."""

    @functools.cache
    def checked() -> Callable[..., Any]:
        try:
            annotations = inspect.get_annotations(function, eval_str=True)
        except Exception:  # a name that only type checkers import or subscript: jaxtyping leaves it out
            return with_sizes(function, typechecker=typechecker)
        if "jaxtyping." in repr(annotations):
            return with_sizes(function, typechecker=typechecker)
        written = dict(function.__annotations__)  # in their place beartype puts what they mean
        try:
            return beartype(function)
        finally:
            function.__annotations__ = written

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return (function if jaxtyping.config.jaxtyping_disable else checked())(*arguments, **options)

    return call


jaxtyping.jaxtyped = jaxtyped
