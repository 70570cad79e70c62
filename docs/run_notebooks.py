"""Run the notebooks in place, with their outputs: `make notebooks` for all, `python docs/run_notebooks.py FILE` for one.

Figures are kept as pictures too, for places that show notebooks without running them (Chromium draws them). Widgets are left out
of what is kept: without their kernel they show an error. Their still view stays.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"


def run(path: Path) -> None:
    """Run a notebook and write it back."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=3600, kernel_name="python3", store_widget_state=False).execute()
    nbformat.write(tidy(notebook), path)


def tidy(notebook: Any) -> Any:
    """Without widgets, times and what was said on stderr."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET, None)
    return notebook


def main() -> None:
    """Run those that are named, or all."""
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype+png"  # interactive in Jupyter, a picture everywhere else
    for path in [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb")):
        started = time.monotonic()
        run(path)
        print(f"{path.name}: {time.monotonic() - started:.0f} s, {path.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
