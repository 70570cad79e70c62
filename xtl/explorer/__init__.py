"""The map of a pair to click on, in a notebook."""

from xtl.explorer.cells import MEASURES, CellView
from xtl.explorer.explore import Explorer, explore

__all__ = ["MEASURES", "CellView", "Explorer", "explore"]
