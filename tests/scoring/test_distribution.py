from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtl.errors import InputError
from xtl.scoring.distribution import option_shares, similarity

SHARES = st.lists(st.floats(0.001, 1), min_size=4, max_size=4).map(lambda some: [x / math.fsum(some) for x in some])


def by_hand(model: list[float], people: list[float]) -> float:
    """1 - sqrt of the divergence, written out."""
    middle = [(p + q) / 2 for p, q in zip(model, people, strict=True)]
    divergence = 0.0
    for side in (model, people):
        divergence += sum(p * math.log2(p / m) for p, m in zip(side, middle, strict=True) if p) / 2
    return 1 - math.sqrt(max(divergence, 0))


@given(SHARES, SHARES, st.floats(-50, 50))
def test_it_is_the_formula_whatever_the_scale_of_the_probabilities(model, people, shift: float) -> None:
    found = similarity(np.log(np.array(model)) + shift, people)
    assert found.shape == ()
    assert float(found) == pytest.approx(by_hand(model, people), abs=1e-6)
    assert 0 <= float(found) <= 1


@given(SHARES)
def test_the_same_distribution_is_1(people: list[float]) -> None:
    assert float(similarity(np.log(np.array(people)), people)) == pytest.approx(1, abs=1e-6)


def test_no_option_in_common_is_0() -> None:
    assert float(similarity(np.array([0.0, -np.inf]), [0.0, 1.0])) == pytest.approx(0)


@given(SHARES, SHARES, st.permutations(range(4)))
def test_the_order_of_options_does_not_matter(model, people, order) -> None:
    one = similarity(np.log(np.array(model)), people)
    other = similarity(np.log(np.array(model))[order], [people[k] for k in order])
    assert float(one) == pytest.approx(float(other), abs=1e-6)


def test_a_whole_map_is_its_cells() -> None:
    logprobs = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
    found = similarity(logprobs, [0.1, 0.2, 0.3, 0.4])
    assert found.shape == (2, 3, 3)
    for cell in np.ndindex(2, 3, 3):
        assert found[cell] == pytest.approx(float(similarity(logprobs[cell], [0.1, 0.2, 0.3, 0.4])))
    assert np.allclose(option_shares(logprobs).sum(axis=-1), 1)


@pytest.mark.parametrize(
    ("logprobs", "people", "message"),
    [
        ([0.0, 0.0], [1.0], "1 shares for 2 options"),
        ([0.0, 0.0], [1.5, -0.5], "at least 0"),
        ([0.0, 0.0], [0.0, 0.0], "add up to 0"),
        ([0.0, 0.0], [np.nan, 1.0], "at least 0"),
        ([np.nan, 0.0], [0.5, 0.5], "must not be NaN"),
        ([-np.inf, -np.inf], [0.5, 0.5], "at least one option"),
    ],
)
def test_bad_input(logprobs, people, message: str) -> None:
    with pytest.raises(InputError, match=message):
        similarity(np.array(logprobs), people)
