"""Runs: a study computed into a folder that survives being killed, and read from there as xarray; single results as Parquet."""

from xtl.runs.kept import KeptMaps
from xtl.runs.lazy import open_run
from xtl.runs.results import load_results, save_results, to_table
from xtl.runs.run import Outcome, run_study
from xtl.runs.study import Study

__all__ = ["KeptMaps", "Outcome", "Study", "load_results", "open_run", "run_study", "save_results", "to_table"]
