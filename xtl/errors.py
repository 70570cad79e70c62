"""What xtl raises when it cannot go on, and the helpers that word it.

Every error that a user can cause is an `XtlError` with a one-line message that names the argument, the value
and what to do. The command line prints that line and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral
from typing import TYPE_CHECKING, SupportsIndex

if TYPE_CHECKING:
    Whole = int  # what comes of one once it is checked
else:
    Whole = SupportsIndex
"""An argument that is a whole number, of Python or of NumPy (see `as_whole`)."""


class XtlError(Exception):
    """Base class: the message is one clear line for the user."""


class InputError(XtlError, ValueError):
    """An argument is wrong: an unknown name, a layer out of range, an empty prompt, ..."""


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
    close = difflib.get_close_matches(str(value), valid, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise InputError(f"unknown {argument} {value!r}{hint}; valid: {', '.join(valid)}")


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
        raise InputError(f"{argument} must be True or False, got {value!r}")
    return value


def check_layer(argument: str, value: object, n_layers: int) -> int:
    """Return a 0-based layer; a negative one counts from the end. Raise `InputError` when out of range.

    >>> check_layer("source_layer", -1, 18)
    17
    """
    layer = as_whole(value)
    if layer is None:
        raise InputError(f"{argument} must be a whole number, got {value!r}")
    if not -n_layers <= layer < n_layers:
        raise InputError(
            f"{argument} {layer} is out of range for a model of {n_layers} layers; "
            f"valid: 0 to {n_layers - 1}, or -{n_layers} to -1 counted from the end"
        )
    return layer % n_layers


def check_whole(argument: str, value: object, low: int) -> int:
    """Return `value` if it is a whole number of at least `low`, else raise an `InputError` that says so.

    >>> check_whole("limit", 3, 1)
    3
    """
    number = as_whole(value)
    if number is None or number < low:
        raise InputError(f"{argument} must be a whole number of at least {low}, got {value!r}")
    return number
