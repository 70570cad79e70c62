"""Every engine passes its own check at every precision, with nothing set."""

from __future__ import annotations

import itertools

import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from xtl.models.precision import ENGINE, engine_tolerance

pytestmark = pytest.mark.slow("precisions that the processor multiplies slowly")

OPTIONS = {"options": (" Paris", " Rome is far", "x"), "gold": 0}


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "pythia"])
def test_a_map_passes_its_check(tiny_model, architecture, dtype, backend):
    model = tiny_model(architecture, backend, dtype)
    cells = {"source": SOURCE, "target": TARGET, "source_layers": [0, 3], "target_layers": [1], "verify": 4}
    # What a step more does to rounding, and what a batch does, llama shows.
    more = ({"max_new_tokens": 3}, {**OPTIONS, "steps": "every"}) if architecture == "llama" else ()
    engines = ("packed", "batched") if architecture == "llama" else ("packed",)
    for engine, asked in itertools.product(engines, (OPTIONS, *more)):
        result = xtl.sweep(model, engine=engine, **cells, **asked)
        assert result.attrs["dtype"] == dtype
        assert result.attrs["verified_cells"] == 4
        if (dtype, backend) == ("float64", "hooked"):
            assert result.attrs["verified_largest_difference"] < 1e-11


@pytest.mark.parametrize(("backend", "precision"), [("hooked", torch.float64), ("bridge", torch.float32)])
def test_a_bridge_in_float64_is_as_close_as_in_float32(tiny_model, backend, precision):
    model = tiny_model("llama", backend, "float64")
    assert engine_tolerance(model) == ENGINE[precision]
