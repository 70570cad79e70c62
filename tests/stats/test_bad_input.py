"""What would make the numbers wrong is refused, with one line that says what and where."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from xtl import stats
from xtl.errors import InputError
from xtl.stats.seeds import check_seeds, generator

REAL, CONTROL = stats.simulate(n_instances=8, languages=["es", "sw"], n_layers=3, control=True)

WITH_CONTROL: dict[str, Callable[..., object]] = {
    "cell_intervals": stats.cell_intervals,
    "significance": stats.significance,
    "layer_upper_bounds": stats.layer_upper_bounds,
    "upper_bound_curve": stats.upper_bound_curve,
    "held_out": stats.held_out,
    "summary_table": stats.summary_table,
    "solved_instances": stats.solved_instances,
}
ALONE: dict[str, Callable[..., object]] = {"cell_stability": stats.cell_stability, "cell_transfer": stats.cell_transfer}


@pytest.mark.parametrize("name", [*WITH_CONTROL, *ALONE])
def test_fewer_than_five_instances_are_refused_with_the_reason(name: str) -> None:
    few = [data.isel(example=slice(0, 8)) for data in (REAL, CONTROL)]  # four in each language
    call = (lambda: WITH_CONTROL[name](*few)) if name in WITH_CONTROL else (lambda: ALONE[name](few[0]))
    with pytest.raises(InputError, match="en->es has 4 instances: fewer than 5 say nothing about chance"):
        call()


def test_eight_examples_of_four_instances_are_four_instances() -> None:
    with pytest.raises(InputError, match="all has 4 instances"):
        stats.cell_intervals(REAL.isel(example=slice(0, 8)), by=None)


@pytest.mark.parametrize("name", WITH_CONTROL)
def test_other_instances_in_the_control_are_named(name: str) -> None:
    fewer = CONTROL.isel(example=slice(1, None))
    with pytest.raises(InputError, match="same instances: control lacks en es simulated/0"):
        WITH_CONTROL[name](REAL, fewer)
    with pytest.raises(InputError, match="same instances: real lacks en es simulated/0"):
        WITH_CONTROL[name](REAL.isel(example=slice(1, None)), CONTROL)


@pytest.mark.parametrize("name", WITH_CONTROL)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_cells_are_refused_and_named(name: str, value: float) -> None:
    holed = REAL.copy(deep=True)
    for variable in ("gain", "correct"):
        holed[variable] = holed[variable].astype("float64")
        holed[variable][2, 1, 0, 2] = value
    with pytest.raises(InputError, match=r"real: (gain|correct) is missing in 1 of 288 places, in simulated/1"):
        WITH_CONTROL[name](holed, CONTROL)
    if name != "solved_instances":
        with pytest.raises(InputError, match=r"control: (gain|correct) is missing"):
            WITH_CONTROL[name](REAL, holed.assign_attrs(control="holed"))


def test_no_variance_is_refused() -> None:
    same = REAL.assign(gain=xr.zeros_like(REAL["gain"]))
    for call in (stats.cell_intervals, stats.significance):
        with pytest.raises(InputError, match="en->es: gain has no variance"):
            call(same)
        with pytest.raises(InputError, match="no variance"):
            call(REAL, REAL.assign_attrs(control="itself"))


def test_a_map_with_one_flat_cell_is_not_refused() -> None:
    flat = REAL.copy(deep=True)
    flat["gain"][:, 0, 0, 0] = 0
    found = stats.significance(flat, n_resamples=200)
    assert (found["p_sign"].isel(module=0, source_layer=0, target_layer=0) == 1).all()


def test_examples_that_can_t_be_told_apart_are_refused_until_a_template_tells_them() -> None:
    twice = xr.concat(
        [REAL, REAL], dim="example", data_vars="minimal", coords="minimal", compat="override", join="override"
    )
    with pytest.raises(InputError, match="real holds the same example twice: en es simulated/0"):
        stats.cell_intervals(twice)
    told = twice.assign_coords(template=("example", ["a"] * 16 + ["b"] * 16))
    found = stats.cell_intervals(told, n_resamples=100)
    assert (found["n"].values.tolist(), found["n_instances"].values.tolist()) == ([16, 16], [8, 8])


def test_a_control_of_other_cells_models_or_prompts_is_refused() -> None:
    with pytest.raises(InputError, match="target_layer is 0, 1, 2 in real and 0, 1 in control"):
        stats.significance(REAL, CONTROL.isel(target_layer=[0, 1]))
    with pytest.raises(InputError, match=r"differ in model \(simulated and other\)"):
        stats.significance(REAL, CONTROL.assign_attrs(model="other"))
    other = CONTROL.assign(vanilla_score=CONTROL["vanilla_score"] + 1)
    with pytest.raises(InputError, match="differ in vanilla_score, so in model or target prompt: simulated/0"):
        stats.significance(REAL, other)


def test_the_order_of_the_control_is_irrelevant_and_its_source_language_may_be_another() -> None:
    mixed = CONTROL.isel(example=np.random.default_rng(0).permutation(16))
    third = mixed.assign_coords(source_lang=("example", ["ru"] * 16))
    expected = stats.cell_intervals(REAL, CONTROL, n_resamples=200)
    for control in (mixed, third):
        xr.testing.assert_identical(stats.cell_intervals(REAL, control, n_resamples=200), expected)


def test_unknown_choices_are_refused_with_the_valid_ones() -> None:
    for call, match in (
        (lambda: stats.cell_intervals(REAL, measure="acuracy"), "did you mean 'accuracy'"),
        (lambda: stats.cell_intervals(REAL, method="t"), "studentised"),
        (lambda: stats.cell_intervals(REAL, method="adjusted"), "gains in nats have none"),
        (lambda: stats.significance(REAL, alternative="more"), "greater"),
        (lambda: stats.significance(REAL, by="language"), "target_lang"),
        (lambda: stats.held_out(REAL, strategy="target-first"), "target_first"),
        (lambda: stats.select_cell(REAL, strategy="best"), "overall"),
        (lambda: stats.held_out(REAL, choose_by="score"), "gain"),
        (lambda: stats.held_out(REAL, n_splits=2), "at least 10"),
        (lambda: stats.cell_intervals(REAL, confidence=1.0), "between 0 and 1"),
        (lambda: stats.simulate(shape="flat"), "heavy"),
        (lambda: stats.simulate(planted={("attn", 9, 0): 1.0}), "outside a map of 6 layers"),
        (lambda: stats.cell_intervals(REAL.drop_vars("correct"), measure="accuracy"), "real has no 'correct'"),
        (lambda: stats.cell_intervals(REAL.drop_vars("gain")), "gain"),
    ):
        with pytest.raises(InputError, match=match):
            call()


def test_a_seed_given_twice_or_none_at_all_is_refused() -> None:
    with pytest.raises(InputError, match=r"seed 1 is given twice \(seeds, seeds\)"):
        check_seeds(seeds=[1, 1])
    with pytest.raises(InputError, match=r"seed 4 is given twice \(seed, control_seed\)"):
        check_seeds(seed=4, control_seed=4)
    with pytest.raises(InputError, match="no seed"):
        check_seeds(seeds=[])
    for bad in (-1, True):
        with pytest.raises(InputError, match="whole number from 0"):
            check_seeds(seed=bad)
    assert check_seeds(seeds=[3, 1], other=2) == [3, 1, 2]


SEEDED = [name for name, one in (WITH_CONTROL | ALONE).items() if "seed" in inspect.signature(one).parameters]


def test_most_statistics_take_a_seed() -> None:
    assert len(SEEDED) >= 5


@pytest.mark.parametrize("name", SEEDED)
def test_a_negative_seed_is_refused_everywhere(name: str) -> None:
    arguments = (REAL, CONTROL) if name in WITH_CONTROL else (REAL,)
    with pytest.raises(InputError, match="seed must be a whole number of at least 0"):
        (WITH_CONTROL | ALONE)[name](*arguments, seed=-1)


def test_one_seed_gives_other_numbers_for_other_purposes() -> None:
    assert generator(1, "splits").random() == generator(1, "splits").random()
    assert generator(1, "splits").random() != generator(1, "bootstrap").random()
    assert generator(1, "splits").random() != generator(2, "splits").random()
