"""Maps head by head: every engine gives the loop's, and all heads written at once are what the whole is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from tests.engine.test_axes import ASKED, FAMILIES, GENERATED, PAIR, SOME, by_every_engine
from xtl.backend import forward
from xtl.hooks import BY_HEAD, transplant_at
from xtl.runs.results import load_results, save_results
from xtl.tokens import encode
from xtl.transplants import read_activations

HEADS = {"modules": ["attn_head"], "heads": [0, 3]}
Z = xtl.Module("z", "attn.hook_z", "attn.hook_z")


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_engine_gives_the_loops_map_of_heads(tiny_model, architecture, backend):
    model = tiny_model(architecture, backend)
    heads = by_every_engine(model, source_heads=[1], **HEADS, **ASKED, **SOME)["gain"]
    assert heads.dims[-2:] == ("source_head", "target_head")
    assert (heads["source_head"].values.tolist(), heads["target_head"].values.tolist()) == ([1], [0, 3])
    assert float(np.ptp(heads.values)) > 3e-4


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_all_heads_at_once_are_attention_at_one_layer_and_hook_z_across_layers(tiny_model, architecture, backend):
    """Across layers they are no `attn` transplant: each layer has an output matrix (and Gemma a norm) of its own."""
    model = tiny_model(architecture, backend)
    module, ids, last = BY_HEAD["attn_head"], encode(model, TARGET), len(encode(model, TARGET)) - 1

    def all_heads(source_layer, target_layer):
        read = read_activations(model, encode(model, SOURCE), [module], [source_layer])["attn_head", source_layer]
        site = module.write_hook(target_layer)
        return forward(model, ids, hooks=[(site, transplant_at(z, last, head=h)) for h, z in enumerate(read)])[-1]

    def whole(module, source_layer, target_layer):
        one = {"module": module, "source_layer": source_layer, "target_layer": target_layer, "max_new_tokens": 1}
        return xtl.transplant(model, source=SOURCE, target=TARGET, **one).logits

    assert torch.allclose(all_heads(2, 2), whole("attn", 2, 2), atol=1e-4)
    assert torch.allclose(all_heads(2, 1), whole(Z, 2, 1), atol=1e-4)
    assert not torch.allclose(all_heads(2, 1), whole("attn", 2, 1), atol=1e-2)


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_heads_and_alphas_and_sources_go_together_and_generate(tiny_model, backend):
    model = tiny_model("llama", backend)
    every = {"alpha": [0.5, 1.0], "sources": {"en": SOURCE, "de": "Die Hauptstadt"}}
    both = by_every_engine(model, **HEADS, **every, **{**ASKED, "source": None}, **SOME)
    assert both["gain"].dims[3:] == ("source_head", "target_head", "alpha", "source_lang")
    alone = xtl.sweep(model, engine="loop", **HEADS, **ASKED, **SOME)
    assert (both["score"].sel(alpha=1, source_lang="en") == alone["score"]).all()
    by_every_engine(model, steps="every", **HEADS, **GENERATED, **SOME)
    one = xtl.transplant(
        model, source=SOURCE, target=TARGET, module="attn_head", source_layer=2, target_layer=1, source_head=-1,
        target_head=0, max_new_tokens=3, steps="every",
    )  # fmt: skip
    map_of = xtl.sweep(model, steps="every", engine="loop", **HEADS, **GENERATED, **SOME)["text"]
    assert one.text == map_of.sel(source_layer=2, target_layer=1, source_head=3, target_head=0).item()
    assert "attn_head 2 head 3 -> 1 head 0" in repr(one)


def test_heads_of_another_hook_point_are_counted_there(tiny_model):
    """A grouped-query model has as many heads at `hook_v` as keys and values, at `hook_z` as queries."""
    values = xtl.Module("value_head", "attn.hook_v", "attn.hook_v", heads=True)
    found = by_every_engine(tiny_model("llama"), modules=[values], **ASKED, **SOME)
    assert found.sizes["target_head"] == 2
    assert by_every_engine(tiny_model("llama"), modules=["attn_head"], **ASKED, **SOME).sizes["target_head"] == 4


def test_maps_of_heads_are_kept_stored_and_controlled(tiny_model, tmp_path):
    model = tiny_model("llama")
    pairs = [xtl.ParallelPair(f"{SOURCE} {k}", TARGET, options=("ab", "cd"), gold=0, id=k) for k in "ab"]
    settings = {**HEADS, **SOME}
    keep = xtl.KeptMaps(tmp_path / "maps")
    real, again = (xtl.concat_maps(xtl.sweep_many(model, pairs, keep=keep, **settings)) for _ in range(2))
    assert real.identical(again)
    save_results(real, tmp_path / "results.parquet")
    np.testing.assert_array_equal(load_results(tmp_path / "results.parquet")["gain"], real["gain"])
    control = xtl.concat_maps(xtl.controls.run(model, pairs, "shuffled_source", **settings))
    one, other = (data.sel(source_head=0, target_head=3) for data in (real, control))
    assert xtl.results.with_control(one, other)
    with pytest.raises(xtl.InputError, match=r"has source_head, target_head too; choose one, such as results.sel"):
        xtl.results.mean_maps(real)
    noise = xtl.controls.make(model, pairs, "noise_norm", **settings)(pairs[0])["attn_head", 2]
    read = read_activations(model, encode(model, pairs[0].source), [BY_HEAD["attn_head"]], [2])["attn_head", 2]
    assert torch.allclose(noise.norm(dim=-1), read.norm(dim=-1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modules": ["attn_head"], "heads": 4}, "heads 4 is out of range for a model of 4 heads; valid: 0 to 3"),
        ({"modules": ["attn_head"], "source_heads": "0-9"}, "source_heads 4 is out of range for a model of 4 heads"),
        ({"modules": ["attn_head"], "target_heads": "x"}, "target_heads 'x' is no list of heads"),
        (
            {"modules": ["attn"], "heads": [0]},
            r"heads \(\[0\]\) are for a module by head, such as attn_head, not for attn",
        ),
        ({"modules": ["attn", "attn_head"]}, r"as many heads; sweep them apart \(attn none, attn_head 4\)"),
        (
            {"modules": [xtl.Module("m", "hook_mlp_out", "hook_mlp_out", heads=True)]},
            r"goes by head, and 'hook_mlp_out'",
        ),
    ],
)
def test_heads_that_are_none_are_told(tiny_model, untyped, arguments, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.sweep(tiny_model("llama"), PAIR, **arguments, **SOME)


def test_a_study_and_a_page_have_no_axes_for_heads(run, tmp_path):
    with pytest.raises(xtl.InputError, match="'attn_head' goes by head: a study's tables and a report have no axes"):
        xtl.Study.read({"tasks": ["capitals"], "modules": ["attn_head"]})
    flags = ["--task", "capitals", "--source-lang", "en", "--target-lang", "es", "--out", tmp_path / "out"]
    code, _, err = run("sweep", "--modules", "attn_head", *flags)
    assert (code, err.count("\n")) == (2, 1)
    assert "goes by head" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"module": "attn_head", "source_head": 0}, "writes one head: give target_head, from 0"),
        ({"module": "attn_head", "source_head": 0, "target_head": 4}, "target_head 4 is out of range .* 4 heads"),
        ({"module": "attn", "source_head": 0}, "source_head is for a module by head, such as attn_head, not for attn"),
    ],
)
def test_a_transplant_of_no_head_is_told(tiny_model, arguments, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.transplant(tiny_model("llama"), PAIR, source_layer=0, target_layer=1, **arguments)
