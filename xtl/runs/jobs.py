"""A study taken apart: one job a model and pair, numbered, in shards of pairs that are written together.

The order is models, tasks, directions, instances. A job's number and its shard depend on the study and its data alone, so that
every process that opens the run counts alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from xtl.pairs import ParallelPair
from xtl.runs.study import Study


@dataclass(frozen=True)
class Job:
    """One map to compute.

    Attributes:
        number: place in the study; the column `pair` of the store.
        model: index in `study.models`.
        task: name of the task.
        pair: what is asked.
        example: its id.
        group: index in the study's groups: the pairs of a task and direction.
        place: index of the pair in its group.
    """

    number: int
    model: int
    task: str
    pair: ParallelPair
    example: str
    group: int
    place: int

    @property
    def direction(self) -> str:
        """`source->target`."""
        return self.pair.direction


@dataclass(frozen=True)
class Group:
    """The pairs of a task and direction.

    Attributes:
        task: as the study names it.
        pairs: in order.
        others: the same instances with sources in the third language of the control "other_language"; empty for other controls.
    """

    task: str
    pairs: tuple[ParallelPair, ...]
    others: tuple[ParallelPair, ...] = ()

    def described(self, source_run: bool = False) -> dict[str, Any]:
        """How many pairs, the SHA-256 of what they hold (with `source_run` for that too), and where they are from."""
        return {
            "task": self.task,
            "direction": self.pairs[0].direction,
            "n": len(self.pairs),
            "sha256": hash_pairs([*self.pairs, *self.others], source_run),
            "revision": revisions(self.pairs),
        }


@dataclass(frozen=True)
class Shard:
    """Jobs whose maps are written to one file, `name`.parquet in each of the store's folders."""

    name: str
    jobs: tuple[Job, ...]

    @property
    def numbers(self) -> range:
        """Their jobs' numbers, which follow one another."""
        return range(self.jobs[0].number, self.jobs[-1].number + 1)


@dataclass(frozen=True)
class Jobs:
    """All of a study's jobs.

    Attributes:
        study: the study.
        shards: the jobs in shards, in order.
        groups: the pairs of each task and direction.
    """

    study: Study
    shards: tuple[Shard, ...]
    groups: tuple[Group, ...] = field(repr=False)

    @cached_property
    def all(self) -> tuple[Job, ...]:
        """Every job, in order."""
        return tuple(job for shard in self.shards for job in shard.jobs)

    def __len__(self) -> int:
        return len(self.all)

    @cached_property
    def _shard_of(self) -> list[Shard]:
        return [shard for shard in self.shards for _ in shard.jobs]

    def shard_of(self, number: int) -> Shard:
        """The shard of a job."""
        return self._shard_of[number]


def hash_pairs(pairs: Sequence[ParallelPair], source_run: bool = False) -> str:
    """SHA-256 of what pairs ask and of what counts as right; with `source_run` also of the source's own options and answers."""
    digest = hashlib.sha256()
    left_out = ["meta", *([] if source_run else ["source_options", "source_labels", "source_answers"])]
    for pair in pairs:
        kept = {name: value for name, value in vars(pair).items() if name not in left_out}
        digest.update(json.dumps(kept, ensure_ascii=False, sort_keys=True, default=list).encode())
    return digest.hexdigest()


def revisions(pairs: Sequence[ParallelPair]) -> list[str]:
    """Where pairs are from, as their task says: files, hub repositories with their revision, the version of CLDR.

    >>> from xtl.tasks import get_task
    >>> revisions(get_task("capitals").pairs("en", "es", limit=2))  # doctest: +ELLIPSIS
    ['CLDR ...']
    """
    said = [
        (name, pair.meta[name])
        for pair in pairs
        for name in ("source_file", "target_file", "cldr")
        if name in pair.meta
    ]
    return list(dict.fromkeys(f"CLDR {value}" if name == "cldr" else str(value) for name, value in said))
