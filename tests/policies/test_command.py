"""`xtl apply`, and the policies that `xtl protocol select` writes."""

from __future__ import annotations

import json

import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from xtl import runs

CELL = {"module": "mlp", "source_layer": 3, "target_layer": 1}


def test_select_writes_what_it_chose_and_apply_takes_it(run, loaded, tmp_path):
    data = ["--task", "capitals", "--languages", "es", "--limit", 5, "--model", loaded]
    cells = ["--modules", "mlp", "--source-layers", "0,2", "--target-layers", "1,3", "--control", "shuffled_source"]
    command = ["protocol", "select", *data, *cells]
    out = tmp_path / "out"
    code, said, err = run(*command, "--out", out)
    assert code == 0, err
    results = runs.load_results(out / "results.parquet")
    for language in ("es",):
        policy = xtl.Policy.load(out / "policies" / language)
        assert str(out / "policies" / language) in said
        part = results.isel(example=results.target_lang.values == language)
        assert policy.direction == f"en->{language}"
        assert {policy.source_layer} == set(part.chosen_source_layer.values)
        assert {policy.target_layer} == set(part.chosen_target_layer.values)
        assert policy.held_out.figures["gain"][0] == pytest.approx(float(part.gain.mean()), abs=1e-6)
        assert policy.held_out.figures["accuracy"][0] == pytest.approx(float(part.correct.mean()))
        assert policy.held_out.control == "shuffled_source"
        assert (policy.held_out.n, policy.chosen.n, policy.chosen.split) == (5, 5, "sample")
        assert not set(policy.chosen.instances) & set(part.example.values)
    code, said, err = run("apply", out / "policies/es", "--prompt", TARGET, "--source", SOURCE, "--model", loaded,
                          "--max-new-tokens", 4, "--json")  # fmt: skip
    assert code == 0, err
    es = xtl.Policy.load(out / "policies/es")
    assert abs(es.held_out.figures["control_gain"][0] - es.held_out.figures["gain"][0]) > 1e-3
    one = xtl.transplant(
        xtl.models.load_model(loaded), source=SOURCE, target=TARGET, module="mlp", source_layer=es.source_layer,
        target_layer=es.target_layer, max_new_tokens=4,
    )  # fmt: skip
    assert json.loads(said)["tokens"] == one.tokens
    assert json.loads(said)["vanilla_tokens"] == one.vanilla_tokens


def test_apply_refuses_in_one_line_before_a_model_is_loaded(run, tmp_path, monkeypatch):
    monkeypatch.setattr("xtl.models.load_model", lambda *_, **__: pytest.fail("loaded"))
    reads = xtl.Policy(**CELL).save(tmp_path / "reads")
    fixed = xtl.Policy("mlp", 1, vector=torch.ones(32)).save(tmp_path / "fixed")
    cases = [
        ([reads, "--prompt", "x"], "--source is missing"),
        ([fixed, "--prompt", "x", "--source", "y"], "leave it out"),
        ([tmp_path / "none", "--prompt", "x"], "no policy at"),
        ([reads, "--prompt", "x", "--source", "y", "--max-new-tokens", "0"], "max_new_tokens"),
        ([reads, "--prompt", "x", "--source", "y", "--chat", "maybe"], "--chat"),
    ]
    for arguments, said in cases:
        code, out, err = run("apply", *arguments)
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1


def test_a_fixed_vector_is_applied_without_a_source(run, loaded, tmp_path):
    folder = xtl.Policy("mlp", 1, vector=torch.ones(32)).save(tmp_path / "fixed")
    code, said, err = run("apply", folder, "--prompt", TARGET, "--model", loaded, "--max-new-tokens", 2)
    assert code == 0, err
    assert "a fixed vector of 32 numbers" in said
