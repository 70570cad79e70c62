"""The batched engine is exact: it equals the loop on every cell."""

from __future__ import annotations

import pytest
import torch

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from tests.engine.test_packed import MODULES, assert_close, assert_equal_maps
from xtl.engine import batched
from xtl.engine.batched import why_not_batchable

ALL = [(architecture, backend) for architecture in tiny.CONFIGS for backend in ("hooked", "bridge")]


OPTIONS, ANSWER = {"options": (" Par", " Paris", "x"), "gold": 0}, {"answer": " Roma"}


@pytest.mark.parametrize(
    ("architecture", "backend", "score"),
    [(*one, OPTIONS) for one in ALL] + [(*one, ANSWER) for one in ALL if one[0] in ("llama", "gemma3")],
)
def test_batched_equals_loop(tiny_model, architecture, backend, score):
    assert_equal_maps(
        tiny_model(architecture, backend),
        engine="batched",
        source=SOURCE,
        target=TARGET,
        modules=MODULES[architecture][:3],
        source_layers=[0, 2],
        target_layers=[1, 3],
        chunk_size=7,
        **score,
    )


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_prompt_of_one_token(tiny_model, backend):
    model = tiny_model("llama", backend)
    assert_equal_maps(model, engine="batched", source=[5], target=[7], options=("a", "bc"), gold=0, steps="every")


def test_a_model_whose_rows_differ_falls_back_to_the_loop(tiny_model, monkeypatch):
    model = tiny_model("bloom", "bridge")
    assert why_not_batchable(model) is None
    monkeypatch.delattr(model, "xtl_batchable")
    real = batched.forward_batch
    monkeypatch.setattr(batched, "forward_batch", lambda *a, **k: real(*a, **k) * 1.01)
    assert why_not_batchable(model) == "its rows of a batch over cached keys differ from a plain pass"
    arguments = {"source": SOURCE, "target": TARGET, "options": ("a", "b"), "gold": 0, "source_layers": [0]}
    assert xtl.sweep(model, **arguments).attrs["engine"] == "loop"
    with pytest.raises(xtl.InputError, match="engine 'batched' cannot run this model: its rows of a batch"):
        xtl.sweep(model, engine="batched", **arguments)
    del model.xtl_batchable


def test_out_of_memory_halves_the_chunk(tiny_model, monkeypatch):
    model = tiny_model("bloom", "bridge")
    arguments = {"source": SOURCE, "target": TARGET, "options": ("a", "bc"), "gold": 0, "engine": "batched"}
    whole = xtl.sweep(model, **arguments)
    real = batched.forward_batch

    def short_of_memory(model, tokens, **options):
        if len(tokens) > 9:
            raise torch.OutOfMemoryError("no more")
        return real(model, tokens, **options)

    monkeypatch.setattr(batched, "forward_batch", short_of_memory)
    with pytest.warns(UserWarning, match="out of memory with 16 cells at a time; going on with 8"):
        parts = xtl.sweep(model, chunk_size=16, **arguments)
    assert_close(parts, whole)
