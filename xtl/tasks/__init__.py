"""Tasks: questions asked in parallel in many languages. One file per benchmark, one small protocol.

>>> task_names()
['capitals', 'official_languages']
>>> pair = get_task("capitals").pairs("en", "de", limit=1)[0]
>>> pair.direction
'en->de'

The tasks here need no data file and no model: everything comes from Babel's copy of CLDR. Importing them is cheap.
"""

from __future__ import annotations

from xtl.errors import check_choice
from xtl.tasks.base import Task, normalise_language
from xtl.tasks.capitals import CAPITALS_TASK
from xtl.tasks.official_languages import OFFICIAL_LANGUAGES_TASK

__all__ = ["TASKS", "Task", "get_task", "normalise_language", "task_names"]

TASKS: dict[str, Task] = {task.name: task for task in (CAPITALS_TASK, OFFICIAL_LANGUAGES_TASK)}
"""Every task, by name."""


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        InputError: no such task; the message lists those there are.

    >>> get_task("capital")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: unknown task 'capital' (did you mean 'capitals'?); valid: capitals, official_languages
    """
    return TASKS[check_choice("task", name, TASKS)]


def task_names() -> list[str]:
    """The names of all tasks."""
    return list(TASKS)
