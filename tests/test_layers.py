"""One grammar for layers: what a flag, a study in YAML and Python write means the same, or is refused by all three."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import xtl
from xtl.commands import flags
from xtl.engine.prepare import check_cells
from xtl.layers import MOST, check_layers, parse_layers
from xtl.runs.study import Study

SAME = {
    "3": (3,),
    "-2": (-2,),
    "0,3,-1": (0, 3, -1),
    " 1 , 2 ": (1, 2),
    "0-2": (0, 1, 2),
    "0 - 2": (0, 1, 2),
    "-3--1": (-3, -2, -1),
    "5-5": (5,),
    "0:6": (0, 1, 2, 3, 4, 5),
    "0:18:3": (0, 3, 6, 9, 12, 15),
    "-3:-1": (-3, -2),
    "5:0:-2": (5, 3, 1),
    "0-2,5,-2:0": (0, 1, 2, 5, -2, -1),
    "010": (10,),
}
REFUSED = {
    "": "is no list of layers",
    "first": "is no list of layers; write 0,3,-1 or 0-5",
    "0-": "is no list of layers",
    "-": "is no list of layers",
    "4:": "is no list of layers",
    ":": "is no list of layers",
    "0,,1": "is no list of layers",
    "1_0": "is no list of layers",
    "٣": "is no list of layers",
    "1.0": "is no list of layers",
    "1-2-3": "is no list of layers",
    "true": "is no list of layers",
    "3-1": "counts down; write the lower layer first",
    "3:3": "holds no layer",
    "0:6:0": "has a step of 0",
    "0--1": "depends on the model",
    "0:-1": "depends on the model",
    "-3-2": "depends on the model",
    "1,1": "names a layer twice: 1",
    "0-3,2": "names a layer twice: 2",
    "0:3000000000": f"names more than {MOST:,} layers",
    "0-999999999999999999": f"names more than {MOST:,} layers",
}


def in_yaml(text: str, folder) -> tuple[int, ...] | None:
    path = folder / "study.yaml"
    path.write_text(f"tasks: [capitals]\nsource_layers: {text}\n", encoding="utf-8")
    return Study.read(path).source_layers


@pytest.mark.parametrize(("text", "layers"), SAME.items())
def test_what_is_written_means_the_same_everywhere(text, layers, tmp_path):
    assert parse_layers("source_layers", text) == layers
    assert flags.parse_layers("--source-layers", text) == layers
    assert in_yaml(text, tmp_path) == layers
    if "," in text:
        assert in_yaml(f"[{text}]", tmp_path) == layers  # a list of YAML, whose items may be ranges
    wanted = tuple(layer % 30 for layer in layers)
    for written in (text, list(layers), np.array(layers), torch.tensor(layers)):
        assert check_layers("source_layers", written, 30) == wanted


@pytest.mark.parametrize(("text", "message"), REFUSED.items())
def test_what_is_no_list_of_layers_is_refused_everywhere(text, message, tmp_path):
    for read in (
        lambda: check_layers("source_layers", text, 30),
        lambda: flags.parse_layers("source_layers", text),
        lambda: in_yaml(f"'{text}'", tmp_path),
    ):
        with pytest.raises(xtl.InputError, match=f"source_layers.*{message}") as error:
            read()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "layers"),
    [
        (3, (3,)),
        (np.int64(3), (3,)),
        (np.array(3), (3,)),
        (range(0, 6, 2), (0, 2, 4)),
        (np.arange(3, dtype=np.uint8), (0, 1, 2)),
        ([np.int8(1), "3-4", -1], (1, 3, 4, -1)),
        ((layer for layer in (2, 1)), (2, 1)),
    ],
)
def test_numbers_of_any_kind(given, layers):
    assert parse_layers("target_layers", given) == layers


@pytest.mark.parametrize(
    "given",
    [
        True, [True], [np.bool_(True)], np.array([True]), 1.0, [1.0], np.array([1.0]), float("nan"), None, [None],
        ["3"], [[1, 2]], np.ones((1, 1), int), b"12", {1: 2}, {1, 2}, [], (), range(0), object(),
        range(3 * 10**9), range(10**30), itertools.count(),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)  # fmt: skip
def test_what_is_no_layer_is_refused_at_once(given):
    with pytest.raises(xtl.InputError, match=r"^target_layers "):
        parse_layers("target_layers", given)


@given(first=st.integers(-50, 50), length=st.integers(1, 20))
def test_a_range_with_both_ends_is_pythons_with_one_more(first, length):
    last = first + length - 1
    if (first < 0) == (last < 0):
        layers = tuple(range(first, last + 1))
        assert parse_layers("x", f"{first}-{last}") == layers
        if (first < 0) == (last + 1 < 0):
            assert parse_layers("x", f"{first}:{last + 1}") == layers


def test_a_model_knows_its_layers(tiny_model):
    model = tiny_model("llama")
    n_layers = model.cfg.n_layers
    assert check_cells(model, ["attn"], "0-1", "-1")[1:] == ((0, 1), (n_layers - 1,))
    assert check_cells(model, ["attn"])[1:] == (tuple(range(n_layers)),) * 2
    with pytest.raises(xtl.InputError, match="target_layers names a layer twice: 0, -"):
        check_cells(model, ["attn"], None, f"0,-{n_layers}")
    with pytest.raises(xtl.InputError, match=f"source_layers {n_layers} is out of range"):
        check_cells(model, ["attn"], f"0-{n_layers}")
