"""Stores filled with synthetic maps, no model needed; and a way to be killed at any of the steps that touch the disk."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from tests.synthetic import synthetic_results
from xtl.runs.jobs import Job, Jobs
from xtl.runs.make_jobs import make_jobs
from xtl.runs.reports import MapFiles
from xtl.runs.store import Store
from xtl.runs.study import Study
from xtl.runs.tables import encode_map

FORKS = multiprocessing.get_context("forkserver")
"""Real processes that start quickly: forks of one that has imported everything and done nothing."""
FORKS.set_forkserver_preload(["tests.runs.filling", "transformer_lens", "xtl.models.load", "xtl.engine", "xtl.runs"])

STUDY = {"tasks": "capitals", "directions": ["en:es", "en:de"], "limit": 3}
TOUCHES = ("replace", "fsync", "write", "unlink", "mkdir")
"""Functions of `os` that change a disk."""


def jobs_of(**changes: Any) -> Jobs:
    return make_jobs(Study.read(STUDY | changes))


def map_of(job: Job, layers: int = 4) -> xr.Dataset:
    """A map of this job: the same whenever it is asked for."""
    pair = job.pair
    directions = [(pair.source_lang or "", pair.target_lang or "")]
    made = synthetic_results(directions=directions, per_direction=1, layers=range(layers), seed=job.number)
    coords = {"source": pair.source, "target": pair.target, "gold": pair.options[pair.gold]}
    return made.isel(example=0).assign_coords(example=job.example, **coords)


def files_of(job: Job, layers: int = 4) -> MapFiles:
    cells, vanilla = encode_map(map_of(job, layers), job, "gemma-3-270m")
    return MapFiles(job.number, cells, vanilla, seconds=1.0, n_cells=2 * layers**2)


def fill(folder: Path, jobs: Jobs, most: int | None = None, layers: int = 4) -> Store:
    """Add what is missing, or the first `most` of it."""
    with Store(folder, jobs) as store:
        missing = [job for job in jobs.all if job.number not in store.done]
        for job in missing[:most]:
            store.add(files_of(job, layers))
    return store


def fill_and_fail(folder: Path, jobs: Jobs) -> None:
    """Leave two maps pending, as after an error."""
    with contextlib.suppress(RuntimeError), Store(folder, jobs) as store:
        for job in jobs.all[:2]:
            store.add(files_of(job))
        raise RuntimeError


def content(folder: Path) -> dict[str, bytes]:
    """What a run holds in the end, by file."""
    names = sorted(
        [*folder.glob("cells/*"), *folder.glob("vanilla/*"), *folder.glob("pending/*"), folder / "SHA256SUMS"]
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def run_command(arguments: list[str], err: str, threads: int) -> None:
    """`xtl ARGUMENTS` in a process of its own, what it says on stderr in a file; Ctrl-C ends it, whatever started us."""
    import torch

    from xtl import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(threads)  # as many as in the process that it is compared with
    sys.argv = ["xtl", *arguments]
    with Path(err).open("w") as sys.stderr:
        cli.main()


def fill_and_die(folder: str, jobs: Jobs, at: int) -> None:
    """Fill a store and be killed, as with `kill -9`, at the `at`-th step that touches the disk; half of a write is done then."""
    steps = 0

    def count(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == at:
                if name == "write":
                    handle, data = arguments
                    real(handle, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return step

    def write_bytes(self: Path, data: bytes) -> int:
        handle = os.open(self, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(handle, data)
        os.close(handle)
        return len(data)

    Path.write_bytes = write_bytes  # type: ignore[method-assign]
    for name in TOUCHES:
        setattr(os, name, count(name, getattr(os, name)))
    fill(Path(folder), jobs)
