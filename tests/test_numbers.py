"""Whatever is asked for as a number, a flag or a list of numbers is checked to be one, in every public function.

The table says how each function is called rightly; the arguments are found in its signature. A mistake must be an `InputError`
of one line that names the argument: nothing is taken for something else (True for 1, "3" for 3, 1.5 for 1).
"""

from __future__ import annotations

import importlib
import inspect
import math
from typing import Any

import jaxtyping
import numpy as np
import pytest
import xarray as xr

import xtl
from analyses import alignment, linear_probes  # noqa: F401  # so that what follows times no import
from tests.conftest import SOURCE, TARGET
from xtl import stats
from xtl.plots.forest import Estimate
from xtl.plots.lines import Line
from xtl.plots.maps import Panel
from xtl.scoring import squad
from xtl.scoring.distribution import option_shares, similarity
from xtl.scoring.names import get_text_score

NAN = math.nan
NO_NUMBERS: list[Any] = [True, False, "3", "", [], [1], {}, np.bool_(True), b"3", 1j, NAN, math.inf, object()]
NO_WHOLE = [*NO_NUMBERS, 1.5, 2.0, np.float64(2)]
NO_FLAGS: list[Any] = [1, 0, "no", "true", "", [], 1.0, np.bool_(True)]
FEW: dict[str, Any] = {
    "n_resamples": 100,
    "n_splits": 10,
    "n_instances": 6,
    "n_layers": 2,
    "n_folds": 2,
    "n_controls": 1,
}
LEAST = {
    "n_resamples": 100, "n_splits": 10, "n_instances": 1, "n_layers": 1, "n_folds": 2, "n_controls": 1, "min_instances": 1,
    "max_new_tokens": 1, "seed": 0, "control_seed": 0, "instances": 0, "top": 1, "shots": 1, "columns": 1, "max_bytes": 1,
    "width": 1, "height": 1, "decimals": 0, "actors": 1, "verify": 0, "sample": 0, "points": 1, "chunk_size": 1,
}  # fmt: skip
"""The least value of whole numbers; what is not here has none, or a kind of its own."""


def real():
    return stats.simulate(n_instances=12, languages=["es", "sw"], n_layers=2, seed=1)


def chance():
    return stats.simulate(n_instances=12, languages=["es", "sw"], n_layers=2, seed=1, control=True)[1]


def figure():
    return xtl.plots.gain_map(real())


def panel():
    values = xr.DataArray(np.zeros((2, 2)), dims=["source_layer", "target_layer"])
    return Panel("a", values.assign_coords(source_layer=[0, 1], target_layer=[0, 1]), values + 1, "")


def pairs():
    return xtl.get_task("capitals").pairs("en", "es", limit=8)


CALLS: dict[str, Any] = {
    "xtl.stats.cell_intervals": lambda model: {"real": real(), "control": chance()},
    "xtl.stats.cell_stability": lambda model: {"results": real()},
    "xtl.stats.cell_transfer": lambda model: {"results": real()},
    "xtl.stats.held_out": lambda model: {"real": real(), "control": chance()},
    "xtl.stats.layer_intervals": lambda model: {"real": real(), "control": chance()},
    "xtl.stats.layer_upper_bounds": lambda model: {"real": real(), "control": chance()},
    "xtl.stats.select_cell": lambda model: {"results": real()},
    "xtl.stats.significance": lambda model: {"real": real(), "control": chance()},
    "xtl.stats.simulate": lambda model: {},
    "xtl.stats.summary_table": lambda model: {"real": real(), "control": chance()},
    "xtl.stats.upper_bound_curve": lambda model: {"real": real(), "control": chance()},
    "xtl.controls.run": lambda model: {"model": model, "pairs": pairs(), "control": "zero"},
    "xtl.controls.make": lambda model: {"model": model, "pairs": pairs(), "control": "zero"},
    "xtl.plots.save_png": lambda model: {"figure": figure(), "path": "x.png"},
    "xtl.plots.image_bytes": lambda model: {"figure": figure(), "form": "svg"},
    "xtl.plots.maps.heatmap_grid": lambda model: {"panels": [panel()], "columns": 1, "title": "t"},
    "xtl.plots.lines.line_grid": lambda model: {
        "panels": [("a", [Line("attn", [0], np.zeros(1))])],
        "columns": 1,
        "title": "t",
        "subtitle": "s",
        "y": "nats",
    },
    "xtl.plots.forest.forest": lambda model: {
        "panels": [("a", [Estimate("es", "attn", 0.2, 0.1, 0.3)])],
        "title": "t",
        "subtitle": "s",
        "x": "nats",
        "zero": True,
    },
    "xtl.protocols.pairwise": lambda model: {"model": model, "task": "capitals", "languages": ["es"]},
    "xtl.protocols.fixed": lambda model: {"model": model, "task": "capitals", "languages": ["es"]},
    "xtl.protocols.select": lambda model: {"model": model, "task": "capitals", "languages": ["es"], "sample": real()},
    "xtl.sweep": lambda model: {"model": model, "source": SOURCE, "target": TARGET, "options": ("a", "b"), "gold": 0},
    "xtl.sweep_many": lambda model: {"model": model, "pairs": pairs()},
    "xtl.transplant": lambda model: {
        "model": model,
        "source": SOURCE,
        "target": TARGET,
        "module": "attn",
        "source_layer": 0,
        "target_layer": 1,
    },
    "xtl.attribution": lambda model: {"model": model, "pair": pairs()[0]},
    "xtl.get_task": lambda model: {"name": "capitals"},
    "xtl.explore": lambda model: {"model": model, "pair": pairs()[0]},
    "xtl.run_study": lambda model: {"study": {"tasks": "capitals", "directions": ["en:es"], "limit": 1}, "out": "x"},
    "xtl.load_model": lambda model: {},
    "xtl.publish.render": lambda model: {"results": real()},
    "xtl.publish.write_report": lambda model: {"path": "x.html", "results": real()},
    "xtl.tasks.check_alignment": lambda model: {"source": ["a"], "target": ["b"]},
    "analyses.gain_maps.compute": lambda model: {"results": real()},
    "analyses.is_it_real.compute": lambda model: {"real": real(), "control": chance()},
    "analyses.upper_bound.compute": lambda model: {"real": real(), "control": chance()},
    "analyses.attn_vs_ffn.compute": lambda model: {"results": real(), "control": chance()},
    "analyses.linear_probes.compute": lambda model: {"model": model, "pairs": pairs()},
    "analyses.stability.compute": lambda model: {"runs": {"a": real(), "b": chance()}},
    "analyses.effectiveness.compute": lambda model: {
        "model": model,
        "pairs": pairs(),
        "back": xtl.get_task("capitals").pairs("es", "en", limit=8),
        "cell": ("attn", 0, 1),
    },
    "analyses.generalizability.compute": lambda model: {"results": real()},
}
"""Right arguments of each function, but those that are numbers or flags and have defaults."""


def function(name: str) -> Any:
    home, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(home), attribute)


def kind(parameter: inspect.Parameter) -> str | None:
    """What an argument is, by its annotation."""
    parts = {part.strip() for part in str(parameter.annotation).split("|")}
    if "bool" in parts:
        return "flag" if parameter.name != "chat" else None
    if parts & {"int", "Whole"}:
        return "number" if "float" in parts else "whole"
    return "number" if "float" in parts else None


def arguments() -> list[tuple[str, str, str, bool]]:
    return [
        (name, parameter.name, found, "None" in str(parameter.annotation))
        for name in CALLS
        for parameter in inspect.signature(function(name)).parameters.values()
        if (found := kind(parameter))
    ]


def wrong(argument: str, kind: str, may_be_none: bool) -> list[Any]:
    values = {"whole": NO_WHOLE, "flag": NO_FLAGS, "number": NO_NUMBERS}[kind]
    if argument == "alpha":  # several are an axis
        values = [value for value in values if value != [1]]
    if argument in ("source_layer", "target_layer"):
        values = [*values, 99, -99]
    if argument in ("confidence", "level"):
        values = [*values, 0, 1, -0.5, 1.5, 95]
    if argument in LEAST:
        values = [*values, LEAST[argument] - 1]
    return values if may_be_none else [*values, None]


@pytest.fixture
def untyped(monkeypatch, tmp_path):
    """Without the types that the tests check at run time: a user's mistake gets as far as the function itself."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("name", "argument", "kind", "may_be_none"), arguments(), ids=lambda value: str(value))
def test_what_is_no_number_is_refused(name, argument, kind, may_be_none, untyped, tiny_model, tmp_path):
    right = CALLS[name](tiny_model("llama"))
    few = {key: value for key, value in FEW.items() if key in inspect.signature(function(name)).parameters}
    taken = []
    for value in wrong(argument, kind, may_be_none):
        try:
            function(name)(**(right | few | {argument: value}))
        except xtl.InputError as error:
            assert argument in str(error), (value, str(error))  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        except Exception as error:
            taken.append((value, repr(error)))
        else:
            taken.append((value, "taken"))
    assert not taken
    assert not list(tmp_path.iterdir())


def test_every_public_function_with_a_number_is_in_the_table():
    known = {id(function(name)) for name in CALLS}
    missing = []
    for home in ("xtl", "xtl.stats", "xtl.controls", "xtl.protocols"):
        for name in importlib.import_module(home).__all__ if home != "xtl.controls" else ["run", "make"]:
            value = getattr(importlib.import_module(home), name)
            if inspect.isfunction(value) and id(value) not in known:
                missing += [f"{home}.{name}({p})" for p in inspect.signature(value).parameters.values() if kind(p)]
    assert missing == [
        "xtl.stats.check_seeds(**named: 'Whole | Iterable[Whole]')"
    ]  # which checks, and has tests of its own


@pytest.mark.parametrize(
    "name", ["xtl.stats.significance", "xtl.stats.held_out", "xtl.stats.summary_table", "xtl.stats.simulate"]
)
def test_numpys_numbers_are_taken(name, untyped):
    few = {key: value for key, value in FEW.items() if key in inspect.signature(function(name)).parameters} | {
        "seed": 3
    }
    numbers = {key: np.int64(value) for key, value in few.items()}
    right = CALLS[name](None)
    one, other = function(name)(**right, **few), function(name)(**right, **numbers)
    assert one.equals(other)


LOGPROBS = np.log([[0.5, 0.3, 0.2]])


@pytest.mark.parametrize(
    "shares",
    [
        None,
        True,
        "0.5",
        ["0.5", "0.3", "0.2"],
        [True, False, False],
        [0.5, None, 0.5],
        [0.5, True, 0],
        [[0.5], [0.3, 0.2]],
        0.5,
    ],
    ids=repr,
)
def test_shares_and_log_probabilities_are_numbers(shares, untyped):
    for name, call in [
        ("distribution", lambda: similarity(LOGPROBS, shares)),
        ("logprobs", lambda: similarity(shares, [0.5, 0.3, 0.2])),
        ("logprobs", lambda: option_shares(shares)),
    ]:
        with pytest.raises(xtl.InputError, match=f"^{name} must be .*numbers, got [^\n]*$"):
            call()


@pytest.mark.parametrize("score", [squad.exact_match, squad.f1, squad.contains])
def test_what_is_scored_as_a_text_is_one(score, untyped):
    for value in (None, True, 3, 1.5, ["a"], b"a"):
        with pytest.raises(xtl.InputError, match=r"^text must be a text, got"):
            score(value, ["a"])
        with pytest.raises(xtl.InputError, match=r"^answers must be a "):
            score("a", [value])
    for value in (None, True, 3, "a", [], {"a": 1}):
        with pytest.raises(xtl.InputError, match=r"^answers must be a list of texts, got"):
            score("a", value)
    with pytest.raises(xtl.InputError, match=r"^lang must be a text, got 3"):
        score("a", ["a"], 3)


@pytest.mark.parametrize("name", ["strict", "em", "f1", "contains"])
def test_what_a_text_score_rates_is_a_text(name, untyped):
    pair = xtl.ParallelPair("a", "b", **({"options": ("x", "y"), "gold": 0} if name == "strict" else {"answer": "x"}))
    for value in (None, True, 3, ["x"]):
        with pytest.raises(xtl.InputError, match="must be a text, got"):
            get_text_score(name).rate(value, pair)
