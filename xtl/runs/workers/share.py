"""Who computes a run's jobs: this process, processes on this machine, or actors on a Ray cluster.

All of them are a `Crew`: workers that take one job at a time and report. `share_out` gives each idle worker the next job, so that
a fast one simply takes more; a worker that dies is replaced, and its job goes to another, up to `TRIES` times. No worker holds
more than `AHEAD` jobs, and results are taken as they come: what is in flight is bounded. Jobs go only to workers that have said
that they are there, and a worker that takes longer over a pair than its limit is ended: nothing is waited for without end.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from xtl.errors import InputError, ModelError, check_whole, shown
from xtl.packages import install_hint
from xtl.runs.compute import Computer, Failure, LoadedModel, Told
from xtl.runs.jobs import Job
from xtl.runs.store import MapFiles

MOST_PROCESSES = 1000
"""Most worker processes on this machine: each holds a model."""

TRIES = 3
"""How many workers may die over a job before the job is a failure."""
AHEAD = 2
"""Jobs that a worker holds: the one that it computes, and the next."""

PAIR_TIMEOUT = 3600.0
"""Seconds that a pair may take, unless the user says otherwise: far more than a map should, far less than for ever."""
START_TIMEOUT = 300.0
"""Seconds after which a worker that has not started is told of; where none has, the run ends."""

Report = MapFiles | Failure | LoadedModel | Told


@dataclass(frozen=True)
class Ready:
    """A worker has started and takes jobs."""


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
    """Workers by number, 0 to `size - 1`.

    Attributes:
        size: how many at most.
        notes: what the user should know of them, such as that there are fewer than asked for.
    """

    size: int
    notes: list[str]

    def start(self, worker: int) -> None:
        """Start this worker, or a new one in its place. Once it is there it reports `Ready`."""

    def give(self, worker: int, job: Job) -> None:
        """Have it compute a job after those that it has."""

    def wait(self) -> Iterator[tuple[int, Report | Ready | Lost | Stopped]]:
        """What has been reported since, after waiting for something; may be nothing, so that the caller stays awake."""

    def end(self, worker: int) -> None:
        """End this worker, whatever it is at; nothing more is reported of it."""

    def why_late(self) -> str:
        """Why workers may not have started."""

    def close(self) -> None:
        """End all workers."""


def share_out(
    crew: Crew,
    jobs: Sequence[Job],
    pair_timeout: float | None = PAIR_TIMEOUT,
    start_timeout: float = START_TIMEOUT,
) -> Iterator[Report]:
    """Reports on all jobs, as they come; the order is that of their ends.

    Args:
        crew: the workers.
        jobs: what there is to do.
        pair_timeout: seconds that a worker may take over a pair, or to load a model; None for no limit.
        start_timeout: seconds after which a worker that has not started is told of.

    Raises:
        ModelError: a model can't be loaded, or workers die before they have done anything, or none starts.
    """
    sharing = _Sharing(crew, deque(jobs), pair_timeout, start_timeout)
    try:
        yield from map(Told, crew.notes)
        for worker in range(min(crew.size, len(jobs))):
            sharing.start(worker)
        while sharing.at_work():
            for worker, report in crew.wait():
                yield from sharing.take(worker, report)
            yield from sharing.end_late_ones()
    finally:
        crew.close()


class _Sharing:
    """The state of `share_out`: who holds which jobs, and since when nothing has been heard of them."""

    def __init__(self, crew: Crew, waiting: deque[Job], pair_timeout: float | None, start_timeout: float) -> None:
        self.crew = crew
        self.waiting = waiting
        self.pair_timeout = pair_timeout
        self.start_timeout = start_timeout
        self.holds: list[deque[Job]] = [deque() for _ in range(crew.size)]
        self.heard: dict[int, float] = {}
        self.model: dict[int, int | None] = {}  # of workers that have started: the model that each has loaded
        self.deaths: dict[int, int] = {}
        self.idle_deaths = 0
        self.told_late = False

    def at_work(self) -> bool:
        """Whether there is something to do or to wait for."""
        return bool(self.waiting) or any(self.holds)

    def start(self, worker: int) -> None:
        """Start a worker."""
        self.heard[worker] = time.monotonic()
        self.crew.start(worker)

    def take(self, worker: int, report: Report | Ready | Lost | Stopped) -> Iterator[Report]:
        """What to hand on of a worker's report, after giving it more to do."""
        self.heard[worker] = time.monotonic()
        held = self.holds[worker]
        if isinstance(report, Stopped):
            raise ModelError(report.why)
        if isinstance(report, Lost):
            yield from self._lost(worker, report.why)
            return
        if isinstance(report, Ready):
            self.model[worker] = None
            self._fill(worker, 1)
            return
        if isinstance(report, LoadedModel):
            self.idle_deaths = 0
            self.model[worker] = held[0].model if held else None
        elif not isinstance(report, Told):
            job = held.popleft()
            if report.number != job.number:
                raise RuntimeError(f"worker {worker} reported job {report.number} instead of {job.number}")
        yield report
        if not isinstance(report, Told):
            self._fill(worker, AHEAD)

    def end_late_ones(self) -> Iterator[Report]:
        """End workers that have been at a pair for too long, and tell of those that have not started."""
        now = time.monotonic()
        for worker, held in enumerate(self.holds):
            if self.pair_timeout is None or not held or now - self.heard[worker] <= self.pair_timeout:
                continue
            self.crew.end(worker)
            if self.model.get(worker) == held[0].model:
                yield Failure(held.popleft().number, took_too_long(self.pair_timeout))
                self._replace(worker)
            else:
                yield from self._lost(worker, f"its model was not loaded after {self.pair_timeout:g} s")
        late = [one for one in self.heard if one not in self.model and now - self.heard[one] > self.start_timeout]
        if late and not self.model:
            raise ModelError(f"no worker has started after {self.start_timeout:g} s: {self.crew.why_late()}")
        if late and not self.told_late:
            self.told_late = True
            of_all = f"{len(late)} of {len(self.heard)} workers have not started after {self.start_timeout:g} s"
            yield Told(f"{of_all} ({self.crew.why_late()}); the others go on without them")

    def _lost(self, worker: int, why: str) -> Iterator[Report]:
        self.idle_deaths += 1
        if self.idle_deaths > TRIES + self.crew.size:
            raise ModelError(f"workers die as soon as they start: {why}")
        held = self.holds[worker]
        if held:
            number = held[0].number
            self.deaths[number] = self.deaths.get(number, 0) + 1
            if self.deaths[number] >= TRIES:
                held.popleft()
                yield Failure(number, f"{TRIES} workers died over it; the last one: {why}")
        self._replace(worker)

    def _replace(self, worker: int) -> None:
        """Take back what a worker that has ended held, and start a new one in its place if there is something to do."""
        self.waiting.extendleft(reversed(self.holds[worker]))
        self.holds[worker].clear()
        self.heard.pop(worker, None)
        self.model.pop(worker, None)
        if self.waiting:
            self.start(worker)

    def _fill(self, worker: int, most: int) -> None:
        held = self.holds[worker]
        while self.waiting and len(held) < most:
            if not held:
                self.heard[worker] = time.monotonic()
            job = self.waiting.popleft()
            held.append(job)
            self.crew.give(worker, job)


def took_too_long(seconds: float) -> str:
    """Why a pair failed that was given up."""
    return f"took longer than {seconds:g} s, the limit of a pair; --pair-timeout sets another, or off"


def check_pair_timeout(seconds: object) -> float | None:
    """Seconds that a pair may take, or None for no limit. Raises `InputError`.

    >>> check_pair_timeout(90), check_pair_timeout(None)
    (90.0, None)
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise InputError(
            f"pair_timeout must be a number of seconds greater than 0, or None for no limit, got {seconds!r}"
        )
    return float(seconds)


def parse_workers(text: str) -> tuple[str, str | None]:
    """What `--workers` says: `("local", "4")`, `("ray", address or None)`.

    >>> parse_workers("local:4"), parse_workers("1"), parse_workers("ray"), parse_workers("ray:10.0.0.1:6379")
    (('local', '4'), ('local', '1'), ('ray', None), ('ray', '10.0.0.1:6379'))
    """
    if match := re.fullmatch(r"(?:local:)?([0-9]{1,9})|local", str(text), re.ASCII):
        n = int(match[1]) if match[1] else os.cpu_count() or 1
        if 1 <= n <= MOST_PROCESSES:
            return "local", str(n)
    if match := re.fullmatch(r"ray(?::(\S+))?", str(text)):
        return "ray", match[1]
    raise InputError(
        f"workers {shown(text)} must be local:N (N processes, at most {MOST_PROCESSES:,}), ray, or ray:ADDRESS; "
        "local:1 is this process alone"
    )


def check_workers(workers: str, actors: int | None = None) -> str:
    """Raise `InputError` where workers can't be had as they are asked for; return their kind, "local" or "ray".

    >>> check_workers("local:2", actors=8)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: actors goes with workers ray; local:N says how many processes there are
    """
    kind, _ = parse_workers(workers)
    if actors is not None:
        check_whole("actors", actors, 1)
        if kind != "ray":
            raise InputError("actors goes with workers ray; local:N says how many processes there are")
    if kind == "ray" and importlib.util.find_spec("ray") is None:
        raise InputError(f"--workers ray needs the package ray: {install_hint('ray')}")
    return kind


def make_crew(workers: str, computer: dict[str, Any], actors: int | None = None) -> Crew | None:
    """The crew that `workers` names; None where this process does the work itself.

    Args:
        workers: "local:N", "ray" or "ray:ADDRESS".
        computer: arguments of `Computer`.
        actors: how many actors on Ray; one a GPU (or CPU) by default.
    """
    kind, rest = parse_workers(workers)
    if kind == "ray":
        from xtl.runs.workers.ray import RayCrew

        return RayCrew(rest, computer, actors)
    if rest == "1":
        return None
    from xtl.runs.workers.local import LocalCrew

    return LocalCrew(int(rest or 1), computer)


def alone(
    computer: Computer, jobs: Sequence[Job], progress: Any = None, pair_timeout: float | None = None
) -> Iterator[Report]:
    """Reports on all jobs, computed in this process.

    A pair that takes too long is interrupted between two steps of Python; what hangs inside a library's own code is not (a worker
    process is ended whatever it is at). The model, which may be left in any state, is then loaded anew.
    """
    told: list[Report] = []
    computer.tell = told.append
    for job in jobs:
        computer.load(job.model)
        yield from told
        told.clear()
        try:
            with time_limit(pair_timeout):
                result = computer.compute(job, progress)
        except TooLong:
            result = Failure(job.number, took_too_long(pair_timeout or 0))
            computer.unload()
        yield from told
        told.clear()
        yield result


class TooLong(BaseException):
    """Time is up. No `Exception`, so that nothing on the way takes it for an error that it knows how to handle."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `TooLong` in what it holds after so many seconds; no limit outside the main thread, or where there are no alarms."""
    if seconds is None or threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again each second: one in a destructor would be lost
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
