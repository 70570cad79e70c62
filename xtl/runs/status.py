"""How far a run is, from another terminal; nothing is written and nobody is kept waiting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from xtl.foreign import printable
from xtl.progress import clock
from xtl.runs.extent import groups_of
from xtl.runs.folder import study_is_damaged
from xtl.runs.run_files import RunFiles


def run_status(folder: Path) -> dict[str, Any]:
    """What there is of a run.

    Returns:
        `run`, `at_work` (whether a process holds it; None where that can't be told), `pairs`, `pairs_done` (those whose files are
        there and whole; each is read), `missing` and `damaged` (files), `failed` (reasons by example, of pairs that failed when
        they were last tried), `seconds_a_map` (mean), `cells`, `groups` (pairs done by model, task and direction), `now`,
        `cells_per_second`, `seconds_left`, `sessions`.

    Raises:
        InputError: no run there, or one whose manifest or journal cannot be read.
    """
    files = RunFiles(folder)
    manifest = files.manifest
    cells, damaged = files.whole()
    latest = files.journal.latest()
    seconds = [event["seconds"] for number, event in latest.items() if "done" in event and number in cells]
    failed = {number: event for number, event in latest.items() if "failed" in event and number not in cells}
    if study_is_damaged(folder, manifest):
        damaged.append("study.yaml")
    if files.journal.damaged:
        damaged.append(f"log.jsonl ({files.journal.damaged} lines)")
    at_work = is_held(folder)
    live = _progress(folder) if at_work else {}
    return {
        "run": str(folder),
        "at_work": at_work,
        "pairs": manifest["pairs"],
        "pairs_done": len(cells),
        "missing": files.missing(),
        "damaged": damaged,
        "failed": {event.get("example", f"pair {number}"): event["reason"] for number, event in failed.items()},
        "cells": sum(cells.values()),
        "seconds_a_map": sum(seconds) / len(seconds) if seconds else None,
        "groups": [
            {
                "model": group.model,
                "task": group.task,
                "direction": group.direction,
                "pairs": len(group.numbers),
                "done": len(cells.keys() & group.numbers),
                "failed": len(failed.keys() & group.numbers),
            }
            for group in groups_of(manifest)
        ],
        "now": live.get("now", ""),
        "cells_per_second": live.get("cells_per_second"),
        "seconds_left": live.get("seconds_left"),
        "sessions": len(manifest["sessions"]),
    }


def in_words(status: dict[str, Any]) -> str:
    """A status as lines of text."""
    at_work = {True: "at work", False: "not at work", None: "at work or not: can't be told"}[status["at_work"]]
    lines = [
        f"{status['run']}: {at_work}; pairs {status['pairs_done']}/{status['pairs']}, {len(status['failed'])} failed"
    ]
    if status["seconds_a_map"] is not None:
        lines.append(f"{status['seconds_a_map']:.2f} s a map and worker, {status['cells']:,} cells")
    if status["at_work"] and status["cells_per_second"] is not None:
        left = "" if status["seconds_left"] is None else f", {clock(status['seconds_left'])} left"
        lines.append(f"now {status['now']}: {status['cells_per_second']:,.0f} cells a second{left}")
    for group in status["groups"]:
        if group["done"] < group["pairs"]:
            name = f"{group['model']} {group['task']} {group['direction']}"
            lines.append(f"  {name}: {group['done']}/{group['pairs']}, {group['failed']} failed")
    whole = sum(group["done"] == group["pairs"] for group in status["groups"])
    lines.append(f"  {whole} of {len(status['groups'])} directions whole")
    for kind in ("missing", "damaged"):
        lines += [f"  {kind}: {file}" for file in status[kind][:10]]
        if len(status[kind]) > 10:
            lines.append(f"  ... and {len(status[kind]) - 10} more {kind} files (--json has all)")
    if status["missing"] or status["damaged"]:
        lines.append("  the study, run again, computes what is missing or damaged anew")
    lines += [f"  failed: {example}: {why}" for example, why in list(status["failed"].items())[:10]]
    if len(status["failed"]) > 10:
        lines.append(f"  ... and {len(status['failed']) - 10} more (--json has all)")
    return "\n".join(map(printable, lines))


def is_held(folder: Path) -> bool | None:
    """Whether a process holds the run's lock; None where that can't be told."""
    if not (folder / ".lock").exists():
        return False
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return None
    lock.release()
    return False


def _progress(folder: Path) -> dict[str, Any]:
    """What the process at work wrote of itself last; what can't be read, or is of another kind, is left out."""
    try:
        said = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    kinds: dict[str, Any] = {"now": str, "cells_per_second": (int, float), "seconds_left": (int, float)}
    return {key: said[key] for key, kind in kinds.items() if isinstance(said, dict) and isinstance(said.get(key), kind)}
