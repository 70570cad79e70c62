"""`report_run`: the report of a folder: a run (also one that is unfinished), or the single sweep of `xtl sweep`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from xtl.errors import known_keywords
from xtl.files import check_file
from xtl.publish.page import CONTROL, write_report
from xtl.runs.reading import read_run


@known_keywords()
def report_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    model: str | None = None,
    task: str | None = None,
    title: str | None = None,
    command: str | None = None,
    control: str | os.PathLike[str] | None = None,
) -> Path:
    """Write the report of a run.

    Args:
        run, model, task: as for `xtl.runs.reading.read_run`.
        out: the HTML file; `report.html` in the run's folder by default.
        title: heading of the page.
        command: how the report was made, for its Details.
        control: the folder of the same study run with a control (`xtl run STUDY --control shuffled_source`): real minus control
            beside each map.

    Raises:
        InputError: see `xtl.runs.reading.read_run` and `xtl.publish.write_report`.
    """
    path = check_file(Path(run) / "report.html" if out is None else out)
    results, notes = read_run(run, model=model, task=task)
    beside = None
    if control is not None:
        beside, more = read_run(control, model=model, task=task)
        notes = [*notes, *(f"Of the control: {note}" for note in more)]
    return write_report(
        path, results, title=title, command=command, notes=notes, control=beside, to_control=how_to_control(Path(run))
    )


def how_to_control(run: Path) -> list[str]:
    """The commands that run the control of a folder and put it into its report.

    >>> for line in how_to_control(Path("runs/capitals")):
    ...     print(line)
    xtl run runs/capitals/study.yaml --control shuffled_source --out runs/capitals-control
    xtl report runs/capitals --control runs/capitals-control
    """
    folder, out = shlex.quote(str(run)), shlex.quote(f"{run}-control")
    again = f"xtl run {shlex.quote(str(run / 'study.yaml'))} --control {CONTROL} --out {out}"
    if (run / "results.parquet").exists():
        again = f"# the command that made {folder}, with --control {CONTROL} --out {out}"
    return [again, f"xtl report {folder} --control {out}"]
