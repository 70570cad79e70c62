"""The docs site: it builds without a warning, every page can be found, every public module has its reference."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import xtl
from xtl.runs import Study

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
INTERNAL = {
    "xtl.report", "xtl.figures_export",  # former names
    "xtl.backend", "xtl.cli", "xtl.foreign", "xtl.progress", "xtl.explorer.widget", "xtl.publish.images", "xtl.publish.pack",
    "xtl.publish.cards",
    "xtl.models.bridged", "xtl.models.hooked", "xtl.models.hooked_config", "xtl.commands.listing", "xtl.models.silence",
    "xtl.models.read", "xtl.runs.compute", "xtl.files", "xtl.runs.jobs", "xtl.runs.make_jobs", "xtl.runs.tensors",
    "xtl.tasks.json_values", "xtl.tasks.names", "xtl.tasks.prompts", "xtl.runs.yaml12", "xtl.tasks.gold",
    "xtl.runs.preflight", "xtl.models.trust", "xtl.models.explain", "xtl.models.gguf_files", "xtl.models.build",
    "xtl.models.info", "xtl.tokens", "xtl.tasks.user_files", "xtl.tasks.lm_eval_config", "xtl.kinds",
}  # fmt: skip
"""Modules that nobody imports by name; of `xtl.engine` and `xtl.commands` only some or none are for users."""


@pytest.mark.slow("mkdocs")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs_jupyter")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = {page.parent.relative_to(tmp_path / "site") for page in (tmp_path / "site").rglob("index.html")}
    texts = [path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")]
    assert {path.parent if path.name == "index" else path for path in texts} <= pages
    search = json.loads((tmp_path / "site" / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert "xtl.engine.maps.sweep" in json.dumps(search)


def documented() -> set[str]:
    return {
        name
        for page in DOCS.rglob("*.md")
        for name in re.findall(r"(?m)^::: ([\w.]+)$", page.read_text(encoding="utf-8"))
    }


def test_every_public_module_is_in_the_reference() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("xtl", "analyses")
        for path in (ROOT / package).rglob("*.py")
        if not path.name.startswith("_")
    }
    found = documented() | {name.rpartition(".")[0] for name in documented()} | {"xtl.models.load"}
    left = {name for name in modules - found - INTERNAL if not name.startswith(("xtl.engine.", "xtl.commands."))}
    assert left == set()
    assert {"xtl.engine.maps", "xtl.engine.many", "xtl.engine.verify"} <= found
    assert modules >= INTERNAL


def test_the_overview_has_every_name_of_the_package() -> None:
    table = (DOCS / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\[`(?:xtl\.)?(\w+)`\]", table))
    assert named == set(xtl.__all__)


def test_every_study_that_is_shown_is_one() -> None:
    texts = [path.read_text(encoding="utf-8") for path in [*DOCS.rglob("*.md"), ROOT / "README.md"]]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    blocks = [block for text in texts for block in re.findall(r"(?s)```yaml\n(.*?)```", text)]
    studies = [content for content in map(yaml.safe_load, blocks) if "tasks" in content and "directions" in content]
    assert studies
    for content in studies:
        Study.read(content)


ROOMS = {path.stem for path in (ROOT / "xtl").iterdir() if path.suffix in ("", ".py") and path.name[0] != "_"}
ROOMS -= {"report", "figures_export"}  # former names


def test_every_room_is_in_the_readme_on_the_plan_and_in_the_contract() -> None:
    readme, plan = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/architecture.md"))
    floors = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[[tool.importlinter.contracts]]")[2]
    assert {room for room in ROOMS if not re.search(rf"`xtl/{room}(/|\.py)`", readme)} == set()
    assert ROOMS - set(re.findall(r"\w+", plan.partition("```text")[2].partition("```")[0])) == set()
    assert ROOMS - set(re.findall(r"xtl\.(\w+)", floors)) == set()


def test_files_that_the_plan_names_are_there() -> None:
    plan = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", plan))
    assert len(named) > 20
    assert {name for name in named if not [*ROOT.glob(name), *ROOT.glob(f"xtl/**/{name}")]} == set()


def test_every_page_that_the_code_points_to_is_there() -> None:
    """In messages and docstrings alike."""
    named = {
        page
        for place in ("xtl", "analyses")
        for file in (ROOT / place).rglob("*.py")
        for page in re.findall(r"\bdocs/[\w/-]+\.\w+", file.read_text(encoding="utf-8"))
    }
    assert len(named) >= 5
    assert sorted(page for page in named if not (ROOT / page).is_file()) == []


def test_what_is_written_for_coding_assistants_is_true() -> None:
    """Its pages, its commands and its names."""
    text = (DOCS / "llms.txt").read_text(encoding="utf-8")
    pages = re.findall(r"\]\(([^)]+)\)", text)
    assert len(pages) >= 10
    assert [page for page in pages if not (DOCS / page).is_file()] == []
    said = {name for name, _ in re.findall(r"`xtl (\w+)( [^`]*)?`", text)}
    listed = subprocess.run([sys.executable, "-m", "xtl", "--help"], capture_output=True, text=True, check=True).stdout
    assert sorted(name for name in said if not re.search(rf"\b{name}\b", listed)) == []
    assert [name for name in re.findall(r"\bxtl\.(\w+)", text) if name not in dir(xtl)] == []
