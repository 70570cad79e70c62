"""Features of the vanilla run: read at the last position, the same whichever prompts stand beside."""

from __future__ import annotations

import numpy as np
import pytest

import xtl
from xtl import selectors
from xtl.errors import InputError
from xtl.selectors.learned import Router


def pairs_of(n: int) -> list[xtl.ParallelPair]:
    return [
        xtl.ParallelPair(
            f"The capital of country {k} is", f"La capital del país {k} es", "en", "es", options=(" a", " b"), gold=0
        )
        for k in range(n)
    ]


def test_features_are_components_of_what_the_model_holds(tiny_model) -> None:  # type: ignore[no-untyped-def]
    model, pairs = tiny_model(), pairs_of(6)
    found = selectors.question_features(model, pairs, layer=1, components=3)
    assert found.dims == ("example", "feature")
    assert found.shape == (6, 7)
    assert (np.abs(found.values[:, -1]) <= 1 + 1e-9).all()
    np.testing.assert_allclose(found.values[:, :6].mean(0), 0, atol=1e-6)
    again = selectors.question_features(model, pairs[::-1], layer=-model.cfg.n_layers + 1, components=3)
    np.testing.assert_allclose(again.values[::-1, -1], found.values[:, -1], atol=1e-6)
    with pytest.raises(InputError, match="layer 99 is out of range"):
        selectors.question_features(model, pairs, layer=99)


def test_a_router_with_a_feature_that_tells_the_cell_finds_it() -> None:
    real, _ = selectors.simulate(n_questions=40, n_layers=2, knowing=8.0, languages=("es",))
    best = real["option_logprob"].values.max(-1).reshape(40, -1).argmax(1)
    features = real["vanilla_score"].rename(None).expand_dims(feature=4).transpose("example", ...).copy() * 0
    features.values[:] = np.eye(4)[best]
    table, told = (
        selectors.evaluate(real, [], [Router(rank=4)], nulls=False, n_splits=2, features=one)
        for one in (None, features)
    )
    assert told.loc["router", "accuracy"] > table.loc["router", "accuracy"] + 0.3
