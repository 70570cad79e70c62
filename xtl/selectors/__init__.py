"""Choose the cell without knowing the answer.

The paper's upper bound picks, for every instance, the best of up to 2,048 transplants with the gold answer in hand. A *selector*
learns on some questions and chooses for others, whose answers it is not given: a cell, or an answer. `evaluate` says how much of
the bound that gets, held out, beside what luck gets and with two nulls; docs/choosing-a-cell.md tells what came of it.

A selector is a small class (`xtl.selectors.base`): `fit(development)` and `choose(maps)`. What `choose` is given has no gold
option, no score and no right answers (`xtl.selectors.maps.MapView`).

>>> from xtl import selectors
>>> real, controls = selectors.simulate(planted={("attn", 1, 2): 3.0})
>>> table = selectors.evaluate(real, controls, ["vote", "vote_best"], n_splits=5)
>>> table.loc[["vanilla", "vote", "vote_best"], "accuracy"].round(2).tolist()
[0.36, 0.32, 0.95]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtl.packages import lazily

if TYPE_CHECKING:
    from xtl.selectors.activations import question_features
    from xtl.selectors.base import Choice, Selector
    from xtl.selectors.maps import Development, MapView, read_maps
    from xtl.selectors.registry import SELECTORS, get_selectors
    from xtl.selectors.simulation import simulate
    from xtl.selectors.table import evaluate

__all__ = [
    "SELECTORS",
    "Choice",
    "Development",
    "MapView",
    "Selector",
    "evaluate",
    "get_selectors",
    "question_features",
    "read_maps",
    "simulate",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Choice": "xtl.selectors.base",
        "Development": "xtl.selectors.maps",
        "MapView": "xtl.selectors.maps",
        "SELECTORS": "xtl.selectors.registry",
        "Selector": "xtl.selectors.base",
        "evaluate": "xtl.selectors.table",
        "get_selectors": "xtl.selectors.registry",
        "question_features": "xtl.selectors.activations",
        "read_maps": "xtl.selectors.maps",
        "simulate": "xtl.selectors.simulation",
    },
)
