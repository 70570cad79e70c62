"""What the gold of a user's row means: an index, or the right option itself; the same in every file format.

A CSV knows texts alone, and pandas writes 1 as 1.0 where a column has gaps. So 1, "1", 1.0 and "1.0" are one gold. Read as an
index and as an option it must mean the same option, or it is refused with both readings.

>>> find_gold(1.0, [" cuatro", " cinco"]), find_gold("1", [" 0", " 1"]), find_gold("cinco", [" cuatro", " cinco"])
(1, 1, 1)
>>> find_gold(1, [" 1", " 2", " 3"])  # doctest: +ELLIPSIS
Traceback (most recent call last):
...
xtl.errors.InputError: gold 1 is ambiguous: as an index (from 0) it is ' 2', as an option ' 1'; ...
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from xtl.errors import InputError

NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?", re.ASCII)


def find_gold(gold: Any, options: Sequence[Any], index: Any = None) -> int:
    """The index of the right option.

    Args:
        gold: an index from 0, or one of the options, whatever the spaces around it and its Unicode form; None with `index`.
        options: texts.
        index: an index and nothing else, for options that are numbers themselves; None with `gold`.

    Raises:
        InputError: neither or both are given; a gold that means no option, or two.
    """
    if index is not None:
        if gold is not None:
            raise InputError("give gold or gold_index, not both")
        return _checked("gold_index", index, _as_index(index, options), options)
    check_forms(options)
    if isinstance(gold, str) and gold in options and not NUMBER.fullmatch(gold):
        return options.index(gold)
    at, same = _as_index(gold, options), _as_option(gold, options)
    if at is not None and same and same != [at]:
        raise InputError(
            f"gold {gold!r} is ambiguous: as an index (from 0) it is {options[at]!r}, as an option {options[same[0]]!r}; "
            "give the index in a column gold_index instead"
        )
    if len(same) > 1:
        raise InputError(f"gold {gold!r} is ambiguous: it is {' and '.join(repr(options[i]) for i in same)}")
    return _checked("gold", gold, same[0] if same else at, options)


def check_forms(options: Sequence[Any]) -> None:
    """Raise `InputError` for two options that look alike and differ in their Unicode form alone."""
    seen: dict[str, str] = {}
    for option in options:
        if isinstance(option, str) and not option.isascii():
            other = seen.setdefault(unicodedata.normalize("NFC", option), option)
            if other != option:
                raise InputError(
                    f"options {other!r} and {option!r} are the same characters: {_difference(other, option)}"
                )


def _checked(column: str, value: Any, found: int | None, options: Sequence[Any]) -> int:
    if found is not None:
        return found
    valid = f"valid: an index from 0 to {len(options) - 1}"
    if column == "gold":
        valid += f", or one of {_shown(list(options))}"
        alike = [o for o in options if isinstance(o, str) and isinstance(value, str) and _rough(o) == _rough(value)]
        if alike:
            valid += f" ({alike[0]!r} is not the same: {_difference(value.strip(), alike[0].strip())})"
    raise InputError(f"{column} {_shown(value)} is no option; {valid}")


def _number(value: Any) -> Decimal | None:
    """The number that a value is, or that a text writes."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return None
    text = str(value).strip()
    return Decimal(text) if text[:1] in "-0123456789" and NUMBER.fullmatch(text) else None


def _as_index(gold: Any, options: Sequence[Any]) -> int | None:
    number = _number(gold)
    if number is None or number != number.to_integral_value() or not 0 <= number < len(options):
        return None
    return int(number)


def _as_option(gold: Any, options: Sequence[Any]) -> list[int]:
    """Which options a gold writes: the same text, or the same number."""
    number = _number(gold)
    text = _bare(gold) if isinstance(gold, str) else None
    return [
        place
        for place, option in enumerate(options)
        if isinstance(option, str) and (_bare(option) == text or (number is not None and _number(option) == number))
    ]


def _bare(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def _rough(text: str) -> str:
    """A text without what the eye may miss: case, full-width forms, spaces, invisible characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(sign for sign in folded if not sign.isspace() and unicodedata.category(sign) != "Cf")


def _difference(one: str, other: str) -> str:
    """The first place where two texts differ, as code points."""
    place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))

    def points(text: str) -> str:
        return " ".join(f"U+{ord(sign):04X}" for sign in text[place : place + 3]) or "the end"

    return f"from character {place} on {points(one)} against {points(other)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
