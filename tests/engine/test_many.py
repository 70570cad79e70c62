from __future__ import annotations

import gc
import io

import pytest
import torch

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from xtl.progress import SweepProgress

CELLS = tiny.N_LAYERS**2


def pairs(n):
    return [xtl.ParallelPair(f"{SOURCE} {i}", f"{TARGET} {i}", options=("a", "b"), gold=0, id=str(i)) for i in range(n)]


def test_maps_come_one_by_one(tiny_model):
    done = []
    maps = xtl.sweep_many(tiny_model("llama"), pairs(3), modules=["mlp"], progress=lambda n, of: done.append((n, of)))
    first = next(maps)
    assert first.example.item() == "0"
    assert done[-1] == (CELLS, 3 * CELLS)
    assert [one.example.item() for one in maps] == ["1", "2"]
    assert done[-1] == (3 * CELLS, 3 * CELLS)


def test_a_generator_of_pairs_is_taken_pair_by_pair(tiny_model):
    taken = []

    def taking():
        for pair in pairs(50):
            taken.append(pair.id)
            yield pair

    maps = xtl.sweep_many(tiny_model("llama"), taking(), modules=["attn"], source_layers=[0])
    assert taken == []
    next(maps)
    next(maps)
    assert taken == ["0", "1"]


def test_a_list_is_checked_before_the_first_pair_runs_and_a_generator_at_its_pair(tiny_model):
    bad = xtl.ParallelPair(SOURCE, "x" * 500, options=("a", "b"), gold=0)
    other = xtl.ParallelPair(SOURCE, TARGET, answer="a")
    with pytest.raises(xtl.InputError, match="target has 501 tokens"):
        xtl.sweep_many(tiny_model("llama"), [*pairs(1), bad])
    for wrong, message in ((bad, "target has 501 tokens"), (other, "some pairs have options and some have not")):
        maps = xtl.sweep_many(tiny_model("llama"), iter([*pairs(1), wrong]), modules=["mlp"])
        next(maps)
        with pytest.raises(xtl.InputError, match=message):
            next(maps)
    with pytest.raises(xtl.InputError, match="maps is empty"):
        xtl.concat_maps(xtl.sweep_many(tiny_model("llama"), iter([])))


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_memory_is_flat(tiny_model, backend):
    """No tensor of a pair stays behind, whether it is scored or answered."""
    model = tiny_model("llama", backend)

    def tensors():
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    gc.collect()
    gc.freeze()  # what is there already is not looked through again and again
    for settings in ({}, {"max_new_tokens": 2}):
        maps = xtl.sweep_many(model, pairs(4), modules=["attn"], source_layers=[0], **settings)
        counts = [tensors() for _ in maps]
        assert max(counts) - min(counts) <= 2
    gc.unfreeze()


def test_progress_says_pairs_speed_and_time_left(tiny_model, capsys, monkeypatch):
    list(xtl.sweep_many(tiny_model("llama"), pairs(2), modules=["mlp"], progress=True))
    (line,) = capsys.readouterr().err.splitlines()  # no terminal: one line, and one a minute before
    assert line.startswith("pairs 2/2, ")
    assert "cells a second, 0:00:0" in line
    assert line.endswith("0:00:00 left")
    list(xtl.sweep_many(tiny_model("llama"), pairs(1), modules=["mlp"]))
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_and_elsewhere(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("xtl.progress.time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    with SweepProgress(10, 1000, stream=stream) as bar:
        for minute in range(1, 4):
            clock[0] = 60.0 * minute
            bar.cells(100 * minute)
        clock[0] += 1
        bar.cells(301)  # within the minute: no line
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0] == "pairs 0/10, 2 cells a second, 0:01:00 elapsed, 0:09:00 left"
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    with SweepProgress(10, 1000, stream=terminal) as bar:
        clock[0] += 60
        bar.cells(500)
        bar.pairs(5)
    assert "pairs 5/10" in terminal.getvalue()
