"""What an analysis is asked: stored runs, or a model and its questions, and options. Runs and model come when they are asked for.

>>> request = Request(runs=["runs/a", "runs/b/results.parquet"], by="task")
>>> request.run_names(), request.given("by", "cell")
(['a', 'b'], {'by': 'task'})
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtl.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from xtl.backend import Model
    from xtl.pairs import ParallelPair

OPTIONS = {
    "control": "a stored run of a control",
    "against": "another stored run",
    "by": "direction or task",
    "cell": "attn,12,13 for a cell",
    "labels": "language,answer",
    "activations": "a folder",
    "run": "the folder of a stored run",
}
"""What an analysis can take beside what it needs, with an example; a "run" is taken by those that need a model."""
LABELS = ("language",)


@dataclass
class Request:
    """What an analysis is given.

    Attributes:
        runs: stored runs: a `results.parquet`, a folder that holds one, or the folder of `xtl run`.
        control: a stored control run, or several of different seeds for an analysis that takes several.
        against: a second stored run, to compare the first one with.
        load: gives the model; called once, and only by analyses that need it.
        pairs, back: the questions, and those of the opposite directions.
        cell: module, source layer, target layer.
        by: how examples are grouped.
        labels: of probes.
        activations: folder where activations are looked up and kept, for analyses that read them alone.
        chat: whether pairs are wrapped in the model's chat template (see `xtl.chat_pairs`).
    """

    runs: Sequence[str | os.PathLike[str]] = ()
    control: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None
    against: str | os.PathLike[str] | None = None
    load: Callable[[], Any] | None = None
    pairs: Sequence[ParallelPair] = ()
    back: Sequence[ParallelPair] = ()
    cell: tuple[str, int, int] | None = None
    by: str | None = None
    labels: Sequence[str] = LABELS
    activations: Path | None = None
    chat: bool | str = False

    def given(self, *names: str) -> dict[str, Any]:
        """Those of some attributes that were given: `compute(run, **request.given("by"))` leaves the rest at its defaults."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def given_options(self, *, run: bool) -> dict[str, Any]:
        """The options among what was given; the runs are one (`run`) for an analysis that needs a model."""
        found = self.given("control", "against", "by", "cell", "activations")
        found |= {} if tuple(self.labels) == LABELS else {"labels": self.labels}
        return found | ({"run": self.runs} if run and self.runs else {})

    def open_run(self) -> xr.Dataset:
        """The run, or the first of several.

        Raises:
            InputError: no run there, or none given.
        """
        if not self.runs:
            raise InputError("no stored run is given: give its folder")
        return _open(self.runs[0])

    def open_apart(self) -> list[xr.Dataset]:
        """The run, with tasks that are not scored alike each for itself: for analyses that put no two of them together."""
        from xtl.runs.reading import open_apart  # torch, too

        if not self.runs:
            raise InputError("no stored run is given: give its folder")
        return open_apart(self.runs[0])

    def open_runs(self) -> dict[str, xr.Dataset]:
        """All runs by name (see `run_names`)."""
        return {name: _open(path) for name, path in zip(self.run_names(), self.runs, strict=True)}

    def open_control(self) -> xr.Dataset | None:
        """The control run, or the first of several; None where none is given."""
        return next(iter(self.open_controls()), None)

    def open_controls(self) -> list[xr.Dataset]:
        """All control runs, in order."""
        return [_open(path) for path in self.controls]

    @property
    def controls(self) -> list[str | os.PathLike[str]]:
        """Where the control runs are."""
        one = self.control
        return [] if one is None else [one] if isinstance(one, (str, os.PathLike)) else [*one]

    def open_against(self) -> xr.Dataset | None:
        """The run to compare with; None where none is given."""
        return None if self.against is None else _open(self.against)

    def run_names(self) -> list[str]:
        """Names of the runs' folders (the file's, for a loose file), made different where two are the same.

        Raises:
            InputError: a run given twice.
        """
        paths = [Path(path) for path in self.runs]
        names = [path.parent.name if path.name == "results.parquet" else path.stem for path in paths]
        if len(set(names)) < len(names):
            names = [str(path) for path in paths]
        if len(set(names)) < len(names):
            raise InputError(f"a run is given twice: {', '.join(names)}")
        return names

    def load_model(self) -> Model:
        """The model.

        Raises:
            InputError: none is given.
        """
        if self.load is None:
            raise InputError("no model is given: give a task and directions")
        return self.load()

    def questions(self, model: Model) -> tuple[list[ParallelPair], list[ParallelPair]]:
        """The questions and those of the opposite directions, in the model's chat template where `chat` says so."""
        from xtl.models.chat import chat_pairs  # torch, which a request of stored runs needs later or not at all

        return chat_pairs(model, self.pairs, self.chat), chat_pairs(model, self.back, self.chat)


def _open(path: str | os.PathLike[str]) -> xr.Dataset:
    from xtl.runs.reading import open_results, say_extent  # torch, too

    return say_extent(Path(path), open_results(path))
