"""The map of a pair to click on, in a notebook."""

from xtl.explorer.explore import CellView, Explorer, explore

__all__ = ["CellView", "Explorer", "explore"]
