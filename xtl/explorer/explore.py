"""`explore`: a map to click on, in a notebook: what the model says in a cell, and at which layer the answer appears.

A click on a cell runs that one transplant and shows the answer with and without it, the likeliest first tokens before and after,
and the logit lens: the probability of the answer's first token if the model ended after each layer. Works where ipywidgets do
(JupyterLab, VS Code, Colab); elsewhere the map is shown as it is, and `Explorer.cell` gives the same numbers.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Sequence
from typing import Any

from xtl.backend import Model
from xtl.engine.prepare import Settings
from xtl.errors import InputError, XtlError, check_whole, known_keywords
from xtl.explorer.explored import Explored
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


class Explorer(Explored):
    """Maps of pairs to look at and, where widgets work, to click on. Made by `explore`."""

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


def _widget_bundle(widget: Any) -> dict[str, Any]:
    bundle = widget._repr_mimebundle_()
    return {key: value for key, value in (bundle or {}).items() if "widget" in key}
