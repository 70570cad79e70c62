from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import xtl
from xtl.backend import forward
from xtl.engine import screened
from xtl.engine.greedy import best_of
from xtl.engine.logit_scale import LogitScale, logit_scale
from xtl.engine.packed import why_not_packable
from xtl.engine.readout import MANY, VOCABULARY_TILE, Readout
from xtl.hooks import capture


def readout(weight, bias=None, scale=None):
    return Readout(SimpleNamespace(W_U=weight.T, b_U=bias, xtl_logit_scale=scale or LogitScale()))


@given(
    seed=st.integers(0, 10**6),
    d_vocab=st.sampled_from([100, screened.TILE, 3 * VOCABULARY_TILE + 77]),
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
    tokens, best = one.screened.argmax(normed)
    want = (normed.double() @ weight.double().T + (0 if bias is None else bias.double())).amax(dim=1)
    torch.testing.assert_close(best.double(), want, rtol=1e-5, atol=1e-5)
    plain_tokens, plain = one.argmax(normed)  # too few rows for a screening
    torch.testing.assert_close(best, plain, rtol=1e-6, atol=1e-5)
    for found in (tokens, plain_tokens):  # another token only where float32 can't tell it from the likeliest
        reached = (normed.double() * weight[found].double()).sum(dim=1) + (0 if bias is None else bias[found].double())
        torch.testing.assert_close(reached, want, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("d_vocab", [100, 3 * VOCABULARY_TILE + 77])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("n_rows", [3, 20])
def test_how_sure_the_model_is_read_tile_by_tile_is_what_all_logits_say(d_vocab, spread, n_rows):
    """From all but even to all but certain; also where the largest logit is looked for in bfloat16."""
    random = torch.Generator().manual_seed(0)
    one = readout(spread * torch.randn(d_vocab, 24, generator=random), torch.randn(d_vocab, generator=random) * spread)
    normed = torch.randn(n_rows, 24, generator=random)
    got = one.first(normed, confidence=True)
    want = best_of(one.logits(normed, slice(None)).double(), confidence=True)
    assert (got.tokens == want.tokens).all()
    for values, right in zip(got[1:], want[1:], strict=True):
        torch.testing.assert_close(values.double(), right, rtol=1e-5, atol=2e-4)
    logprobs = one.logits(normed, slice(None)).double().log_softmax(dim=-1)
    torch.testing.assert_close(got.entropies.double(), -(logprobs.exp() * logprobs).sum(dim=-1), rtol=1e-4, atol=2e-4)
    assert (got.margins >= 0).all()
    after = one.next(normed, confidence=True)
    torch.testing.assert_close(after.normalisers, got.normalisers)
    assert one.first(normed, confidence=False)[2:] == one.next(normed, confidence=False)[2:] == (None, None, None)


def test_few_tiles_are_looked_at_twice(monkeypatch):
    random = torch.Generator().manual_seed(0)
    one = readout(torch.randn(40 * screened.TILE, 64, generator=random))
    looked = []
    real = Readout.logits
    monkeypatch.setattr(Readout, "logits", lambda self, *a: looked.append(len(a[0])) or real(self, *a))
    one.screened.argmax(torch.randn(20, 64, generator=random))
    assert sum(looked) < 0.5 * 20 * 40


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_found(bad):
    one = readout(torch.randn(2 * screened.TILE, 8))
    normed = torch.randn(4, 8)
    normed[2, 3] = bad
    best = one.screened.argmax(normed)[1]
    assert torch.isfinite(best).tolist() == [True, True, False, True]
    weight = torch.randn(2 * screened.TILE, 8)
    weight[700] = bad
    assert not torch.isfinite(readout(weight).screened.argmax(torch.ones(1, 8))[1]).any()


@pytest.mark.parametrize(("light", "spread"), [(1e-5, 0.3), (1e-4, 0.3), (1e-4, 0.01)])
def test_the_sum_over_the_vocabulary_is_as_near_to_it_as_is_said(light, spread, monkeypatch):
    """From an even distribution to a peaked one; what all columns share makes bfloat16 err alike in all of them."""
    random, scale = torch.Generator().manual_seed(0), LogitScale(0.5, 3.0)
    weight = torch.randn(1, 24, generator=random) + spread * torch.randn(60_000, 24, generator=random)
    one = readout(weight, 0.3 * torch.randn(60_000, generator=random), scale)
    normed = torch.randn(32, 24, generator=random)
    monkeypatch.setattr(screened, "LIGHT", light)
    total, error = one.screened.normaliser(normed)
    logits = scale.after * (scale.before * normed.double() @ weight.double().T + one.bias.double())
    off = total - logits.logsumexp(dim=1)
    rounding = 1e-6 * logits.abs().max()
    assert (off.abs() <= 6 * error + light + rounding).all()
    assert off.square().mean().sqrt() <= 2 * error.square().mean().sqrt() + rounding


def test_most_sums_need_few_products_in_float32(monkeypatch):
    random = torch.Generator().manual_seed(0)
    one = readout(torch.randn(40_000, 64, generator=random))
    normed = 3 * torch.randn(MANY, 64, generator=random)
    monkeypatch.setattr(Readout, "screening", lambda *_: True)
    want, done = one.summed(normed), []
    real = Readout.logits
    monkeypatch.setattr(Readout, "logits", lambda self, *a: done.append((got := real(self, *a)).numel()) or got)
    torch.testing.assert_close(one.normaliser(normed), want, rtol=1e-6, atol=1e-5)
    assert sum(done) < 0.4 * MANY * 40_000


def test_rows_that_are_alike_are_looked_at_apart_from_others(monkeypatch):
    """What is heavy for some rows need not be summed for others; their sums are the same."""
    random, done = torch.Generator().manual_seed(0), []
    one = readout(torch.randn(40_000, 64, generator=random))
    centres = torch.randn(4, 1, 64, generator=random)
    normed = (3 * centres + 0.5 * torch.randn(4, MANY, 64, generator=random)).flatten(0, 1)
    want = one.summed(normed)
    monkeypatch.setattr(Readout, "screening", lambda *_: True)
    monkeypatch.setattr(screened, "ALIKE", MANY)
    real = Readout.summed
    monkeypatch.setattr(Readout, "summed", lambda *a: done.append(a[2].numel() * len(a[1]) if a[2:] else 0) or real(*a))
    products = []
    for n_alike in (len(normed), MANY):
        torch.testing.assert_close(one.normaliser(normed, n_alike), want, rtol=1e-6, atol=1e-5)
        products.append(sum(done[1::2]))  # the first of two sums tells what is light
        done.clear()
    assert products[1] < 0.7 * products[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_sum_that_is_no_number_is_found_and_spoils_no_other(bad, monkeypatch):
    one, normed = readout(torch.randn(9000, 8)), torch.randn(MANY, 8)
    monkeypatch.setattr(Readout, "screening", lambda *_: True)
    want = one.normaliser(normed)
    normed[2, 3] = bad
    got = one.normaliser(normed)
    assert not torch.isfinite(got[2])
    others = torch.arange(MANY) != 2
    torch.testing.assert_close(got[others], want[others], rtol=0, atol=1e-5)


def test_weights_that_were_changed_are_looked_at_anew(tiny_model):
    """Though their memory is kept."""
    model = tiny_model("llama", "hooked")
    before = Readout(model).screened.low
    kept = before.clone()
    with torch.no_grad():
        model.unembed.W_U.data.mul_(2)
    try:
        after = Readout(model).screened.low
    finally:
        model.unembed.W_U.data.div_(2)
    assert after.data_ptr() == before.data_ptr()
    torch.testing.assert_close(after[:, :-4], 2 * kept[:, :-4])


SCALED = [
    ("granite", 1 / 8, 0.0),
    ("granite_moe", 1 / 8, 0.0),
    ("nanochat", 1.0, 4.0),
    ("vaultgemma", 1.0, 4.0),
    ("gemma2", 1.0, 4.0),
    ("llama", 1.0, 0.0),
]


@pytest.mark.parametrize(("architecture", "after", "cap"), SCALED)
def test_what_a_model_does_to_its_logits_is_asked_of_it(tiny_model, architecture, after, cap):
    model = tiny_model(architecture, "bridge")
    found = logit_scale(model)
    assert (found.before, found.after, found.cap) == (1, pytest.approx(after, rel=1e-6), pytest.approx(cap, rel=1e-6))
    kept = {}
    logits = forward(model, [5, 9, 7], hooks=[("ln_final.hook_out", capture(kept, 0, slice(None)))])
    torch.testing.assert_close(Readout(model).logits(kept[0][0], slice(None)), logits, rtol=1e-5, atol=1e-5)
    assert "forward" not in vars(model.original_model.get_output_embeddings())


@pytest.mark.parametrize("wanted", [LogitScale(0.25, 3.0, 0.0), LogitScale(1.0, -2.0, 5.0), LogitScale(2.0, 0.1, 30.0)])
def test_any_factor_and_cap_is_found(tiny_folder, wanted):
    """Before the unembedding (MiniCPM), after it, under a cap, whatever a configuration calls it."""
    model = xtl.load_model(tiny_folder("llama"), backend="bridge")
    original = model.original_model

    def scaled(*arguments, **options):
        head = original.get_output_embeddings()
        own = vars(head).get("forward", head.forward)
        vars(head)["forward"] = lambda hidden, *rest, **more: wanted(own(hidden * wanted.before, *rest, **more))
        try:
            return real(*arguments, **options)
        finally:
            vars(head).pop("forward") if own == head.forward else vars(head).update(forward=own)

    real = original.forward
    vars(original)["forward"] = scaled
    found = logit_scale(model)
    assert found.before == pytest.approx(wanted.before, rel=1e-5)
    assert found.after == pytest.approx(wanted.after, rel=1e-5)
    assert found.cap == pytest.approx(wanted.cap, rel=1e-5)


def test_logits_that_are_something_else_are_refused_for_what_they_are(tiny_folder, monkeypatch):
    """Not for the model's attention."""
    model = xtl.load_model(tiny_folder("granite"), backend="bridge")
    monkeypatch.setattr(model, "xtl_logit_scale", LogitScale(), raising=False)
    assert why_not_packable(model).startswith("its logits are something else than its final norm, unembedding")


def test_a_scale_does_not_change_the_screened_argmax():
    random = torch.Generator().manual_seed(0)
    weight, normed = torch.randn(3000, 24, generator=random), torch.randn(9, 24, generator=random)
    for scale in (LogitScale(), LogitScale(0.5, 3.0), LogitScale(4.0, 0.125)):
        tokens, best = readout(weight, scale=scale).screened.argmax(normed)
        want, at = (scale.after * (scale.before * normed) @ weight.T).max(dim=1)
        assert torch.equal(tokens, at)
        torch.testing.assert_close(best, want, rtol=1e-5, atol=1e-5)


def test_without_a_way_to_ask_the_cpu_nothing_is_screened(monkeypatch):
    """The question is private in torch: a later one may not have it."""
    one, many = readout(torch.randn(40_000, 8)), torch.randn(16, 8)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)
    assert one.screening(many)
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert not one.screening(many)
    assert one.argmax(many)[0].shape == (16,)
