"""`explore`: a map to click on, in a notebook: what the model says in a cell, and at which layer the answer appears.

A click on a cell runs that one transplant and shows the answer with and without it, the likeliest first tokens before and after,
and the logit lens: the probability of the answer's first token if the model ended after each layer. Works where ipywidgets do
(JupyterLab, VS Code, Colab); elsewhere the map is shown as it is, and `Explorer.cell` gives the same numbers.
"""

from __future__ import annotations

import html
import sys
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
from xtl.engine.prepare import Settings
from xtl.errors import InputError, XtlError, check_whole, known_keywords
from xtl.explorer.cells import CellView, look
from xtl.hooks import Module, get_modules
from xtl.models.state import check_model
from xtl.packages import install_hint
from xtl.pairs import ParallelPair, check_pairs
from xtl.publish.notebook import show


@known_keywords([*Settings.__annotations__, "activations"])
def explore(
    model: Model,
    pair: ParallelPair | Sequence[ParallelPair],
    *,
    modules: Sequence[str | Module] = ("attn", "mlp"),
    max_new_tokens: int = 8,
    **settings: Any,
) -> Explorer:
    """Explore the map of a pair, or of several, in a notebook: leave it as the last line of a cell.

    Args:
        model: from `xtl.load_model`, or any HookedTransformer or TransformerBridge.
        pair: a pair, or several (such as the same question in several languages) to choose from.
        modules: names from `xtl.hooks.MODULES`, or an `xtl.Module` of your own.
        max_new_tokens: length of answers.
        **settings: other arguments of `xtl.sweep` (`source_layers`, `target_layers`, `engine`, ...).

    Returns:
        An `Explorer`: its `result` is the map, `figure()` a still picture of it, `cell(...)` what one transplant does, `widget()`
        the thing to click on.

    Raises:
        InputError: no pair; see `xtl.sweep`.

    Example:
        >>> import xtl
        >>> pairs = [xtl.get_task("capitals").pairs("en", to, limit=1)[0] for to in ("es", "sw")]
        >>> xtl.explore(xtl.load_model(), pairs)  # doctest: +SKIP
    """
    check_model(model)
    pairs = [pair] if isinstance(pair, ParallelPair) else list(check_pairs(pair, "pair"))
    if not pairs:
        raise InputError("pair is empty: give a ParallelPair, or several")
    get_modules(modules)
    max_new_tokens = check_whole("max_new_tokens", max_new_tokens, 1)
    explorer = Explorer(model, pairs, {"modules": list(modules), **settings}, max_new_tokens)
    explorer.result_of(0)  # what is wrong with the settings is told here, not at the first click
    return explorer


class Explorer:
    """Maps of pairs, computed when they are first looked at. Made by `explore`.

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

    def cell(self, module: str, source_layer: int, target_layer: int, *, pair: int = 0) -> CellView:
        """Run one transplant and look at it.

        Args:
            module, source_layer, target_layer: the transplant.
            pair: which pair, by its place.

        Raises:
            InputError: see `xtl.transplant`.
        """
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

    def figure(self, *, pair: int = 0) -> go.Figure:
        """The map of a pair, as a still figure."""
        result = self.result_of(pair)
        if "gain" not in result:
            changed = (result["text"] != result["vanilla_text"]).astype("float32")
            result = result.assign(gain=changed).assign_attrs(score_unit="answers changed", score="")
        return plots.gain_map(result)

    def widget(self) -> Any:
        """The widget: a map to click on, choices above it, the cell beside it.

        Raises:
            XtlError: ipywidgets or anywidget is not installed.
        """
        try:
            from xtl.explorer.widget import make_widget
        except ImportError as error:
            raise XtlError(
                f"the explorer needs ipywidgets and anywidget: {install_hint('notebooks')} ({error})"
            ) from error
        return make_widget(self)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widget where widgets work; a still view for everything else (GitHub, a terminal, no ipywidgets)."""
        view = show(self.result)
        bundle: dict[str, Any] = {"text/plain": repr(view), "text/html": view._repr_html_()}
        try:
            if "google.colab" in sys.modules:
                sys.modules["google.colab"].output.enable_custom_widget_manager()
            return bundle | _widget_bundle(self.widget())
        except XtlError as error:
            note = f"{error}; this is a still view"
            return bundle | {"text/html": f"{bundle['text/html']}<p><small>{html.escape(note)}</small></p>"}


def asks(pair: ParallelPair) -> bool:
    """Whether a pair holds what likelihood scores: options, or an answer."""
    return pair.options is not None or pair.answer is not None


def _widget_bundle(widget: Any) -> dict[str, Any]:
    bundle = widget._repr_mimebundle_()
    return {key: value for key, value in (bundle or {}).items() if "widget" in key}
