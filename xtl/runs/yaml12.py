"""Reads and writes YAML as its version 1.2 means it: `no` is a text, `010` is ten, `1:2` and `2024-01-01` are texts.

PyYAML reads version 1.1, where `no` (Norwegian) is false, `1:2` is 62 and `010` is 8, and takes the last of two equal keys.
A study must mean what it says. A table of four rows (the core schema, YAML 1.2.2 section 10.3.2) in the place of PyYAML's own
is all that is needed. ruamel.yaml would be one more package, and is not this strict: its `1_000` is a number and its
`2024-01-01` a date. What is written is quoted wherever either version would read something else in it.

>>> load("languages: [no, en]\\nlimit: 010\\ndirections: [1:2]\\nnothing:")
{'languages': ['no', 'en'], 'limit': 10, 'directions': ['1:2'], 'nothing': None}
>>> load("limit: 1\\nseed: 2\\nlimit: 3")
Traceback (most recent call last):
...
xtl.errors.InputError: key 'limit' is on line 1 and again on line 3
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from xtl.errors import InputError, one_line

MOST_BYTES = 1_000_000
MOST_VALUES = 100_000
DEEPEST = 20
"""Bounds of a file: its size, values (those behind an alias counted each time), and lists within lists."""

TAG = "tag:yaml.org,2002:"
CORE = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)
"""Tag, pattern and first letters of what a plain scalar is, the first that fits; everything else is text."""


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2, and no tag beyond its core (no dates, sets, bytes)."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix("tag:yaml.org,2002:") in ("null", "bool", "str", "seq", "map")
    }

    def construct_whole(self, node: Any) -> int:
        """A whole number: decimal, also with leading zeros, or 0x and 0o."""
        text = str(self.construct_scalar(node))
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)

    def construct_decimal(self, node: Any) -> float:
        """A number with a point or an exponent, or .inf and .nan."""
        return float(re.sub(r"\.(inf|nan)", r"\1", str(self.construct_scalar(node)), flags=re.IGNORECASE))


class Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which also quotes what is no text in YAML 1.2."""


for _tag, _pattern, _first in CORE:
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(TAG + _tag, re.compile(f"(?:{_pattern})\\Z"), _first)
Loader.add_constructor(TAG + "int", Loader.construct_whole)
Loader.add_constructor(TAG + "float", Loader.construct_decimal)


def load(text: str) -> Any:
    """The value of a text.

    Raises:
        InputError: malformed, a key twice (with both lines), too large, or nested too deeply.
    """
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, iter(range(MOST_VALUES)), 0)
        return loader.construct_document(node)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"it is nested more than {DEEPEST} deep") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise InputError(f"it is no YAML: {' '.join(str(error.problem or error.context).split())}{where}") from error
    except (
        yaml.YAMLError,
        ValueError,
        KeyError,
        AttributeError,
    ) as error:  # the last three: a value that is not of its !!tag
        raise InputError(f"it is no YAML: {one_line(error, 200)}") from error


def dump(value: Any) -> str:
    """A value as YAML that versions 1.1 and 1.2 read alike."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def _check(node: Any, left: Any, depth: int) -> None:
    """Raise `InputError` for a key that is given twice, too many values, or too many levels."""
    if next(left, None) is None:
        raise InputError(f"it has more than {MOST_VALUES:,} values")
    if depth > DEEPEST:
        raise InputError(f"it is nested more than {DEEPEST} deep")
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(item, left, depth + 1)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[Any, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != TAG + "str":
                raise InputError(f"a key must be a text (line {key.start_mark.line + 1})")
            line = key.start_mark.line + 1
            if key.value in lines:
                raise InputError(f"key {key.value!r} is on line {lines[key.value]} and again on line {line}")
            lines[key.value] = line
            _check(value, left, depth + 1)
