"""What `load_model` takes beside a folder: GGUF, objects, names; where the model goes; what it needs."""

from __future__ import annotations

import json
import os
import shutil
import sys
import types

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertModel,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
)

import xtl
from tests import tiny
from tests.conftest import DEFAULT_BACKEND, SOURCE, TARGET
from xtl.backend import backend_name, forward
from xtl.models import memory
from xtl.models.hooked import hooked_from_hf
from xtl.models.names import PAPER, known_names, resolve_name
from xtl.models.silence import silence_loading
from xtl.tokens import encode

ONE = {"source": SOURCE, "target": TARGET, "module": "attn", "source_layer": 1, "target_layer": 2, "max_new_tokens": 2}


def hf_model(folder, **options):
    return AutoModelForCausalLM.from_pretrained(folder, **options)


def test_a_gguf_file_is_the_model_that_it_was_made_of(own_cache, tiny_folder, tmp_path):
    file = tiny.build_gguf(tmp_path / "tiny model.gguf", tiny_folder("llama"))
    model, original = xtl.load_model(file), xtl.load_model(tiny_folder("llama"))
    assert backend_name(model) == DEFAULT_BACKEND
    ids = encode(original, TARGET)
    assert (forward(model, ids) - forward(original, ids)).abs().max() < 1e-4
    assert model.tokenizer.decode(encode(model, "Ünïcode 日本")) == "Ünïcode 日本"
    assert xtl.load_model(str(file), backend="bridge").xtl_info.name == str(file)


@pytest.mark.parametrize("backend", ["auto", "bridge"])
def test_a_hugging_face_model_is_taken_as_it_is(tiny_folder, backend):
    loaded = hf_model(tiny_folder("mistral"), dtype=torch.float64)
    model = xtl.load_model(loaded, tokenizer=tiny.byte_tokenizer(), backend=backend)
    assert model.cfg.dtype == torch.float64
    assert max(model.xtl_info.contract.values()) < 1e-5
    assert "logits equal Hugging Face's" in model.xtl_info.contract
    assert xtl.transplant(model, **ONE).tokens == xtl.transplant(xtl.load_model(tiny_folder("mistral")), **ONE).tokens


def test_a_hugging_face_model_without_tokenizer_takes_token_ids(tiny_folder):
    model = xtl.load_model(hf_model(tiny_folder("gpt2")))
    assert xtl.transplant(model, **(ONE | {"source": [1, 5, 9], "target": [1, 7]})).tokens
    with pytest.raises(xtl.InputError, match="the model has no tokenizer; give token ids"):
        xtl.transplant(model, **ONE)


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_transformer_lens_model_is_taken_as_it_is(tiny_folder, backend):
    built = xtl.load_model(tiny_folder("gpt2"), backend=backend)
    del built.xtl_info
    model = xtl.load_model(built)
    assert model is built
    assert model.xtl_info.backend_reason == f"the model was given as a {type(built).__name__}"
    assert len(model.xtl_info.contract) == 5  # there are no original logits to compare with
    other = {"hooked": "bridge", "bridge": "hooked"}[backend]
    with pytest.raises(xtl.InputError, match=f"backend='{other}' was asked for, but the model is a"):
        xtl.load_model(built, backend=other)


@pytest.mark.hooked
def test_processed_weights_are_refused(tiny_folder):
    folded = xtl.load_model(tiny_folder("gpt2"), backend="hooked")
    folded.cfg.normalization_type = "LNPre"
    with pytest.raises(xtl.InputError, match="LayerNorm weights folded in"):
        xtl.load_model(folded)
    centred = xtl.load_model(tiny_folder("gpt2"), backend="hooked")
    for block in centred.blocks:
        block.attn.W_O.data -= block.attn.W_O.mean(-1, keepdim=True)
    with pytest.raises(xtl.InputError, match="writing weights centred"):
        xtl.load_model(centred)


@pytest.mark.parametrize(
    ("thing", "options", "message"),
    [
        (lambda folder: torch.nn.Linear(2, 2), {}, "model must be a HookedTransformer or a TransformerBridge, got Linear"),
        (lambda folder: 7, {}, "got int; use xtl.load_model"),
        (hf_model, {"dtype": "float16"}, "dtype is for models that are loaded by name; this one is an object"),
        (hf_model, {"device": "cpu"}, "device is for models that are loaded by name"),
        (hf_model, {"quantization": "4bit"}, "quantization is for models that are loaded by name"),
        (lambda folder: BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=9)), {},
         "is an encoder, which continues no text"),
        (lambda folder: hf_model(folder).model, {}, "LlamaModel has no language model head"),
        (hf_model, {"tokenizer": 3}, "tokenizer must be a Transformers tokenizer, got int"),
    ],
)  # fmt: skip
def test_objects_that_are_no_model(tiny_folder, thing, options, message):
    with pytest.raises(xtl.XtlError, match=message):
        xtl.load_model(thing(tiny_folder("llama")), **options)


def test_the_papers_models_have_short_names():
    assert len(PAPER) == 5
    names = known_names()
    for short, official in PAPER.items():
        assert resolve_name(short) == (short, official)
        assert resolve_name(short.upper()) == (short.upper(), official)
        assert names[short] == official
    assert resolve_name("pythia-70m") == ("pythia-70m", "EleutherAI/pythia-70m")
    with pytest.raises(xtl.InputError, match=r"did you mean 'bloomz-7b1'\?"):
        resolve_name("bloomz-7b")


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_gemma_3_that_also_sees_gives_its_language_model(tmp_path, backend):
    text = tiny.CONFIGS["gemma3"]()
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 28, "patch_size": 14}
    config = Gemma3Config(text_config=text.to_dict(), vision_config=vision, mm_tokens_per_image=4, image_token_index=5)
    torch.manual_seed(0)
    whole = Gemma3ForConditionalGeneration(config).eval()
    whole.save_pretrained(tmp_path)
    tiny.byte_tokenizer().save_pretrained(tmp_path)
    model = xtl.load_model(tmp_path, backend=backend)
    ids = encode(model, TARGET)
    with torch.no_grad():
        want = whole(torch.tensor([ids])).logits[0]
    assert (forward(model, ids) - want).abs().max() <= 1e-5 * want.abs().max()


def test_a_device_map_spreads_a_bridge(tiny_folder):
    model = xtl.load_model(tiny_folder("llama"), device_map="auto")
    assert backend_name(model) == "bridge"
    assert model.xtl_info.backend_reason == "device_map needs it"
    assert xtl.transplant(model, **ONE).tokens == xtl.transplant(xtl.load_model(tiny_folder("llama")), **ONE).tokens
    with pytest.raises(xtl.InputError, match="device_map needs backend='bridge'"):
        xtl.load_model(tiny_folder("llama"), device_map="auto", backend="hooked")
    with pytest.raises(xtl.InputError, match="give device or device_map, not both"):
        xtl.load_model(tiny_folder("llama"), device_map="auto", device="cpu")


def test_quantisation_needs_its_package(tiny_folder, monkeypatch):
    with pytest.raises(xtl.InputError, match=r"unknown quantization '3bit' .*; valid: 8bit, 4bit"):
        xtl.load_model(tiny_folder("llama"), quantization="3bit")
    with pytest.raises(xtl.InputError, match="quantization needs backend='bridge'"):
        xtl.load_model(tiny_folder("llama"), quantization="8bit", backend="hooked")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(xtl.InputError, match="needs the package bitsandbytes: pip install bitsandbytes"):
        xtl.load_model(tiny_folder("llama"), quantization="8bit")


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_quantised_models_keep_the_contract(tmp_path, monkeypatch, bits):
    pytest.importorskip("bitsandbytes")
    wide = tiny._SHARED | {"hidden_size": 256, "intermediate_size": 512}  # 4 bit packs blocks of 64
    monkeypatch.setitem(tiny.ALL_CONFIGS, "wide", lambda: LlamaConfig(**wide))
    model = xtl.load_model(tiny.build("wide", tmp_path), quantization=bits, device="cpu")
    assert model.xtl_info.backend_reason == "quantization needs it"
    assert max(model.xtl_info.contract.values()) < 1e-5
    assert xtl.transplant(model, **ONE).tokens


def test_the_need_is_counted_from_the_configuration_alone(tiny_folder):
    for name in ("llama", "smollm2", "gpt2", "mixtral"):
        model = hf_model(tiny_folder(name))
        need = memory.need_of(model.config)
        assert need.n_parameters == sum(parameter.numel() for parameter in model.parameters()), name
        assert need.n_embedding == tiny.VOCAB * 32
        assert need.is_tied == model.config.tie_word_embeddings
        assert need.bytes(4) == 4 * need.n_parameters
        assert need.bytes(4, hooked=True) == 4 * (need.n_parameters + need.is_tied * need.n_embedding)
        assert need.bytes(2, "4bit") < need.bytes(2, "8bit") < need.bytes(2)


@pytest.mark.hooked
@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2", "gemma3", "smollm2"])
def test_a_hooked_transformer_and_the_model_that_it_is_checked_against_are_one_in_memory(tiny_folder, name):
    """What a load holds is `Need`: the weights once, and a second embedding where it is tied."""
    original = hf_model(tiny_folder(name))
    need, kept = memory.need_of(original.config), {p.untyped_storage().data_ptr() for p in original.parameters()}
    with silence_loading():
        model = hooked_from_hf(original.requires_grad_(False), None, name, "cpu", torch.float32)
    matrices = [p.untyped_storage() for place, p in model.named_parameters() if ".W_" in place or "._W_" in place]
    copied = {storage.data_ptr(): storage.nbytes() // 4 for storage in matrices if storage.data_ptr() not in kept}
    assert sum(copied.values()) == need.is_tied * need.n_embedding
    assert need.bytes(4, hooked=True) == need.bytes(4) + 4 * sum(copied.values())


def test_a_model_that_cannot_fit_is_refused_before_its_weights_are_read(tiny_folder, monkeypatch, capsys):
    monkeypatch.setattr(memory, "free_memory", lambda device: 90_000)
    monkeypatch.setattr("xtl.models.read.read_hf", lambda *_, **__: pytest.fail("the weights were read"))
    with pytest.raises(
        xtl.ModelError, match=r"needs \d+ kB in 32 bit, but cpu has 90 kB free; take dtype='bfloat16' \(\d+ kB\)"
    ):
        xtl.load_model(tiny_folder("llama"), device="cpu")
    with pytest.raises(
        xtl.ModelError, match=r"in 16 bit, but cpu .*; take quantization='4bit', a smaller model, or device_map"
    ):
        xtl.load_model(tiny_folder("llama"), device="cpu", dtype="bfloat16", backend="hooked")
    assert capsys.readouterr().err == ""


def test_a_large_load_says_beforehand_what_it_needs(tiny_folder, monkeypatch, capsys):
    monkeypatch.setattr(memory, "LARGE", 1000)
    xtl.load_model(tiny_folder("llama"), device="cpu")
    assert "billion parameters and needs" in capsys.readouterr().err


def test_free_memory_heeds_a_containers_limit(monkeypatch):
    assert 0 < memory.free_memory("cpu") <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(memory, "_container_limit", lambda: [12345])
    assert memory.free_memory("cpu") == 12345


def test_code_of_a_model_runs_only_when_allowed(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", list(sys.path))
    folder = tmp_path / "own_code"
    shutil.copytree(tiny_folder("llama"), folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    mark = tmp_path / "the code ran"
    (folder / "own.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnForCausalLM(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    with pytest.raises(xtl.ModelError, match=r"needs Python code from its own repository, .* trust_remote_code=True"):
        xtl.load_model(folder)
    assert not mark.exists()
    with pytest.raises(xtl.ModelError, match=r"no bridge for .* Unsupported architecture: OwnForCausalLM"):
        xtl.load_model(folder, trust_remote_code=True)
    assert mark.exists()


def test_a_gated_model_without_a_token(monkeypatch):
    import transformers
    from huggingface_hub.errors import GatedRepoError

    def gated(*_, **__):
        response = types.SimpleNamespace(headers={}, request=None, status_code=401)
        error = GatedRepoError("401 Client Error.", response=response)
        raise OSError("You are trying to access a gated repo.\nMake sure to have access to it.") from error

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", gated)
    with pytest.raises(
        xtl.ModelError, match=r"'llama-2-7b-chat' is gated: accept its terms on huggingface\.co/meta-llama/"
    ):
        xtl.load_model("llama-2-7b-chat")
