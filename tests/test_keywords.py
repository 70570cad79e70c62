"""A misspelled keyword is told by the function that was called, with the nearest of its own; so are names of other schools."""

from __future__ import annotations

import jaxtyping
import pytest

import xtl
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
