"""Opening what was written: the folder of a run, of a single sweep or of a protocol, or a file of results.

`open_results` gives one Dataset, `read_run` a Dataset a model and task with what a reader must know of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import xarray as xr

from xtl.errors import InputError, check_choice, known_keywords
from xtl.foreign import printable
from xtl.languages import arrow
from xtl.results.details import pad_options
from xtl.runs.extent import extent_attrs, note_of
from xtl.runs.lazy import open_run
from xtl.runs.results import load_results
from xtl.runs.run_files import RunFiles
from xtl.runs.status import run_status

RESULTS = "results.parquet"
"""The file of a single sweep, or of a protocol."""


@known_keywords()
def open_results(path: str | os.PathLike[str]) -> xr.Dataset:
    """Stored results as xarray: a Parquet file of `xtl.runs.save_results`, a folder that holds one, or the folder of `xtl run`.

    Of a run of several tasks whose maps hold different things (right answers are known for some alone), what all of them hold.

    Raises:
        InputError: none of these; a run whose tasks are not scored alike.
    """
    path = Path(path)
    if path.is_dir() and (path / RESULTS).exists():
        return load_results(path / RESULTS)
    if path.is_dir() and (path / "manifest.json").exists():
        return _open_tasks(path)
    if path.is_file():
        return load_results(path)
    raise InputError(f"no run at {str(path)!r}: give a {RESULTS}, a folder that holds one, or the folder of `xtl run`")


def open_apart(path: str | os.PathLike[str]) -> list[xr.Dataset]:
    """Stored results as `open_results` gives them, but those of tasks that are not scored alike each for itself."""
    folder = Path(path)
    if (folder / RESULTS).exists() or not (folder / "manifest.json").exists():
        return [open_results(path)]
    tasks = list(dict.fromkeys(RunFiles(folder).vanilla()["task"]))
    return [open_results(path)] if len(tasks) == 1 else _together(_by_score(folder, tasks))


def say_extent(path: Path, results: xr.Dataset) -> xr.Dataset:
    """The same results; where they are of a part of a run, that is said on stderr."""
    if note := note_of(results):
        print(printable(f"xtl: {path} is {note}"), file=sys.stderr)
    return results


def _open_tasks(folder: Path) -> xr.Dataset:
    files = RunFiles(folder)
    table = files.vanilla()
    tasks = list(dict.fromkeys(table["task"]))
    if len(tasks) == 1:
        return open_run(folder)
    scored = _by_score(folder, tasks)
    if len(scored) > 1:  # among options, and of an answer: their means mean nothing together
        told = "; ".join(f"{part.attrs.get('task')}: {score}" for score, parts in scored.items() for part in parts)
        raise InputError(
            f"the tasks of {str(folder)!r} are not scored alike ({told}): run them as studies of their own"
        )
    (together,) = _together(scored)
    together.attrs.pop("extent", None)  # of one of the tasks
    return together.assign_attrs(extent_attrs(files.extent(table)))


def _by_score(folder: Path, tasks: list[str]) -> dict[str, list[xr.Dataset]]:
    """The tasks' results by how they are scored."""
    found: dict[str, list[xr.Dataset]] = {}
    for task in tasks:
        part = open_run(folder, task=task)
        found.setdefault(str(part.attrs.get("score")), []).append(part)
    return found


def _together(scored: dict[str, list[xr.Dataset]]) -> list[xr.Dataset]:
    """One result a way of scoring, with what all of its tasks hold."""
    joined = []
    for parts in scored.values():
        shared = [name for name in parts[0].data_vars if all(name in part for part in parts)]
        padded = pad_options([part[shared] for part in parts])
        joined.append(xr.concat(padded, dim="example", combine_attrs="drop_conflicts", join="exact"))
    return joined


@known_keywords()
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
        results = load_results(folder / "results.parquet")
        note = note_of(results)
        for argument, value in (("model", model), ("task", task)):
            if value is not None:
                check_choice(argument, value, [str(results.attrs.get(argument) or "")])
        return [results], [] if note is None else [f"This is {note}."]
    raise InputError(
        f"no run at {str(folder)!r}: it has neither manifest.json (of `xtl run`) nor results.parquet (of `xtl sweep`)"
    )


def of_direction(
    run: str | os.PathLike[str], results: xr.Dataset, direction: str, model: str | None = None, task: str | None = None
) -> xr.Dataset:
    """Results of one direction of `read_run`'s, with attributes that say how much of that direction there is."""
    if not (Path(run) / "manifest.json").exists():
        return results  # of a single sweep
    files = RunFiles(Path(run))
    table = files.vanilla()
    if model is None:  # the only one that has maps
        model = str(table["model"][table["task"] == (task or table["task"].iloc[0])].iloc[0])
    extent = files.extent(table, model, task or str(results["task"].values[0]), direction)
    attrs = {key: value for key, value in results.attrs.items() if key != "extent"} | extent_attrs(extent)
    return results.drop_attrs(deep=False).assign_attrs(attrs)


def _study(folder: Path, model: str | None, task: str | None) -> tuple[list[xr.Dataset], list[str]]:
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
        named = ", ".join(f"{g['task']} {arrow(g['direction'])} {g['done']} of {g['pairs']}" for g in short[:6])
        more = f" and {len(short) - 6} more" if len(short) > 6 else ""
        notes.append(f"This run is unfinished: {progress} ({share:.0%}). Not whole yet: {named}{more}.")
    if status["missing"]:
        notes.append(
            f"Files of this run are missing: {', '.join(status['missing'])}. Run again, the study computes them anew."
        )
    if status["failed"]:
        notes.append(f"{len(status['failed'])} pairs failed and are not in these numbers; `xtl status` says why.")
    return notes
