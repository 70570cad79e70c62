"""In IPython and Jupyter a sweep's result shows its maps: `import xtl` registers that. Other Datasets show as they did.

What is shown is that of `xtl.show`, with xarray's own view folded below. The result stays an `xarray.Dataset`.
"""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

MOST_BYTES = 500_000_000
"""Larger results, such as a whole study that is still on disk, are not read just to be shown."""


def register(shell: Any = None) -> bool:
    """Have IPython show sweep results as maps.

    Args:
        shell: IPython's; the one that runs by default.

    Returns:
        Whether there is one.
    """
    if shell is None and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
    formatter = getattr(shell, "display_formatter", None)
    if formatter is None:
        return False
    formatter.formatters["text/html"].for_type_by_name("xarray.core.dataset", "Dataset", dataset_html)
    return True


def dataset_html(data: xr.Dataset) -> str:
    """HTML of a Dataset: maps, vanilla, n and best cells for what a sweep gave; xarray's own view for anything else.

    >>> import numpy as np, xarray as xr
    >>> gain = xr.DataArray(np.eye(3)[None], dims=("module", "source_layer", "target_layer"), coords={"module": ["attn"]})
    >>> "best 0 → 0" in dataset_html(xr.Dataset({"gain": gain.assign_coords(source_layer=range(3), target_layer=range(3))}))
    True
    """
    from xtl.errors import InputError
    from xtl.publish.notebook import show

    own = data._repr_html_()
    if not {"module", "source_layer", "target_layer"} <= set(data.dims) or data.nbytes > MOST_BYTES:
        return own
    try:
        view = show(data)._repr_html_()
    except InputError:  # has these dims, but nothing that a map can show
        return own
    return f"{view}<details><summary>xarray.Dataset</summary><pre>{html.escape(repr(data))}</pre></details>"
