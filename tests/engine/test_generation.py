"""Greedy answers of every cell: each engine gives the tokens that a plain run gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from tests.engine.test_packed import MODULES
from xtl.engine import verify
from xtl.engine.driver import Driver
from xtl.engine.packed import hooked
from xtl.engine.plan import Generated
from xtl.engine.prepare import SweepSettings
from xtl.engine.readout import Readout
from xtl.models import precision
from xtl.models.info import ModelInfo
from xtl.scoring.text import TextScore

ALL = [(architecture, backend) for architecture in tiny.CONFIGS for backend in ("hooked", "bridge")]
SOME = {"source": SOURCE, "target": TARGET, "max_new_tokens": 5, "source_layers": [0, 3]}


def assert_equal_answers(model, engine, **arguments):
    loop = xtl.sweep(model, engine="loop", **arguments)
    fast = xtl.sweep(model, engine=engine, verify=0, **arguments)
    np.testing.assert_array_equal(fast.tokens, loop.tokens)
    np.testing.assert_array_equal(fast.vanilla_tokens, loop.vanilla_tokens)
    assert (fast.text == loop.text).all()
    assert fast.vanilla_text.item() == loop.vanilla_text.item()
    return loop


@pytest.mark.parametrize(("architecture", "backend"), ALL)
@pytest.mark.parametrize("steps", ["first", "every"])
def test_every_engine_gives_the_loops_tokens(tiny_model, architecture, backend, steps):
    model = tiny_model(architecture, backend)
    engine = "batched" if (architecture, backend) == ("bloom", "bridge") else "packed"
    layers = [1, 3] if architecture in ("llama", "gemma3") else [1]
    assert_equal_answers(model, engine, modules=MODULES[architecture][:3], steps=steps, target_layers=layers, **SOME)


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("steps", ["first", "every"])
def test_batched_gives_the_loops_tokens(tiny_model, backend, steps):
    assert_equal_answers(tiny_model("gemma3", backend), "batched", steps=steps, chunk_size=5, **SOME)


@pytest.mark.slow("all tiny models")
@given(
    model=st.sampled_from([one for one in ALL if one != ("bloom", "bridge")]),
    source=st.lists(st.integers(3, tiny.VOCAB - 1), min_size=1, max_size=20),
    target=st.lists(st.integers(3, tiny.VOCAB - 1), min_size=1, max_size=20),
    steps=st.sampled_from(["first", "every"]),
    chunk_size=st.sampled_from([3, "auto"]),
)
@settings(max_examples=8, deadline=None)
def test_whatever_the_prompts(tiny_model, model, source, target, steps, chunk_size):
    """Among them prompts of one token, and answers that run over the edge of the sliding window of 8."""
    arguments = {"source": source, "target": target, "steps": steps, "chunk_size": chunk_size}
    assert_equal_answers(
        tiny_model(*model), "packed", max_new_tokens=10, source_layers=[1], target_layers=[0, 2], **arguments
    )


@pytest.mark.parametrize(("backend", "engine"), [("hooked", "packed"), ("bridge", "packed"), ("bridge", "batched")])
@pytest.mark.parametrize("steps", ["first", "every"])
def test_each_cell_stops_at_its_own_end(tiny_model, monkeypatch, backend, engine, steps):
    """With many end tokens, cells end at different steps; what follows an end is -1."""
    model = tiny_model("llama", backend)
    monkeypatch.setattr(model, "xtl_info", ModelInfo("tiny", eos_token_ids=tuple(range(0, tiny.VOCAB, 7))))
    result = assert_equal_answers(model, engine, steps=steps, **(SOME | {"max_new_tokens": 8}))
    lengths = (result.tokens >= 0).sum("step").values
    assert len(np.unique(lengths)) > 2
    ends = result.tokens.values % 7 == 0
    for tokens, end in zip(result.tokens.values.reshape(-1, 8), ends.reshape(-1, 8), strict=True):
        stop = end.argmax() if end.any() else 7
        assert (tokens[stop + 1 :] == -1).all()
        assert (tokens[: stop + 1] >= 0).all()


def test_a_cells_answer_is_the_transplant_of_that_cell(tiny_model):
    model = tiny_model("qwen2")
    for steps in ("first", "every"):
        result = xtl.sweep(model, steps=steps, **SOME)
        one = xtl.transplant(
            model,
            source=SOURCE,
            target=TARGET,
            module="mlp",
            source_layer=3,
            target_layer=1,
            max_new_tokens=5,
            steps=steps,
        )
        cell = result.sel(module="mlp", source_layer=3, target_layer=1)
        assert cell.text.item() == one.text
        assert [token for token in cell.tokens.values if token >= 0] == one.tokens
        assert result.vanilla_text.item() == one.vanilla_text
        assert result.attrs["steps"] == steps


def test_answers_can_be_scored(tiny_model):
    seen = []

    def rate(output, pair):
        seen.append(output)
        return float(len(output) % 2)

    pair = xtl.ParallelPair(SOURCE, TARGET, answers=["x"])
    odd = TextScore("odd", "odd length", rate)
    result = xtl.sweep(tiny_model("llama"), pair, max_new_tokens=4, text_score=odd)
    assert result.attrs["text_score"] == "odd"
    assert seen[0] == ""  # tried before any work
    assert len(seen[1:]) == len(set(seen[1:]))  # equal answers are rated once
    want = np.vectorize(lambda text: len(text) % 2)(result.text.values.astype(str))
    np.testing.assert_array_equal(result.score, want)
    np.testing.assert_array_equal(result.correct, want == 1)
    np.testing.assert_array_equal(result.gain, want - float(result.vanilla_score))
    assert "correct" not in xtl.sweep(
        tiny_model("llama"), pair, max_new_tokens=4, text_score=TextScore("half", "half", lambda *_: 0.5, binary=False)
    )
    many = xtl.concat_maps(xtl.sweep_many(tiny_model("llama"), [pair, pair], max_new_tokens=2, text_score=odd))
    assert many.text.dims == ("example", "module", "source_layer", "target_layer")


def test_answers_check_themselves(tiny_model, monkeypatch):
    model = tiny_model("llama")
    result = xtl.sweep(model, verify=4, **SOME)
    assert result.attrs["verified_cells"] == 4
    assert result.attrs["verified_largest_difference"] == 0
    real = Readout.argmax
    monkeypatch.setattr(Readout, "argmax", lambda *a: (real(*a)[0] * 0 + 9, real(*a)[1]))
    with pytest.raises(xtl.ModelError, match=r"cell \w+ \d -> \d generates \[9, .*the plain loop \[.* leads by"):
        xtl.sweep(model, verify=2, **SOME)


def test_a_tie_is_no_mistake(tiny_model, monkeypatch):
    """Where the loop itself all but ties, the other token may win, and the difference is kept."""
    model = tiny_model("llama")
    sweep = Driver(model, SweepSettings(max_new_tokens=3)).prepare(xtl.ParallelPair(SOURCE, TARGET))
    (cell, want) = next(verify.generate_cells(model, sweep.plan, [next(sweep.plan.cells())]))
    other = Generated([*want.tokens[:1], (want.tokens[1] + 1) % tiny.VOCAB, 4])
    monkeypatch.setattr(verify, "_draw", lambda plan, n: {0: cell})
    with pytest.raises(xtl.ModelError, match="failed its check"):
        verify.verify_answers(model, sweep.plan, [want, other], 1)
    monkeypatch.setitem(precision.ENGINE, torch.float32, 1e9)
    assert verify.verify_answers(model, sweep.plan, [want, other], 1) > 0


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("engine", ["loop", "batched", "packed"])
@pytest.mark.parametrize("bad_layer", [0, 2])
def test_logits_that_are_not_numbers_name_the_cell(tiny_model, engine, backend, bad_layer):
    model = tiny_model("llama", backend)
    bad = {
        ("mlp", layer): torch.full((32,), float("nan") if layer == bad_layer else 0.1) for layer in range(tiny.N_LAYERS)
    }
    where = f"cell mlp {bad_layer} -> 0"
    with pytest.raises(xtl.ModelError, match=f"{where}: the model's logits are NaN or infinite"):
        xtl.sweep(
            model, source=SOURCE, target=TARGET, max_new_tokens=2, modules=["mlp"], activations=bad, engine=engine
        )


@pytest.mark.hooked
def test_out_of_memory_halves_the_chunk_and_goes_on(tiny_model, monkeypatch):
    model = tiny_model("llama")
    whole = xtl.sweep(model, **SOME)
    real = hooked.PackedHooked.generate

    def short_of_memory(self, cells, sources, ends):
        if len(cells) > 8:
            raise torch.OutOfMemoryError("no more")
        return real(self, cells, sources, ends)

    monkeypatch.setattr(hooked.PackedHooked, "generate", short_of_memory)
    with pytest.warns(UserWarning, match="out of memory with 16 cells at a time; going on with 8"):
        parts = xtl.sweep(model, chunk_size=16, **SOME)
    np.testing.assert_array_equal(parts.tokens, whole.tokens)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number of at least 1, got 0"),
        ({"max_new_tokens": 120}, "target has .* tokens and 120 more to come; the model's context holds 128"),
        ({"steps": "last"}, "unknown steps 'last'; valid: first, every"),
        (
            {"max_new_tokens": None, "text_score": TextScore("a", "a", lambda *_: 0.0)},
            "text_score 'a' scores generated",
        ),
        ({"max_new_tokens": None}, "nothing to score: give options with gold, or answer"),
    ],
)
def test_bad_input(tiny_model, change, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.sweep(tiny_model("llama"), **(SOME | change))
