"""A user's own table whose columns have names of their own: `pairs_from` says which is which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from xtl.errors import InputError, check_choice, did_you_mean, known_keywords, shown
from xtl.languages import code_of
from xtl.pairs import ParallelPair
from xtl.tasks.base import is_language
from xtl.tasks.user_data import COLUMNS, pairs_of
from xtl.tasks.user_files import rows_of_file

PAGE = "docs/tasks.md, 'Your own data'"


@known_keywords()
def pairs_from(
    table: Any,
    *,
    source: str = "source",
    target: str = "target",
    source_lang: str | None = None,
    target_lang: str | None = None,
    options: str | Sequence[str] | None = None,
    **columns: str,
) -> list[ParallelPair]:
    """The pairs of a table whose columns have other names than xtl's, a row a pair, in its order.

    Args:
        table: a DataFrame (of pandas or Polars), an Arrow table, the path of a CSV, JSONL or Parquet file, or rows as mappings (a
            `datasets.Dataset` gives such).
        source, target: the columns that hold the prompts.
        source_lang, target_lang: the prompts' languages (codes), or the columns that hold them. Not needed where the table has
            a column of this name, or where the prompts' columns are called by the language ("en", "es").
        options: the column that holds a list of options, or the columns that hold one option each.
        **columns: columns for what else a pair has, under xtl's names: gold, answer, answers, labels, distribution, id, ... A
            column that has xtl's name already need not be given. All others are kept in the pairs' `meta`.

    Raises:
        InputError: a column that is not in the table (with the nearest) or is in it twice, a language that can't be told, or a
            faulty row. Answers and options that follow their prompt without a space, where words have one, are a warning.

    Example:
        >>> rows = [{"en": "2 + 2 is", "es": "2 + 2 son", "right": " cuatro", "wrong": " cinco", "level": 1}]
        >>> [pair] = pairs_from(rows, source="en", target="es", options=["right", "wrong"], gold="right")
        >>> pair.direction, pair.options, pair.gold, pair.meta
        ('en->es', (' cuatro', ' cinco'), 0, {'level': 1})
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        check_choice(
            "argument",
            unknown[0],
            dict.fromkeys(["source", "target", "source_lang", "target_lang", "options", *COLUMNS]),
        )
    rows = list(_rows(table))
    if not rows:
        raise InputError("the table has no rows")
    there = tuple(dict.fromkeys(name for _, row in rows for name in row))
    given = {"source": source, "target": target, **columns}
    several = _several(options)
    for argument, column in [*given.items(), *(("options", one) for one in several)]:
        _check_column(argument, column, there)
    langs = {
        f"{end}_lang": _language(f"{end}_lang", value, given[end], there)
        for end, value in (("source", source_lang), ("target", target_lang))
    }
    used = {*given.values(), *several, *(value for is_column, value in langs.values() if is_column)}

    def renamed(row: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in row.items() if name not in used}
        named = {argument: row.get(column) for argument, column in given.items()}
        spoken = {name: row.get(value) if is_column else value for name, (is_column, value) in langs.items()}
        if several:
            listed = row.get(several[0]) if isinstance(options, str) else [row.get(column) for column in several]
            named["options"] = listed
        return {**kept, **named, **spoken}

    return pairs_of(((where, renamed(row)) for where, row in rows), "the table")


def _several(options: Any) -> list[Any]:
    """The columns of options."""
    if options is None or isinstance(options, (str, list, tuple)):
        return [options] if isinstance(options, str) else [*(options or ())]
    raise InputError(f"options must be the name of a column, or a list of names, got {shown(options)}. See {PAGE}")


def _rows(table: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(table, (str, PathLike)):
        if not Path(table).is_file():
            raise InputError(f"no file {str(table)!r} of parallel questions")
        yield from rows_of_file(Path(table))
        return
    for method in ("to_dicts", "to_pylist"):  # of Polars and of Arrow
        if hasattr(table, method):
            table = getattr(table, method)()
    if hasattr(table, "to_dict") and hasattr(table, "columns"):
        names = [str(name) for name in table.columns]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise InputError(f"the table has columns of one name: {', '.join(twice)}; rename them. See {PAGE}")
        table = table.to_dict("records")
    if not isinstance(table, Iterable) or isinstance(table, Mapping):
        raise InputError(
            f"table must be a DataFrame, the path of a file, or rows as mappings, got {type(table).__name__}"
        )
    for number, row in enumerate(table):
        if not isinstance(row, Mapping):
            raise InputError(f"row {number} of the table must be a mapping from column to value, got {row!r}")
        yield f"row {number}", {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's; None for what is missing."""
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' missing values
        return None
    return value.tolist() if hasattr(value, "tolist") else value


def _check_column(argument: str, column: Any, there: Sequence[str]) -> None:
    if column in there:
        return
    nearest = did_you_mean(column, list(there))
    if len(there) == 1 and (found := next((sign for sign in ";\t|" if sign in there[0]), None)):
        nearest = f" (its fields are parted by {found!r}, not by ',': save it as a CSV with commas)"
    raise InputError(f"{argument}: the table has no column {column!r}{nearest}; it has: {', '.join(there)}. See {PAGE}")


def _language(argument: str, value: str | None, prompts: str, there: Sequence[str]) -> tuple[bool, str]:
    """Whether a column holds the language, and that column or the language."""
    for candidate in (value,) if value is not None else (argument, prompts):
        if candidate in there and (value is not None or candidate == argument):
            return True, candidate
        if is_language(candidate):
            return False, candidate
    what = f"{argument} {value!r} is neither a column nor a language code" if value is not None else f"no {argument}"
    code = code_of(prompts if value is None else value) or "en"
    raise InputError(
        f"{what}; give a code ({argument}={code!r}) or a column (the table has: {', '.join(there)}). See {PAGE}"
    )
