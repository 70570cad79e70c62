"""What is reported of a run's jobs (a map, a failure, a loaded model, a word to the user) and of its workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xtl.engine.engines import Slow


@dataclass(frozen=True)
class MapFiles:
    """A computed map on its way to the store: the bytes of its two Parquet files.

    Attributes:
        number: the job's.
        cells: bytes of its part of `cells`.
        vanilla: bytes of its part of `vanilla`.
        seconds: what it took to compute.
        n_cells: its cells.
        mixed: an option that was tokenised alone where others were not, if there is one (see `Question.mixed`).
    """

    number: int
    cells: bytes = field(repr=False)
    vanilla: bytes = field(repr=False)
    seconds: float = 0.0
    n_cells: int = 0
    mixed: str | None = None


@dataclass(frozen=True)
class Failure:
    """A job that failed, and why, in one line."""

    number: int
    reason: str


@dataclass(frozen=True)
class LoadedModel:
    """A model that a worker has loaded.

    Attributes:
        name: in the store.
        record: what identifies it.
        slow: why it runs as slowly as it does, if there is a reason.
    """

    name: str
    record: dict[str, Any]
    slow: Slow | None = None


@dataclass(frozen=True)
class Notice:
    """Something that the user should know of a worker, in one line; the work goes on."""

    text: str


@dataclass(frozen=True)
class Ready:
    """A worker has started and takes jobs."""


@dataclass(frozen=True)
class FailedWorker:
    """A worker died; a new one may take its place."""

    why: str


@dataclass(frozen=True)
class Stopped:
    """A worker can't go on: its model can't be loaded."""

    why: str


Report = MapFiles | Failure | LoadedModel | Notice
"""What a run takes in."""
WorkerReport = Report | Ready | FailedWorker | Stopped
"""What a worker pool hears of its workers."""
