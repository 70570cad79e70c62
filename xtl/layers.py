"""One grammar for lists of layers: in a study's YAML, in flags and in Python, with the same meaning everywhere.

| written | meaning |
|---|---|
| `3`, `-1` | a layer, from 0; a negative one counts from the end |
| `0,3,-1` | several |
| `0-5` | a range, both ends in it: six layers |
| `-3--1` | the same from the end: the last three |
| `0:6`, `0:18:3` | Python's range: its stop is not in it, the third number is the step |
| `0-2,5,10:14` | any of these together |

Whole numbers, lists, ranges, tensors and arrays of them mean the same, and a list may hold ranges as text (`[0-2, 5]`).
A range from one end of the model to the other (`0--1`, `4:`) is refused: which layers it names depends on the model, and
a study may have several.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import islice
from typing import Any

from xtl.errors import InputError, Whole, as_whole, check_layer

Layers = str | Whole | Iterable[Any]
"""What a user may write for a list of layers; see the module's table."""

MOST = 10_000
"""Most layers that a list may name; no model has as many."""

HINT = "write 0,3,-1 or 0-5 (5 is in it) or 0:18:3 (18 is not)"
NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
SPAN = re.compile(r"(-?[0-9]{1,18})\s*-\s*(-?[0-9]{1,18})", re.ASCII)
SLICE = re.compile(r"(-?[0-9]{1,18})\s*:\s*(-?[0-9]{1,18})(?:\s*:\s*(-?[0-9]{1,18}))?", re.ASCII)


def parse_layers(argument: str, layers: object) -> tuple[int, ...]:
    """The layers that a user wrote, negative ones as they are; no model is needed.

    Args:
        argument: its name, for messages.
        layers: a layer, a text in the module's grammar, or anything that can be gone through and holds these.

    Raises:
        InputError: something else, a backward or open range, nothing at all, a layer twice, or more than `MOST`.

    >>> parse_layers("target_layers", "0-2,5,10:14:2"), parse_layers("target_layers", [3, "-2--1"])
    ((0, 1, 2, 5, 10, 12), (3, -2, -1))
    >>> parse_layers("target_layers", "0-")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: target_layers '0-' is no list of layers; write 0,3,-1 or 0-5 (5 is in it) or 0:18:3 (18 is not)
    """
    found = tuple(islice(_each(argument, layers), MOST + 1))
    if len(found) > MOST:
        raise InputError(f"{argument} names more than {MOST:,} layers; no model has as many")
    if not found:
        raise InputError(f"{argument} must be a list of layers, got {_shown(layers)}; {HINT}")
    if len(set(found)) != len(found):
        twice = next(layer for index, layer in enumerate(found) if layer in found[:index])
        raise InputError(f"{argument} names a layer twice: {twice}")
    return found


def check_layers(argument: str, layers: Layers | None, n_layers: int) -> tuple[int, ...]:
    """The 0-based layers of a model that a user wrote; all of them for None.

    Raises:
        InputError: as `parse_layers`; a layer that the model doesn't have, or that is named from both ends.

    >>> check_layers("source_layers", "0,-2--1", 18)
    (0, 16, 17)
    """
    if layers is None:
        return tuple(range(n_layers))
    given = parse_layers(argument, layers)
    checked = tuple(check_layer(argument, layer, n_layers) for layer in given)
    if len(set(checked)) != len(checked):
        raise InputError(f"{argument} names a layer twice: {', '.join(map(str, given))}")
    return checked


def check_heads(argument: str, heads: Layers | None, n_heads: int) -> tuple[int, ...]:
    """The same for heads of a layer, in the same grammar.

    >>> check_heads("heads", "0-1,-1", 8)
    (0, 1, 7)
    >>> check_heads("target_heads", 8, 8)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: target_heads 8 is out of range for a model of 8 heads; valid: 0 to 7, or -8 to -1 counted from the end
    """
    try:
        return check_layers(argument, heads, n_heads)
    except InputError as error:
        raise InputError(str(error).replace("layer", "head")) from None


def _each(argument: str, layers: object) -> Iterator[int]:
    """Layer by layer, so that whoever reads may stop."""
    if isinstance(layers, str):
        for part in layers.split(","):
            yield from _part(argument, layers, part.strip())
        return
    if (layer := as_whole(layers)) is not None:
        yield layer
        return
    if hasattr(layers, "tolist"):  # a tensor or an array
        layers = layers.tolist()
        layers = [layers] if isinstance(layers, int) else layers  # without a dim
    if not isinstance(layers, Iterable) or isinstance(layers, (bytes, Mapping, Set)):
        raise InputError(f"{argument} must be a list of layers, got {_shown(layers)}; {HINT}")
    for item in layers:
        if (layer := as_whole(item)) is not None:
            yield layer
        elif isinstance(item, str) and not NUMBER.fullmatch(item.strip()):
            yield from _part(argument, item, item.strip())
        else:
            raise InputError(f"{argument} must hold whole numbers and ranges of them, got {_shown(item)}")


def _part(argument: str, whole: str, part: str) -> Iterable[int]:
    """The layers of a part between commas."""
    if NUMBER.fullmatch(part):
        return (int(part),)
    if match := SPAN.fullmatch(part):
        first, last = int(match[1]), int(match[2])
        layers, ends, inside = range(first, last + 1), (first, last), True
    elif match := SLICE.fullmatch(part):
        first, stop, step = int(match[1]), int(match[2]), int(match[3] or 1)
        if step == 0:
            raise InputError(f"{argument} {_shown(part)} has a step of 0")
        layers, ends, inside = range(first, stop, step), (first, stop), False
    else:
        raise InputError(f"{argument} {_shown(whole)} is no list of layers; {HINT}")
    one_sided = (ends[0] < 0) == (ends[1] < 0)
    if len(layers) == 0 and one_sided:
        why = "counts down; write the lower layer first" if inside else "holds no layer"
        raise InputError(f"{argument} {_shown(part)} {why}")
    if not one_sided and (inside or len(layers) == 0 or (layers[0] < 0) != (layers[-1] < 0)):
        raise InputError(
            f"{argument} {_shown(part)} goes from layers that count from the end to layers that count from 0: which it names "
            "depends on the model; write both ends the same way"
        )
    return layers


def _shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
