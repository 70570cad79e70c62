"""For the docs site: doctests that stand in a docstring without a heading are shown as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

BLOCK = re.compile(r"(?m)^>>> .*(?:\n(?!\s*$).*)*")
"""From a line with a prompt to the next empty line."""


def fenced(text: str) -> str:
    """A docstring with its unindented doctests in code fences.

    >>> print(fenced("Sum.\\n\\n>>> 1 + 1\\n2\\n\\nMore."))
    Sum.
    <BLANKLINE>
    ```pycon
    >>> 1 + 1
    2
    ```
    <BLANKLINE>
    More.
    """
    return BLOCK.sub(lambda match: f"```pycon\n{match[0]}\n```", text)


class DoctestFences(griffe.Extension):
    """Called by mkdocstrings for every documented object."""

    def on_instance(self, *, obj: griffe.Object, **arguments: Any) -> None:
        """Fence the doctests of one object."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)
