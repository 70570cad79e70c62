"""Figures draw what they were given: every cell, every line, muted where it may be chance."""

from __future__ import annotations

import numpy as np
import pytest

from xtl import stats
from xtl.errors import InputError
from xtl.plots import bounds, controls, intervals, slots
from xtl.plots.forest import Estimate, forest
from xtl.publish.figure_files import figure_data

REAL, CONTROL = stats.simulate(
    n_instances=20, languages=["es", "sw"], n_layers=4, planted={("attn", 1, 2): 3.0}, control=True
)
TESTS = stats.significance(REAL, CONTROL, n_resamples=1000)


def test_the_map_mutes_what_may_be_chance_and_borders_the_rest() -> None:
    figure = controls.significant_map(TESTS)
    maps, covers = figure.data[:4], figure.data[4:]
    for index, (trace, cover) in enumerate(zip(maps, covers, strict=True)):
        p = TESTS["p_max"].values.reshape(4, 4, 4)[index]
        np.testing.assert_array_equal(np.isnan(np.asarray(cover.z, dtype=float)), p <= 0.05)
        np.testing.assert_allclose(np.asarray(trace.z, dtype=float), TESTS["mean"].values.reshape(4, 4, 4)[index])
        assert (cover.xaxis, cover.yaxis) == (trace.xaxis, trace.yaxis)
        assert trace.text[1][2] == f"p = {p[1, 2]:.2g}"
    assert [shape.path.count("M") for shape in figure.layout.shapes] == [4, 4]  # one cell, in attn of both languages
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    assert "simulated control" in figure.layout.title.text
    assert "2 of 64 cells" in figure.layout.title.subtitle.text


def test_level_correction_and_direction_are_chosen() -> None:
    figure = controls.significant_map(TESTS, correction="none", level=0.5, direction="en->sw")
    hidden = sum(np.isfinite(np.asarray(cover.z, dtype=float)).sum() for cover in figure.data[2:])
    assert hidden == (TESTS["p"].sel(direction="en->sw") > 0.5).sum()
    assert "not corrected" in figure.layout.title.subtitle.text
    with pytest.raises(InputError, match="fdr"):
        controls.significant_map(TESTS, correction="bonferroni")
    with pytest.raises(InputError, match="en->sw"):
        controls.significant_map(TESTS, direction="en->fr")
    with pytest.raises(InputError, match="p_max"):
        controls.significant_map(REAL)


def test_against_vanilla_the_map_borders_what_the_sign_test_finds_and_says_so() -> None:
    tests = stats.significance(REAL, n_resamples=1000)
    figure = controls.significant_map(tests)
    assert "sign test" in figure.layout.title.subtitle.text
    cover = np.asarray(figure.data[4].z, dtype=float)
    np.testing.assert_array_equal(np.isnan(cover), tests["p_sign_max"].values[0, 0] <= 0.05)
    assert np.isnan(cover).any()
    taken = controls.significant_map(stats.significance(REAL, assume_symmetric=True, n_resamples=200))
    assert "symmetric" in taken.layout.title.subtitle.text


def test_a_border_runs_round_the_cells_and_not_through_them() -> None:
    mask = np.zeros((3, 4), dtype=bool)
    mask[1, 1:3] = True
    path = slots.border(mask)
    assert path.count("M") == 6  # the edges of a 1 x 2 rectangle
    assert "M1.5,0.5L1.5,1.5" not in path
    assert slots.border(np.zeros((2, 2), dtype=bool)) == ""


def test_the_curve_draws_real_control_and_vanilla_in_every_panel() -> None:
    data = stats.upper_bound_curve(REAL, CONTROL)
    figure = bounds.curve(data)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len(lines) == 2 * 3 * 2
    expected = 100 * data["upper_bound"].sel(direction="en->es", module="attn", condition="real").dropna("cells")
    np.testing.assert_allclose(lines[0].y, expected)
    assert [line.line.dash for line in lines[:2]] == ["solid", "dash"]
    assert [trace.name for trace in lines if trace.showlegend] == ["real source", "simulated control"]
    assert len(figure.layout.shapes) == 6  # vanilla
    assert figure.layout.annotations[0].text == "en → es, attn (n = 20)"


def test_layers_are_drawn_for_every_single_module() -> None:
    data = stats.layer_upper_bounds(REAL, CONTROL)
    figure = bounds.layer_bounds(data)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len(lines) == 2 * 4 * 2
    np.testing.assert_allclose(
        lines[2].y, 100 * data["target_column"].sel(direction="en->es", module="attn", condition="real")
    )
    with pytest.raises(InputError, match="source_row"):
        bounds.layer_bounds(stats.upper_bound_curve(REAL))


def test_the_forest_shows_every_estimate_with_its_interval() -> None:
    table = stats.summary_table(REAL, CONTROL, n_splits=20)
    figure = controls.forest(table, quantities=["corrected", "upper_bound"])
    assert len(figure.data) == 2 * 3
    rows = table[(table["quantity"] == "corrected") & (table["module"] == "attn")]
    np.testing.assert_allclose(figure.data[0].x, 100 * rows["value"])
    np.testing.assert_allclose(figure.data[0].error_x.array, 100 * (rows["high"] - rows["value"]))
    assert list(figure.layout.yaxis.ticktext) == ["en → es  (n = 20)", "en → sw  (n = 20)", "all  (n = 40)"]
    with pytest.raises(InputError, match="corrected"):
        controls.forest(table, quantities=["correct"])
    with pytest.raises(InputError, match="summary_table"):
        controls.forest(table.drop(columns="low"))


def test_an_estimate_without_an_interval_has_none_in_the_forest_and_in_its_table() -> None:
    points = [Estimate("es", "attn", 0.2, 0.1, 0.4), Estimate("sw", "attn", 0.3, np.nan, np.nan)]
    figure = forest([("gain", points)], title="", subtitle="", x="nats", decimals=1)
    assert list(figure.data[0].customdata) == [" [0.1, 0.4]", ""]
    table = figure_data(figure)
    np.testing.assert_allclose(table[["low", "high"]].to_numpy(), [[0.1, 0.4], [np.nan, np.nan]])


def test_what_does_not_vary_has_no_intervals_of_cells_or_layers() -> None:
    still = REAL.assign(gain=REAL["gain"] * 0)
    for intervals_of in (stats.cell_intervals, stats.layer_intervals):
        with pytest.raises(InputError, match="en->es: gain has no variance"):
            intervals_of(still, n_resamples=100)


def test_a_mean_map_of_many_pairs_is_drawn_with_its_intervals() -> None:
    real = stats.simulate(n_instances=30, n_layers=4, planted={("attn", 1, 2): 3.0})
    found = stats.cell_intervals(real, n_resamples=300)
    figure = intervals.interval_map(found)
    cover = np.asarray(figure.data[2].z, dtype=float)
    held = (found["low"] <= 0) & (found["high"] >= 0)
    np.testing.assert_array_equal(np.isfinite(cover), held.values[0, 0])
    low, high = (float(found[end][0, 0, 1, 2]) for end in ("low", "high"))
    assert figure.data[0].text[1][2] == f"[{low:+.3f}, {high:+.3f}]"
    few = intervals.interval_map(stats.cell_intervals(stats.simulate(n_instances=20, n_layers=4)))
    assert "20 instances are too few" in few.layout.title.subtitle.text
    assert np.isfinite(np.asarray(few.data[2].z, dtype=float)).all()  # a cell without an interval is no sure one
    assert not few.layout.shapes
    assert few.data[0].text[0][0] == "[no interval]"
    with pytest.raises(InputError, match="cell_intervals"):
        intervals.interval_map(stats.layer_intervals(real, n_resamples=300))


def test_profiles_by_layer_are_means_over_the_other_side_with_bands_and_ticks_where_layers_were_tried() -> None:
    real = stats.simulate(n_instances=30, n_layers=4, planted={("attn", 1, 2): 3.0})
    real = real.assign_coords(source_layer=[0, 4, 12, 13], target_layer=[0, 4, 12, 13])
    found = stats.layer_intervals(real, n_resamples=300)
    gain = real["gain"].astype(float).mean("example")
    np.testing.assert_allclose(found["mean"].sel(role="target")[0], gain.mean("source_layer"))
    np.testing.assert_allclose(found["mean"].sel(role="source")[0], gain.mean("target_layer"))
    assert bool((found["low"] < found["mean"]).all() and (found["mean"] < found["high"]).all())
    figure = intervals.layer_profile(found)
    assert len([trace for trace in figure.data if trace.fill]) == 4
    assert list(figure.layout.xaxis.tickvals) == [0, 4, 12]  # 13 has no room beside 12
    with pytest.raises(InputError, match="layer_intervals"):
        intervals.layer_profile(TESTS)
