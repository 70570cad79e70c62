"""The widget of `xtl.explore`: plotly's map, ipywidgets around it. Imported only where a notebook shows it."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import anywidget  # noqa: F401  (plotly's FigureWidget needs it; said here, so that one error names it)
import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import xarray as xr

from xtl import plots
from xtl.explorer.cells import MEASURES, CellView
from xtl.explorer.explored import Explored

PICKED = "#E69F00"


def make_widget(explorer: Explored) -> widgets.VBox:
    """The widget of an explorer. Choices: pair, module, what the map shows, and the two layers (or a click)."""
    return Controls(explorer).box


class Controls:
    """The widget's parts and what they do; `box` is the whole."""

    def __init__(self, explorer: Explored) -> None:
        self.explorer = explorer
        names = [f"{pair.direction} {pair.id or ''}".strip() for pair in explorer.pairs]
        result = explorer.result
        self.pair = widgets.Dropdown(options=list(zip(names, range(len(names)), strict=True)), description="pair")
        self.module = widgets.Dropdown(options=[str(name) for name in result["module"].values], description="module")
        self.measure = widgets.Dropdown(options=self._measures(), description="show")
        layers = [result[dim].values.tolist() for dim in ("source_layer", "target_layer")]
        self.source, self.target = (
            widgets.SelectionSlider(options=options, description=name, continuous_update=False)
            for options, name in zip(layers, ("source layer", "target layer"), strict=True)
        )
        self.map = go.FigureWidget(_map_figure(*layers))
        self.lens = go.FigureWidget(_lens_figure())
        self.words = widgets.HTML()
        self.busy = False
        self.map.data[0].on_click(self._clicked)
        for control in (self.pair, self.module, self.measure):
            control.observe(self._draw, "value")
        for slider in (self.source, self.target):
            slider.observe(self._open, "value")
        choices = [self.pair] * (len(names) > 1) + [self.module, self.measure]
        left = widgets.VBox([self.map, self.source, self.target])
        right = widgets.VBox([self.words, self.lens], layout=widgets.Layout(max_width="34rem"))
        self.box = widgets.VBox(
            [widgets.HBox(choices, layout=widgets.Layout(flex_flow="row wrap")),
             widgets.HBox([left, right], layout=widgets.Layout(flex_flow="row wrap"))]
        )  # fmt: skip
        self._quietly(self._to_best)
        self._draw()

    def _measures(self) -> list[tuple[str, str]]:
        return [
            (MEASURES[name], name) for name in self.explorer.measures(self.pair.value if hasattr(self, "pair") else 0)
        ]

    def _values(self) -> np.ndarray:
        """The map that is shown, `[source layer, target layer]`."""
        found = self.explorer.measures(self.pair.value)
        measure = self.measure.value if self.measure.value in found else next(iter(found))
        return found[measure][self.module.options.index(self.module.value)]

    def _to_best(self) -> None:
        values = self._values()
        i, j = np.unravel_index(int(np.where(np.isfinite(values), values, -np.inf).argmax()), values.shape)
        self.source.value, self.target.value = self.source.options[i], self.target.options[j]

    def _draw(self, change: Any = None) -> None:
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
        view = self.explorer.cell(self.module.value, i, j, pair=self.pair.value)
        value = self._values()[self.source.options.index(i), self.target.options.index(j)]
        pair = self.explorer.pairs[self.pair.value]
        shown = f"{self.module.value} {i} → {j}: {MEASURES[self.measure.value]} {value:+.3f}"
        self.words.value = cell_html(view, shown, pair.source, pair.target)
        with self.map.batch_update():
            self.map.data[1].x, self.map.data[1].y = [str(j)], [str(i)]
        with self.lens.batch_update():
            for trace, run in zip(self.lens.data, ("vanilla", "transplanted"), strict=True):
                trace.x, trace.y = view.lens["layer"].tolist(), view.lens[run].tolist()
            self.lens.layout.title.text = plots.escape(f"probability of {view.token!r} after each layer (logit lens)")


def cell_html(view: CellView, heading: str, source: object, target: object) -> str:
    """A cell in HTML; all text is escaped."""
    run = view.transplant
    facts = {
        "source prompt": source,
        "target prompt": target,
        "vanilla says": run.vanilla_text,
        "transplanted": run.text,
        "written at": f"{run.patch.write_hook}, token {run.patch.token!r}",
    }
    rows = "".join(
        f'<tr><td style="opacity:.75;padding-right:.8em;vertical-align:top">{name}</td>'
        f'<td dir="auto" style="white-space:pre-wrap">{html.escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    tokens = "".join(
        f'<tr><td dir="auto">{html.escape(repr(row["token"]))}</td>'
        f"<td>{row['vanilla']:.1%}</td><td>{row['transplanted']:.1%}</td></tr>"
        for row in view.top.to_dict("records")
    )
    return (
        f"<b>{html.escape(heading)}</b><table>{rows}</table><p>{html.escape(view.in_words())}</p>"
        f"<table><tr><th>first token</th><th>vanilla</th><th>transplanted</th></tr>{tokens}</table>"
    )


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
        template="plotly_white", width=440, height=420, margin={"l": 60, "r": 10, "t": 20, "b": 50}, plot_bgcolor="#c8c8c8",
        coloraxis={"colorscale": plots.COLOUR_SCALE, "cmid": 0, "colorbar": {"thickness": 12}},
    )  # fmt: skip
    figure.update_xaxes(title_text="target layer", type="category", showgrid=False)
    figure.update_yaxes(title_text="source layer", type="category", showgrid=False)
    return figure


def _lens_figure() -> go.Figure:
    figure = go.Figure(
        [
            go.Scatter(x=[], y=[], name="vanilla", mode="lines+markers", line={"color": "#D55E00", "dash": "dot"}),
            go.Scatter(x=[], y=[], name="transplanted", mode="lines+markers", line={"color": "#0072B2"}),
        ]
    )
    figure.update_layout(
        template="plotly_white", width=440, height=240, margin={"l": 60, "r": 10, "t": 40, "b": 45}, title={"font": {"size": 13}},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    )  # fmt: skip
    figure.update_xaxes(title_text="layer")
    figure.update_yaxes(rangemode="tozero", tickformat=".0%")
    return figure
