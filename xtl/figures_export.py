"""The former name of `xtl.publish.figure_files`; it goes with the next release."""

import warnings

from xtl.publish.figure_files import export_figure, figure_data, save_figure

__all__ = ["export_figure", "figure_data", "save_figure"]

warnings.warn("xtl.figures_export is called xtl.publish.figure_files now", DeprecationWarning, stacklevel=2)
