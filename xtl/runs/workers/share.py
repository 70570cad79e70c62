"""Jobs shared out among the workers of a pool.

Each idle worker gets the next job, so that a fast one simply takes more; a worker that dies is replaced, and its job goes to
another, up to `TRIES` times. No worker holds more than `AHEAD` jobs, and results are taken as they come: what is in flight is
bounded. Jobs go only to workers that have said that they are there, and a worker that takes longer over a pair than its limit is
ended: nothing is waited for without end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence

from xtl.errors import ModelError
from xtl.runs.jobs import Job
from xtl.runs.reports import FailedWorker, Failure, LoadedModel, Notice, Ready, Report, Stopped, WorkerReport
from xtl.runs.workers.limits import PAIR_TIMEOUT, START_TIMEOUT, took_too_long
from xtl.runs.workers.pool import WorkerPool

TRIES = 3
"""How many workers may die over a job before the job is a failure."""
AHEAD = 2
"""Jobs that a worker holds: the one that it computes, and the next."""


def share_out(
    pool: WorkerPool,
    jobs: Sequence[Job],
    pair_timeout: float | None = PAIR_TIMEOUT,
    start_timeout: float = START_TIMEOUT,
) -> Iterator[Report]:
    """Reports on all jobs, as they come; the order is that of their ends.

    Args:
        pool: the workers.
        jobs: what there is to do.
        pair_timeout: seconds that a worker may take over a pair, or to load a model; None for no limit.
        start_timeout: seconds after which a worker that has not started is told of.

    Raises:
        ModelError: a model can't be loaded, or workers die before they have done anything, or none starts.
    """
    sharing = _Sharing(pool, deque(jobs), pair_timeout, start_timeout)
    try:
        yield from map(Notice, pool.notes)
        for worker in range(min(pool.size, len(jobs))):
            sharing.start(worker)
        while sharing.at_work():
            for worker, report in pool.wait():
                yield from sharing.take(worker, report)
            yield from sharing.end_late_ones()
    finally:
        pool.close()


class _Sharing:
    """The state of `share_out`: who holds which jobs, and since when nothing has been heard of them."""

    def __init__(self, pool: WorkerPool, waiting: deque[Job], pair_timeout: float | None, start_timeout: float) -> None:
        self.pool = pool
        self.waiting = waiting
        self.pair_timeout = pair_timeout
        self.start_timeout = start_timeout
        self.holds: list[deque[Job]] = [deque() for _ in range(pool.size)]
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
        self.pool.start(worker)

    def take(self, worker: int, report: WorkerReport) -> Iterator[Report]:
        """What to hand on of a worker's report, after giving it more to do."""
        self.heard[worker] = time.monotonic()
        held = self.holds[worker]
        if isinstance(report, Stopped):
            raise ModelError(report.why)
        if isinstance(report, FailedWorker):
            yield from self._failed(worker, report.why)
            return
        if isinstance(report, Ready):
            self.model[worker] = None
            self._fill(worker, 1)
            return
        if isinstance(report, LoadedModel):
            self.idle_deaths = 0
            self.model[worker] = held[0].model if held else None
        elif not isinstance(report, Notice):
            job = held.popleft()
            if report.number != job.number:
                raise RuntimeError(f"worker {worker} reported job {report.number} instead of {job.number}")
        yield report
        if not isinstance(report, Notice):
            self._fill(worker, AHEAD)

    def end_late_ones(self) -> Iterator[Report]:
        """End workers that have been at a pair for too long, and tell of those that have not started."""
        now = time.monotonic()
        for worker, held in enumerate(self.holds):
            if self.pair_timeout is None or not held or now - self.heard[worker] <= self.pair_timeout:
                continue
            self.pool.end(worker)
            if self.model.get(worker) == held[0].model:
                yield Failure(held.popleft().number, took_too_long(self.pair_timeout))
                self._replace(worker)
            else:
                yield from self._failed(worker, f"its model was not loaded after {self.pair_timeout:g} s")
        late = [one for one in self.heard if one not in self.model and now - self.heard[one] > self.start_timeout]
        if late and not self.model:
            raise ModelError(f"no worker has started after {self.start_timeout:g} s: {self.pool.why_late()}")
        if late and not self.told_late:
            self.told_late = True
            of_all = f"{len(late)} of {len(self.heard)} workers have not started after {self.start_timeout:g} s"
            yield Notice(f"{of_all} ({self.pool.why_late()}); the others go on without them")

    def _failed(self, worker: int, why: str) -> Iterator[Report]:
        self.idle_deaths += 1
        if self.idle_deaths > TRIES + self.pool.size:
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
            self.pool.submit(worker, job)
