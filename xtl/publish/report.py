"""`report_run`: the report of a folder: a run (also one that is unfinished), or the single sweep of `xtl sweep`."""

from __future__ import annotations

import os
from pathlib import Path

from xtl.files import check_file
from xtl.publish.page import write_report
from xtl.runs.reading import read_run


def report_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    model: str | None = None,
    task: str | None = None,
    title: str | None = None,
    command: str | None = None,
) -> Path:
    """Write the report of a run.

    Args:
        run, model, task: as for `xtl.runs.reading.read_run`.
        out: the HTML file; `report.html` in the run's folder by default.
        title: heading of the page.
        command: how the report was made, for its Details.

    Raises:
        InputError: see `xtl.runs.reading.read_run` and `xtl.publish.write_report`.
    """
    path = check_file(Path(run) / "report.html" if out is None else out)
    results, notes = read_run(run, model=model, task=task)
    return write_report(path, results, title=title, command=command, notes=notes)
