"""Runs: a study computed into a folder that survives being killed, and read from there as xarray; single results as Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtl.packages import lazily

if TYPE_CHECKING:
    from xtl.runs.kept import KeptMaps
    from xtl.runs.lazy import open_run
    from xtl.runs.reading import open_results
    from xtl.runs.results import load_results, save_results, to_table
    from xtl.runs.run import Outcome, run_study
    from xtl.runs.study import Study

__all__ = [
    "KeptMaps",
    "Outcome",
    "Study",
    "load_results",
    "open_results",
    "open_run",
    "run_study",
    "save_results",
    "to_table",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "KeptMaps": "xtl.runs.kept",
        "Outcome": "xtl.runs.run",
        "Study": "xtl.runs.study",
        "load_results": "xtl.runs.results",
        "open_results": "xtl.runs.reading",
        "open_run": "xtl.runs.lazy",
        "run_study": "xtl.runs.run",
        "save_results": "xtl.runs.results",
        "to_table": "xtl.runs.results",
    },
)
