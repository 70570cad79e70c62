"""The command line, as people use and misuse it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import xtl
from tests.conftest import stop_in_map
from tests.tasks import releases
from xtl import runs
from xtl.commands import sweep as sweep_command
from xtl.commands.flags import Loading

MODEL = ["--source", "The capital of France is", "--target", "La capital de Francia es"]
CELL = ["--module", "attn", "--source-layer", "1", "--target-layer", "-1"]


@pytest.fixture
def sweep(loaded, tmp_path):
    """A small sweep's arguments, by name."""

    def arguments(**changes: object) -> list[object]:
        flags = {
            "model": loaded, "task": "capitals", "source-lang": "en", "target-lang": "es",
            "modules": "attn,mlp", "limit": 2, "out": tmp_path / "out",
        } | {name.replace("_", "-"): value for name, value in changes.items()}  # fmt: skip
        return ["sweep", *(part for name, value in flags.items() for part in (f"--{name}", value))]

    return arguments


def test_help_is_quick_to_import_and_shows_an_example(run):
    for command in ["demo", "transplant", "sweep", "tasks", "models"]:
        code, out, _ = run(command, "--help")
        assert code == 0
        assert f"Example: xtl {command}" in out
    script = """
import sys
sys.argv = ["xtl", "--help"]
from xtl import cli
try:
    cli.main()
except SystemExit:
    assert "torch" not in sys.modules and "plotly" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_the_version_is_said_and_no_command_is_needed_for_it(run):
    assert run("--version") == (0, f"xtl {xtl.__version__}\n", "")


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", {"COMP_WORDS": "xtl su", "COMP_CWORD": "1"}), ("zsh", {}), ("fish", {})]
)
def test_a_shell_completes_commands(shell, words):
    asked = {
        "_XTL_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "xtl su",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    script = "import sys; sys.argv = ['xtl']; from xtl.cli import main; main()"
    said = subprocess.run([sys.executable, "-c", script], env={**os.environ, **asked, **words}, capture_output=True)
    assert b"summary" in said.stdout, said.stderr


@pytest.mark.parametrize("command", ["transplant", "sweep", "models check", "protocol fixed", "analyse", "run"])
def test_every_command_that_loads_a_model_takes_the_same_flags(run, command):
    code, out, _ = run(*command.split(), "--help")
    said = " ".join(out.split())
    assert code == 0
    for flag in ("--backend", "--dtype", "--device", "--device-map", "--quantization", "--trust-remote-code"):
        assert f"{flag} " in said
    assert "it can read, send away and delete whatever you can. Only for code that you have read." in said


def test_flags_reach_load_model(run, tiny_folder, monkeypatch):
    import xtl.models

    given = {}
    real = xtl.models.load_model
    monkeypatch.setattr("xtl.models.load._check_quantization", lambda _: None)  # bitsandbytes is not here
    monkeypatch.setattr(xtl.models, "load_model", lambda name, **options: given.update(options) or real(name))
    flags = ["--dtype", "bfloat16", "--backend", "bridge", "--device-map", "auto", "--quantization", "8bit"]
    model = ["--model", tiny_folder("llama"), "--trust-remote-code"]
    run("transplant", *model, *MODEL, *CELL, "--max-new-tokens", 1, *flags)
    assert given == {
        "dtype": "bfloat16", "backend": "bridge", "device_map": "auto", "quantization": "8bit", "trust_remote_code": True,
    }  # fmt: skip


def test_chat_wraps_prompts_where_there_is_a_template(run, sweep, tiny_folder, tmp_path):
    plain = tiny_folder("llama")
    chatty = shutil.copytree(plain, tmp_path / "chatty")
    (chatty / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    one = [*MODEL, *CELL, "--max-new-tokens", 1, "--json"]
    code, out, _ = run("transplant", "--model", chatty, *one, "--chat", "auto")
    assert code == 0
    assert json.loads(out)["patch"]["token"] == ">"
    assert json.loads(run("transplant", "--model", chatty, *one)[1])["patch"]["token"] == "s"
    code, out, err = run("transplant", "--model", plain, *one, "--chat", "true")
    assert (code, out) == (2, "")
    assert "chat=True, but the model's tokenizer has no chat template" in err
    assert "unknown --chat 'yes'; valid: false, true, auto" in run(*sweep(chat="yes"))[2]
    assert run(*sweep(model=chatty, chat="true", limit=1))[0] == 0
    results = runs.load_results(tmp_path / "out/results.parquet")
    assert str(results["target"].values[0]).startswith("<s><user>País: ")
    assert not str(results["gold"].values[0]).startswith(" ")


def test_transplant_prints_both_answers_and_what_was_patched(run, loaded):
    code, out, _ = run("transplant", "--model", loaded, *MODEL, *CELL, "--max-new-tokens", 3)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["vanilla", "transplanted", "patched"]
    assert "blocks.3.hook_attn_out" in out


def test_transplant_as_json(run, loaded):
    code, out, _ = run("transplant", "--model", loaded, *MODEL, *CELL, "--max-new-tokens", 3, "--json")
    result = json.loads(out)
    assert code == 0
    assert result["patch"]["write_hook"] == "blocks.3.hook_attn_out"
    assert len(result["tokens"]) == 3
    assert result["vanilla_text"] is not None


def test_sweep_writes_a_table_and_a_report(run, sweep, tmp_path):
    code, out, _ = run(*sweep())
    assert code == 0
    table = pd.read_parquet(tmp_path / "out/results.parquet")
    assert len(table) == 2 * 2 * 4 * 4
    assert set(table["target_lang"]) == {"es"}
    report = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "<title>" in report
    assert "en-&gt;es" in report
    assert "best_gain_in_sample" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "results.parquet"]
    results = runs.load_results(tmp_path / "out/results.parquet")
    assert results.attrs["task"] == "capitals"


def test_a_sweep_and_its_control_make_one_report(run, sweep, tmp_path):
    assert run(*sweep())[0] == 0
    page = re.sub("</?span[^>]*>", "", (tmp_path / "out/report.html").read_text(encoding="utf-8"))
    assert f"{tmp_path / 'out-control'} --control shuffled_source" in page
    assert f"xtl report {tmp_path / 'out'} --control {tmp_path / 'out-control'}" in page
    code, _, err = run(*sweep(out=tmp_path / "out-control", control="shuffled_source"))
    assert code == 0, err
    assert runs.load_results(tmp_path / "out-control/results.parquet").attrs["control"] == "shuffled_source"
    assert run("report", tmp_path / "out", "--control", tmp_path / "out-control")[0] == 0
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "over the control shuffled_source" in page
    assert "No control was run" not in page
    assert "unknown --control 'other_language'" in run(*sweep(out=tmp_path / "no", control="other_language"))[2]


def test_sweep_as_json_and_over_some_layers(run, sweep, tmp_path):
    code, out, _ = run(*sweep(source_layers="0:4:2", target_layers="1,-1"), "--json")
    assert code == 0
    result = json.loads(out)
    assert Path(result["results"]).is_file()
    assert {cell["module"] for cell in result["best_cells"]} == {"attn", "mlp"}
    table = pd.read_parquet(result["results"])
    assert set(table["source_layer"]) == {0, 2}
    assert set(table["target_layer"]) == {1, 3}


def test_sweep_over_a_benchmark_takes_split_and_data(run, sweep, tmp_path):
    releases.xnli(tmp_path / "data", split="unseen")
    flags = sweep(
        task="xnli", target_lang="de", split="unseen", data=tmp_path / "data", source_layers="0", target_layers="1"
    )
    code, _, err = run(*flags)
    assert code == 0, err
    examples = pd.read_parquet(tmp_path / "out/results.parquet").example.unique()
    assert len(examples) == 2
    assert all(example.startswith("xnli/unseen/") for example in examples)


def test_results_are_never_lost_unasked(run, sweep, tmp_path):
    run(*sweep(limit=1))
    before = (tmp_path / "out/results.parquet").read_bytes()
    code, _, err = run(*sweep(limit=1, target_lang="de"))
    assert code == 2
    assert "already holds results; give another folder or --overwrite" in err
    assert (tmp_path / "out/results.parquet").read_bytes() == before
    code, _, _ = run(*sweep(limit=1, target_lang="de"), "--overwrite")
    assert code == 0
    assert (tmp_path / "out/results.parquet").read_bytes() != before


def test_a_sweep_that_is_stopped_keeps_what_is_whole_and_goes_on_from_there(run, sweep, tmp_path, monkeypatch):
    assert run(*sweep(limit=5, out=tmp_path / "straight"))[0] == 0
    begun = stop_in_map(monkeypatch, 3)
    code, _, err = run(*sweep(limit=5))
    assert code == 130
    assert "kept the 2 of 5 maps that were whole" in err
    results = tmp_path / "out/results.parquet"
    assert runs.load_results(results).sizes["example"] == 2
    stopped = results.read_bytes()
    assert "already holds results" in run(*sweep(limit=5, target_lang="de"))[2]  # another sweep
    assert results.read_bytes() == stopped
    assert run(*sweep(limit=5))[0] == 0
    assert len(begun) == 6
    assert results.read_bytes() == (tmp_path / "straight/results.parquet").read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "results.parquet"]
    assert "already holds results" in run(*sweep(limit=5))[2]


def test_a_sweep_stopped_in_its_first_map_writes_nothing(run, sweep, tmp_path, monkeypatch):
    stop_in_map(monkeypatch, 1)
    code, _, err = run(*sweep())
    assert code == 130
    assert "nothing was written" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "unseen"}, "--split, --origin and --data go with benchmarks; task 'capitals' is none"),
        (
            {"task": "capitols"},
            "unknown task 'capitols' (did you mean 'capitals'?); valid: capitals, official_languages",
        ),
        ({"target_lang": "xx"}, "unknown target_lang 'xx'; valid: en, es, "),
        ({"modules": "attn,ffn"}, "unknown module 'ffn'"),
        ({"limit": 0}, "limit"),
        ({"source_layers": "0,99"}, "source_layers 99 is out of range for a model of 4 layers"),
        ({"source_layers": "first"}, "--source-layers 'first' is no list of layers; write 0,3,-1 or 0-5 (5 is in it)"),
        ({"engine": "warp"}, "unknown engine 'warp'; valid: auto, packed, batched, loop"),
        ({"backend": "hookd"}, "unknown backend 'hookd' (did you mean 'hooked'?)"),
        ({"model": "gpt-two"}, "unknown model 'gpt-two'"),
        ({"model": "/no/such/folder"}, "no model folder '/no/such/folder'"),
        ({"dtype": "float8"}, "unknown dtype 'float8'"),
        ({"device": "cuda:7"}, "device 'cuda:7' is not available"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_and_nothing_is_written(run, sweep, tmp_path, changes, message):
    code, out, err = run(*sweep(**changes))
    lines = [line for line in err.splitlines() if not line.startswith(("loading ", "loaded as "))]
    assert code == 2
    assert out == ""
    assert len(lines) == 1
    assert lines[0].startswith("xtl: ")
    assert message in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*MODEL, "--module", "attn", "--source-layer", "4", "--target-layer", "0"], "source_layer 4 is out of range"),
        ([*MODEL, "--module", "at", "--source-layer", "0", "--target-layer", "0"], "unknown module 'at'"),
        (["--source", "", "--target", "b", *CELL], "--source is empty"),
        (
            ["--source", "a", "--target", "b" * 500, *CELL],
            "target has 501 tokens and 20 more to come; the model's context holds 128",
        ),
        ([*MODEL, *CELL, "--max-new-tokens", "0"], "max_new_tokens must be a whole number of at least 1"),
    ],
)
def test_mistakes_of_transplant(run, loaded, arguments, message):
    code, out, err = run("transplant", "--model", loaded, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_folder_that_is_a_file_is_refused_before_any_work(run, sweep, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, err = run(*sweep())
    assert code == 2
    assert "is a file; give a folder" in err
    assert "loading" not in err


def test_usage_errors_exit_with_2_too(run):
    assert run("sweep")[0] == 2
    assert run("swoop")[0] == 2
    assert run("transplant", "--source-layer", "x")[0] == 2


def test_tasks_and_models_are_listed(run):
    code, out, _ = run("tasks")
    assert code == 0
    assert "capitals" in out
    tasks = json.loads(run("tasks", "--json")[1])
    assert {"en", "es", "sw", "zh"} <= set(tasks[0]["languages"])
    models = json.loads(run("models", "--json")[1])
    assert models["embedded"] == "gemma-3-270m"
    assert "gpt2" in models["transformer_lens"]
    assert run("models")[1].splitlines()[1].startswith("gemma-3-270m")


def test_the_demo_runs_its_parts_and_writes_both_files(run, tmp_path, monkeypatch, tiny_model):
    """The demo's own path, on a tiny model in place of the embedded one."""
    monkeypatch.setattr(Loading, "load", lambda *_: tiny_model("llama"))
    code, out, said = run("demo", "--out", tmp_path / "démo")
    assert code == 0
    assert re.search(r"wrote .*report.html: the first of 11 maps", said)
    table = pd.read_parquet(tmp_path / "démo/results.parquet")
    sizes = table.groupby("target_lang")["example"].nunique().to_dict()
    assert sizes == {target: limit for _, target, limit in sweep_command.DEMO}
    assert (tmp_path / "démo/report.html").is_file()
    assert "wrote" in out
