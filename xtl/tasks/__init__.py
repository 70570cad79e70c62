"""Tasks: questions asked in parallel in many languages. One file per benchmark, one small protocol.

>>> task_names()
['capitals', 'official_languages', 'xnli', 'xcopa', 'xquad', 'mkqa', 'global_opinion_qa', 'cultural_bench']
>>> pair = get_task("capitals").pairs("en", "de", limit=1)[0]
>>> pair.direction
'en->de'

`capitals` and `official_languages` need no data file: they come from Babel's copy of CLDR. The six benchmarks of the paper are
read from its released data or from the Hugging Face hub, and a file of your own is a task too: `get_task("mine.jsonl")`.
Importing them is cheap.
"""

from __future__ import annotations

import os
from pathlib import Path

from xtl.errors import InputError, check_choice, check_flag, known_keywords
from xtl.tasks.alignment import Alignment, check_alignment
from xtl.tasks.base import PAPER, PaperDefaults, Task, normalise_language
from xtl.tasks.benchmark import Benchmark
from xtl.tasks.capitals import CAPITALS_TASK
from xtl.tasks.cultural_bench import CULTURAL_BENCH
from xtl.tasks.global_opinion_qa import GLOBAL_OPINION_QA
from xtl.tasks.hub import DataError
from xtl.tasks.lm_eval import PREFIX, LmEvalTask, lm_eval_task
from xtl.tasks.mkqa import MKQA
from xtl.tasks.official_languages import OFFICIAL_LANGUAGES_TASK
from xtl.tasks.user_data import UserData
from xtl.tasks.user_files import SUFFIXES
from xtl.tasks.xcopa import XCOPA
from xtl.tasks.xnli import XNLI
from xtl.tasks.xquad import XQUAD

__all__ = [
    "BENCHMARKS",
    "PAPER",
    "TASKS",
    "Alignment",
    "Benchmark",
    "DataError",
    "LmEvalTask",
    "PaperDefaults",
    "Task",
    "UserData",
    "check_alignment",
    "get_task",
    "normalise_language",
    "task_names",
]

BENCHMARKS: dict[str, Benchmark] = {
    task.name: task for task in (XNLI, XCOPA, XQUAD, MKQA, GLOBAL_OPINION_QA, CULTURAL_BENCH)
}
"""The benchmarks of the paper, by name."""

TASKS: dict[str, Task] = {
    CAPITALS_TASK.name: CAPITALS_TASK,
    OFFICIAL_LANGUAGES_TASK.name: OFFICIAL_LANGUAGES_TASK,
    **BENCHMARKS,
}
"""Every task, by name."""


@known_keywords()
def get_task(name: str | os.PathLike[str], *, run_code: bool = False) -> Task:
    """The task of that name; a user's file (.jsonl, .csv, .parquet) as a task; or one of lm-evaluation-harness.

    Args:
        name: a name from `task_names()`, a file, or `lm-eval:FOLDER` (or `lm-eval:NAME` where `lm_eval` is installed).
        run_code: for `lm-eval:` alone: let the folder's own Python functions make prompts.

    Raises:
        InputError: no such task (the message lists those there are), file or folder.

    >>> get_task("capital")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: unknown task 'capital' (did you mean 'capitals'?); valid: capitals, ..., or lm-eval:FOLDER
    """
    check_flag("run_code", run_code)
    if isinstance(name, str) and name.startswith(PREFIX):
        return lm_eval_task(name, run_code)
    if run_code:
        raise InputError(f"run_code is for tasks of lm-evaluation-harness ({PREFIX}FOLDER); {name!r} has no code")
    if not isinstance(name, (str, os.PathLike)):
        check_choice("task", name, TASKS)
    path = Path(name)
    if path.suffix in SUFFIXES and name not in TASKS:
        if not path.is_file():
            raise InputError(f"no file {name!r} of parallel questions")
        return UserData(path)
    try:
        return TASKS[check_choice("task", name, TASKS)]
    except InputError as error:
        raise InputError(f"{error}, or a file ({', '.join(SUFFIXES)}), or {PREFIX}FOLDER") from None


def task_names() -> list[str]:
    """The names of all tasks."""
    return list(TASKS)
