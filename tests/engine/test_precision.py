"""Every engine passes its own check at every precision, with nothing set."""

from __future__ import annotations

import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from xtl.models.precision import ENGINE, engine_tolerance

OPTIONS = {"options": (" Paris", " Rome is far", "x"), "gold": 0}


@pytest.mark.parametrize("engine", ["packed", "batched"])
@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "pythia"])
def test_a_map_passes_its_check(tiny_folder, architecture, dtype, backend, engine):
    model = xtl.load_model(tiny_folder(architecture), backend=backend, dtype=dtype)
    for asked in (OPTIONS, {"max_new_tokens": 3}, {**OPTIONS, "steps": "every"}):
        result = xtl.sweep(model, source=SOURCE, target=TARGET, engine=engine, verify=8, source_layers=[0, 3], **asked)
        assert result.attrs["dtype"] == dtype
        assert result.attrs["verified_cells"] == 8
        if (dtype, backend) == ("float64", "hooked"):
            assert result.attrs["verified_largest_difference"] < 1e-11


@pytest.mark.parametrize(("backend", "precision"), [("hooked", torch.float64), ("bridge", torch.float32)])
def test_a_bridge_in_float64_is_as_close_as_in_float32(tiny_folder, backend, precision):
    model = xtl.load_model(tiny_folder("llama"), backend=backend, dtype="float64")
    assert engine_tolerance(model) == ENGINE[precision]
