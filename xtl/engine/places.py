"""At which tokens a map reads and writes, where that is not the last one of each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import xarray as xr

from xtl.backend import Model
from xtl.engine.prepare import Sweep
from xtl.errors import InputError
from xtl.tokens import Position, Word, find_positions


def check_spans(source: Sequence[int], target: Sequence[int]) -> None:
    """Raise `InputError` unless as many tokens are read as are written.

    >>> check_spans([3, 4], [7])
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: source_position reads 2 tokens (3, 4) and target_position writes 1 (7): they must be as many
    """
    if len(source) != len(target):
        read, written = (", ".join(map(str, places)) for places in (source, target))
        raise InputError(
            f"source_position reads {len(source)} token{'s' * (len(source) > 1)} ({read}) and target_position writes "
            f"{len(target)} ({written}): they must be as many"
        )


def placed(model: Model, sweep: Sweep, source: Position | None, target: Position | None) -> Sweep:
    """The same sweep that reads and writes at these positions; None is the last token.

    Raises:
        InputError: positions that the prompts don't have, spans of unequal length, or what does not go with them.
    """
    if source is None and target is None:
        return sweep
    plan, pair = sweep.plan, sweep.pair
    if source is not None and (plan.activations is not None or plan.sources):
        other = "activations" if plan.activations is not None else "sources"
        raise InputError(f"source_position is of one source prompt that is read: leave it out, or {other}")
    read = find_positions(model, "source_position", pair.source, plan.source_ids, -1 if source is None else source)
    write = find_positions(model, "target_position", pair.target, plan.target_ids, -1 if target is None else target)
    check_spans(read, write)
    if plan.every_step and write != (len(plan.target_ids) - 1,):
        raise InputError("steps='every' writes at the prompt's end and after it: leave it out, or target_position")
    return replace(sweep, plan=replace(plan, source_positions=read, target_positions=write))


def labelled_places(result: xr.Dataset, sweep: Sweep, source: Position | None, target: Position | None) -> xr.Dataset:
    """A map that says where it read and wrote: how it was asked for in attributes, the tokens in coords."""
    places = {"source_position": sweep.plan.source_positions, "target_position": sweep.plan.target_positions}
    asked = {"source_at": source, "target_at": target}
    coords = {name: at[0] if len(at) == 1 else ", ".join(map(str, at)) for name, at in places.items() if at}
    attrs = {name: _in_words(one) for name, one in asked.items() if one is not None}
    return result.assign_coords(coords).assign_attrs(attrs)


def _in_words(position: Position) -> str:
    if isinstance(position, Word):
        return "all tokens of words" if position.whole else "last token of a word"
    return str(position.tolist() if hasattr(position, "tolist") else position)
