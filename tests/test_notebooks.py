"""The notebooks: they run from top to bottom, say what is committed, and what is committed holds their outputs and pictures."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
GROUPS = [[*NOTEBOOKS[:2], NOTEBOOKS[3], NOTEBOOKS[6]], [NOTEBOOKS[2], *NOTEBOOKS[4:6]]]
"""Of about equal time: two workers share them."""
DOCS = Path(__file__).parents[1] / "docs"
REFERENCE = {"xtl", "analyses", "xtl.tasks", "xtl.runs", "xtl.publish", "xtl.plots"} | {
    name for page in DOCS.rglob("*.md") for name in re.findall(r"(?m)^::: ([\w.]+)$", page.read_text(encoding="utf-8"))
}
"""Modules for users: the rooms, and what has its page."""
NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?%?")
PREPARED = """
import functools, xtl, xtl.models
xtl.models.load_model = xtl.load_model = lambda *_, once=functools.cache(xtl.models.load_model), **options: once()
from xtl.engine import driver
driver.verify_scores = driver.verify_answers = lambda *_, **__: 0.0
"""
"""All notebooks ask for the same model; here it is loaded once, and its maps, which must
equal those that are committed, are not checked beside that."""


def cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_there_are_seven() -> None:
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04", "05", "06", "07"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_outputs_are_committed_with_pictures_and_small(path: Path) -> None:
    assert path.stat().st_size < 2_000_000
    found = cells(path)
    assert [cell["execution_count"] for cell in found] == list(range(1, len(found) + 1))
    outputs = [output for cell in found for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert str(Path.home()) not in json.dumps(outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_cells_are_short_and_between_them_stands_prose(path: Path) -> None:
    assert max(len("".join(cell["source"]).splitlines()) for cell in cells(path)) <= 32
    kinds = [cell["cell_type"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert kinds[0] == "markdown"
    assert kinds.count("markdown") >= kinds.count("code") * 0.6


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_of_xtl_they_import_what_the_reference_has(path: Path) -> None:
    """And no private name."""
    code = "\n".join("".join(cell["source"]) for cell in cells(path))
    tree = ast.parse(re.sub(r"(?m)^(\s*)%.*", r"\1pass", code))
    assert [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr[0] == "_"] == []
    for node in ast.walk(tree):
        for name in [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []:
            module = node.module or "" if isinstance(node, ast.ImportFrom) else name
            if module.split(".")[0] in ("xtl", "analyses"):
                assert module in REFERENCE, f"{module} is not in the reference"
                is_module = name in (module, *(one.removeprefix(f"{module}.") for one in REFERENCE))
                assert is_module or name in public(module), f"{module}.{name} is not public"


def public(module: str) -> set[str]:
    """What is for users in a module: its `__all__`, or what it defines itself without an underscore."""
    found = importlib.import_module(module)
    own = {
        name for name, value in vars(found).items() if getattr(value, "__module__", module) == module and name[0] != "_"
    }
    return {*getattr(found, "__all__", own)}


@pytest.mark.embedded
@pytest.mark.slow("notebooks")
@pytest.mark.parametrize(
    "paths", [pytest.param(group, marks=pytest.mark.xdist_group(f"notebooks {group[0].stem}")) for group in GROUPS]
)
@pytest.mark.filterwarnings("default")
def test_they_run_and_say_what_is_committed(paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel runs all of a group, one after the other; between them every name is deleted."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")  # pictures take a browser
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv(
        "OMP_NUM_THREADS", str(torch.get_num_threads())
    )  # as many as here: a worker's neighbours work too
    committed = [cell for path in paths for cell in [None, *cells(path)]]
    sources = [PREPARED if cell is None else "".join(cell["source"]) for cell in committed]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    for k, cell in enumerate(committed):
        if cell is None and k:
            notebook.cells[k].source = "%reset -f"
    resources = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    for was, now in zip(committed, notebook.cells, strict=True):
        if was is not None:
            assert shown(now["outputs"]) == shown(was["outputs"]), now.source
            (words, numbers), (old_words, old_numbers) = said(now["outputs"]), said(was["outputs"])
            assert words == old_words
            assert numbers == pytest.approx(old_numbers, rel=0.02, abs=0.02), now.source


def shown(outputs: list[Any]) -> list[set[str]]:
    """What each output can be shown as; pictures and widgets aside, of which a test makes none and a file keeps none."""
    found = [set(output["data"]) for output in outputs if "data" in output]
    return [{kind for kind in kinds if kind != "image/png" and "widget" not in kind} for kinds in found]


def said(outputs: list[Any]) -> tuple[str, list[float]]:
    """What was printed, and the numbers in it."""
    text = "".join("".join(output["text"]) for output in outputs if output.get("name") == "stdout")
    return NUMBER.sub("#", text), [float(number.strip("%").replace("−", "-")) for number in NUMBER.findall(text)]
