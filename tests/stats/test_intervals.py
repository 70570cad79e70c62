"""Intervals against scipy, statsmodels, a plain loop and exact enumeration; laws of scale, order, bounds and clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from xtl import stats
from xtl.errors import InputError
from xtl.stats.intervals import (
    DIFFERENCE,
    METHODS,
    MIN_FOR_MEAN,
    SHARE,
    Interval,
    adjusted,
    mean_interval,
    median_interval,
    share_interval,
)

RNG = np.random.default_rng(7)
N = 30
SKEWED = np.minimum(RNG.lognormal(size=(N, 3)), 20.0)
BOUNDS = {"studentised": None, "adjusted": (0.0, 20.0)}


def interval(method: str, values: np.ndarray, clusters: np.ndarray | None = None) -> Interval:
    clusters = np.arange(len(values)) if clusters is None else clusters
    return mean_interval(values, clusters, bounds=BOUNDS[method], n_resamples=500)


def test_studentised_bootstrap_agrees_with_a_plain_loop() -> None:
    values = SKEWED[:, 0]
    rng = np.random.default_rng(3)
    t = []
    for _ in range(10_000):
        drawn = rng.choice(values, N)
        t.append((drawn.mean() - values.mean()) / (drawn.std(ddof=1) / np.sqrt(N)))
    error, least = values.std(ddof=1) / np.sqrt(N), scipy_stats.t.ppf(0.975, N - 1)
    high, low = np.quantile(t, [0.025, 0.975])
    ours = mean_interval(values[:, None], np.arange(N), n_resamples=10_000)
    assert ours.low[0] == pytest.approx(values.mean() - max(low, least) * error, abs=0.1 * error)
    assert ours.high[0] == pytest.approx(values.mean() - min(high, -least) * error, abs=0.3 * error)  # the long tail


@pytest.mark.parametrize("method", METHODS)
def test_interval_moves_and_grows_with_the_values(method: str) -> None:
    one = interval(method, SKEWED)
    bounds = None if method == "studentised" else (-55.0, 5.0)
    two = mean_interval(-3 * SKEWED + 5, np.arange(N), bounds=bounds, n_resamples=500)
    np.testing.assert_allclose(two.mean, -3 * one.mean + 5)
    np.testing.assert_allclose((two.low - 5) / -3, one.high, rtol=0.02)  # other order statistics at the other end
    np.testing.assert_allclose((two.high - 5) / -3, one.low, rtol=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_copies_of_an_instance_add_no_certainty(method: str) -> None:
    one = interval(method, SKEWED)
    five = interval(method, np.repeat(SKEWED, 5, axis=0), np.repeat(np.arange(N), 5))
    np.testing.assert_allclose([five.mean, five.low, five.high], [one.mean, one.low, one.high])
    careless = interval(method, np.repeat(SKEWED, 5, axis=0))
    assert (careless.high - careless.low < 0.6 * (one.high - one.low)).all()


@pytest.mark.parametrize("method", METHODS)
def test_cells_don_t_depend_on_each_other_or_on_the_chunk(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = interval(method, SKEWED)
    monkeypatch.setattr("xtl.stats.intervals.CHUNK", 300)
    chunked = interval(method, SKEWED[:, ::-1])
    np.testing.assert_allclose([chunked.low[::-1], chunked.high[::-1]], [whole.low, whole.high], rtol=1e-12)


def test_a_cell_without_variance_has_no_interval_and_leaves_the_others_alone() -> None:
    values = SKEWED.copy()
    values[:, 1] = 0.1  # no exact binary fraction
    found = interval("studentised", values)
    assert np.isnan(found.low).tolist() == np.isnan(found.high).tolist() == [False, True, False]
    assert found.mean[1] == pytest.approx(0.1)
    assert np.isfinite(interval("adjusted", values).low).all()  # bounds say how far the unseen can lie


def test_an_unbounded_mean_of_few_instances_is_refused_with_the_reason_and_the_median_is_there() -> None:
    """A tenth of all instances has a large loss: in a sample of 28 it is unseen with more than 5%."""
    assert 0.9**MIN_FOR_MEAN <= 0.05 < 0.9 ** (MIN_FOR_MEAN - 1)
    few = mean_interval(SKEWED[: MIN_FOR_MEAN - 1], np.arange(MIN_FOR_MEAN - 1))
    assert np.isnan([few.low, few.high]).all()
    assert "28 instances are too few" in few.reason
    enough = mean_interval(SKEWED[:MIN_FOR_MEAN], np.arange(MIN_FOR_MEAN), n_resamples=200)
    assert np.isfinite([enough.low, enough.high]).all()
    assert not enough.reason
    languages = np.repeat(np.arange(10), 3)  # 30 examples, but 10 instances
    assert "10 instances are too few" in mean_interval(SKEWED, languages).reason
    assert np.isfinite(median_interval(SKEWED[:8], np.arange(8)).low).all()


def test_intervals_of_gains_know_whether_the_score_has_bounds() -> None:
    nats = stats.simulate(n_instances=12, n_layers=2)
    found = stats.cell_intervals(nats)
    assert found["method"].item() == "studentised"
    assert "too few" in found["reason"].item()
    assert found["low"].isnull().all()
    assert found["median_low"].notnull().all()
    fractions = nats.assign(gain=nats["gain"].clip(-1, 1)).assign_attrs(score_unit="fraction right")
    bounded = stats.cell_intervals(fractions)
    assert (bounded["method"].item(), bounded["reason"].item()) == ("adjusted", "")
    assert ((bounded["low"] <= bounded["mean"]) & (bounded["mean"] <= bounded["high"])).all()
    accuracy = stats.cell_intervals(nats, measure="accuracy")
    assert accuracy["method"].item() == "adjusted"
    assert "median" not in accuracy


@given(n=st.integers(5, 60), cells=st.integers(1, 3), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_median_s_interval_equals_scipys_quantile_test(n: int, cells: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(n, cells))
    found = median_interval(values, np.arange(n))
    for cell in range(cells):
        test = scipy_stats.quantile_test(values[:, cell], q=0, p=0.5, alternative="two-sided")
        theirs = test.confidence_interval(confidence_level=0.95)
        np.testing.assert_allclose([found.low[cell], found.high[cell]], [theirs.low, theirs.high])
    assert bool(found.reason) == (n < 6)


@given(right=st.integers(0, 2000))
@settings(max_examples=30, deadline=None)
def test_many_single_answers_have_statsmodels_agresti_coull_interval(right: int) -> None:
    """With few, ours is the wider one: t for z."""
    for n, tolerance in ((2000, 2e-4), (20, 1.0)):
        right = min(right, n)
        found = share_interval((np.arange(n)[:, None] < right).astype(float), np.arange(n))
        low, high = np.clip(proportion_confint(right, n, method="agresti_coull"), 0, 1)
        assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=tolerance)
        assert found.low[0] <= low + 1e-9
        assert found.high[0] >= high - 1e-9


@pytest.mark.parametrize("n", [10, 20, 50])
def test_shares_are_covered_wherever_they_lie(n: int) -> None:
    """Exactly, by enumeration: for every share from 0.1% to 99.9% at least 94% of samples have it in their 95% interval."""
    right = np.arange(n + 1)
    mean = right / n
    low, high = adjusted(mean, np.sqrt(mean * (1 - mean) / (n - 1)), n, SHARE, 0.95)
    shares = np.linspace(0.001, 0.999, 999)[:, None]
    covered = (scipy_stats.binom.pmf(right, n, shares) * ((low <= shares) & (shares <= high))).sum(1)
    assert covered.min() >= 0.94
    assert covered.mean() < 0.99  # and is no wider than it must be


@pytest.mark.parametrize("n", [10, 20, 50])
def test_paired_differences_of_shares_are_covered_wherever_they_lie(n: int) -> None:
    """Exactly: over all shares of instances gained and lost, near the ceiling and where only one side ever changes."""
    up, down = (side.ravel() for side in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    up, down = up[up + down <= n], down[up + down <= n]
    mean = (up - down) / n
    low, high = adjusted(mean, np.sqrt(((up + down) / n - mean**2) / (n - 1)), n, DIFFERENCE, 0.95)
    some, counts = (
        [0.0, 0.002, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 0.9],
        np.stack([up, down, n - up - down], 1),
    )
    covered = []
    for gained in some:
        for lost in [share for share in some if share + gained <= 1]:
            weights = scipy_stats.multinomial.pmf(counts, n, [gained, lost, max(0.0, 1 - gained - lost)])
            truth = gained - lost
            covered.append((weights * ((low <= truth + 1e-12) & (truth - 1e-12 <= high))).sum())
    assert min(covered) >= 0.935
    assert np.mean(covered) < 0.995


def test_shares_clustered_by_instance_are_as_sure_as_their_instances() -> None:
    answers = (np.arange(20)[:, None] < 8).astype(float)
    alone = share_interval(answers, np.arange(20))
    copies = share_interval(np.repeat(answers, 6, axis=0), np.repeat(np.arange(20), 6))
    np.testing.assert_allclose([copies.low, copies.high], [alone.low, alone.high])
    free = share_interval(np.tile(answers, (6, 1)), np.repeat(np.arange(20), 6))  # answers differ inside an instance
    assert free.high - free.low < copies.high - copies.low


def test_values_outside_their_bounds_are_refused() -> None:
    with pytest.raises(InputError, match="outside their bounds, 0 to 1"):
        share_interval(SKEWED, np.arange(N))
    with pytest.raises(InputError, match="'adjusted' needs the bounds"):
        mean_interval(SKEWED, np.arange(N), method="adjusted")


def test_intervals_of_a_sweep_are_labelled_and_record_their_making() -> None:
    real, control = stats.simulate(n_instances=30, languages=["es", "sw"], n_layers=3, control=True)
    found = stats.cell_intervals(real, control, n_resamples=200, seed=4)
    assert found["mean"].dims == ("direction", "module", "source_layer", "target_layer")
    assert found["direction"].values.tolist() == ["en->es", "en->sw"]
    chosen = real["target_lang"].values == "sw"
    expected = (real["gain"].values - control["gain"].values)[chosen].mean(0)
    np.testing.assert_allclose(found["mean"].sel(direction="en->sw"), expected, atol=1e-6)
    assert ((found["low"] < found["mean"]) & (found["mean"] < found["high"])).all()
    assert found["n"].values.tolist() == [30, 30]
    assert {name: found.attrs[name] for name in ("seed", "measure", "against", "results_seed")} == {
        "seed": 4, "measure": "gain", "against": "simulated control", "results_seed": 0,
    }  # fmt: skip
    pooled = stats.cell_intervals(real, control, by=None, n_resamples=200)
    assert (pooled["n"].item(), pooled["n_instances"].item()) == (60, 30)
    again = stats.cell_intervals(real, control, n_resamples=200, seed=4)
    assert again.equals(found)
    assert not stats.cell_intervals(real, control, n_resamples=200, seed=5).equals(found)


def test_too_few_instances_resamples_or_levels_are_refused() -> None:
    with pytest.raises(InputError, match="4 instances are too few"):
        mean_interval(np.ones((4, 1)), np.arange(4))
    with pytest.raises(InputError, match="at least 100"):
        mean_interval(SKEWED, np.arange(N), n_resamples=10)
    with pytest.raises(InputError, match="between 0 and 1"):
        mean_interval(SKEWED, np.arange(N), confidence=95.0)
    with pytest.raises(InputError, match="studentised"):
        mean_interval(SKEWED, np.arange(N), method="bca")
