"""What a worker pool is: workers by number that take jobs and report. `local` and `ray` have one each; `share` feeds it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from xtl.runs.jobs import Job
from xtl.runs.reports import WorkerReport

WAKE = 0.5
"""Seconds after which `wait` returns even if nothing was reported."""


@runtime_checkable
class WorkerPool(Protocol):
    """Workers by number, 0 to `size - 1`.

    Attributes:
        size: how many at most.
        notes: what the user should know of them, such as that there are fewer than asked for.
    """

    size: int
    notes: list[str]

    def start(self, worker: int) -> None:
        """Start this worker, or a new one in its place. Once it is there it reports `Ready`."""

    def submit(self, worker: int, job: Job) -> None:
        """Have it compute a job after those that it has."""

    def wait(self) -> Iterator[tuple[int, WorkerReport]]:
        """What has been reported since, after waiting for something; may be nothing, so that the caller stays awake."""

    def end(self, worker: int) -> None:
        """End this worker, whatever it is at; nothing more is reported of it."""

    def why_late(self) -> str:
        """Why workers may not have started."""

    def close(self) -> None:
        """End all workers."""
