"""The work done in this process, without a pool."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from xtl.runs.compute import Computer
from xtl.runs.jobs import Job
from xtl.runs.reports import Failure, Report
from xtl.runs.workers.limits import took_too_long


def in_this_process(
    computer: Computer,
    jobs: Sequence[Job],
    progress: Callable[[int, int], None] | None = None,
    pair_timeout: float | None = None,
) -> Iterator[Report]:
    """Reports on all jobs, computed one after the other.

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
