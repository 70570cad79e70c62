"""Plotly figures of transplant maps, drawn from what `xtl.sweep` or `xtl.sweep_many` returned. No model runs here.

How every figure reads: one cell is one transplant; its colour is the gain (score with the transplant minus vanilla
score), averaged over the examples. Blue helps, red harms, white changes nothing; grey has no finite value. Where a layer was
not tried the map is blank, and blocks of cells have a thin frame. All panels of a figure share one colour scale, symmetric
about zero; its bar says ≤ where losses lie beyond. A mark is on the best cell: a circle on the one that most halves of the
instances choose (held out), a diamond on the one with the largest mean (in-sample) where they are too few; the subtitle says
which. Layers are numbered from 0, and layer 0 is at the bottom (left, for target layers). The scale, `RdBu`, runs over
lightness symmetrically and keeps its two arms apart under the three kinds of colour blindness.

>>> import numpy as np, xarray as xr
>>> gain = xr.DataArray(np.zeros((2, 18, 18), "float32"), dims=("module", "source_layer", "target_layer"),
...     coords={"module": ["attn", "mlp"], "source_layer": range(18), "target_layer": range(18)})
>>> figure = gain_map(xr.Dataset({"gain": gain}, attrs={"model": "my model"}))
>>> [panel.type for panel in figure.data]  # nothing gains, so that no cell is marked
['heatmap', 'heatmap']
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from xtl.errors import check_choice, known_keywords
from xtl.languages import arrow
from xtl.plots.best import best_of_each
from xtl.plots.heatmaps import Panel, heatmap_grid
from xtl.plots.heatmaps import relabel as relabel
from xtl.plots.style import escape, readable
from xtl.results import ROLES, Maps, mean_maps, provenance, score_unit, with_directions


@known_keywords()
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
    best = best_of_each(part, by=None)
    panels = [
        Panel(str(module), mean[index], counts[index], f"{escape(module)}<br>{hover}", best.get(("all", str(module))))
        for index, module in enumerate(part["module"].values)
    ]
    columns = math.ceil(len(panels) / math.ceil(len(panels) / 3))
    headline = title or _headline("Gain map", part)
    return heatmap_grid(panels, columns=columns, title=headline, subtitle=_subtitle(part), unit=score_unit(part))


@known_keywords()
def layer_module_heatmap(
    data: Maps, *, direction: str | None = None, roles: Sequence[str] = ("target", "source"), title: str | None = None
) -> go.Figure:
    """Heatmaps of the mean gain, module (y) by layer (x): a panel a role of the layer.

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
    panels = [_turned(panel) for panel in layer_module_panels(means, roles)]
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
                panels.append(Panel(title, values, counts, f"{readable(title)}<br>%{{x}}, layer %{{y}}"))
    return panels


def _turned(panel: Panel) -> Panel:
    """Layers across: a row a module takes little room."""
    hover = panel.hover.replace("%{x}, layer %{y}", "%{y}, layer %{x}")
    return replace(panel, values=panel.values.T, counts=panel.counts.T, hover=hover)


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
