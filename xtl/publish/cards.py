"""The maps of a report as images with their ticks, names and colour bars: what its template draws.

A block a section (model, task and direction) holds a card a module, which stay together whatever the page's width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xtl import plots
from xtl.plots.maps import layer_module_panels
from xtl.plots.slots import left_out
from xtl.publish.images import data_uri
from xtl.publish.sections import MEASURES, Section
from xtl.publish.summary import signed
from xtl.publish.twins import Twin
from xtl.results import NOISE, mean_maps

Limits = dict[tuple[str, str, bool], float]
"""The end of a colour scale by measure, unit, and whether it is of real minus control."""


def limits_of(sections: Sequence[Section]) -> Limits:
    """The ends of the colour scales: one a measure, unit and kind of map, so that all maps of a page can be compared."""
    return {key: plots.symmetric_limit(list(map(xr.DataArray, maps))) for key, maps in _groups(sections).items()}


def _groups(sections: Sequence[Section]) -> dict[tuple[str, str, bool], list[np.ndarray]]:
    groups: dict[tuple[str, str, bool], list[np.ndarray]] = {}
    for section in sections:
        for measure, values in section.maps.items():
            groups.setdefault((measure, _unit(measure, section), False), []).append(values)
        for measure, twin in section.twins.items():
            groups.setdefault((measure, _unit(measure, section), True), []).append(twin.mean)
    return groups


def _unit(measure: str, section: Section) -> str:
    return section.unit if measure == "gain" else "share"


def colour_bars(limits: Limits, sections: Sequence[Section]) -> list[dict[str, str]]:
    """A colour bar a measure, unit and kind of map; it says so where losses lie beyond its end."""
    bars, groups = [], _groups(sections)
    for (measure, unit, is_twin), limit in limits.items():
        beyond = any(bool((values < -limit - NOISE).any()) for values in groups[measure, unit, is_twin])
        low, high = signed(-limit), signed(limit)
        if measure != "gain":
            low, high = (f"{100 * end:+.0f} points".replace("-", "−") for end in (-limit, limit))
        name = MEASURES[measure] + (", real minus control" if is_twin else "")
        bars.append(
            {
                "measure": measure,
                "name": name + (f" ({unit})" if measure == "gain" else ""),
                "low": f"{low} and less" if beyond else low,
                "high": high,
            }
        )
    return bars


def make_blocks(sections: Sequence[Section], limits: Limits) -> list[dict[str, Any]]:
    """A block a section: its cards, one a module, which stay together, and its maps by layer and module."""
    return [
        {"of": section, "cards": _cards(k, section, limits), "layers": _layer_maps(section)}
        for k, section in enumerate(sections)
    ]


def _cards(index: int, section: Section, limits: Limits) -> list[dict[str, Any]]:
    """A card a module: its images by measure, real and real minus control, its ticks, and what a screen reader says of it."""
    sources, targets = section.layers
    return [
        {
            "section": index,
            "module_index": m,
            "module": module,
            "of": section,
            "images": [_images(section, m, measure, limits) for measure in section.maps],
            "twins": [_images(section, m, measure, limits, twin) for measure, twin in section.twins.items()],
            "ratio": f"{len(targets)} / {len(sources)}",
            "x_ticks": _ticks(targets),
            "y_ticks": _ticks(sources),
            "x_gaps": _gaps(targets),
            "y_gaps": _gaps(sources),
        }
        for m, module in enumerate(section.modules)
    ]


def _images(section: Section, m: int, measure: str, limits: Limits, twin: Twin | None = None) -> dict[str, str]:
    """A map of a module in light and in dark, or its twin."""
    values, muted = (section.maps[measure][m], None) if twin is None else (twin.mean[m], twin.muted[m])
    limit = limits[measure, _unit(measure, section), twin is not None]
    what = MEASURES[measure] + ("" if twin is None else ", real minus control")
    words = {} if twin is None else {"words": twin.in_words(m)}
    images = {
        "dark" if dark else "light": data_uri(values, limit=limit, dark=dark, muted=muted) for dark in (False, True)
    }
    return {"measure": measure, "alt": _alt(section, m, values, what), **words, **images}


def _layer_maps(section: Section) -> list[dict[str, Any]]:
    """The mean gain by layer and module, with the layer as target and as source: small images on one scale."""
    if "gain" not in section.maps or not np.isfinite(section.maps["gain"]).any():
        return []
    panels = layer_module_panels(mean_maps(section.data, by=None))
    limit = plots.symmetric_limit([panel.values for panel in panels])
    return [
        {
            "title": panel.title,
            "alt": f"Heat map, {section.name}: mean gain by layer and module, {panel.title}",
            "end": signed(limit),
            "modules": [str(name) for name in panel.values["module"].values],
            "y_ticks": _ticks(panel.values["layer"].values.tolist()),
            **{"dark" if d else "light": data_uri(panel.values.values, limit=limit, dark=d) for d in (False, True)},
        }
        for panel in panels
    ]


def _alt(section: Section, m: int, values: np.ndarray, measured: str) -> str:
    what = f"Heat map, {section.name}, {section.modules[m]}: {measured} by source layer and target layer"
    if not np.isfinite(values).any():
        return f"{what}; no value"
    spots = []
    for name, place in (("largest", np.nanargmax(values)), ("smallest", np.nanargmin(values))):
        i, j = np.unravel_index(int(place), values.shape)
        spots.append(f"{name} {signed(float(values[i, j]))} at {section.layers[0][i]} → {section.layers[1][j]}")
    return f"{what}; {', '.join(spots)}"


def _ticks(layers: Sequence[int]) -> list[tuple[str, float]]:
    """Labels of at most nine layers and where they stand, in per cent of the axis."""
    step = math.ceil(len(layers) / 9)
    return [(str(layers[k]), round(100 * (k + 0.5) / len(layers), 2)) for k in range(0, len(layers), step)]


def _gaps(layers: Sequence[int]) -> list[float]:
    """Where layers between two that were tried are left out, in per cent of the axis."""
    return [round(100 * k / len(layers), 2) for k in left_out(layers)]
