"""Each selector against a plain account of what it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.special import log_softmax

from xtl import selectors, stats
from xtl.errors import InputError
from xtl.selectors.aligned import AlignedLayers, aligned_layers
from xtl.selectors.base import VANILLA, margin, passes
from xtl.selectors.confidence import Calibrated, Confidence
from xtl.selectors.contrast import Contrast, ContrastPool, VanillaContrast
from xtl.selectors.fixed import Fixed, SourceAnswer, Vanilla
from xtl.selectors.headroom import headroom, lucky, share
from xtl.selectors.inside import LensConfidence, StateVerifier
from xtl.selectors.judge import fitted
from xtl.selectors.learned import Router
from xtl.selectors.maps import Development, read_maps
from xtl.selectors.votes import Pool, Vote, VoteOfBest, _loss
from xtl.selectors.wrappers import Corrected, Gate, Smoothed

REAL, CONTROLS = selectors.simulate(n_questions=30, n_layers=3, planted={("attn", 1, 2): 2.0})
WORLD = read_maps(REAL, CONTROLS)
N = WORLD.maps.n


def test_baselines_are_what_the_results_say() -> None:
    right = WORLD.vanilla_correct
    assert (fitted(Vanilla(), WORLD).choose(WORLD.maps).cells == VANILLA).all()
    np.testing.assert_array_equal(WORLD.maps.vanilla.argmax(-1) == WORLD.gold, right)
    answers = SourceAnswer().choose(WORLD.maps).options
    np.testing.assert_array_equal(answers == WORLD.gold, REAL["source_correct"].values)


@pytest.mark.parametrize("strategy", stats.selection.STRATEGIES)
def test_the_fixed_cell_is_that_of_the_statistics(strategy: str) -> None:
    cell = stats.select_cell(REAL, strategy=strategy)
    found = fitted(Fixed(strategy), WORLD).cell  # type: ignore[attr-defined]
    assert found == 3 * cell.source_layer + cell.target_layer


def test_confidence_takes_the_surest_cell() -> None:
    chosen = Confidence("probability").choose(WORLD.maps).cells
    for example in range(N):
        cells = WORLD.maps.logprob[example].max(-1)
        assert cells[chosen[example]] == cells.max()
    assert (Confidence("margin").choose(WORLD.maps).cells == margin(WORLD.maps.logprob).argmax(1)).all()


def test_calibration_takes_off_what_a_place_has_everywhere() -> None:
    tilt = np.array([5.0, 0.0, 0.0, 0.0], "float32")
    plain = fitted(Calibrated(), WORLD).choose(WORLD.maps).options
    tilted = log_softmax(WORLD.maps.logprob + tilt, axis=-1)
    world = replace(WORLD, maps=replace(WORLD.maps, logprob=tilted))
    again = fitted(Calibrated(), world).choose(world.maps).options
    assert (plain == again).mean() > 0.8
    assert (world.maps.logprob.argmax(-1) == 0).mean() > 0.9


def test_votes_equal_a_plain_count() -> None:
    chosen = Vote().choose(WORLD.maps).options
    for example in range(N):
        counts = np.bincount(WORLD.maps.logprob[example].argmax(-1), minlength=4)
        assert counts[chosen[example]] == counts.max()
    one = fitted(VoteOfBest(1), WORLD).choose(WORLD.maps).options
    np.testing.assert_array_equal(one, WORLD.maps.logprob[:, WORLD.best_cells(1)[0]].argmax(-1))


def test_contrast_is_zero_where_real_and_control_agree() -> None:
    same = replace(WORLD, maps=replace(WORLD.maps, controls=WORLD.maps.logprob[None]))
    chosen = fitted(Contrast(best=3, vanilla=1.0), same).choose(same.maps).options
    np.testing.assert_array_equal(chosen, WORLD.maps.vanilla.argmax(-1))


def test_habit_is_taken_from_vanilla_without_any_source() -> None:
    found = fitted(VanillaContrast(best=2), WORLD)
    habit = WORLD.maps.controls[:, :, found.cells].mean((0, 2))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found.choose(WORLD.maps).options, (WORLD.maps.vanilla - habit).argmax(-1))
    other = replace(WORLD.maps, logprob=WORLD.maps.logprob[::-1])
    np.testing.assert_array_equal(found.choose(other).options, found.choose(WORLD.maps).options)


def test_a_pool_with_controls_takes_them_off_and_weighs_them_at_least_at_zero() -> None:
    pool = fitted(ContrastPool(best=3), WORLD)
    assert pool.weights.shape == (1 + 3 + 3,)  # type: ignore[attr-defined]
    assert (pool.weights >= 0).all()  # type: ignore[attr-defined]
    parts = pool._parts(WORLD.maps)  # type: ignore[attr-defined]
    np.testing.assert_allclose(parts[:, 4:], -WORLD.maps.controls.mean(0)[:, pool.habits], rtol=1e-6)  # type: ignore[attr-defined]


def test_a_tilt_that_real_and_control_share_is_seen_through_by_contrasts() -> None:
    """Cells that like the first option whatever is asked: their contrast doesn't."""
    tilt = np.array([9.0, 0, 0, 0], "float32")
    maps = replace(
        WORLD.maps,
        logprob=log_softmax(WORLD.maps.logprob + tilt, axis=-1),
        controls=log_softmax(WORLD.maps.controls + tilt, axis=-1),
    )
    world = replace(WORLD, maps=maps)
    assert (maps.logprob.argmax(-1) == 0).mean() > 0.95
    right = (fitted(Contrast(best=1), world).choose(maps).options == WORLD.gold).mean()
    assert right == pytest.approx((fitted(Contrast(best=1), WORLD).choose(WORLD.maps).options == WORLD.gold).mean())


def test_the_pool_s_weights_are_at_least_zero_and_its_gradient_is_that_of_its_loss() -> None:
    pool = fitted(Pool(best=5), WORLD)
    assert (pool.weights >= 0).all()  # type: ignore[attr-defined]
    parts = pool._parts(WORLD.maps)  # type: ignore[attr-defined]
    weights = np.linspace(0.1, 0.6, 6)
    value, gradient = _loss(weights, parts, WORLD.gold, 0.01)
    for k in range(6):
        step = 1e-6 * (np.arange(6) == k)
        up, down = (_loss(weights + sign * step, parts, WORLD.gold, 0.01)[0] for sign in (1, -1))
        assert (up - down) / 2e-6 == pytest.approx(gradient[k], abs=1e-5)
    assert value > _loss(pool.weights, parts, WORLD.gold, 0.01)[0]  # type: ignore[attr-defined]


def test_a_gate_that_asks_always_is_its_inner_one_and_one_that_never_does_is_vanilla() -> None:
    always = fitted(Gate(Fixed(), 1.0), WORLD).choose(WORLD.maps)
    np.testing.assert_array_equal(always.cells, fitted(Fixed(), WORLD).choose(WORLD.maps).cells)
    half = fitted(Gate(Contrast(), 0.5), WORLD).choose(WORLD.maps)
    sure = margin(WORLD.maps.vanilla) > np.median(margin(WORLD.maps.vanilla))
    assert half.options is not None
    np.testing.assert_array_equal(half.options[sure], WORLD.maps.vanilla.argmax(-1)[sure])
    assert (half.passes[sure] == 1).all()
    assert (half.passes[~sure] > 2).all()


def test_a_narrow_smoothing_changes_nothing_and_a_wide_one_flattens_the_map() -> None:
    plain = fitted(Contrast(best=3), WORLD).choose(WORLD.maps).options
    narrow = fitted(Smoothed(Contrast(best=3), 0.01), WORLD).choose(WORLD.maps).options
    np.testing.assert_array_equal(plain, narrow)
    smoothed = Smoothed(Fixed(), 50.0)._smooth(WORLD.labels, WORLD.maps)
    assert np.ptp(smoothed, axis=1).max() < 0.05


def test_correction_passes_over_a_cell_that_the_control_makes_right_as_well() -> None:
    labels, control = np.zeros((N, 9)), np.zeros((1, N, 9))
    labels[:, 4], labels[: N // 2, 7] = 1, 1
    control[0, :, 4] = 1
    world = replace(WORLD, labels=labels, control_correct=control)
    assert fitted(Fixed(), world).cell == 4  # type: ignore[attr-defined]
    assert fitted(Corrected(Fixed()), world).inner.cell == 7  # type: ignore[attr-defined]


def test_a_router_of_rank_zero_takes_the_cell_with_the_largest_mean_gain() -> None:
    cells = fitted(Router(rank=0), WORLD).choose(WORLD.maps).cells
    assert set(cells) == {WORLD.labels.mean(0).argmax()}


def test_a_router_sends_each_language_to_its_cell() -> None:
    first = WORLD.maps.languages == "es"
    labels = np.zeros((N, 9))
    labels[first, 2], labels[~first, 6] = 1, 1
    world = replace(WORLD, labels=labels, vanilla_correct=np.full(N, 0.5))
    cells = fitted(Router(rank=2, ridge=1.0), world).choose(world.maps).cells
    assert (cells == np.where(first, 2, 6)).all()


def test_layers_of_two_curves() -> None:
    layers = {"module": ["attn", "mlp"], "layer": range(4)}
    alignment = xr.Dataset({"retrieval": (("direction", "module", "layer"), [[[0.9, 0.9, 0.5, 0.1], [0, 0, 0, 1.0]]])},
                           {"direction": ["en->es"], **layers})  # fmt: skip
    probes = xr.Dataset({"accuracy": (("label", "module", "layer"), [[[0.1, 0.9, 0.9, 1.0], [1.0, 1, 1, 1]]])},
                        {"label": ["language"], **layers})  # fmt: skip
    assert aligned_layers(alignment, count=2) == (0, 1)
    assert aligned_layers(alignment, probes, count=2) == (1, 2)
    with pytest.raises(InputError, match="xtl analyse alignment"):
        aligned_layers(xr.Dataset())
    chosen = AlignedLayers((1,)).choose(WORLD.maps).options
    contrast = (WORLD.maps.logprob - WORLD.maps.controls.mean(0))[:, 3:6].mean(1)
    np.testing.assert_array_equal(chosen, contrast.argmax(-1))
    assert AlignedLayers((7,)).lacks(WORLD.maps) == "cells of source layers 7"


def test_headroom_counts_what_neither_vanilla_nor_luck_solves() -> None:
    wrong, luck, solved = 1 - WORLD.vanilla_correct, lucky(WORLD), WORLD.labels.max(1)
    left = (wrong * (1 - luck)).mean()
    expected = wrong.mean() * (wrong * (solved - luck)).mean() / left
    assert headroom(WORLD).mean() == pytest.approx(expected)


def test_the_share_s_interval_covers_the_truth_and_is_none_without_headroom() -> None:
    covered, rng = [], np.random.default_rng(0)
    for _ in range(300):
        room = rng.normal(0.2, 0.5, 60)
        gain = 0.4 * room + rng.normal(0, 0.3, 60)
        _, low, high = share(gain, room, np.arange(60))
        covered.append(low < 0.4 < high)
    known = [one for one in covered if one is not None]
    assert np.mean(known) > 0.7
    assert np.isnan(share(rng.normal(0, 1, 60), rng.normal(0, 1, 60) - 0.2, np.arange(60))).all()


def test_passes_count_prompts_and_cells() -> None:
    assert passes(0) == 1
    assert passes(1) == 2
    assert passes(648) == pytest.approx(5.6, abs=0.1)
    assert passes(100, 3) > passes(100) + 3


def with_inside(world: Development, lens: np.ndarray, states: np.ndarray) -> Development:
    """The same in the real run and in each control."""
    runs = 1 + len(world.maps.controls)
    return replace(world, maps=replace(world.maps, lens=np.stack([lens] * runs), states=np.stack([states] * runs)))


def test_the_lens_decides_which_cell_is_sure_and_the_cell_says_the_answer() -> None:
    sure = np.arange(N) % WORLD.maps.n_cells
    lens = np.full(WORLD.maps.logprob.shape, -np.log(4.0), "float32")
    lens[np.arange(N), sure] = log_softmax(np.array([[0.0, 3.0, 0.0, 0.0]], "float32"), axis=-1)[0]
    world = with_inside(WORLD, lens, np.zeros((N, WORLD.maps.n_cells, 2), "float32"))
    assert (LensConfidence().choose(world.maps).cells == sure).all()
    assert "--details lens" in LensConfidence().lacks(WORLD.maps)
    assert LensConfidence().lacks(world.take(np.arange(5)).as_control().maps) == ""


def test_a_state_that_tells_right_from_wrong_is_read() -> None:
    """One direction of the residual stream says whether the cell is right: where any is, its answer is taken."""
    states = np.random.default_rng(0).normal(size=(N, WORLD.maps.n_cells, 8)).astype("float32")
    states[..., 3] += 6 * WORLD.labels
    world = with_inside(WORLD, WORLD.maps.logprob, states)
    half = np.arange(N) < N // 2
    chosen = (
        fitted(StateVerifier(), world.take(np.flatnonzero(half))).choose(world.maps.take(np.flatnonzero(~half))).options
    )
    right = chosen == world.gold[~half]
    assert right[world.labels[~half].any(1)].mean() > 0.95
    assert "--details state" in StateVerifier().lacks(WORLD.maps)
