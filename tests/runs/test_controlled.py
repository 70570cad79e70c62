"""Studies of a control: the same maps as `xtl.controls.run`, in a folder that survives."""

from __future__ import annotations

import json

import numpy as np
import pytest

import xtl
from tests.conftest import stop_in_call
from tests.runs.filling import content
from xtl import controls
from xtl.runs import Study, open_run, run_study

CELLS = {"modules": ["attn", "mlp"], "source_layers": [0, 2], "target_layers": [1, 3]}


@pytest.fixture
def study(loaded):
    directions = ["en:es", "en:de"]
    return {"models": loaded, "tasks": "capitals", "directions": directions, "limit": 3, "control_seed": 5} | CELLS


def pairs(source="en"):
    return [pair for target in ("es", "de") for pair in xtl.get_task("capitals").pairs(source, target, limit=3)]


@pytest.mark.parametrize("control", controls.CONTROLS)
def test_a_run_of_a_control_holds_what_the_control_gives(study, tiny_model, tmp_path, control):
    language = {"control_language": "fr"} if control == "other_language" else {}
    outcome = run_study(study | {"control": control} | language, tmp_path / "run")
    assert outcome.failed == {}
    others = pairs("fr") if language else None
    want = xtl.concat_maps(controls.run(tiny_model("llama"), pairs(), control, seed=5, others=others, **CELLS))
    found = open_run(tmp_path / "run")
    np.testing.assert_array_equal(found.gain.values, want.gain.values)
    assert found.example.values.tolist() == want.example.values.tolist()
    assert (found.attrs["control"], found.attrs["seed"]) == (control, 5)


@pytest.mark.parametrize("workers", ["local:1", "local:2"])
def test_a_control_that_is_stopped_ends_with_the_same_files(study, tmp_path, monkeypatch, workers):
    from xtl.runs.compute import Computer

    study = study | {"control": "shuffled_source"}
    run_study(study, tmp_path / "whole")
    stop_in_call(monkeypatch, Computer, "compute", 5)
    assert run_study(study, tmp_path / "out").stopped
    assert not run_study(study, tmp_path / "out", workers=workers).stopped
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_pair_that_is_too_long_fails_alone(study, tiny_model, tmp_path):
    asked = [
        {"id": str(n), "source_lang": "en", "target_lang": "es", "source": "x" * (900 if n == 0 else 5 + n)}
        | {"target": f"y{n}", "answer": " z"}
        for n in range(4)
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    study = study | {"tasks": str(tmp_path / "own.jsonl"), "directions": "en:es", "limit": None}
    outcome = run_study(study | {"control": "shuffled_source"}, tmp_path / "run")
    assert outcome.n_done == 2  # the long one, and the one that is lent it, have failed
    assert all("tokens" in why for why in outcome.failed.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"control": "shuffled"}, "unknown control 'shuffled' .did you mean 'shuffled_source'"),
        ({"control": "other_language"}, "control other_language needs control_language"),
        ({"control_language": "fr"}, "control_language goes with the control other_language, not with None"),
        ({"control": "other_language", "control_language": "es"}, "control_language 'es' is no third language"),
        ({"control": "other_language", "control_language": "xx"}, "unknown language 'xx'"),
        ({"control": "mean", "limit": 1}, "control mean needs other instances; capitals en->es has one alone"),
    ],
)
def test_bad_input_is_told_before_anything_is_made(study, tmp_path, changes, message):
    with pytest.raises(xtl.InputError, match=message):
        run_study(study | changes, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_control_is_another_study(study, tmp_path):
    run_study(study | {"control": "zero"}, tmp_path / "run")
    with pytest.raises(xtl.InputError, match="changed: control zero -> mean"):
        run_study(study | {"control": "mean"}, tmp_path / "run")


def test_on_the_command_line(run, study, tmp_path):
    flags = ["--models", study["models"], "--tasks", "capitals", "--directions", "en:es", "--limit", 5]
    cells = ["--source-layers", "0,2", "--target-layers", "1,3"]
    assert run("run", *flags, *cells, "--out", tmp_path / "real")[0] == 0
    control = ["--control", "shuffled_source", "--control-seed", 1]
    assert run("run", *flags, *cells, *control, "--out", tmp_path / "control")[0] == 0
    assert Study.read(tmp_path / "control/study.yaml").control_seed == 1
    code, out, _ = run("summary", tmp_path / "real", tmp_path / "control", "--json")
    assert code == 0
    assert {row["quantity"] for row in json.loads(out)} >= {"upper_bound", "chance_upper_bound"}
