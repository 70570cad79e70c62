"""Tests, corrections and effect sizes against scipy and statsmodels; laws of order, sign and clusters."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests

from xtl import stats
from xtl.stats.corrections import adjust_fdr, adjust_max
from xtl.stats.effects import cohens_d, hedges_g, odds_ratio
from xtl.stats.paired_tests import ALTERNATIVES, mcnemar, sign_flips

RNG = np.random.default_rng(11)
SUMS = RNG.standard_t(3, (9, 4)) + np.array([0, 0.5, 1, 2])


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_exact_sign_flips_equal_scipys_permutation_test(alternative: str) -> None:
    ours = sign_flips(SUMS, alternative=alternative)
    assert ours.exact
    assert ours.n_resamples == 512
    for cell in range(4):
        theirs = scipy_stats.permutation_test(
            (SUMS[:, cell],), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf
        )
        assert ours.p[cell] == pytest.approx(theirs.pvalue)


def test_the_order_of_flips_by_sum_is_that_of_t_statistics() -> None:
    values = RNG.normal(0.3, 1, (20, 2)) * [1, 50]
    ours = sign_flips(values, n_resamples=4000)
    rng = np.random.default_rng(0)
    largest = []
    for _ in range(2000):
        flipped = values * rng.choice([-1, 1], 20)[:, None]
        largest.append(np.abs(scipy_stats.ttest_1samp(flipped, 0).statistic).max())
    observed = np.abs(scipy_stats.ttest_1samp(values, 0).statistic)
    expected = [(np.array(largest) >= t).mean() for t in observed]
    np.testing.assert_allclose(ours.p_max, expected, atol=0.04)


@given(n=st.integers(5, 12), cells=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_laws_of_sign_flips(n: int, cells: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-3, 4, (n, cells)).astype(float)  # many ties
    found = sign_flips(values)
    assert ((found.p > 0) & (found.p <= found.p_max + 1e-12) & (found.p_max <= 1)).all()
    assert (found.p[~values.any(0)] == 1).all()
    negated = sign_flips(-values)
    np.testing.assert_array_equal(negated.p, found.p)
    greater, less = sign_flips(values, alternative="greater"), sign_flips(-values, alternative="less")
    np.testing.assert_array_equal(greater.p, less.p)
    order = rng.permutation(cells)
    mixed = sign_flips(values[rng.permutation(n)][:, order] * rng.uniform(0.1, 9, cells))
    np.testing.assert_allclose(mixed.p, found.p[order])
    np.testing.assert_allclose(mixed.p_max, found.p_max[order])


def test_copies_of_an_instance_are_flipped_together() -> None:
    real, control = stats.simulate(n_instances=9, n_layers=2, planted={("attn", 0, 0): 1.0}, control=True)
    both = [
        xr.concat([one, one.assign_coords(target_lang=("example", ["fr"] * 9))], dim="example", data_vars="minimal",
                  coords="minimal", compat="override", join="override")
        for one in (real, control)
    ]  # fmt: skip
    alone, together = stats.significance(real, control), stats.significance(*both, by=None)
    assert together["n"].item() == 18
    for name in ("p", "p_max", "p_sign", "p_sign_max", "cohens_d"):
        np.testing.assert_allclose(together[name][0], alone[name][0])


@given(gained=st.integers(0, 12), lost=st.integers(0, 12), same=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_mcnemar_equals_statsmodels(gained: int, lost: int, same: int) -> None:
    after = np.array([True] * gained + [False] * lost + [True] * (same + 1))[:, None]
    before = np.array([False] * gained + [True] * lost + [True] * (same + 1))[:, None]
    if gained + lost == 0:
        assert mcnemar(after, before).tolist() == [1.0]
        return
    theirs = their_mcnemar([[same, gained], [lost, 0]], exact=True).pvalue
    assert mcnemar(after, before)[0] == pytest.approx(min(theirs, 1.0))
    one = scipy_stats.binomtest(gained, gained + lost, alternative="greater").pvalue
    assert mcnemar(after, before, alternative="greater")[0] == pytest.approx(one)
    assert mcnemar(before, after, alternative="less")[0] == pytest.approx(one)


@pytest.mark.parametrize(("ours", "theirs"), [("bh", "fdr_bh"), ("by", "fdr_by")])
def test_false_discovery_correction_equals_statsmodels(ours: str, theirs: str) -> None:
    p = RNG.uniform(0, 1, 50) ** 3
    np.testing.assert_allclose(adjust_fdr(p, dependence=ours), multipletests(p, method=theirs)[1])


def test_largest_statistic_counts_ties_and_itself() -> None:
    assert adjust_max(np.array([2.0, 5.0]), np.array([2.0, 2.0, 1.0])).tolist() == [0.75, 0.25]
    assert adjust_max(np.array([2.0]), np.array([2.0, 1.0]), exact=True).tolist() == [0.5]


def test_effect_sizes_equal_their_formulas() -> None:
    values = RNG.normal(1, 2, (12, 3))
    d = values.mean(0) / values.std(0, ddof=1)
    np.testing.assert_allclose(cohens_d(values, np.arange(12)), d)
    np.testing.assert_allclose(hedges_g(values, np.arange(12)), d * (1 - 3 / (4 * 11 - 1)), rtol=1e-3)
    repeated = cohens_d(np.repeat(values, 3, axis=0), np.repeat(np.arange(12), 3))
    np.testing.assert_allclose(repeated, d)
    assert np.isnan(cohens_d(np.full((6, 1), 0.1), np.arange(6))).all()
    ratio, low, high = odds_ratio(np.array([9, 0, 0]), np.array([3, 0, 4]))
    assert ratio.tolist() == [9.5 / 3.5, 1.0, 0.5 / 4.5]
    exact = scipy_stats.binomtest(9, 12).proportion_ci(method="exact")
    assert (low[0], high[0]) == pytest.approx((exact.low / (1 - exact.low), exact.high / (1 - exact.high)))
    assert (low[1], high[1]) == (0.0, np.inf)


def test_significance_of_a_sweep_finds_what_is_planted_and_says_how() -> None:
    real, control = stats.simulate(n_instances=30, languages=["es", "sw"], planted={("mlp", 4, 1): 2.0}, control=True)
    found = stats.significance(real, control, n_resamples=4000, seed=6)
    hits = found["p_max"] <= 0.05
    assert hits.sel(module="mlp", source_layer=4, target_layer=1).all()
    assert hits.sum() == 2
    assert found.attrs["against"] == "simulated control"
    assert found.attrs["seed"] == 6
    assert (found["p"] <= found["p_fdr"]).all()
    assert (found["p"] >= found["smallest_p"]).all()
    answers = stats.significance(real, control, measure="accuracy", n_resamples=4000)
    cell = answers.sel(direction="en->sw", module="mlp", source_layer=4, target_layer=1)
    assert cell["p_mcnemar"] < 0.01
    assert cell["odds_ratio"] > 3
    pooled = stats.significance(real, control, measure="accuracy", by=None, n_resamples=4000)
    assert pooled["p_mcnemar"].isnull().all()  # McNemar takes answers as independent: languages of one instance are not


def test_by_default_a_lone_cell_can_reach_benjamini_hochberg() -> None:
    pair = stats.simulate(n_instances=20, n_layers=12, planted={("attn", 3, 3): 5.0}, control=True)
    found = stats.significance(*pair)
    assert found["smallest_p"].item() < 0.05 / 288
    assert found["p_fdr"].sel(module="attn", source_layer=3, target_layer=3).item() <= 0.05


def test_five_instances_can_t_be_significant_two_sided_and_the_result_says_so() -> None:
    pair = stats.simulate(n_instances=5, n_layers=2, planted={("attn", 0, 0): 9.0}, control=True)
    found = stats.significance(*pair)
    assert found["smallest_p"].item() == 2 / 32
    assert found["p"].min() == found["p_sign"].min() == 2 / 32


def test_against_vanilla_a_mean_gain_has_no_p_value_but_more_ups_than_downs_have_one() -> None:
    real, control = stats.simulate(n_instances=20, n_layers=3, planted={("attn", 0, 0): 3.0}, control=True)
    alone, against = stats.significance(real), stats.significance(real, control)
    assert alone[["p", "p_fdr", "p_max"]].isnull().all().to_array().all()
    assert "give a control" in alone["reason"].item()
    assert not against["reason"].item()
    assert against["p_max"].notnull().all()
    up, down = (int((sign * real["gain"].values[:, 0, 0, 0] > 0).sum()) for sign in (1, -1))
    assert alone["p_sign"].values[0, 0, 0, 0] == pytest.approx(scipy_stats.binomtest(up, up + down).pvalue)
    assert (alone["p_sign"] <= alone["p_sign_fdr"]).all()
    assert alone["p_sign_max"].values[0, 0, 0, 0] <= 0.05
    taken = stats.significance(real, assume_symmetric=True)
    assert taken["p_max"].notnull().all()
    assert not taken["reason"].item()
    assert taken.attrs["assume_symmetric"]


def test_right_answers_against_vanilla_are_symmetric_one_by_one_but_not_in_clusters() -> None:
    real = stats.simulate(n_instances=12, languages=["es", "sw"], n_layers=2)
    assert stats.significance(real, measure="accuracy", n_resamples=200)["p"].notnull().all()
    pooled = stats.significance(real, measure="accuracy", by=None, n_resamples=200)
    assert pooled["p"].isnull().all()
    assert pooled["p_sign"].notnull().all()


def test_the_sign_test_keeps_its_level_under_any_skew_and_the_mean_s_does_not() -> None:
    """Gains of median 0, alike in neighbouring cells, with a long tail of losses: what the sign flips of the mean can't stand."""
    rng, hits = np.random.default_rng(3), {"signs": 0, "mean": 0}
    for _ in range(100):
        noise = (rng.normal(size=(30, 1)) + rng.normal(size=(30, 40))) / np.sqrt(2)
        gains = 1 - np.exp(1.2 * noise)
        for name, values in (("signs", np.sign(gains)), ("mean", gains)):
            hits[name] += bool((sign_flips(values, n_resamples=500).p_max <= 0.05).any())
    assert hits["signs"] <= scipy_stats.binom.ppf(0.999, 100, 0.05)
    assert hits["mean"] > 30
