"""`analyses.stability`: a map agrees with itself up to the noise floor; planted changes show, and shuffled maps are at chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses import stability
from tests.synthetic import single_sweep, synthetic_results
from xtl import stats
from xtl.errors import InputError

STRONG = {("attn", i, j): 4.0 + i for i in range(3) for j in range(3)}
A = stats.simulate(planted=STRONG, n_layers=5, smoothness=0.0)
B = stats.simulate(planted=STRONG, n_layers=5, smoothness=0.0, seed=1)
OTHER = stats.simulate(
    planted={("mlp", i, j): 4.0 + i for i in (3, 4) for j in range(5)}, n_layers=5, smoothness=0.0, seed=2
)


@pytest.fixture(scope="module")
def data():
    return stability.compute({"a": A, "b": B, "other": OTHER}, top=9, n_splits=30)


def test_the_same_map_under_another_seed_is_at_the_noise_floor_and_another_map_is_not(data) -> None:
    overlap = data["agreement"].sel(statistic="top overlap", module="all")
    assert overlap.sel(run="a", other="b") > 0.9
    assert overlap.sel(run="a", other="other") < 0.3
    rho = data["agreement"].sel(statistic="rank correlation", module="attn")
    assert abs(float(rho.sel(run="a", other="b") - rho.sel(run="a", other="a"))) < 0.15
    assert rho.sel(run="a", other="other") < rho.sel(run="a", other="a") - 0.3
    assert len(stability.in_words(data)) == 1 + 3


def test_laws(data) -> None:
    assert (abs(data["agreement"].sel(statistic="rank correlation")) <= 1 + 1e-9).all()
    overlap = data["agreement"].sel(statistic="top overlap")
    assert ((overlap >= 0) & (overlap <= 1)).all()
    whole = data["same_instances"]
    np.testing.assert_allclose(np.diagonal(whole.values, axis1=2, axis2=3), 1)
    np.testing.assert_allclose(whole.values, whole.values.swapaxes(2, 3))
    assert data["chance"].sel(statistic="top overlap", module="all") == 9 / 50


def test_more_instances_agree_more() -> None:
    slope = {("attn", i, j): 0.3 * (i + j) for i in range(5) for j in range(5)}
    run = stats.simulate(planted=slope, n_layers=5, smoothness=0.0)
    found = stability.compute({"a": run}, n_splits=30, sizes=[1, 4, 15])
    rho = found["by_size"].sel(statistic="rank correlation", module="attn", run="a").values
    assert rho[0] + 0.1 < rho[1] < rho[2] - 0.05


def test_maps_without_any_effect_are_at_chance() -> None:
    runs = {name: stats.simulate(n_layers=5, smoothness=0.0, seed=seed) for name, seed in (("a", 3), ("b", 4))}
    found = stability.compute(runs, n_splits=50)
    assert abs(float(found["agreement"].sel(statistic="rank correlation", module="all").mean())) < 0.12
    expected = found["chance"].sel(statistic="top overlap")
    gap = found["agreement"].sel(statistic="top overlap").mean(("run", "other")) - expected
    assert abs(gap).max() < 0.15


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_ranks_know_no_scale(seed: int, scale: float) -> None:
    a = np.random.default_rng(seed).normal(size=(2, 12))
    found = stability._compare(a, scale * a + 3, 4)
    np.testing.assert_allclose(found, 1)
    np.testing.assert_allclose(stability._compare(a, -a, 4)[0], -1)
    assert (stability._compare(a, np.ones_like(a), 4)[0] == 0).all()


def test_one_run_gives_its_noise_floor() -> None:
    found = stability.compute({"a": A}, n_splits=10)
    assert set(stability.figures(found)) == {"stability_size"}
    assert len(stability.in_words(found)) == 1


def test_figures(data) -> None:
    assert set(stability.figures(data)) == {"stability", "stability_size"}
    figure = stability.figure(data.assign(agreement=abs(data["agreement"])))
    assert len(figure.data) == 6
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.colorscale[0][1]) == (
        0,
        "rgb(247,251,255)",
    )  # one-sided
    assert figure.data[0].text[0][0] == f"{float(data['agreement'][0, 0, 0, 0]):.2f}"


def test_runs_are_named_by_what_they_have_that_the_first_has_not() -> None:
    other = A.assign_coords(target=("example", [f"other {k}" for k in range(A.sizes["example"])])).assign_attrs(seed=7)
    found = stability.compute({"first": A, "folder-b": other}, top=9, n_splits=10)
    figure = stability.figure(found)
    assert list(figure.data[0].y) == ["as it is", "seed 7, other prompts"]
    assert "folder-b" not in figure.to_json()


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        ({}, {}, "0 runs given"),
        ({"a": A.isel(example=range(6))}, {}, "share 6 instances: at least 10"),
        ({"a": A, "b": A.isel(target_layer=[0, 1])}, {}, "'b' has other cells"),
        ({"a": A}, {"top": 99}, "top 99 is more than the 25 cells"),
        ({"a": A}, {"sizes": [40]}, "sizes must lie between"),
        ({"a": A.assign(gain=A["gain"].where(A["gain"] < 1))}, {}, "gaps"),
        ({"a": single_sweep()}, {}, "instance"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(runs, options, message) -> None:
    with pytest.raises(InputError, match=message):
        stability.compute(runs, **options)
    with pytest.raises(InputError, match="compute"):
        stability.figure(synthetic_results())
