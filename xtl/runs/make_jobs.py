"""`make_jobs`: a study's data, read and numbered as jobs."""

from __future__ import annotations

import re
from typing import Any

from xtl.controls import FROM_OTHERS, in_third_language
from xtl.errors import InputError
from xtl.pairs import ParallelPair
from xtl.runs.jobs import Group, Job, Jobs, Shard
from xtl.runs.study import Study
from xtl.scoring.names import get_text_score
from xtl.scoring.text import rated
from xtl.tasks import Task, get_task, normalise_language

PAIRS_A_SHARD = 64
"""Pairs of one model, task and direction that share a file."""


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


def slug(text: str) -> str:
    """A text as part of a file name that every system takes.

    >>> slug("meta-llama/Llama 2_xnli_en-es")
    'meta-llama-Llama-2_xnli_en-es'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:80]


def _read_group(study: Study, task: str, direction: str, options: dict[str, Any]) -> Group:
    found = get_task(task)
    source, target = direction.split("->")
    pairs = found.pairs(source, target, limit=study.limit, seed=study.seed, **options)
    if pairs and study.score not in ("likelihood", "none"):
        rated(get_text_score(study.score, found.name), "", pairs[0])  # what can't be rated is told before any work
    others: list[ParallelPair] = []
    if study.control is not None and pairs:
        others = _read_others(study, found, pairs, options)
    return Group(task, tuple(pairs), tuple(others))


def _read_others(study: Study, task: Task, pairs: list[ParallelPair], options: dict[str, Any]) -> list[ParallelPair]:
    """What a control needs beside the pairs. Raises `InputError` where it can't be had."""
    source, target = pairs[0].direction.split("->")
    if study.control in FROM_OTHERS and len(pairs) == 1:
        raise InputError(f"control {study.control} needs other instances; {task.name} {source}->{target} has one alone")
    if study.control_language is None:
        return []
    third = normalise_language(study.control_language, task.languages)
    return in_third_language(
        third, pairs, lambda: task.pairs(third, target, limit=study.limit, seed=study.seed, **options)
    )
