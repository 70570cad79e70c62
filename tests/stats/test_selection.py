"""Held-out selection has no selection bias, leaks nothing between languages, and finds what is planted."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xtl import stats
from xtl.errors import InputError
from xtl.stats.intervals import mean_interval
from xtl.stats.selection import STRATEGIES, choose, chosen_cells, held_out_interval, held_out_means, split_halves


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_strategies_equal_a_plain_search(seed: int, rows: int) -> None:
    shape = (2, 3, 4)
    means = np.random.default_rng(seed).integers(0, 4, (rows, 24)).astype(float)  # many ties
    for row, mean in enumerate(means):
        cube = mean.reshape(shape)
        assert choose([means], shape, "overall")[row] == mean.argmax()
        m, j = np.unravel_index(cube.mean(1).argmax(), (2, 4))
        assert choose([means], shape, "target_first")[row] == np.ravel_multi_index(
            (m, cube[m, :, j].argmax(), j), shape
        )
        m, i = np.unravel_index(cube.mean(2).argmax(), (2, 3))
        assert choose([means], shape, "source_first")[row] == np.ravel_multi_index((m, i, cube[m, i].argmax()), shape)


def test_ties_go_to_the_second_measure() -> None:
    accuracy, gain = np.array([[0.5, 1.0, 1.0, 0.0]]), np.array([[9.0, 1.0, 2.0, 9.0]])
    assert choose([accuracy, gain], (1, 2, 2), "overall").tolist() == [2]
    assert choose([accuracy], (1, 2, 2), "overall").tolist() == [1]


def test_target_first_passes_over_a_lone_lucky_cell() -> None:
    result = stats.simulate(
        n_instances=10, n_layers=4, planted={("attn", 0, 0): 6.0, **{("mlp", i, 2): 4.0 for i in range(4)}}
    )
    assert stats.select_cell(result, measure="gain").module == "attn"
    chosen = stats.select_cell(result, measure="gain", strategy="target_first")
    assert (chosen.module, chosen.target_layer) == ("mlp", 2)
    assert chosen.in_sample == pytest.approx(
        float(result["gain"].sel(module="mlp", source_layer=chosen.source_layer, target_layer=2).mean()), rel=1e-5
    )


def test_halves_share_no_instance_and_are_a_half() -> None:
    halves = split_halves(11, 50, seed=3)
    assert (halves.sum(1) == 6).all()
    assert len(np.unique(halves, axis=0)) > 40
    assert 0.3 < halves.mean(0).min() < halves.mean(0).max() < 0.8


def test_held_out_means_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    clusters = rng.permutation(np.repeat(np.arange(8), [1, 2, 3, 1, 2, 3, 1, 2]))
    values = rng.normal(size=(15, 12))
    halves = split_halves(8, 20, seed=1)
    cells = chosen_cells([values], clusters, halves, (1, 3, 4), "overall")
    means = held_out_means(values, clusters, halves, cells)
    expected = []
    for chosen_by_first in (True, False):
        for half in halves:
            inside = (half if chosen_by_first else ~half)[clusters]
            best = values[inside].mean(0).argmax()
            expected.append(values[~inside, best].mean())
    np.testing.assert_allclose(means, expected)


def test_without_effect_the_best_cell_gains_in_sample_and_nothing_held_out() -> None:
    inside, outside, held = [], [], []
    for seed in range(60):
        result = stats.simulate(n_instances=30, n_layers=5, seed=seed)
        row = stats.held_out(result, n_splits=40, seed=seed).iloc[-1]
        assert row["module"] == "attn+mlp"
        inside.append(row["in_sample_gain"])
        outside.append(row["gain"])
        held.append(row["gain_low"] <= 0 <= row["gain_high"])
    assert np.mean(inside) > 0.3
    assert abs(np.mean(outside)) < 3 * np.std(outside) / np.sqrt(60)
    assert np.mean(held) >= 0.9


def test_a_planted_cell_keeps_its_gain_and_its_interval_holds_the_truth() -> None:
    held = []
    for seed in range(60):
        result = stats.simulate(
            n_instances=30, n_layers=5, planted={("attn", 2, 3): 2.5}, shape="normal", ties=0.0, seed=seed
        )
        row = stats.held_out(result, n_splits=20, seed=seed).iloc[0]
        held.append(row["gain_low"] <= 2.5 <= row["gain_high"])
    assert 0.85 <= np.mean(held) <= 1


def test_languages_of_an_instance_are_held_out_together() -> None:
    """Five copies of an instance: were they split, the choosing half would know the measuring half."""
    outside = []
    for seed in range(30):
        one = stats.simulate(n_instances=12, n_layers=6, seed=seed)
        copies = [one.assign_coords(target_lang=("example", [f"l{k}"] * 12)) for k in range(5)]
        both = xr.concat(
            copies, dim="example", data_vars="minimal", coords="minimal", compat="override", join="override"
        )
        alone, together = (stats.held_out(data, by=None, n_splits=20, seed=seed).iloc[-1] for data in (one, both))
        assert together["gain"] == pytest.approx(alone["gain"], abs=1e-6)
        outside.append(together["gain"])
    assert abs(np.mean(outside)) < 3 * np.std(outside) / np.sqrt(30)


def test_the_control_is_measured_where_the_real_run_chose() -> None:
    real, control = stats.simulate(n_instances=30, planted={("mlp", 1, 1): 3.0}, control=True, seed=4)
    row = stats.held_out(real, control, seed=1).set_index("module").loc["mlp"]
    assert row["gain"] > 2.5
    assert abs(row["control_gain"]) < 0.7
    assert row["gain_over_control_low"] > 1
    assert row["gain_over_control"] == pytest.approx(row["gain"] - row["control_gain"])
    assert row["accuracy_over_control"] == pytest.approx(row["accuracy"] - row["control_accuracy"])
    assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"] <= 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strong_cell_is_stable_under_every_strategy(strategy: str) -> None:
    result = stats.simulate(n_instances=20, languages=["es", "sw"], n_layers=4, planted={("mlp", 1, 2): 6.0})
    table = stats.cell_stability(result, strategy=strategy, n_splits=20).set_index("direction")
    assert table.index.tolist() == ["en->es", "en->sw", "between groups"]
    assert (table[["module", "source_layer", "target_layer"]] == ["mlp", 1, 2]).all(axis=None)
    assert (table[["share", "same_cell", "same_module"]] == 1).all(axis=None)
    assert (table[["distance", "entropy"]] == 0).all(axis=None)


def test_cells_of_noise_are_not_stable() -> None:
    result = stats.simulate(n_instances=20, languages=["es", "sw"], n_layers=8, smoothness=0.0)
    table = stats.cell_stability(result, n_splits=100)
    assert (table["same_cell"] < 0.1).all()
    assert (table["entropy"] > 1).all()
    assert (table["distance"] > 2).all()


def test_stability_across_templates_takes_any_coord() -> None:
    result = stats.simulate(n_instances=12, languages=["es", "sw"], n_layers=3)
    result = result.assign_coords(template=("example", ["short", "long"] * 12))
    table = stats.cell_stability(result, by="template", n_splits=20)
    assert table["template"].tolist() == ["short", "long", "between groups"]
    with pytest.raises(InputError, match=r"valid: .*template"):
        stats.cell_stability(result, by="templates")


def test_transfer_measures_on_other_instances_and_its_diagonal_is_held_out() -> None:
    result = stats.simulate(n_instances=16, languages=["es", "sw"], n_layers=4, planted={("attn", 0, 3): 1.0})
    result["gain"][result["target_lang"].values == "sw"] *= -1  # what helps Spanish harms Swahili
    matrix = stats.cell_transfer(result, n_splits=50, seed=2)
    held = stats.held_out(result, n_splits=50, seed=2).set_index(["direction", "module"])["gain"]
    for direction in ("en->es", "en->sw"):
        assert matrix.sel(chosen_on=direction, measured_on=direction).item() == pytest.approx(
            held[direction, "attn+mlp"]
        )
    assert matrix.sel(chosen_on="en->es", measured_on="en->sw") < 0
    with pytest.raises(InputError, match="but one direction"):
        stats.cell_transfer(stats.simulate())


def test_held_out_gains_of_few_instances_have_no_interval_but_right_answers_do() -> None:
    few = stats.held_out(stats.simulate(n_instances=12, n_layers=3), n_splits=20)
    assert few[["gain_low", "gain_high"]].isna().all(axis=None)
    assert few["gain"].notna().all()
    assert few["reason"].str.startswith("12 instances are too few").all()
    assert ((few["accuracy_low"] <= few["accuracy"]) & (few["accuracy"] <= few["accuracy_high"])).all()
    enough = stats.held_out(stats.simulate(n_instances=29, n_layers=3), n_splits=20)
    assert enough[["gain_low", "gain_high"]].notna().all(axis=None)
    assert (enough["reason"] == "").all()


@pytest.mark.parametrize("bounds", [None, (-4.0, 4.0)])
def test_held_out_at_a_cell_known_beforehand_is_the_mean_and_never_surer_than_its_interval(
    bounds: tuple[float, float] | None,
) -> None:
    """The halvings then add nothing: every instance is held out in one half of each."""
    values = np.random.default_rng(2).uniform(-1, 3, (40, 1))
    halves, clusters = split_halves(40, 100, seed=0), np.arange(40)
    found = held_out_interval(np.tile(values[:, 0], (200, 1)), clusters, halves, bounds=bounds)
    plain = mean_interval(values, clusters, bounds=bounds, n_resamples=2000)
    assert found.mean[0] == pytest.approx(plain.mean[0])
    assert found.low[0] <= plain.low[0] + 1e-9
    assert found.high[0] >= plain.high[0] - 1e-9
    assert (found.high - found.low)[0] < 1.3 * (plain.high - plain.low)[0]
