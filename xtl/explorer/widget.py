"""The widget of `xtl.explore`: plotly's map, ipywidgets around it. Imported only where a notebook shows it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import anywidget  # noqa: F401  (plotly's FigureWidget needs it; said here, so that one error names it)
import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import xarray as xr

from xtl import plots
from xtl.explorer.cells import MEASURES, CellView
from xtl.explorer.explored import Explored
from xtl.plots.slots import left_out

PICKED = "#E69F00"
FACT = "white-space:pre-wrap;max-height:5.4em;overflow-y:auto;overflow-wrap:anywhere"
NUMBER = "text-align:right;padding-left:.8em;font-variant-numeric:tabular-nums"


def make_widget(explorer: Explored) -> widgets.VBox:
    """The widget of an explorer. Choices: pair, module, what the map shows, and the two layers (or a click)."""
    return Controls(explorer).box


class Controls:
    """The widget's parts and what they do; `box` is the whole: a row of choices, then the map at the left and its cell right."""

    def __init__(self, explorer: Explored) -> None:
        self.explorer = explorer
        names = [f"{pair.direction} {pair.id or ''}".strip() for pair in explorer.pairs]
        result = explorer.result
        self.pair = _choice("pair", list(zip(names, range(len(names)), strict=True)), "18rem")
        self.module = _choice("module", [str(name) for name in result["module"].values], "12rem")
        self.measure = _choice("show", self._measures(), "13rem")
        layers = [result[dim].values.tolist() for dim in ("source_layer", "target_layer")]
        self.source, self.target = (
            _choice(name, options, "10rem")
            for options, name in zip(layers, ("source layer", "target layer"), strict=True)
        )
        self.map = go.FigureWidget(_map_figure(*layers))
        self.lens = go.FigureWidget(_lens_figure())
        self.words, self.tokens = widgets.HTML(), widgets.HTML()
        self.busy = False
        self.map.data[0].on_click(self._clicked)
        for control in (self.pair, self.module, self.measure):
            control.observe(self._draw, "value")
        for layer in (self.source, self.target):
            layer.observe(self._open, "value")
        choices = [self.pair] * (len(names) > 1) + [self.module, self.measure, self.source, self.target]
        small = widgets.HBox([self.lens, self.tokens], layout=widgets.Layout(flex_flow="row wrap"))
        cell = widgets.VBox(
            [self.words, small], layout=widgets.Layout(flex="1 1 20rem", min_width="0", max_width="46rem")
        )
        self.box = widgets.VBox(
            [widgets.HBox(choices, layout=widgets.Layout(flex_flow="row wrap")),
             widgets.HBox([self.map, cell], layout=widgets.Layout(flex_flow="row wrap", align_items="flex-start"))]
        )  # fmt: skip
        self._quietly(self._to_best)
        self._draw()

    def _measures(self) -> list[tuple[str, str]]:
        return [(MEASURES[name], name) for name in self.explorer.measures(self.pair.value)]

    def _offer_measures(self) -> None:
        """Offer what the map of the chosen pair can show; what was shown stays, if it can."""
        shown, offered = self.measure.value, self._measures()
        if tuple(offered) != tuple(self.measure.options):
            self.measure.options = offered
            self.measure.value = shown if shown in [name for _, name in offered] else offered[0][1]

    def _values(self) -> np.ndarray:
        """The map that is shown, `[source layer, target layer]`."""
        found = self.explorer.measures(self.pair.value)
        return found[self.measure.value][self.module.options.index(self.module.value)]

    def _to_best(self) -> None:
        values = self._values()
        i, j = np.unravel_index(int(np.where(np.isfinite(values), values, -np.inf).argmax()), values.shape)
        self.source.value, self.target.value = self.source.options[i], self.target.options[j]

    def _draw(self, change: Any = None) -> None:
        if self.busy:
            return
        self._quietly(self._offer_measures)
        values = self._values()
        limit = plots.symmetric_limit([xr.DataArray(values)])
        with self.map.batch_update():
            self.map.data[0].z = values
            self.map.layout.coloraxis.cmin, self.map.layout.coloraxis.cmax = -limit, limit
        self._open()

    def _clicked(self, trace: Any, points: Any, state: Any) -> None:
        if points.xs:
            self._quietly(lambda: self._set(int(points.ys[0]), int(points.xs[0])))
            self._open()

    def _set(self, source: int, target: int) -> None:
        self.source.value, self.target.value = source, target

    def _quietly(self, change: Callable[[], None]) -> None:
        """Change both layers without opening the cell between."""
        self.busy = True
        try:
            change()
        finally:
            self.busy = False

    def _open(self, change: Any = None) -> None:
        if self.busy:
            return
        i, j = self.source.value, self.target.value
        with self.map.batch_update():
            self.map.data[1].x, self.map.data[1].y = [str(j)], [str(i)]
        name = f"{self.module.value} {i} → {j}"
        self.words.value = f"<b>{html.escape(name)}</b> …"  # until it is computed, not the cell before
        view = self.explorer.cell(self.module.value, i, j, pair=self.pair.value)
        value = self._values()[self.source.options.index(i), self.target.options.index(j)]
        pair = self.explorer.pairs[self.pair.value]
        shown = f"{name}: {MEASURES[self.measure.value]} {value:+.3f}"
        self.words.value = cell_html(view, shown, pair.source, pair.target)
        self.tokens.value = tokens_html(view)
        with self.lens.batch_update():
            for trace, run in zip(self.lens.data, ("vanilla", "transplanted"), strict=True):
                trace.x, trace.y = view.lens["layer"].tolist(), view.lens[run].tolist()
            self.lens.layout.title.text = plots.escape(f"{view.token!r} after each layer (logit lens)")


def _choice(name: str, options: Sequence[Any], width: str) -> widgets.Dropdown:
    """A choice with its name before it, as wide as both need."""
    return widgets.Dropdown(
        options=options, description=name, style={"description_width": "initial"}, layout={"width": width}
    )


def cell_html(view: CellView, heading: str, source: object, target: object) -> str:
    """What a cell is and says, in HTML; all text is escaped. Long prompts scroll, an answer's line breaks are signs."""
    run = view.transplant
    facts = {
        "source prompt": str(source),
        "target prompt": str(target),
        "vanilla says": one_line(run.vanilla_text),
        "transplanted": one_line(run.text),
        "written at": f"{run.patch.write_hook}, token {run.patch.token!r}",
    }
    rows = "".join(
        f'<tr><td style="opacity:.75;padding-right:.8em;vertical-align:top;white-space:nowrap">{name}</td>'
        f'<td><div dir="auto" style="{FACT}">{html.escape(value)}</div></td></tr>'
        for name, value in facts.items()
    )
    return (
        f'<div style="line-height:1.35"><b>{html.escape(heading)}</b><table>{rows}</table>'
        f"<div>{html.escape(view.in_words())}</div></div>"
    )


def tokens_html(view: CellView) -> str:
    """The likeliest first tokens of a cell, in HTML."""
    rows = "".join(
        f'<tr><td dir="auto">{html.escape(repr(row["token"]))}</td>'
        f'<td style="{NUMBER}">{row["vanilla"]:.1%}</td><td style="{NUMBER}">{row["transplanted"]:.1%}</td></tr>'
        for row in view.top.to_dict("records")
    )
    head = f'<th style="{NUMBER}">vanilla</th><th style="{NUMBER}">transplanted</th>'
    return f'<table style="line-height:1.35"><tr><th style="text-align:left">first token</th>{head}</tr>{rows}</table>'


def one_line(text: str) -> str:
    """A text with its line breaks as signs.

    >>> one_line("Madrid\\nEs")
    'Madrid⏎Es'
    """
    return "⏎".join(text.splitlines()) + "⏎" * text.endswith(("\n", "\r"))


def _map_figure(sources: list[int], targets: list[int]) -> go.Figure:
    x, y = [str(layer) for layer in targets], [str(layer) for layer in sources]
    figure = go.Figure(
        [
            go.Heatmap(
                z=np.zeros((len(y), len(x))), x=x, y=y, coloraxis="coloraxis", hoverongaps=False,
                hovertemplate="source layer %{y} → target layer %{x}<br>%{z:+.3f}<extra></extra>",
            ),
            go.Scatter(
                x=x[:1], y=y[:1], mode="markers", hoverinfo="skip", showlegend=False,
                marker={"symbol": "square-open", "size": 14, "color": PICKED, "line": {"width": 3}},
            ),
        ]
    )  # fmt: skip
    figure.update_layout(
        template="plotly_white", width=380, height=370, dragmode=False, margin={"l": 50, "r": 5, "t": 28, "b": 42},
        plot_bgcolor="#c8c8c8",
        coloraxis={"colorscale": plots.COLOUR_SCALE, "cmid": 0, "colorbar": {"thickness": 12}},
    )  # fmt: skip
    gaps = {"line": {"color": "white", "width": 3}, "layer": "above"}
    for k in left_out(targets):
        figure.add_vline(k - 0.5, **gaps)
    for k in left_out(sources):
        figure.add_hline(k - 0.5, **gaps)
    # Pinned: the marker at an edge cell would widen a range that plotly chooses, and shift the map under the pointer.
    pinned = {"type": "category", "showgrid": False, "autorange": False, "fixedrange": True}
    figure.update_xaxes(title_text="target layer", range=[-0.5, len(x) - 0.5], categoryarray=x, **pinned)
    figure.update_yaxes(title_text="source layer", range=[-0.5, len(y) - 0.5], categoryarray=y, **pinned)
    return figure


def _lens_figure() -> go.Figure:
    figure = go.Figure(
        [
            go.Scatter(x=[], y=[], name="vanilla", mode="lines+markers", line={"color": "#D55E00", "dash": "dot"}),
            go.Scatter(x=[], y=[], name="transplanted", mode="lines+markers", line={"color": "#0072B2"}),
        ]
    )
    figure.update_layout(
        template="plotly_white", width=340, height=200, margin={"l": 45, "r": 10, "t": 50, "b": 38},
        title={"font": {"size": 13}},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    )  # fmt: skip
    figure.update_xaxes(title_text="layer")
    figure.update_yaxes(rangemode="tozero", tickformat=".0%")
    return figure
