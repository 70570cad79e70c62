"""What is read of the residual stream beside the score: the same by every engine, what the model itself has there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from xtl.backend import forward
from xtl.engine.head import Head
from xtl.engine.prepare import SweepSettings, check_cells, prepare
from xtl.engine.readings import N_COMPONENTS, Readings, directions, lens_layer
from xtl.hooks import MODULES, capture, transplant_at
from xtl.tokens import encode
from xtl.transplants import read_activations

ENGINES = ("loop", "batched", "packed")
BACKENDS = ("hooked", "bridge")
PAIR = xtl.ParallelPair(SOURCE, TARGET, options=("a", "bc", "d", "efg"), gold=2)
BOTH = ("lens", "state")


def first_tokens(model):
    asked = prepare(model, PAIR, SweepSettings(), check_cells(model))
    return [ids[0] for ids in asked.plan.continuations]


def residuals(model, cell=None):
    """The residual stream at the prompt's last token after the lens's block and the last one, with a transplant or without."""
    ids, kept = encode(model, TARGET), {}
    last = model.cfg.n_layers - 1
    layers = (lens_layer(last + 1), last)
    hooks = [(f"blocks.{layer}.hook_resid_post", capture(kept, layer, -1)) for layer in layers]
    if cell is not None:
        module, source, target = cell
        module = MODULES[module]
        written = read_activations(model, encode(model, SOURCE), [module], [source])[module.name, source]
        hooks = [(module.write_hook(target), transplant_at(written)), *hooks]
    forward(model, ids, hooks=hooks)
    return [kept[layer] for layer in layers]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("modules", [["attn", "mlp"], ["resid"]])
def test_every_engine_reads_what_stands_there(tiny_model, backend, engine, modules):
    model = tiny_model("llama", backend)
    found = xtl.sweep(model, PAIR, modules=modules, engine=engine, details=BOTH, verify=0, chunk_size=7)
    head, first = Head(model), first_tokens(model)
    cells = [(module, i, j) for module in modules for i in (0, 3) for j in (0, 2, 3)]
    for cell in (None, *cells):
        place = dict(zip(("module", "source_layer", "target_layer"), cell, strict=True)) if cell else {}
        lens, state = (
            found[("" if cell else "vanilla_") + name].sel(place) for name in ("lens_option_logprob", "final_state")
        )
        middle, last = residuals(model, cell)
        want = head.log_probabilities(middle, first).log_softmax(dim=1)[0]
        np.testing.assert_allclose(lens, want, atol=2e-4, err_msg=str(cell))
        want = (last / last.norm()).float() @ directions(model.cfg.d_model)
        np.testing.assert_allclose(state, want[0], atol=2e-4, err_msg=str(cell))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cell_that_writes_above_the_lens_is_vanilla_in_it(tiny_model, backend):
    model = tiny_model("llama", backend)
    found = xtl.sweep(model, PAIR, details=BOTH)
    layer = lens_layer(model.cfg.n_layers)
    above = found.lens_option_logprob.sel(target_layer=slice(layer + 1, None))
    np.testing.assert_allclose(above - found.vanilla_lens_option_logprob, 0, atol=1e-4)
    below = found.lens_option_logprob.sel(target_layer=slice(0, layer))
    assert float(abs(below - found.vanilla_lens_option_logprob).min("target_layer").max()) > 1e-3


@pytest.mark.parametrize("engine", ENGINES)
def test_they_change_nothing_else(tiny_model, engine):
    asked = {"engine": engine, "source_layers": [0, 3], "target_layers": [0, 2]}
    plain = xtl.sweep(tiny_model("llama"), PAIR, **asked)
    found = xtl.sweep(tiny_model("llama"), PAIR, **asked, details=BOTH)
    assert plain.identical(found[list(plain.data_vars)].drop_vars(["option", "component"], errors="ignore"))
    assert set(found.data_vars) - set(plain.data_vars) == {
        f"{own}{name}" for own in ("", "vanilla_") for name in ("lens_option_logprob", "final_state")
    }
    assert found.sizes["component"] == N_COMPONENTS


def test_a_map_whose_readings_are_not_the_loops_fails_its_check(tiny_model, monkeypatch):
    real = Readings._state
    monkeypatch.setattr(Readings, "_state", lambda self, states: real(self, states) + (len(states) > 1) * 0.01)
    with pytest.raises(xtl.ModelError, match=r"what details read of cell .* is off by 0\.01 from the plain loop"):
        xtl.sweep(tiny_model("llama"), PAIR, details="state", engine="packed")


def test_directions_keep_lengths_on_average():
    states = torch.nn.functional.normalize(torch.randn(400, 96, generator=torch.Generator().manual_seed(1)), dim=1)
    assert (states @ directions(96)).pow(2).mean().item() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(directions(96), directions(96))
