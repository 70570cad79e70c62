from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xtl.engine.readout import SCREENING_TILE, VOCABULARY_TILE, Readout


def readout(weight, bias=None):
    return Readout(SimpleNamespace(W_U=weight.T, b_U=bias, cfg=SimpleNamespace(output_logits_soft_cap=None)))


@given(
    seed=st.integers(0, 10**6),
    d_vocab=st.sampled_from([100, SCREENING_TILE, 3 * VOCABULARY_TILE + 77]),
    spread=st.sampled_from([1e-4, 1e-2, 1.0, 30.0]),
    biased=st.booleans(),
)
@settings(max_examples=30)
def test_a_look_in_bfloat16_first_does_not_change_the_likeliest_token(seed, d_vocab, spread, biased):
    """Also where many tokens are closer together than bfloat16 can tell."""
    random = torch.Generator().manual_seed(seed)
    common = torch.randn(1, 24, generator=random)
    weight = common + spread * torch.randn(d_vocab, 24, generator=random)
    bias = torch.randn(d_vocab, generator=random) * spread if biased else None
    normed = 5 * torch.randn(9, 24, generator=random)
    one = readout(weight, bias)
    tokens, best = one.screened_argmax(normed)
    want, want_tokens = (normed.double() @ weight.double().T + (0 if bias is None else bias.double())).max(dim=1)
    torch.testing.assert_close(best.double(), want, rtol=1e-5, atol=1e-5)
    reached = (normed.double() * weight[tokens].double()).sum(dim=1) + (0 if bias is None else bias[tokens].double())
    torch.testing.assert_close(reached, want, rtol=1e-6, atol=1e-5)
    plain_tokens, plain = one.argmax(normed)  # too few rows for a screening
    torch.testing.assert_close(best, plain, rtol=1e-6, atol=1e-5)
    assert (plain_tokens == want_tokens).all() or spread < 1e-2


def test_few_tiles_are_looked_at_twice(monkeypatch):
    random = torch.Generator().manual_seed(0)
    one = readout(torch.randn(40 * SCREENING_TILE, 64, generator=random))
    looked = []
    real = Readout.logits
    monkeypatch.setattr(Readout, "logits", lambda self, *a: looked.append(len(a[0])) or real(self, *a))
    one.screened_argmax(torch.randn(20, 64, generator=random))
    assert sum(looked) < 0.5 * 20 * 40


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_found(bad):
    one = readout(torch.randn(2 * SCREENING_TILE, 8))
    normed = torch.randn(4, 8)
    normed[2, 3] = bad
    best = one.screened_argmax(normed)[1]
    assert torch.isfinite(best).tolist() == [True, True, False, True]
    weight = torch.randn(2 * SCREENING_TILE, 8)
    weight[700] = bad
    assert not torch.isfinite(readout(weight).screened_argmax(torch.ones(1, 8))[1]).any()
