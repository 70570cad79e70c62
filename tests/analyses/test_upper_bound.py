"""`analyses.upper_bound`: bounds and curve in one, tables and words that say the same."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import upper_bound
from xtl import stats
from xtl.errors import InputError

REAL, CONTROL = stats.simulate(
    n_instances=15, languages=["es", "sw"], n_layers=3, planted={("mlp", 1, 2): 3.0}, control=True
)
DATA = upper_bound.compute(REAL, CONTROL)


def test_bounds_and_curve_are_those_of_the_statistics() -> None:
    bounds = stats.layer_upper_bounds(REAL, CONTROL)
    curve = stats.upper_bound_curve(REAL, CONTROL)
    for source in (bounds, curve):
        for name in source.data_vars:
            np.testing.assert_array_equal(DATA[name], source[name])
    assert DATA.attrs["against"] == "simulated control"


def test_the_table_has_a_row_a_set_of_cells() -> None:
    table = upper_bound.table(DATA)
    assert list(table.columns) == list(upper_bound.COLUMNS)
    assert len(table) == 2 * 3 * (3 + 3 + 1)
    row = table[(table["direction"] == "en->sw") & (table["module"] == "mlp") & (table["set"] == "source_row")].iloc[1]
    assert row["layer"] == 1
    assert row["real"] == REAL["correct"].values[1::2, 1, 1].any(1).mean()
    assert row["difference"] == pytest.approx(row["real"] - row["control"])
    alone = upper_bound.table(upper_bound.compute(REAL))
    assert alone["control"].isna().all()


def test_words_give_the_numbers_of_the_direction() -> None:
    first, second = upper_bound.in_words(DATA, "en->sw")
    real = REAL["correct"].values[1::2].any((1, 2, 3)).mean()
    control = CONTROL["correct"].values[1::2].any((1, 2, 3)).mean()
    assert f"Some cell of 18 solves {real:.0%} of n = 15" in first
    assert f"{control:.0%}: a difference of {100 * (real - control):+.0f} points" in second
    assert len(upper_bound.in_words(upper_bound.compute(REAL), "en->es")) == 1
    with pytest.raises(InputError, match="en->es"):
        upper_bound.in_words(DATA, "en->fr")


def test_all_directions_can_be_pooled() -> None:
    data = upper_bound.compute(REAL, CONTROL, by="all")
    assert float(data["overall"].sel(direction="all", module="mlp", condition="real")) == pytest.approx(
        float(DATA["overall"].sel(module="mlp", condition="real").mean())
    )
    assert len(upper_bound.in_words(data, "all")) == 2
    assert set(upper_bound.figures(data)) == {"upper_bound", "upper_bound_layers"}
    with pytest.raises(InputError, match="unknown by"):
        upper_bound.compute(REAL, by="task")


@pytest.mark.parametrize("call", [upper_bound.table, upper_bound.figure, upper_bound.layers_figure])
def test_only_computed_data_are_drawn(call) -> None:  # type: ignore[no-untyped-def]
    call(DATA)
    with pytest.raises(InputError, match="compute"):
        call(REAL)
