"""A blend is own + alpha (source - own): 1 is the transplant bit for bit, 0 changes nothing; a head is written alone."""

from __future__ import annotations

import math

import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from xtl.hooks import transplant_at, transplant_batch, transplant_packed

ONE = {"source": SOURCE, "target": TARGET, "source_layer": 3, "target_layer": 1, "max_new_tokens": 4}


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("module", ["attn", "mlp", "resid"])
def test_a_whole_blend_is_the_transplant_and_none_is_vanilla(tiny_model, backend, module):
    model = tiny_model("llama", backend)
    plain = xtl.transplant(model, module=module, steps="every", **ONE)
    whole, none, half = (
        xtl.transplant(model, module=module, steps="every", alpha=alpha, **ONE) for alpha in (1.0, 0.0, 0.5)
    )
    assert torch.equal(whole.logits, plain.logits)
    assert whole.tokens == plain.tokens
    assert torch.equal(none.logits, none.vanilla_logits)
    assert none.tokens == none.vanilla_tokens
    assert not torch.equal(half.logits, plain.logits)
    assert not torch.equal(half.logits, half.vanilla_logits)
    assert half.patch.alpha == 0.5
    assert "0.5 x " in repr(half)
    assert " x " not in repr(plain)


@pytest.mark.parametrize("alpha", [math.nan, math.inf, "half", True])
def test_an_alpha_that_is_no_number_is_told(tiny_model, untyped, alpha):
    with pytest.raises(xtl.InputError, match=f"alpha must be a number, got {alpha!r}"):
        xtl.transplant(tiny_model("llama"), module="attn", alpha=alpha, **ONE)


@pytest.mark.parametrize("shape", [(1, 3, 4, 2), (1, 3, 8)])
def test_a_head_is_written_alone(shape):
    """By heads or flattened; the packed and the batched hook write what the plain one does, each cell its own."""
    activation, sources = torch.randn(shape), torch.randn(3, 2)
    heads, alphas, rows = torch.tensor([2, 0, 3]), torch.tensor([0.0, 0.25, 1.0]), torch.arange(3)
    one = transplant_at(sources[1], 1, alpha=0.25, head=0)(activation, hook=None)
    own = activation.reshape(1, 3, 4, 2)
    assert torch.allclose(one.reshape(1, 3, 4, 2)[0, 1, 0], own[0, 1, 0] + 0.25 * (sources[1] - own[0, 1, 0]))
    assert (one != activation).reshape(1, 3, 4, 2).sum() == 2
    packed = transplant_packed(sources, rows, 1, alpha=alphas, head=heads)(activation, hook=None)
    batched = transplant_batch(sources, rows, alpha=alphas, head=heads)(activation[0][:, None], hook=None)
    for row in range(3):
        plain = transplant_at(sources[row], row, alpha=float(alphas[row]), head=int(heads[row]))(activation, hook=None)
        assert torch.allclose(packed[0, row], plain[0, row])
        assert torch.allclose(batched[row, 0], plain[0, row])
