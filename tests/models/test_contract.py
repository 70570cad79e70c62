from __future__ import annotations

import pytest
import torch

import xtl
from tests import tiny
from tests.conftest import TARGET
from xtl.backend import forward
from xtl.models import contract as contract_module
from xtl.models.contract import check_contract
from xtl.tokens import encode


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("architecture", tiny.CONFIGS)
def test_the_contract_holds(tiny_model, architecture, backend):
    contract = tiny_model(architecture, backend).xtl_info.contract
    assert "logits equal Hugging Face's" in contract
    assert max(contract.values()) < 1e-5
    sums = [check for check in contract if "==" in check]
    assert len(sums) == (1 if architecture == "pythia" else 2)
    assert len(contract) == len(sums) + 4  # writes: into the sublayers, into the residual stream; logits; over a cache


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_hook_point_that_ignores_a_write_is_found_out(tiny_folder, monkeypatch, backend):
    """It shows the right value, so that the sums hold; what is written there never arrives."""
    model = xtl.load_model(tiny_folder("llama"), backend=backend)
    ids = encode(model, TARGET)
    real = contract_module.forward

    def deaf(model, tokens, *, hooks):
        def shown(function):
            def only_read(activation, hook):
                function(activation, hook)

            return only_read

        return real(model, tokens, hooks=[(n, shown(f) if n == "blocks.1.hook_mlp_out" else f) for n, f in hooks])

    monkeypatch.setattr(contract_module, "forward", deaf)
    with pytest.raises(
        xtl.ContractError, match=r"a written attn_out or mlp_out is what the block adds is off .* block 1"
    ):
        check_contract(model, ids, None)


@pytest.mark.parametrize("architecture", tiny.CONFIGS)
def test_both_backends_give_the_same_logits(tiny_model, architecture):
    hooked, bridge = tiny_model(architecture, "hooked"), tiny_model(architecture, "bridge")
    ids = encode(hooked, TARGET)
    assert ids == encode(bridge, TARGET)
    a, b = forward(hooked, ids), forward(bridge, ids)
    assert (a - b).abs().max() <= 1e-5 * a.abs().max()


def test_a_model_that_breaks_the_contract_is_refused(tiny_folder):
    model = xtl.load_model(tiny_folder("llama"))
    ids = encode(model, TARGET)
    reference = forward(model, ids)
    check_contract(model, ids, reference)
    with pytest.raises(xtl.ContractError, match="logits equal Hugging Face's is off by"):
        check_contract(model, ids, reference + 0.01 * reference.abs().max())
    with pytest.raises(xtl.ContractError, match="logits"):
        check_contract(model, ids, reference * float("nan"))


def test_a_block_whose_sum_does_not_hold_is_named(tiny_folder):
    model = xtl.load_model(tiny_folder("llama"))
    ids = encode(model, TARGET)
    # A permanent hook that changes resid_mid breaks resid_pre + attn_out == resid_mid in block 2 alone.
    model.blocks[2].hook_resid_mid.add_perma_hook(lambda activation, hook: activation * 1.5)
    with pytest.raises(xtl.ContractError, match=r"resid_pre \+ attn_out == resid_mid is off .*block 2"):
        check_contract(model, ids, None)


def test_a_processed_model_differs_in_what_the_hooks_hold(tiny_model):
    """Why models run unprocessed: folding changes what `hook_mlp_out` holds, though not the logits."""
    model = tiny_model("gpt2")
    assert model.cfg.normalization_type == "LN"  # folding would make it LNPre
    assert torch.is_tensor(model.blocks[0].ln1.w)


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_gradients_are_off(tiny_model, backend):
    model = tiny_model("gpt2", backend)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("architecture", tiny.CONFIGS)
def test_logits_of_the_last_positions_are_the_last_of_all_logits(tiny_model, architecture, backend):
    model = tiny_model(architecture, backend)
    ids = encode(model, TARGET)
    whole = forward(model, ids)
    for keep in (1, 3, len(ids)):
        part = forward(model, ids, keep=keep)
        assert part.shape == (keep, model.cfg.d_vocab)
        assert (part - whole[-keep:]).abs().max() <= 1e-6 * whole.abs().max()


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
def test_the_contract_holds_in_other_precisions(tiny_model, architecture, dtype, backend):
    model = tiny_model(architecture, backend, dtype)
    assert model.cfg.dtype == getattr(torch, dtype)
    result = xtl.sweep(model, source=TARGET, target=TARGET, options=("a", "bc"), gold=0, source_layers=[0, 2])
    assert result.attrs["dtype"] == dtype
    assert result.attrs["engine"] == "packed"


@pytest.mark.hooked
def test_a_forward_pass_that_fails_is_one_line(tiny_folder):
    model = xtl.load_model(tiny_folder("llama"))
    model.blocks[1].attn.W_Q.data = model.blocks[1].attn.W_Q.data.double()
    with pytest.raises(xtl.ContractError, match="its forward pass fails: ") as caught:
        check_contract(model, encode(model, TARGET), None)
    assert "\n" not in str(caught.value)
