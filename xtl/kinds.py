"""Which argument of a failed call is of another kind than its function says: asked afterwards, so that it costs nothing before.

>>> def halve(number: float, name: str | None = None) -> float: ...
>>> misfit(halve, {"number": 3, "name": 5})
('name', 'str | None')
>>> misfit(halve, {"number": 3, "name": "x"}) is None
True
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, SupportsIndex

NAMES = {"os.PathLike[str]": "path", "Whole": "whole number", "xr.Dataset": "Dataset", "pd.DataFrame": "DataFrame"}
"""What stands in a message for words of an annotation."""


def misfit(function: Callable[..., Any], arguments: Mapping[str, object]) -> tuple[str, str] | None:
    """The first argument that is not of its annotation's kind, and that kind; None where all are, or can't be told."""
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # a name that is imported for type checkers alone
        return None
    wrong = next((name for name, value in arguments.items() if name in hints and not fits(value, hints[name])), None)
    return None if wrong is None else (wrong, _spelled(inspect.unwrap(function).__annotations__[wrong]))


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of a kind, as far as can be told.

    >>> fits([1, 2], Sequence[int]), fits([None], Sequence[int]), fits(3, float), fits("a", Mapping[str, int])
    (True, False, True, False)
    """
    kind: Any = typing.get_origin(hint) or hint
    inner = typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if kind is typing.Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    kind = {int: SupportsIndex, float: (Real, SupportsIndex), None: type(None)}.get(kind, kind)
    try:
        of_kind = kind is Any or isinstance(value, kind)
    except TypeError:  # a kind that can't be asked for: a shape, a type variable
        return True
    if (
        not of_kind
        or kind not in (Sequence, Iterable, list, tuple)
        or not isinstance(value, (list, tuple, str))
        or not inner
    ):
        return of_kind
    if kind is tuple and Ellipsis not in inner:
        return len(value) == len(inner) and all(map(fits, value, inner))
    return all(fits(one, inner[0]) for one in value)


def _spelled(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    for code, words in NAMES.items():
        text = text.replace(code, words)
    return text
