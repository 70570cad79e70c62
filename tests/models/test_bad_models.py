"""Folders that hold no decoder, or not all of one: each is one line that says what to do."""

from __future__ import annotations

import json
import shutil

import pytest
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, T5Config, ViTConfig, WhisperConfig

import xtl
from tests import tiny

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


def write_config(folder, config, architecture):
    config.architectures = [architecture]
    config.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("config", "architecture", "message"),
    [
        (BertConfig(**SMALL), "BertForMaskedLM", "is an encoder, which continues no text; take a decoder"),
        (RobertaConfig(**SMALL), "RobertaModel", "is an encoder, which continues no text"),
        (T5Config(), "T5ForConditionalGeneration", "is an encoder-decoder model; .*: take a decoder, such as gpt2"),
        (WhisperConfig(), "WhisperForConditionalGeneration", "is an encoder-decoder model"),
        (ViTConfig(**SMALL), "ViTForImageClassification", r"is no decoder language model \(by its model_type 'vit'"),
    ],
)
def test_models_of_another_kind(tmp_path, config, architecture, message):
    write_config(tmp_path, config, architecture)
    with pytest.raises(xtl.ModelError, match=message) as caught:
        xtl.load_model(tmp_path)
    assert architecture in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_vision_language_model(tmp_path):
    from transformers import LlavaConfig

    write_config(tmp_path, LlavaConfig(), "LlavaForConditionalGeneration")
    with pytest.raises(xtl.ModelError, match=r"is no decoder language model .* a vision or audio model"):
        xtl.load_model(tmp_path)


def test_a_real_encoder_is_refused_by_its_config_not_by_its_folder(tmp_path):
    BertForMaskedLM(BertConfig(**SMALL, vocab_size=9)).save_pretrained(tmp_path)
    with pytest.raises(xtl.ModelError, match="is an encoder"):
        xtl.load_model(tmp_path)


@pytest.fixture
def copy(tiny_folder, tmp_path):
    folder = tmp_path / "a copy"
    shutil.copytree(tiny_folder("llama"), folder)
    return folder


def sharded(folder):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")


def without(folder, *tensors):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    for name in tensors:
        del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut(file, size=5000):
    file.write_bytes(file.read_bytes()[:size])


def pickled(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def first_shard(folder):
    return sorted(folder.glob("model-*.safetensors"))[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), r"it has no weights \(no \*.safetensors\); add its safetensors files"),
        (pickled, r"it has no weights \(only pytorch_model.bin, a pickle file, which xtl does not read\)"),
        (lambda f: cut(f / "model.safetensors"), r"model.safetensors is damaged or cut short \(.*\); download it again"),
        (lambda f: cut(f / "model.safetensors", 3), "model.safetensors is damaged or cut short"),
        (lambda f: (sharded(f), cut(first_shard(f))), r"model-00001-of-\d+.safetensors is damaged or cut short"),
        (lambda f: (sharded(f), first_shard(f).unlink()), r"model-00001-of-\d+.safetensors is missing; download it again"),
        (
            lambda f: (sharded(f), (f / "model.safetensors.index.json").write_text("{")),
            "model.safetensors.index.json is damaged; download it again",
        ),
        (lambda f: without(f, "lm_head.weight"), r"its weights lack lm_head.weight \(1 in all\), which would be random"),
        (lambda f: without(f, "model.layers.2.mlp.up_proj.weight"), "its weights lack model.layers.2.mlp.up_proj.weight"),
        (lambda f: (f / "config.json").write_text("[]"), "cannot be loaded"),
    ],
)  # fmt: skip
def test_folders_that_lack_something(copy, damage, message):
    damage(copy)
    with pytest.raises(xtl.ModelError, match=message) as caught:
        xtl.load_model(copy)
    assert "\n" not in str(caught.value)
    assert "a copy" in str(caught.value)


def test_shards_are_a_model_too(copy):
    sharded(copy)
    assert len(list(copy.glob("model-*.safetensors"))) > 1
    assert max(xtl.load_model(copy).xtl_info.contract.values()) < 1e-5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "magic bytes"),
        (b"GGUF", "cannot be loaded"),
        (b"not a GGUF file at all, but text", "take the model's safetensors instead"),
    ],
)
def test_gguf_files_that_are_none(own_cache, tmp_path, content, message):
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(xtl.ModelError, match=r"the GGUF file .* cannot be loaded") as caught:
        xtl.load_model(file)
    assert "\n" not in str(caught.value)


def test_gguf_of_an_architecture_that_transformers_does_not_read(own_cache, tiny_folder, tmp_path):
    file = tiny.build_gguf(tmp_path / "model.gguf", tiny_folder("llama"), architecture="grok")
    with pytest.raises(
        xtl.ModelError, match="architecture grok is not supported yet; take the model's safetensors instead"
    ):
        xtl.load_model(file)


def test_a_gguf_file_that_is_not_there_and_one_that_is_not_named(tiny_folder, tmp_path):
    with pytest.raises(xtl.InputError, match=r"no GGUF file 'nowhere.gguf'"):
        xtl.load_model("nowhere.gguf")
    (tmp_path / "weights.gguf").touch()
    with pytest.raises(xtl.InputError, match=r"has no config\.json: .*; for GGUF name the file: '.*weights\.gguf'"):
        xtl.load_model(tmp_path)


def test_a_tokenizer_of_another_model(copy, tiny_folder):
    config = json.loads((copy / "config.json").read_text())
    larger = tiny.byte_tokenizer().backend_tokenizer
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    content = json.loads(larger.to_str())
    content["model"]["vocab"] |= {f"more{index}": tiny.VOCAB + index for index in range(40)}
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)))
    with pytest.raises(xtl.ModelError, match=f"has {tiny.VOCAB + 40} tokens and the model {config['vocab_size']} rows"):
        xtl.load_model(copy, tokenizer=other)
    other.save_pretrained(copy)
    with pytest.raises(xtl.ModelError, match="it is another model's; give the right one with tokenizer="):
        xtl.load_model(copy)
    assert xtl.load_model(copy, tokenizer=tiny.byte_tokenizer()).tokenizer.bos_token_id == 1


def test_a_tokenizer_that_is_far_too_small(copy):
    content = json.loads(tiny.byte_tokenizer().backend_tokenizer.to_str())
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    content["model"]["vocab"] = {token: i for token, i in content["model"]["vocab"].items() if i < 100}
    small = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)))
    small.save_pretrained(copy)
    with pytest.raises(xtl.ModelError, match="has 100 tokens and the model 259 rows of embeddings"):
        xtl.load_model(copy)
    with pytest.warns(UserWarning, match="does not give a text back as it was"):
        assert len(xtl.load_model(copy, tokenizer=small).tokenizer) == 100  # whoever gives it means it


def test_a_token_beyond_the_embedding_is_refused_where_it_is_used(copy):
    tokenizer = tiny.byte_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.save_pretrained(copy)
    model = xtl.load_model(copy)
    arguments = {"target": "b", "module": "attn", "source_layer": 0, "target_layer": 0, "max_new_tokens": 1}
    assert xtl.transplant(model, source="a", **arguments).tokens
    with pytest.raises(
        xtl.InputError, match=rf"source holds '<image>', token {tiny.VOCAB}, which the model has no embedd"
    ):
        xtl.transplant(model, source="a<image>", **arguments)
