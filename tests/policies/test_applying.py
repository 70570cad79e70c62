"""A policy at work: what any generation gives under it is what the transplant of its cell gives; afterwards nothing is left."""

from __future__ import annotations

import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from xtl.policies.applying import prompt_hooks
from xtl.tokens import encode
from xtl.transplants import generate

N = 4
CELL = {"module": "mlp", "source_layer": 3, "target_layer": 1}
BACKENDS = pytest.mark.parametrize("backend", ["hooked", "bridge"])
CACHE = pytest.mark.parametrize("cache", [True, False])


def ids_of(model, *prompts):
    """Token ids [row, pos] of prompts, padded on the left."""
    rows = [encode(model, prompt) for prompt in prompts]
    longest = max(map(len, rows))
    return torch.tensor([[0] * (longest - len(row)) + row for row in rows])


def generated(model, ids, cache=True, n=N):
    """The new tokens [row, token] that the backend's own `generate` gives."""
    out = model.generate(
        ids, max_new_tokens=n, do_sample=False, use_past_kv_cache=cache, stop_at_eos=False, verbose=False,
        return_type="tokens",
    )  # fmt: skip
    return out[:, ids.shape[1] :].tolist()


def transplanted(model, source, target, alpha=1.0, n=N):
    return xtl.transplant(model, source=source, target=target, **CELL, alpha=alpha, max_new_tokens=n)


def upto(tokens, n):
    return tokens[:n]


def hooks_left(model):
    return [p.name for p in model.modules() if getattr(p, "fwd_hooks", None)], len(model.blocks[0]._forward_pre_hooks)


@BACKENDS
@CACHE
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3"])
def test_generation_under_it_is_the_transplants(tiny_model, architecture, backend, cache):
    model = tiny_model(architecture, backend)
    before = hooks_left(model)
    policy = xtl.Policy.for_model(model, **CELL, alpha=0.75)
    ids = ids_of(model, TARGET)
    one = transplanted(model, SOURCE, TARGET, alpha=0.75)
    with policy.applied(model, source=SOURCE):
        first, again = generated(model, ids, cache), generated(model, ids, cache)
    assert upto(first[0], len(one.tokens)) == one.tokens
    assert first == again  # a second prompt in the same `with` is a prompt again
    assert hooks_left(model) == before
    assert upto(generated(model, ids, cache)[0], len(one.tokens)) == upto(one.vanilla_tokens, len(one.tokens))


@BACKENDS
def test_it_is_the_sweeps_cell(tiny_model, backend):
    model = tiny_model("llama", backend)
    pair = xtl.ParallelPair(SOURCE, TARGET, "en", "es")
    grid = {"modules": ["mlp"], "source_layers": [3], "target_layers": [1]}
    cell = xtl.sweep(model, pair, **grid, max_new_tokens=N)
    tokens = [int(token) for token in cell.tokens.values.ravel() if token >= 0]
    with xtl.Policy.for_model(model, **CELL).applied(model, source=SOURCE):
        assert upto(generated(model, ids_of(model, TARGET))[0], len(tokens)) == tokens


@BACKENDS
@CACHE
def test_rows_of_a_batch_have_their_own_source(tiny_model, backend, cache):
    model = tiny_model("llama", backend)
    targets, sources = [TARGET, TARGET[:-1] + "o"], [SOURCE, "Berlin is"]
    policy = xtl.Policy.for_model(model, **CELL)
    with policy.applied(model, source=sources):
        rows = generated(model, ids_of(model, *targets), cache)
    for row, source, target in zip(rows, sources, targets, strict=True):
        alone = transplanted(model, source, target).tokens
        assert upto(row, len(alone)) == alone
    with policy.applied(model, source=sources), pytest.raises(xtl.InputError, match="2 prompts, and the batch has 3"):
        generated(model, ids_of(model, *targets, TARGET))


@BACKENDS
def test_nothing_is_left_after_an_exception(tiny_model, backend):
    model = tiny_model("llama", backend)
    before, ids = hooks_left(model), ids_of(model, TARGET)
    free = generated(model, ids)
    policy = xtl.Policy.for_model(model, **CELL)
    with pytest.raises(ZeroDivisionError), policy.applied(model, source=SOURCE):
        print(hooks_left(model) != before or pytest.fail("no hooks"), 1 / 0)
    assert hooks_left(model) == before
    far = xtl.Policy.for_model(model, **CELL, position=-40)
    with far.applied(model, source=SOURCE), pytest.raises(xtl.InputError, match="before the prompt's beginning"):
        generated(model, ids)
    assert hooks_left(model) == before
    assert generated(model, ids) == free


@BACKENDS
def test_a_fixed_vector_is_written_or_added(tiny_model, backend):
    model = tiny_model("llama", backend)
    ids = encode(model, TARGET)
    vector = torch.randn(model.cfg.d_model, generator=torch.Generator().manual_seed(0))
    own = {}
    site = "blocks.1.hook_mlp_out"

    def look(activation, hook):
        own[0] = activation.clone()

    for operation, alpha in [("blend", 1.0), ("blend", 0.25), ("add", 0.5)]:
        policy = xtl.Policy.for_model(
            model, module="mlp", target_layer=1, vector=vector, operation=operation, alpha=alpha, position=-2
        )
        model.run_with_hooks(torch.tensor([ids]), fwd_hooks=[(site, look)])
        clean = own[0][0]
        with policy.applied(model):
            model.run_with_hooks(torch.tensor([ids]), fwd_hooks=[(site, look)])
        seen = own[0][0]
        wanted = clean[-2] + alpha * (vector if operation == "add" else vector - clean[-2])
        assert torch.allclose(seen[-2], wanted, atol=1e-5)
        assert torch.equal(seen[:-2], clean[:-2])
        assert torch.equal(seen[-1], clean[-1])


@BACKENDS
def test_heads_written_one_by_one_are_the_module(tiny_model, backend):
    """All heads of `hook_z` at once are the whole activation; a pair writes one head's output into another."""
    model = tiny_model("llama", backend)
    z = xtl.Module("z", read="attn.hook_z", write="attn.hook_z")
    n, ids = model.cfg.n_heads, encode(model, TARGET)
    layers = {"source_layer": 2, "target_layer": 1}
    whole = xtl.Policy.for_model(model, module=z, **layers)
    each = xtl.Policy.for_model(model, module="attn_head", **layers, heads=list(range(n)))
    swapped = xtl.Policy.for_model(model, module="attn_head", **layers, heads=[(0, 3)])
    one = xtl.transplant(
        model, source=SOURCE, target=TARGET, module="attn_head", **layers, source_head=0, target_head=3
    )
    answers = [
        generate(model, ids, 4, prompt_hooks(policy, model, SOURCE, len(ids))) for policy in (whole, each, swapped)
    ]
    assert torch.equal(answers[0].first_logits, answers[1].first_logits)
    assert torch.equal(answers[2].first_logits, one.logits)
    assert not torch.equal(answers[0].first_logits, answers[2].first_logits)


def test_alpha_0_changes_nothing(tiny_model):
    model = tiny_model("llama")
    ids = ids_of(model, TARGET)
    free = generated(model, ids)
    for more in ({"source_layer": 3}, {"vector": torch.ones(model.cfg.d_model), "operation": "add"}):
        policy = xtl.Policy.for_model(model, module="mlp", target_layer=1, alpha=0.0, **more)
        with policy.applied(model, source=None if "vector" in more else SOURCE):
            assert generated(model, ids) == free


def test_hugging_faces_own_generate_is_patched_too(tiny_model):
    model = tiny_model("llama", "bridge")
    one = transplanted(model, SOURCE, TARGET)
    ids = ids_of(model, TARGET)
    with xtl.Policy.for_model(model, **CELL).applied(model, source=SOURCE):
        out = model.original_model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=N, do_sample=False, pad_token_id=0
        )
    new = out[0, ids.shape[1] :].tolist()
    assert new[: len(one.tokens)] == one.tokens[: len(new)]


def test_what_cannot_be_applied_is_refused_in_one_line(tiny_model, untyped):
    model, other = tiny_model("llama"), tiny_model("gpt2")
    policy = xtl.Policy.for_model(model, **CELL)
    fixed = xtl.Policy.for_model(model, module="mlp", target_layer=1, vector=torch.ones(32))
    cases = [
        (policy, other, SOURCE, "is another one"),
        (policy, model, None, "source is missing"),
        (policy, model, "", "source"),
        (policy, model, [], "source"),
        (fixed, model, SOURCE, "fixed vector: leave it out"),
        (xtl.Policy("mlp", target_layer=9, source_layer=0), model, SOURCE, "target_layer 9 is out of range"),
        (xtl.Policy("mlp", target_layer=0, source_layer=4), model, SOURCE, "source_layer 4 is out of range"),
        (xtl.Policy("mlp", target_layer=0, vector=torch.ones(31)), model, None, r"shape \[31\]"),
        (xtl.Policy("mlp", target_layer=0, source_layer=0, heads=[0]), model, SOURCE, "heads goes with"),
        (xtl.Policy("attn_head", target_layer=0, source_layer=0), model, SOURCE, "heads is missing"),
        (xtl.Policy(xtl.Module("z", "attn.hook_z", "attn.hook_z"), target_layer=0, source_layer=0, heads=[4]), model, SOURCE,
         "head 4; this model has 4"),
        (xtl.Policy(xtl.Module("q", "hook_nothing", "hook_nothing"), target_layer=0, source_layer=0), model, SOURCE,
         "hook_nothing"),
    ]  # fmt: skip
    for one, on, source, said in cases:
        with pytest.raises(xtl.InputError, match=said), one.applied(on, source=source):
            raise AssertionError(said)
    with policy.applied(model, source=SOURCE), pytest.raises(xtl.InputError, match="hook of its own"):
        xtl.transplant(model, source=SOURCE, target=TARGET, **CELL)


def test_weights_that_changed_make_another_model(tiny_model):
    model = tiny_model("llama")
    policy = xtl.Policy.for_model(model, **CELL)
    weight = next(model.parameters())
    own = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0] += 1
    try:
        with pytest.raises(xtl.InputError, match="weights_sha256"), policy.applied(model, source=SOURCE):
            raise AssertionError
    finally:
        with torch.no_grad():
            weight.copy_(own)
    with policy.applied(model, source=SOURCE):
        pass


def test_padding_on_the_right_is_refused(tiny_model):
    for backend in ("hooked", "bridge"):
        model = tiny_model("llama", backend)
        ids = ids_of(model, TARGET, TARGET)
        mask = torch.ones_like(ids)
        mask[0, -1] = 0
        policy = xtl.Policy.for_model(model, **CELL)
        with policy.applied(model, source=SOURCE), pytest.raises(xtl.InputError, match="pad on the left"):
            model(ids, attention_mask=mask)
