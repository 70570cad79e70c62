"""`run_study` on a tiny model: what it computes, what fails, and how it goes on."""

from __future__ import annotations

import io
import json
import math
import sys
import time

import numpy as np
import psutil
import pytest

import xtl
from tests.conftest import stop_in_call
from tests.runs.filling import content
from xtl.engine.driver import Driver
from xtl.engine.prepare import SweepSettings
from xtl.progress import SweepProgress
from xtl.publish.export import export_run
from xtl.runs import Study, open_run, run_study
from xtl.runs.activations import ActivationCache
from xtl.runs.compute import Computer, reason
from xtl.runs.dry_run import dry_run
from xtl.runs.status import in_words, run_status

STUDY = {"tasks": "capitals", "directions": ["en:es", "en:de"], "limit": 2}


@pytest.fixture
def study(loaded) -> dict:
    return STUDY | {"models": loaded}


def reference(model, study, **settings):
    pairs = [pair for lang in ("es", "de") for pair in xtl.get_task("capitals").pairs("en", lang, limit=study["limit"])]
    return xtl.concat_maps(xtl.sweep_many(model, pairs, **settings))


def check_same(found, want):
    assert set(found.data_vars) == set(want.data_vars)
    for name in want.data_vars:
        np.testing.assert_array_equal(found[name].values, want[name].values, err_msg=str(name))
        assert found[name].dtype == want[name].dtype
    for name in ("example", "source_lang", "target_lang", "source", "target", "gold"):
        assert found[name].values.tolist() == want[name].values.tolist()
    assert {key: found.attrs[key] for key in want.attrs} == want.attrs


@pytest.mark.parametrize("activations", ["memory", "disk", "off"])
def test_a_run_holds_what_sweep_many_gives(study, tiny_model, tmp_path, activations):
    outcome = run_study(study, tmp_path / "run", activations=activations)
    assert (outcome.n_pairs, outcome.n_done, outcome.failed, outcome.stopped) == (4, 4, {}, False)
    check_same(open_run(tmp_path / "run"), reference(tiny_model("llama"), study))


@pytest.mark.parametrize("score", ["none", "strict"])
def test_generated_answers_are_kept_with_their_tokens(study, tiny_model, tmp_path, score):
    study = study | {"score": score, "max_new_tokens": 2, "modules": ["mlp"], "source_layers": [0, -1]}
    run_study(study, tmp_path / "run")
    from xtl.scoring.names import get_text_score

    want = reference(
        tiny_model("llama"), study, modules=["mlp"], source_layers=[0, -1], max_new_tokens=2,
        text_score=None if score == "none" else get_text_score(score),
    )  # fmt: skip
    check_same(open_run(tmp_path / "run"), want)


def test_the_same_command_goes_on_and_ends_with_the_same_files(study, tmp_path, monkeypatch):
    from xtl.runs.compute import Computer

    run_study(study, tmp_path / "whole")
    with monkeypatch.context() as patch:
        calls = stop_in_call(patch, Computer, "compute", 3)
        outcome = run_study(study, tmp_path / "run")
    assert outcome.stopped
    assert outcome.n_done == 2
    assert not list((tmp_path / "run/pending").iterdir())
    assert "pairs: 2 of 4" in (tmp_path / "run/README.md").read_text(encoding="utf-8")
    outcome = run_study(study, tmp_path / "run")
    assert (outcome.n_before, outcome.n_done) == (2, 4)
    assert content(tmp_path / "run") == content(tmp_path / "whole")
    assert (tmp_path / "run/README.md").read_bytes() == (tmp_path / "whole/README.md").read_bytes()
    calls.clear()
    assert run_study(study, tmp_path / "run").n_before == 4


def test_a_pair_that_fails_is_recorded_and_the_rest_goes_on(study, loaded, tmp_path, monkeypatch):
    path = tmp_path / "questions é.jsonl"
    rows = [
        {"id": "short", "source": "The sky is", "target": "El cielo es"},
        {"id": "long", "source": "The sky is", "target": "El cielo es " * 20},
        {"id": "dear", "source": "The sea is", "target": "El mar es"},
    ]
    shared = {"source_lang": "en", "target_lang": "es", "options": [" azul", " rojo"], "gold": 0}
    path.write_text("\n".join(json.dumps(row | shared) for row in rows), encoding="utf-8")
    real = Driver.map

    def dear(driver, sweep, *arguments):
        if sweep.pair.target == "El mar es":
            raise MemoryError("can't allocate memory: you tried to allocate 9 GB")
        return real(driver, sweep, *arguments)

    monkeypatch.setattr(Driver, "map", dear)
    study = {"models": loaded, "tasks": str(path), "directions": "en:es"}
    outcome = run_study(study, tmp_path / "run")
    assert outcome.n_done == 1
    reasons = {name.split()[-1].split("/")[-1]: why for name, why in outcome.failed.items()}
    assert "tokens; the model's context holds 128" in reasons["long"]
    assert reasons["dear"].startswith("out of memory (can't allocate memory")
    assert [name.split("/")[-1] for name in open_run(tmp_path / "run")["example"].values] == ["short"]
    status = run_status(tmp_path / "run")
    assert list(status["failed"]) == list(outcome.failed)
    assert all(name.startswith("en->es ") for name in outcome.failed)
    assert "out of memory" in in_words(status)
    monkeypatch.setattr(Driver, "map", real)
    outcome = run_study(study, tmp_path / "run")
    assert (outcome.n_before, outcome.n_done, len(outcome.failed)) == (1, 2, 1), "failures are tried again"
    assert len(run_status(tmp_path / "run")["failed"]) == 1


def test_a_pair_that_fails_on_two_models_is_two_failures(study, tmp_path, monkeypatch):
    from xtl.runs import compute

    monkeypatch.setattr(compute.Computer, "compute", lambda self, job, *_: compute.Failure(job.number, "no"))
    monkeypatch.setattr(compute.Computer, "load", lambda self, index: None)
    models = [{"name": study["models"]}, {"name": study["models"], "dtype": "bfloat16"}]
    outcome = run_study(study | {"models": models}, tmp_path / "run")
    assert len(outcome.failed) == outcome.n_pairs == 8
    assert list(run_status(tmp_path / "run")["failed"]) == list(outcome.failed)


def test_prompts_are_wrapped_where_the_study_says_so(study, tiny_model, tmp_path, monkeypatch):
    model = tiny_model("llama")
    with pytest.raises(xtl.InputError, match="chat=True, but the model's tokenizer has no chat template"):
        run_study(study | {"chat": True}, tmp_path / "none")
    template = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}"
    monkeypatch.setattr(model.tokenizer, "chat_template", template)
    run_study(study | {"chat": "auto"}, tmp_path / "chat")
    run_study(study, tmp_path / "raw")
    wrapped, raw = open_run(tmp_path / "chat"), open_run(tmp_path / "raw")
    assert wrapped["target"].values.tolist() == [f"<s>[{text}]" for text in raw["target"].values]
    assert not np.array_equal(wrapped["score"], raw["score"])
    with pytest.raises(xtl.InputError, match="chat False -> auto"):
        run_study(study | {"chat": "auto"}, tmp_path / "raw")


def test_what_is_not_a_users_mistake_is_a_failure_with_its_kind():
    assert reason(RuntimeError("CUDA error\n at line 3")) == "RuntimeError: CUDA error at line 3"
    assert reason(xtl.InputError("source has 9 tokens")) == "source has 9 tokens"


def test_a_model_with_other_weights_is_refused(study, tmp_path, monkeypatch):
    run_study(study, tmp_path / "run")
    (victim,) = (tmp_path / "run/cells").glob("*en-es*")
    victim.unlink()
    monkeypatch.setattr("xtl.models.identity.hash_weights", lambda model: "0" * 64)
    with pytest.raises(xtl.InputError, match=r"holds another study .* weights_sha256"):
        run_study(study, tmp_path / "run")


def test_the_hash_of_the_weights_sees_one_changed_number(tiny_model):
    import copy

    from xtl.models.identity import hash_weights

    model = tiny_model("llama")
    before = hash_weights(model)
    changed = copy.deepcopy(model)
    changed.blocks[2].mlp.W_in.data[0, 0] += 1e-3
    assert hash_weights(changed) != before == hash_weights(model)


def test_sources_are_read_once_for_all_directions(study, tiny_model, tmp_path, monkeypatch):
    from xtl.runs import activations

    model, calls = tiny_model("llama"), []
    real = activations.read_activations
    monkeypatch.setattr(activations, "read_activations", lambda *a: calls.append(1) or real(*a))
    cards = xtl.get_task("capitals")
    driver = Driver(model, SweepSettings())
    plans = [driver.prepare(pair).plan for lang in ("es", "de", "fr") for pair in cards.pairs("en", lang, limit=2)]
    size = sum(
        tensor.nbytes for tensor in real(model, plans[0].source_ids, plans[0].modules, plans[0].source_layers).values()
    )
    for cache, reads in [
        (ActivationCache("m"), 2),
        (ActivationCache("m", memory=size), 6),
        (ActivationCache("m", tmp_path / "a b", memory=size), 2),
        (ActivationCache("m", tmp_path / "a b"), 0),
        (ActivationCache("another model", tmp_path / "a b"), 2),
    ]:
        calls.clear()
        for plan in plans:
            found = cache.get(model, plan)
            want = real(model, plan.source_ids, plan.modules, plan.source_layers)
            assert found.keys() == want.keys()
            assert all(bool((found[site] == want[site]).all()) for site in want)
        assert len(calls) == reads == cache.misses
        assert cache._bytes <= max(cache.memory, size)
    for file in (tmp_path / "a b").iterdir():
        data = bytearray(file.read_bytes())
        data[-3] ^= 1
        file.write_bytes(data)
    calls.clear()
    ActivationCache("m", tmp_path / "a b").get(model, plans[0])
    assert len(calls) == 1, "what is damaged is computed again"


def test_modules_and_layers_have_activations_of_their_own(tiny_model):

    model, cache = tiny_model("llama"), ActivationCache("m")
    pair = xtl.get_task("capitals").pairs("en", "es", limit=1)[0]
    for settings in ({"modules": ["attn"]}, {"modules": ["mlp"]}, {"modules": ["attn"], "source_layers": [2]}):
        plan = Driver(model, SweepSettings(**settings)).prepare(pair).plan
        assert list(cache.get(model, plan)) == [(m.name, layer) for m in plan.modules for layer in plan.source_layers]
    assert cache.misses == 3


def test_a_dry_run_counts_and_measures(study, tmp_path):
    study = study | {"limit": 6}
    checked = Study.read(study)
    counted = dry_run(checked, calibrate=False)
    assert (counted.pairs, counted.cells, counted.seconds) == (12, 12 * 32, None)
    measured = dry_run(checked, workers=2)
    assert (measured.pairs, measured.cells) == (12, 12 * 32)
    part = measured.parts[0]
    assert measured.seconds == pytest.approx(12 * part.seconds_a_map / 2)
    assert measured.memory > 1e7
    assert "pairs           12" in measured.in_words()
    run_study(study, tmp_path / "run")
    size = sum(path.stat().st_size for table in ("cells", "vanilla") for path in (tmp_path / "run" / table).iterdir())
    assert measured.disk == pytest.approx(size, rel=0.3)


@pytest.mark.skipif(sys.platform != "linux", reason="a peak can be begun anew on Linux")
def test_a_dry_run_counts_the_memory_of_maps_and_not_what_a_load_passed_through(study, monkeypatch):
    big, load = 400 * 10**6, Computer.load

    def load_with_a_peak(self, index):
        if self._index != index:  # it is asked for again before each map
            bytearray(big)
        load(self, index)

    monkeypatch.setattr(Computer, "load", load_with_a_peak)
    before = psutil.Process().memory_info().rss
    assert dry_run(Study.read(study | {"limit": 1})).memory < before + big // 2


def test_exports_hold_what_the_run_holds(study, tmp_path):
    import pandas as pd
    import xarray as xr

    run = tmp_path / "run"
    run_study(study, run)
    want = open_run(run)
    for path, read in ((export_run(run, "csv"), pd.read_csv), (export_run(run, "parquet"), pd.read_parquet)):
        table = read(path)
        assert len(table) == 4 * 32
        np.testing.assert_allclose(table["gain"].to_numpy("float32"), want["gain"].values.ravel(), rtol=1e-6)
        assert table["vanilla_score"].nunique() == 4
    with xr.open_dataset(export_run(run, "netcdf", tmp_path / "other.nc"), engine="scipy") as back:
        np.testing.assert_array_equal(back["gain"].values, want["gain"].values)
        assert [str(name) for name in back["example"].values] == want["example"].values.tolist()
    latex = export_run(run, "latex").read_text(encoding="utf-8")
    assert latex.count(r"capitals & en $\to$ ") == 4
    assert r"\toprule" in latex
    with pytest.raises(xtl.InputError, match="unknown format 'xls'"):
        export_run(run, "xls")
    with pytest.raises(xtl.InputError, match="unknown task"):
        export_run(run, "csv", task="xnli")


def test_status_of_what_is_no_run_is_told(tmp_path):
    with pytest.raises(xtl.InputError, match="no run at"):
        run_status(tmp_path)


def test_progress_tells_language_failures_and_time_left_by_a_clock_that_cannot_jump(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: math.nan)
    out = io.StringIO()
    with SweepProgress(10, None, stream=out, before=2) as bar:
        bar.language = "xnli en->sw"
        now[0] += 20.0
        bar.loaded()
        for done in range(3, 7):
            now[0] += 30.0
            bar.done_cells += 600
            bar.pairs(done)
        bar.failed()
    lines = out.getvalue().splitlines()
    assert lines[0] == "pairs 4/10, xnli en->sw, 20 cells a second, 0:01:20 elapsed, 0:03:00 left"
    assert lines[-1] == "pairs 6/10, 1 failed, xnli en->sw, 20 cells a second, 0:02:20 elapsed, 0:01:12 left"
    assert len(lines) == 3, "a line a minute where there is no terminal"


def test_a_model_whose_folder_was_edited_is_refused_and_what_differs_is_said(
    tiny_folder, tmp_path, monkeypatch, capsys
):
    import shutil

    from xtl.runs.compute import Computer

    folder = shutil.copytree(tiny_folder("llama"), tmp_path / "model")
    study = STUDY | {"models": str(folder)}
    with monkeypatch.context() as patch:
        stop_in_call(patch, Computer, "compute", 2)
        assert run_study(study, tmp_path / "run").stopped
    before, config = content(tmp_path / "run"), json.loads((folder / "config.json").read_text())
    changed = config | {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(xtl.InputError, match=r"model .*: config rope_theta 3000.0 -> 500000.0"):
        run_study(study, tmp_path / "run")
    assert content(tmp_path / "run") == before
    (folder / "config.json").write_text(json.dumps(config))

    manifest = json.loads((tmp_path / "run/manifest.json").read_text())  # as an earlier version wrote it
    (name,) = manifest["models"]
    for part in ("config", "cfg", "tokenizer", "eos_token_ids", "tables_sha256"):
        del manifest["models"][name][part]
    (tmp_path / "run/manifest.json").write_text(json.dumps(manifest))
    capsys.readouterr()
    assert run_study(study, tmp_path / "run").n_done == 4
    assert "begun by an earlier version, which noted of model" in capsys.readouterr().err
    assert "config" in json.loads((tmp_path / "run/manifest.json").read_text())["models"][name]


def test_a_model_and_its_first_map_reported_in_one_go_make_no_rate_that_nobody_reached(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with SweepProgress(8, None, shown=False) as bar:
        now[0] += 30.0
        bar.loaded()
        bar.done_cells = 640
        bar.took(20.0)
        bar.pairs(1)
        now[0] += 1e-6
        assert bar.speed() == pytest.approx(640 / 20)
        assert bar.seconds_left() == pytest.approx(7 * 20)
        now[0] += 20.0
        bar.done_cells = 1280
        bar.took(20.0)
        bar.pairs(2)
        assert bar.speed() == pytest.approx(1280 / 40)


def test_maps_that_were_kept_count_for_no_speed(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with SweepProgress(4, 400, shown=False) as bar:
        for _ in range(2):
            now[0] += 0.01
            bar.was_done(100)
        assert bar.seconds_left() is None
        now[0] += 10.0
        bar.cells(100)
        bar.pairs(3)
        assert bar.speed() == pytest.approx(10)
        assert bar.seconds_left() == pytest.approx(10)
