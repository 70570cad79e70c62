"""Reports: results as one HTML page that needs no network."""

from xtl.publish.page import render, write_report
from xtl.publish.report import read_run, report_run

__all__ = ["read_run", "render", "report_run", "write_report"]
