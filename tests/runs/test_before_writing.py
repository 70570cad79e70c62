"""A wrong setting is told before the first byte is written, and the corrected command works in the same folder."""

from __future__ import annotations

import json

import pytest

import xtl
from tests.runs.filling import jobs_of
from xtl.runs import Study, compute, run_study
from xtl.runs.dry_run import dry_run
from xtl.runs.manifest import make_manifest
from xtl.runs.store import Store

STUDY = {"tasks": "capitals", "directions": ["en:es"], "limit": 1}

WRONG = {
    "a layer out of range": ({"source_layers": [0, 99]}, "out of range"),
    "a layer twice": ({"target_layers": [0, -4]}, "names a layer twice"),
    "no cells at a time": ({"chunk_size": 0}, "chunk_size"),
    "no such device": ({"device": "cuda:7"}, "cuda:7"),
    "no such kind of device": ({"device": "gpu"}, "unknown device 'gpu'"),
    "a chat template that is not there": ({"chat": True}, "no chat template"),
    "longer answers than the context": ({"score": "none", "max_new_tokens": 500}, "context holds 128"),
    "an engine that can't": ({"engine": "packet"}, "unknown engine"),
    "a quantisation that is not installed": ({"quantization": "4bit"}, "bitsandbytes"),
}


@pytest.mark.parametrize("place", ["alone", "after another"])
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_study_leaves_no_trace_and_the_corrected_one_runs(loaded, tiny_folder, tmp_path, what, place):
    wrong, message = WRONG[what]
    own = {name: wrong[name] for name in ("device", "quantization") if name in wrong}
    models = [{"name": loaded, **own}]
    if place == "after another":
        if what == "longer answers than the context":
            pytest.skip("a pair of the second model then fails by itself")
        models.insert(0, {"name": loaded, "dtype": "float64"})
    asked = STUDY | {"models": models} | {name: value for name, value in wrong.items() if name not in own}
    with pytest.raises((xtl.InputError, xtl.ModelError), match=message):
        run_study(asked, tmp_path / "deep" / "run")
    assert not list(tmp_path.iterdir())
    assert run_study(STUDY | {"models": loaded}, tmp_path / "deep" / "run").n_done == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": "ray:127.0.0.1:1"}, "ray"),
        ({"workers": "spark"}, "workers 'spark'"),
        ({"activations": "tape"}, "activations"),
    ],
)
def test_wrong_ways_of_running_leave_no_trace(loaded, tmp_path, arguments, message):
    with pytest.raises(xtl.InputError, match=message):
        run_study(STUDY | {"models": loaded}, tmp_path / "run", **arguments)
    assert not list(tmp_path.iterdir())


def test_processes_find_a_wrong_study_before_anything_is_written(tiny_folder, tmp_path, monkeypatch):
    from xtl.runs import preflight

    monkeypatch.setattr(
        preflight, "check_study_layers", lambda *_: None
    )  # as if they were known to the loaded model alone
    study = STUDY | {"models": str(tiny_folder("llama")), "source_layers": [99]}
    with pytest.raises(xtl.ModelError, match="out of range"):
        run_study(study, tmp_path / "run", workers="local:2")
    assert not list(tmp_path.iterdir())


def test_a_second_model_is_checked_before_the_first_is_loaded(loaded, tiny_folder, tmp_path, monkeypatch):
    config = json.loads((tiny_folder("gpt2") / "config.json").read_text())
    n_layers = config.get("n_layer") or config["num_hidden_layers"]
    monkeypatch.setattr(compute.Computer, "load", lambda *_: pytest.fail("a model was loaded"))
    study = STUDY | {"models": [loaded, str(tiny_folder("gpt2"))], "target_layers": [n_layers]}
    with pytest.raises(xtl.InputError, match="target_layers"):
        run_study(study, tmp_path / "run")
    with pytest.raises(xtl.InputError, match="target_layers"):
        dry_run(Study.read(study))


def test_a_run_of_which_nothing_came_takes_another_study(loaded, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(compute.Computer, "compute", lambda self, job, *_: compute.Failure(job.number, "no"))
        assert len(run_study(STUDY | {"models": loaded}, tmp_path / "run").failed) == 1
    with Store(tmp_path / "run", jobs_of()) as store:
        assert store.manifest["study"]["limit"] == 3
    outcome = run_study(STUDY | {"models": loaded, "modules": ["mlp"]}, tmp_path / "run")
    assert (outcome.n_before, outcome.n_done) == (0, 1)
    with pytest.raises(xtl.InputError, match="holds another study"):
        run_study(STUDY | {"models": loaded}, tmp_path / "run")


def test_activations_that_a_quick_worker_keeps_before_the_run_is_begun_are_not_in_its_way(tmp_path, monkeypatch):
    def worker_is_quicker(jobs):
        (tmp_path / "run" / "activations").mkdir()
        return make_manifest(jobs)

    monkeypatch.setattr("xtl.runs.begin.make_manifest", worker_is_quicker)
    with Store(tmp_path / "run", jobs_of()) as store:
        assert store.is_open


def test_activations_of_somebody_else_are_left_alone(loaded, tmp_path):
    (tmp_path / "activations").mkdir()
    with pytest.raises(xtl.InputError, match=r"holds other things \(activations\)"):
        run_study(STUDY | {"models": loaded}, tmp_path)
    (tmp_path / "activations" / "mine.safetensors").touch()
    (tmp_path / "activations" / f"{'0' * 64}.safetensors").touch()
    with pytest.raises(xtl.InputError, match=r"holds other things \(activations\)"):
        run_study(STUDY | {"models": loaded}, tmp_path)


@pytest.mark.parametrize("left", [".lock", f"activations/{'0' * 64}.safetensors", "activations/.0.safetensors.7.tmp"])
def test_a_run_killed_between_its_activations_and_its_manifest_goes_on(loaded, tmp_path, left):
    (tmp_path / "activations").mkdir()
    (tmp_path / left).touch()
    assert run_study(STUDY | {"models": loaded}, tmp_path).n_done == 1
    assert not (tmp_path / "activations").exists()


@pytest.mark.parametrize("flag", ["--source-layers=0,99", "--target-layers=1,1", "--chat=true"])
@pytest.mark.parametrize("command", ["sweep", "protocol"])
def test_sweeps_and_protocols_leave_no_trace_either(run, loaded, tmp_path, command, flag):
    asked = {
        "sweep": ["sweep", "--task", "capitals", "--source-lang", "en", "--target-lang", "es"],
        "protocol": ["protocol", "upper-bound", "--task", "capitals", "--languages", "es"],
    }[command]
    asked += ["--model", loaded, "--limit", "1", "--out", str(tmp_path / "deep" / "out")]
    code, out, err = run(*asked, flag)
    assert (code, out) == (2, ""), err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", ["upper-bound", "fixed", "select"])
@pytest.mark.parametrize("where", ["hub", "no folder", "empty folder"])
def test_a_protocol_without_its_data_says_where_that_is_before_a_model_is_loaded(
    run, tmp_path, monkeypatch, protocol, where
):
    import huggingface_hub

    tried = []

    def no_network(*arguments, **options):
        tried.append(arguments)
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    monkeypatch.setattr("xtl.models.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    monkeypatch.delenv("XTL_DATA", raising=False)
    (tmp_path / "empty").mkdir()
    data = {"hub": [], "no folder": ["--data", tmp_path / "none"], "empty folder": ["--data", tmp_path / "empty"]}
    code, out, err = run("protocol", protocol, "--task", "xnli", *data[where], "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "the paper's data is the folder data/ of https://github.com/" in err
    assert "--data" in err or where != "hub"
    assert len(tried) == (where == "hub"), "what can't be reached for one language is not asked for in each"
    assert not (tmp_path / "out").exists()
