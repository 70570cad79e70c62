"""`report_run`: the report of a folder: a run (also one that is unfinished), or the single sweep of `xtl sweep`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import xarray as xr

from xtl.errors import InputError, check_choice
from xtl.publish.page import write_report
from xtl.runs.extent import note_of


def read_run(
    run: str | os.PathLike[str], *, model: str | None = None, task: str | None = None
) -> tuple[list[xr.Dataset], list[str]]:
    """What a folder holds, a Dataset a model and task, and what a reader must know of it first.

    Args:
        run: the folder of `xtl run`, or that of `xtl sweep` (with `results.parquet`).
        model, task: only this one.

    Returns:
        The results, and notes: that the run is unfinished and how far it is, that pairs failed.

    Raises:
        InputError: no such folder, no run in it, nothing in the run yet, an unknown model or task.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise InputError(f"no run at {str(folder)!r}: there is no such folder")
    if (folder / "manifest.json").exists():
        return _study(folder, model, task)
    if (folder / "results.parquet").exists():
        from xtl.runs import load_results

        results = load_results(folder / "results.parquet")
        note = note_of(results)
        for argument, value in (("model", model), ("task", task)):
            if value is not None:
                check_choice(argument, value, [str(results.attrs.get(argument) or "")])
        return [results], [] if note is None else [f"This is {note}."]
    raise InputError(
        f"no run at {str(folder)!r}: it has neither manifest.json (of `xtl run`) nor results.parquet (of `xtl sweep`)"
    )


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
        run, model, task: as for `read_run`.
        out: the HTML file; `report.html` in the run's folder by default.
        title: heading of the page.
        command: how the report was made, for its Details.

    Raises:
        InputError: see `read_run` and `xtl.publish.write_report`.
    """
    results, notes = read_run(run, model=model, task=task)
    return write_report(out or Path(run) / "report.html", results, title=title, command=command, notes=notes)


def _study(folder: Path, model: str | None, task: str | None) -> tuple[list[xr.Dataset], list[str]]:
    from xtl.runs import open_run
    from xtl.runs.lazy import RunFiles
    from xtl.runs.status import run_status

    status = run_status(folder)
    progress = f"{status['pairs_done']:,} of {status['pairs']:,} pairs are done"
    if not status["pairs_done"]:
        raise InputError(f"the run at {str(folder)!r} has no map yet: {progress}")
    held = RunFiles(folder).vanilla()[["model", "task"]].drop_duplicates()
    for argument, value in (("model", model), ("task", task)):
        if value is not None:
            check_choice(argument, value, dict.fromkeys(held[argument]))
            held = held[held[argument] == value]
    if held.empty:
        raise InputError(f"the run at {str(folder)!r} has no map of model {model!r} and task {task!r} yet")
    results = [open_run(folder, model=row["model"], task=row["task"]) for row in held.to_dict("records")]
    return results, _notes(status, progress)


def _notes(status: dict[str, Any], progress: str) -> list[str]:
    notes = []
    if status["pairs_done"] < status["pairs"]:
        share = status["pairs_done"] / status["pairs"]
        short = [g for g in status["groups"] if g["done"] < g["pairs"]]
        named = ", ".join(
            f"{g['task']} {g['direction'].replace('->', ' → ')} {g['done']} of {g['pairs']}" for g in short[:6]
        )
        more = f" and {len(short) - 6} more" if len(short) > 6 else ""
        notes.append(f"This run is unfinished: {progress} ({share:.0%}). Not whole yet: {named}{more}.")
    if status["missing"]:
        notes.append(
            f"Files of this run are missing: {', '.join(status['missing'])}. Run again, the study computes them anew."
        )
    if status["failed"]:
        notes.append(f"{len(status['failed'])} pairs failed and are not in these numbers; `xtl status` says why.")
    return notes
