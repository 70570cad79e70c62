"""From maps to a policy: the planted cell, with what choosing so gains where it was not chosen."""

from __future__ import annotations

import json

import pytest

import xtl
from xtl import stats

PLANTED = {("mlp", 1, 2): 3.0}


@pytest.fixture(scope="module")
def maps():
    return stats.simulate(control=True, planted=PLANTED, n_layers=4, n_instances=40)


def named(data, model, **attrs):
    return data.assign_attrs(model=model.xtl_info.name, task="capitals", **attrs)


def test_the_planted_cell_is_chosen_and_measured_held_out(tiny_model, maps):
    model = tiny_model("llama")
    real, control = (named(one, model) for one in maps)
    policy = xtl.Policy.from_maps(model, real, control=control)
    assert (policy.module.name, policy.source_layer, policy.target_layer) == ("mlp", 1, 2)
    assert policy.direction == real.attrs.get("direction", policy.direction)
    (row,) = stats.held_out(real, control).query("module == 'attn+mlp'").to_dict("records")
    for name in ("gain", "control_gain", "gain_over_control", "accuracy"):
        assert policy.held_out.figures[name][0] == pytest.approx(row[name])
    assert policy.held_out.figures["gain"][1:] == (pytest.approx(row["gain_low"]), pytest.approx(row["gain_high"]))
    assert policy.held_out.control
    assert (policy.chosen.n, policy.chosen.strategy, policy.chosen.task) == (40, "overall", "capitals")
    assert len(policy.chosen.instances) == 40
    assert policy.chosen.in_sample >= policy.held_out.figures["gain"][0]


def test_modules_of_ones_own_are_taken_by_their_hook_points(tiny_model, maps):
    model = tiny_model("llama")
    own = json.dumps({"mine": ["attn.hook_z", "attn.hook_z"]})
    real = named(maps[0].sel(module=["mlp"]).assign_coords(module=["mine"]), model, own_modules=own)
    policy = xtl.Policy.from_maps(model, real)
    assert policy.module == xtl.Module("mine", "attn.hook_z", "attn.hook_z")
    assert policy.held_out.control == ""


def test_how_much_and_where_come_from_the_results(tiny_model, maps):
    model = tiny_model("llama")
    real = named(maps[0], model, alpha=0.5, source_at="-2", target_at="-3")
    policy = xtl.Policy.from_maps(model, real)
    assert (policy.alpha, policy.source_position, policy.position, policy.heads) == (0.5, -2, -3, ())
    heads = real.sel(module=["mlp"]).assign_coords(module=["attn_head"], source_head=1, target_head=2)
    assert xtl.Policy.from_maps(model, heads).heads == ((1, 2),)


def test_what_nothing_can_be_chosen_on_is_refused(tiny_model, maps):
    model = tiny_model("llama")
    real = named(maps[0], model)
    several = xtl.concat_maps([real, real.assign_coords(target_lang=("example", ["de"] * real.sizes["example"]))])
    cases = [
        ({"results": real.assign_attrs(model="gpt2")}, "of model 'gpt2'"),
        ({"results": real.assign_attrs(control="zero")}, "control 'zero'"),
        ({"results": real.assign_attrs(steps="every")}, "steps='every'"),
        ({"results": real.assign_attrs(target_at="last token of a word")}, "target_at 'last token of a word'"),
        ({"results": several}, "several directions"),
        ({"results": real, "direction": "en->xx"}, "unknown direction"),
        ({"results": real, "strategy": "best"}, "unknown strategy"),
        ({"results": real.sel(source_layer=[0]).assign_coords(source_layer=[7])}, "source_layer 7 is out of range"),
    ]
    for given, said in cases:
        with pytest.raises(xtl.InputError, match=said):
            xtl.Policy.from_maps(model, **given)
    with pytest.raises(xtl.InputError, match=r"unknown argument of Policy.*'layer'"):
        xtl.Policy.for_model(model, module="mlp", layer=2)
