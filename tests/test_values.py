"""Kinds of values that arrive where another was meant: NumPy's whole numbers, ranges and arrays are taken; bytes, halves of
characters and words in place of True or False are told.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from xtl.hooks import transplant_at
from xtl.models.chat import check_chat
from xtl.pairs import check_prompt
from xtl.scoring.text import TextScore
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
        ({"chunk_size": np.array([1, 2])}, r"chunk_size must be 'auto' or a whole number .* got array\(\[1, 2\]\)"),
        ({"modules": 3}, "modules must be a list of names, got 3"),
        ({"modules": [["attn"]]}, "unknown module"),
    ],
    ids=repr,
)
def test_what_is_no_number(model, untyped, change, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.sweep(model, **(MAP | change))


ONE_CELL = {"modules": ["attn"], "source_layers": [0], "target_layers": [1], "verify": 0}
GIVEN = MAP | ONE_CELL


@pytest.mark.parametrize("engine", ["packed", "batched", "loop"])
@pytest.mark.parametrize(
    ("value", "got"),
    [
        (torch.tensor(1.0), r"one of shape \[\]"),
        (torch.ones(1), r"one of shape \[1\]"),
        (torch.ones(1, 32), r"one of shape \[1, 32\]"),
        (torch.ones(33), r"one of shape \[33\]"),
        (np.ones(32), "array"),
        (1.0, "1.0"),
        (None, "None"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_not_written(model, untyped, engine, value, got):
    """PyTorch wrote one number over the whole module."""
    with pytest.raises(xtl.InputError, match=rf"activations\['attn', 0\] must be a tensor of shape \[32\], got {got}"):
        xtl.sweep(model, **GIVEN, engine=engine, activations={("attn", 0): value})


def test_one_heads_values_are_not_written_over_all(model, untyped):
    given = GIVEN | {"modules": [xtl.Module("values", read="attn.hook_v", write="attn.hook_v")]}
    d_head = model.cfg.d_head
    with pytest.raises(
        xtl.InputError, match=rf"must be a tensor of shape \[\d, {d_head}\], got one of shape \[{d_head}\]"
    ):
        xtl.sweep(model, **given, activations={("values", 0): torch.ones(d_head)})


def test_a_hook_function_writes_no_other_shape(model):
    activation = torch.zeros(1, 3, 4, 8)
    for source in (torch.tensor(1.0), torch.ones(1), torch.ones(8), torch.ones(4, 1), torch.ones(8, 4)):
        with pytest.raises(xtl.InputError, match=r"source has the shape .*, and what it is written over \[4, 8\]"):
            transplant_at(source)(activation, hook=None)
    assert transplant_at(torch.ones(4, 8))(activation, hook=None).sum() == 32
    assert transplant_at(torch.ones(8), head=2)(activation, hook=None).sum() == 8


def test_what_fits_is_written_of_any_precision(model):
    value = torch.linspace(-1, 1, 32)
    maps = [
        xtl.sweep(model, **GIVEN, activations={("attn", 0): value.to(kind)}) for kind in (torch.float32, torch.float64)
    ]
    assert maps[0].gain.values == maps[1].gain.values


@pytest.mark.parametrize("written", [None, 3, "attn"])
def test_a_function_that_gives_nothing_does_not_leave_the_real_source(model, untyped, written):
    """Without a `return`, a control's maps were those of the real transplant."""
    pair = xtl.ParallelPair(SOURCE, TARGET, options=("a", "b"), gold=0, id="one")
    cells = {"modules": ["attn"], "source_layers": [0], "target_layers": [1]}
    with pytest.raises(xtl.InputError, match=f"activations of the pair one must be tensors by .* got {written!r}"):
        next(xtl.sweep_many(model, [pair], **cells, activations=lambda pair: written))
    with pytest.raises(xtl.InputError, match=r"what a control gives must be a function of \(pair\), got "):
        xtl.controls.run(model, [pair, pair], lambda sources: written, **cells)


def test_functions_are_tried_for_what_they_take_before_any_work(model, untyped, tmp_path):
    pair = xtl.ParallelPair(SOURCE, TARGET, options=("a", "b"), gold=0)
    wrong = {
        "progress": (lambda done: None, r"progress must be a function of \(done, n_cells\), got one of \(done\)"),
        "activations": (lambda: {}, r"activations must be a function of \(pair\), got one of \(\)"),
        "keep": (5, "keep must be an xtl.KeptMaps, got 5"),
    }
    for name, (value, message) in wrong.items():
        with pytest.raises(xtl.InputError, match=message):
            xtl.sweep_many(model, [pair], **{name: value})
    with pytest.raises(xtl.InputError, match=wrong["progress"][1]):
        xtl.sweep(model, pair=pair, progress=wrong["progress"][0])
    with pytest.raises(xtl.InputError, match=r"activations must be a function of a pair, got what is written for one"):
        xtl.sweep_many(model, [pair], activations={("attn", 0): torch.ones(32)})
    with pytest.raises(xtl.InputError, match=r"control must be a function of \(sources\), got one of \(\)"):
        xtl.controls.run(model, [pair, pair], lambda: None)


@pytest.mark.parametrize("value", [None, float("nan"), 2, -0.5, "1", [1.0], np.ones(2)], ids=str)
@pytest.mark.parametrize("binary", [True, False])
def test_what_is_no_rating_is_told_before_any_work(model, untyped, value, binary):
    """A percentage went through as a score, and so did NaN."""
    score = TextScore("mine", "of my own", lambda output, pair: value, binary)
    with pytest.raises(xtl.InputError, match=r"text_score 'mine' rates '' as .* its rate must be "):
        xtl.sweep_many(model, [xtl.ParallelPair(SOURCE, TARGET)], max_new_tokens=2, text_score=score)
    later = TextScore("mine", "of my own", lambda output, pair: value if output else 0.0, binary)
    with pytest.raises(xtl.InputError, match=r"text_score 'mine' rates '.+' as .* its rate must be "):
        xtl.sweep(model, source=SOURCE, target=TARGET, max_new_tokens=2, text_score=later, modules=["attn"], verify=0)


@pytest.mark.parametrize("right", [True, np.bool_(True), 1, np.float32(1), torch.tensor(1.0)], ids=repr)
def test_yes_and_no_are_ratings(model, right):
    score = TextScore("mine", "of my own", lambda output, pair: right)
    made = xtl.sweep(model, source=SOURCE, target=TARGET, max_new_tokens=2, text_score=score, **ONE_CELL)
    assert float(made.score.squeeze()) == float(made.vanilla_score) == 1
    assert bool(made.correct.squeeze())
    assert not made.gain.any()


def test_half_right_is_no_binary_rating(model):
    cells = {"source": SOURCE, "target": TARGET, "max_new_tokens": 2} | ONE_CELL
    half = TextScore("mine", "of my own", lambda output, pair: 0.5, binary=False)
    assert float(xtl.sweep(model, **cells, text_score=half).score.squeeze()) == 0.5
    with pytest.raises(xtl.InputError, match=r"must be 0 or 1 \(or binary=False\)"):
        xtl.sweep(model, **cells, text_score=TextScore("mine", "of my own", half.rate))


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
