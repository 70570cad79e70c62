"""What a study will take, before it is run: pairs, cells, forward passes, and after a short calibration time, memory and disk."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from xtl.errors import check_flag, check_whole
from xtl.models.memory import human
from xtl.progress import clock
from xtl.runs.compute import Computer
from xtl.runs.jobs import Job
from xtl.runs.make_jobs import make_jobs
from xtl.runs.preflight import check_models, n_layers_of
from xtl.runs.reports import Failure
from xtl.runs.specs import ModelSpec
from xtl.runs.study import Study
from xtl.runs.tables import join_tables


@dataclass(frozen=True)
class Part:
    """What one model takes for one task.

    Attributes:
        model: its name.
        task: the task.
        directions: number of directions.
        pairs: number of pairs.
        cells: number of cells.
        seconds_a_map: measured on one map, the second that was run; None if it was not measured.
        bytes: bytes on disk of all of them, from that map and what a file costs by itself.
        failed: why the map failed, if it did.
    """

    model: str
    task: str
    directions: int
    pairs: int
    cells: int
    seconds_a_map: float | None = None
    bytes: float | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Estimate:
    """What a study takes.

    Attributes:
        parts: by model and task.
        memory: most bytes that the calibration's maps held, the model with them: on the GPU if there is one, else of this
            process; None without it.
        workers: workers that share the time.
    """

    parts: tuple[Part, ...]
    memory: int | None
    workers: int

    @property
    def pairs(self) -> int:
        """Pairs in all."""
        return sum(part.pairs for part in self.parts)

    @property
    def cells(self) -> int:
        """Cells in all."""
        return sum(part.cells for part in self.parts)

    @property
    def seconds(self) -> float | None:
        """Time on all workers together, loading of models not counted; None where it was not measured."""
        if any(part.seconds_a_map is None for part in self.parts):
            return None
        return sum(part.pairs * (part.seconds_a_map or 0) for part in self.parts) / self.workers

    @property
    def disk(self) -> float | None:
        """Bytes of the store; None where it was not measured."""
        if any(part.bytes is None for part in self.parts):
            return None
        return sum(part.bytes or 0 for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        totals = {"pairs": self.pairs, "cells": self.cells, "loop_forward_passes": self.cells + 2 * self.pairs}
        return totals | {
            "seconds": self.seconds,
            "memory_bytes": self.memory,
            "disk_bytes": self.disk,
            "workers": self.workers,
            "parts": [asdict(part) for part in self.parts],
        }

    def in_words(self) -> str:
        """All of it, as lines of text."""
        lines = [
            f"pairs           {self.pairs:,}",
            f"cells           {self.cells:,}",
            f"forward passes  {self.cells + 2 * self.pairs:,} if each cell took its own, as in the plain loop",
        ]
        if self.seconds is not None:
            workers = (
                "1 worker" if self.workers == 1 else f"{self.workers} workers that each are as fast as this one alone"
            )
            lines.append(f"time            {clock(self.seconds)} on {workers}, models loaded")
        if self.memory is not None:
            lines.append(f"memory          {human(self.memory)} a worker, in the calibration")
        if self.disk is not None:
            lines.append(f"disk            {human(round(self.disk))}")
        for part in self.parts:
            line = (
                f"  {part.model}, {part.task}: {part.directions} directions, {part.pairs:,} pairs, {part.cells:,} cells"
            )
            if part.seconds_a_map is not None:
                line += f", {part.seconds_a_map:.2f} s a map"
            lines.append(line + (f"; its first pair fails: {part.failed}" if part.failed else ""))
        return "\n".join(lines)


def dry_run(study: Study, *, workers: int = 1, calibrate: bool = True, trust_remote_code: bool = False) -> Estimate:
    """What a study takes.

    Args:
        study: with its directions spelled out (`Study.read`).
        workers: workers that will share the time.
        calibrate: load each model and run two maps of each task, the second of which is timed. Without it times, memory and disk
            are unknown, and layers are counted from the model's configuration.
        trust_remote_code: as for `run_study`.

    Raises:
        InputError, ModelError: as the run itself.
    """
    check_flag("calibrate", calibrate)
    check_flag("trust_remote_code", trust_remote_code)
    workers = check_whole("workers", workers, 1)
    jobs = make_jobs(study)
    check_models(study, trust_remote_code)
    computer = Computer(study, groups=jobs.groups, trust_remote_code=trust_remote_code)
    parts, memory = [], 0
    for index, spec in enumerate(study.models):
        if calibrate:
            computer.load(index)
            _forget_peak()
        of_model = [job for job in jobs.all if job.model == index]
        for task in dict.fromkeys(job.task for job in of_model):
            of_task = [job for job in of_model if job.task == task]
            n_shards = len({jobs.shard_of(job.number).name for job in of_task})
            parts.append(
                _calibrated(computer, spec, task, of_task, n_shards)
                if calibrate
                else _counted(study, spec, task, of_task)
            )
        memory = max(memory, _memory() if calibrate else 0)
    return Estimate(tuple(parts), memory or None, workers)


def _counted(study: Study, spec: ModelSpec, task: str, jobs: list[Job]) -> Part:
    cells = cells_a_map(study, n_layers_of(spec))
    return Part(spec.name, task, len({job.direction for job in jobs}), len(jobs), cells * len(jobs))


def _calibrated(computer: Computer, spec: ModelSpec, task: str, jobs: list[Job], n_shards: int) -> Part:
    first = computer.compute(jobs[0])  # the first map warms up
    result = computer.compute(jobs[len(jobs) // 2])
    n_directions = len({job.direction for job in jobs})
    cells = cells_a_map(computer.study, computer.model.cfg.n_layers)
    if isinstance(result, Failure):
        return Part(spec.name, task, n_directions, len(jobs), cells * len(jobs), failed=result.reason)
    disk = sum(
        _bytes(getattr(first, table, b""), getattr(result, table), len(jobs), n_shards)
        for table in ("cells", "vanilla")
    )
    return Part(spec.name, task, n_directions, len(jobs), cells * len(jobs), result.seconds, disk)


def cells_a_map(study: Study, n_layers: int) -> int:
    """Cells of one map."""
    sources, targets = (
        n_layers if layers is None else len(layers) for layers in (study.source_layers, study.target_layers)
    )
    return len(study.modules) * sources * targets


def _bytes(first: bytes, second: bytes, n_maps: int, n_files: int) -> float:
    """Bytes of maps in files, from two maps: what the second adds to the first, and what a file costs by itself."""
    if not first or first == second:
        return float(n_maps * len(second))
    added = len(join_tables([first, second])) - len(first)
    return float(n_maps * added + n_files * (len(first) - added))


def _forget_peak() -> None:
    """Begin the peak of memory anew (Linux): while a model loads, its files count too, which needn't stay in memory."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
