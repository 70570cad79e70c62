"""Reads a folder laid out as the paper's released data: one JSON value a line, exact prompts.

The layout: `XNLI/XNLI_sample/split/de.json` holds ready prompts, `.../ans/de.json` a gold a line, `.../ans_lang/de.json` the
words of the labels, `.../en/de.json` (XCOPA) English prompts for German, `.../translated/de.json` (GlobalOpinionQA) translated
ones. The folder is named by an argument or by the environment variable `XTL_DATA`; nothing is copied. Rows count from 0, lines
of files from 1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xtl.errors import InputError, check_choice
from xtl.tasks.json_values import parse_json

VARIABLE = "XTL_DATA"
SPLITS = ("sample", "unseen")
WHERE = "the paper's data is the folder data/ of https://github.com/YYF-Tommy/XTransplant"
"""What people are told who have no copy of the release; the paper names that repository."""


def release_folder(folder: str | Path | None, benchmark: str, split: str) -> Path:
    """The folder of one benchmark and split inside the release.

    Args:
        folder: the release; None takes it from `XTL_DATA`.
        benchmark: name of the benchmark as the release writes it ("XNLI").
        split: "sample" (50 a language) or "unseen".

    Raises:
        InputError: no folder given, no such folder, or no such benchmark or split in it.
    """
    named = folder if folder is not None else os.environ.get(VARIABLE)
    if not named:
        raise InputError(
            f"{benchmark}: no folder of released data; give folder=... or set {VARIABLE} to the folder that holds {benchmark}/ "
            f"(on the command line: --data); {WHERE}"
        )
    root = Path(named)
    check_choice("split", split, SPLITS)
    if not root.is_dir():
        raise InputError(f"no folder {str(root)!r} of released data; {WHERE}")
    path = root / benchmark / f"{benchmark}_{split}"
    if not path.is_dir():
        there = [name for name in SPLITS if (root / benchmark / f"{benchmark}_{name}").is_dir()]
        has = f"it has {benchmark} only as {', '.join(there)}" if there else f"it holds no {benchmark}"
        raise InputError(f"no {path}: {has}" + ("" if there else f"; {WHERE}"))
    return path


def read_lines(path: Path, language: str) -> list[Any]:
    """The JSON values of a file, one a line; empty lines at the end don't count.

    Raises:
        InputError: the file is missing (the languages there are given), is not UTF-8, has a faulty line (see
            `xtl.tasks.json_values`) or an empty one, or none.
    """
    if not path.is_file():
        there = sorted(other.stem for other in path.parent.glob("*.json")) if path.parent.is_dir() else []
        raise InputError(f"no file {path} for language {language!r}; there are: {', '.join(there) or 'none'}")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    values = []
    for number, line in enumerate(lines, start=1):
        try:
            values.append(parse_json(line))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error if line.strip() else 'an empty line'}") from error
    if not values:
        raise InputError(f"{path} is empty")
    return values


def read_texts(path: Path, language: str, what: str) -> list[str]:
    """The texts of a file, one a line: prompts or golds.

    Raises:
        InputError: as `read_lines`; a value that is no text, or an empty one.
    """
    values = read_lines(path, language)
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str):
            raise InputError(f"{path}, line {number}: {what} must be a text, got {value!r}")
        if not value.strip():
            raise InputError(f"{path}, line {number}: empty {what}")
    return values


def read_golds(path: Path, language: str, keys: Sequence[str]) -> list[str]:
    """The golds of a file, one a line: each the key of an option.

    Raises:
        InputError: as `read_texts`; a gold that is none of the keys.
    """
    golds = [gold.strip() for gold in read_texts(path, language, "gold")]
    for number, gold in enumerate(golds, start=1):
        if gold not in keys:
            raise InputError(f"{path}, line {number}: gold {gold!r} is no option; valid: {', '.join(keys)}")
    return golds


def read_words(path: Path, language: str, keys: Sequence[str]) -> tuple[str, ...]:
    """The words of the labels, as the release has them (`{"1": "Entail", ...}`), in the order of the keys.

    Raises:
        InputError: as `read_lines`; not one object with a text for each key.
    """
    values = read_lines(path, language)
    words = values[0]
    good = len(values) == 1 and isinstance(words, dict) and set(words) == set(keys)
    if not good or not all(isinstance(word, str) and word.strip() for word in words.values()):
        raise InputError(
            f'{path}, line 1: expected one object with the words of the labels ({{"{keys[0]}": "...", ...}}), a text for each '
            f"of {', '.join(keys)}; got {words!r}"
        )
    return tuple(words[key] for key in keys)


def check_counts(*files: tuple[Path, int]) -> None:
    """Raise `InputError` unless all files have the same number of lines.

    >>> check_counts((Path("a.json"), 2), (Path("b.json"), 3))
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: unequal line counts: a.json has 2, b.json has 3
    """
    if len({count for _, count in files}) > 1:
        parts = ", ".join(f"{path} has {count}" for path, count in dict.fromkeys(files))
        raise InputError(f"unequal line counts: {parts}")
