"""What a task is, and how it reads language codes.

A task yields parallel pairs: the same question in a source and in a target language, with options to choose from.
Every task answers to the same small protocol, `Task`, so that whatever runs transplants needs to know nothing about the
data behind it: a card about countries and a file of a published benchmark look alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from babel import Locale, UnknownLocaleError
from babel.core import get_global

from xtl.errors import InputError, check_choice
from xtl.pairs import ParallelPair


@runtime_checkable
class Task(Protocol):
    """One benchmark: a name, its languages, and parallel pairs on demand.

    A pair of a task has the same `id`, the same order of options and the same `gold` in every direction.
    """

    @property
    def name(self) -> str:
        """Name of the task, as the registry and the ids of its instances write it."""

    @property
    def description(self) -> str:
        """What is asked, in one line."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the task can be asked in."""

    @property
    def score(self) -> str:
        """How an answer is scored: "options" means by the likelihood of the options of the pair."""

    def pairs(
        self,
        source_lang: str,
        target_lang: str,
        *,
        limit: int | None = None,
        seed: int = 0,
        n_options: int = 4,
        template: int = 0,
    ) -> list[ParallelPair]:
        """The pairs from `source_lang` to `target_lang`, or the first `limit`: the same for the same arguments."""


def normalise_language(code: object, valid: Iterable[str], argument: str = "language") -> str:
    """Return the one of `valid` that `code` means, however it is written ("zh-CN", "ZH", "zho", "zh_Hans" for "zh").

    The region is dropped. A script is not: "zh-TW" implies Traditional characters, so that it is no "zh", which stands
    for the language in its most usual script.

    Args:
        code: a language code, with or without a script and a region.
        valid: the codes to choose from.
        argument: name of the argument, for the message.

    Raises:
        InputError: `code` means none of `valid`, or it names another script than theirs; the message lists `valid`.

    >>> normalise_language("zh-CN", ["en", "zh"]), normalise_language("ENG", ["en", "zh"])
    ('zh', 'en')
    >>> normalise_language("zh-TW", ["en", "zh"])
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: language 'zh-TW' is written in the script Hant, but zh is given in Hans; valid: en, zh
    """
    codes = tuple(valid)
    locale = _parse(code)
    if code in codes or locale is None or locale.language not in codes:
        return check_choice(argument, code, codes)
    usual = get_global("likely_subtags").get(locale.language, "").split("_")
    if locale.script and len(usual) > 1 and locale.script != usual[1]:
        raise InputError(
            f"{argument} {code!r} is written in the script {locale.script}, "
            f"but {locale.language} is given in {usual[1]}; valid: {', '.join(codes)}"
        )
    return locale.language


def _parse(code: object) -> Locale | None:
    """The locale that Babel reads in `code`, or None."""
    if not isinstance(code, str):
        return None
    try:
        return Locale.parse(code.strip().replace("-", "_").lower())
    except (ValueError, UnknownLocaleError):
        return None


def check_count(argument: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` if it is a whole number from `low` to `high`, else raise an `InputError` that says so.

    >>> check_count("limit", 3, 1)
    3
    >>> check_count("n_options", 1, 2, 82)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: n_options must be a whole number from 2 to 82, got 1
    """
    number = isinstance(value, int) and not isinstance(value, bool)
    if not number or value < low or (high is not None and value > high):  # type: ignore[operator]
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{argument} must be a whole number {span}, got {value!r}")
    return value  # type: ignore[return-value]
