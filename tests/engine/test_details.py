"""Details of a map: each option's log-probability beside the score, the same by every engine, none where it isn't asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from xtl.backend import forward
from xtl.engine.loop import score_loop
from xtl.engine.plan import Confidence
from xtl.engine.prepare import SweepSettings, check_cells, prepare
from xtl.models.info import ModelInfo
from xtl.results import gold_option
from xtl.results.units import NORMALISATIONS, UNITS
from xtl.scoring.likelihood import TIE, Question
from xtl.tokens import encode

ENGINES = ("loop", "batched", "packed")
BACKENDS = ("hooked", "bridge")
OPTIONS = ("a", "bc", "d", "efg")
PAIR = xtl.ParallelPair(SOURCE, TARGET, options=OPTIONS, gold=2)
SMALL = {"modules": ["mlp"], "source_layers": [0, 2]}


def logprobs(model, normalise="none", **settings):
    """What the plain loop gives, vanilla first."""
    asked = prepare(model, PAIR, SweepSettings(**settings, normalise=normalise), check_cells(model, **settings))
    return asked.question, torch.stack([values for _, values in score_loop(model, asked.plan)]).double()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [OPTIONS, ("a", "b", "c")])
def test_each_option_has_its_share_by_every_engine_and_the_score_is_the_golds(tiny_model, backend, engine, options):
    """Options of unequal lengths, and of equal ones, where the packed engine leaves out what all share."""
    model, pair = tiny_model("llama", backend), xtl.ParallelPair(SOURCE, TARGET, options=options, gold=2)
    found = xtl.sweep(model, pair, **SMALL, engine=engine, details="options", verify=0)
    loop = xtl.sweep(model, pair, **SMALL, engine="loop", details="options")
    gold = int(gold_option(found))
    assert gold == 2
    assert found.option_logprob.dims == ("module", "source_layer", "target_layer", "option")
    assert found.option.values.tolist() == list(range(len(options)))
    for own in ("", "vanilla_"):
        shares = found[f"{own}option_logprob"]
        assert shares.dtype == np.float32
        np.testing.assert_array_equal(shares.sel(option=gold), found[f"{own}score"])
        np.testing.assert_allclose(np.exp(shares.astype(float)).sum("option"), 1, atol=1e-5)
        np.testing.assert_allclose(shares, loop[f"{own}option_logprob"], atol=2e-5)
        np.testing.assert_array_equal(shares.argmax("option") == gold, found[f"{own}correct"])
    assert found.option_logprob.attrs["unit"] == "nats"


@pytest.mark.parametrize("normalise", NORMALISATIONS)
def test_by_length_there_are_the_shares_of_each_normalisation(tiny_model, normalise):
    model = tiny_model("llama")
    found = xtl.sweep(model, PAIR, **SMALL, normalise=normalise, details=["options"])
    _, raw = logprobs(model, **SMALL)
    lengths = {"raw": np.ones(4), "per_token": np.array([1, 2, 1, 3]), "per_byte": np.array([1, 2, 1, 3])}
    for key, suffix in NORMALISATIONS.items():
        name = f"option_logprob_{suffix}"
        assert (name in found) == (normalise != "none")
        if name in found:
            values = raw.numpy()[1:] / lengths[suffix]
            want = values - np.logaddexp.reduce(values, axis=-1, keepdims=True)
            np.testing.assert_allclose(found[name].values.reshape(-1, 4), want, atol=2e-5)
            np.testing.assert_array_equal(found[name].sel(option=2), found[f"score_{suffix}"])
            assert found[name].attrs["unit"] == UNITS[key]
            if key == normalise:
                np.testing.assert_array_equal(found[name], found.option_logprob)
    assert found.option_logprob.attrs["unit"] == UNITS[normalise]


@pytest.mark.parametrize("engine", ENGINES)
def test_details_change_nothing_else(tiny_model, engine):
    plain = xtl.sweep(tiny_model("llama"), PAIR, **SMALL, engine=engine)
    found = xtl.sweep(tiny_model("llama"), PAIR, **SMALL, engine=engine, details="options")
    assert plain.identical(found.drop_dims("option"))
    assert not [name for name in plain.variables if "option_" in str(name)]
    assert set(found.data_vars) - set(plain.data_vars) == {"option_logprob", "vanilla_option_logprob"}


@given(st.lists(st.floats(-30, 0), min_size=2, max_size=6), st.data())
def test_an_option_is_right_where_its_share_is_the_largest_but_not_at_ties(values, data):
    gold = data.draw(st.integers(0, len(values) - 1))
    asked = Question(tuple((k,) for k in range(len(values))), gold, True)
    shares = asked.shares(torch.tensor(values, dtype=torch.float64))
    assert float(shares[gold]) == float(asked.score(torch.tensor(values, dtype=torch.float64)))
    second, first = shares.sort().values[-2:]
    assert bool(asked.correct(torch.tensor(values))) == (int(shares.argmax()) == gold and float(first - second) > TIE)
    shifted = asked.shares(torch.tensor(values, dtype=torch.float64) + 3.0)
    torch.testing.assert_close(shifted, shares)


def test_pairs_of_unequal_numbers_of_options_come_together(tiny_model):
    pairs = [PAIR, xtl.ParallelPair(SOURCE, TARGET, options=("x", "y"), gold=1)]
    single = [xtl.sweep(tiny_model("llama"), pair, **SMALL, details="options") for pair in pairs]
    found = xtl.concat_maps(single)
    assert found.option_logprob.sizes["option"] == 4
    assert found.option_logprob.isel(example=1, option=slice(2, None)).isnull().all()
    assert found.vanilla_option_logprob.isel(example=1, option=slice(2, None)).isnull().all()
    np.testing.assert_array_equal(found.option_logprob.isel(example=1, option=slice(2)), single[1].option_logprob)
    assert gold_option(found).values.tolist() == [2, 1]
    assert found.option_logprob.dtype == np.float32
    assert xtl.concat_maps([found, found.assign_coords(example=["c", "d"])]).sizes["example"] == 4
    assert "option" not in xtl.results.mean_maps(found).dims


def test_maps_with_and_without_details_do_not_come_together(tiny_model):
    maps = [xtl.sweep(tiny_model("llama"), PAIR, **SMALL, details=details) for details in ("options", ())]
    with pytest.raises(xtl.InputError, match="hold different things: option_logprob, vanilla_option_logprob is in one"):
        xtl.concat_maps(maps)


def test_details_that_mean_nothing_are_refused(tiny_model, untyped):
    model = tiny_model("llama")
    with pytest.raises(
        xtl.InputError,
        match=r"unknown details 'option' \(did you mean 'options'\?\); valid: options, lens, state, confidence, agreement",
    ):
        xtl.sweep(model, PAIR, details="option")
    with pytest.raises(
        xtl.InputError, match="details must be names, got True; valid: options, lens, state, confidence, agreement"
    ):
        xtl.sweep(model, PAIR, details=True)
    with pytest.raises(xtl.InputError, match="details 'options' is of likelihood among options"):
        xtl.sweep(model, PAIR, details=["options"], max_new_tokens=2)
    with pytest.raises(
        xtl.InputError, match="details 'confidence' is of generated answers: leave it out where likelihood"
    ):
        xtl.sweep(model, PAIR, details=["confidence"])
    with pytest.raises(xtl.InputError, match="details 'options' needs options; this pair has an answer alone"):
        xtl.sweep(model, source=SOURCE, target=TARGET, answer="x", details="options")
    with pytest.raises(xtl.InputError, match="results do not say what their options were"):
        gold_option(xtl.stats.simulate(n_instances=2))


# --- agreement

OWN = xtl.ParallelPair(
    SOURCE,
    TARGET,
    "en",
    "de",
    options=OPTIONS,
    gold=2,
    source_options=("w", "x", "yz", "v"),
    distribution=(0.1, 0.2, 0.3, 0.4),
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_source_run_is_the_vanilla_run_of_the_question_in_the_source_language(tiny_model, backend, engine):
    model, settings = tiny_model("llama", backend), SMALL | {"engine": engine, "verify": 0}
    found = xtl.sweep(model, OWN, **settings, details=["agreement", "options"])
    own = xtl.sweep(model, OWN.in_source(), **settings, details="options")
    for name in ("score", "correct", "option_logprob"):
        np.testing.assert_allclose(found[f"source_{name}"], own[f"vanilla_{name}"], atol=2e-5, err_msg=name)
    assert found.source_score.attrs == own.vanilla_score.attrs
    chosen = found.option_logprob.argmax("option")
    np.testing.assert_array_equal(found.agrees_with_vanilla, chosen == found.vanilla_option_logprob.argmax("option"))
    np.testing.assert_array_equal(found.agrees_with_source, chosen == found.source_option_logprob.argmax("option"))
    assert 0 < found.agrees_with_vanilla.mean() < 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("settings", [{}, {"normalise": "byte"}, {"max_new_tokens": 2}])
def test_agreement_changes_nothing_else(tiny_model, engine, settings):
    settings = SMALL | settings | {"engine": engine}
    plain = xtl.sweep(tiny_model("llama"), OWN, **settings)
    found = xtl.sweep(tiny_model("llama"), OWN, **settings, details="agreement")
    assert plain.identical(found[list(plain.data_vars)])
    extra = {"source_text", "source_tokens"} if "max_new_tokens" in settings else {"source_score", "source_correct"}
    assert set(found.data_vars) - set(plain.data_vars) == {"agrees_with_vanilla", "agrees_with_source"} | extra


def test_every_cell_agrees_with_vanilla_where_nothing_is_transplanted(tiny_model):
    """A prompt's module onto itself, layer i to i; and the source run of a prompt onto itself is vanilla."""
    for settings in ({"options": OPTIONS, "gold": 2}, {"max_new_tokens": 3}):
        found = xtl.sweep(
            tiny_model("llama"), source=TARGET, target=TARGET, modules=["mlp"], details="agreement", **settings
        )
        assert all(bool(found.agrees_with_vanilla.isel(source_layer=k, target_layer=k)) for k in range(4))
        np.testing.assert_array_equal(found.agrees_with_source, found.agrees_with_vanilla)
        assert not found.agrees_with_vanilla.all()


def test_a_run_that_chose_nothing_agrees_with_none():
    asked = Question(((1,), (2,), (3,)), 0, True)
    values = torch.tensor([[-1.0, -1.0, -2.0], [-1.0, -2.0, -1.0 - 2 * TIE], [-3.0, -2.0, -2.0]])
    assert asked.choice(values).tolist() == [-1, 0, -1]


@pytest.mark.parametrize("engine", ENGINES)
def test_generated_answers_agree_where_they_are_read_alike(tiny_model, engine, monkeypatch):
    from xtl.engine import details as room
    from xtl.scoring.names import get_text_score

    said = iter(
        ["The B.", "(B)", "b", "A", "A or B", "no", "(A) or", "B", "B"]
    )  # in the order in which they are decoded
    monkeypatch.setattr("xtl.engine.label.decode", lambda model, tokens: next(said))
    monkeypatch.setattr(room, "decode", lambda model, tokens: "The answer is (B)")
    pair = xtl.ParallelPair(
        SOURCE, TARGET, options=(" (A)", " (B)"), gold=0, labels=("Yes", "No"), source_labels=("Oui", "Non")
    )
    found = xtl.sweep(
        tiny_model("llama"), pair, **SMALL, engine=engine, max_new_tokens=1, details="agreement",
        text_score=get_text_score("strict"), verify=0,
    )  # fmt: skip
    assert found.vanilla_text.item() == "The B."
    assert found.agrees_with_source.values.ravel().tolist() == [True, True, False, False, True, False, True, True]
    assert not found.agrees_with_vanilla.any()  # which named none
    assert not bool(found.source_correct)
    assert found.source_text.item() == "The answer is (B)"


def test_a_pairs_own_options_of_the_source_are_checked():
    ends = {"source": SOURCE, "target": TARGET, "options": ("a", "b"), "gold": 0}
    with pytest.raises(xtl.InputError, match="source_options has 1 items for 2 options"):
        xtl.ParallelPair(**ends, source_options=("x",))
    with pytest.raises(xtl.InputError, match="the source's own options, labels and answers: options must differ"):
        xtl.ParallelPair(**ends, source_options=("x", "x"))
    with pytest.raises(xtl.InputError, match="the source's own options, labels and answers: answers must be a list"):
        xtl.ParallelPair(SOURCE, TARGET, answers=["a"], source_answers="b")


def test_own_options_that_do_not_fit_are_told_before_the_map(tiny_model):
    pair = xtl.ParallelPair(SOURCE, TARGET, options=("a", "b"), gold=0, source_options=("x", "y" * 200))
    with pytest.raises(
        xtl.InputError, match=r"'agreement', the source prompt's own answer: target with 'y+' has 224 tok"
    ):
        xtl.sweep(tiny_model("llama"), pair, details="agreement")


# --- confidence


def by_hand(model, tokens):
    """Mean log-probability, margin and entropy of vanilla's answer, from one pass over prompt and answer."""
    prompt, said = encode(model, TARGET), [int(token) for token in tokens if token >= 0]
    logits = forward(model, [*prompt, *said[:-1]], keep=len(said)).double()
    logprobs, first = logits.log_softmax(dim=-1), logits[0].sort().values
    own = logprobs[torch.arange(len(said)), said].mean()
    return [float(own), float(first[-1] - first[-2]), float(-(logprobs[0].exp() * logprobs[0]).sum())]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("steps", ["first", "every"])
def test_every_engine_says_how_sure_the_model_is(tiny_model, monkeypatch, backend, engine, steps):
    """Answers of different lengths, some of which end."""
    model = tiny_model("llama", backend)
    monkeypatch.setattr(model, "xtl_info", ModelInfo("tiny", eos_token_ids=tuple(range(0, tiny.VOCAB, 7))))
    asked = {"source": SOURCE, "target": TARGET, "max_new_tokens": 6, "steps": steps, "source_layers": [0, 2]}
    asked["target_layers"] = [0, 3]
    found = xtl.sweep(model, **asked, engine=engine, details="confidence", verify=0)
    loop = found if engine == "loop" else xtl.sweep(model, **asked, engine="loop", details="confidence")
    assert len(np.unique((found.tokens >= 0).sum("step"))) > 1
    own = [float(found[f"vanilla_{name}"]) for name in Confidence._fields]
    np.testing.assert_allclose(own, by_hand(model, found.vanilla_tokens.values), atol=2e-4)
    for name in Confidence._fields:
        assert found[name].dtype == np.float32
        assert found[name].dims == ("module", "source_layer", "target_layer")
        np.testing.assert_allclose(found[name], loop[name], atol=2e-4, err_msg=name)
    assert float(found.answer_logprob.max()) <= 0
    assert float(found.first_margin.min()) >= 0
    assert 0 <= float(found.first_entropy.min()) <= float(found.first_entropy.max()) <= np.log(tiny.VOCAB) + 1e-5
    plain = xtl.sweep(model, **asked, engine=engine, verify=0)
    assert plain.identical(found[list(plain.data_vars)])


def test_the_source_run_says_it_too(tiny_model):
    asked = {"source": SOURCE, "target": TARGET, "max_new_tokens": 3, "source_layers": [0]}
    found = xtl.sweep(tiny_model("llama"), **asked, details=["agreement", "confidence"])
    own = xtl.sweep(tiny_model("llama"), **(asked | {"target": SOURCE}), details="confidence")
    for name in Confidence._fields:
        np.testing.assert_allclose(found[f"source_{name}"], own[f"vanilla_{name}"], atol=2e-5)
    np.testing.assert_array_equal(found.source_tokens, own.vanilla_tokens)
