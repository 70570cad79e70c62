from __future__ import annotations

import copy
from importlib.metadata import version

import pytest
import torch

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from xtl.backend import backend_name, cache_argument, forward
from xtl.models import caching
from xtl.models.caching import CACHED, NAMES, _add_name, _one_name, cache_deviation, check_cache, why_no_cache
from xtl.tokens import encode
from xtl.transplants import generate


def forget_on_bridges(monkeypatch):
    """Bridges attend to the tokens of the pass alone: what TransformerLens 4.3 does with transformers 5.24."""
    from transformer_lens.model_bridge.generalized_components.attention import AttentionBridge

    monkeypatch.setattr(AttentionBridge, "_update_kv_cache", lambda self, k, v, **_: (k, v))


def forget_on_hooked(monkeypatch):
    """A HookedTransformer's cache has values of zero for what came before the pass."""
    from transformer_lens.cache import key_value_cache_entry

    entry = key_value_cache_entry.TransformerLensKeyValueCacheEntry
    real = entry.append

    def append(self, keys, values):
        self.past_values = torch.zeros_like(self.past_values)
        return real(self, keys, values)

    monkeypatch.setattr(entry, "append", append)


def booted(folder):
    """A bridge that `load_model` never saw."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module
    from transformers import AutoModelForCausalLM

    hf_model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    return build_bridge_from_module(hf_model, type(hf_model).__name__, hf_config=hf_model.config, model_name="mine")


@pytest.mark.hooked
def test_a_hooked_model_that_loses_its_cache_is_refused_at_load(tiny_folder, monkeypatch):
    forget_on_hooked(monkeypatch)
    with pytest.raises(xtl.ContractError, match=r"loses its KV cache .*; try backend='bridge'") as error:
        xtl.load_model(tiny_folder("llama"), backend="hooked")
    assert CACHED in str(error.value)
    assert "\n" not in str(error.value)
    assert backend_name(xtl.load_model(tiny_folder("llama"))) == "bridge"


@pytest.mark.parametrize("given", [False, True])
def test_a_bridge_that_loses_its_cache_is_found_out(tiny_folder, monkeypatch, given):
    """Also one that `load_model` never saw."""
    forget_on_bridges(monkeypatch)
    model = booted(tiny_folder("llama")) if given else xtl.load_model(tiny_folder("llama"), backend="bridge")
    check_cache(model)
    reason = why_no_cache(model)
    assert "TransformerBridge of LlamaForCausalLM" in reason
    assert f"TransformerLens {version('transformer-lens')} with transformers {version('transformers')}" in reason
    assert "\n" not in reason


@pytest.mark.parametrize(("installed", "advised"), [("5.23.0", False), ("5.24.0", True), ("6.0.1", True)])
def test_the_fix_is_advised_where_it_is_one(tiny_folder, monkeypatch, installed, advised):
    forget_on_bridges(monkeypatch)
    real = version
    monkeypatch.setattr(caching, "version", lambda name: installed if name == "transformers" else real(name))
    model = xtl.load_model(tiny_folder("llama"), backend="bridge")
    assert ("pip install 'transformers<5.24'" in why_no_cache(model)) == advised


@pytest.mark.parametrize("call", ["transplant", "sweep", "sweep_many"])
def test_a_bridge_that_load_model_never_saw_is_tried(tiny_folder, call):
    bridge = booted(tiny_folder("llama"))
    pair = xtl.ParallelPair(list(range(3, 9)), list(range(5, 12)))
    one = {"source_layers": [0], "target_layers": [0], "modules": ["attn"], "max_new_tokens": 2}
    calls = {
        "transplant": lambda: xtl.transplant(bridge, pair, module="attn", source_layer=0, target_layer=0),
        "sweep": lambda: xtl.sweep(bridge, pair, **one),
        "sweep_many": lambda: list(xtl.sweep_many(bridge, [pair], **one)),
    }
    calls[call]()
    assert bridge.xtl_no_cache == ""


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_cached_greedy_answer_is_the_uncached_one_and_hugging_faces(tiny_folder, tiny_model, backend):
    from transformers import AutoModelForCausalLM

    model = tiny_model("llama", backend)
    ids = encode(model, TARGET)
    answer = generate(model, ids, 6).tokens
    plain = list(ids)
    for _ in answer:
        plain.append(int(forward(model, plain)[-1].argmax()))
    assert plain[len(ids) :] == answer
    hf_model = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"))
    theirs = hf_model.generate(torch.tensor([ids]), max_new_tokens=6, do_sample=False)[0, len(ids) :].tolist()
    assert theirs == answer


def test_the_check_sees_a_cache_that_is_a_little_wrong(tiny_model, monkeypatch):
    """Keys that are off by one part in ten, as under another rotation, are off in the logits, too."""
    from transformer_lens.model_bridge.generalized_components.attention import AttentionBridge

    model = tiny_model("llama", "bridge")
    ids = encode(model, SOURCE)
    right = forward(model, ids)
    assert cache_deviation(model, ids, right) < 1e-5
    real = AttentionBridge._update_kv_cache
    monkeypatch.setattr(AttentionBridge, "_update_kv_cache", lambda self, k, v, **o: real(self, 1.1 * k, v, **o))
    wrong = cache_deviation(model, ids, right)
    assert wrong > 1e-3


@pytest.mark.parametrize("edge", [29, 30, 31])
def test_positions_that_change_within_the_checks_text_are_no_lost_cache(edge):
    """LongRoPE beyond `edge` tokens; the text that the contract is checked on has 32."""
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(tiny.ALL_CONFIGS["llama_longrope"]())  # its rope_parameters may be the table's own
    config.rope_parameters["original_max_position_embeddings"] = edge
    model = xtl.load_model(AutoModelForCausalLM.from_config(config), tokenizer=tiny.byte_tokenizer())
    assert why_no_cache(model) is None
    assert model.xtl_info.contract[CACHED] < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_attention_finds_its_cache_by_every_name(name):
    from transformers import DynamicCache

    cache = DynamicCache()
    _, found = _add_name(None, (), {name: cache, "position_ids": None})
    assert found["past_key_values"] is cache
    _, handed_on = _one_name(None, (), found)
    assert [key for key, value in handed_on.items() if value is cache] == [name]


def test_what_is_no_cache_is_left_alone():
    given = {"cache": "a path", "attention_mask": None}
    assert _add_name(None, (), given)[1] == given
    assert _one_name(None, (), given)[1] == given


def test_the_cache_is_passed_by_the_name_that_the_model_knows(tiny_model):
    from inspect import signature

    bridge = tiny_model("llama", "bridge")
    assert cache_argument(bridge) in signature(bridge.original_model.forward).parameters
