"""Who computes a run's jobs: this process, processes on this machine, or actors on a Ray cluster.

All of them are a `Crew`: workers that take one job at a time and report. `share_out` gives each idle worker the next job, so that
a fast one simply takes more; a worker that dies is replaced, and its job goes to another, up to `TRIES` times. No worker holds
more than `AHEAD` jobs, and results are taken as they come: what is in flight is bounded.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from xtl.errors import InputError, ModelError
from xtl.runs.compute import Computer, Failure, LoadedModel
from xtl.runs.jobs import Job
from xtl.runs.store import MapFiles

TRIES = 3
"""How many workers may die over a job before the job is a failure."""
AHEAD = 2
"""Jobs that a worker holds: the one that it computes, and the next."""

Report = MapFiles | Failure | LoadedModel


@dataclass(frozen=True)
class Lost:
    """A worker died."""

    why: str


@dataclass(frozen=True)
class Stopped:
    """A worker can't go on: its model can't be loaded."""

    why: str


@runtime_checkable
class Crew(Protocol):
    """Workers by number, 0 to `size - 1`."""

    size: int

    def start(self, worker: int) -> None:
        """Start this worker, or a new one in its place."""

    def give(self, worker: int, job: Job) -> None:
        """Have it compute a job after those that it has."""

    def wait(self) -> Iterator[tuple[int, Report | Lost | Stopped]]:
        """What has been reported since, after waiting for something; may be nothing, so that the caller stays awake."""

    def close(self) -> None:
        """End all workers."""


def share_out(crew: Crew, jobs: Sequence[Job]) -> Iterator[Report]:
    """Reports on all jobs, as they come; the order is that of their ends.

    Raises:
        ModelError: a model can't be loaded, or workers die before they have done anything.
    """
    waiting = deque(jobs)
    holds: list[deque[Job]] = [deque() for _ in range(crew.size)]
    deaths: dict[int, int] = {}
    idle_deaths = 0
    try:
        for worker in range(min(crew.size, len(jobs))):
            crew.start(worker)
            _fill(crew, worker, holds[worker], waiting, 1)
        while waiting or any(holds):
            for worker, report in crew.wait():
                held = holds[worker]
                if isinstance(report, Stopped):
                    raise ModelError(report.why)
                if isinstance(report, LoadedModel):
                    idle_deaths = 0
                    yield report
                    _fill(crew, worker, held, waiting, AHEAD)
                elif not isinstance(report, Lost):
                    job = held.popleft()
                    if report.number != job.number:
                        raise RuntimeError(f"worker {worker} reported job {report.number} instead of {job.number}")
                    yield report
                    _fill(crew, worker, held, waiting, AHEAD)
                else:
                    idle_deaths += 1
                    if idle_deaths > TRIES + crew.size:
                        raise ModelError(f"workers die as soon as they start: {report.why}")
                    if held:
                        job = held.popleft()
                        deaths[job.number] = deaths.get(job.number, 0) + 1
                        if deaths[job.number] >= TRIES:
                            yield Failure(job.number, f"{TRIES} workers died over it; the last one: {report.why}")
                        else:
                            held.appendleft(job)
                    waiting.extendleft(reversed(held))
                    held.clear()
                    if waiting:
                        crew.start(worker)
                        _fill(crew, worker, held, waiting, 1)
    finally:
        crew.close()


def _fill(crew: Crew, worker: int, held: deque[Job], waiting: deque[Job], most: int) -> None:
    while waiting and len(held) < most:
        job = waiting.popleft()
        held.append(job)
        crew.give(worker, job)


def parse_workers(text: str) -> tuple[str, str | None]:
    """What `--workers` says: `("local", "4")`, `("ray", address or None)`.

    >>> parse_workers("local:4"), parse_workers("1"), parse_workers("ray"), parse_workers("ray:10.0.0.1:6379")
    (('local', '4'), ('local', '1'), ('ray', None), ('ray', '10.0.0.1:6379'))
    """
    kind, _, rest = text.strip().partition(":")
    if kind.isdigit() and not rest:
        kind, rest = "local", kind
    if kind == "ray":
        return "ray", rest or None
    if kind == "local" and (not rest or (rest.isdigit() and int(rest) > 0)):
        return "local", rest or str(os.cpu_count() or 1)
    raise InputError(
        f"workers {text!r} must be local:N (N processes), ray, or ray:ADDRESS; local:1 is this process alone"
    )


def make_crew(workers: str, computer: dict[str, Any], actors: int | None = None) -> Crew | None:
    """The crew that `workers` names; None where this process does the work itself.

    Args:
        workers: "local:N", "ray" or "ray:ADDRESS".
        computer: arguments of `Computer`.
        actors: how many actors on Ray; one a GPU (or CPU) by default.
    """
    kind, rest = parse_workers(workers)
    if kind == "ray":
        from xtl.runs.ray_workers import RayCrew

        return RayCrew(rest, computer, actors)
    if rest == "1":
        return None
    from xtl.runs.local_workers import LocalCrew

    return LocalCrew(int(rest or 1), computer)


def alone(computer: Computer, jobs: Sequence[Job], progress: Any = None) -> Iterator[Report]:
    """Reports on all jobs, computed in this process."""
    loaded: list[LoadedModel] = []
    computer.on_model = loaded.append
    for job in jobs:
        computer.load(job.model)
        yield from loaded
        loaded.clear()
        yield computer.compute(job, progress)
