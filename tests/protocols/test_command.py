"""`xtl protocol` and `xtl summary`."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tests.conftest import stop_in_map
from xtl import runs


@pytest.fixture
def capitals(tiny_folder):
    grid = ["--source-layers", "0,2", "--target-layers", "1,3"]
    return ["--task", "capitals", "--languages", "es,de", "--limit", 6, "--model", tiny_folder("llama"), *grid]


def test_a_run_and_its_control_make_a_summary(run, capitals, tmp_path):
    real, control = tmp_path / "real", tmp_path / "control"
    code, out, _ = run("protocol", "upper-bound", *capitals, "--out", real)
    assert code == 0
    assert "attn or mlp, whole map" in out
    table = pd.read_csv(real / "table.csv", index_col="method")
    assert list(table.columns) == ["es", "de", "mean", "sd"]
    assert (real / "table.tex").read_text().count("rule") == 3
    assert run("protocol", "pairwise", *capitals, "--control", "shuffled_source", "--out", control)[0] == 0
    assert runs.load_results(control / "results.parquet").attrs["control"] == "shuffled_source"
    code, out, _ = run("summary", real, control, "--resamples", 200)
    assert code == 0
    assert "en->es" in out
    code, out, _ = run("summary", real / "results.parquet", control, "--resamples", 200, "--json")
    assert {row["quantity"] for row in json.loads(out)} >= {"vanilla", "upper_bound", "chance_upper_bound", "corrected"}


@pytest.mark.parametrize("name", ["fixed", "select"])
def test_protocols_of_one_cell(run, capitals, tmp_path, name):
    code, out, _ = run("protocol", name, *capitals, "--out", tmp_path / "out", "--json")
    assert code == 0
    table = json.loads(out)["table"]
    assert table["n"]["es"] == 6
    assert len([row for row in table if row.endswith(", gain")]) == 1


@pytest.mark.parametrize(
    "arguments", [["pairwise"], ["upper-bound", "--control", "shuffled_source"], ["fixed"], ["select"]], ids=" ".join
)
def test_what_is_stopped_goes_on_where_it_was(run, capitals, tmp_path, monkeypatch, arguments):
    command = ["protocol", *arguments, *capitals]
    assert run(*command, "--out", tmp_path / "straight")[0] == 0
    begun = stop_in_map(monkeypatch, 5)
    code, out, err = run(*command, "--out", tmp_path / "out")
    assert (code, out) == (130, "")
    assert "the same command goes on from there" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["maps"]
    assert run(*command, "--out", tmp_path / "out")[0] == 0
    n_maps = 24 if arguments == ["select"] else 12
    assert len(begun) == n_maps + 1
    for name in ("results.parquet", "table.csv", "table.tex"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert not (tmp_path / "out/maps").exists()


def test_what_is_stopped_at_once_leaves_nothing(run, capitals, tmp_path, monkeypatch):
    stop_in_map(monkeypatch, 1)
    assert run("protocol", "pairwise", *capitals, "--out", tmp_path / "new/out")[0] == 130
    assert not (tmp_path / "new/out").exists()


def test_select_chooses_on_an_earlier_run(run, capitals, tmp_path, monkeypatch):
    assert run("protocol", "select", *capitals, "--out", tmp_path / "straight")[0] == 0
    assert run("protocol", "pairwise", *capitals, "--out", tmp_path / "sample")[0] == 0
    begun = stop_in_map(monkeypatch, 99)
    command = ["protocol", "select", *capitals, "--sample", tmp_path / "sample"]
    assert run(*command, "--out", tmp_path / "out")[0] == 0
    assert len(begun) == 12
    assert (tmp_path / "out/table.csv").read_bytes() == (tmp_path / "straight/table.csv").read_bytes()
    code, _, err = run(*command, "--languages", "fr", "--out", tmp_path / "other")
    assert (code, len(begun)) == (2, 12)
    assert "sample has no instances in 'fr'; it has: de, es" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["upper"],
            "unknown protocol 'upper' (did you mean 'upper-bound'?); valid: pairwise, upper-bound, fixed, select",
        ),
        (["fixed", "--control", "zero"], "--control goes with pairwise and upper-bound, not with fixed"),
        (["pairwise", "--control", "nothing"], "unknown control 'nothing'"),
        (["pairwise", "--control", "other_language"], "control other_language needs control_language"),
        (["pairwise", "--control-language", "fr"], "control_language goes with the control other_language"),
        (["pairwise", "--sample", "runs"], "--sample goes with select, not with pairwise"),
        (["select", "--sample", "nowhere"], "no results at 'nowhere'"),
        (["pairwise", "--score", "bleu"], "unknown score 'bleu'"),
        (["pairwise", "--languages", "xx"], "unknown language 'xx'"),
    ],
)
def test_bad_input_is_one_line_and_loads_nothing(run, capitals, tmp_path, arguments, message):
    code, out, err = run("protocol", *capitals, *arguments[1:], "--out", tmp_path / "out", arguments[0])
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_results_are_not_overwritten(run, capitals, tmp_path):
    (tmp_path / "results.parquet").write_text("precious")
    code, _, err = run("protocol", "pairwise", *capitals, "--out", tmp_path)
    assert code == 2
    assert "already holds results" in err
    assert (tmp_path / "results.parquet").read_text() == "precious"
    assert run("summary", tmp_path, tmp_path)[0] == 2
