"""The report of a sweep: one HTML page that works offline. See `xtl.report.page`."""

from xtl.report.page import write_report

__all__ = ["write_report"]
