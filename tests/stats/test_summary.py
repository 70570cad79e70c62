"""The summary agrees with the functions that it sums up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from xtl import stats
from xtl.errors import InputError
from xtl.stats.summary import QUANTITIES

REAL, CONTROL = stats.simulate(
    n_instances=15, languages=["es", "sw"], n_layers=4, control=True, planted={("attn", 1, 2): 2.5}
)


def test_every_direction_module_and_quantity_has_n_and_interval() -> None:
    table = stats.summary_table(REAL, CONTROL, n_splits=20, seed=3)
    assert list(dict.fromkeys(table["direction"])) == ["en->es", "en->sw", "all"]
    assert len(table) == 3 * 3 * len(QUANTITIES)
    assert ((table["low"] <= table["value"] + 1e-12) & (table["value"] <= table["high"] + 1e-12)).all()
    assert table.set_index("direction").loc["all", "n"].unique().tolist() == [30]
    assert (table["n_instances"] == 15).all()
    assert (table.attrs["seed"], table.attrs["against"]) == (3, "simulated control")
    part = table[(table["direction"] == "en->sw") & (table["module"] == "mlp")].set_index("quantity")["value"]
    right = {name: data["correct"].values[1::2, 1] for name, data in (("real", REAL), ("control", CONTROL))}
    assert part["vanilla"] == pytest.approx(REAL["vanilla_correct"].values[1::2].mean())
    assert part["upper_bound"] == right["real"].any((1, 2)).mean()
    assert part["chance_upper_bound"] == right["control"].any((1, 2)).mean()
    assert part["corrected"] == pytest.approx(part["upper_bound"] - part["chance_upper_bound"])
    assert part["fixed_over_control"] == pytest.approx(part["fixed"] - part["fixed_control"])
    held = stats.held_out(REAL, CONTROL, n_splits=20, seed=3).set_index(["direction", "module"]).loc[("en->sw", "mlp")]
    assert part["fixed"] == pytest.approx(held["accuracy"])


def test_one_direction_is_not_pooled_and_the_wide_table_reads_well() -> None:
    spanish = [data.isel(example=slice(None, None, 2)) for data in (REAL, CONTROL)]
    table = stats.summary_table(*spanish, n_splits=20)
    assert table["direction"].unique().tolist() == ["en->es"]
    wide = stats.summary_wide(table)
    assert list(wide.columns) == ["n", *QUANTITIES]
    assert wide.index.tolist() == [("en->es", "attn"), ("en->es", "mlp"), ("en->es", "attn+mlp")]
    value = 100 * spanish[0]["vanilla_correct"].values.mean()
    assert wide.loc[("en->es", "attn"), "vanilla"].startswith(f"{value:.0f}% [")
    assert wide["corrected"].str.match(r"[+-]\d+% \[[+-]\d+, [+-]\d+\]").all()


def test_results_that_count_no_right_answers_are_refused() -> None:
    with pytest.raises(InputError, match="no 'correct'"):
        stats.summary_table(REAL.drop_vars("correct"), CONTROL.drop_vars("correct"))
    with pytest.raises(InputError, match="summary_table"):
        stats.summary_wide(pd.DataFrame({"direction": ["en->es"]}))


def test_the_seed_settles_the_table() -> None:
    one, same, other = (stats.summary_table(REAL, CONTROL, n_splits=20, seed=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not np.allclose(one["value"], other["value"])
