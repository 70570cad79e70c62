"""What every selector must obey: it finds what is planted, nothing where there is nothing, and never sees the answer."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import xarray as xr

from xtl import selectors
from xtl.selectors.base import Choice, Selector
from xtl.selectors.fixed import Fixed
from xtl.selectors.judge import fitted, judge, permuted_gold, tuned
from xtl.selectors.maps import Development, MapView, read_maps
from xtl.selectors.registry import SELECTORS
from xtl.selectors.wrappers import Smoothed
from xtl.stats.selection import split_halves

PLANTED = selectors.simulate(n_questions=30, n_layers=3, planted={("attn", 1, 2): 3.0, ("attn", 1, 1): 2.0})
LUCK = selectors.simulate(n_questions=40, n_layers=3)
QUICK = {"n_splits": 2, "seed": 1}
INSIDE = ("lens_confidence", "state_verifier")
"""They need details that simulated maps don't hold; `test_each.py` has them."""
ABLE = [name for name in SELECTORS if name not in INSIDE]
LEARNS_CELLS = [name for name in ABLE if name not in ("confidence", "calibrated", "vote", "smoothed_confidence")]


@pytest.fixture(scope="module")
def planted() -> object:
    return selectors.evaluate(*PLANTED, **QUICK)


def test_selectors_that_learn_find_what_is_planted_and_their_nulls_are_at_zero(planted: object) -> None:
    found = planted.loc[LEARNS_CELLS]  # type: ignore[attr-defined]
    assert (found["gain_low"] > 0).all(), found["gain_low"]
    assert (found["gain"] > 0.25).all(), found["gain"]
    assert (found["shuffled"] < 0.1).all(), found["shuffled"]
    assert (found["permuted"].dropna() < found["gain"] / 2).all(), found["permuted"]  # 2 of 9 cells: a guess may hit
    assert found["permuted"].mean() < 0.06
    assert found["null_holds"].mean() >= 0.8  # each holds in 19 of 20
    assert (found["p_null"].drop("calibrated", errors="ignore").dropna() < 0.05).all()


def test_the_fixed_cell_is_never_better_than_itself_and_the_bound_is_above_all(planted: object) -> None:
    table = planted
    assert np.isnan(table.loc["fixed", "p_fixed"])  # type: ignore[attr-defined]
    judged = table[table["kind"] != "bound"]["accuracy"].dropna()  # type: ignore[index]
    alone = table.loc["source_answer", "accuracy"]  # type: ignore[attr-defined]
    bound = table.loc["upper bound", "accuracy"]  # type: ignore[attr-defined]
    assert (judged.drop("source_answer") <= bound + 1e-9).all()
    assert alone > 0.9


def test_where_all_is_luck_nothing_beats_vanilla() -> None:
    table = selectors.evaluate(*LUCK, nulls=False, **QUICK)
    judged = table.loc[ABLE]
    assert (judged["gain_low"] <= 0).all(), judged["gain_low"]
    assert judged["share"].isna().all()  # no headroom that can be told from 0


def test_a_cell_that_is_sure_when_it_is_right_is_found_by_confidence_and_by_no_fixed_cell() -> None:
    world = selectors.simulate(n_questions=60, n_layers=3, knowing=6.0)
    table = selectors.evaluate(*world, ["confidence", "verifier"], nulls=False, **QUICK)
    assert table.loc["confidence", "accuracy"] > table.loc["fixed", "accuracy"] + 0.3
    assert table.loc["confidence", "p_fixed"] < 0.01
    assert table.loc["verifier", "accuracy"] > table.loc["fixed", "accuracy"] + 0.2


def test_raw_confidence_falls_for_a_loud_cell_and_calibration_does_not() -> None:
    """A cell that is always sure of the same place: the surest of all, and no wiser for it."""
    real, _ = selectors.simulate(n_questions=60, n_layers=3, knowing=4.0)
    cells = real["option_logprob"].values.copy()
    cells[:, 0, 0, 0] = np.log([0.9997, 1e-4, 1e-4, 1e-4])
    real["option_logprob"] = (real["option_logprob"].dims, cells)
    gold = np.array([int(text[-1]) for text in real["gold"].values])
    real["correct"] = (real["correct"].dims, cells.argmax(-1) == gold[:, None, None, None])
    table = selectors.evaluate(real, [], ["confidence", "calibrated"], nulls=False, **QUICK)
    assert table.loc["calibrated", "accuracy"] > table.loc["confidence", "accuracy"] + 0.2


def test_neighbours_that_help_together_are_found_by_smoothing() -> None:
    """A lone cell is best by luck, a block beside it is nearly as good in every cell."""
    world = read_maps(*selectors.simulate(n_questions=40, n_layers=7, n_controls=0))
    labels = np.full((80, 7, 7), 0.3)
    labels[:, 0, 6], labels[:, 3:6, 1:4] = 0.8, 0.7
    world = replace(world, labels=labels.reshape(80, 49))
    assert fitted(Fixed(), world).cell == 6  # type: ignore[attr-defined]
    assert fitted(Smoothed(Fixed(), 1.0), world).inner.cell == 4 * 7 + 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ABLE)
def test_what_choose_gives_does_not_depend_on_golds_that_it_is_not_given(name: str) -> None:
    world = read_maps(*PLANTED)
    learn, test = world.take(np.arange(30)), world.take(np.arange(30, 60))
    one = tuned(SELECTORS[name](), learn, seed=0)
    before = one.choose(test.maps)
    other = test.with_gold((test.gold + 1) % 4)
    after = one.choose(other.maps)
    for field in fields(Choice):
        np.testing.assert_array_equal(getattr(before, field.name), getattr(after, field.name))


def test_a_view_holds_no_answer() -> None:
    names = {one.name for one in fields(MapView)}
    assert not names & {"gold", "labels", "vanilla_correct", "control_correct", "gains", "score", "gain", "correct"}
    view = read_maps(*PLANTED).maps
    assert not any(hasattr(view, name) for name in ("gold", "labels", "gains", "correct"))
    with pytest.raises(AttributeError):
        view.vanilla = np.zeros(1)  # type: ignore[misc]


@dataclass
class Spy(Selector):
    """Notes which questions it learns on and chooses for."""

    name = "spy"
    grid = {"setting": (0, 1)}  # noqa: RUF012
    setting: int = 0
    seen: tuple[list[object], ...] = ()

    def fit(self, development: Development) -> None:
        self.learned = development.maps

    def choose(self, maps: MapView) -> Choice:
        assert not set(self.learned.questions) & set(maps.questions)
        if ACROSS:
            assert not set(self.learned.languages) & set(maps.languages) or len(set(self.learned.languages)) == 1
        CALLS.append(maps.n)
        return Choice.of_cells(np.zeros(maps.n, int), cells=1)


CALLS: list[int] = []
ACROSS: list[str] = []


@pytest.mark.parametrize("across", ["none", "language"])
def test_no_question_is_on_both_sides_of_any_split_or_fold(across: str) -> None:
    CALLS.clear()
    selectors.evaluate(*PLANTED, [Spy()], across=across, nulls=False, n_splits=2)
    parts = 1 if across == "none" else 2
    assert len(CALLS) == 2 * 2 * parts * (
        2 * 3 + 1
    )  # halves both ways; two settings on three folds, and the measurement


def test_across_languages_fits_on_some_and_measures_on_the_others() -> None:
    world = read_maps(*PLANTED)
    halves = split_halves(30, 2, seed=0)
    pairs = []

    @dataclass
    class Noted(Spy):
        def choose(self, maps: MapView) -> Choice:
            pairs.append((set(self.learned.languages), set(maps.languages)))
            return Choice.of_cells(np.zeros(maps.n, int), cells=1)

    apart = (world.maps.languages == "es").astype(int)[None].repeat(2, 0)
    found = judge(replace(Noted(), setting=0), world, world, halves, apart=apart)
    measured = [pair for pair in pairs if len(pair[0]) == 1]
    assert {(*one, *other) for one, other in measured} >= {("es", "sw"), ("sw", "es")}
    np.testing.assert_array_equal(found.right[0][halves[0][world.maps.questions]], 0)


@pytest.mark.parametrize("name", ["contrast", "vote_best", "calibrated", "router", "gate_fixed", "smoothed_contrast"])
def test_order_of_examples_and_of_option_places_changes_nothing(name: str) -> None:
    real, controls = PLANTED
    expected = selectors.evaluate(real, controls, [name], nulls=False, **QUICK)
    order = np.random.default_rng(0).permutation(real.sizes["example"])
    moved = [one.isel(example=order) for one in (real, *controls)]
    places = np.random.default_rng(1).permutation(4)
    turned = [one.isel(option=places).assign_coords(option=range(4)) for one in (real, *controls)]
    texts = np.array([_turned(text, places) for text in real["options"].values], dtype=object)
    turned = [one.assign_coords(options=("example", texts)) for one in turned]
    for several in (moved, turned):
        table = selectors.evaluate(several[0], several[1:], [name], nulls=False, **QUICK)
        assert table.loc[name, "accuracy"] == pytest.approx(expected.loc[name, "accuracy"], abs=1e-9)


def _turned(text: str, places: np.ndarray) -> str:
    import json

    options = json.loads(text)
    return json.dumps([options[k] for k in places])


def test_permuted_golds_are_those_of_other_questions_and_the_same_in_all_languages() -> None:
    world = read_maps(*PLANTED)
    permuted = permuted_gold(world, seed=3)
    assert sorted(permuted) == sorted(world.gold)
    assert (permuted != world.gold).mean() > 0.5
    by_language = [permuted[world.maps.languages == name] for name in ("es", "sw")]
    np.testing.assert_array_equal(*by_language)


def test_the_control_in_the_real_run_s_place_keeps_the_other_controls() -> None:
    world = read_maps(*PLANTED)
    control = world.as_control()
    np.testing.assert_array_equal(control.maps.logprob, world.maps.controls[0])
    np.testing.assert_array_equal(control.maps.controls, world.maps.controls[1:])
    np.testing.assert_array_equal(control.labels, PLANTED[1][0]["correct"].values.reshape(60, -1))
    assert (control.gold == world.gold).all()


def test_unequal_numbers_of_options() -> None:
    """Half of the questions have three options: no selector chooses the fourth."""
    real, controls = (PLANTED[0].copy(), [one.copy() for one in PLANTED[1]])
    gold = np.array([int(text[-1]) for text in real["gold"].values])
    few = (np.arange(60) // 2 % 2 == 0) & (gold < 3)
    cut = []
    for one in (real, *controls):
        keep = xr.DataArray(~few, dims="example") | (one["option"] < 3)
        cells = one["option_logprob"].where(keep)
        cells = cells - np.log(np.exp(cells).sum("option"))
        alone = one["vanilla_option_logprob"].where(keep)
        one = one.assign(option_logprob=cells.transpose(*one["option_logprob"].dims), vanilla_option_logprob=alone)
        best = one["option_logprob"].fillna(-99).argmax("option")
        one["correct"] = best == xr.DataArray(gold, dims="example")
        cut.append(one)
    world = read_maps(cut[0], cut[1:])
    assert (~world.maps.valid).sum() == few.sum()
    for name in ABLE:
        choice = fitted(SELECTORS[name](), world).choose(world.maps)
        if choice.options is not None:
            assert (choice.options[few] < 3).all()
