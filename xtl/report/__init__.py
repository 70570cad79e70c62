"""Reports: results as one HTML page that needs no network."""

from xtl.report.page import render, write_report
from xtl.report.run import read_run, report_run

__all__ = ["read_run", "render", "report_run", "write_report"]
