"""On maps without effect the rate of false alarms stays at 5% after correction, over 50 maps; planted effects are found.

Rates are held against the 99.9% point of a binomial distribution: with 50 maps, 9 false alarms are refused.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from xtl import stats
from xtl.stats.corrections import adjust_fdr
from xtl.stats.examples import split_groups
from xtl.stats.paired_tests import mcnemar, sign_flips
from xtl.stats.seeds import check_seeds
from xtl.stats.simulation import swap_labels

pytestmark = pytest.mark.slow("hundreds of simulated maps")
MAPS = 50
N = 20
ALLOWED = int(scipy_stats.binom.ppf(0.999, MAPS, 0.05))
CASES = {
    "heavy tails, alike cells, against control": ({"shape": "heavy"}, "gain", True),
    "skewed, independent cells, against control": ({"shape": "skewed", "smoothness": 0.0}, "gain", True),
    "many ties, against vanilla": ({"shape": "heavy", "ties": 0.6}, "gain", False),
    "right answers, against control": ({"shape": "heavy"}, "accuracy", True),
    "two languages, against control": ({"languages": ["es", "sw"]}, "gain", True),
}


@pytest.mark.parametrize("case", CASES)
def test_maps_without_effect_raise_no_more_than_five_per_cent_false_alarms(case: str) -> None:
    arguments, measure, with_control = CASES[case]
    hits = {"uncorrected": 0, "max": 0, "fdr": 0, "mcnemar": 0}
    for seed in check_seeds(seeds=range(MAPS)):
        runs = stats.simulate(n_instances=N, n_layers=5, control=True, seed=seed, **arguments)  # type: ignore[call-overload]
        (group,) = split_groups(runs[0], runs[1] if with_control else None, by=None, measures=(measure,))
        differences = group.differences(measure)
        sums = np.stack([differences[group.clusters == k].sum(0) for k in range(N)])
        found = sign_flips(sums, n_resamples=2000, seed=seed)
        hits["uncorrected"] += bool((found.p <= 0.05).any())
        hits["max"] += bool((found.p_max <= 0.05).any())
        hits["fdr"] += bool((adjust_fdr(found.p) <= 0.05).any())
        if measure == "accuracy":
            p = mcnemar(differences > 0, differences < 0)
            hits["mcnemar"] += bool((adjust_fdr(p) <= 0.05).any())
    assert max(hits["max"], hits["fdr"], hits["mcnemar"]) <= ALLOWED, hits
    # What the correction is for; few values of a share of right answers use up less of the level.
    assert hits["uncorrected"] > (3 * ALLOWED if measure == "gain" else 0.1 * MAPS), hits


def test_swapped_labels_leave_no_effect_whatever_was_there() -> None:
    pair = stats.simulate(n_instances=N, n_layers=5, planted={("attn", 2, 2): 3.0}, control=True)
    hits = 0
    for seed in range(MAPS):
        first, second = swap_labels(*pair, seed=seed)
        differences = (first["gain"].values - second["gain"].values).astype("float64").reshape(N, -1)
        hits += bool((sign_flips(differences, n_resamples=1000, seed=seed).p_max <= 0.05).any())
    assert 0 < hits <= ALLOWED


def test_single_tests_use_up_their_level() -> None:
    """A test that never rejects would pass all of the above."""
    noise = [np.random.default_rng(seed).standard_t(4, (N, 1000)) for seed in range(30)]
    p = np.concatenate([sign_flips(values, n_resamples=500, seed=seed).p for seed, values in enumerate(noise)])
    assert 0.045 < (p <= 0.05).mean() < 0.055
    assert 0.48 < (p <= 0.5).mean() < 0.52


def test_the_false_discovery_rate_among_planted_effects_stays_below_five_per_cent() -> None:
    planted = {("attn", i, j): 1.2 for i in range(3) for j in range(3)}
    proportions, found = [], []
    for seed in range(MAPS):
        pair = stats.simulate(n_instances=N, n_layers=5, planted=planted, control=True, seed=seed)
        (group,) = split_groups(*pair, by=None)
        hit = adjust_fdr(sign_flips(group.differences("gain"), n_resamples=4000, seed=seed).p) <= 0.05
        truth = np.zeros((2, 5, 5), dtype=bool)
        truth[0, :3, :3] = True
        proportions.append((hit & ~truth.ravel()).sum() / max(hit.sum(), 1))
        found.append(hit[truth.ravel()].mean())
    error = np.std(proportions) / np.sqrt(MAPS)
    assert np.mean(proportions) <= 0.05 + 3 * error
    assert np.mean(found) > 0.3


@pytest.mark.parametrize(("lift", "least"), [(1.0, 0.35), (1.5, 0.85), (2.0, 0.97)])
def test_the_power_to_find_a_planted_cell(lift: float, least: float) -> None:
    """30 instances, 128 cells, one of which gains `lift` times the noise's standard deviation (heavy tails)."""
    hits = 0
    for seed in range(MAPS):
        pair = stats.simulate(n_instances=30, n_layers=8, planted={("attn", 3, 4): lift}, control=True, seed=seed)
        (group,) = split_groups(*pair, by=None)
        found = sign_flips(group.differences("gain"), n_resamples=1000, seed=seed)
        hits += found.p_max.reshape(2, 8, 8)[0, 3, 4] <= 0.05
    assert hits / MAPS >= least
