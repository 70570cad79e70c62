"""Plotly figures of transplant maps and of what statistics say about them. No model runs here."""

from xtl.plots.images import FigureError, image_bytes, save_png
from xtl.plots.maps import Panel, gain_map, heatmap_grid, layer_module_heatmap, relabel
from xtl.plots.style import COLOUR_SCALE, escape, saturation, symmetric_limit

__all__ = [
    "COLOUR_SCALE",
    "FigureError",
    "Panel",
    "escape",
    "gain_map",
    "heatmap_grid",
    "image_bytes",
    "layer_module_heatmap",
    "relabel",
    "saturation",
    "save_png",
    "symmetric_limit",
]
