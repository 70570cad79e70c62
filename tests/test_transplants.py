from __future__ import annotations

import numpy as np
import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from xtl.backend import forward
from xtl.hooks import MODULES, transplant_at
from xtl.tokens import encode
from xtl.transplants import generate, read_activations


def by_hand(model, target_ids, hooks_of_prompt, hooks_of_step, n):
    """Greedy decoding by whole forward passes, with no cache: the definition."""
    tokens, first = [], None
    for step in range(n):
        position = len(target_ids) - 1
        hooks = hooks_of_prompt(position)
        for later in range(step):
            hooks = hooks + hooks_of_step(position + 1 + later)
        logits = forward(model, target_ids + tokens, hooks=hooks)[-1]
        first = logits if first is None else first
        tokens.append(int(logits.argmax()))
    return tokens, first


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("steps", ["first", "every"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "mistral"])
def test_generation_with_a_cache_is_generation_without_one(tiny_model, architecture, steps, backend):
    model = tiny_model(architecture, backend)
    spec, i, j = MODULES["mlp"], 3, 1
    result = xtl.transplant(
        model, source=SOURCE, target=TARGET, module="mlp", source_layer=i, target_layer=j, max_new_tokens=6, steps=steps
    )
    activation = read_activations(model, encode(model, SOURCE), [spec], [i])["mlp", i]

    def patch(position):
        return [(spec.write_hook(j), transplant_at(activation, position))]

    tokens, logits = by_hand(model, encode(model, TARGET), patch, patch if steps == "every" else lambda _: [], 6)
    if 2 in tokens:  # end of sequence
        tokens = tokens[: tokens.index(2) + 1]
    assert result.tokens == tokens
    assert (result.logits - logits).abs().max() <= 1e-5 * logits.abs().max()
    assert (result.logits - result.vanilla_logits).abs().max() > 1e-3


def test_steps_differ_where_they_should(tiny_model):
    arguments = {"source": SOURCE, "target": TARGET, "module": "resid", "source_layer": 3, "target_layer": 3}
    first = xtl.transplant(tiny_model("llama"), **arguments, steps="first")
    every = xtl.transplant(tiny_model("llama"), **arguments, steps="every")
    assert torch.equal(first.logits, every.logits)
    assert len(set(every.tokens)) == 1  # the last layer's whole output is the source's at every step
    assert first.tokens != every.tokens


def test_negative_layers_count_from_the_end(tiny_model):
    arguments = {"source": SOURCE, "target": TARGET, "module": "attn", "max_new_tokens": 3}
    a = xtl.transplant(tiny_model("llama"), source_layer=-1, target_layer=-3, **arguments)
    b = xtl.transplant(tiny_model("llama"), source_layer=3, target_layer=1, **arguments)
    assert torch.equal(a.logits, b.logits)
    assert a.patch == b.patch


def test_it_says_what_was_patched(tiny_model):
    pair = xtl.ParallelPair(SOURCE, TARGET, "en", "es")
    result = xtl.transplant(tiny_model("llama"), pair, module="attn_released", source_layer=2, target_layer=1)
    patch = result.patch
    assert (patch.read_hook, patch.write_hook) == ("blocks.2.hook_resid_mid", "blocks.1.hook_attn_out")
    assert patch.position == len(encode(tiny_model("llama"), TARGET)) - 1
    assert patch.token == TARGET[-1]
    assert patch.source_token == SOURCE[-1]
    assert result.logits.shape == (tiny_model("llama").cfg.d_vocab,)
    assert all(isinstance(token, int) for token in result.tokens)
    assert "attn_released 2 -> 1 at position" in repr(result)


def test_generation_ends_with_the_end_of_sequence_token(tiny_model):
    model = tiny_model("llama")
    ids = encode(model, TARGET)
    free = generate(model, ids, 8).tokens
    end = free[3]
    info = model.xtl_info
    try:
        model.xtl_info = type(info)(info.name, (end,), info.contract)
        stopped = generate(model, ids, 8).tokens
    finally:
        model.xtl_info = info
    assert stopped == free[: free.index(end) + 1]


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
def test_english_knowledge_reaches_spanish(embedded):
    """The real effect: capitals that the model names in English and not in Spanish, it names under one transplant."""
    pairs = {pair.meta["country"]: pair for pair in xtl.get_task("capitals").pairs("en", "es", limit=12)}
    cell = {"module": "attn", "source_layer": 12, "target_layer": 13, "max_new_tokens": 4}
    for country, capital in [("SE", "Stockholm"), ("ET", "Addis Ababa"), ("BE", "Brussel")]:
        result = xtl.transplant(embedded, pairs[country], **cell)
        assert capital not in result.vanilla_text
        assert capital in result.text


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
def test_packed_equals_loop_on_the_embedded_model(embedded):
    pair = xtl.get_task("capitals").pairs("en", "es", limit=1)[0]
    layers = {"source_layers": [12], "target_layers": [9, 17]}
    loop = xtl.sweep(embedded, pair, engine="loop", **layers)
    packed = xtl.sweep(embedded, pair, engine="packed", **layers)
    # Scores are differences of log-probabilities of about -20 nats: 1e-5 of those.
    assert float(abs(loop.score - packed.score).max()) < 2e-4


def test_prompts_may_be_text_lists_tensors_or_arrays(tiny_model):
    model = tiny_model("llama")
    cell = {"module": "mlp", "source_layer": 1, "target_layer": 2, "max_new_tokens": 1}
    want = xtl.transplant(model, source=SOURCE, target=TARGET, **cell).logits
    ids = encode(model, TARGET)
    for target in [ids, tuple(ids), torch.tensor(ids), model.to_tokens(TARGET), np.array(ids)]:
        assert torch.equal(xtl.transplant(model, source=SOURCE, target=target, **cell).logits, want)
        assert xtl.ParallelPair(SOURCE, target).target == ids
    with pytest.raises(xtl.InputError, match="target must be a text or a list of token ids, got Tensor"):
        xtl.transplant(model, source=SOURCE, target=torch.tensor([ids, ids]), **cell)
    with pytest.raises(xtl.InputError, match="target must be a text or a list of token ids, got Tensor"):
        xtl.transplant(model, source=SOURCE, target=torch.tensor([1.0]), **cell)
