"""One clear line for what can't be judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from xtl import selectors
from xtl.errors import InputError
from xtl.selectors import Choice, MapView, Selector

REAL, CONTROLS = selectors.simulate(n_questions=24, n_layers=2)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"real": REAL.drop_vars("option_logprob")}, "real holds no option_logprob.*details=options"),
        ({"controls": CONTROLS[0].drop_vars("option_logprob")}, "control holds no option_logprob"),
        ({"controls": [REAL]}, "control is no control"),
        ({"controls": CONTROLS[0].assign_attrs(model="another")}, "real and control differ in model"),
        ({"controls": CONTROLS[0].isel(example=slice(10))}, "control lacks"),
        ({"controls": CONTROLS[0].isel(source_layer=[0])}, "must have the same cells"),
        ({"real": REAL.isel(example=slice(30)), "controls": ()}, "15 questions: a selector needs at least 20"),
        ({"selectors": ["vot"]}, "did you mean 'vote'"),
        ({"selectors": "router,vote"}, "unknown selectors"),
        ({"selectors": ["vote", "vote"]}, "'vote' twice"),
        ({"selectors": ["fixed"]}, "unknown selectors 'fixed'"),
        ({"across": "languages"}, "did you mean 'language'"),
        ({"across": "task"}, "these maps have one task, simulated"),
        ({"real": REAL.sel(example=REAL["target_lang"] == "es"), "controls": (), "across": "language"}, "one language, es"),
        ({"n_splits": 1}, "n_splits must be a whole number of at least 2"),
        ({"seed": -1}, "seed must be"),
        ({"features": xr.DataArray(np.zeros((3, 2)), dims=("example", "feature"))}, "features must have the dims example"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments: dict[str, object], line: str) -> None:
    given = {"real": REAL, "controls": CONTROLS, "selectors": ["vote"], "n_splits": 2} | arguments
    with pytest.raises(InputError, match=line) as error:
        selectors.evaluate(**given)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@dataclass
class Given(Selector):
    """Gives what it is told to."""

    choice: object = None
    name = "given"

    def choose(self, maps: MapView) -> Choice:
        return self.choice(maps.n)  # type: ignore[operator, no-any-return]


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        (lambda n: Choice(np.ones(n)), "it gave neither"),
        (lambda n: Choice(np.ones(n), cells=np.full(n, 4)), "must give 24 from -1 to 3"),
        (lambda n: Choice(np.ones(n), options=np.full(n, -1)), "from 0 to 3"),
        (lambda n: Choice(np.ones(n), cells=np.zeros(n, int), options=np.zeros(n, int)), "it gave both"),
        (lambda n: Choice(np.ones(n), cells=np.zeros(n)), "cells as float64; it must give whole numbers"),
        (lambda n: Choice(np.ones(n), options=np.ones(n, bool)), "options as bool; it must give whole numbers"),
        (lambda n: Choice(np.full(n, np.nan), cells=np.zeros(n, int)), "passes that is NaN"),
        (lambda n: np.zeros(n, int), r"must give an xtl\.selectors\.Choice, got array"),
        (lambda n: None, "got None"),
        (lambda n: Choice(np.ones(n - 1), options=np.zeros(n - 1, int)), r"shape \(23,\); it must give 24"),
    ],
)  # fmt: skip
def test_a_selector_that_chooses_what_is_not_there(untyped: None, choice: object, line: str) -> None:
    with pytest.raises(InputError, match=line):
        selectors.evaluate(REAL, [], [Given(choice)], n_splits=2)


def test_scores_that_are_nan_choose_no_option() -> None:
    @dataclass
    class Unsure(Selector):
        name = "unsure"

        def choose(self, maps: MapView) -> Choice:
            return Choice.of_scores(np.full((maps.n, 4), np.nan), maps, cells=1)

    with pytest.raises(InputError, match="scores of options hold NaN"):
        selectors.evaluate(REAL, [], [Unsure()], n_splits=2)


def test_a_selector_that_looks_for_the_answer_finds_none() -> None:
    @dataclass
    class Peeks(Selector):
        name = "peeks"

        def choose(self, maps: MapView) -> Choice:
            return Choice.of_scores(np.eye(4)[maps.gold], maps, cells=1)  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="gold"):
        selectors.evaluate(REAL, [], [Peeks()], n_splits=2)


def test_what_a_selector_lacks_is_said_in_its_row() -> None:
    alone = selectors.evaluate(REAL.drop_vars("source_option_logprob"), (), ["contrast", "vote"], n_splits=2)
    assert alone.loc["contrast", "reason"] == "needs a control to contrast with"
    assert alone.loc["source_answer", "reason"].endswith("details=options,agreement")
    assert alone.loc["vote", "accuracy"] > 0
    one = selectors.evaluate(REAL, CONTROLS[:1], ["contrast"], n_splits=2)
    assert "second control" in one.loc["contrast", "reason"]
    assert np.isnan(one.loc["contrast", "shuffled"])
    assert one.loc["contrast", "accuracy"] > 0
