"""Gradient maps, on tiny models of several families and both backends: their slopes are those of exact transplants."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xtl
from tests.conftest import NO_HOOKED, SOURCE, TARGET
from tests.engine.test_axes import FAMILIES
from tests.engine.test_packed import MODULES
from xtl.backend import forward
from xtl.gradients import METHODS, agreement
from xtl.gradients.backward import Leaf, TargetRun
from xtl.gradients.estimate import whole
from xtl.gradients.relp import relp_hooks
from xtl.hooks import BY_HEAD
from xtl.transplants import read_activations

WHOLE = whole(BY_HEAD["attn_head"])
PAIR = xtl.ParallelPair(SOURCE, TARGET, options=("ab", "cd", "a long one"), gold=0)
SOME = {"source_layers": [0, 2], "target_layers": [0, 2, 3]}
both = pytest.mark.parametrize("backend", ["hooked", "bridge"])


@both
@pytest.mark.parametrize("architecture", FAMILIES)
def test_an_estimate_is_the_slope_of_an_exact_blend_at_its_beginning(tiny_model, architecture, backend):
    model = tiny_model(architecture, backend, "float64")
    modules = MODULES[architecture][:3]
    step = 1e-4
    blends = xtl.sweep(model, PAIR, modules=modules, alpha=[-step, step], verify=0, engine="batched", **SOME)
    slope = (blends["score"].sel(alpha=step) - blends["score"].sel(alpha=-step)) / (2 * step)
    estimate = xtl.attribution(model, PAIR, modules=modules, **SOME)
    assert (abs(estimate["gain"]) > 0).all()
    scale = float(abs(slope).max())
    np.testing.assert_allclose(estimate["gain"], slope, atol=2e-3 * scale + 2e-7 / step)


@both
def test_gradients_equal_finite_differences_of_the_same_run(tiny_model, backend):
    step, near = (1e-5, 1e-5) if backend == "hooked" else (1e-2, 2e-2)  # a bridge's norms round to float32
    for architecture in ("gemma3", "gpt2"):
        model = tiny_model(architecture, backend, "float64")
        run, sites = target_run(model), [f"blocks.{layer}.attn.hook_z" for layer in (0, 3)]
        _, own = run.read(sites)
        gradients = run.gradients(
            [Leaf(site, torch.tensor([0]), torch.zeros_like(own[site])[None]) for site in sites], 1
        )
        for site, gradient in zip(sites, gradients, strict=True):
            way = torch.randn(own[site].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            steps = [Leaf(site, torch.tensor([0]), share * way[None]) for share in (step, -step)]
            ends = [run.score(1, [(site, run.add(one, one.value))]) for one in steps]
            assert float((gradient[0] * way).sum()) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=near)


def target_run(model, pair=PAIR):
    from xtl.engine.prepare import SweepSettings, prepare

    settings = SweepSettings(("resid",))
    sweep = prepare(model, pair, settings, settings.cells(model))
    return TargetRun(model, sweep.plan, sweep.question)


@both
def test_vanilla_is_the_sweeps_with_and_without_a_shared_prefix(tiny_model, backend, monkeypatch):
    model = tiny_model("gemma3", backend)
    swept = xtl.sweep(model, PAIR, modules=["attn"], target_layers=[0], source_layers=[0])
    shared = xtl.attribution(model, PAIR, modules=["attn", "mlp"])
    monkeypatch.setattr("xtl.gradients.backward.why_no_cache", lambda model: "not here")
    alone = xtl.attribution(model, PAIR, modules=["attn", "mlp"])
    for one in (shared, alone):
        assert float(one["vanilla_score"]) == pytest.approx(float(swept["vanilla_score"]), abs=1e-5)
        assert one.attrs["score"] == swept.attrs["score"]
    np.testing.assert_allclose(shared["gain"], alone["gain"], atol=1e-5)


@both
@pytest.mark.parametrize("method", METHODS)
def test_a_prompt_onto_itself_gains_nothing(tiny_model, backend, method):
    model = tiny_model("llama", backend)
    same = xtl.ParallelPair(TARGET, TARGET, options=("ab", "cd"), gold=0)
    for modules in (["attn", "resid"], ["attn_head"])[method == "carried" :]:
        gain = xtl.attribution(model, same, modules=modules, method=method, points=2)["gain"].values
        if modules == ["attn_head"]:
            gain = np.diagonal(gain, axis1=3, axis2=4)
        np.testing.assert_allclose(np.diagonal(gain, axis1=1, axis2=2), 0, atol=1e-5)
        assert abs(gain).max() > 1e-4


@both
def test_heads_written_each_into_itself_add_up_to_the_whole_attention(tiny_model, backend):
    model = tiny_model("gemma3", backend, "float64")
    heads = xtl.attribution(model, PAIR, modules=["attn_head"])
    assert heads["gain"].dims == ("module", "source_layer", "target_layer", "source_head", "target_head")
    whole = xtl.attribution(model, PAIR, modules=[WHOLE])["gain"].values
    np.testing.assert_allclose(np.trace(heads["gain"].values, axis1=3, axis2=4), whole, atol=1e-6)


@both
@pytest.mark.parametrize("architecture", ["gemma3", "gpt2"])
def test_carried_estimates_are_gradients_where_no_norm_follows_the_heads(tiny_model, architecture, backend):
    model = tiny_model(architecture, backend)
    plain, carried = (
        xtl.attribution(model, PAIR, modules=["attn_head"], method=method)["gain"].values
        for method in ("gradient", "carried")
    )
    assert np.allclose(plain, carried, atol=1e-5) == (architecture == "gpt2")
    exact = xtl.sweep(model, PAIR, modules=["attn_head"], target_layers=[3], verify=0)["gain"].values
    off = [abs(one[:, :, 3:] - exact).mean() for one in (plain, carried)]
    assert off[1] <= off[0] + 1e-6


@both
def test_integrated_slopes_come_near_exact_gains(tiny_model, backend):
    """Of one source alone the way is the transplant's own, and the gradients along it add up to its gain."""
    model = tiny_model("llama", backend, "float64")
    exact = xtl.sweep(model, PAIR, modules=["resid"], source_layers=[3], verify=0)
    near = xtl.attribution(model, PAIR, modules=["resid"], source_layers=[3], method="integrated", points=32)
    np.testing.assert_allclose(near["gain"], exact["gain"], atol=1e-2 * float(abs(exact["gain"]).max()))


@both
@pytest.mark.parametrize("architecture", FAMILIES)
def test_relp_changes_gradients_and_no_value(tiny_model, architecture, backend):
    model = tiny_model(architecture, backend, "float64")
    run = target_run(model)
    vanilla, (site, *_) = run.score(1, []), ["blocks.1.hook_resid_post"]
    assert float(run.score(1, relp_hooks(model))) == pytest.approx(float(vanilla), abs=1e-5)
    _, own = run.read([site])
    leaf = [Leaf(site, torch.tensor([0]), torch.zeros_like(own[site])[None])]
    plain, ruled = run.gradients(leaf, 1)[0], run.gradients(leaf, 1, relp_hooks(model))[0]
    assert float((plain - ruled).norm() / plain.norm()) > 1e-3


def test_relp_splits_a_gate_in_halves():
    from xtl.gradients.relp import _halve

    pre, linear = (torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in (0.7, -1.3))
    post = torch.nn.functional.silu(pre) * linear
    ruled = _halve({"pre": pre, "linear": linear}, "pre", "linear")(post, None)
    found = torch.autograd.grad(ruled, [pre, linear])
    assert ruled.item() == post.item()
    assert [float(one) for one in found] == pytest.approx([(post / pre).item() / 2, (post / linear).item() / 2])


@both
def test_verified_cells_are_exact(tiny_model, backend):
    model = tiny_model("gemma3", backend)
    exact = xtl.sweep(model, PAIR, modules=["attn", "mlp"], engine="loop")
    plain = xtl.attribution(model, PAIR)
    checked = xtl.attribution(model, PAIR, verify=4, sample=6, seed=1)
    known = checked["exact"].values
    assert 6 <= known.sum() <= 10
    np.testing.assert_allclose(checked["gain"].values[known], exact["gain"].values[known], atol=1e-5)
    np.testing.assert_allclose(checked["score"], checked["gain"] + checked["vanilla_score"], atol=1e-6)
    assert (checked["gain"].values == plain["gain"].values)[~known].all()
    assert known.ravel()[np.argsort(-plain["gain"].values.ravel())[:4]].all()
    assert checked.attrs["sample_cells"] == 6
    assert -1 <= float(checked["sample_spearman"]) <= 1
    assert checked.attrs["estimate"] == "gradient"


def test_estimates_go_together_and_not_with_exact_maps(tiny_model):
    model = tiny_model("llama")
    estimates = [xtl.attribution(model, PAIR, sample=30, seed=seed) for seed in (1, 2)]
    together = xtl.concat_maps(estimates)
    assert together["sample_spearman"].sizes == {"example": 2}
    assert "estimated (gradient)" in xtl.plots.gain_map(estimates[0]).layout.title.text
    exact = xtl.sweep(model, PAIR)
    with pytest.raises(xtl.InputError, match=r"differ in .*estimate"):
        xtl.concat_maps([estimates[0], exact])


@both
def test_an_exact_cell_of_heads_is_the_plain_loops(tiny_model, backend):
    model = tiny_model("gemma3", backend)
    pair = xtl.ParallelPair(SOURCE, TARGET, answer="ab")
    found = xtl.attribution(model, pair, modules=["attn_head"], sample=3)
    assert found["exact"].sum() == 3
    run = target_run(model, pair)
    (ids,) = run.plan.continuations
    for place in np.argwhere(found["exact"].values):
        _, source, target, source_head, target_head = map(int, place)
        read = read_activations(model, run.plan.source_ids, [WHOLE], [source])[WHOLE.name, source][source_head]
        position = len(run.plan.target_ids) - 1

        def write(z, hook, read=read, head=target_head, position=position):
            z = z.clone()
            z[:, position, head] = read
            return z

        logits = forward(
            model, [*run.plan.target_ids, *ids[:-1]], hooks=[(WHOLE.write_hook(target), write)], keep=len(ids)
        )
        want = logits.log_softmax(-1)[torch.arange(len(ids)), list(ids)].sum()
        assert float(found["score"].values[tuple(place)]) == pytest.approx(float(want), abs=1e-4)


def test_no_gradient_of_a_parameter_is_kept_and_gradients_may_be_off(tiny_model):
    model = tiny_model("llama")
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    try:
        with torch.no_grad():
            off = xtl.attribution(model, PAIR)
        with torch.inference_mode():
            inferring = xtl.attribution(model, PAIR)
        assert all(parameter.grad is None for parameter in model.parameters())
    finally:
        for parameter in model.parameters():
            parameter.requires_grad_(False)
    assert (off["gain"] == inferring["gain"]).all()
    assert not [name for name, point in model.hook_dict.items() if point.fwd_hooks or point.bwd_hooks]


def test_agreement_counts_what_is_shared():
    rng = np.random.default_rng(0)
    exact = rng.normal(size=200)
    assert agreement(exact, exact) == pytest.approx({"spearman": 1, "sign": 1, "top10": 1, "top50": 1})
    assert agreement(-exact, exact)["spearman"] == pytest.approx(-1)
    assert np.isnan(agreement(exact[:60], exact[:60])["top50"])
    assert np.isnan(agreement(np.zeros(5), exact[:5])["spearman"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"method": "gradients"},
            r"unknown method 'gradients' \(did you mean 'gradient'\?\); valid: gradient, integrated, relp, carried",
        ),
        ({"modules": ["attn", "attn_head"]}, "modules of one map must have as many heads"),
        ({"modules": ["atn"]}, "unknown module 'atn'"),
        ({"method": "carried"}, "method 'carried' is for attention's heads, attn_head, not for attn"),
        ({"points": 0}, "points must be"),
        ({"verify": -1}, "verify must be"),
        ({"sample": 1.5}, "sample must be"),
        ({"target_layers": [99]}, "target_layers"),
    ],
)
def test_bad_input_is_told_in_a_line(tiny_model, untyped, wrong, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.attribution(tiny_model("llama"), PAIR, **wrong)


def test_a_pair_is_wanted(tiny_model, untyped):
    with pytest.raises(xtl.InputError, match="pair must be a ParallelPair, got list"):
        xtl.attribution(tiny_model("llama"), [PAIR])


@pytest.mark.skipif(not NO_HOOKED, reason="TransformerLens has attribution patching since 4")
def test_nodes_are_those_of_transformer_lens(tiny_model):
    from transformer_lens.tools.analysis.attribution_patching import Node, attribution_patch

    model = tiny_model("gpt2", "bridge")
    source, target = [3, 5, 7, 11], [3, 6, 8, 9]
    pair = xtl.ParallelPair(source, target, answer="a")
    ((token, *_),) = target_run(model, pair).plan.continuations
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    try:
        theirs = attribution_patch(
            model, torch.tensor([source]), torch.tensor([target]), lambda logits: logits[0, -1].log_softmax(-1)[token]
        ).node_scores
    finally:
        for parameter in model.parameters():
            parameter.requires_grad_(False)
    heads = xtl.attribution(model, pair, modules=["attn_head"])["gain"][0]
    mlp = xtl.attribution(model, pair, modules=["mlp"])["gain"][0]
    for layer in range(model.cfg.n_layers):
        node = Node("mlp_out", position=3, layer=layer)
        assert float(mlp[layer, layer]) == pytest.approx(theirs[node], abs=1e-5)
        for head in range(model.cfg.n_heads):
            node = Node("attn_head_out", position=3, layer=layer, head=head)
            assert float(heads[layer, layer, head, head]) == pytest.approx(theirs[node], abs=1e-5)
