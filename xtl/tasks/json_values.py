"""Reads one JSON value, and says in a line what is wrong with it."""

from __future__ import annotations

import json
import re
from typing import Any

from xtl.errors import InputError

SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(text: str) -> Any:
    """The value of a text.

    Raises:
        InputError: malformed JSON, JSON nested too deeply, a number of too many digits, or half a character (a lone
            surrogate, which JSON allows and no tokenizer reads). The caller adds the file and line.

    >>> parse_json('["\\\\ud83d\\\\ude00", 1]')
    ['😀', 1]
    >>> parse_json('"\\\\ud83d"')
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: half a character, \\ud83d: an escape of a character beyond \\uffff needs two parts
    """
    try:
        value = json.loads(text)
        # a file in UTF-8 holds no surrogate, so that only an escape can make one
        halves = SURROGATE.search(json.dumps(value, ensure_ascii=False)) if "\\u" in text else None
    except json.JSONDecodeError as error:
        raise InputError(f"malformed JSON ({error.msg}, column {error.colno})") from error
    except RecursionError as error:
        raise InputError("JSON nested too deeply") from error
    except ValueError as error:
        raise InputError("a whole number of too many digits") from error
    if halves:
        raise InputError(
            f"half a character, \\u{ord(halves[0]):x}: an escape of a character beyond \\uffff needs two parts"
        )
    return value
