"""The larger model, where the cache has it (`benchmarks/larger_model.py`): its contract, and packed cells against the loop."""

from __future__ import annotations

import os

import numpy as np
import pytest
from larger_model import QWEN

import xtl
from xtl.models.converted import cache_folder
from xtl.models.precision import contract_tolerance, engine_tolerance

FILE = cache_folder() / QWEN.name

pytestmark = [
    pytest.mark.slow("the larger model"),
    pytest.mark.xdist_group("larger model"),
    pytest.mark.skipif(bool(os.environ.get("CI")), reason="a model of 1.8 billion parameters"),
    pytest.mark.skipif(not FILE.is_file(), reason="python benchmarks/larger_model.py has not been run"),
]

PAIR = xtl.ParallelPair(
    "Premise: The glass fell off the table. What happened as a result? (1) It broke. (2) It flew away. Answer:",
    "Nguzo: Glasi ilianguka kutoka mezani. Nini kilitokea? (1) Ilivunjika. (2) Iliruka. Jibu:",
    options=(" (1)", " (2)"),
    gold=0,
)


@pytest.fixture(scope="module")
def model():
    return xtl.load_model(FILE, dtype="bfloat16")


def test_its_contract_holds_and_it_is_the_papers_architecture(model):
    assert (model.cfg.n_layers, model.cfg.d_model, model.cfg.d_vocab) == (28, 1536, 151936)
    assert max(model.xtl_info.contract.values()) < contract_tolerance(model)


def test_packed_cells_equal_the_loops(model):
    (pair,) = xtl.chat_pairs(model, [PAIR], True)
    cells = {"source_layers": [20], "target_layers": [0, 14]}
    packed, loop = (xtl.sweep(model, pair, engine=engine, verify=0, **cells) for engine in ("packed", "loop"))
    assert packed.attrs["engine"] == "packed"
    scale = max(1.0, float(np.abs(loop.score).max()))
    assert float(np.abs(packed.score - loop.score).max()) < engine_tolerance(model) * scale
