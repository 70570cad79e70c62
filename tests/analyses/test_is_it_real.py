"""`analyses.is_it_real`: maps, tests and summary belong together; what is planted survives, what is not doesn't."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from analyses import is_it_real
from xtl import stats
from xtl.errors import InputError

REAL, CONTROL = stats.simulate(
    n_instances=20, languages=["es", "sw"], n_layers=3, planted={("mlp", 1, 2): 3.0}, control=True
)
SETTINGS = {"n_resamples": 1000, "n_splits": 20, "seed": 5}
DATA = is_it_real.compute(REAL, CONTROL, **SETTINGS)  # type: ignore[arg-type]


def test_maps_are_means_and_their_difference() -> None:
    for name, run in (("real", REAL), ("control", CONTROL)):
        np.testing.assert_allclose(DATA[name].sel(direction="en->sw"), run["gain"].values[1::2].mean(0), atol=1e-6)
    np.testing.assert_allclose(DATA["real"] - DATA["control"], DATA["mean"], atol=1e-9)
    assert ((DATA["median_low"] < DATA["median"]) & (DATA["median"] < DATA["median_high"])).all()
    assert DATA["low"].isnull().all()  # 20 instances say little of a mean without bounds
    assert (DATA["reason"].str.startswith("20 instances are too few")).all()
    np.testing.assert_array_equal(DATA["significant"], DATA["p_max"] <= 0.05)
    assert DATA["significant"].sel(module="mlp", source_layer=1, target_layer=2).all()
    assert DATA["significant"].sum() == 2
    assert DATA.attrs["seed"] == 5


def test_the_summary_survives_the_round_trip() -> None:
    expected = stats.summary_table(REAL, CONTROL, n_splits=SETTINGS["n_splits"], seed=SETTINGS["seed"])  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(is_it_real.table(DATA), expected[is_it_real.table(DATA).columns], check_dtype=False)
    assert is_it_real.table(DATA).attrs["against"] == "simulated control"


def test_words_name_the_planted_cell_and_its_direction() -> None:
    words = is_it_real.in_words(DATA, "en->es")
    assert words[0].startswith("1 of 18 cells is better than simulated control beyond chance")
    assert re.search(
        r"mlp 1 → 2, \+\d\.\d\d nats \(median \+\d\.\d\d \[\+\d\.\d\d, \+\d\.\d\d\]\), in-sample", words[0]
    )
    assert len(words) == 3
    null = is_it_real.compute(*stats.simulate(n_instances=10, n_layers=2, control=True), **SETTINGS)  # type: ignore[arg-type]
    assert (
        is_it_real.in_words(null, "en->es")[0]
        == "None of 8 cells is better than simulated control beyond chance (n = 10)."
    )


def test_without_right_answers_there_are_maps_and_no_summary() -> None:
    data = is_it_real.compute(*(run.drop_vars("correct") for run in (REAL, CONTROL)), **SETTINGS)  # type: ignore[arg-type]
    assert "summary" not in data
    assert len(is_it_real.in_words(data, "en->es")) == 1
    is_it_real.figure(data)
    with pytest.raises(InputError, match="no 'correct'"):
        is_it_real.forest(data)


def test_figure_has_three_maps_a_direction_and_module_on_one_scale() -> None:
    figure = is_it_real.figure(DATA)
    maps = figure.data[:12]
    assert {trace.coloraxis for trace in maps} == {"coloraxis"}
    for trace, name in zip(maps[:3], ("real", "control", "mean"), strict=True):
        np.testing.assert_allclose(np.asarray(trace.z, dtype=float), DATA[name].values[0, 0])
    assert len(figure.data) == 12 + 4  # the four differences are muted
    assert len(is_it_real.forest(DATA).data) == 9


def test_all_directions_can_be_pooled() -> None:
    data = is_it_real.compute(REAL, CONTROL, by="all", **SETTINGS)  # type: ignore[arg-type]
    assert data["direction"].values.tolist() == data["summary_direction"].values.tolist() == ["all"]
    np.testing.assert_allclose(data["mean"][0], DATA["mean"].mean("direction"), atol=1e-6)
    assert int(data["n"][0]) == 40
    assert int(data["n_instances"][0]) == 20
    assert is_it_real.in_words(data, "all")[0].startswith("1 of 18 cells is better")
    assert set(is_it_real.figures(data)) == {"is_it_real", "is_it_real_forest"}
    one = is_it_real.compute(*(run.isel(example=slice(0, None, 2)) for run in (REAL, CONTROL)), by="all", **SETTINGS)  # type: ignore[arg-type]
    assert len(is_it_real.in_words(one, "all")) == 3
    with pytest.raises(InputError, match="unknown by"):
        is_it_real.compute(REAL, CONTROL, by="task")


@pytest.mark.parametrize("call", [is_it_real.table, is_it_real.figure, is_it_real.forest])
def test_only_computed_data_are_drawn(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="compute"):
        call(REAL)
