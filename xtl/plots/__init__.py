"""Plotly figures of transplant maps and of what statistics say about them. No model runs here."""

from xtl.plots.heatmaps import Panel, heatmap_grid, relabel
from xtl.plots.images import FigureError, image_bytes, save_png
from xtl.plots.intervals import interval_map, layer_profile
from xtl.plots.maps import gain_map, layer_module_heatmap
from xtl.plots.style import COLOUR_SCALE, escape, readable, saturation, symmetric_limit

__all__ = [
    "COLOUR_SCALE",
    "FigureError",
    "Panel",
    "escape",
    "gain_map",
    "heatmap_grid",
    "image_bytes",
    "interval_map",
    "layer_module_heatmap",
    "layer_profile",
    "readable",
    "relabel",
    "saturation",
    "save_png",
    "symmetric_limit",
]
