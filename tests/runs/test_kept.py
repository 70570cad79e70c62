"""Maps that are kept, so that a sweep goes on where it was stopped."""

from __future__ import annotations

import inspect

import pytest
import torch
import xarray as xr

import xtl
from tests.conftest import SOURCE, TARGET
from xtl.engine import driver
from xtl.scoring.names import get_text_score

CELLS = {"modules": ["attn", "mlp"], "source_layers": [0, 2], "target_layers": [1, 3]}
SCORINGS = {
    "options": {},
    "answer": {},
    "generated": {"max_new_tokens": 3},
    "rated": {"max_new_tokens": 3, "text_score": get_text_score("strict")},
}


def pairs(n, scoring="options"):
    asked = {"answer": " Roma"} if scoring == "answer" else {"options": (" Roma", " Rom", "x"), "gold": 0}
    return [xtl.ParallelPair(f"{SOURCE} {i}", f"{TARGET} {i}", id=str(i), **asked) for i in range(n)]


@pytest.fixture
def computed(monkeypatch):
    """Target prompts of the maps that are computed, and not taken from a folder."""
    real, seen = driver.compute, []

    def compute(model, sweep, *rest):
        seen.append(sweep.pair.target)
        return real(model, sweep, *rest)

    monkeypatch.setattr(driver, "compute", compute)
    return seen


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("scoring", SCORINGS)
def test_what_was_kept_is_what_is_computed(tiny_model, tmp_path, computed, backend, scoring):
    model, settings = tiny_model("llama", backend), CELLS | SCORINGS[scoring]
    asked = pairs(3, scoring)
    straight = xtl.concat_maps(xtl.sweep_many(model, asked, **settings))
    maps = xtl.sweep_many(model, asked, keep=xtl.KeptMaps(tmp_path / "maps"), **settings)
    next(maps)
    next(maps)
    maps.close()  # stopped
    del computed[:]
    done = []
    resumed = xtl.sweep_many(
        model,
        asked,
        keep=xtl.KeptMaps(tmp_path / "maps"),
        progress=lambda n, of: done.append((n, of)),
        **settings,
    )
    xr.testing.assert_identical(xtl.concat_maps(resumed), straight)
    assert computed == [asked[2].target]
    assert done[:2] == [(8, 24), (16, 24)]
    assert done[-1] == (24, 24)


@pytest.mark.parametrize(
    "changes",
    [
        {"modules": ["attn"]},
        {"modules": ["mlp", "attn"]},
        {"source_layers": [0, 3]},
        {"target_layers": [1]},
        {"max_new_tokens": 2},
        {"verify": 0},
        {"engine": "loop"},
    ],
    ids=str,
)
def test_another_sweep_takes_nothing_of_it(tiny_model, tmp_path, computed, changes):
    model, keep = tiny_model("llama"), xtl.KeptMaps(tmp_path)
    list(xtl.sweep_many(model, pairs(1), keep=keep, **CELLS))
    found = xtl.concat_maps(xtl.sweep_many(model, pairs(1), keep=keep, **CELLS | changes))
    assert len(computed) == 2
    xr.testing.assert_identical(found, xtl.concat_maps(xtl.sweep_many(model, pairs(1), **CELLS | changes)))


def test_another_model_question_or_option_takes_nothing_of_it(tiny_model, tiny_folder, tmp_path, computed):
    keep = xtl.KeptMaps(tmp_path)
    (pair,) = pairs(1)
    models = [tiny_model("llama"), xtl.load_model(tiny_folder("llama"), dtype="float64"), tiny_model("gemma3")]
    asked = [
        pair,
        xtl.ParallelPair(SOURCE, pair.target, options=pair.options, gold=0),
        xtl.ParallelPair(pair.source, TARGET, options=pair.options, gold=0),
        xtl.ParallelPair(pair.source, pair.target, options=(" Roma", " Rom"), gold=0),
        xtl.ParallelPair(pair.source, pair.target, options=pair.options, gold=1),
    ]
    for model in models:
        list(xtl.sweep_many(model, asked, keep=keep, **CELLS))
    assert len(computed) == 15


def test_generated_texts_are_scored_anew(tiny_model, tmp_path, computed):
    model, keep = tiny_model("llama"), xtl.KeptMaps(tmp_path)
    (pair,) = pairs(1)
    other = xtl.ParallelPair(pair.source, pair.target, options=pair.options, gold=1)
    for score in (None, get_text_score("strict")):
        for asked in (pair, other):
            settings = CELLS | {"max_new_tokens": 3, "text_score": score}
            (kept,) = xtl.sweep_many(model, [asked], keep=keep, **settings)
            (fresh,) = xtl.sweep_many(model, [asked], **settings)
            xr.testing.assert_identical(kept, fresh)
    assert len(computed) == 1 + 4


def test_a_control_is_kept_apart(tiny_model, tmp_path, computed):
    model, keep = tiny_model("llama"), xtl.KeptMaps(tmp_path)
    real = xtl.concat_maps(xtl.sweep_many(model, pairs(3), keep=keep, **CELLS))
    runs = [
        xtl.concat_maps(xtl.controls.run(model, pairs(3), "shuffled_source", seed=seed, keep=keep, **CELLS))
        for seed in (0, 0)
    ]
    assert len(computed) == 6
    xr.testing.assert_identical(*runs)
    assert abs(runs[0].gain - real.gain).max() > 0


@pytest.mark.parametrize("damage", ["cut", "flip", "other"])
def test_a_damaged_file_is_computed_again(tiny_model, tmp_path, computed, damage):
    model, keep = tiny_model("llama"), xtl.KeptMaps(tmp_path)
    (first,) = xtl.sweep_many(model, pairs(1), keep=keep, **CELLS)
    (path,) = tmp_path.glob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-9], "flip": whole[:-1] + bytes([whole[-1] ^ 1]), "other": b"no safetensors"}[damage]
    )
    (again,) = xtl.sweep_many(model, pairs(1), keep=keep, **CELLS)
    xr.testing.assert_identical(again, first)
    assert len(computed) == 2
    (kept,) = xtl.sweep_many(model, pairs(1), keep=keep, **CELLS)
    xr.testing.assert_identical(kept, first)
    assert len(computed) == 2


def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(xtl.InputError, match=r"cannot write '.*file'"):
        xtl.KeptMaps(tmp_path / "file")


def test_a_folder_alone_is_told_how_to_be_kept_in(tiny_model):
    """What a user sees, whose types nobody checks."""
    with pytest.raises(xtl.InputError, match=r"keep must be an xtl\.KeptMaps, got 'maps'; write keep=xtl\.KeptMaps"):
        inspect.unwrap(xtl.sweep_many)(tiny_model("llama"), pairs(1), keep="maps")


def test_what_stands_beside_a_kept_map_is_under_its_checksum(tmp_path):
    """A flipped bit in how well the map was checked is as bad as one in the map."""
    from xtl.runs.tensors import read_tensor, write_tensor

    path = tmp_path / "one.safetensors"
    write_tensor(path, torch.arange(4.0), n_verified="1", largest_difference="1.5e-07")
    found = read_tensor(path)
    assert found is not None
    assert found[1] == {"n_verified": "1", "largest_difference": "1.5e-07"}
    whole = path.read_bytes()
    for old, new in ((b"1.5e-07", b"1.5e-08"), (b"n_verified", b"n_vorified")):
        path.write_bytes(whole.replace(old, new))
        assert read_tensor(path) is None
