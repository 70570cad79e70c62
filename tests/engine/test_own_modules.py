"""A module of the user's own runs through every engine that takes it exactly; where one can't, that is said, or refused."""

from __future__ import annotations

import warnings

import jaxtyping
import numpy as np
import pytest
import torch

import xtl
from tests.conftest import SOURCE, TARGET
from xtl.engine import ENGINES
from xtl.engine.own_modules import why_not_module
from xtl.runs.results import load_results, save_results

OWN = {
    "values": ("attn.hook_v", "attn.hook_v"),
    "heads": ("attn.hook_z", "attn.hook_z"),
    "neurons": ("mlp.hook_post", "mlp.hook_post"),
    "mid": ("hook_resid_mid", "hook_resid_mid"),
    "pre": ("hook_resid_pre", "hook_resid_pre"),
    "from_mlp": ("hook_mlp_out", "hook_attn_out"),
    "to_mlp": ("hook_attn_out", "hook_mlp_out"),
}
ASKED = {"source": SOURCE, "target": TARGET, "options": ("ab", "cd"), "gold": 0, "source_layers": [0, 2]}


def module(name: str) -> xtl.Module:
    return xtl.Module(name, *OWN[name])


@pytest.mark.filterwarnings("default::xtl.SlowEngineWarning")
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_its_map_is_the_loops_beside_modules_of_other_shapes(tiny_model, backend, name):
    model = tiny_model("llama", backend)
    modules = ["attn", module(name), "mlp"]
    if (backend, name) == ("bridge", "mid"):
        with pytest.raises(xtl.InputError, match="writes 'hook_resid_mid', which on a TransformerBridge"):
            xtl.sweep(model, modules=modules, **ASKED)
        return
    asked = ASKED | {"target_layers": [0, 3]}
    loop = xtl.sweep(model, engine="loop", modules=modules, **asked)
    fast = xtl.sweep(model, verify=3, modules=modules, **asked)
    assert loop["module"].values.tolist() == ["attn", name, "mlp"]
    np.testing.assert_allclose(fast["score"], loop["score"], atol=1e-4)
    for engine in ("packed", "batched"):
        if why_not_module(model, engine, modules[1]):
            with pytest.raises(
                xtl.InputError, match=f"engine '{engine}' cannot take the module '{name}': .*use 'loop'"
            ):
                xtl.sweep(model, engine=engine, modules=modules, **asked)
        else:
            own = xtl.sweep(model, engine=engine, verify=0, modules=modules, **asked)
            np.testing.assert_allclose(own["score"], loop["score"], atol=1e-4)
    told = [
        xtl.sweep(model, engine=engine, modules=[modules[1]], max_new_tokens=3, steps="every", **GENERATED)["text"]
        for engine in ("auto", "loop")
    ]
    assert (told[0] == told[1]).all()


GENERATED = {"source": SOURCE, "target": TARGET, "source_layers": [0, 2], "target_layers": [1]}


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_modules_of_your_own_are_packed(tiny_model, backend):
    """A fast engine must not be lost unseen: these are exact there, and stay so."""
    model = tiny_model("llama", backend)
    for name in ("values", "heads", "neurons", "pre", "from_mlp", "to_mlp"):
        assert why_not_module(model, "packed", module(name)) == "", name


def test_where_an_engine_cannot_take_it_auto_says_so_once_and_goes_on(tiny_model, monkeypatch):
    from xtl.engine import own_modules

    model = tiny_model("llama")
    real = own_modules.why_not_exact
    monkeypatch.setattr(
        own_modules,
        "why_not_exact",
        lambda model, make, *rest: "it differs" if make is own_modules.MAKE["packed"] else real(model, make, *rest),
    )
    name = xtl.Module("neurons_again", *OWN["neurons"])
    told = (
        "'batched' takes about 20 times .* 'packed', which cannot take the module 'neurons_again': it differs. .* apart"
    )
    with pytest.warns(xtl.SlowEngineWarning, match=told):
        assert xtl.sweep(model, modules=[name], **ASKED).attrs["engine"] == "batched"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xtl.sweep(model, modules=[name], **ASKED)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (
            ("hook_atn_out", "hook_attn_out"),
            "unknown hook point read by module 'own': 'hook_atn_out' .did you mean 'hook_attn_out'.*; valid: .*mlp.hook_post",
        ),
        (
            ("attn.hook_z", "hook_attn_out"),
            r"reads \[\d+, \d+\] at 'attn.hook_z' and writes \[\d+\] at 'hook_attn_out'",
        ),
        (
            ("attn.hook_pattern", "attn.hook_pattern"),
            "is at 'attn.hook_pattern', whose activation .* is not .batch, position",
        ),
    ],
)
def test_hook_points_that_do_not_suit_are_told_before_any_map(tiny_model, ends, message, monkeypatch):
    monkeypatch.setitem(ENGINES, "loop", None)
    with pytest.raises(xtl.InputError, match=message):
        xtl.sweep(tiny_model("llama"), modules=[xtl.Module("own", *ends)], **ASKED)
    with pytest.raises(xtl.InputError, match=message):
        xtl.transplant(
            tiny_model("llama"),
            source=SOURCE,
            target=TARGET,
            module=xtl.Module("own", *ends),
            source_layer=0,
            target_layer=1,
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: xtl.Module("", "a", "b"), "name of a Module must be a text"),
        (lambda: xtl.Module("a", None, "b"), "read of a Module must be a text"),  # type: ignore[arg-type]
        (lambda: xtl.hooks.get_modules([xtl.Module("attn", "hook_z", "hook_z")]), "has the name of another module"),
        (
            lambda: xtl.hooks.get_modules(xtl.Module("own", "hook_z", "hook_z")),
            r"must be a list, got a Module; write \[own\]",
        ),
        (lambda: xtl.hooks.get_modules([module("mid"), module("mid")]), "names one twice: mid, mid"),
    ],
)
def test_a_module_that_is_none_is_told(make, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    import xtl.hooks

    with pytest.raises(xtl.InputError, match=message):
        make()


@pytest.mark.hooked
@pytest.mark.parametrize("name", [name for name in OWN if name != "mid"])
def test_a_hook_point_means_the_same_on_both_backends(tiny_model, name):
    """Else the map would depend on how the model came; where it does (`hook_resid_mid`) the bridge refuses."""
    hooked, bridge = (
        xtl.sweep(tiny_model("llama", backend), modules=[module(name)], **ASKED) for backend in ("hooked", "bridge")
    )
    np.testing.assert_allclose(hooked["score"], bridge["score"], atol=1e-4)
    assert float(np.ptp(hooked["score"].values)) > 1e-3


def test_layers_that_hold_other_shapes_are_told(tiny_model, monkeypatch):
    from xtl.models import hook_points

    real = hook_points._capture_all

    def uneven(model, ids, sites):
        found = real(model, ids, sites)
        found["blocks.2.mlp.hook_post"] = found["blocks.2.mlp.hook_post"][..., :5]
        return found

    monkeypatch.setattr(hook_points, "_capture_all", uneven)
    own = xtl.Module("uneven", *OWN["neurons"])
    with pytest.raises(
        xtl.InputError, match=r"holds \[\d+\] in one layer and \[5\] in another .blocks.2.mlp.hook_post."
    ):
        xtl.sweep(tiny_model("llama"), modules=[own], **ASKED)


@pytest.mark.parametrize("name", ["values", "neurons"])
def test_controls_and_kept_maps_take_it(tiny_model, tmp_path, name):
    model, own = tiny_model("llama"), module(name)
    pairs = [xtl.ParallelPair(f"{SOURCE} {k}", TARGET, options=("ab", "cd"), gold=0, id=k) for k in "ab"]
    settings = {"modules": [own, "attn"], "source_layers": [0], "target_layers": [1]}
    real = xtl.concat_maps(xtl.sweep_many(model, pairs, keep=xtl.KeptMaps(tmp_path), **settings))
    again = xtl.concat_maps(xtl.sweep_many(model, pairs, keep=xtl.KeptMaps(tmp_path), **settings))
    assert real.equals(again)
    for control in xtl.controls.CONTROLS:
        maps = xtl.concat_maps(xtl.controls.run(model, pairs, control, others=pairs, **settings))
        assert maps["module"].values.tolist() == [name, "attn"]
        assert np.isfinite(maps["gain"]).all()


def test_noise_has_the_norm_of_what_it_stands_for_whatever_its_shape(tiny_model):
    model, pair = tiny_model("llama"), xtl.ParallelPair(SOURCE, TARGET, options=("ab", "cd"), gold=0)
    settings = {"modules": [module("values")], "source_layers": [0]}
    noise = xtl.controls.make(model, [pair], "noise_norm", **settings)(pair)["values", 0]
    read = xtl.controls.make(model, [pair], "other_language", others=[pair], **settings)(pair)["values", 0]
    assert noise.shape == read.shape
    assert float(noise.norm()) == pytest.approx(float(read.norm()), rel=1e-5)


def test_a_result_says_its_hook_points_and_two_of_one_name_are_not_averaged(tiny_model, tmp_path):
    model = tiny_model("llama")
    one, other = (
        xtl.sweep(model, modules=[xtl.Module("own", *OWN[name])], **ASKED) for name in ("neurons", "from_mlp")
    )
    assert one.attrs["own_modules"] == '{"own": ["mlp.hook_post", "mlp.hook_post"]}'
    save_results(one, tmp_path / "one.parquet")
    assert load_results(tmp_path / "one.parquet").attrs["own_modules"] == one.attrs["own_modules"]
    with pytest.raises(xtl.InputError, match="differ in own_modules"):
        xtl.concat_maps([one, other])
    assert "own_modules" not in xtl.sweep(model, modules=["attn"], **ASKED).attrs


def test_an_explorer_looks_into_its_cells(tiny_model):
    pair = xtl.ParallelPair(SOURCE, TARGET, options=("ab", "cd"), gold=0)
    explorer = xtl.explore(tiny_model("llama"), pair, modules=[module("neurons")], source_layers=[0])
    assert explorer.cell("neurons", 0, 1).transplant.patch.write_hook == "blocks.1.mlp.hook_post"


def test_activations_that_lack_a_cell_are_told(tiny_model):
    with pytest.raises(xtl.InputError, match=r"activations has nothing for .'attn', 2."):
        xtl.sweep(
            tiny_model("llama"),
            modules=["attn"],
            activations={("attn", 0): torch.zeros(tiny_model("llama").cfg.d_model)},
            **ASKED,
        )
