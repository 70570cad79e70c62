"""A study taken apart: one job a model and pair, numbered, in shards of pairs that are written together.

The order is models, tasks, directions, instances. A job's number and its shard depend on the study and its data alone, so that
every process that opens the run counts alike.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from xtl.errors import InputError
from xtl.pairs import ParallelPair
from xtl.runs.study import Study
from xtl.tasks import Task, get_task, normalise_language

PAIRS_A_SHARD = 64
"""Pairs of one model, task and direction that share a file."""


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
        others: the same instances, lent from the third language of the control "other_language"; empty for others.
    """

    task: str
    pairs: tuple[ParallelPair, ...]
    others: tuple[ParallelPair, ...] = ()

    def described(self) -> dict[str, Any]:
        """How many pairs, the SHA-256 of what they hold, and where they are from."""
        return {
            "task": self.task,
            "direction": self.pairs[0].direction,
            "n": len(self.pairs),
            "sha256": hash_pairs([*self.pairs, *self.others]),
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


def make_jobs(study: Study) -> Jobs:
    """Read the study's data and number its jobs. `study` has its directions spelled out.

    Raises:
        InputError: data that isn't there, isn't parallel or can't be scored as asked.
    """
    groups = tuple(
        group
        for spec in study.tasks
        for direction in spec.directions or ()
        if (group := _read_group(study, spec.name, direction, spec.options)).pairs
    )
    shards: list[Shard] = []
    number = 0
    for model, spec in enumerate(study.models):
        for index, group in enumerate(groups):
            name = get_task(group.task).name
            jobs = [
                Job(number + place, model, name, pair, pair.id or f"{name}/{place}", index, place)
                for place, pair in enumerate(group.pairs)
            ]
            number += len(jobs)
            direction = group.pairs[0].direction.replace("->", "-")
            for start in range(0, len(jobs), PAIRS_A_SHARD):
                label = "_".join([spec.name.rstrip("/").split("/")[-1], name, direction])
                shards.append(Shard(f"{len(shards):05d}_{slug(label)}", tuple(jobs[start : start + PAIRS_A_SHARD])))
    return Jobs(study, tuple(shards), groups)


def hash_pairs(pairs: Sequence[ParallelPair]) -> str:
    """SHA-256 of what pairs ask and of what counts as right."""
    digest = hashlib.sha256()
    for pair in pairs:
        kept = {name: value for name, value in vars(pair).items() if name != "meta"}
        digest.update(json.dumps(kept, ensure_ascii=False, sort_keys=True, default=list).encode())
    return digest.hexdigest()


def revisions(pairs: Sequence[ParallelPair]) -> list[str]:
    """Where pairs are from, as their task says: files, hub repositories with their revision, the version of CLDR.

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


def slug(text: str) -> str:
    """A text as part of a file name that every system takes.

    >>> slug("meta-llama/Llama 2_xnli_en-es")
    'meta-llama-Llama-2_xnli_en-es'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:80]


def _read_group(study: Study, task: str, direction: str, options: dict[str, Any]) -> Group:
    from xtl.scoring.names import get_text_score

    found = get_task(task)
    source, target = direction.split("->")
    pairs = found.pairs(source, target, limit=study.limit, seed=study.seed, **options)
    if pairs and study.score not in ("likelihood", "none"):
        get_text_score(study.score, found.name).rate("", pairs[0])  # what can't be rated is told before any work
    others: list[ParallelPair] = []
    if study.control is not None and pairs:
        others = _read_others(study, found, pairs, options)
    return Group(task, tuple(pairs), tuple(others))


def _read_others(study: Study, task: Task, pairs: list[ParallelPair], options: dict[str, Any]) -> list[ParallelPair]:
    """What a control needs beside the pairs. Raises `InputError` where it can't be had."""
    from xtl.controls import FROM_OTHERS, lent_by

    source, target = pairs[0].direction.split("->")
    if study.control in FROM_OTHERS and len(pairs) == 1:
        raise InputError(f"control {study.control} needs other instances; {task.name} {source}->{target} has one alone")
    if study.control_language is None:
        return []
    third = normalise_language(study.control_language, task.languages)
    return lent_by(third, pairs, lambda: task.pairs(third, target, limit=study.limit, seed=study.seed, **options))
