"""Further axes of a map, on tiny models of several families and both backends: every engine gives the loop's map."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from tests.engine.test_packed import MODULES, assert_close
from xtl.engine import ENGINES
from xtl.runs.results import load_results, save_results
from xtl.tokens import encode
from xtl.transplants import read_activations

FAMILIES = ["llama", "gemma3", "gpt2", "bloom", "qwen2", "pythia"]
ASKED = {"source": SOURCE, "target": TARGET, "options": ("ab", "cd"), "gold": 0}
SOME = {"source_layers": [2], "target_layers": [1, 3]}
GENERATED = {"source": SOURCE, "target": TARGET, "max_new_tokens": 3}


def by_every_engine(model, **settings):
    """The loop's map, with which those of the other engines agree."""
    loop = xtl.sweep(model, engine="loop", **settings)
    for engine in [name for name in ("packed", "batched") if ENGINES[name].why_not(model) is None]:
        fast = xtl.sweep(model, engine=engine, verify=0, **settings)
        assert fast.attrs["engine"] == engine
        for name in ("score", "text"):
            if name in loop:
                assert fast[name].dims == loop[name].dims
        if "score" in loop:
            assert_close(fast, loop)
        else:
            assert (fast["text"] == loop["text"]).all()
    return loop


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_a_whole_blend_is_the_map_and_none_is_vanilla(tiny_model, architecture, backend):
    model = tiny_model(architecture, backend)
    modules = MODULES[architecture][:3]
    blends = by_every_engine(model, modules=modules, alpha=[0.0, 0.5, 1.0], **ASKED, **SOME)
    assert blends["gain"].dims == ("module", "source_layer", "target_layer", "alpha")
    np.testing.assert_allclose(blends["gain"].sel(alpha=0), 0, atol=1e-6)
    plain = xtl.sweep(model, modules=modules, engine="loop", **ASKED, **SOME)
    np.testing.assert_allclose(blends["score"].sel(alpha=1), plain["score"], atol=1e-6)
    fast = xtl.sweep(model, modules=modules, alpha=[1.0, 0.0], **ASKED, **SOME)
    np.testing.assert_allclose(fast["gain"].sel(alpha=0), 0, atol=1e-5)
    half = xtl.sweep(model, modules=modules, alpha=0.5, **ASKED, **SOME)
    assert half.attrs["alpha"] == 0.5
    np.testing.assert_allclose(half["score"], blends["score"].sel(alpha=0.5), atol=1e-4)
    assert float(abs(half["gain"]).max()) > 1e-3


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_whole_blend_is_bit_for_bit_what_it_was(tiny_model, backend):
    model = tiny_model("llama", backend)
    plain, whole = (xtl.sweep(model, **more, **ASKED) for more in ({}, {"alpha": 1.0}))
    assert plain.identical(whole)


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_blends_are_generated_at_every_step(tiny_model, backend):
    texts = by_every_engine(
        tiny_model("llama", backend),
        modules=["mlp", "resid"],
        alpha=[0.0, 0.7, 2.0],
        steps="every",
        **GENERATED,
        **SOME,
    )["text"]
    assert (texts.sel(alpha=0) == texts.sel(alpha=0)[0, 0, 0]).all()
    assert len(set(texts.values.ravel())) > 2


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        (math.nan, "alpha must be a number, got nan"),
        ("half", "alpha must be a number, got 'half'"),
        ([0.5, "1"], "alpha must be a number, got '1'"),
        ([], "alpha is empty"),
        ([0.5, 0.5], "alpha has one twice: 0.5, 0.5"),
    ],
)
def test_an_alpha_that_is_none_is_told(tiny_model, untyped, alpha, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.sweep(tiny_model("llama"), alpha=alpha, **ASKED)


def test_maps_of_several_alphas_are_kept_stored_and_put_together(tiny_model, tmp_path):
    model = tiny_model("llama")
    pairs = [xtl.ParallelPair(f"{SOURCE} {k}", TARGET, options=("ab", "cd"), gold=0, id=k) for k in "ab"]
    keep = xtl.KeptMaps(tmp_path / "maps")
    maps, again = (
        xtl.concat_maps(xtl.sweep_many(model, pairs, keep=keep, alpha=[0.5, 1.0], details="options", **SOME))
        for _ in range(2)
    )
    assert maps.identical(again)
    assert maps["option_logprob"].dims[-2:] == ("alpha", "option")
    half, whole = (xtl.concat_maps(xtl.sweep_many(model, pairs, keep=keep, alpha=a, **SOME)) for a in (0.5, 1.0))
    np.testing.assert_allclose(maps["gain"].sel(alpha=0.5), half["gain"], atol=1e-5)
    with pytest.raises(xtl.InputError, match=r"differ in alpha .0.5 and none."):
        xtl.concat_maps([half, whole])
    with pytest.raises(xtl.InputError, match=r"differ in alpha: 0.5, 1.0 and none"):
        xtl.concat_maps([maps, whole])
    control = xtl.concat_maps(xtl.controls.run(model, pairs, "zero", alpha=[0.5, 1.0], **SOME))
    assert control["gain"].dims == maps["gain"].dims


def test_what_shows_one_map_says_which_axis_is_to_be_chosen(tiny_model, tmp_path):
    results = xtl.sweep(tiny_model("llama"), alpha=[0.5, 1.0], **ASKED)
    asked = r"has alpha too; choose one, such as results.sel\(alpha=0.5\)"
    for show in (
        xtl.results.mean_maps,
        xtl.plots.gain_map,
        xtl.stats.cell_intervals,
    ):
        with pytest.raises(xtl.InputError, match=asked):
            show(results)
    save_results(results, tmp_path / "results.parquet")
    again = load_results(tmp_path / "results.parquet")
    assert again["gain"].dims[-4:] == results["gain"].dims
    np.testing.assert_array_equal(again["gain"].squeeze(), results["gain"])
    one = results.sel(alpha=0.5)
    save_results(one, tmp_path / "one.parquet")
    assert xtl.plots.gain_map(one) is not None
    assert load_results(tmp_path / "one.parquet")["gain"].dims[-3:] == ("module", "source_layer", "target_layer")


LANGUAGES = {"en": SOURCE, "de": "Die Hauptstadt von Frankreich ist", "it": "La capitale della Francia"}
ANSWERED = {"target": TARGET, "options": ("ab", "cd"), "gold": 0, "modules": ["attn", "mlp"]}


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_several_sources_have_the_maps_that_each_has_alone(tiny_model, architecture, backend):
    model = tiny_model(architecture, backend)
    together = by_every_engine(model, sources=LANGUAGES, **ANSWERED, **SOME)
    assert together["gain"].dims[-1] == "source_lang"
    for language, prompt in LANGUAGES.items():
        alone = xtl.sweep(model, source=prompt, engine="loop", **ANSWERED, **SOME)
        one = together.sel(source_lang=language)
        # Not bit for bit: with an axis more, memory lies otherwise, and kernels choose by where it lies.
        np.testing.assert_allclose(one["score"], alone["score"], rtol=1e-6, atol=1e-6)
        assert (one["source"].item(), one["source_lang"].item()) == (prompt, language)


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_the_mean_of_sources_is_what_their_mean_activations_give(tiny_model, backend):
    model = tiny_model("llama", backend)
    attn, layers = [xtl.hooks.MODULES["attn"]], SOME["source_layers"]
    read = [read_activations(model, encode(model, one), attn, layers) for one in LANGUAGES.values()]
    mean = {site: torch.stack([one[site] for one in read]).mean(dim=0) for site in read[0]}
    settings = ANSWERED | {"modules": ["attn"]}
    want = xtl.sweep(model, source=SOURCE, activations=mean, engine="loop", **settings, **SOME)
    got = by_every_engine(model, sources=LANGUAGES, combine="mean", **settings, **SOME)
    assert (got["score"] == want["score"]).all()
    assert (got["source_lang"].item(), got.attrs["combine"]) == ("en+de+it", "mean")
    alone = xtl.sweep(model, sources={"en": SOURCE}, combine="mean", engine="loop", **settings, **SOME)
    assert (alone["score"] == xtl.sweep(model, source=SOURCE, engine="loop", **settings, **SOME)["score"]).all()


def test_sources_may_be_pairs_and_their_maps_are_stored_and_put_together(tiny_model, tmp_path):
    model, maps = tiny_model("llama"), []
    for k in "ab":
        pairs = [
            xtl.ParallelPair(f"{prompt} {k}", TARGET, language, "es", options=("ab", "cd"), gold=0, id=k)
            for language, prompt in LANGUAGES.items()
        ]
        maps.append(xtl.sweep(model, sources=pairs, alpha=[0.5, 1.0], modules=["attn"], **SOME))
    results = xtl.concat_maps(maps)
    save_results(results, tmp_path / "results.parquet")
    again = load_results(tmp_path / "results.parquet")
    for data in (results, again):
        german = data.sel(source_lang="de", alpha=1)
        assert german["source"].values.tolist() == [f"{LANGUAGES['de']} {k}" for k in "ab"]
        assert xtl.results.with_directions(german)["direction"].values.tolist() == ["de->es"] * 2
    np.testing.assert_array_equal(again["gain"], results["gain"])
    with pytest.raises(xtl.InputError, match=r"has alpha, source_lang too; choose one, such as results.sel"):
        xtl.results.mean_maps(results)


PAIR = xtl.ParallelPair(SOURCE, TARGET, "en", "es", options=("ab", "cd"), gold=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sources": {}}, "sources is empty"),
        ({"sources": "France"}, "sources must be prompts by language, or a list of pairs, got 'France'"),
        ({"sources": ["France"]}, r"sources\[0\] must be a ParallelPair, got str"),
        ({"sources": {"en": ""}}, r"sources\['en'\] "),
        ({"sources": {1: "a"}}, "sources needs a language for each prompt, got 1"),
        ({"sources": [PAIR, PAIR]}, "sources has a language twice: en, en"),
        ({"sources": [xtl.ParallelPair(SOURCE, "Otra", "de")]}, r"one target prompt; de->\? has 'Otra'"),
        ({"sources": LANGUAGES, "combine": "sum"}, "unknown combine 'sum'.*; valid: mean"),
        ({"combine": "mean"}, "combine is for several sources: give sources too"),
        ({"sources": LANGUAGES, "activations": {("attn", 2): torch.zeros(32)}}, "sources or activations, not both"),
        ({"sources": LANGUAGES, "details": "agreement"}, "give one source, not sources"),
    ],
)
def test_sources_that_do_not_go_together_are_told(tiny_model, untyped, arguments, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.sweep(tiny_model("llama"), PAIR, modules=["attn"], **arguments, **SOME)
