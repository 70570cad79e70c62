"""How far long work is: pairs done, cells a second, time left. On a terminal a bar, elsewhere a line a minute."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

LINE_EVERY = 60.0
"""Seconds between lines where stderr is no terminal."""


class SweepProgress:
    """Progress of a sweep over many pairs, on stderr; a context manager.

    Args:
        n_pairs: pairs in all, if known.
        n_cells: cells in all, if known.
        shown: False keeps it silent.
        stream: where to write; stderr by default.
    """

    def __init__(
        self, n_pairs: int | None, n_cells: int | None, shown: bool = True, stream: Any = None
    ) -> None:
        self.n_pairs = n_pairs
        self.n_cells = n_cells
        self.shown = shown
        self.stream = stream or sys.stderr
        self.done_pairs = 0
        self.done_cells = 0

    def __enter__(self) -> SweepProgress:
        self.started = self.last_line = time.monotonic()
        self.bar = None
        if self.shown and self.stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self.bar = Progress(BarColumn(), TextColumn("{task.description}"), console=Console(file=self.stream))
            self.bar.start()
            self.task = self.bar.add_task(self.line(), total=self.n_cells)
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

    def show(self) -> None:
        """Say how far it is."""
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done_cells, description=self.line())
        elif self.shown and time.monotonic() - self.last_line >= LINE_EVERY:
            self.last_line = time.monotonic()
            print(self.line(), file=self.stream, flush=True)

    def line(self) -> str:
        """Progress in words."""
        seconds = time.monotonic() - self.started
        speed = self.done_cells / seconds if seconds > 0 else 0.0
        of_pairs = "" if self.n_pairs is None else f"/{self.n_pairs}"
        text = f"pairs {self.done_pairs}{of_pairs}, {speed:,.0f} cells a second, {_clock(seconds)} elapsed"
        if self.n_cells is not None and self.done_cells:
            left = (self.n_cells - self.done_cells) / max(speed, 1e-9)
            text += f", {_clock(left)} left"
        return text


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _clock(3725)
    '1:02:05'
    """
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}"
