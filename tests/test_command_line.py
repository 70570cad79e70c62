"""Mistakes on the command line, of every command and flag: exit code 2 and one line that names the flag, and nothing is written.

The commands and their flags are found in the app: a flag that is added is tried here without a word.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from tests.runs.filling import fill, jobs_of
from xtl import cli, models
from xtl.foreign import as_json

NO_WHOLE = [
    "1_0",
    " 3",
    "3 ",
    "+3",
    "３",
    "٣",
    "3.0",
    "1e1",
    "0x3",
    "--3",
    "3\n",
    "three",
    "1,2",
    "1 2",
    "²",
    "nan",
    "9" * 30,
]
NO_NUMBER = ["1_0.5", " 0.5", "+0.5", "nan", "inf", "-inf", "1e400", "0x1p3", "０.５", "half", "1,5", "1e", ".", "1d3"]


def commands(command: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the app, with the words that call it."""
    for name, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, *names, name)
    if not getattr(command, "commands", {}):
        yield names, command


def flags() -> list[tuple[tuple[str, ...], str, str]]:
    """Command, flag and kind ("int", "float", "str", "Path", "list") of every flag that takes a value."""
    found = []
    for words, command in commands(cli.command()):
        annotations = inspect.signature(command.callback, eval_str=True).parameters
        for option in command.params:
            if option.param_type_name == "option" and not option.is_flag and option.name != "help":
                kinds = get_args(annotations[option.name].annotation)
                names = {getattr(kind, "__name__", str(kind)) for kind in (kinds[0], *get_args(kinds[0]))}
                (kind,) = names & {"int", "float", "str", "Path", "list"}
                found.append((words, option.opts[-1], kind))
    return found


FLAGS = flags()
NUMBERS = {"int": NO_WHOLE, "float": NO_NUMBER}


def test_the_app_has_flags_of_every_kind_that_is_tried_here():
    assert {kind for *_, kind in FLAGS} >= {"int", "str", "Path", "list"}
    assert len(FLAGS) > 100


@pytest.mark.parametrize(("words", "flag", "kind"), [one for one in FLAGS if one[2] in NUMBERS], ids=str)
def test_a_number_that_is_ill_spelt_is_refused_by_every_flag_that_takes_one(run, words, flag, kind):
    for value in NUMBERS[kind]:
        for arguments in ([flag, value], [f"{flag}={value}"]):
            code, out, err = run(*words, *arguments)
            assert (code, out, err.count("\n")) == (2, "", 1), (value, err)
            assert err.startswith(f"xtl: {flag} must be a ")
            assert repr(value) in err


@pytest.mark.parametrize(("words", "flag", "kind"), FLAGS, ids=str)
def test_no_flag_takes_nothing_or_another_flag_or_stands_twice(run, words, flag, kind):
    for value in ["", " ", "\t\n"]:
        assert run(*words, flag, value) == (2, "", f"xtl: {flag} is empty: {value!r}\n")
    assert run(*words, flag, flag) == (2, "", f"xtl: {flag} takes a value, and {flag} is a flag\n")
    if kind != "list":
        assert run(*words, flag, "3", flag, "4") == (2, "", f"xtl: {flag} is given twice\n")


def test_a_line_that_cannot_be_read_is_told_in_one(run):
    for words, command in commands(cli.command()):
        for more in (["--no-such-flag"], ["--help=3"]):
            code, out, err = run(*words, *more)
            assert (code, out, err.count("\n")) == (2, "", 1), err
            assert err.startswith("xtl: ")
            assert "--help)" in err
        assert run(*words, "--help")[::2] == (0, ""), command


LISTS = {
    "--modules": "attn,mlp", "--tasks": "capitals,xnli", "--models": "gpt2,a", "--directions": "en:es,en:de",
    "--languages": "de,sw", "--labels": "language", "--task": "capitals",
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "flag"),
    [(words, flag) for words, flag, _ in FLAGS if flag in LISTS and (flag != "--task" or words == ("analyse",))],
    ids=str,
)
def test_a_list_of_names_has_no_gap_and_no_name_twice(run, words, flag, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    first = LISTS[flag].split(",")[0]
    others = {
        "sweep": ["--task", "capitals", "--source-lang", "en", "--target-lang", "es"],
        "run": ["--tasks", "capitals"],
        "protocol": ["--task", "capitals"],
        "analyse": ["linear_probes", "--task", "capitals", "--directions", "en:es"],
    }[words[0]]
    if flag in others:
        del others[others.index(flag) : others.index(flag) + 2]
    for value, why in [(",", "empty name"), (f"{first},", "empty name"), (f",{first}", "empty name"),
                       (f"{first},,x", "empty name"), (f"{first}, {first}", f"names {first!r} twice")]:  # fmt: skip
        code, out, err = run(*words, *others, flag, value, "--out", tmp_path / "out")
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert flag in err
        assert why in err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def unread(monkeypatch):
    """No model's configuration, and so no model, can be read."""
    monkeypatch.setattr("xtl.models.read.read_config", lambda *_, **__: pytest.fail("a model was read"))


TRANSPLANT = ["transplant", "--source", "a", "--target", "b", "--source-layer", "0", "--target-layer", "0"]
SWEEP = ["sweep", "--task", "capitals", "--source-lang", "en", "--target-lang", "es"]
RUN = ["run", "--tasks", "capitals", "--directions", "en:es", "--limit", "2"]
DRY = [*RUN, "--dry-run", "--no-calibration"]
PAIRWISE = ["protocol", "pairwise", "--task", "capitals", "--languages", "es", "--limit", "2"]
FIXED = ["protocol", "fixed", *PAIRWISE[2:]]
FLOW = ["analyse", "language_flow", "--task", "capitals", "--directions", "en:es", "--limit", "2"]
PROBES = ["analyse", "linear_probes", *FLOW[2:-1], "8"]
WORKERS = [
    "0",
    "local:0",
    "local:-1",
    "local:1.5",
    "local:²",
    "local:３",
    "²",
    "٣",
    "local:",
    "local: 2",
    "local:1001",
    "ray:",
]
MISTAKES = [
    ([*TRANSPLANT, "--module", "atn"], "unknown module 'atn'"),
    ([*TRANSPLANT, "--module", "attn", "--steps", "all"], "unknown steps 'all'; valid: first, every"),
    ([*TRANSPLANT, "--module", "attn", "--max-new-tokens", "0"], "max_new_tokens must be a whole number of at least 1"),
    ([*TRANSPLANT, "--module", "attn", "--model", "x" * 300], "model 'xxx"),
    ([*TRANSPLANT, "--module", "attn", "--model", "qwertz"], "unknown model 'qwertz'; valid: a name from `xtl models`"),
    ([*SWEEP, "--modules", "attn,mpl"], "unknown module 'mpl'"),
    ([*SWEEP, "--engine", "warp"], "unknown engine 'warp'"),
    ([*SWEEP, "--backend", "hook"], "unknown backend 'hook'"),
    ([*SWEEP, "--dtype", "float8"], "unknown dtype 'float8'"),
    ([*SWEEP, "--device", "tpu"], "unknown device 'tpu'"),
    ([*SWEEP, "--device-map", "all"], "unknown device_map 'all'; valid: auto, balanced"),
    ([*RUN, "--actors", "2"], "actors goes with workers ray"),
    ([*RUN, "--control-seed", "2"], "--control-seed goes with --control"),
    ([*RUN, "--no-calibration"], "--no-calibration goes with --dry-run"),
    ([*DRY, "--actors", "0"], "actors must be a whole number of at least 1, got 0"),
    ([*DRY, "--activations", "tape"], "unknown activations 'tape'"),
    ([*DRY, "--pair-timeout", "inf"], "--pair-timeout 'inf' must be a number of seconds greater than 0, or off"),
    ([*DRY, "--device-map", "all"], "unknown device_map 'all'"),
    *(([*RUN, "--workers", value], f"workers {value!r} must be local:N") for value in WORKERS),
    ([*PAIRWISE, "--origin", "hub"], "--origin goes with benchmarks; task 'capitals' is none"),
    ([*PAIRWISE, "--data", "."], "--data goes with benchmarks"),
    ([*PAIRWISE, "--truncate"], "--truncate goes with benchmarks"),
    ([*PAIRWISE, "--per", "task"], "No such option: --per"),
    ([*PAIRWISE, "--control-seed", "2"], "--control-seed goes with --control"),
    ([*PAIRWISE, "--option", "ties=1", "--option", "ties=2"], "--option"),
    ([*FIXED, "--strategy", "overall"], "No such option: --strategy"),
    ([*FLOW, "--cell", "attn,1"], "--cell 'attn,1' is no cell"),
    ([*FLOW, "--cell", "attn,1_0,2"], "--cell must be a whole number, got '1_0'"),
    ([*FLOW, "--cell", "ffn,1,2"], "unknown module 'ffn'"),
    ([*PROBES, "--labels", "colour"], "unknown label 'colour'"),
    ([*PROBES, "--activations", __file__], f"--activations {__file__!r} is a file; give a folder"),
    (["analyse", "--limit", "3"], "--limit goes with an analysis: name one first"),
    (["analyse", "gain_maps", ".", "--limit", "3"], "--limit goes with analyses of a model; gain_maps works on a stored run"),
    (["analyse", "gain_maps", ".", "--dtype", "x"], "--dtype goes with analyses of a model"),
    (["models", "--json", "check", "gpt2"], "--json goes behind check: xtl models check --json"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"), MISTAKES, ids=lambda value: value if isinstance(value, str) else " ".join(value)[:80]
)
def test_a_mistake_is_told_before_a_model_is_read_and_nothing_is_written(run, unread, tmp_path, arguments, message):
    out = ["--out", tmp_path / "out"] if arguments[0] in ("sweep", "run", "protocol") or len(arguments) > 3 else []
    out = [] if arguments[0] in ("transplant", "models") else out
    code, said, err = run(*arguments, *out)
    assert (code, said, err.count("\n")) == (2, "", 1), err
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "flag"), [(words, flag) for words, flag, kind in FLAGS if kind == "Path"], ids=str)
def test_no_path_is_longer_than_the_file_system_has_them(run, unread, words, flag):
    for path in ["x" * 300, "x/" * 3000]:
        code, out, err = run(*words, flag, path)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert re.fullmatch(rf"xtl: {flag} '[x/]+\.\.\. can't be a path: File name too long\n", err)


@pytest.mark.parametrize("words", [["status"], ["report"], ["figure"], ["export", "--format", "csv"], ["summary", "."]])
def test_no_path_of_an_argument_is_longer_either(run, words):
    code, out, err = run(*words, "x" * 300)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "can't be a path: File name too long" in err


def test_a_path_with_a_terminals_escapes_acts_nowhere(run, tmp_path):
    fill(tmp_path / "run", jobs_of(), most=4)
    name = "a\x1b[2J\nb"
    wrong = run("export", tmp_path / "run", "--format", "csv", "--out", tmp_path / name)
    said = run("export", tmp_path / "run", "--format", "csv", "--partial", "--out", tmp_path / name)
    (tmp_path / "run").rename(tmp_path / f"run{name}")
    page = run("report", tmp_path / f"run{name}")
    drawn = run("figure", tmp_path / f"run{name}", "--format", "html", "--partial")
    status = run("status", tmp_path / f"run{name}", "--json")
    assert [wrong[0], said[0], page[0], drawn[0], status[0]] == [2, 0, 0, 0, 0]
    for out in (wrong[2], said[1], page[1], drawn[1]):
        assert "\x1b" not in out
        assert out.count("\n") == 1
    assert "\x1b" not in status[1]
    assert json.loads(status[1])


def test_json_for_programs_holds_no_nan():
    assert json.loads(as_json({"a": [math.nan, math.inf, 1.5]}), parse_constant=pytest.fail) == {"a": [None, None, 1.5]}
