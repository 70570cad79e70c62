"""How far long work is: pairs done, cells a second, time left. On a terminal a bar, elsewhere a line a minute."""

from __future__ import annotations

import sys
import time
from io import TextIOBase
from types import TracebackType
from typing import Any, TextIO

from xtl.foreign import printable

LINE_EVERY = 60.0
"""Seconds between lines where stderr is no terminal."""


class SweepProgress:
    """Progress of a sweep over many pairs, on stderr; a context manager. Time is monotonic: setting the clock changes nothing.

    Args:
        n_pairs: pairs in all, if known.
        n_cells: cells to do, if known.
        shown: False keeps it silent.
        stream: where to write; stderr by default.
        before: pairs that were done before, in an earlier session.

    Attributes:
        done_pairs: pairs done so far, those before included.
        done_cells: cells done so far, without those before.
        failures: pairs that failed so far.
        language: what is at work now, such as "en->es".
        note: why it is as slow as it is, if there is a reason.
    """

    def __init__(
        self,
        n_pairs: int | None,
        n_cells: int | None,
        shown: bool = True,
        stream: TextIO | TextIOBase | None = None,
        before: int = 0,
    ) -> None:
        self.n_pairs = n_pairs
        self.n_cells = n_cells
        self.shown = shown
        self.stream: Any = stream or sys.stderr
        self.before = before
        self.done_pairs = before
        self.done_cells = 0
        self.failures = 0
        self.language = ""
        self.note = ""

    def __enter__(self) -> SweepProgress:
        self.started = self.last_line = self.began = time.monotonic()
        self.bar = None
        if self.shown and self.stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self.bar = Progress(BarColumn(), TextColumn("{task.description}"), console=Console(file=self.stream))
            self.bar.start()
            total = self.n_pairs if self.n_cells is None else self.n_cells
            self.task = self.bar.add_task(self.line(), total=total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        elif self.shown:
            print(self.line(), file=self.stream, flush=True)

    def cells(self, done: int) -> None:
        """So many cells are done."""
        self.done_cells = done
        self.show()

    def pairs(self, done: int) -> None:
        """So many pairs are done."""
        self.done_pairs = done
        self.show()

    def was_done(self, cells: int) -> None:
        """One more pair, of so many cells, turns out to have been done in an earlier session."""
        self.before += 1
        self.done_pairs += 1
        if self.n_cells is not None:
            self.n_cells -= cells
            if self.bar is not None:
                self.bar.update(self.task, total=self.n_cells)
        self.loaded()
        self.show()

    def loaded(self) -> None:
        """A model is loaded; if nothing is done yet, speed and time left count from now."""
        if not self.done_cells and not self.failures:
            self.began = time.monotonic()

    def took(self, seconds: float) -> None:
        """A pair that is done took so long: work began that much before now, at the latest.

        A worker may report its model and its first map in one go.
        """
        self.began = min(self.began, time.monotonic() - seconds)

    def failed(self) -> None:
        """One more pair failed."""
        self.failures += 1
        self.show()

    def show(self) -> None:
        """Say how far it is."""
        if self.bar is not None:
            completed = self.done_pairs if self.n_cells is None else self.done_cells
            self.bar.update(self.task, completed=completed, description=self.line())
        elif self.shown and time.monotonic() - self.last_line >= LINE_EVERY:
            self.last_line = time.monotonic()
            print(self.line(), file=self.stream, flush=True)

    def speed(self) -> float:
        """Cells a second in this session, without the time that the first model took to load."""
        seconds = time.monotonic() - self.began
        return self.done_cells / seconds if seconds > 0 else 0.0

    def seconds_left(self) -> float | None:
        """From the cells, if their number is known, else from the pairs; None before anything is done."""
        seconds = time.monotonic() - self.began
        if self.n_cells is not None:
            return (self.n_cells - self.done_cells) / max(self.speed(), 1e-9) if self.done_cells else None
        ended = self.done_pairs + self.failures - self.before
        if self.n_pairs is None or ended <= 0:
            return None
        return (self.n_pairs - self.done_pairs - self.failures) * seconds / ended

    def line(self) -> str:
        """Progress in words."""
        of_pairs = "" if self.n_pairs is None else f"/{self.n_pairs}"
        parts = [f"pairs {self.done_pairs}{of_pairs}"]
        if self.failures:
            parts.append(f"{self.failures} failed")
        if self.language:
            parts.append(printable(self.language))
        parts += [f"{self.speed():,.0f} cells a second", f"{clock(time.monotonic() - self.started)} elapsed"]
        left = self.seconds_left()
        if left is not None:
            parts.append(f"{clock(left)} left")
        return ", ".join(parts) + (f" ({self.note})" if self.note else "")


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(3725.0)
    '1:02:05'
    """
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}"
