"""What xtl raises when it cannot go on, and the helpers that word it.

Every error that a user can cause is an `XtlError` with a one-line message that names the argument, the value
and what to do. The command line prints that line and exits with code 2.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ParamSpec, SupportsIndex, TypeVar

from xtl.kinds import misfit

if TYPE_CHECKING:
    Whole = int  # what comes of one once it is checked
else:
    Whole = SupportsIndex
"""An argument that is a whole number, of Python or of NumPy (see `as_whole`)."""


OTHER_WORDS = {
    "ffn": ("mlp",), "feedforward": ("mlp",), "feed-forward": ("mlp",), "feed_forward": ("mlp",), "mlp_out": ("mlp",),
    "hook_mlp_out": ("mlp",), "attention": ("attn",), "self-attention": ("attn",), "self_attn": ("attn",),
    "hook_attn_out": ("attn",), "residual": ("resid",), "residual stream": ("resid",), "resid_post": ("resid",),
    "hook_resid_post": ("resid",), "module": ("modules",), "layers": ("source_layers",),
}  # fmt: skip
"""Names by which the papers and the libraries of the field call things, and ours; for suggestions."""


class XtlError(Exception):
    """Base class: the message is one clear line for the user."""


class InputError(XtlError, ValueError):
    """An argument is wrong: an unknown name, a layer out of range, an empty prompt, ..."""


class KeywordError(InputError, TypeError):
    """A function has no argument of that name, or lacks one."""


class ModelError(XtlError, RuntimeError):
    """A model cannot be had: not found, no network, damaged files, an architecture that no backend supports."""


class ContractError(XtlError, RuntimeError):
    """A loaded model breaks the contract on which transplants rest (see `xtl.models.contract`)."""


class SlowEngineWarning(UserWarning):
    """The fast engine can't run a model; the message says why, what that costs and what to do."""


def check_choice(argument: str, value: object, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`, else raise an `InputError` that lists them.

    >>> check_choice("module", "attn", ["attn", "mlp"])
    'attn'
    >>> check_choice("module", "atn", ["attn", "mlp"])
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: unknown module 'atn' (did you mean 'attn'?); valid: attn, mlp
    """
    valid = list(choices)
    if isinstance(value, str) and value in valid:
        return value
    raise InputError(f"unknown {argument} {shown(value)}{did_you_mean(value, valid)}; valid: {', '.join(valid)}")


def shown(value: object, most: int = 200) -> str:
    """A value as Python writes it, for a message; on one line, cut where it is long."""
    text = repr(value)
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= most else text[: most - 3] + "..."


def one_line(error: BaseException, most: int = 300) -> str:
    """What an error says, in one line, cut where it is long; its type where it says nothing.

    >>> one_line(ValueError("a\\n  b")), one_line(KeyError())
    ('a b', 'KeyError')
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


def did_you_mean(value: object, valid: list[str]) -> str:
    """The nearest of the valid names, in words; nothing where none is near."""
    text = str(value)[:200].strip().casefold()
    folded = {name.casefold(): name for name in reversed(valid)}
    other = next((name for word in OTHER_WORDS.get(text, ()) for name in valid if name == word), None)
    close = difflib.get_close_matches(text, folded, n=1)
    best = other or (folded[close[0]] if close else None)
    return f" (did you mean {best!r}?)" if best else ""


P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
_OF_ANY = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def known_keywords(
    more: Iterable[str] = (), *, but: Iterable[str] = (), name: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a public function: arguments that it does not have, or lacks, are told by its own name, with the nearest.

    If it fails at an argument of another kind than its annotation says, that is told too, in one line.

    Args:
        more: keywords that its `**settings` may hold.
        but: those of them that it refuses in words of its own.
        name: what users call it, where that is more than its name.

    >>> @known_keywords()
    ... def halve(number): return number / 2
    >>> halve(numbr=3)
    Traceback (most recent call last):
    ...
    xtl.errors.KeywordError: halve has no argument 'numbr' (did you mean 'number'?); valid: number
    >>> halve()
    Traceback (most recent call last):
    ...
    xtl.errors.KeywordError: halve needs number; it takes: number
    >>> halve(3, 4)
    Traceback (most recent call last):
    ...
    xtl.errors.KeywordError: halve takes 1 argument without a name (number), and 2 are given; give the others by name: number
    """
    settings, but = list(more), list(but)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        parameters = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
        own = [one.name for one in parameters if one.kind not in _OF_ANY]
        valid = [key for key in dict.fromkeys([*own, *settings]) if key not in but]
        takes_any = not settings and inspect.Parameter.VAR_KEYWORD in [one.kind for one in parameters]
        called = name or function.__name__

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for key in () if takes_any else kwargs:
                if key not in valid and key not in but:
                    told = f"{called} has no argument {key!r}{did_you_mean(key, valid)}"
                    raise KeywordError(f"{told}; valid: {', '.join(valid) or 'none'}")
            try:
                return function(*args, **kwargs)
            except XtlError:
                raise
            except Exception as error:
                if told := _does_not_fit(signature, args, kwargs):
                    raise KeywordError(f"{called} {told}: {', '.join(valid)}") from error
                given = signature.bind(*args, **kwargs).arguments
                if found := misfit(function, given):
                    raise InputError(f"{found[0]} must be {found[1]}, got {shown(given[found[0]])}") from error
                raise

        return call

    return decorate


def known_fields(kind: type[C]) -> type[C]:
    """Decorate a class: `known_keywords` of what it is made with, by the class's name.

    >>> @known_fields
    ... class Point:
    ...     def __init__(self, x, y=0): ...
    >>> Point()
    Traceback (most recent call last):
    ...
    xtl.errors.KeywordError: Point needs x; it takes: x, y
    """
    kind.__init__ = known_keywords(name=kind.__name__)(kind.__init__)  # type: ignore[method-assign]
    return kind


def _does_not_fit(signature: inspect.Signature, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
    """What is wrong with a call's arguments, before their names are listed; nothing if they fit."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        whole = [one.name for one in signature.parameters.values() if one.kind in _BY_PLACE]
        given = len(args) - (whole[:1] in (["self"], ["cls"]))
        placed = [one for one in whole if one not in ("self", "cls")]
        if given > len(placed):
            are = "is" if given == 1 else "are"
            several = f"{len(placed)} argument{'' if len(placed) == 1 else 's'} without a name"
            return f"takes {several} ({', '.join(placed) or 'none'}), and {given} {are} given; give the others by name"
        if twice := [one for one in placed[:given] if one in kwargs]:
            return f"is given {twice[0]} twice, by its place and by name; it takes"
        there = signature.bind_partial(*args, **kwargs).arguments
        needed = [one for one in signature.parameters.values() if one.default is one.empty and one.kind not in _OF_ANY]
        lacks = [one.name for one in needed if one.name not in there]
        return f"needs {' and '.join(lacks)}; it takes" if lacks else f"can't be called so ({error}); it takes"
    return ""


def as_whole(value: object) -> int | None:
    """A whole number as an `int`, also one of NumPy's; None for anything else, booleans among it.

    >>> import numpy
    >>> as_whole(numpy.int64(3)), as_whole(True), as_whole(3.0), as_whole("3")
    (3, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        return None
    return int(value)


def check_flag(argument: str, value: object) -> bool:
    """Return `value` if it is True or False, else raise an `InputError`: "no" and 0 open no door, and close none.

    >>> check_flag("trust_remote_code", "no")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: trust_remote_code must be True or False, got 'no'
    """
    if not isinstance(value, bool):
        raise InputError(f"{argument} must be True or False, got {shown(value)}")
    return value


def check_chunk_size(value: object) -> None:
    """Raise an `InputError` unless a value is a number of cells at a time, or "auto".

    >>> check_chunk_size(0)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: chunk_size must be 'auto' or a whole number of at least 1, got 0
    """
    size = as_whole(value)
    if not (isinstance(value, str) and value == "auto") and (size is None or size < 1):
        raise InputError(f"chunk_size must be 'auto' or a whole number of at least 1, got {shown(value)}")


def check_layer(argument: str, value: object, n_layers: int) -> int:
    """Return a 0-based layer; a negative one counts from the end. Raise `InputError` when out of range.

    >>> check_layer("source_layer", -1, 18)
    17
    """
    layer = as_whole(value)
    if layer is None:
        raise InputError(f"{argument} must be a whole number, got {shown(value)}")
    if not -n_layers <= layer < n_layers:
        raise InputError(
            f"{argument} {layer} is out of range for a model of {n_layers} layers; "
            f"valid: 0 to {n_layers - 1}, or -{n_layers} to -1 counted from the end"
        )
    return layer % n_layers


def check_whole(argument: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` if it is a whole number of at least `low` (and at most `high`), else raise an `InputError` that says so.

    >>> check_whole("limit", 3, 1)
    3
    >>> check_whole("n_options", 1, 2, 82)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: n_options must be a whole number from 2 to 82, got 1
    """
    number = as_whole(value)
    if number is None or number < low or (high is not None and number > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{argument} must be a whole number {span}, got {shown(value)}")
    return number


def check_text(argument: str, value: object) -> str:
    """Return `value` if it is a text, else raise an `InputError` that says so.

    >>> check_text("output", None)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: output must be a text, got None
    """
    if not isinstance(value, str):
        raise InputError(f"{argument} must be a text, got {shown(value)}")
    return value


def check_function(argument: str, value: object, *takes: str) -> Callable[..., Any]:
    """Return `value` if it can be called with the arguments that `takes` names, else raise an `InputError` that says so.

    >>> check_function("progress", lambda done: None, "done", "number")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: progress must be a function of (done, number), got one of (done)
    """
    if not callable(value):
        raise InputError(f"{argument} must be a function of ({', '.join(takes)}), got {shown(value)}")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # of some built-in ones Python doesn't know it
        return value
    try:
        signature.bind(*takes)
    except TypeError as error:
        own = ", ".join(map(str, signature.parameters))
        raise InputError(f"{argument} must be a function of ({', '.join(takes)}), got one of ({own})") from error
    return value


def check_number(argument: str, value: object, low: int | float = -math.inf, high: int | float = math.inf) -> float:
    """Return `value` if it is a finite real number from `low` to `high`, else raise an `InputError` that says so.

    >>> check_number("ties", 0.1, 0, 1)
    0.1
    >>> check_number("ties", "0.1", 0, 1)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: ties must be a number from 0 to 1, got '0.1'
    """
    good = isinstance(value, Real) and not isinstance(value, bool) and abs(value) <= sys.float_info.max  # type: ignore[operator]
    if not good or not low <= value <= high:  # type: ignore[operator]
        ends = ((low, f"from {low:g}"), (high, f"to {high:g}"))
        span = " ".join(["", *(text for end, text in ends if math.isfinite(end))])
        raise InputError(f"{argument} must be a number{span}, got {shown(value)}")
    return float(value)  # type: ignore[arg-type]
