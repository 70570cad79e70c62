from __future__ import annotations

import dataclasses
import inspect
import json

import numpy as np
import pytest
import torch
import xarray as xr

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from xtl.backend import forward
from xtl.engine import prepare
from xtl.engine.prepare import Settings, SweepSettings
from xtl.hooks import MODULES, transplant_at
from xtl.tokens import encode
from xtl.transplants import read_activations

OPTIONS = (" Paris", " Rom", "x")


def logprob_by_hand(model, prompt_ids, option_ids, hooks=None):
    """One forward pass over prompt and option, token by token: the definition, with nothing shared."""
    logits = forward(model, prompt_ids + option_ids, hooks=hooks).log_softmax(dim=-1)
    return sum(float(logits[len(prompt_ids) - 1 + step, token]) for step, token in enumerate(option_ids))


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_scores_are_what_their_definition_says(tiny_model, backend):
    model = tiny_model("gemma3", backend)
    layers = {"source_layers": [0, 2], "target_layers": [1, 3]}
    result = xtl.sweep(model, source=SOURCE, target=TARGET, options=OPTIONS, gold=1, engine="loop", **layers)
    prompt = encode(model, TARGET)
    options = [encode(model, TARGET + option)[len(prompt) :] for option in OPTIONS]
    vanilla = np.array([logprob_by_hand(model, prompt, ids) for ids in options])
    assert float(result.vanilla_score) == pytest.approx(vanilla[1] - np.logaddexp.reduce(vanilla), rel=1e-5)
    assert bool(result.vanilla_correct) == (vanilla.argmax() == 1)
    for module, i, j in [("attn", 0, 3), ("mlp", 2, 1)]:
        activation = read_activations(model, encode(model, SOURCE), [MODULES[module]], [i])[module, i]
        hooks = [(MODULES[module].write_hook(j), transplant_at(activation, len(prompt) - 1))]
        patched = np.array([logprob_by_hand(model, prompt, ids, hooks) for ids in options])
        cell = result.sel(module=module, source_layer=i, target_layer=j)
        score = patched[1] - np.logaddexp.reduce(patched)
        assert float(cell.score) == pytest.approx(score, rel=1e-5)
        assert float(cell.gain) == pytest.approx(score - float(result.vanilla_score), rel=1e-4)
        assert bool(cell.correct) == (patched.argmax() == 1)


def test_an_answer_is_scored_by_its_own_log_probability(tiny_model):
    model = tiny_model("llama")
    result = xtl.sweep(
        model, source=SOURCE, target=TARGET, answer=" París", modules=["mlp"], source_layers=[1], target_layers=[2]
    )
    prompt = encode(model, TARGET)
    ids = encode(model, TARGET + " París")[len(prompt) :]
    assert float(result.vanilla_score) == pytest.approx(logprob_by_hand(model, prompt, ids), rel=1e-5)
    assert "correct" not in result
    assert "vanilla_correct" not in result


def test_a_cell_of_the_map_is_the_transplant_of_that_cell(tiny_model):
    """The first token's logits of `transplant` give the same score as the map."""
    model = tiny_model("llama")
    options = ("a", "b", "c")
    result = xtl.sweep(model, source=SOURCE, target=TARGET, options=options, gold=0, engine="loop")
    ids = [encode(model, option)[-1] for option in options]
    for i, j in [(0, 0), (3, 1)]:
        one = xtl.transplant(
            model, source=SOURCE, target=TARGET, module="attn", source_layer=i, target_layer=j, max_new_tokens=1
        )
        want = one.logits[ids].log_softmax(dim=-1)[0]
        assert float(result.score.sel(module="attn", source_layer=i, target_layer=j)) == pytest.approx(
            float(want), rel=1e-5
        )


def test_the_result_is_labelled(tiny_model):
    pair = xtl.ParallelPair(SOURCE, TARGET, "en", "es", options=OPTIONS, gold=1, id="capitals/FR")
    result = xtl.sweep(tiny_model("llama"), pair)
    assert result.score.dims == ("module", "source_layer", "target_layer")
    assert result.score.shape == (2, tiny.N_LAYERS, tiny.N_LAYERS)
    assert list(result.module.values) == ["attn", "mlp"]
    assert result.score.dtype == result.gain.dtype == np.float32
    assert result.correct.dtype == bool
    assert result.vanilla_score.ndim == 0
    assert (str(result.source_lang.values), str(result.target_lang.values)) == ("en", "es")
    assert str(result.source.values) == SOURCE
    assert str(result.gold.values) == " Rom"
    assert (result.attrs["source"], result.attrs["target"]) == (SOURCE, TARGET)
    assert result.attrs["score"] == "log-probability of the gold option among the options"
    assert set(json.loads(result.attrs["versions"])) == {"xtl", "transformer-lens", "torch", "transformers"}
    assert result.attrs["engine"] in xtl.engine.ENGINES


def test_a_prompt_mapped_onto_itself_gains_nothing_on_the_diagonal(tiny_model):
    result = xtl.sweep(
        tiny_model("qwen2"), source=TARGET, target=TARGET, options=OPTIONS, gold=0, modules=["attn", "mlp", "resid"]
    )
    diagonal = result.gain.values[:, range(tiny.N_LAYERS), range(tiny.N_LAYERS)]
    assert np.abs(diagonal).max() < 1e-5
    assert np.abs(result.gain).max() > 1e-2


def test_layers_may_be_a_subset_in_any_order_and_negative(tiny_model):
    model = tiny_model("llama")
    whole = xtl.sweep(model, source=SOURCE, target=TARGET, options=OPTIONS, gold=0)
    part = xtl.sweep(
        model, source=SOURCE, target=TARGET, options=OPTIONS, gold=0, source_layers=[-1, 0], target_layers=[2, 1]
    )
    assert part.source_layer.values.tolist() == [3, 0]
    xr.testing.assert_allclose(part, whole.sel(source_layer=[3, 0], target_layer=[2, 1]), rtol=1e-5)


def test_order_of_options_does_not_matter(tiny_model):
    model = tiny_model("llama")
    a = xtl.sweep(model, source=SOURCE, target=TARGET, options=OPTIONS, gold=0)
    b = xtl.sweep(model, source=SOURCE, target=TARGET, options=OPTIONS[::-1], gold=2)
    xr.testing.assert_allclose(a.drop_vars("options"), b.drop_vars("options"), rtol=1e-5)


def test_many_pairs_are_the_maps_of_each(tiny_model):
    model = tiny_model("llama")
    pairs = xtl.get_task("capitals").pairs("en", "es", limit=2) + xtl.get_task("capitals").pairs("en", "zh", limit=1)
    done = []
    many = xtl.concat_maps(
        xtl.sweep_many(model, pairs, modules=["mlp"], progress=lambda n, total: done.append((n, total)))
    )
    assert many.gain.dims == ("example", "module", "source_layer", "target_layer")
    assert many.target_lang.values.tolist() == ["es", "es", "zh"]
    for index, pair in enumerate(pairs):
        one = xtl.sweep(model, pair, modules=["mlp"])
        np.testing.assert_array_equal(many.gain[index], one.gain)
        assert float(many.vanilla_score[index]) == float(one.vanilla_score)
    cells = tiny.N_LAYERS**2
    assert done[-1] == (3 * cells, 3 * cells)
    assert [n for n, _ in done] == sorted(n for n, _ in done)


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_the_model_is_as_before_after_a_sweep(tiny_model, backend):
    model = tiny_model("llama", backend)
    ids = encode(model, TARGET)
    before = forward(model, ids)
    asked = {"source": SOURCE, "target": TARGET, "source_layers": [0, 3], "target_layers": [0, 3]}
    for engine in xtl.engine.ENGINES:
        xtl.sweep(model, **asked, options=OPTIONS, gold=0, engine=engine)
        xtl.sweep(model, **asked, max_new_tokens=2, engine=engine)
        assert torch.equal(forward(model, ids), before)
        assert "forward" not in vars(model.blocks[0].attn)
        assert "forward" not in vars(model.unembed)
        assert not model.blocks[0]._forward_pre_hooks


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("engine", ["loop", "batched", "packed"])
def test_logits_that_are_not_numbers_name_the_cell(tiny_model, engine, backend):
    """In a packed bridge a NaN reaches the cells of its group too, even at a weight of 0."""
    model = tiny_model("llama", backend)
    bad = {("mlp", layer): torch.full((32,), float("nan") if layer == 2 else 0.1) for layer in range(tiny.N_LAYERS)}
    question = {"source": SOURCE, "target": TARGET, "options": ["a", "b"], "gold": 0}
    with pytest.raises(xtl.ModelError, match="cell mlp 2 -> 0: the model's logits are NaN or infinite"):
        xtl.sweep(model, modules=["mlp"], activations=bad, engine=engine, **question)


def test_settings_have_the_arguments_and_defaults_of_sweep() -> None:
    """A setting that is added to one is added to all: the signature, the frozen settings, the keywords of `sweep_many`."""
    fields = {one.name: one.default for one in dataclasses.fields(SweepSettings)}
    signature = inspect.signature(xtl.sweep).parameters
    assert fields == {name: signature[name].default for name in fields}
    assert set(Settings.__annotations__) == set(fields)


def test_a_prompt_is_tokenised_once(tiny_model, monkeypatch) -> None:
    asked = []
    real = prepare.encode
    monkeypatch.setattr(
        prepare, "encode", lambda model, prompt, name: asked.append(prompt) or real(model, prompt, name)
    )
    pairs = [xtl.ParallelPair(f"a {k}", f"b {k}", options=("ab", "cd"), gold=0) for k in range(3)]
    assert len(list(xtl.sweep_many(tiny_model("llama"), pairs, source_layers=[0], target_layers=[1]))) == 3
    assert asked == [prompt for pair in pairs for prompt in (pair.source, pair.target)]
