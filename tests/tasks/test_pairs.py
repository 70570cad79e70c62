"""The shares of a pair's `distribution`: what counts as one."""

from fractions import Fraction

import numpy as np
import pytest

from xtl.errors import InputError
from xtl.pairs import ParallelPair, is_share


@pytest.mark.parametrize("shares", [(0.5, float("nan")), (float("inf"), 0.0), (-0.5, 1.5), (0.0, 0.0), (60.0, 40.0)])
def test_a_distribution_is_shares_that_add_up_to_one(shares):
    with pytest.raises(InputError, match="distribution must be shares that add up to 1, got"):
        ParallelPair("a", "b", options=(" x", " y"), gold=0, distribution=shares)


def test_a_share_is_any_kind_of_number_from_0_to_1():
    assert all(is_share(value) for value in (0, 1, 0.25, np.float32(0.25), np.int64(1), Fraction(1, 3)))
    assert not any(is_share(value) for value in (10**400, -(10**400), "a", "0.5", None, True, np.bool_(True), 1j, [1]))
