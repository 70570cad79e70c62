"""The README's code runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import xtl
from xtl import cli

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
def test_the_python_code_works_when_pasted(embedded, tmp_path, monkeypatch, capsys):
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 16
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(xtl, "load_model", lambda: embedded)  # loaded once for all tests
    exec(compile(code, str(README), "exec"), {})
    out = capsys.readouterr().out
    # The same on every version of everything: `make test-newest`, `make test-oldest`.
    assert out.splitlines()[0] == r"' Helsinki.\n\nLa historia' -> ' Stockholm.\n\nLa historia'"
    assert (tmp_path / "gain_map.html").stat().st_size > 10_000


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
def test_the_transplant_of_the_command_line_has_the_effect_that_is_said(embedded):
    line = next(
        one for block in blocks("sh") for one in block.replace("\\\n", "").splitlines() if "xtl transplant" in one
    )
    command, said = line.split("   # ")
    flags = shlex.split(command)[2:]
    given = {flag[2:].replace("-", "_"): value for flag, value in zip(flags[::2], flags[1::2], strict=True)}
    numbers = {name: int(value) for name, value in given.items() if value.isdigit()}
    one = xtl.transplant(embedded, **(given | numbers))
    assert f"{one.vanilla_text!r} -> {one.text!r}" == said


def test_the_commands_exist_with_these_flags(monkeypatch):
    """Each `xtl` line parses: its command and every flag are known."""
    from xtl.commands.strict import UsageError

    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("xtl ")]
    named = "transplant sweep protocol apply run status report figure export select tasks models"
    assert " ".join(words[0] for words in commands) == named
    group = cli.command()
    for name, *arguments in commands:
        command = group.commands[name]
        command.make_context(name, list(arguments)).close()
        if hasattr(command, "commands") and arguments:
            command, *arguments = command.commands[arguments[0]], *arguments[1:]
            command.make_context(name, list(arguments)).close()
        with pytest.raises(UsageError, match="--no-such-flag"):
            command.make_context(name, [*arguments, "--no-such-flag"])


def test_make_targets_and_folders_exist():
    root = README.parent
    targets = re.findall(r"^make (\w+)", "\n".join(blocks("sh")), flags=re.MULTILINE)
    makefile = (root / "Makefile").read_text()
    assert targets == ["demo", "check"]
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in [*targets, "picture", "setup"])
    for row in re.findall(r"^\| (`.*?) \|", README.read_text(encoding="utf-8"), flags=re.MULTILINE):
        for place in re.findall(r"`([^`]+)`", row):
            assert (root / place).exists(), place
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README.read_text(encoding="utf-8")):
        assert (root / picture).is_file()
