"""What checks the types in signatures while tests run, shapes included; `addopts` in pyproject.toml names it to jaxtyping.

jaxtyping binds the arguments of every call and checks those with shapes twice, before the call and after it; and what checks a
hook, it makes anew each time that a pass defines the hook. Both together were a sixth of all the time that the tests take.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any

import jaxtyping
from beartype import beartype

with_sizes = jaxtyping.jaxtyped
_checkers: dict[tuple[str, ...], Callable[..., Any]] = {}
_of_places: dict[CodeType, tuple[Latest, Callable[..., Any]]] = {}


def check(checker: Callable[..., Any]) -> Callable[..., Any]:
    """Beartype, asked once for each signature.

    What jaxtyping gives does nothing but take arguments, so that one with an equal signature stands for another. Its annotations
    are compared as they are written: jaxtyping makes a new class each time that it reads one.
    """
    key = (checker.__module__, checker.__qualname__, repr(checker.__annotations__))
    if key not in _checkers:
        _checkers[key] = beartype(checker)
    return _checkers[key]


def jaxtyped(*, typechecker: Callable[..., Any]) -> Callable[[Any], Any]:
    """`jaxtyping.jaxtyped`, which decorates all that is under test, at less cost."""

    def decorate(found: Any) -> Any:
        if not inspect.isfunction(found):
            return with_sizes(found, typechecker=typechecker)
        if "<locals>" in found.__qualname__:
            return checked_as_its_place(found, typechecker)
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
        written = dict(function.__annotations__)  # in their place beartype puts what they mean
        try:
            typed = beartype(function)
        finally:
            function.__annotations__ = written
        return of_one_call(typed) if "jaxtyping." in repr(annotations) else typed

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return (function if jaxtyping.config.jaxtyping_disable else checked())(*arguments, **options)

    return call


def of_one_call(typed: Callable[..., Any]) -> Callable[..., Any]:
    """A name in a shape is one size throughout a call, what it returns included."""

    def call(*arguments: Any, **options: Any) -> Any:
        with with_sizes("context"):
            return typed(*arguments, **options)

    return call


class Latest(threading.local):
    """Stands for whichever function was last defined at a place in the code: all of them have one signature."""

    function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        del self.__wrapped__
        self.__globals__ = function.__globals__
        self.__signature__ = inspect.signature(function)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.__dict__.pop("function")(*arguments, **options)  # what it holds may be large


def checked_as_its_place(function: Callable[..., Any], typechecker: Callable[..., Any]) -> Callable[..., Any]:
    """A function within a function, with its types checked by what was made for the first one of its place in the code."""
    if function.__code__ not in _of_places:
        latest = Latest(function)
        _of_places[function.__code__] = (latest, with_sizes(latest, typechecker=typechecker))
    latest, checked = _of_places[function.__code__]

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        latest.function = function
        return checked(*arguments, **options)

    return call


jaxtyping.jaxtyped = jaxtyped
