"""What the explorer shows: the maps of pairs and single cells, each computed once, when it is first looked at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from xtl import plots
from xtl.backend import Model
from xtl.engine import sweep
from xtl.engine.head import Head
from xtl.errors import check_layer, check_whole, known_keywords
from xtl.explorer.cells import CellView, look
from xtl.hooks import get_modules
from xtl.pairs import ParallelPair


class Explored:
    """Maps of pairs and what their cells do, computed when they are first looked at.

    Attributes:
        model: the model.
        pairs: the pairs.
        max_new_tokens: length of answers.
    """

    def __init__(
        self, model: Model, pairs: Sequence[ParallelPair], settings: dict[str, Any], max_new_tokens: int
    ) -> None:
        self.model = model
        self.pairs = list(pairs)
        self.settings = settings
        self.max_new_tokens = max_new_tokens
        self._modules = {module.name: module for module in get_modules(settings["modules"])}
        self._results: dict[int, xr.Dataset] = {}
        self._cells: dict[tuple[int, str, int, int], CellView] = {}

    @property
    def result(self) -> xr.Dataset:
        """The map of the first pair."""
        return self.result_of(0)

    def result_of(self, index: int) -> xr.Dataset:
        """The map of a pair, by its place."""
        index = check_whole("pair", index, 0, len(self.pairs) - 1)
        if index not in self._results:
            pair = self.pairs[index]
            settings = dict(self.settings)
            if not asks(pair):
                settings["max_new_tokens"] = self.max_new_tokens
            self._results[index] = sweep(self.model, pair, **settings)
        return self._results[index]

    def measures(self, index: int = 0) -> dict[str, Float[np.ndarray, "modules sources targets"]]:
        """What the map of a pair can show, by a key of `MEASURES`."""
        result = self.result_of(index)
        found = {}
        if "gain" in result:
            found["gain"] = result["gain"].values.astype("float64")
        if "correct" in result:
            found["correct"] = result["correct"].values.astype("float64") - float(result["vanilla_correct"])
        if "text" in result:
            found["changed"] = (result["text"] != result["vanilla_text"]).values.astype("float64")
        return found

    @known_keywords()
    def cell(self, module: str, source_layer: int, target_layer: int, *, pair: int = 0) -> CellView:
        """Run one transplant and look at it.

        Args:
            module, source_layer, target_layer: the transplant.
            pair: which pair, by its place.

        Raises:
            InputError: see `xtl.transplant`.
        """
        pair = check_whole("pair", pair, 0, len(self.pairs) - 1)
        layers = {"source_layer": source_layer, "target_layer": target_layer}
        source_layer, target_layer = (
            check_layer(name, layer, self.model.cfg.n_layers) for name, layer in layers.items()
        )
        key = (pair, module, source_layer, target_layer)
        if key not in self._cells:
            self._cells[key] = look(
                self.model,
                self.pairs[pair],
                self._modules.get(module, module),
                source_layer,
                target_layer,
                self.max_new_tokens,
                self.head,
            )
        return self._cells[key]

    @cached_property
    def head(self) -> Head:
        """What follows the model's last block, for the logit lens."""
        return Head(self.model)

    @known_keywords()
    def figure(self, *, pair: int = 0) -> go.Figure:
        """The map of a pair, as a still figure."""
        result = self.result_of(pair)
        if "gain" not in result:
            changed = (result["text"] != result["vanilla_text"]).astype("float32")
            result = result.assign(gain=changed).assign_attrs(score_unit="answers changed", score="")
        return plots.gain_map(result)


def asks(pair: ParallelPair) -> bool:
    """Whether a pair holds what likelihood scores: options, or an answer."""
    return pair.options is not None or pair.answer is not None
