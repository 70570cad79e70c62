"""`explore`: a map to click on, in a notebook: what the model says in a cell, and at which layer the answer appears.

A click on a cell runs that one transplant and shows the answer with and without it, the likeliest first tokens before and after,
and the logit lens: the probability of the answer's first token if the model ended after each layer. Works where ipywidgets do
(JupyterLab, VS Code, Colab); elsewhere the map is shown as it is, and `Explorer.cell` gives the same numbers.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from xtl import plots
from xtl.backend import Model, check_model, encode, encode_continuation, forward_without_logits
from xtl.engine import sweep
from xtl.engine.prepare import Settings
from xtl.errors import InputError, XtlError, check_choice, check_whole, known_keywords
from xtl.hooks import Hooks, capture, get_modules, transplant_at
from xtl.packages import install_hint
from xtl.pairs import ParallelPair, check_pairs
from xtl.publish.notebook import show
from xtl.scoring.likelihood import TIE
from xtl.transplants import Transplant, read_activations, transplant

if TYPE_CHECKING:
    from xtl.engine.head import Head

TOP = 8
"""Likeliest tokens that are shown."""
MEASURES = {"gain": "gain", "correct": "right answer", "changed": "answer changed"}
"""What the map can show."""


@dataclass(frozen=True, eq=False)
class CellView:
    """What one transplant does.

    Attributes:
        transplant: texts, logits, and what was patched.
        token: the first token of the right answer; without one, that of the transplanted answer.
        top: likeliest first tokens: columns `token`, `vanilla`, `transplanted` (probabilities).
        lens: a row a layer: `layer`, `vanilla`, `transplanted`: probability of `token` if the model ended there (logit lens), and
            `vanilla_top`, `transplanted_top`: whether it is the likeliest of all.
    """

    transplant: Transplant = field(repr=False)
    token: str
    top: pd.DataFrame = field(repr=False)
    lens: pd.DataFrame = field(repr=False)

    def appears(self, run: str = "transplanted") -> int | None:
        """The first layer from which on the token stays the likeliest; None if it isn't in the end. `run`: or "vanilla"."""
        check_choice("run", run, ("vanilla", "transplanted"))
        top = self.lens[f"{run}_top"].to_numpy()
        others = np.flatnonzero(~top)
        first = 0 if not len(others) else int(others[-1]) + 1
        return None if first == len(top) else int(self.lens["layer"].iloc[first])

    def in_words(self) -> str:
        """Where the answer appears, with and without the transplant."""
        words = []
        for run in ("vanilla", "transplanted"):
            layer = self.appears(run)
            words.append(f"{run} {'never' if layer is None else f'from layer {layer} on'}")
        return f"{self.token!r} is the likeliest token: {'; '.join(words)}."


@known_keywords([*Settings.__annotations__, "activations"])
def explore(
    model: Model,
    pair: ParallelPair | Sequence[ParallelPair],
    *,
    modules: Sequence[str] = ("attn", "mlp"),
    max_new_tokens: int = 8,
    **settings: Any,
) -> Explorer:
    """Explore the map of a pair, or of several, in a notebook: leave it as the last line of a cell.

    Args:
        model: from `xtl.load_model`, or any HookedTransformer or TransformerBridge.
        pair: a pair, or several (such as the same question in several languages) to choose from.
        modules: names from `xtl.hooks.MODULES`.
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
        self._results: dict[int, xr.Dataset] = {}
        self._cells: dict[tuple[int, str, int, int], CellView] = {}
        self._head: Head | None = None

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
            self._cells[key] = self._look(self.pairs[pair], module, source_layer, target_layer)
        return self._cells[key]

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

    @torch.no_grad()
    def _look(self, pair: ParallelPair, module: str, i: int, j: int) -> CellView:
        run = transplant(
            self.model, pair, module=module, source_layer=i, target_layer=j, max_new_tokens=self.max_new_tokens
        )
        target = encode(self.model, pair.target, "target")
        token = run.tokens[0]
        right = pair.options[pair.gold] if pair.options and pair.gold is not None else pair.answer or ""
        if right:
            token = encode_continuation(self.model, pair.target, target, right)[0]
        before, after = (logits.float().softmax(-1).cpu() for logits in (run.vanilla_logits, run.logits))
        tokens = torch.maximum(before, after).topk(min(TOP, len(before))).indices.tolist()
        if token not in tokens:
            tokens.append(token)
        top = pd.DataFrame(
            {
                "token": [self._text(t) for t in tokens],
                "vanilla": [float(before[t]) for t in tokens],
                "transplanted": [float(after[t]) for t in tokens],
            }
        )
        spec = get_modules([module])[0]
        source = encode(self.model, pair.source, "source")
        patch = run.patch
        written = read_activations(self.model, source, [spec], [patch.source_layer])[module, patch.source_layer]
        hooks: Hooks = [(patch.write_hook, transplant_at(written, len(target) - 1))]
        lens: dict[str, Any] = {"layer": list(range(self.model.cfg.n_layers))}
        for name, with_ in (("vanilla", []), ("transplanted", hooks)):
            probability, is_top = self._lens(self._stream(target, with_), token)
            lens |= {name: probability, f"{name}_top": is_top}
        return CellView(
            run,
            self._text(token),
            top.sort_values("transplanted", ascending=False, ignore_index=True),
            pd.DataFrame(lens),
        )

    def _stream(self, tokens: list[int], hooks: Hooks) -> Float[Tensor, "layer d_model"]:
        """The residual stream at the last position after every layer."""
        store: dict[int, Tensor] = {}
        layers = range(self.model.cfg.n_layers)
        reads: Hooks = [(f"blocks.{layer}.hook_resid_post", capture(store, layer)) for layer in layers]
        forward_without_logits(self.model, tokens, hooks=[*hooks, *reads])
        return torch.stack([store[layer][0] for layer in layers]).float().cpu()

    def _lens(self, stream: Float[Tensor, "layer d_model"], token: int) -> tuple[list[float], list[bool]]:
        """By layer: the token's probability if the model ended there, and whether it is likelier than every other."""
        if self._head is None:
            from xtl.engine.head import Head

            self._head = Head(self.model)
        head = self._head
        own = head.log_probabilities(stream, [token])[:, 0]
        weight = head.readout.weight
        normed = head.norm(stream).to(weight.device, weight.dtype)
        logit = head.readout.logits(normed, slice(token, token + 1))[:, 0]
        as_likely = torch.zeros(len(stream), dtype=torch.bool)
        for start in range(0, weight.shape[0], 32768):
            rest = head.readout.logits(normed, slice(start, start + 32768))
            if start <= token < start + 32768:
                rest[:, token - start] = -torch.inf
            as_likely |= (rest.amax(-1) > logit - TIE).cpu()
        return own.exp().tolist(), (~as_likely).tolist()

    def _text(self, token: int) -> str:
        return str(token) if self.model.tokenizer is None else self.model.tokenizer.decode([token])


def asks(pair: ParallelPair) -> bool:
    """Whether a pair holds what likelihood scores: options, or an answer."""
    return pair.options is not None or pair.answer is not None


def _widget_bundle(widget: Any) -> dict[str, Any]:
    bundle = widget._repr_mimebundle_()
    return {key: value for key, value in (bundle or {}).items() if "widget" in key}
