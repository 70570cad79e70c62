"""A misspelled keyword is told by the function that was called, with the nearest of its own; so are names of other schools."""

from __future__ import annotations

import importlib
import inspect

import jaxtyping
import numpy
import pytest

import xtl
from xtl.errors import known_keywords
from xtl.hooks import get_modules
from xtl.protocols import fixed, pairwise, select

CALLS = [
    (xtl.sweep, "sweep", "target_layer", "target_layers"),
    (xtl.sweep, "sweep", "module", "modules"),
    (xtl.sweep_many, "sweep_many", "engin", "engine"),
    (xtl.sweep_many, "sweep_many", "module", "modules"),
    (xtl.controls.run, "controls.run", "source_layer", "source_layers"),
    (xtl.controls.make, "controls.make", "sed", "seed"),
    (xtl.run_study, "run_study", "worker", "workers"),
    (xtl.transplant, "transplant", "target_layers", "target_layer"),
    (xtl.explore, "explore", "ngine", "engine"),
    (xtl.load_model, "load_model", "dtpe", "dtype"),
    (pairwise, "pairwise", "langages", "languages"),
    (fixed, "fixed", "langages", "languages"),
    (select, "select", "strategi", "strategy"),
]


@pytest.mark.parametrize(("function", "name", "given", "nearest"), CALLS)
def test_an_unknown_keyword_names_the_function_that_was_called(function, name, given, nearest, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    message = f"^{name} has no argument '{given}' .did you mean '{nearest}'.*; valid: "
    with pytest.raises(xtl.InputError, match=message) as error:
        function(None, None, None, **{given: 1}) if name.startswith("controls") else function(**{given: 1})
    assert isinstance(error.value, TypeError)  # what Python itself raises
    assert "\n" not in str(error.value)


def test_what_fixed_refuses_it_refuses_in_its_own_words():
    with pytest.raises(xtl.InputError, match="fixed takes no source_layers: its cell is the paper's"):
        fixed(None, "capitals", source_layers=[0])


@pytest.mark.parametrize(
    ("name", "meant"),
    [("ffn", "mlp"), ("FFN", "mlp"), ("MLP", "mlp"), ("feed-forward", "mlp"), ("attention", "attn"), ("Attn", "attn"),
     ("residual", "resid"), ("resid_post", "resid"), ("attn_relesed", "attn_released")],
)  # fmt: skip
def test_other_names_of_modules_are_known_for_what_they_mean(name, meant):
    with pytest.raises(xtl.InputError, match=f"unknown module '{name}' .did you mean '{meant}'"):
        get_modules([name])


def test_a_long_name_is_cut_in_the_message():
    with pytest.raises(xtl.InputError) as error:
        get_modules(["x" * 10**6])
    assert len(str(error.value)) < 500


CALLED = [
    lambda: xtl.pairs_from(),
    lambda: xtl.get_task("capitals").pairs("en"),
    lambda: xtl.get_task("capitals").pairs("en", "es", 5),
    lambda: xtl.get_task("capitals").pairs("en", "es", source_lang="en"),
    lambda: xtl.ParallelPair(),
    lambda: xtl.Policy("attn", layer=3),
    lambda: xtl.sweep(),
]
SAYS = [
    "pairs_from needs table; it takes: table, source",
    "pairs needs target_lang; it takes: source_lang, target_lang, limit",
    "pairs takes 2 arguments without a name (source_lang, target_lang), and 3 are given; give the others by name: source_lang",
    "pairs is given source_lang twice, by its place and by name",
    "ParallelPair needs source and target; it takes: source, target",
    "Policy has no argument 'layer'; valid: module, target_layer",
    "sweep needs model; it takes: model",
]


@pytest.mark.parametrize(("call", "says"), list(zip(CALLED, SAYS, strict=True)))
def test_a_call_that_does_not_fit_says_what_is_lacking_and_what_there_is(call, says, untyped):
    with pytest.raises(xtl.InputError) as error:
        call()
    assert says in str(error.value)
    assert "\n" not in str(error.value)


FACES = ("xtl", "xtl.plots", "xtl.stats", "xtl.selectors", "xtl.protocols", "xtl.gradients", "xtl.runs", "xtl.publish")
PLAIN = {"check_seeds", "escape", "readable", "relabel", "saturation", "symmetric_limit"}
"""Helpers for authors; `check_seeds` takes any name."""


@pytest.mark.parametrize("face", FACES)
def test_every_public_function_tells_a_wrong_call_by_its_own_name(face, untyped):
    module = importlib.import_module(face)
    for name in set(module.__all__) - PLAIN:
        if inspect.isfunction(function := getattr(module, name)):
            with pytest.raises(xtl.InputError, match=r"has no argument 'wrongly'|unknown argument 'wrongly'|needs "):
                function(wrongly=1)


@pytest.mark.parametrize("options", [{"a", "b"}, {"a": 1, "b": 2}, iter("ab"), 5])
def test_options_without_an_order_are_refused(options, untyped):
    with pytest.raises(xtl.InputError, match="options must be a list or a tuple, got the "):
        xtl.ParallelPair("x", "y", options=options, gold=0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: xtl.KeptMaps(None), "folder must be str | path, got None"),
        (lambda: xtl.plots.heatmap_grid([None], columns=1, title=""), "panels must be Sequence[Panel], got [None]"),
        (lambda: xtl.stats.summary_wide([]), "table must be DataFrame, got []"),
        (lambda: xtl.Study(tasks=5), "study: tasks"),
        (lambda: xtl.Policy("attn", target_layer=1, source_layer=0, alpha=10**400), "alpha must be a number, got 1000"),
        (
            lambda: xtl.get_task("capitals").pairs(numpy.zeros(2), "es"),
            "unknown source_lang array([0., 0.]); valid: en",
        ),
        (
            lambda: xtl.get_task("capitals").pairs("en", "es", limit=numpy.zeros((2, 2))),
            "got array([[0., 0.], [0., 0.]])",
        ),
    ],
)
def test_an_argument_of_another_kind_is_told_in_one_line(call, says, untyped):
    with pytest.raises(xtl.InputError) as error:
        call()
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_what_fails_for_another_reason_fails_as_it_did():
    @known_keywords()
    def fail(number: int) -> None:
        raise ValueError("for a reason of its own")

    with pytest.raises(ValueError, match=r"^for a reason of its own$") as error:
        fail(3)
    assert not isinstance(error.value, xtl.InputError)
