"""How much of a run there is: which pairs are whole, of how many, and what is missing.

Whatever reads a run says so (`xtl status`, reports, `xtl.open_run`'s attributes), and what leaves a run as a file of its own (a
table, a figure) is made of a part of it only where the user asks for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr

from xtl.errors import InputError, check_flag
from xtl.runs.manifest import model_labels
from xtl.runs.study import Study

NAMED = 6
"""Directions that a sentence names; how many more there are is said."""


@dataclass(frozen=True)
class Group:
    """The pairs of one model, task and direction: the numbers of their jobs."""

    model: str
    task: str
    direction: str
    numbers: range


@dataclass(frozen=True)
class Extent:
    """How much of a run, or of one of its models or tasks, there is.

    Attributes:
        pairs: how many pairs it has.
        here: how many of them are whole.
        short: groups that are not whole, with how many of their pairs are.
        missing: files that were there once.
    """

    pairs: int
    here: int
    short: tuple[tuple[Group, int], ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every pair is there."""
        return self.here == self.pairs

    def in_words(self) -> str:
        """As a phrase: what there is, what is not whole, what is missing.

        >>> Extent(8, 3, ((Group("gpt2", "capitals", "en->es", range(8)), 3),)).in_words()
        '3 of 8 pairs (capitals en->es 3 of 8)'
        """
        several = len({group.model for group, _ in self.short}) > 1
        named = [
            f"{group.model + ' ' if several else ''}{group.task} {group.direction} {here} of {len(group.numbers)}"
            for group, here in self.short[:NAMED]
        ]
        more = f" and {len(self.short) - NAMED} more" if len(self.short) > NAMED else ""
        said = f"{self.here:,} of {self.pairs:,} pairs" + (f" ({', '.join(named)}{more})" if named else "")
        if self.missing:
            more = f" and {len(self.missing) - NAMED} more" if len(self.missing) > NAMED else ""
            said += f"; missing: {', '.join(self.missing[:NAMED])}{more}"
        return said


def groups_of(manifest: dict[str, Any]) -> list[Group]:
    """A run's groups, in the order of its jobs."""
    try:
        labels = model_labels(Study.model_validate(manifest["study"]))
    except ValueError:  # a study of another version
        labels = [model["name"] for model in manifest["study"]["models"]]
    groups = []
    start = 0
    for label in labels:
        for data in manifest["data"]:
            groups.append(Group(label, data["task"], data["direction"], range(start, start + data["n"])))
            start += data["n"]
    return groups


def extent_of(
    manifest: dict[str, Any],
    table: pd.DataFrame,
    missing: Iterable[str],
    model: str | None = None,
    task: str | None = None,
    direction: str | None = None,
) -> Extent:
    """How much there is of a run, or of a model, task or direction of it.

    Args:
        manifest: the run's.
        table: a row a pair that is whole, with `pair` and `task`.
        missing: files that were there once.
        model, task, direction: only this one.
    """
    here = dict(zip(table["pair"].tolist(), table["task"].tolist(), strict=True))
    groups = groups_of(manifest)
    # A study names a task of the user by its file, the tables by its name.
    names = {group.task: here[number] for group in groups for number in group.numbers if number in here}
    chosen = [
        group
        for group in groups
        if model in (None, group.model)
        and task in (None, group.task, names.get(group.task, group.task))
        and direction in (None, group.direction)
    ]
    counts = [(group, sum(number in here for number in group.numbers)) for group in chosen]
    short = tuple((group, n) for group, n in counts if n < len(group.numbers))
    n_here = sum(n for _, n in counts)
    return Extent(sum(len(group.numbers) for group in chosen), n_here, short, tuple(missing) if short else ())


def extent_attrs(extent: Extent) -> dict[str, Any]:
    """Attributes of a Dataset that say how much of a run it holds; `extent`, in words, where it is not all."""
    counts: dict[str, Any] = {"pairs_in_run": extent.pairs, "pairs_here": extent.here}
    return counts if extent.whole else counts | {"extent": extent.in_words()}


def note_of(results: xr.Dataset) -> str | None:
    """What a reader of these results must know: that they are of a part of a run. None where they are of all of it."""
    return f"of an unfinished run: {results.attrs['extent']}" if results.attrs.get("extent") else None


def check_whole_or_partial(run: object, said: str | None, partial: bool) -> None:
    """Raise `InputError` for a part of a run (`said`, in words) where the user did not ask for one."""
    check_flag("partial", partial)
    if said is not None and not partial:
        raise InputError(
            f"the run at {str(run)!r} is not whole: it holds {said}. Run the study again, which goes on, or take what there is "
            "with --partial (partial=True)"
        )
