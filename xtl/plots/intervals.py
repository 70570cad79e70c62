"""Means of many pairs with their intervals: a map whose uncertain cells are pale, and lines over layers with bands.

>>> from xtl import stats
>>> real = stats.simulate(n_instances=30, planted={("attn", 2, 3): 3.0})
>>> figure = interval_map(stats.cell_intervals(real, n_resamples=500))
>>> [trace.type for trace in figure.data]  # two maps, and what mutes them
['heatmap', 'heatmap', 'heatmap', 'heatmap']
>>> [trace.name for trace in layer_profile(stats.layer_intervals(real, n_resamples=500)).data if trace.showlegend]
['attn', 'mlp']
"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Bool, Float

from xtl.errors import InputError, known_keywords
from xtl.plots.controls import group_dim
from xtl.plots.heatmaps import Panel, heatmap_grid, mute
from xtl.plots.lines import Line, line_grid
from xtl.plots.style import readable, title_of
from xtl.results import score_unit
from xtl.stats.intervals import bracket


@known_keywords()
def interval_map(found: xr.Dataset) -> go.Figure:
    """Mean differences of every cell: those whose interval holds 0 are pale, the others bordered; the pointer says the ends.

    The intervals are per cell: of a map without effect, 5% of 95% intervals exclude 0. For the whole map at once,
    `xtl.plots.controls.significant_map`.

    Args:
        found: result of `xtl.stats.cell_intervals`.

    Raises:
        InputError: other data.
    """
    group = group_dim(_checked(found, "source_layer", "cell_intervals"), "mean")
    panels, pale, texts = [], [], []
    for label in found[group].values:
        for module in found["module"].values:
            part = found.sel({group: label, "module": module})
            title = f"{label}, {module} (n = {int(part['n'])})"
            counts = xr.full_like(part["mean"], int(part["n"]), dtype=int)
            panels.append(
                Panel(title, part["mean"], counts, f"{readable(title)}<br>source layer %{{y}} → target layer %{{x}}")
            )
            ends = part["low"].values, part["high"].values
            pale.append(unsure(*ends))
            texts.append(np.vectorize(bracket, otypes=[object])(*ends, "+.3f"))
    figure = heatmap_grid(
        panels, columns=found.sizes["module"], unit=_unit(found), title=title_of("Gain maps with intervals", found),
        subtitle=f"mean difference to {found.attrs['against']}; pale: the {_level(found)} interval over instances holds 0, or "
        f"there is none; bordered: it does not{_reasons(found)}",
    )  # fmt: skip
    for index, panel in enumerate(panels):
        mute(figure, panel, index, pale[index], texts[index])
    return figure


@known_keywords()
def layer_profile(found: xr.Dataset) -> go.Figure:
    """Mean differences by layer, as target and as source, with bands: a row a group, a line a module.

    0 is vanilla, or the control.

    Args:
        found: result of `xtl.stats.layer_intervals`.

    Raises:
        InputError: other data.
    """
    group = group_dim(_checked(found, "layer", "layer_intervals"), "mean")
    panels = []
    for label in found[group].values:
        for role in found["role"].values:
            part = found.sel({group: label, "role": role}).dropna("layer", subset=["mean"], how="all")
            lines = [_line(part.sel(module=module)) for module in part["module"].values]
            panels.append((f"{label}: layer as {role} (n = {int(part['n'])})", lines))
    return line_grid(
        panels, columns=2, y=f"mean difference ({_unit(found)})", zero=True, title=title_of("Gain by layer", found),
        subtitle=f"mean over the other side's layers, less {found.attrs['against']}; bands: {_level(found)} intervals over "
        f"instances{_reasons(found)}",
    )  # fmt: skip


def unsure(low: Float[np.ndarray, "*cells"], high: Float[np.ndarray, "*cells"]) -> Bool[np.ndarray, "*cells"]:
    """Where an interval does not exclude 0, a cell without one (NaN) among them.

    >>> unsure(np.array([0.1, -0.1, np.nan]), np.array([0.2, 0.2, np.nan])).tolist()
    [False, True, True]
    """
    return ~((low > 0) | (high < 0))


def _line(part: xr.Dataset) -> Line:
    mean, low, high = (part[end].values for end in ("mean", "low", "high"))
    return Line(str(part["module"].item()), part["layer"].values, mean, low, high)


def _checked(found: xr.Dataset, dim: str, made_by: str) -> xr.Dataset:
    if (
        not isinstance(found, xr.Dataset)
        or not {"mean", "low", "high", "reason"} <= set(found)
        or dim not in found.dims
    ):
        raise InputError(f"found must be the result of xtl.stats.{made_by}")
    return found


def _reasons(found: xr.Dataset) -> str:
    """Why some intervals are missing."""
    return "".join(f"; {text}" for text in dict.fromkeys(map(str, found["reason"].values)) if text)


def _level(found: xr.Dataset) -> str:
    return f"{found.attrs['confidence']:.0%}"


def _unit(found: xr.Dataset) -> str:
    return "share right" if found.attrs.get("measure") == "accuracy" else score_unit(found)
