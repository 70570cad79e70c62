"""Kinds of values that arrive where another was meant: NumPy's whole numbers, ranges and arrays are taken; bytes, halves of
characters and words in place of True or False are told.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from xtl.models.chat import check_chat
from xtl.pairs import check_prompt
from xtl.stats.seeds import check_seeds, generator
from xtl.tokens import encode, encode_continuation

ONE = {"module": "attn", "source_layer": 0, "target_layer": 1, "max_new_tokens": 2}
MAP = {"source": SOURCE, "target": TARGET, "options": ("a", "b"), "gold": 0, "modules": ["attn"], "verify": 0}
HALF = "\ud83d"


@pytest.fixture
def model(tiny_model):
    return tiny_model("llama")


@pytest.mark.parametrize(
    "prompt",
    [
        [5, 6, 7],
        (5, 6, 7),
        range(5, 8),
        np.arange(5, 8),
        np.arange(5, 8, dtype=np.uint8)[None],
        list(np.arange(5, 8)),
        torch.arange(5, 8),
        torch.arange(5, 8)[None],
        list(torch.arange(5, 8)),
        [np.arange(5, 8)],
        [range(5, 8)],
    ],
    ids=repr,
)
def test_token_ids_of_any_kind_are_the_same_prompt(model, prompt):
    pair = xtl.ParallelPair(prompt, prompt)
    assert pair.source == pair.target == encode(model, prompt) == [5, 6, 7]
    assert {type(token) for token in pair.source} == {int}


@pytest.mark.parametrize("prompt", [[np.int64(5)], np.array([5]), [torch.tensor(5)], torch.tensor([[5]]), range(5, 6)])
def test_a_prompt_of_one_token(prompt):
    assert check_prompt("source", prompt) == [5]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (b"The capital", r"source is bytes, not text: decode it, for example with source.decode\('utf-8'\)"),
        (bytearray(b"The capital"), "source is bytearray, not text: decode it"),
        (memoryview(b"The capital"), "source is memoryview, not text: decode it"),
        ([5, True], "source must be a text or a list of token ids, got list with True, no whole number"),
        ([5.0, 6.0], "got list with 5.0, no whole number"),
        (np.array([True, False]), "got ndarray with True, no whole number"),
        (torch.tensor([0.5]), "got Tensor with 0.5, no whole number"),
        (["a", "b"], "got list with 'a', no whole number"),
        (["a"], "got list with 'a', no whole number"),
        ([b"ab"], "got list with b'ab', no whole number"),
        ([[1, 2], [3, 4]], r"got list with \[1, 2\], no whole number"),
        (np.array(5), "source must be a text or a list of token ids, got ndarray"),
        (7, "got int"),
        (None, "got NoneType"),
        (np.array([], dtype=int), "source is an empty prompt"),
        (range(0), "source is an empty prompt"),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_what_is_no_prompt(model, untyped, prompt, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.ParallelPair(prompt, "x")
    with pytest.raises(xtl.InputError, match=message):
        encode(model, prompt, "source")


@pytest.mark.parametrize("text", [f"ab{HALF}", f"ab{HALF}c", "ab\udcff"])
def test_half_a_character_is_told_with_its_place(model, text):
    where = "has half a character at position 2"
    for name in ("source", "target"):
        with pytest.raises(xtl.InputError, match=f"^{name} {where}"):
            xtl.ParallelPair(**({"source": "a", "target": "b"} | {name: text}))
        with pytest.raises(xtl.InputError, match=f"^{name} {where}"):
            xtl.transplant(model, **({"source": SOURCE, "target": TARGET, **ONE} | {name: text}))
    for name, given in {
        "option 1": {"options": ("x", text), "gold": 0},
        "answer": {"answer": text},
        r"labels\[0\]": {"options": ("x", "y"), "gold": 0, "labels": (text, "y")},
        r"answers\[1\]": {"answer": "x", "answers": ("x", text)},
        "id": {"answer": "x", "id": text},
        "source_lang": {"answer": "x", "source_lang": text},
    }.items():
        with pytest.raises(xtl.InputError, match=f"^{name} {where}") as caught:
            xtl.ParallelPair("a", "b", **given)
        assert "\n" not in str(caught.value)
        str(caught.value).encode()  # the message itself can be printed
    with pytest.raises(xtl.InputError, match=f"^option 0 {where}"):
        xtl.sweep(model, **(MAP | {"options": (text, "b")}))
    with pytest.raises(xtl.InputError, match=where):
        encode_continuation(model, "a", encode(model, "a"), text)


def test_whole_characters_beyond_the_basic_plane_are_no_halves(model):
    pair = xtl.ParallelPair("\U0001f600 \U00020000", "ab", options=("\U0001f600", "\ufffd"), gold=1)
    assert encode(model, pair.source)


def test_numpys_numbers_are_numbers(model):
    want = xtl.sweep(model, **MAP, source_layers=[0, 1], target_layers=[1, 2], chunk_size=2)
    given = {"gold": np.int64(0), "verify": np.int8(0)}
    got = xtl.sweep(
        model, **(MAP | given), source_layers=np.arange(2), target_layers=range(1, 3), chunk_size=np.int32(2)
    )
    assert got.equals(want)
    assert xtl.sweep(model, **MAP, source_layers=[np.int64(0)]).equals(xtl.sweep(model, **MAP, source_layers=[0]))
    plain = xtl.transplant(model, source=SOURCE, target=TARGET, **ONE)
    numbers = {name: np.int64(value) for name, value in ONE.items() if not isinstance(value, str)}
    assert xtl.transplant(model, source=SOURCE, target=TARGET, **(ONE | numbers)).tokens == plain.tokens
    pair = xtl.ParallelPair("a", "b", options=("x", "y"), gold=np.uint8(1))
    assert (type(pair.gold), pair.gold) == (int, 1)
    assert check_seeds(seeds=np.arange(2), control_seed=np.int64(5)) == [0, 1, 5]
    assert generator(np.int64(3), "x").integers(9) == generator(3, "x").integers(9)
    task = xtl.get_task("capitals")
    assert task.pairs("en", "es", limit=np.int64(2), seed=np.int64(1)) == task.pairs("en", "es", limit=2, seed=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_layers": b"01"}, "source_layers must be a list of layers, got b'01'"),
        ({"target_layers": [0.0]}, "target_layers must hold whole numbers and ranges of them, got 0.0"),
        ({"target_layers": np.array([True])}, "target_layers must hold whole numbers .* got .*True"),
        ({"target_layers": np.arange(0)}, "target_layers must be a list of layers"),
        ({"gold": np.bool_(True)}, "gold must be the index of the right option"),
        ({"gold": np.float64(0)}, "gold must be the index of the right option"),
        ({"gold": -1}, "gold -1 is not among the options"),
        ({"verify": True}, "verify must be a whole number of at least 0, got True"),
        ({"chunk_size": np.float64(2)}, "chunk_size must be 'auto' or a whole number"),
        ({"chunk_size": True}, "chunk_size must be 'auto' or a whole number"),
        ({"chunk_size": "two"}, "chunk_size must be 'auto' or a whole number"),
        ({"modules": 3}, "modules must be a list of names, got 3"),
        ({"modules": [["attn"]]}, "unknown module"),
    ],
    ids=repr,
)
def test_what_is_no_number(model, untyped, change, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.sweep(model, **(MAP | change))


@pytest.mark.parametrize("word", ["no", "yes", "False", "", 0, 1, None, np.bool_(False)])
def test_a_word_is_no_flag(untyped, word, tiny_folder, tiny_model, tmp_path):
    """ "no" is true for Python: it once ran a model's own code."""
    folder = tiny_folder("llama")
    study = {"tasks": "capitals", "directions": ["en->es"], "limit": 1, "models": [str(folder)]}
    pair = xtl.ParallelPair("a", "b", answer="c")
    calls = {
        "trust_remote_code": [
            lambda: xtl.load_model(folder, trust_remote_code=word),
            lambda: xtl.run_study(study, tmp_path / "a", trust_remote_code=word),
        ],
        "allow_versions": [lambda: xtl.run_study(study, tmp_path / "a", allow_versions=word)],
        "progress": [
            lambda: xtl.sweep_many(tiny_model("llama"), [pair], progress=word),
            lambda: xtl.controls.run(tiny_model("llama"), [pair, pair], "zero", progress=word),
        ],
        "control": [lambda: xtl.stats.simulate(n_instances=4, control=word)],
    }
    for name, ways in calls.items():
        for call in ways:
            with pytest.raises(xtl.InputError, match=f"{name} must be True or False, got "):
                call()
    if word != "auto":
        with pytest.raises(xtl.InputError, match="unknown chat"):
            check_chat(tiny_model("llama"), word)
