"""Mistakes on the command line, of every command and flag: exit code 2 and one line that names the flag, and nothing is written.

The commands and their flags are found in the app: a flag that is added is tried here without a word.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer

from xtl import cli, models

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
    for words, command in commands(typer.main.get_command(cli.app)):
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
    for words, command in commands(typer.main.get_command(cli.app)):
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
        "protocol": ["pairwise", "--task", "capitals"],
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
