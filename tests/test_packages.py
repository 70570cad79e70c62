"""What is installed, and how to get what is not."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import xtl
from xtl import packages

SOURCES = Path(xtl.__file__).parent.parent


def test_in_a_checkout_the_hint_installs_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(SOURCES)
    assert packages.install_hint("demo") == "pip install -e '.[demo]'"
    monkeypatch.chdir(tmp_path)
    assert shlex.split(packages.install_hint("demo"))[-1] == f"{SOURCES}[demo]"


@pytest.mark.parametrize("beside", [None, 'name = "of-somebody-else"', 'name = "xtl"'])
def test_elsewhere_the_hint_names_the_distribution_and_never_the_crystallographers(monkeypatch, tmp_path, beside):
    if beside is not None:
        (tmp_path / "pyproject.toml").write_text(beside)
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    assert packages.install_hint("ray") == "pip install 'xtl-interp[ray]'"


def test_no_page_and_no_message_installs_the_crystallographers_package():
    files = [*SOURCES.glob("*.md"), *SOURCES.glob("docs/**/*.md"), SOURCES / "pyproject.toml"]
    files += [
        file for folder in ("xtl", "analyses", "docs", "benchmarks") for file in SOURCES.glob(f"{folder}/**/*.py")
    ]
    wrong = re.compile(r"""install\s+['"]?xtl\b(?!-)|["']xtl\[""")
    assert [(file, found[0]) for file in files for found in wrong.finditer(file.read_text(encoding="utf-8"))] == []


def test_every_extra_that_a_message_names_is_one():
    project = (SOURCES / "pyproject.toml").read_text(encoding="utf-8")
    calls = re.compile(r"""install_hint\(["']([\w-]+)""")
    named = {extra for file in SOURCES.glob("xtl/**/*.py") for extra in calls.findall(file.read_text(encoding="utf-8"))}
    assert len(named) >= 5
    assert [extra for extra in named if f"\n{extra} = [" not in project] == []


def test_the_version_does_not_depend_on_what_pip_knows():
    """Neither a checkout that was never installed nor another package called xtl changes what a result says."""
    script = (
        "import importlib.metadata as m; m.version = lambda name: '9.9'; "
        "from xtl.packages import versions; print(*versions(('xtl', 'torch')).values())"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [xtl.__version__, "9.9"]


@pytest.mark.parametrize("name", ["report", "figures_export"])
def test_former_names_work_for_a_release_and_say_so(name: str) -> None:
    sys.modules.pop(f"xtl.{name}", None)
    with pytest.warns(DeprecationWarning, match="xtl.publish"):
        former = importlib.import_module(f"xtl.{name}")
    assert all(hasattr(former, public) for public in former.__all__)


def imported(file: Path) -> set[str]:
    """Top-level packages that a file imports, also inside functions."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}


def test_every_package_that_is_imported_is_declared():
    text = (SOURCES / "pyproject.toml").read_text(encoding="utf-8").partition("[project.scripts]")[0]
    declared = {canonical(name) for name in re.findall(r'^    "([A-Za-z0-9_.-]+)', text, flags=re.MULTILINE)}
    homes = metadata.packages_distributions()
    known = {*sys.stdlib_module_names, "xtl", "analyses"}
    files = [file for folder in ("xtl", "analyses") for file in SOURCES.glob(f"{folder}/**/*.py")]
    for name in set().union(*map(imported, files)) - known:
        assert declared & {canonical(home) for home in homes.get(name, [name])}, name


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


FLOOR = re.search(r'requires-python = ">=(3\.\d+)"', (SOURCES / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((SOURCES / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
TRIED = WORKFLOW["jobs"]["tests"]["strategy"]["matrix"]["include"]
"""Pythons of the workflow; what has an `older` tries that one without constraints.txt."""


def test_the_oldest_python_that_is_claimed_is_tried() -> None:
    assert FLOOR is not None
    assert FLOOR[1] in {row.get("older", row["python"]) for row in TRIED}
    assert f"Python {FLOOR[1]} or newer" in (SOURCES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("python", sorted({row["python"] for row in TRIED}))
def test_every_version_of_the_constraints_can_be_had_for_the_pythons_that_use_them(python: str) -> None:
    pins = re.findall(r"(?m)^([\w.-]+)==", (SOURCES / "constraints.txt").read_text(encoding="utf-8"))
    needs = {name: requires_python(name) for name in pins}
    assert {name: need for name, need in needs.items() if f"{python}.99" not in SpecifierSet(need)} == {}


def requires_python(name: str) -> str:
    try:
        return metadata.metadata(name)["Requires-Python"] or ""
    except metadata.PackageNotFoundError:  # an extra that is not here
        return ""
