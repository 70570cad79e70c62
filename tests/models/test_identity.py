"""A model's identity: what can change a number changes it, what cannot does not."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys

import pytest
import torch

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from xtl.models.identity import flatten, identity_changes, identity_key, model_identity

TEMPLATE = "{% for m in messages %}[{{ m.content }}]{% endfor %}"
PLAIN = "{% for m in messages %}<{{ m.content }}>{% endfor %}"


def edit(path, **changes):
    """Set keys of a JSON file; dots go deeper, a list's places are numbers."""
    values = json.loads(path.read_text())
    for place, value in changes.items():
        *way, last = place.split("__")
        part = values
        for key in way:
            part = part[int(key) if isinstance(part, list) else key]
        part[last] = value
    path.write_text(json.dumps(values))


def edit_tokenizer(name, value):
    return lambda folder: edit(folder / "tokenizer.json", **{name: value})


def merge(folder):
    edit(folder / "tokenizer.json", model__merges=[["a", "b"]], model__vocab=_with_merge(folder))


def _with_merge(folder):
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    last = max(vocab, key=vocab.get)
    return {token: index for token, index in vocab.items() if token != last} | {"ab": vocab[last]}


CHANGES = {
    "rope_theta": (lambda f: edit(f / "config.json", rope_parameters__rope_theta=5e5), "config rope_theta 3000.0 -> 500000.0"),
    "epsilon": (lambda f: edit(f / "config.json", rms_norm_eps=1e-2), "config rms_norm_eps 0.001 -> 0.01"),
    "activation": (lambda f: edit(f / "config.json", hidden_act="gelu"), "config hidden_act silu -> gelu"),
    "unknown key": (lambda f: edit(f / "config.json", my_scale=2), "config my_scale None -> 2"),
    "end": (lambda f: edit(f / "generation_config.json", eos_token_id=[2, 7]), "eos_token_ids 2 -> 2, 7"),
    "BOS": (edit_tokenizer("post_processor", None), "tokenizer adds 1 -> "),
    "normalizer": (edit_tokenizer("normalizer", {"type": "Lowercase"}), "tokenizer normalizer"),
    "space": (edit_tokenizer("pre_tokenizer__add_prefix_space", True), "tokenizer pre_tokenizer"),
    "merges": (merge, "tokenizer merges"),
    "added token": (
        lambda f: edit(f / "tokenizer.json", added_tokens=[*json.loads((f / "tokenizer.json").read_text())["added_tokens"],
            {"id": 70, "content": "a", "single_word": True, "lstrip": True, "rstrip": False, "normalized": False,
             "special": False}]),
        "tokenizer added_tokens",
    ),
    "chat template": (lambda f: edit(f / "tokenizer_config.json", chat_template=PLAIN), "tokenizer chat_template"),
}  # fmt: skip
"""What can be changed in a model's folder, and what is said of it."""

NO_CHANGES = {
    "moved": lambda f: None,
    "version": lambda f: edit(f / "config.json", transformers_version="4.40.0"),
    "origin": lambda f: edit(f / "config.json", _name_or_path="somewhere/else"),
    "training": lambda f: edit(f / "config.json", attention_dropout=0.1, initializer_range=0.5, use_cache=False),
    "order of keys": lambda f: (f / "config.json").write_text(
        json.dumps(dict(reversed(json.loads((f / "config.json").read_text()).items())))
    ),
    "padding": lambda f: edit(f / "tokenizer_config.json", padding_side="left", model_max_length=64),
}
"""What changes no number."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tiny.build("llama", tmp_path_factory.mktemp("identity") / "model")
    edit(made / "tokenizer_config.json", chat_template=TEMPLATE)
    return made


@pytest.fixture(scope="module")
def original(folder):
    return {backend: model_identity(xtl.load_model(folder, backend=backend)) for backend in ("hooked", "bridge")}


@pytest.mark.filterwarnings("ignore:the tokenizer of .* does not give a text back")
@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("name", CHANGES)
def test_what_can_change_a_number_is_another_model(folder, original, tmp_path, name, backend):
    change, said = CHANGES[name]
    changed = shutil.copytree(folder, tmp_path / "changed")
    change(changed)
    now = model_identity(xtl.load_model(changed, backend=backend))
    assert now["weights_sha256"] == original[backend]["weights_sha256"]  # it is not the weights that tell them apart
    told = identity_changes(original[backend], now)
    assert any(line.startswith(said) for line in told), told


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("name", NO_CHANGES)
def test_what_changes_no_number_is_the_same_model(folder, original, tmp_path, name, backend):
    same = shutil.copytree(folder, tmp_path / "another name")
    NO_CHANGES[name](same)
    assert identity_changes(original[backend], model_identity(xtl.load_model(same, backend=backend))) == []


def test_every_process_finds_the_same_and_json_gives_it_back(folder, original):
    script = (
        "import json, sys, xtl; from xtl.models.identity import model_identity; "
        "print(json.dumps(model_identity(xtl.load_model(sys.argv[1], backend='bridge'))))"
    )
    said = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True).stdout
    assert json.loads(said.splitlines()[-1]) == original["bridge"] == json.loads(json.dumps(original["bridge"]))


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "bloom"])
@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_model_that_has_worked_is_the_same_as_before(tiny_model, architecture, backend):
    model = tiny_model(architecture, backend)
    before = model_identity(model)
    xtl.sweep(model, xtl.ParallelPair(SOURCE, TARGET * 2), max_new_tokens=2, modules=["mlp"], source_layers=[0])
    model.tokenizer(
        [SOURCE, TARGET], padding=True, truncation=True, max_length=4
    )  # leaves its mark on a fast tokenizer
    assert identity_changes(before, model_identity(model)) == []


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_changed_table_of_positions_is_seen(tiny_model, backend):
    model = copy.deepcopy(tiny_model("gemma3", backend))
    before = model_identity(model)
    name, buffer = next((n, b) for n, b in model.named_buffers() if "rotary_sin" in n or "inv_freq" in n)
    buffer.view(-1)[-1 if buffer.ndim == 1 else 5] += 1e-3
    assert list(flatten(before)) == list(flatten(model_identity(model)))
    assert [line.partition(" ")[0] for line in identity_changes(before, model_identity(model))] == ["tables_sha256"], (
        name
    )


def test_buffers_that_are_saved_with_the_weights_count(tiny_model):
    model = copy.deepcopy(tiny_model("llama", "bridge"))
    scalar = torch.ones(1)
    model.original_model.lm_head.register_buffer("layer_scalar", scalar)
    before = identity_key(model)
    scalar.mul_(2)
    assert identity_key(model) != before
