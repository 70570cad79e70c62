"""Text that others wrote (ids, languages, options, names of models), made safe for the place where it goes.

An id may hold a terminal's escape sequence, a LaTeX command or a spreadsheet's formula. Nothing is dropped: what would act there
is shown, or marked. `xtl.plots.escape` does the same for figures.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

LATEX = {
    **{char: "\\" + char for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}
"""What stands for a character that LaTeX reads as a command, or sets as another one."""

TURNS = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Characters that turn the direction of the text around them; a reader sees other words than are there."""

MISSING = {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
           "NaN", "None", "n/a", "nan", "null"}  # fmt: skip
"""What pandas reads as a missing value."""


def printable(text: object, *, lines: bool = False) -> str:
    r"""Text for a terminal: control characters, line breaks and half characters as their escapes.

    Args:
        text: anything; its `str` is shown.
        lines: leave line breaks and tabs, for a text of several lines.

    >>> print(printable("\x1b[2J id\n2"))
    \x1b[2J id\n2
    """
    kept = "\n\t" if lines else ""
    return "".join(char if char in kept or not _acts(char) else _escaped(char) for char in str(text))


def as_json(value: object, indent: int = 2) -> str:
    r"""JSON for a terminal and for programs alike: other scripts as they are, what acts on a terminal as its escape; no NaN.

    >>> as_json(["París", chr(0x9B)], indent=0).splitlines()
    ['[', '"París",', '"\\u009b"', ']']
    """
    plain = json.loads(json.dumps(value), parse_constant=lambda _: None)
    text = json.dumps(plain, ensure_ascii=False, indent=indent)
    return "".join(char if char == "\n" or not _acts(char) else f"\\u{ord(char):04x}" for char in text)


def for_latex(text: object) -> str:
    r"""Text for LaTeX: no command, no line break; an arrow `->` is set as one.

    >>> print(for_latex("50% $x$ \\input{a_b}, en->es"))
    50\% \$x\$ \textbackslash{}input\{a\_b\}, en $\to$ es
    """
    parts = [re.sub(r"\s+", " ", part) for part in str(text).split("->")]
    return r" $\to$ ".join("".join(LATEX.get(char, char) for char in printable(part)) for part in parts)


def for_markdown(text: object) -> str:
    r"""Text for a Markdown page, on one line: nothing of it is markup, a link or HTML.

    >>> print(for_markdown("a|b *c* <img src=x> [d](e)"))
    a\|b \*c\* &lt;img src=x> \[d\](e)
    """
    line = re.sub(r"\s+", " ", printable(text)).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", line)


def for_csv(value: T) -> T | str:
    """A value for CSV: a text gets an apostrophe in front where a spreadsheet would run it, or pandas would read it as missing.

    So does one that begins with an apostrophe: to read a text back, take one apostrophe off its front. Numbers stay as they are,
    also where they come as text.

    >>> for_csv("=cmd"), for_csv("NA"), for_csv("-1.5"), for_csv(-1.5), for_csv("París")
    ("'=cmd", "'NA", '-1.5', -1.5, 'París')
    """
    if not isinstance(value, str) or value == "":
        return value
    acts = value[0] in "=+-@\t\r\n'" and not _is_number(value)
    return "'" + value if acts or value in MISSING or value.strip() in MISSING else value


def from_csv(value: T) -> T | str:
    """What `for_csv` was given.

    >>> from_csv("'NA"), from_csv(2)
    ('NA', 2)
    """
    return value[1:] if isinstance(value, str) and value.startswith("'") else value


def frame_for_csv(table: pd.DataFrame) -> pd.DataFrame:
    """A table with every text in it, its columns' names and its index as `for_csv` gives them."""
    from pandas.api.types import is_numeric_dtype

    texts = [name for name in table.columns if not is_numeric_dtype(table[name])]
    table = table.copy()
    for name in texts:
        table[name] = table[name].map(for_csv)
    return table.rename(columns=for_csv, index=for_csv)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and not text[0].isspace()
    except ValueError:
        return False


def _acts(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in TURNS


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
