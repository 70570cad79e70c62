from __future__ import annotations

import warnings

import pytest
import torch

import xtl
from tests.conftest import NO_HOOKED, SOURCE, TARGET
from tests.models.test_caching import forget_on_bridges
from xtl.backend import forward, new_cache
from xtl.engine.batched import Batched
from xtl.engine.engines import ENGINES, resolve_engine, why_slow
from xtl.engine.greedy import Greedy
from xtl.engine.probe import why_not_exact
from xtl.models.caching import why_no_cache
from xtl.tokens import encode
from xtl.transplants import generate

CELLS = {"modules": ["attn", "mlp"], "source_layers": [0, 1], "target_layers": [0, 1]}


def lesser(tiny_folder, name="olmo2"):
    """A model, loaded anew, that the packed engine can't run on TransformerLens 3's hooked backend; on 4, one without a cache."""
    return xtl.load_model(tiny_folder(name), backend="hooked")


@pytest.mark.hooked
def test_a_lesser_engine_is_said_once_with_reason_price_and_advice(tiny_folder):
    model = lesser(tiny_folder)
    with pytest.warns(xtl.SlowEngineWarning) as caught:
        assert resolve_engine(model, "auto") == "batched"
    (message,) = [str(one.message) for one in caught]
    assert ENGINES["packed"].why_not(model) in message
    assert "takes about 20 times as long for a whole map as 'packed'" in message
    assert "Give fewer source_layers" in message
    assert "\n" not in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve_engine(model, "auto")  # once a model


def test_the_fast_engine_and_one_that_was_asked_for_say_nothing(tiny_folder, recwarn):
    model = xtl.load_model(tiny_folder("llama"))
    for engine in ("auto", *ENGINES):
        resolve_engine(model, engine)
    assert not recwarn.list
    assert why_slow(model, "packed") is why_slow(model, "loop") is None


@pytest.mark.hooked
def test_progress_says_why_it_is_slow(tiny_folder, capsys):
    model = lesser(tiny_folder)
    pair = xtl.ParallelPair(SOURCE, TARGET, options=["a", "b"], gold=0)
    with pytest.warns(xtl.SlowEngineWarning):
        list(xtl.sweep_many(model, [pair], **CELLS, progress=True))
    assert f"(engine batched: {ENGINES['packed'].why_not(model)})" in capsys.readouterr().err


@pytest.mark.parametrize("steps", ["first", "every"])
def test_a_bridge_that_loses_its_cache_is_run_without_one_and_is_right(tiny_folder, tiny_model, monkeypatch, steps):
    right = tiny_model("llama", "bridge")
    arguments = {"source": SOURCE, "target": TARGET, **CELLS, "max_new_tokens": 4, "steps": steps}
    want = xtl.sweep(right, **arguments, engine="loop")
    one = xtl.transplant(
        right, source=SOURCE, target=TARGET, module="attn", source_layer=1, target_layer=0, steps=steps
    )
    forget_on_bridges(monkeypatch)
    model = xtl.load_model(tiny_folder("llama"), backend="bridge")
    assert "loses its KV cache" in why_no_cache(model)
    with pytest.warns(xtl.SlowEngineWarning, match="loses its KV cache"):
        got = xtl.sweep(model, **arguments)
    assert got.attrs["engine"] == "loop"
    assert got.tokens.values.tolist() == want.tokens.values.tolist()
    assert got.vanilla_text.item() == want.vanilla_text.item()
    assert len(set(got.text.values.ravel().tolist())) > 1
    again = xtl.transplant(
        model, source=SOURCE, target=TARGET, module="attn", source_layer=1, target_layer=0, steps=steps
    )
    assert (again.tokens, again.vanilla_tokens) == (one.tokens, one.vanilla_tokens)


@pytest.mark.parametrize("engine", ["packed", "batched"])
def test_engines_that_need_the_cache_are_refused_without_it(tiny_folder, monkeypatch, engine):
    forget_on_bridges(monkeypatch)
    model = xtl.load_model(tiny_folder("llama"), backend="bridge")
    with pytest.raises(xtl.InputError, match=rf"engine '{engine}' cannot run this model: .* loses its KV cache"):
        xtl.sweep(model, source=SOURCE, target=TARGET, answer="a", engine=engine)


@pytest.mark.skipif(NO_HOOKED, reason="TransformerLens 4 passes ALiBi's masks on")
@pytest.mark.parametrize("name", ["mpt", "falcon_alibi"])
def test_generation_on_a_bridge_without_a_working_cache_is_hugging_faces(tiny_folder, name):
    """TransformerLens 3's bridges of ALiBi models lose their cache: cached answers were wrong there."""
    from transformers import AutoModelForCausalLM

    model = xtl.load_model(tiny_folder(name), backend="bridge")
    ids = encode(model, TARGET)
    hf_model = AutoModelForCausalLM.from_pretrained(tiny_folder(name), attn_implementation="eager").eval()
    plain = list(ids)
    for _ in range(5):
        with torch.no_grad():
            plain.append(int(hf_model(torch.tensor([plain])).logits[0, -1].argmax()))
    assert generate(model, ids, 5).tokens == plain[len(ids) :]
    cache = new_cache(model)
    forward(model, ids, cache=cache, keep=1)
    over = forward(model, plain[len(ids) : len(ids) + 1], cache=cache)[-1]
    want = forward(model, plain[: len(ids) + 1])[-1]
    assert (over - want).abs().max() > 1e-3 * want.abs().max()  # the day that this fails, the cache works


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("row", [0, 1, -1])
@pytest.mark.parametrize("wrong", [float("nan"), 0.01])
def test_an_engine_that_is_wrong_in_one_cell_is_found_out(tiny_model, backend, row, wrong):
    class Wrong(Batched):
        def logprobs(self, cells, sources):
            rows = super().logprobs(cells, sources)
            rows[row] += wrong * rows[row].abs().max()
            return rows

    model = tiny_model("llama", backend)
    assert why_not_exact(model, Batched, 3, "takes", "differs") == ""
    assert why_not_exact(model, Wrong, 3, "takes", "differs") == "differs"


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("token", [0, 1, 2])
def test_an_engine_that_is_wrong_in_what_it_generates_is_found_out(tiny_model, backend, token):
    class Wrong(Batched):
        def generate(self, cells, sources, ends):
            tokens, logits, _ = super().generate(cells, sources, ends)
            tokens[:, token] = (tokens[:, token] + 1) % self.model.cfg.d_vocab
            return Greedy(tokens, logits)

    assert why_not_exact(tiny_model("llama", backend), Wrong, 3, "takes", "differs") == "differs"
