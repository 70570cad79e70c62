"""The former name of `xtl.publish`; it goes with the next release."""

import warnings

from xtl.publish import render, report_run, write_report
from xtl.runs.reading import read_run

__all__ = ["read_run", "render", "report_run", "write_report"]

warnings.warn("xtl.report is called xtl.publish now (read_run: xtl.runs.reading)", DeprecationWarning, stacklevel=2)
