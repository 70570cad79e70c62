"""What a task is, and how it reads language codes.

A task yields parallel pairs: the same question in a source and in a target language, with options to choose from or an answer
to give. Every task answers to the same small protocol, `Task`, so that whatever runs transplants needs to know nothing about
the data behind it: a card about countries, a file of a published benchmark and a user's own table look alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar, runtime_checkable

from babel import Locale, UnknownLocaleError
from babel.core import get_global

from xtl.errors import InputError, Whole, as_whole, check_choice, shown
from xtl.pairs import ParallelPair

T = TypeVar("T")


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
    def kind(self) -> str:
        """What it tests: "understanding", "generation", "culture" (the paper's three), "knowledge" or "user"."""

    @property
    def direction(self) -> str:
        """The direction that it is meant for: "en->xx", "xx->en" or "any"."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the task can be asked in."""

    @property
    def score(self) -> str:
        """What its pairs hold for likelihood: "options" or "answer" ("mixed" for a user's table with both)."""

    @property
    def text_scores(self) -> tuple[str, ...]:
        """Names of the scores of a generated text that go with the task ("paper", "strict", "em", "f1", ...)."""

    def pairs(
        self, source_lang: str, target_lang: str, *, limit: Whole | None = None, seed: Whole | None = 0
    ) -> list[ParallelPair]:
        """The pairs from `source_lang` to `target_lang`, or the first `limit`: the same for the same arguments.

        `seed` draws their order; None keeps that of the data.
        """


@dataclass(frozen=True)
class PaperDefaults:
    """What the paper fixes for unseen data, by kind of task; layers as `xtl.transplant` takes them (-1 is the last).

    Attributes:
        module: "attn" or "mlp".
        source_layer: layer that is read.
        target_layer: layer that is written.
        max_new_tokens: tokens that are generated, greedily.
    """

    module: str
    source_layer: int
    target_layer: int
    max_new_tokens: int = 20


PAPER: dict[str, PaperDefaults] = {
    "understanding": PaperDefaults("attn", -1, 0),
    "generation": PaperDefaults("mlp", 0, 0),
    "culture": PaperDefaults("mlp", 0, 0),
}
"""The paper's fixed layers, by kind of task."""


def normalise_language(code: object, valid: Iterable[str], argument: str = "language") -> str:
    """Return the one of `valid` that `code` means, however it is written ("zh-CN", "ZH", "zho", "zh_Hans" for "zh").

    Where `valid` has a language once, the region is dropped. A script is not: "zh-TW" implies Traditional characters, so
    that it is no "zh", which stands for the language in its most usual script. Where `valid` has it several times ("zh_cn",
    "zh_tw"), script and region choose, and a bare "zh" is the most usual one.

    Args:
        code: a language code, with or without a script and a region.
        valid: the codes to choose from.
        argument: name of the argument, for the message.

    Raises:
        InputError: `code` means none of `valid` or several, or it names another script than theirs; the message lists `valid`.

    >>> normalise_language("zh-CN", ["en", "zh"]), normalise_language("ENG", ["en", "zh"])
    ('zh', 'en')
    >>> normalise_language("zho", ["en", "zh_cn", "zh_tw"]), normalise_language("zh-Hant", ["en", "zh_cn", "zh_tw"])
    ('zh_cn', 'zh_tw')
    >>> normalise_language("zh-TW", ["en", "zh"])
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: language 'zh-TW' is written in the script Hant, but zh is given in Hans; valid: en, zh
    """
    codes = tuple(valid)
    meant = _subtags(code)
    if meant is None or code in codes:
        return _check_code(argument, code, codes)
    candidates = {choice: tags for choice in codes if (tags := _subtags(choice)) and tags[0] == meant[0]}
    if not candidates:
        return _check_code(argument, code, codes)
    same_script = {choice: tags for choice, tags in candidates.items() if tags[1] == meant[1]}
    if not same_script:
        scripts = sorted({tags[1] for tags in candidates.values()})
        raise InputError(
            f"{argument} {code!r} is written in the script {meant[1]}, "
            f"but {' and '.join(candidates)} is given in {' and '.join(scripts)}; valid: {', '.join(codes)}"
        )
    if len(same_script) == 1:
        return next(iter(same_script))
    same_region = [choice for choice, tags in same_script.items() if tags == meant]
    if len(same_region) != 1:
        raise InputError(f"{argument} {code!r} can mean {' or '.join(same_script)}; valid: {', '.join(codes)}")
    return same_region[0]


def _check_code(argument: str, code: object, codes: tuple[str, ...]) -> str:
    """`check_choice`, which tells the code of a language that is given by its name or its country ("Spanish", "jp")."""
    named = (
        None
        if not isinstance(code, str) or code in codes or is_language(code)
        else _by_name(code.strip().casefold(), codes)
    )
    if named is None:
        return check_choice(argument, code, codes)
    raise InputError(f"unknown {argument} {shown(code)} (did you mean {named!r}?); valid: {', '.join(codes)}")


def _by_name(text: str, codes: tuple[str, ...]) -> str | None:
    """The one code of a language whose country this is, or whose name, in English or its own, begins so."""
    country = _subtags(get_global("likely_subtags").get(f"und_{text.upper()}"))
    known = {code: tags[0] for code in codes if (tags := _subtags(code))}
    found = [code for code, language in known.items() if country and language == country[0]]
    for tongue in ("en", None) if len(text) > 1 else ():
        names = {code: Locale(language).get_display_name(tongue) or "" for code, language in known.items()}
        found = found or [code for code, name in names.items() if name.casefold().startswith(text)]
    return found[0] if len(found) == 1 else None


@lru_cache(maxsize=1000)
def shortest_code(code: str) -> str:
    """The one code of a language, however it is written: script and region stay where they aren't the most usual ones.

    What Babel doesn't know is returned as it is.

    >>> [shortest_code(code) for code in ("EN", "deu", "zh-CN", "zh_Hans", "zh-TW", "zh-HK", "es-MX", "tlh")]
    ['en', 'de', 'zh', 'zh', 'zh_Hant', 'zh_HK', 'es_MX', 'tlh']
    """
    meant = _subtags(code)
    if meant is None:
        return code.strip()
    language, script, region = meant
    forms = (language, f"{language}_{script}", f"{language}_{region}")
    return next((form for form in forms if _subtags(form) == meant), f"{language}_{script}_{region}".strip("_"))


def drawn(items: Iterable[T], name: str, seed: int | None, key: Callable[[T], object]) -> list[T]:
    """A user's rows in an order that the seed fixes, whatever rows there are beside each; as they come for None.

    >>> drawn(["a", "b", "c"], "mine", None, str), sorted(drawn(["a", "b", "c"], "mine", 0, str))
    (['a', 'b', 'c'], ['a', 'b', 'c'])
    """
    if seed is None:
        return list(items)
    return sorted(items, key=lambda item: random.Random(f"{name}/{seed}/{key(item)}").random())


def is_language(code: object) -> bool:
    """Whether this is a language's code, in any form.

    >>> [is_language(code) for code in ("en", "zh-TW", "question", 3)]
    [True, True, False, False]
    """
    return _subtags(code) is not None


def _subtags(code: object) -> tuple[str, str, str] | None:
    """Language, script and region of a code, filled in with the most usual ones; None if Babel can't read it."""
    locale = _parse(code)
    if locale is None:
        return None
    language = "no" if locale.language == "nb" else locale.language  # Bokmål is what "no" means
    script, region = locale.script or "", locale.territory or ""
    likely = get_global("likely_subtags")
    for key in [(language, script, region), (language, script), (language, "", region), (language,)]:
        found = likely.get("_".join(part for part in key if part))
        if found:
            _, likely_script, likely_region = found.split("_")
            return language, script or likely_script, region or likely_region
    return language, script, region


def _parse(code: object) -> Locale | None:
    """The locale that Babel reads in `code`, or None."""
    if not isinstance(code, str):
        return None
    text = code.strip().replace("-", "_").lower()
    if text.split("_")[0] == "und":
        return None  # "undetermined", which Babel takes for English
    try:
        return Locale.parse(text)
    except (ValueError, UnknownLocaleError):
        return None


def check_seed(seed: object) -> int | None:
    """Return `seed` if it is a whole number or None, else raise an `InputError` that says so.

    >>> check_seed(3)
    3
    >>> check_seed(1.5)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: seed must be a whole number, got 1.5; None keeps the order of the data
    """
    if seed is None or as_whole(seed) is not None:
        return as_whole(seed)
    raise InputError(f"seed must be a whole number, got {shown(seed)}; None keeps the order of the data")


def codes(text: str) -> tuple[str, ...]:
    """Codes written with spaces between them.

    >>> codes("BO NL")
    ('BO', 'NL')
    """
    return tuple(text.split())
