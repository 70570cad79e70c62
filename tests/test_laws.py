"""Laws that any transplant obeys, on every architecture and both backends."""

from __future__ import annotations

import pytest
import torch

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from xtl.backend import forward
from xtl.hooks import MODULES, capture, transplant_at
from xtl.tokens import encode
from xtl.transplants import read_activations

BACKENDS = ["hooked", "bridge"]


def max_difference(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", tiny.SEQUENTIAL)
@pytest.mark.parametrize("module", ["attn", "mlp", "resid"])
def test_a_prompt_transplanted_onto_itself_changes_nothing(tiny_model, architecture, backend, module):
    model = tiny_model(architecture, backend)
    for layer in range(tiny.N_LAYERS):
        result = xtl.transplant(
            model, source=TARGET, target=TARGET, module=module, source_layer=layer, target_layer=layer, max_new_tokens=4
        )
        assert max_difference(result.logits, result.vanilla_logits) < 1e-6
        assert result.tokens == result.vanilla_tokens


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", tiny.SEQUENTIAL)
def test_the_released_attention_level_is_no_no_op_on_itself(tiny_model, architecture, backend):
    result = xtl.transplant(
        tiny_model(architecture, backend),
        source=TARGET,
        target=TARGET,
        module="attn_released",
        source_layer=1,
        target_layer=1,
        max_new_tokens=1,
    )
    assert max_difference(result.logits, result.vanilla_logits) > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", tiny.SEQUENTIAL)
@pytest.mark.parametrize("module", MODULES)
def test_a_transplant_is_local(tiny_model, architecture, backend, module):
    """What is patched equals the source activation; below the layer and before the position nothing changes."""
    model = tiny_model(architecture, backend)
    spec = MODULES[module]
    source_layer, target_layer = 3, 2
    source_ids, target_ids = encode(model, SOURCE), encode(model, TARGET)
    source = read_activations(model, source_ids, [spec], [source_layer])[module, source_layer]
    last = len(target_ids) - 1

    def run(hooks):
        residuals = {}

        def keep(layer):
            def read(activation, hook):
                residuals[layer] = activation[0].clone()

            return read

        written = {}
        reads = [(f"blocks.{layer}.hook_resid_post", keep(layer)) for layer in range(tiny.N_LAYERS)]
        after = [(spec.write_hook(target_layer), capture(written, "site", position=last))]
        logits = forward(model, target_ids, hooks=[*hooks, *after, *reads])
        return logits, residuals, written["site"][0]

    vanilla_logits, vanilla, _ = run([])
    logits, patched, written = run([(spec.write_hook(target_layer), transplant_at(source, last))])

    assert torch.equal(written, source)
    for layer in range(target_layer):
        assert torch.equal(patched[layer], vanilla[layer])
    for layer in range(tiny.N_LAYERS):
        assert torch.equal(patched[layer][:last], vanilla[layer][:last])
    assert torch.equal(logits[:last], vanilla_logits[:last])
    assert not torch.equal(patched[target_layer][last], vanilla[target_layer][last])
    assert max_difference(logits[last], vanilla_logits[last]) > 1e-4


@pytest.mark.parametrize("architecture", tiny.SEQUENTIAL)
@pytest.mark.parametrize("module", MODULES)
def test_both_backends_agree_on_a_transplant(tiny_model, architecture, module):
    results = [
        xtl.transplant(
            tiny_model(architecture, backend),
            source=SOURCE,
            target=TARGET,
            module=module,
            source_layer=0,
            target_layer=-1,
            max_new_tokens=6,
            steps="every",
        )
        for backend in BACKENDS
    ]
    assert max_difference(results[0].logits, results[1].logits) < 1e-5
    assert results[0].tokens == results[1].tokens


@pytest.mark.parametrize("backend", BACKENDS)
def test_hooks_are_gone_after_success_and_after_an_exception(tiny_model, backend):
    model = tiny_model("llama", backend)

    def n_hooks():
        return sum(len(point.fwd_hooks) for point in {id(p): p for p in model.hook_dict.values()}.values())

    assert n_hooks() == 0
    xtl.transplant(model, source=SOURCE, target=TARGET, module="attn", source_layer=0, target_layer=1, max_new_tokens=2)
    assert n_hooks() == 0

    def fail(activation, hook):
        raise RuntimeError("in mid-pass")

    ids = encode(model, TARGET)
    before = forward(model, ids)
    with pytest.raises(RuntimeError, match="in mid-pass"):
        forward(model, ids, hooks=[("blocks.1.hook_attn_out", lambda a, hook: a * 0), ("blocks.2.hook_mlp_out", fail)])
    assert n_hooks() == 0
    assert torch.equal(forward(model, ids), before)


def test_a_snapshot_does_not_follow_later_changes():
    store = {}
    activation = torch.arange(12.0).reshape(1, 3, 4)
    capture(store, "x")(activation, hook=None)
    activation += 100
    assert store["x"].tolist() == [[8.0, 9.0, 10.0, 11.0]]


def test_a_transplant_leaves_the_tensor_that_it_was_given_alone():
    activation = torch.arange(12.0).reshape(1, 3, 4)
    patched = transplant_at(torch.zeros(4), position=1)(activation, hook=None)
    assert activation[0, 1].tolist() == [4.0, 5.0, 6.0, 7.0]
    assert patched[0, 1].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert torch.equal(patched[0, [0, 2]], activation[0, [0, 2]])
