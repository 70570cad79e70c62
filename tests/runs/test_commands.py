"""`xtl run`, `xtl status` and `xtl export`, as people use them: also by Ctrl-C and kill."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.runs.filling import FORKS, content, run_command
from xtl.engine.driver import Driver
from xtl.errors import InputError
from xtl.runs import open_run, run_study


def flags(model: str) -> list[str]:
    return ["--models", model, "--tasks", "capitals", "--directions", "en:es,en:de", "--limit", "2"]


def test_a_run_by_flags_goes_on_is_reported_and_exported(run, loaded, tmp_path):
    folder = tmp_path / "ein Lauf 日"
    code, out, err = run("run", *flags(loaded), "--out", folder)
    assert code == 0
    assert "4 of 4 pairs are done" in out
    assert "pairs 4/4" in err
    code, out, _ = run("run", *flags(loaded), "--out", folder, "--json")
    assert code == 0
    assert json.loads(out)["n_before"] == 4
    code, out, _ = run("status", folder)
    assert code == 0
    assert "not at work; pairs 4/4, 0 failed" in out
    code, out, _ = run("status", folder, "--json")
    assert json.loads(out)["pairs_done"] == 4
    code, out, _ = run("export", folder, "--format", "csv")
    assert code == 0
    assert len((folder / "export.csv").read_text(encoding="utf-8").splitlines()) == 1 + 4 * 32


def test_a_run_from_a_file_with_a_flag_in_place_of_a_key(run, loaded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my study.yaml").write_text(f"models: ['{loaded}']\ntasks: [capitals]\ndirections: [en->es]\nlimit: 9\n")
    code, _, _ = run("run", "my study.yaml", "--limit", "1")
    assert code == 0
    assert open_run("runs/my study").sizes["example"] == 1
    assert "limit: 1" in Path("runs/my study/study.yaml").read_text()


def test_a_dry_run_writes_nothing(run, loaded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("run", *flags(loaded), "--dry-run", "--workers", "local:4")
    assert code == 0
    assert "pairs           4" in out
    assert "on 4 workers" in out
    code, out, _ = run("run", *flags(loaded), "--dry-run", "--no-calibration", "--json")
    estimate = json.loads(out)
    assert (code, estimate["cells"], estimate["seconds"]) == (0, 128, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "give a study (a YAML file), or at least --tasks"),
        (["run", "none.yaml"], "cannot read study 'none.yaml'"),
        (["run", "--tasks", "capitals"], "give --out"),
        (["run", "--tasks", "capitls", "--out", "r"], "unknown task 'capitls'"),
        (["run", "--tasks", "capitals", "--out", "r", "--workers", "many"], "workers 'many' must be local:N"),
        (["run", "--tasks", "capitals", "--out", "r", "--activations", "tape"], "unknown activations 'tape'"),
        (["run", "--tasks", "capitals", "--out", "r", "--source-layers", "a"], "is no list of layers"),
        (["run", "--tasks", "capitals", "--out", "r", "--no-calibration"], "goes with --dry-run"),
        (["run", "--tasks", "capitals", "--out", "r", "--chat", "ja"], "unknown --chat 'ja'; valid: false, true, auto"),
        (["status", "none"], "no run at 'none'"),
        (["export", "none", "--format", "csv"], "no run at 'none'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_and_nothing_is_written(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_flags_on_loading_hold_for_all_models_and_remote_code_is_no_key_of_a_study(
    run, tiny_folder, tmp_path, monkeypatch
):
    models, given = [str(tiny_folder("llama")), str(tiny_folder("gpt2"))], []

    def load(name, **options):
        given.append((name, options))
        raise InputError("not today")

    from xtl.runs import run as runs

    studies, real = [], runs.make_jobs
    monkeypatch.setattr(runs, "make_jobs", lambda study: studies.append(study) or real(study))
    monkeypatch.setattr("xtl.models.load_model", load)
    monkeypatch.setattr("xtl.runs.preflight.check_placement", lambda *_: None)  # as if bitsandbytes were there
    options = ["--device-map", "auto", "--quantization", "4bit", "--trust-remote-code", "--dtype", "bfloat16"]
    start = ["run", "--tasks", "capitals", "--directions", "en:es", "--limit", "1", "--out", tmp_path / "run"]
    code, _, err = run(*start, "--models", ",".join(models), *options)
    assert (code, err.splitlines()[-1]) == (2, "xtl: not today")
    (name, asked), *_ = given
    assert (name, asked["device_map"], asked["quantization"], asked["dtype"]) == (models[0], "auto", "4bit", "bfloat16")
    assert asked["trust_remote_code"] is True
    assert not (tmp_path / "run").exists()
    written = studies[0].to_yaml()
    assert written.count("device_map: auto") == 2
    assert "trust" not in written
    (tmp_path / "study.yaml").write_text(
        f"tasks: capitals\nmodels: [{{name: '{models[0]}', trust_remote_code: true}}]\n"
    )
    code, _, err = run("run", tmp_path / "study.yaml", "--out", tmp_path / "other")
    assert code == 2
    assert "unknown key 'trust_remote_code'" in err
    assert "--device-map goes with --models" in run("run", tmp_path / "study.yaml", "--device-map", "auto")[2]


def test_failed_pairs_are_told_and_the_exit_code_says_so(run, loaded, tmp_path, monkeypatch):
    real = Driver.map

    def fails_on_one(driver, sweep, *arguments):
        if sweep.pair.target_lang == "de" and sweep.pair.id.endswith("KG"):
            raise MemoryError
        return real(driver, sweep, *arguments)

    monkeypatch.setattr(Driver, "map", fails_on_one)
    code, out, err = run("run", *flags(loaded), "--out", tmp_path / "run")
    assert code == 3
    assert "3 of 4 pairs are done" in out
    assert "failed: en->de capitals/KG: out of memory" in err
    assert "1 pairs failed; the same command tries them again" in err


def test_sigterm_puts_things_in_order_and_ends(run, loaded, tmp_path, monkeypatch):
    from xtl.runs.compute import Computer

    real, calls = Computer.compute, []

    def told_to_end(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        return real(self, *arguments)

    monkeypatch.setattr(Computer, "compute", told_to_end)
    before = signal.getsignal(signal.SIGTERM)
    code, out, err = run("run", *flags(loaded), "--out", tmp_path / "run")
    assert code == 130
    assert "2 of 4 pairs are done" in out
    assert "stopped; the same command goes on from here" in err
    assert not list((tmp_path / "run/pending").iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.xdist_group("forks")
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_process_that_is_stopped_or_killed_loses_nothing_that_was_done(loaded, tmp_path, number, exit_code):
    """A real process, with the loop as engine so that it is not through before the signal comes."""
    study = {"models": loaded, "tasks": "capitals", "directions": ["en:es", "en:de"], "limit": 3, "engine": "loop"}
    study |= {"source_layers": [0, 2]}
    run_study(study, tmp_path / "whole")
    folder = tmp_path / "run"
    options = [*flags(loaded)[:-1], "3", "--engine", "loop", "--source-layers", "0,2", "--out", str(folder)]
    process = FORKS.Process(
        target=run_command, args=(["run", *options], str(tmp_path / "err"), torch.get_num_threads())
    )
    process.start()
    deadline = time.monotonic() + 300
    log = folder / "log.jsonl"
    while time.monotonic() < deadline and process.is_alive():
        if log.exists() and log.read_text().count('"done"') >= 1:
            break
        time.sleep(0.01)
    os.kill(process.pid, number)
    process.join()
    done = log.read_text().count('"done"')
    if done == 6:
        pytest.skip("it was through before the signal came")
    assert process.exitcode == exit_code, (tmp_path / "err").read_text()
    outcome = run_study(study, folder)
    assert done - 1 <= outcome.n_before <= done
    assert content(folder) == content(tmp_path / "whole")
