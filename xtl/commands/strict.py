"""A command line means one thing, or it is refused: what click and typer take leniently is checked here, for every command.

Whole numbers are ASCII digits with at most a minus before them (click takes `1_0` for 10, ` 3`, `+3`, `３` and `3.0`); no value
is empty; no flag stands twice, of which click would take the last; and none takes another flag for its value (`--out --json`).
An `App` gives all of it to its commands, so that no command can leave it out.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperCommand

from xtl.errors import InputError, check_number, shown
from xtl.files import check_path

UsageError: Any = typer.BadParameter.__mro__[1]
"""What typer raises for a line that it can't read; it has no public name."""

WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)


def parse_whole(flag: str, text: str) -> int:
    """The whole number that a flag was given.

    >>> parse_whole("--limit", "10")
    10
    >>> parse_whole("--limit", "1_0")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: --limit must be a whole number, got '1_0'
    """
    if not WHOLE.fullmatch(text):
        raise InputError(f"{flag} must be a whole number, got {shown(text)}")
    return int(text)


def parse_number(flag: str, text: str) -> float:
    """The same for any finite number: `0.5`, `-3`, `1e-3`.

    >>> parse_number("--option ties", "0.1")
    0.1
    """
    number = float(text) if NUMBER.fullmatch(text) else math.inf
    return check_number(flag, number if math.isfinite(number) else text)


def parse_names(flag: str, text: str) -> list[str]:
    """The names of a list with commas between them.

    >>> parse_names("--modules", "attn, mlp")
    ['attn', 'mlp']
    >>> parse_names("--modules", "attn,")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: --modules 'attn,' has an empty name; write names with one comma between them
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"{flag} {shown(text)} has an empty name; write names with one comma between them")
    if twice := [name for index, name in enumerate(names) if name in names[:index]]:
        raise InputError(f"{flag} {shown(text)} names {shown(twice[0])} twice")
    return names


PARSERS: dict[type, Callable[[str, str], Any]] = {int: parse_whole, float: parse_number, Path: check_path}


def texts_of(values: Any) -> list[str]:
    """The texts among what click found for a parameter."""
    return [one for one in (values if isinstance(values, (list, tuple)) else [values]) if isinstance(one, str)]


GIVEN: ContextVar[frozenset[str]] = ContextVar("given", default=frozenset())
"""Names of the parameters that are on the command line, whatever their values."""


def refuse(names: Iterable[str], why: str) -> None:
    """Raise `InputError` where one of these flags is given, which has no effect then; `why` says with what it has one."""
    for name in names:
        if name in GIVEN.get():
            raise InputError(f"--{name.replace('_', '-')} {why}")


class StrictCommand(TyperCommand):
    """A command that looks at its whole line before it reads it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The same as click's, for lines that are clear.

        Raises:
            InputError: an empty value, a flag twice, a flag in the place of a value, or a number that is none.
        """
        if not ctx.resilient_parsing:  # while a shell completes, lines are not whole
            self._check(ctx, list(args))
        return super().parse_args(ctx, args)

    def _check(self, ctx: Any, args: list[str]) -> None:
        known = self.get_params(ctx)
        flags = {flag for one in known for flag in one.opts if one.param_type_name == "option"}
        parsers = dict(_parsers(self.callback))
        values, _, order = self.make_parser(ctx).parse_args(args=args)
        for one in known:
            flag = one.opts[-1] if one.param_type_name == "option" else one.name
            if order.count(one) > 1 and not one.multiple:
                raise InputError(f"{flag} is given twice")
            for value in texts_of(values.get(one.name)):
                _check_value(flag, value, flags)
                if one.name in parsers:
                    parsers[one.name](flag, value)
        GIVEN.set(frozenset(one.name for one in known if values.get(one.name) not in (None, (), [])))


class App(typer.Typer):
    """A typer app with strict commands."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Typer's `command`, strict."""
        return super().command(name, cls=StrictCommand, **options)


def _check_value(flag: str, value: str, flags: set[str]) -> None:
    if not value.strip():
        raise InputError(f"{flag} is empty: {shown(value)}")
    if value in flags:
        raise InputError(f"{flag} takes a value, and {value} is a flag")


def _parsers(function: Any) -> Iterator[tuple[str, Callable[[str, str], Any]]]:
    """Of each parameter that is a number or a path by its annotation, what reads it."""
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        kind = next(iter(get_args(parameter.annotation)), parameter.annotation)  # of Annotated
        inner = {part for one in get_args(kind) for part in get_args(one)}  # of list[Path] | None
        for number in {kind, *get_args(kind), *inner} & PARSERS.keys():
            yield name, PARSERS[number]
