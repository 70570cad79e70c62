"""An analysis: one question, what it needs, and the functions that compute, draw and say the answer.

>>> import xarray as xr
>>> from xtl import stats
>>> from xtl.analysis import Request
>>> spread = Analysis(
...     "spread", "How much do gains vary?", "run",
...     from_request=lambda request: request.open_run()[["gain"]].std("example"),
...     figures=lambda data: {},
...     words=lambda data: [f"The widest cell has {float(data['gain'].max()):.1f} nats."],
... )
>>> spread.check(Request(runs=["runs/capitals"], by="task"))
Traceback (most recent call last):
...
xtl.errors.InputError: spread takes no by; it takes: nothing more
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xtl.analysis.request import OPTIONS, Request
from xtl.errors import InputError, check_choice, shown
from xtl.languages import arrow

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

NEEDS = ("run", "runs", "run and control", "model")
"""What an analysis works on: a stored run, one or several, a run and its control, or a model that it runs itself."""


@dataclass(frozen=True)
class Analysis:
    """One analysis: what it asks, what it must be given, and its functions.

    Attributes:
        name: the command's word for it, and the name of its data's file: letters, digits and `_`.
        question: what it asks, in one line.
        needs: one of `NEEDS`.
        from_request: computes labelled data from a request (see `Request` for what that can give).
        figures: every figure of those data, by the name of its file.
        words: what was found, in sentences.
        options: flags of `xtl analyse` that it takes beside the run or the model: some of `xtl.analysis.request.OPTIONS`.
        needed: those of them that must be given.
        several_controls: whether it takes more than one control run.

    Raises:
        InputError: a name that can't be a file's, an unknown need or option.
    """

    name: str
    question: str
    needs: str
    from_request: Callable[[Request], xr.Dataset]
    figures: Callable[[xr.Dataset], dict[str, go.Figure]]
    words: Callable[[xr.Dataset], list[str]]
    options: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    several_controls: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"\w+", self.name):
            raise InputError(f"an analysis's name must be letters, digits and _, got {shown(self.name)}")
        check_choice(f"needs of the analysis {self.name}:", self.needs, NEEDS)
        for argument, names, choices in (("options", self.options, OPTIONS), ("needed", self.needed, self.options)):
            for option in names:
                check_choice(f"{argument} of the analysis {self.name}:", option, choices)

    def check(self, request: Request) -> None:
        """Raise `InputError` where something is missing, or doesn't belong; nothing is opened or loaded."""
        given = request.given_options(run=self.needs == "model")
        takes = (*self.options, *(["control"] if self.needs == "run and control" else []))
        for option in given:
            if option not in takes:
                raise InputError(f"{self.name} takes no {option}; it takes: {', '.join(takes) or 'nothing more'}")
        for option in self.needed:
            if option not in given:
                raise InputError(f"{self.name} needs {option} (such as {OPTIONS[option]})")
        self._check_needs(request)

    def _check_needs(self, request: Request) -> None:
        if self.needs == "model" and (not request.pairs or request.load is None):
            raise InputError(f"{self.name} runs the model: give a task and directions")
        if self.needs != "model" and not request.runs:
            raise InputError(f"{self.name} works on a stored run: give its folder")
        if self.needs in ("run", "run and control") and len(request.runs) > 1:
            raise InputError(f"{self.name} takes one run, and {len(request.runs)} were given")
        if self.needs == "run and control" and not request.controls:
            raise InputError(f"{self.name} compares a run with a control: give control")
        if len(request.controls) > 1 and not self.several_controls:
            raise InputError(f"{self.name} takes one control, and {len(request.controls)} were given")
        if len({*map(str, request.controls)}) < len(request.controls):
            raise InputError("control names a run twice: give controls of different seeds")

    def run(self, request: Request) -> xr.Dataset:
        """Compute it.

        Raises:
            InputError: what `check` refuses, what the analysis itself does, and data that are no Dataset.
        """
        import xarray as xr

        self.check(request)
        data = self.from_request(request)
        if not isinstance(data, xr.Dataset):
            raise InputError(f"the analysis {self.name} gives a {type(data).__name__}; it must give an xarray.Dataset")
        return data

    def told(self, data: xr.Dataset) -> list[str]:
        """Its sentences as readers see them: directions and cells with an arrow."""
        return [arrow(sentence) for sentence in self.words(data)]


def words_of_each(name: str, in_words: Callable[[xr.Dataset, str], list[str]]) -> Callable[[xr.Dataset], list[str]]:
    """All words of data that are told entry by entry, each sentence after its entry.

    Args:
        name: of the dim or coord whose entries are told: "direction", say.
        in_words: the sentences of one entry.

    >>> import xarray as xr
    >>> words = words_of_each("direction", lambda data, direction: ["Nothing helps."])
    >>> words(xr.Dataset(coords={"direction": ["en->es", "en->sw"]}))
    ['en->es: Nothing helps.', 'en->sw: Nothing helps.']
    """

    def words(data: xr.Dataset) -> list[str]:
        entries = dict.fromkeys(map(str, data[name].values))
        return [f"{entry}: {sentence}" for entry in entries for sentence in in_words(data, entry)]

    return words
