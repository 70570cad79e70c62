"""Plotly figures of transplant maps, drawn from what `xtl.sweep` or `xtl.sweep_many` returned. No model runs here.

How every figure reads: one cell is one transplant; its colour is the gain (score with the transplant minus vanilla
score), averaged over the examples. Blue helps, red harms, white changes nothing; grey has no finite value. All panels
of a figure share one colour scale, symmetric about zero. Layers are numbered from 0, and layer 0 is at the bottom
(left, for target layers). The scale, `RdBu`, runs over lightness symmetrically and keeps its two arms apart under
the three kinds of colour blindness.

>>> import numpy as np, xarray as xr
>>> gain = xr.DataArray(np.zeros((2, 18, 18), "float32"), dims=("module", "source_layer", "target_layer"),
...     coords={"module": ["attn", "mlp"], "source_layer": range(18), "target_layer": range(18)})
>>> figure = gain_map(xr.Dataset({"gain": gain}, attrs={"model": "my model"}))
>>> [panel.type for panel in figure.data]
['heatmap', 'heatmap']
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from xtl.errors import check_choice, check_whole
from xtl.languages import arrow
from xtl.plots.style import COLOUR_SCALE, escape, saturation, symmetric_limit, wrap
from xtl.results import ROLES, Maps, mean_maps, provenance, score_unit, with_directions

_PANEL_WIDTH = {1: 440, 2: 380, 3: 290}  # pixels, by number of columns; more columns: as for 3
_MARGIN = {"l": 70, "r": 110, "t": 120, "b": 60}
_GAP = 70


@dataclass(frozen=True)
class Panel:
    """One heatmap: `values` [rows, columns], whose dims name the axes, and `counts` (examples averaged), same shape."""

    title: str
    values: xr.DataArray
    counts: xr.DataArray
    hover: str


def gain_map(data: Maps, *, direction: str | None = None, title: str | None = None) -> go.Figure:
    """Heatmaps of the mean gain, source layer (y, 0 at the bottom) by target layer (x): one per module, one scale.

    Args:
        data: result of `xtl.sweep` or `xtl.sweep_many`; averaged over `example` if it has that dim.
        direction: draw the examples of this direction only, such as "en->es". None: all examples.
        title: first line of the title, instead of model, task and direction.

    Raises:
        InputError: see `with_directions`; or a direction that the data does not have.
    """
    part = _select(data, direction)
    mean, counts = _mean_gain(part)
    hover = "source layer %{y} → target layer %{x}"
    panels = [
        Panel(str(module), mean[index], counts[index], f"{escape(module)}<br>{hover}")
        for index, module in enumerate(part["module"].values)
    ]
    columns = math.ceil(len(panels) / math.ceil(len(panels) / 3))
    headline = title or _headline("Gain map", part)
    return heatmap_grid(panels, columns=columns, title=headline, subtitle=_subtitle(part), unit=score_unit(part))


def layer_module_heatmap(
    data: Maps, *, direction: str | None = None, roles: Sequence[str] = ("target", "source"), title: str | None = None
) -> go.Figure:
    """Heatmaps of the mean gain, layer (y, 0 at the bottom) by module (x): a panel a role of the layer.

    As target, a cell is the mean over all source layers of the gain when that layer is written; as source, the mean over all
    target layers when it is read; as "source and target", the gain of the cell i -> i.

    Args:
        data: result of `xtl.sweep` or `xtl.sweep_many`, averaged over `example`; or mean maps (`xtl.results.mean_maps`), of
            which each direction has a row of panels.
        direction: draw this direction only, such as "en->es". None: all.
        roles: which panels, from `xtl.results.ROLES`.
        title: first line of the title, instead of model, task and direction.

    Raises:
        InputError: as for `gain_map`; an unknown role.
    """
    for role in roles:
        check_choice("roles", role, ROLES.values())
    if isinstance(data, xr.Dataset) and "gain_as_target" in data:
        means, part, note = (
            _one_direction(data, direction),
            data,
            "mean gain over examples and over the other side's layers",
        )
    else:
        part = _select(data, direction)
        means, note = mean_maps(part, by=None), _subtitle(part)
    panels = layer_module_panels(means, roles)
    headline = title or _headline("Gain by layer and module", part)
    return heatmap_grid(panels, columns=len(roles), title=headline, subtitle=note, unit=score_unit(part))


def layer_module_panels(means: xr.Dataset, roles: Sequence[str] = ("target", "source")) -> list[Panel]:
    """The panels of `layer_module_heatmap`: of each direction one a role whose layers were tried."""
    panels = []
    for group in means["direction"].values:
        for name in [name for name, role in ROLES.items() if role in roles]:
            values = means[name].sel(direction=group).transpose("layer", "module").dropna("layer", how="all")
            if values.sizes["layer"]:
                title = f"layer as {ROLES[name]}"
                title = title if str(group) == "all" else f"{arrow(group)}: {title}"
                counts = xr.full_like(values, int(means["n"].sel(direction=group)), dtype=int)
                panels.append(Panel(title, values, counts, f"{escape(title)}<br>%{{x}}, layer %{{y}}"))
    return panels


def heatmap_grid(
    panels: Sequence[Panel], *, columns: int, title: str, subtitle: str = "", unit: str = "nats"
) -> go.Figure:
    """Draw panels in rows of `columns`, all on one colour scale that is symmetric about zero.

    Values are mean gains in `unit`; NaN and infinite values stay grey. Titles and labels are shown as they are
    (escaped). `Panel.hover` is a plotly hover template: whoever builds it escapes it.
    """
    columns = check_whole("columns", columns, 1)
    rows = math.ceil(len(panels) / columns)
    width = _PANEL_WIDTH[min(columns, 3)]
    inner_width, inner_height = columns * width + (columns - 1) * _GAP, rows * width + (rows - 1) * (_GAP + 20)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[escape(panel.title) for panel in panels],
        horizontal_spacing=_GAP / inner_width, vertical_spacing=(_GAP + 20) / inner_height if rows > 1 else 0,
    )  # fmt: skip
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        _add_heatmap(figure, panel, row + 1, column + 1, escape(unit))
    limit = symmetric_limit([panel.values for panel in panels])
    subtitle += saturation([panel.values for panel in panels])
    total = inner_width + _MARGIN["l"] + _MARGIN["r"]
    headline, lines = (wrap(text, total // characters) for text, characters in ((title, 9), (subtitle, 7)))
    top = _MARGIN["t"] + 24 * (len(headline) - 1) + 16 * max(0, len(lines) - 2)
    figure.update_layout(
        template="plotly_white",
        title={
            "text": "<br>".join(headline), "subtitle": {"text": "<br>".join(lines)},
            "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"l": 12, "t": 26 if len(headline) > 1 else 14},
        },
        coloraxis={
            "colorscale": COLOUR_SCALE, "cmin": -limit, "cmax": limit, "cmid": 0,
            "colorbar": {
                "title": {"text": f"mean gain<br>({escape(unit)})<br>&nbsp;"}, "tickformat": "+.2~g",
                "thickness": 14, "len": min(width, inner_height), "lenmode": "pixels", "y": 1, "yanchor": "top",
            },
        },
        plot_bgcolor="#c8c8c8",
        margin=_MARGIN | {"t": top},
        width=total,
        height=inner_height + top + _MARGIN["b"],
    )  # fmt: skip
    return figure


def _add_heatmap(figure: go.Figure, panel: Panel, row: int, column: int, unit: str) -> None:
    """Add one panel at a 1-based place, on category axes, so that a subset of layers has cells of one size."""
    y_name, x_name = (str(dim) for dim in panel.values.dims)
    labels = {name: [escape(label) for label in panel.values[name].values] for name in (y_name, x_name)}
    values = panel.values.values.astype("float64")
    trace = go.Heatmap(
        z=np.where(np.isfinite(values), values, np.nan),
        x=labels[x_name], y=labels[y_name], customdata=panel.counts.values, coloraxis="coloraxis", hoverongaps=False,
        hovertemplate=f"{panel.hover}<br>mean gain %{{z:+.4f}} {unit}<br>n = %{{customdata}}<extra></extra>",
    )  # fmt: skip
    figure.add_trace(trace, row=row, col=column)
    for update, name in ((figure.update_xaxes, x_name), (figure.update_yaxes, y_name)):
        text = labels[name]
        step = 1 if name == "module" else math.ceil(len(text) / 9)
        update(
            type="category", categoryorder="array", categoryarray=text, tickmode="array", tickvals=text[::step],
            title={"text": escape(name.replace("_", " ")), "standoff": 6}, showgrid=False, zeroline=False,
            ticks="outside", ticklen=3, tickangle=0, constrain="domain", row=row, col=column,
        )  # fmt: skip


def _select(data: Maps, direction: str | None) -> xr.Dataset:
    """The examples of one direction, or all of them."""
    data = with_directions(data)
    if direction is None:
        return data
    labels = data["direction"].values
    check_choice("direction", direction, dict.fromkeys(labels))
    return data.isel(example=np.flatnonzero(labels == direction))


def _one_direction(means: xr.Dataset, direction: str | None) -> xr.Dataset:
    """The mean maps of one direction, or all of them."""
    if direction is None:
        return means
    check_choice("direction", direction, map(str, means["direction"].values))
    return means.sel(direction=[direction])


def _mean_gain(data: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean gain and number of examples behind it, both (module, source_layer, target_layer); NaN is left out."""
    gain = data["gain"].astype("float64")
    return gain.mean("example", skipna=True), gain.notnull().sum("example")


def _headline(what: str, data: xr.Dataset) -> str:
    names = list(dict.fromkeys(map(arrow, data["direction"].values)))
    directions = ", ".join(names) if len(names) <= 4 else f"{len(names)} directions"
    named = [*provenance(data), *([] if directions == "? → ?" else [directions])]
    return f"{what}: {', '.join(named)}".removesuffix(": ")


def _subtitle(data: xr.Dataset) -> str:
    n = data.sizes["example"]
    examples = f"n = {n} example{'' if n == 1 else 's'}"
    grey = "" if np.isfinite(data["gain"].values).all() else "; grey: no finite value"
    what = f"mean gain ({score_unit(data)}) over {examples}; blue helps, red harms{grey}"
    return f"{what}\nscore: {data.attrs['score']}" if data.attrs.get("score") else what


def relabel(figure: go.Figure, what: str) -> go.Figure:
    """A figure of `xtl.plots.heatmap_grid` whose values are no gains: say what they are, in the colour bar and at the pointer."""
    figure.update_layout(coloraxis_colorbar_title_text=escape(what))
    return figure.for_each_trace(
        lambda trace: trace.update(hovertemplate=trace.hovertemplate.replace("mean gain", escape(what)))
    )
