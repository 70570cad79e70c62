"""Tasks of lm-evaluation-harness as parallel pairs: two languages of one folder of YAML files.

A folder such as `lm_eval/tasks/belebele` has a YAML file a language, which says where its rows are and how a prompt is made of
one (`doc_to_text`, `doc_to_choice`, `doc_to_target`: columns or Jinja templates). Templates are rendered in Jinja's sandbox.
Fields that are Python functions (`!function`) are the folder's own code: they run only if you say so.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from xtl.errors import InputError, Whole, check_whole, known_keywords, shown
from xtl.packages import install_hint
from xtl.pairs import ParallelPair
from xtl.tasks.base import check_seed, drawn, normalise_language
from xtl.tasks.lm_eval_config import LanguageConfig, read_folder

PREFIX = "lm-eval:"


@dataclass(frozen=True)
class LmEvalTask:
    """A folder of lm-evaluation-harness, a YAML file a language, as a task (see `xtl.tasks.base.Task`).

    Args:
        folder: holds the YAML files, and what they include.
        run_code: let the folder's own Python functions make prompts. They can do whatever you can: read them first.

    Raises:
        InputError: no such folder, or no YAML file of a language in it.
    """

    folder: Path
    run_code: bool = False

    @cached_property
    def _read(self) -> tuple[str, dict[str, LanguageConfig]]:
        return read_folder(self.folder, self.run_code)

    @property
    def name(self) -> str:
        """`lm-eval-` and what the names of its files have in common."""
        return f"lm-eval-{self._read[0]}"

    @property
    def description(self) -> str:
        """Where it is from."""
        return f"lm-evaluation-harness task {self._read[0]} of {self.folder}"

    @property
    def kind(self) -> str:
        """Always "user"."""
        return "user"

    @property
    def direction(self) -> str:
        """Always "any"."""
        return "any"

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that have a file."""
        return tuple(self._read[1])

    @property
    def score(self) -> str:
        """ "options" for multiple choice, "answer" for tasks that generate."""
        kinds = {config.score for config in self._read[1].values()}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def text_scores(self) -> tuple[str, ...]:
        """The scores that such pairs have enough for."""
        return {"options": ("strict",), "answer": ("strict", "em", "f1")}.get(self.score, ())

    @known_keywords()
    def pairs(
        self,
        source_lang: str,
        target_lang: str,
        *,
        limit: Whole | None = None,
        seed: Whole | None = 0,
        split: str | None = None,
        id_column: str | Sequence[str] | None = None,
    ) -> list[ParallelPair]:
        """The rows of two languages, in an order that `seed` fixes (None: that of the data), or the first `limit`.

        Args:
            source_lang, target_lang: languages that have a file.
            limit, seed: as for every task.
            split: of the data; the file's own test split, or its validation split, by default.
            id_column: the column, or columns, by which rows of the two languages belong together; their place by default.

        Raises:
            InputError: a language without a file, rows that don't belong together, a field that is code, or a faulty row.
            DataError: the data are not in the cache and the hub can't be reached.
        """
        stem, configs = self._read
        source_lang = normalise_language(source_lang, self.languages, "source_lang")
        target_lang = normalise_language(target_lang, self.languages, "target_lang")
        limit = None if limit is None else check_whole("limit", limit, 1)
        seed = check_seed(seed)
        names = [id_column] if isinstance(id_column, str) else list(id_column or ())
        source, target = (_by_id(configs[lang], split, names) for lang in (source_lang, target_lang))
        if not names and len(source) != len(target):
            raise InputError(
                f"{source_lang} has {len(source)} rows and {target_lang} {len(target)}: rows can't be paired by their place; "
                "give id_column"
            )
        found = [key for key in target if key in source]
        if not found:
            raise InputError(f"no row of {target_lang} has the {', '.join(names)} of one of {source_lang}")
        langs = {"source_lang": source_lang, "target_lang": target_lang}
        return [
            _pair(source[key], target[key], id=f"{stem}/{key}", **langs)
            for key in drawn(found, stem, seed, str)[:limit]
        ]


def lm_eval_task(name: str, run_code: bool = False) -> LmEvalTask:
    """The task that `lm-eval:NAME` or `lm-eval:FOLDER` means; a NAME is looked for in the installed `lm_eval` package.

    Raises:
        InputError: no such folder; a NAME where `lm_eval` is not installed; files that can't be read, or can't be paired.
    """
    wanted = name.removeprefix(PREFIX)
    folder = Path(wanted)
    if not wanted or not folder.is_dir():
        if not wanted or os.sep in wanted:
            raise InputError(f"no folder {wanted!r} of lm-evaluation-harness's YAML files")
        folder = _installed_tasks() / wanted
        if not folder.is_dir():
            raise InputError(f"lm_eval has no folder of tasks {wanted!r}, and there is none of that name here")
    task = LmEvalTask(folder, run_code)
    _ = task.score  # what can't be read, or can't be paired, is said here
    return task


def _installed_tasks() -> Path:
    """Where the installed package keeps its tasks; it is not imported."""
    from importlib.util import find_spec

    found = find_spec("lm_eval")
    if found is None or not found.submodule_search_locations:
        raise InputError(f"tasks by name need lm-evaluation-harness: {install_hint('lm-eval')}; or give its folder")
    return Path(next(iter(found.submodule_search_locations))) / "tasks"


@dataclass(frozen=True)
class _Question:
    where: str
    text: str
    options: tuple[str, ...] | None
    gold: int | None
    answers: tuple[str, ...] | None


def _by_id(config: LanguageConfig, split: str | None, names: list[str]) -> dict[str, tuple[LanguageConfig, str, Any]]:
    found: dict[str, tuple[LanguageConfig, str, Any]] = {}
    for number, row in enumerate(config.rows(split)):
        where = f"{config.path.name}, row {number}"
        if missing := [name for name in names if name not in row]:
            raise InputError(f"{where}: no id_column {missing[0]!r}; it has {', '.join(row)}")
        key = "/".join(str(row[name]) for name in names) or str(number)
        if key in found:
            raise InputError(f"{where}: {', '.join(names)} {key!r} is there twice")
        found[key] = (config, where, row)
    return found


def _pair(
    source: tuple[LanguageConfig, str, Any], target: tuple[LanguageConfig, str, Any], **more: Any
) -> ParallelPair:
    asked, other = _question(*target), _question(*source)
    if asked.gold != other.gold:
        raise InputError(
            f"{other.where} and {asked.where} have the golds {other.gold} and {asked.gold}: they are not the same question; give "
            "id_column"
        )
    if asked.options is not None and other.options is not None and len(asked.options) != len(other.options):
        raise InputError(f"{other.where} and {asked.where} have {len(other.options)} and {len(asked.options)} options")
    answer = None if asked.answers is None else asked.answers[0]
    try:
        return ParallelPair(
            other.text,
            asked.text,
            options=asked.options,
            gold=asked.gold,
            source_options=other.options,
            answer=answer,
            answers=None if asked.answers is None else tuple(one.strip() for one in asked.answers),
            **more,
        )
    except InputError as error:
        raise InputError(f"{other.where} and {asked.where}: {error}") from error


def _question(config: LanguageConfig, where: str, row: Mapping[str, Any]) -> _Question:
    """A row's prompt and what may follow it; spaces at the prompt's end go to what follows, as in lm-evaluation-harness."""
    text = config.value("doc_to_text", row, where)
    if not isinstance(text, str):
        raise InputError(
            f"{where}: doc_to_text gives {text!r}, no text: tasks that choose among contexts can't be paired"
        )
    prompt = text.rstrip()
    space = text[len(prompt) :] or config.delimiter
    if config.score == "answer":
        target = config.value("doc_to_target", row, where)
        texts = target if isinstance(target, list) else [target]
        if not texts or not prompt:
            raise InputError(f"{where}: no {'answer' if prompt else 'prompt'}")
        return _Question(
            where, prompt, None, None, tuple(f"{space}{_text(one, 'doc_to_target', where)}" for one in texts)
        )
    choices = _choices(config.value("doc_to_choice", row, where), where)
    gold = _gold(config.value("doc_to_target", row, where), choices, where)
    options = [f"{space}{choice}" for choice in choices]
    if not prompt:  # all of it is in the choices: what they begin with is the prompt
        begin = os.path.commonprefix(choices)  # noqa: RUF071 (texts, not paths)
        begin = begin[: begin.rfind(" ")] if " " in begin else ""
        if not begin.strip():
            raise InputError(f"{where}: doc_to_text is empty, and the choices begin with nothing in common: no prompt")
        prompt, options = begin, [choice[len(begin) :] for choice in choices]
    return _Question(where, prompt, tuple(options), gold, None)


def _choices(value: Any, where: str) -> list[str]:
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise InputError(f"{where}: doc_to_choice gives {value[:80]!r}, which is no list") from None
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list) or len(value) < 2:
        raise InputError(f"{where}: doc_to_choice must give a list of two or more, got {value!r}")
    return [_text(one, "doc_to_choice", where) for one in value]


def _text(value: Any, field: str, where: str) -> str:
    """A text, or a number as one."""
    if not isinstance(value, (str, int, float)) or (isinstance(value, str) and not value.strip()):
        raise InputError(f"{where}: {field} gives {shown(value, 80)}, no text")
    return str(value)


def _gold(value: Any, choices: list[str], where: str) -> int:
    if isinstance(value, str) and value.strip() in choices:
        return choices.index(value.strip())
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(choices):
        raise InputError(f"{where}: doc_to_target gives {value!r}; valid: 0 to {len(choices) - 1}, or a choice")
    return value
