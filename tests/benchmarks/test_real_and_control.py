"""Real maps and their control side by side are what they are one after the other."""

from __future__ import annotations

import numpy as np
from real_and_control import rounds

import xtl

CELLS = {"source_layers": "0-2", "target_layers": "1,3"}


def test_they_equal_a_sweep_and_a_control_of_their_own(tiny_model):
    model = tiny_model("llama")
    by_language = [xtl.get_task("capitals").pairs("en", language, limit=3) for language in ("es", "de")]
    pairs = [pair for of_language in zip(*by_language, strict=True) for pair in of_language]
    found = list(rounds(model, by_language, **CELLS))
    assert [len(maps["real"]) for maps in found] == [2, 2, 2]
    real = xtl.concat_maps([one for maps in found for one in maps["real"]])
    control = xtl.concat_maps([one for maps in found for one in maps["control"]])
    assert np.allclose(real.score, xtl.concat_maps(xtl.sweep_many(model, pairs, **CELLS)).score, atol=1e-5)
    grouped = [pair for of_language in by_language for pair in of_language]
    chance = xtl.concat_maps(xtl.controls.run(model, grouped, "shuffled_source", **CELLS))
    place = [grouped.index(pair) for pair in pairs]
    assert np.allclose(control.score, chance.score.isel(example=place), atol=1e-5)
    assert control.attrs["control"] == "shuffled_source"
    assert not np.allclose(control.score, real.score, atol=1e-3)
