"""The mistakes that people make: each is one clear line that names the argument, the value and the valid choices."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET

ONE = {"module": "attn", "source_layer": 0, "target_layer": 0, "max_new_tokens": 1}
MAP = {"source": SOURCE, "target": TARGET, "options": ("a", "b"), "gold": 0}


@pytest.fixture
def model(tiny_model):
    return tiny_model("llama")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": "attention"}, r"unknown module 'attention' .*; valid: attn, mlp, attn_released, resid"),
        ({"module": "atn"}, r"unknown module 'atn' \(did you mean 'attn'\?\)"),
        ({"source_layer": 4}, r"source_layer 4 is out of range for a model of 4 layers; valid: 0 to 3, or -4 to -1"),
        ({"target_layer": -5}, r"target_layer -5 is out of range"),
        ({"source": ""}, r"source is an empty prompt"),
        ({"target": "  \n"}, r"target is an empty prompt"),
        ({"target": []}, r"target is an empty prompt"),
        ({"target": [1, 9999]}, rf"target has token id 9999; valid: 0 to {tiny.VOCAB - 1}"),
        ({"target": None}, r"target is missing"),
        ({"target": "a" * 128}, r"target has 129 tokens and 1 more to come; the model's context holds 128"),
        ({"source": "a" * 200}, r"source has 201 tokens; the model's context holds 128"),
        ({"max_new_tokens": 0}, r"max_new_tokens must be a whole number of at least 1, got 0"),
        ({"steps": "all"}, r"unknown steps 'all'; valid: first, every"),
    ],
)
def test_transplant(model, change, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.transplant(model, **({"source": SOURCE, "target": TARGET, **ONE} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modules": ["attn", "ffn"]}, r"unknown module 'ffn'"),
        ({"modules": "attn"}, r"modules must be a list of names, got the text 'attn'"),
        ({"modules": []}, r"modules is empty"),
        ({"modules": ["mlp", "mlp"]}, r"modules names one twice: mlp, mlp"),
        ({"engine": "fast"}, r"unknown engine 'fast'; valid: auto, packed, batched, loop"),
        ({"source_layers": [0, 9]}, r"source_layers 9 is out of range"),
        ({"target_layers": [0, 0]}, r"target_layers names a layer twice"),
        ({"target_layers": []}, r"target_layers must be a list of layers, got \[\]"),
        ({"gold": 2}, r"gold 2 is not among the options; valid: 0 to 1"),
        ({"gold": None}, r"gold must be the index of the right option \(0 to 1\), got None"),
        ({"options": ("a", "a")}, r"options must differ; repeated: 'a'"),
        ({"options": ("a",)}, r"options must be a list of at least two strings"),
        ({"options": ("a", "")}, r"option 1 must be a non-empty string"),
        ({"options": "ab"}, r"options must be a list of at least two strings"),
        ({"answer": "x"}, r"give options with gold, or answer, not both"),
        ({"options": None, "gold": None}, r"nothing to score: give options with gold, or answer"),
        ({"options": None, "gold": 1}, r"gold=1 was given without options"),
        ({"options": None, "gold": None, "answer": ""}, r"answer is empty"),
        ({"options": ("a", "b" * 120)}, r"target with 'b+' has \d+ tokens; the model's context holds 128"),
    ],
)
def test_sweep(model, change, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.sweep(model, **(MAP | change))


def test_two_options_with_the_same_tokens(model):
    # "e" with an acute accent as one code point and as two differ as texts; the tokenizer makes them the same here.
    normalising = xtl.load_model(model.xtl_info.name)
    from tokenizers import normalizers

    normalising.tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    with pytest.raises(xtl.InputError, match="have the same tokens: the model can't tell them apart"):
        xtl.sweep(normalising, source=SOURCE, target=TARGET, options=("\u00e9", "e\u0301"), gold=0)


def test_a_pair_beside_loose_arguments(model):
    pair = xtl.ParallelPair(SOURCE, TARGET, options=("a", "b"), gold=0)
    with pytest.raises(xtl.InputError, match="give a pair, or source and target, not both"):
        xtl.transplant(model, pair, source=SOURCE, **ONE)
    with pytest.raises(xtl.InputError, match="give a pair, or options, gold and answer, not both"):
        xtl.sweep(model, pair, gold=1)


def test_a_pair_without_anything_to_score(model):
    with pytest.raises(xtl.InputError, match="nothing to score"):
        xtl.sweep(model, xtl.ParallelPair(SOURCE, TARGET))


def test_many_pairs_are_all_checked_before_the_first_runs(model):
    good = xtl.ParallelPair(SOURCE, TARGET, options=("a", "b"), gold=0)
    bad = xtl.ParallelPair(SOURCE, "x" * 500, options=("a", "b"), gold=0)
    ran = []
    with pytest.raises(xtl.InputError, match="target has 501 tokens"):
        xtl.sweep_many(model, [good, bad], progress=lambda *_: ran.append(1))
    assert not ran
    with pytest.raises(xtl.InputError, match="pairs is empty"):
        xtl.sweep_many(model, [])
    with pytest.raises(xtl.InputError, match="some pairs have options and some have not"):
        xtl.sweep_many(model, [good, xtl.ParallelPair(SOURCE, TARGET, answer="a")])


def test_a_module_that_the_architecture_lacks(tiny_model):
    for backend in ["hooked", "bridge"]:
        with pytest.raises(
            xtl.InputError, match=r"module 'attn_released' needs blocks.0.hook_resid_mid, which this arch"
        ):
            xtl.transplant(
                tiny_model("pythia", backend), source=SOURCE, target=TARGET, **(ONE | {"module": "attn_released"})
            )


def test_something_that_is_no_model():
    with pytest.raises(xtl.InputError, match="model must be a HookedTransformer or a TransformerBridge, got Linear"):
        xtl.backend.is_bridge(torch.nn.Linear(2, 2))


@pytest.mark.hooked
def test_a_processed_model(tiny_folder):
    model = xtl.load_model(tiny_folder("gpt2"))
    model.cfg.normalization_type = "LNPre"
    with pytest.raises(
        xtl.InputError, match="model has its LayerNorm weights folded in, which changes what is transpl"
    ):
        xtl.transplant(model, source=SOURCE, target=TARGET, **ONE)
    with pytest.raises(xtl.InputError, match="from_pretrained_no_processing"):
        xtl.sweep(model, **MAP)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "gemma-3-271m"}, xtl.InputError, r"unknown model 'gemma-3-271m' \(did you mean 'gemma-3-270m"),
        ({"name": ""}, xtl.InputError, "model name is empty"),
        ({"name": "/no/such/folder"}, xtl.InputError, "no model folder '/no/such/folder'"),
        ({"name": "./nothing-here"}, xtl.InputError, "no model folder"),
        (
            {"name": None, "backend": "hook"},
            xtl.InputError,
            r"unknown backend 'hook' \(did you mean 'hooked'\?\); valid: auto, hooked, bridge",
        ),
        ({"name": None, "dtype": "int8"}, xtl.InputError, "unknown dtype 'int8'; valid: float32, bfloat16"),
        ({"name": None, "device": "tpu9"}, xtl.InputError, "unknown device 'tpu9'"),
        ({"name": "gelu-2l"}, xtl.ModelError, "published as pickle files alone"),
        (
            {"name": "gpt2"},
            xtl.ModelError,
            "'gpt2' is not in the local cache and the Hugging Face hub cannot be reached",
        ),
        (
            {"name": "some/model"},
            xtl.ModelError,
            "hub cannot be reached; where there is a network, run `hf download some/model`",
        ),
    ],
)
def test_load_model(arguments, error, message, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(error, match=message) as caught:
        xtl.load_model(**arguments)
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_whole_model(tiny_folder, tmp_path):
    with pytest.raises(xtl.InputError, match=r"has no config\.json: give a Hugging Face model folder"):
        xtl.load_model(tmp_path)
    import shutil

    for name, damage, message in [
        (
            "truncated",
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
            "cannot be loaded",
        ),
        ("missing", lambda f: (f / "model.safetensors").unlink(), "cannot be loaded"),
        ("config", lambda f: (f / "config.json").write_text("{"), "cannot be loaded"),
        ("tokenizer", lambda f: (f / "tokenizer.json").write_text("{"), "the tokenizer of .* cannot be read"),
    ]:
        folder = tmp_path / name
        shutil.copytree(tiny_folder("llama"), folder)
        damage(folder)
        with pytest.raises(xtl.ModelError, match=message) as caught:
            xtl.load_model(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.hooked
def test_an_architecture_that_only_the_bridge_knows(tmp_path, monkeypatch):
    """Asked for a HookedTransformer, the loader says to take the bridge where TransformerLens has no conversion."""
    from transformers import StableLmConfig, StableLmForCausalLM

    config = StableLmConfig(
        vocab_size=tiny.VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    StableLmForCausalLM(config).save_pretrained(tmp_path)
    tiny.byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(xtl.ModelError, match=r"\(StableLmForCausalLM\): .*; use backend='bridge'"):
        xtl.load_model(tmp_path, backend="hooked")
    bridge = xtl.load_model(tmp_path)
    assert xtl.transplant(bridge, source=SOURCE, target=TARGET, **ONE).tokens


def test_arguments_of_a_wrong_type(tiny_folder):
    """In a process of its own: here, the shape checks of the tests would complain about types before xtl does."""
    script = f"""
import xtl
model = xtl.load_model({str(tiny_folder("llama"))!r})
one = dict(source="a", target="b", module="attn", source_layer=0, target_layer=0)
for call in [
    lambda: xtl.transplant(model, **(one | dict(source_layer=1.5))),
    lambda: xtl.transplant(model, **(one | dict(target=7))),
    lambda: xtl.transplant(model, "a", module="attn", source_layer=0, target_layer=0),
    lambda: xtl.sweep(model, source="a", target="b", options=["a", "b"], gold="a"),
    lambda: xtl.sweep(model, source="a", target="b", answer=3),
    lambda: xtl.sweep("gpt2", source="a", target="b", answer="c"),
]:
    try:
        call()
    except xtl.InputError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines() == [
        "source_layer must be a whole number, got 1.5",
        "target must be a text or a list of token ids, got int",
        "pair must be a ParallelPair, got str; prompts go to source= and target=",
        "gold must be the index of the right option (0 to 1), got 'a', which is option 0",
        "answer must be a text, got 3",
        "model must be a HookedTransformer or a TransformerBridge, got str; use xtl.load_model",
    ], run.stderr


def test_an_unknown_public_name():
    with pytest.raises(AttributeError, match="module 'xtl' has no attribute 'sweeps'; it has: ContractError"):
        xtl.sweeps  # noqa: B018


def test_tasks_and_languages():
    with pytest.raises(xtl.InputError, match="unknown task 'capital'"):
        xtl.get_task("capital")
    with pytest.raises(xtl.InputError, match="unknown target_lang 'xx'; valid: en, es, "):
        xtl.get_task("capitals").pairs("en", "xx")


def test_a_question_has_no_million_options():
    with pytest.raises(xtl.InputError, match=r"^options are 1,000,000; a question has at most 10,000$"):
        xtl.ParallelPair("a", "b", options=[str(number) for number in range(1_000_000)], gold=0)
    xtl.ParallelPair("a", "b", options=[str(number) for number in range(10_000)], gold=0)
