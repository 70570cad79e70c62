"""A user's own parallel questions: a JSONL, CSV or Parquet file, a row an instance.

Columns (the full account is in docs/tasks.md): `source` and `target` (the prompts), `source_lang` and `target_lang`, and what
is right: `options` with `gold` (index from 0, or the option itself; `xtl.tasks.gold` says which is meant), or `answer`, or
`answers`; then `labels`, `distribution`, `id`. Any other column is kept in `meta`. Lists are JSON lists in a CSV. However a row
writes a language ("EN", "eng"), the pair has its one code ("en"). Every row is checked when the file is read, and a fault is
named with its line.
"""

from __future__ import annotations

import difflib
import math
import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from xtl.errors import InputError, Whole, check_whole, known_keywords, shown
from xtl.pairs import ParallelPair, is_share
from xtl.tasks.base import check_seed, drawn, normalise_language, shortest_code
from xtl.tasks.benchmark import separator
from xtl.tasks.gold import find_gold
from xtl.tasks.json_values import parse_json
from xtl.tasks.user_files import rows_of_file

TEXTS = ("source", "target", "source_lang", "target_lang", "answer")
OF_SOURCE = ("source_options", "source_labels", "source_answers")
LISTS = ("options", "answers", "labels", "distribution", *OF_SOURCE)
COLUMNS = ("id", *TEXTS, "gold", "gold_index", *LISTS)
REQUIRED = ("source", "target", "source_lang", "target_lang")


@dataclass(frozen=True)
class UserData:
    """A file as a task (see `xtl.tasks.base.Task`); it is read once, when it is first needed.

    Args:
        path: the file; its suffix says what it is (.jsonl, .csv, .parquet).
    """

    path: Path

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    @property
    def description(self) -> str:
        """Where it is from."""
        return f"Parallel questions of {self.path}"

    @property
    def kind(self) -> str:
        """Always "user"."""
        return "user"

    @property
    def direction(self) -> str:
        """ "en->xx" or "xx->en" where all rows are so, else "any"."""
        sources, targets = ({getattr(pair, end) for pair in self._pairs} for end in ("source_lang", "target_lang"))
        if targets == {"en"} and "en" not in sources:
            return "xx->en"
        return "en->xx" if sources == {"en"} and "en" not in targets else "any"

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes in the file, in its order."""
        return tuple(
            dict.fromkeys(lang for pair in self._pairs for lang in (pair.source_lang or "", pair.target_lang or ""))
        )

    @property
    def score(self) -> str:
        """Whether the rows have options or an answer; "mixed" if some have the one and some the other."""
        kinds = {"options" if pair.options else "answer" for pair in self._pairs}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def text_scores(self) -> tuple[str, ...]:
        """The scores that the rows have enough for."""
        if all(pair.options for pair in self._pairs):
            return ("strict", "distribution") if all(pair.distribution for pair in self._pairs) else ("strict",)
        return ("strict", "em", "f1") if all(pair.answers for pair in self._pairs) else ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._pairs)

    @known_keywords()
    def pairs(
        self, source_lang: str, target_lang: str, *, limit: Whole | None = None, seed: Whole | None = 0
    ) -> list[ParallelPair]:
        """The rows of a direction, in an order that `seed` fixes (None: that of the file), or the first `limit`.

        Raises:
            InputError: a language that the file doesn't have, no row of the direction, or a limit or seed that is no number.
        """
        source_lang = normalise_language(source_lang, self.languages, "source_lang")
        target_lang = normalise_language(target_lang, self.languages, "target_lang")
        if limit is not None:
            limit = check_whole("limit", limit, 1)
        seed = check_seed(seed)
        wanted = f"{source_lang}->{target_lang}"
        found = [pair for pair in self._pairs if pair.direction == wanted]
        if not found:
            there = ", ".join(sorted({pair.direction for pair in self._pairs}))
            raise InputError(f"{self.path} has no row {wanted}; it has {there}")
        return drawn(found, self.name, seed, lambda pair: pair.id)[:limit]

    @cached_property
    def _pairs(self) -> list[ParallelPair]:
        return load_pairs(self.path)


@known_keywords()
def load_pairs(path: str | Path) -> list[ParallelPair]:
    """All rows of a file, checked.

    Raises:
        InputError: no such file, an unknown suffix, or a faulty row (with its line).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file {str(path)!r}")
    return pairs_of(rows_of_file(path), path)


def pairs_of(rows: Iterable[tuple[str, dict[str, Any]]], name: object) -> list[ParallelPair]:
    """The pairs of rows, each with where it is; `name` is what holds them. Raises `InputError` at the first faulty row.

    Answers and options that follow their prompt without a space, where words have one, are a warning.
    """
    pairs: list[ParallelPair] = []
    seen: dict[str, str] = {}
    for where, row in rows:
        try:
            pair = pair_of(row, default_id=str(len(pairs)))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        key = f"{pair.id} ({pair.direction})"
        if key in seen:
            raise InputError(f"{where}: id {pair.id!r} is there twice for {pair.direction} (first: {seen[key]})")
        seen[key] = where
        pairs.append(pair)
    if not pairs:
        raise InputError(f"{name} has no rows")
    _warn_of_words_run_together(pairs, name)
    return pairs


def _warn_of_words_run_together(pairs: list[ParallelPair], name: object) -> None:
    """Warn once of answers and options that follow the prompt without the space that words have between them."""
    ends = [(pair.target, text) for pair in pairs for text in (pair.options or (pair.answer,)) if text]
    found = [(str(prompt)[-16:], text) for prompt, text in ends if _run_together(prompt, text)]
    if found:
        prompt, text = found[0]
        warnings.warn(
            f"{name}: {len(found)} of {len(ends)} answers or options follow their prompt without a space, such as "
            f"{shown(prompt + text[:30])}; where words have a space between them, begin with it: {shown(' ' + text[:30])}",
            stacklevel=5,
        )


def _run_together(prompt: object, text: str) -> bool:
    """Whether words of a script with spaces would touch.

    >>> [_run_together(*ends) for ends in (("son", "dos"), ("son", " dos"), ("son (", "a"), ("首都：", "巴黎"))]
    [True, False, False, False]
    """
    if not isinstance(prompt, str) or not text[0].isalpha() or not separator(prompt):
        return False
    spaceless = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
    opening = unicodedata.category(prompt[-1]) in ("Ps", "Pi") or prompt[-1] in "\"'"
    return not opening and not unicodedata.name(text[0], "").startswith(spaceless)


def pair_of(row: dict[str, Any], default_id: str = "0") -> ParallelPair:
    """The pair of a row.

    Raises:
        InputError: a column that is missing, misspelled or faulty, or a row with nothing that is right.

    >>> row = {"source": "2 + 2 is", "target": "2 + 2 son", "source_lang": "en", "target_lang": "es"}
    >>> pair_of(row | {"options": [" cuatro", " cinco"], "gold": " cuatro"}).gold
    0
    >>> pair_of(row | {"answers": ["cuatro", "4"]}).answer
    ' cuatro'
    """
    row = {column: value for column, value in row.items() if not _absent(value)}
    for column in row:
        meant = _meant(str(column))
        if meant and meant not in row:
            raise InputError(f"unknown column {column!r} (did you mean {meant!r}?); known: {', '.join(COLUMNS)}")
    missing = [column for column in REQUIRED if column not in row]
    if missing:
        raise InputError(
            f"no {', '.join(missing)}; of columns with other names xtl.pairs_from makes pairs (docs/tasks.md)"
        )
    for column in TEXTS:
        if column in row and (not isinstance(row[column], str) or not row[column].strip()):
            raise InputError(f"{column} must be a non-empty text, got {row[column]!r}")
    lists = {column: _list(column, row[column]) for column in LISTS if column in row}
    if "options" not in lists and "answers" not in lists and "answer" not in row:
        raise InputError("nothing that is right: give options with gold, or answer, or answers")
    options, answers, answer = lists.get("options"), lists.get("answers"), row.get("answer")
    if options is None:
        if answer is None:
            answer = separator(row["target"]) + str((answers or [""])[0])
        answers = answers or [answer.strip()]
    return ParallelPair(
        source=row["source"],
        target=row["target"],
        source_lang=shortest_code(row["source_lang"]),
        target_lang=shortest_code(row["target_lang"]),
        options=tuple(options) if options is not None else None,
        gold=_gold(row, options),
        answer=answer,
        labels=tuple(lists["labels"]) if "labels" in lists else None,
        answers=tuple(answers) if answers is not None else None,
        distribution=_shares(lists["distribution"]) if "distribution" in lists else None,
        id=str(row.get("id", default_id)),
        meta={column: value for column, value in row.items() if column not in COLUMNS},
        **{column: tuple(lists[column]) for column in OF_SOURCE if column in lists},
    )


def _gold(row: dict[str, Any], options: list[Any] | None) -> Any:
    """The index of the right option; what there is of a gold where there are no options, for the pair to refuse."""
    gold, index = row.get("gold"), row.get("gold_index")
    if options is None or (gold is None and index is None):
        return gold if index is None else index
    return find_gold(gold, options, index)


@lru_cache(maxsize=1000)
def _meant(column: str) -> str | None:
    """The column that a name is close to; each name is compared once, not in every row."""
    close = difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.8)
    return close[0] if close and column not in COLUMNS else None


def _list(column: str, value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except InputError as error:
            raise InputError(
                f'{column} must be a list (in a CSV a JSON list, ["a", "b"]), got {value!r}: {error}'
            ) from error
    if not isinstance(value, list) or not value:
        raise InputError(f"{column} must be a list with something in it, got {value!r}")
    return value


def _shares(values: list[Any]) -> tuple[float, ...]:
    if not all(is_share(value) for value in values):
        raise InputError(f"distribution must be numbers from 0 to 1, got {values!r}")
    return tuple(float(value) for value in values)


def _absent(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
