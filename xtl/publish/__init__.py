"""What others see: results as one HTML page that needs no network, figures for papers, tables, a notebook's view."""

from xtl.publish.page import render, write_report
from xtl.publish.report import report_run

__all__ = ["render", "report_run", "write_report"]
