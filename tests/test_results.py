"""Maps that don't belong together never become one number, and whoever takes results takes the maps too."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xtl
from tests.conftest import SOURCE, TARGET
from tests.synthetic import synthetic_results
from xtl import plots, stats
from xtl.errors import InputError
from xtl.pairs import check_pairs
from xtl.results import mean_maps
from xtl.results.concat import _listed, as_parts, as_results, real_and_control, with_control
from xtl.scoring.text import check_text_score

PAIRS = [
    xtl.ParallelPair(f"{SOURCE} {k}", f"{TARGET} {k}", "en", "es", options=("a", "b"), gold=0, id=f"q/{k}")
    for k in range(6)
]
LIKE = {"modules": ["mlp"], "source_layers": [0, 2]}


@pytest.fixture(scope="module")
def maps(tiny_model):
    return list(xtl.sweep_many(tiny_model("llama"), PAIRS, **LIKE))


def test_what_all_share_is_kept_and_ids_too(maps, tiny_model):
    together = xtl.concat_maps(maps)
    shared = {key: value for key, value in maps[0].attrs.items() if key not in ("source", "target")}
    assert {
        key: together.attrs[key] for key in shared if key != "verified_largest_difference"
    }.items() <= shared.items()
    assert set(together.attrs) == set(shared)
    singly = [xtl.sweep(tiny_model("llama"), pair, **LIKE) for pair in PAIRS[:3]]
    assert xtl.concat_maps(singly).example.values.tolist() == ["q/0", "q/1", "q/2"]
    assert singly[1].example.item() == "q/1"
    in_parts = xtl.concat_maps([xtl.concat_maps(maps[:2]), *maps[2:]])
    xr.testing.assert_identical(in_parts, together)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "other"}, "model"),
        ({"identity_of_the_model": "f00d"}, "identity_of_the_model"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"backend": "bridge"}, "backend"),
        ({"score": "log-probability of the answer"}, "score"),
        ({"score_unit": "fraction right"}, "score_unit"),
        ({"text_score": "paper"}, "text_score"),
        ({"normalise": "length"}, "normalise"),
        ({"steps": "every"}, "steps"),
        ({"control": "zero"}, "control"),
        ({"versions": "{}"}, "versions"),
        ({"n_layers": 9}, "n_layers"),
    ],
)
def test_maps_that_differ_in_what_a_number_depends_on_are_refused(maps, change, named):
    for some in ([maps[0], maps[1].assign_attrs(change)], [maps[0].assign_attrs(change), maps[1]]):
        for take in (xtl.concat_maps, as_results, stats.select_cell, plots.gain_map):
            with pytest.raises(InputError, match=rf"differ in (\w+ .*; )?{named} \("):
                take(iter(some))


def test_likelihood_and_generated_and_options_and_answers_do_not_mix(maps, tiny_model):
    written = xtl.sweep(tiny_model("llama"), source=SOURCE, target=TARGET, max_new_tokens=2, **LIKE)
    answered = xtl.sweep(tiny_model("llama"), source=SOURCE, target=TARGET, answer="a", **LIKE)
    for other in (written, answered):
        with pytest.raises(InputError, match="differ in score"):
            xtl.concat_maps([maps[0], other])
    with pytest.raises(InputError, match="hold different things: correct, vanilla_correct is in one of them alone"):
        xtl.concat_maps([maps[0], maps[1].drop_vars(["correct", "vanilla_correct"])])


def test_other_cells_and_what_is_no_list_of_maps_is_one_line(maps):
    with pytest.raises(
        InputError, match=r"same cells; map 0 \(q/0\) and map 1 \(q/1\) differ in source_layer: 0, 2 and 0$"
    ):
        xtl.concat_maps([maps[0], maps[1].isel(source_layer=[0])])
    with pytest.raises(InputError, match="differ in module: mlp and attn"):
        xtl.concat_maps([maps[0], maps[1].assign_coords(module=["attn"])])
    for wrong, message in [
        (maps[0], "one Dataset already"), (maps[0].gain, "got DataArray"), ({"a": maps[0]}, "got dict"), ("maps", "got str"),
        ([], "maps is empty"), ([maps[0], None], "number 1 is NoneType"), ([xr.Dataset()], "no map, it lacks the dim module"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            _listed(wrong)
    for wrong in (None, 3, "maps", maps[0].gain, {"a": maps[0]}):
        with pytest.raises(InputError, match="results must be"):
            as_results(wrong)


def test_models_lie_side_by_side_where_the_caller_says_so(maps):
    other = [one.assign_attrs(model="other", dtype="bfloat16", identity="f00d") for one in maps[::-1]]
    both = xtl.concat_maps([*maps, *other], by="model")
    assert both.gain.dims == ("model", "example", "module", "source_layer", "target_layer")
    assert both.gain.sel(model="other").values.tolist() == xtl.concat_maps(maps).gain.values.tolist()
    for take in (stats.select_cell, stats.cell_intervals, plots.gain_map, xtl.show):
        with pytest.raises(InputError, match="several models; choose one"):
            take(both)
    one = as_results(both.sel(model="other"))
    assert (one.attrs["model"], one.attrs["dtype"], one.attrs["identity"]) == ("other", "bfloat16", "f00d")
    assert one.attrs["steps"] == maps[0].attrs["steps"]
    for change, message in [
        (lambda one: one.assign_attrs(steps="every"), "differ in steps"),
        (lambda one: one.isel(source_layer=[0]), "swept over other cells, source_layer"),
        (lambda one: one.assign_coords(example="else"), "asked different examples"),
    ]:
        with pytest.raises(InputError, match=message):
            xtl.concat_maps([*maps, *map(change, other[:1])], by="model")


def test_roles_are_checked(maps):
    real, control = stats.simulate(n_instances=8, control=True)
    functions = (
        stats.cell_intervals, stats.significance, stats.layer_upper_bounds, stats.upper_bound_curve, stats.held_out,
        stats.summary_table, stats.solved_instances, real_and_control,
    )  # fmt: skip
    for take in functions:
        with pytest.raises(InputError, match=r"real is a control \(simulated control\)"):
            take(control, real)
        with pytest.raises(InputError, match="real is a control"):
            take(control, control)
        with pytest.raises(InputError, match="control is no control"):
            take(real, real)
        with pytest.raises(InputError, match="differ in steps"):
            take(real.assign_attrs(steps="first"), control.assign_attrs(steps="every"))
        with pytest.raises(InputError, match="differ in normalise"):
            take(real, control.assign_attrs(normalise="length"))
    with pytest.raises(InputError, match="control must be"):
        with_control(real, None)


def test_generators_of_maps_are_taken_wherever_results_are(tiny_model, tmp_path):
    model = tiny_model("llama")
    real = lambda: xtl.sweep_many(model, PAIRS, **LIKE)  # noqa: E731
    control = lambda: xtl.controls.run(model, PAIRS, "shuffled_source", **LIKE)  # noqa: E731
    few = {"n_resamples": 100}
    a, b = xtl.concat_maps(real()), xtl.concat_maps(control())
    xr.testing.assert_identical(stats.significance(real(), control(), **few), stats.significance(a, b, **few))
    xr.testing.assert_identical(stats.cell_intervals(list(real()), control(), **few), stats.cell_intervals(a, b, **few))
    assert stats.select_cell(real()) == stats.select_cell(a)
    assert repr(xtl.show(real())) == repr(xtl.show(a))
    assert plots.gain_map(real()).to_json() == plots.gain_map(a).to_json()
    xr.testing.assert_identical(xtl.runs.load_results(xtl.runs.save_results(real(), tmp_path / "a.parquet")),
                                xtl.runs.load_results(xtl.runs.save_results(a, tmp_path / "b.parquet")))  # fmt: skip
    (part,) = as_parts(real())
    xr.testing.assert_identical(part, a)
    used = real()
    list(used)
    for take in (xtl.concat_maps, stats.select_cell, xtl.show):
        with pytest.raises(InputError, match="a generator gives its maps once"):
            take(used)


def test_arguments_are_checked_at_the_call_also_for_generators(tiny_model, monkeypatch):
    model = tiny_model("llama")
    monkeypatch.setattr(type(model), "forward", lambda *args, **named: pytest.fail("a forward pass"))
    untouched = (pytest.fail("taken") for _ in range(1))
    for wrong in ({"modules": ["ffn"]}, {"source_layers": [99]}, {"steps": "all"}, {"verify": -1}, {"engine": "warp"}):
        with pytest.raises(InputError):
            xtl.sweep_many(model, untouched, **wrong)
        with pytest.raises(InputError):
            xtl.controls.run(model, PAIRS, "zero", **wrong)
    with pytest.raises(InputError, match="nochance"):
        xtl.controls.run(model, iter(PAIRS), "nochance")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "got None"), ("capitals", "got the str 'capitals'"), (PAIRS[0], "got one ParallelPair; put it into a list"),
        ({"a": PAIRS[0]}, "got the dict"), (3, "got the int"), ([PAIRS[0], "b"], "number 1 is a str"),
        ([[PAIRS[0]]], "number 0 is a list"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_pairs_is_said(wrong, message):
    with pytest.raises(InputError, match=message):
        check_pairs(wrong)


def test_a_generator_of_pairs_is_fine_and_checked_as_it_is_taken():
    assert list(check_pairs(iter(PAIRS))) == PAIRS
    taken = check_pairs(iter([PAIRS[0], None]))
    assert next(taken) is PAIRS[0]
    with pytest.raises(InputError, match="number 1 is a NoneType"):
        next(taken)


def test_what_can_score_no_text_is_said():
    class Half:
        name, description, binary = "half", "half a score", True

    with pytest.raises(InputError, match="got a Half without rate"):
        check_text_score(Half())
    Half.rate = 3
    with pytest.raises(InputError, match=r"rate must be a function of \(output, pair\), got 3"):
        check_text_score(Half())
    Half.rate = staticmethod(lambda text, pair: 1.0)
    check_text_score(Half())


def test_results_of_two_tasks_keep_whose_each_example_is():
    one, two = synthetic_results(seed=1), synthetic_results(seed=2).assign_attrs(task="xnli")
    together = xtl.concat_maps([one, two])
    assert together.task.values.tolist() == ["capitals"] * 8 + ["xnli"] * 8
    assert np.array_equal(together.gain[8:], two.gain)


def test_layers_stay_whole_numbers_where_source_and_target_layers_differ() -> None:
    results = synthetic_results(layers=range(4)).isel(source_layer=[0, 1], target_layer=[1, 3])  # type: ignore[arg-type]
    means = mean_maps(results)
    assert means["layer"].values.tolist() == [0, 1, 3]
    assert means["layer"].dtype.kind == "i"
