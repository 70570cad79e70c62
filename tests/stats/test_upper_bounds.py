"""Upper bounds and their curves against counting by hand, over every subset of cells."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtl import stats
from xtl.errors import InputError
from xtl.stats.chance import subset_solves

REAL, CONTROL = stats.simulate(
    n_instances=20, languages=["es", "sw"], n_layers=4, planted={("attn", 1, 2): 2.0}, control=True, seed=2
)


def test_bounds_equal_counting() -> None:
    found = stats.layer_upper_bounds(REAL, CONTROL)
    for condition, data in (("real", REAL), ("control", CONTROL)):
        for direction, language in (("en->es", "es"), ("en->sw", "sw")):
            right = data["correct"].values[data["target_lang"].values == language]
            part = found.sel(condition=condition, direction=direction)
            for m, module in enumerate(["attn", "mlp"]):
                np.testing.assert_allclose(part["source_row"].sel(module=module), right[:, m].any(2).mean(0))
                np.testing.assert_allclose(part["target_column"].sel(module=module), right[:, m].any(1).mean(0))
                assert float(part["overall"].sel(module=module)) == right[:, m].any((1, 2)).mean()
            assert float(part["overall"].sel(module="attn+mlp")) == right.any((1, 2, 3)).mean()
            np.testing.assert_allclose(part["source_row"].sel(module="attn+mlp"), right.any((1, 3)).mean(0))
    for name in ("source_row", "target_column", "overall"):
        real, control, difference = (
            found[name].sel(condition=condition) for condition in ("real", "control", "difference")
        )
        np.testing.assert_allclose(real - control, difference)
        assert ((found[name + "_low"] <= found[name]) & (found[name] <= found[name + "_high"])).all()
    assert (found["overall"] >= found["source_row"].max("source_layer")).sel(condition="real").all()
    assert found["vanilla"].sel(direction="en->es").item() == REAL["vanilla_correct"].values[::2].mean()


@given(seed=st.integers(0, 10_000), n=st.integers(1, 5), m=st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_the_curve_is_the_mean_and_the_spread_over_every_subset(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    right = rng.random((n, m)) < rng.random((n, 1))
    sizes = list(range(1, m + 1))
    shares, spread = subset_solves(right, sizes)
    for k in sizes:
        every = np.array([right[:, list(cells)].any(1) for cells in combinations(range(m), k)])
        np.testing.assert_allclose(shares[:, k - 1], every.mean(0), atol=1e-9)
        assert spread[k - 1] == pytest.approx(every.mean(1).std(), abs=1e-7)


def test_the_curve_of_a_large_map_stays_a_probability() -> None:
    right = np.random.default_rng(0).random((40, 8192)) < 0.001
    shares, spread = subset_solves(right, [1, 64, 4096, 8191, 8192])
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (np.diff(shares, axis=1) >= -1e-9).all()
    np.testing.assert_allclose(shares[:, 0], right.mean(1), atol=1e-9)
    np.testing.assert_array_equal(shares[:, -1], right.any(1))
    assert spread[-1] == 0


def test_the_curve_runs_from_the_mean_cell_to_the_upper_bound() -> None:
    curve = stats.upper_bound_curve(REAL, CONTROL)
    bounds = stats.layer_upper_bounds(REAL, CONTROL)
    assert curve["cells"].values.tolist() == [1, 2, 4, 8, 16, 32]
    right = REAL["correct"].values[::2]
    one = curve["upper_bound"].sel(direction="en->es", condition="real", cells=1)
    np.testing.assert_allclose(one, [right[:, 0].mean(), right[:, 1].mean(), right.mean()])
    for module, m in (("attn", 16), ("mlp", 16), ("attn+mlp", 32)):
        np.testing.assert_allclose(
            curve["upper_bound"].sel(module=module, cells=m), bounds["overall"].sel(module=module)
        )
        np.testing.assert_allclose(curve["low"].sel(module=module, cells=m), bounds["overall_low"].sel(module=module))
    assert curve["upper_bound"].sel(module="attn", cells=32).isnull().all()
    single = stats.upper_bound_curve(REAL, sizes=[3, 1])
    assert (single["cells"].values.tolist(), single["condition"].values.tolist()) == ([1, 3], ["real"])


def test_instances_solved_add_up_to_the_bounds() -> None:
    table = stats.solved_instances(REAL, CONTROL)
    bounds = stats.layer_upper_bounds(REAL, CONTROL)["overall"]
    for (direction, module), part in table.groupby(["direction", "module"]):
        share = part["solved_by"].value_counts(normalize=True)
        real, control = (share.get("both", 0) + share.get(name, 0) for name in ("only real", "only control"))
        assert real == pytest.approx(bounds.sel(direction=direction, module=module, condition="real").item())
        assert control == pytest.approx(bounds.sel(direction=direction, module=module, condition="control").item())
        assert ((part["cells_real"] > 0) == part["solved_by"].isin(["both", "only real"])).all()


def test_a_run_against_itself_has_a_difference_of_zero_that_is_not_certain() -> None:
    found = stats.layer_upper_bounds(REAL, REAL.assign_attrs(control="itself")).sel(condition="difference")
    assert (found["overall"] == 0).all()
    exact = 1 - 0.025 ** (1 / 20)  # Clopper and Pearson's end for none of 20
    np.testing.assert_allclose(found["overall_low"], -exact, atol=0.01)
    np.testing.assert_allclose(found["overall_high"], exact, atol=0.01)


def test_sizes_outside_the_map_are_refused() -> None:
    for sizes in ([0, 1], [33], []):
        with pytest.raises(InputError, match="between 1 and the 32 cells"):
            stats.upper_bound_curve(REAL, sizes=sizes)
