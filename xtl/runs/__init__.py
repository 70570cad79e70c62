"""Results on disk: one tidy Parquet table, a row a cell and instance."""

from xtl.runs.results import load_results, save_results, to_table

__all__ = ["load_results", "save_results", "to_table"]
