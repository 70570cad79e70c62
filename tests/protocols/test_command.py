"""`xtl protocol` and `xtl summary`."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from tests.conftest import stop_in_map
from xtl import runs

GRID = ["--source-layers", "0,2", "--target-layers", "1,3"]


@pytest.fixture
def asked(loaded):
    return ["--task", "capitals", "--languages", "es,de", "--limit", 5, "--model", loaded]


def replaced(arguments, *changes):
    """The arguments with other values of some flags: none may stand twice."""
    kept = list(arguments)
    for flag in [flag for flag in changes[::2] if flag in kept]:
        del kept[kept.index(flag) : kept.index(flag) + 2]
    return [*kept, *changes]


@pytest.fixture
def capitals(asked):
    return [*asked, *GRID]


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
    code, out, _ = run("summary", real, control)
    assert code == 0
    assert "en->es" in out
    code, out, _ = run("summary", real / "results.parquet", control, "--json")
    assert {row["quantity"] for row in json.loads(out)} >= {"vanilla", "upper_bound", "chance_upper_bound", "corrected"}


@pytest.mark.parametrize("name", ["fixed", "select"])
def test_protocols_of_one_cell(run, asked, tmp_path, name):
    grid = [] if name == "fixed" else GRID
    code, out, _ = run("protocol", name, *asked, *grid, "--out", tmp_path / "out", "--json")
    assert code == 0
    table = json.loads(out)["table"]
    assert table["n"]["es"] == 5
    assert len([row for row in table if row.endswith(", gain")]) == 1


@pytest.mark.parametrize(
    "arguments", [["pairwise"], ["upper-bound", "--control", "shuffled_source"], ["fixed"], ["select"]], ids=" ".join
)
def test_what_is_stopped_goes_on_where_it_was(run, asked, tmp_path, monkeypatch, arguments):
    asked = replaced(asked, "--limit", 3)
    command = ["protocol", *arguments, *asked, *([] if arguments == ["fixed"] else GRID)]
    assert run(*command, "--out", tmp_path / "straight")[0] == 0
    begun = stop_in_map(monkeypatch, 3)
    code, out, err = run(*command, "--out", tmp_path / "out")
    assert (code, out) == (130, "")
    assert "the same command goes on from there" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["maps"]
    assert run(*command, "--out", tmp_path / "out")[0] == 0
    n_maps = 12 if arguments == ["select"] else 6
    assert len(begun) == n_maps + 1
    for name in ("results.parquet", "table.csv", "table.tex"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert not (tmp_path / "out/maps").exists()


def write_rows(path, *rows):
    path.write_text("".join(json.dumps({"source_lang": "en", "target_lang": "de"} | row) + "\n" for row in rows))
    return path


def test_answers_are_tabled_in_nats(run, loaded, tmp_path):
    """A task with answers and no options, whose default score is their log-probability."""
    rows = [{"source": f"s{n}", "target": f"t{n}", "answers": ["a"]} for n in range(4)]
    task = ["--task", write_rows(tmp_path / "own.jsonl", *rows), "--model", loaded]
    for name in ("pairwise", "fixed", "select"):
        out = tmp_path / name
        code, said, err = run("protocol", name, *task, "--out", out, *([] if name == "fixed" else GRID), "--json")
        assert code == 0, err
        results = runs.load_results(out / "results.parquet")
        vanilla = json.loads(said)["table"]["vanilla"]["de"]
        assert vanilla == pytest.approx(results.vanilla_score.mean().item(), rel=1e-5)
    bound = json.loads(run("protocol", "pairwise", *task, "--out", tmp_path / "again", *GRID, "--json")[1])["table"]
    whole = runs.load_results(tmp_path / "pairwise/results.parquet").score.max(
        ["module", "source_layer", "target_layer"]
    )
    assert bound["attn or mlp, whole map"]["de"] == pytest.approx(whole.mean().item(), rel=1e-5)


def test_a_file_that_lends_to_english_is_run_in_its_own_direction(run, loaded, tmp_path):
    rows = [
        {"source": f"s{n}", "target": f"t{n}", "source_lang": "deu", "target_lang": "EN", "answer": " a"}
        for n in range(3)
    ]
    task = ["--task", write_rows(tmp_path / "own.jsonl", *rows), "--model", loaded]
    code, out, err = run("protocol", "pairwise", *task, *GRID, "--languages", "de", "--out", tmp_path / "out", "--json")
    assert code == 0, err
    assert json.loads(out)["table"]["n"]["de"] == 3


def test_similarity_is_tabled_and_chosen_by(run, loaded, tmp_path):
    rows = [
        {"source": f"s{n}", "target": f"t{n}", "options": [" a", " b"], "gold": 0, "distribution": [0.1, 0.9]}
        for n in range(6)
    ]
    task = ["--task", write_rows(tmp_path / "own.jsonl", *rows), "--model", loaded, *GRID]
    scored = ["--score", "distribution", "--json"]
    said = json.loads(run("protocol", "pairwise", *task, *scored, "--split", "sample", "--out", tmp_path / "all")[1])
    sample = runs.load_results(tmp_path / "all/results.parquet")
    assert "similarity" in said["score"]
    assert said["table"]["vanilla"]["de"] == pytest.approx(100 * sample.vanilla_similarity.mean().item(), rel=1e-5)
    run("protocol", "select", *task, *scored, "--strategy", "overall", "--out", tmp_path / "chosen")
    chosen = runs.load_results(tmp_path / "chosen/results.parquet").isel(example=0)
    best = sample.similarity.mean("example").argmax(...)
    names = {dim: sample[dim].values[int(index)] for dim, index in best.items()}
    assert (chosen.chosen_module.item(), chosen.chosen_source_layer.item(), chosen.chosen_target_layer.item()) == (
        names["module"], names["source_layer"], names["target_layer"],
    )  # fmt: skip


def test_select_measures_on_other_instances_than_it_chose_on(run, capitals, tmp_path):
    assert run("protocol", "pairwise", *capitals, "--split", "sample", "--out", tmp_path / "sample")[0] == 0
    assert run("protocol", "select", *capitals, "--out", tmp_path / "select")[0] == 0
    examples = [
        set(runs.load_results(tmp_path / name / "results.parquet").example.values) for name in ("sample", "select")
    ]
    assert examples[0].isdisjoint(examples[1])
    one = replaced(capitals, "--languages", "es", "--source-layers", "0", "--target-layers", "1")
    assert run("protocol", "pairwise", *one, "--split", "unseen", "--out", tmp_path / "all")[0] == 0
    code, _, err = run("protocol", "select", *one, "--sample", tmp_path / "all", "--out", tmp_path / "out")
    assert code == 2
    assert "sample holds 5 of the 5 instances in 'es' that the chosen cell is measured on" in err
    assert run("protocol", "pairwise", *capitals, "--control", "zero", "--out", tmp_path / "zero")[0] == 0
    err = run("protocol", "select", *capitals, "--sample", tmp_path / "zero", "--out", tmp_path / "out")[2]
    assert "sample is of the control 'zero'" in err


def test_killed_in_its_last_moment_the_same_command_ends_as_it_would_have(run, capitals, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    command = ["protocol", "pairwise", *capitals, "--out", tmp_path / "out"]
    with monkeypatch.context() as patch:  # the results are written, the maps not yet removed
        patch.setattr("xtl.commands.output.shutil", SimpleNamespace(rmtree=stopped))
        assert run(*command)[0] == 130
    before = (tmp_path / "out/results.parquet").read_bytes()
    assert (tmp_path / "out/maps").exists()
    assert run(*command)[0] == 0
    assert (tmp_path / "out/results.parquet").read_bytes() == before
    assert not (tmp_path / "out/maps").exists()
    code, _, said = run(*command)
    assert (code, "already holds results" in said) == (2, True)


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
    assert len(begun) == 10
    assert (tmp_path / "out/table.csv").read_bytes() == (tmp_path / "straight/table.csv").read_bytes()
    code, _, err = run(*replaced(command, "--languages", "fr"), "--out", tmp_path / "other")
    assert (code, len(begun)) == (2, 10)
    assert "sample has no instances in 'fr'; it has: de, es" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["upper"], "No such command 'upper'. Did you mean 'upper-bound'?"),
        (["fixed", "--control", "zero"], "No such option: --control"),
        (["pairwise", "--control", "nothing"], "unknown control 'nothing'"),
        (["pairwise", "--control", "other_language"], "control other_language needs control_language"),
        (["pairwise", "--control-language", "fr"], "control_language goes with the control other_language"),
        (["pairwise", "--sample", "runs"], "No such option: --sample"),
        (["select", "--sample", "nowhere"], "no run at 'nowhere'"),
        (["select", "--strategy", "bar"], "unknown --strategy 'bar'; valid: "),
        (["select", "--per", "cell"], "unknown --per 'cell'; valid: language, task"),
        (["fixed", *GRID], "No such option: --source-layers"),
        (["pairwise", "--split", "foo"], "unknown split 'foo'; valid: all, sample, unseen"),
        (["pairwise", "--modules", "attn,ffn"], "unknown module 'ffn'"),
        (["pairwise", "--option", "english"], "--option 'english' must look like KEY=VALUE"),
        (["pairwise", "--task", "xcopa", "--option", "englisch=original"], "did you mean 'english'"),
        (["pairwise", "--task", "global_opinion_qa", "--option", "min_agreement=most"], "must be a number"),
        (["pairwise", "--score", "bleu"], "unknown score 'bleu'"),
        (["pairwise", "--languages", "xx"], "unknown language 'xx'"),
    ],
)
def test_bad_input_is_one_line_and_loads_nothing(run, asked, tmp_path, arguments, message):
    given = asked if arguments[0] == "fixed" else [*asked, *GRID]
    code, out, err = run("protocol", arguments[0], *replaced(given, *arguments[1:]), "--out", tmp_path / "out")
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
