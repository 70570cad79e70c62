"""Intervals against scipy, statsmodels and a plain loop; laws of scale, order and clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from xtl import stats
from xtl.errors import InputError
from xtl.stats.intervals import METHODS, mean_interval, share_interval

RNG = np.random.default_rng(7)
SKEWED = RNG.lognormal(size=(25, 3))


@pytest.mark.parametrize(("method", "theirs"), [("bca", "BCa"), ("percentile", "percentile")])
def test_bootstrap_agrees_with_scipys(method: str, theirs: str) -> None:
    ours = mean_interval(SKEWED, np.arange(25), method=method, n_resamples=20_000, seed=1)
    for cell in range(3):
        found = scipy_stats.bootstrap(
            (SKEWED[:, cell],),
            np.mean,
            n_resamples=20_000,
            method=theirs,
            rng=np.random.default_rng(2),
            vectorized=True,
        ).confidence_interval
        width = found.high - found.low
        assert abs(ours.low[cell] - found.low) < 0.04 * width
        assert abs(ours.high[cell] - found.high) < 0.04 * width


def test_studentised_bootstrap_agrees_with_a_plain_loop() -> None:
    values = SKEWED[:, 0]
    rng = np.random.default_rng(3)
    t = []
    for _ in range(10_000):
        drawn = rng.choice(values, len(values))
        t.append((drawn.mean() - values.mean()) / (drawn.std(ddof=1) / np.sqrt(len(values))))
    error = values.std(ddof=1) / np.sqrt(len(values))
    low, high = values.mean() - np.quantile(t, [0.975, 0.025]) * error
    ours = mean_interval(values[:, None], np.arange(25), n_resamples=10_000)
    assert ours.low[0] == pytest.approx(low, abs=0.1 * error)
    assert ours.high[0] == pytest.approx(high, abs=0.3 * error)  # the tail that a heavy draw makes long


@pytest.mark.parametrize("method", METHODS)
def test_interval_moves_and_grows_with_the_values(method: str) -> None:
    one = mean_interval(SKEWED, np.arange(25), method=method, n_resamples=500)
    two = mean_interval(-3 * SKEWED + 5, np.arange(25), method=method, n_resamples=500)
    np.testing.assert_allclose(two.mean, -3 * one.mean + 5)
    tolerance = 1e-9 if method == "percentile" else 0.02  # other order statistics are taken at the other end
    np.testing.assert_allclose((two.low - 5) / -3, one.high, rtol=tolerance)
    np.testing.assert_allclose((two.high - 5) / -3, one.low, rtol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_copies_of_an_instance_add_no_certainty(method: str) -> None:
    one = mean_interval(SKEWED, np.arange(25), method=method, n_resamples=500)
    five = mean_interval(np.repeat(SKEWED, 5, axis=0), np.repeat(np.arange(25), 5), method=method, n_resamples=500)
    np.testing.assert_allclose([five.mean, five.low, five.high], [one.mean, one.low, one.high])
    careless = mean_interval(np.repeat(SKEWED, 5, axis=0), np.arange(125), method=method, n_resamples=500)
    assert (careless.high - careless.low < 0.6 * (one.high - one.low)).all()


@pytest.mark.parametrize("method", METHODS)
def test_cells_don_t_depend_on_each_other_or_on_the_chunk(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mean_interval(SKEWED, np.arange(25), method=method, n_resamples=300)
    monkeypatch.setattr("xtl.stats.intervals.CHUNK", 300)
    chunked = mean_interval(SKEWED[:, ::-1], np.arange(25), method=method, n_resamples=300)
    np.testing.assert_allclose([chunked.low[::-1], chunked.high[::-1]], [whole.low, whole.high], rtol=1e-12)


def test_a_cell_without_variance_has_no_interval_and_leaves_the_others_alone() -> None:
    values = SKEWED.copy()
    values[:, 1] = 0.1  # no exact binary fraction
    found = mean_interval(values, np.arange(25), n_resamples=300)
    assert np.isnan(found.low).tolist() == np.isnan(found.high).tolist() == [False, True, False]
    assert found.mean[1] == pytest.approx(0.1)


@given(right=st.integers(0, 30), n=st.integers(5, 30))
@settings(max_examples=60, deadline=None)
def test_shares_of_single_answers_have_statsmodels_wilson_interval(right: int, n: int) -> None:
    right = min(right, n)
    found = share_interval((np.arange(n)[:, None] < right).astype(float), np.arange(n))
    low, high = proportion_confint(right, n, method="wilson")
    assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=1e-9)


def test_shares_clustered_by_instance_are_as_sure_as_their_instances() -> None:
    answers = (np.arange(20)[:, None] < 8).astype(float)
    alone = share_interval(answers, np.arange(20))
    copies = share_interval(np.repeat(answers, 6, axis=0), np.repeat(np.arange(20), 6))
    width, copied = alone.high - alone.low, copies.high - copies.low
    assert width < copied < 1.15 * width  # a little more, for t instead of z
    free = share_interval(np.tile(answers, (6, 1)), np.repeat(np.arange(20), 6))  # answers differ inside an instance
    assert free.high - free.low < copied


def test_intervals_of_a_sweep_are_labelled_and_record_their_making() -> None:
    real, control = stats.simulate(n_instances=12, languages=["es", "sw"], n_layers=3, control=True)
    found = stats.cell_intervals(real, control, n_resamples=200, seed=4)
    assert found["mean"].dims == ("direction", "module", "source_layer", "target_layer")
    assert found["direction"].values.tolist() == ["en->es", "en->sw"]
    chosen = real["target_lang"].values == "sw"
    expected = (real["gain"].values - control["gain"].values)[chosen].mean(0)
    np.testing.assert_allclose(found["mean"].sel(direction="en->sw"), expected, atol=1e-6)
    assert ((found["low"] < found["mean"]) & (found["mean"] < found["high"])).all()
    assert found["n"].values.tolist() == [12, 12]
    assert {name: found.attrs[name] for name in ("seed", "method", "against", "results_seed")} == {
        "seed": 4, "method": "studentised", "against": "simulated control", "results_seed": 0,
    }  # fmt: skip
    pooled = stats.cell_intervals(real, control, by=None, n_resamples=200)
    assert (pooled["n"].item(), pooled["n_instances"].item()) == (24, 12)
    again = stats.cell_intervals(real, control, n_resamples=200, seed=4)
    assert again.equals(found)
    assert not stats.cell_intervals(real, control, n_resamples=200, seed=5).equals(found)


def test_too_few_instances_resamples_or_levels_are_refused() -> None:
    with pytest.raises(InputError, match="4 instances are too few"):
        mean_interval(np.ones((4, 1)), np.arange(4))
    with pytest.raises(InputError, match="at least 100"):
        mean_interval(SKEWED, np.arange(25), n_resamples=10)
    with pytest.raises(InputError, match="between 0 and 1"):
        mean_interval(SKEWED, np.arange(25), confidence=95.0)
    with pytest.raises(InputError, match="bca"):
        mean_interval(SKEWED, np.arange(25), method="bcaa")
