"""How far a run is, from another terminal; nothing is written and nobody is kept waiting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xtl.progress import clock
from xtl.runs.journal import Journal
from xtl.runs.store import read_manifest


def run_status(folder: Path) -> dict[str, Any]:
    """What there is of a run.

    Returns:
        `run`, `at_work` (whether a process holds it; None where that can't be told), `pairs`, `pairs_done`, `failed` (reasons by
        example, of pairs that failed when they were last tried), `seconds_a_map` (mean), `cells`, `groups` (pairs done by model,
        task and direction), `now`, `cells_per_second`, `seconds_left`, `sessions`.

    Raises:
        InputError: no run there.
    """
    manifest = read_manifest(folder)
    latest = Journal(folder / "log.jsonl").latest()
    done = {number: event for number, event in latest.items() if "done" in event}
    failed = {number: event for number, event in latest.items() if "failed" in event}
    live = _progress(folder)
    at_work = is_held(folder)
    return {
        "run": str(folder),
        "at_work": at_work,
        "pairs": manifest["pairs"],
        "pairs_done": len(done),
        "failed": {event.get("example", f"pair {number}"): event["reason"] for number, event in failed.items()},
        "cells": sum(event["cells"] for event in done.values()),
        "seconds_a_map": sum(event["seconds"] for event in done.values()) / len(done) if done else None,
        "groups": _groups(manifest, set(done), set(failed)),
        "now": live.get("now", "") if at_work else "",
        "cells_per_second": live.get("cells_per_second") if at_work else None,
        "seconds_left": live.get("seconds_left") if at_work else None,
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
        if 0 < group["done"] + group["failed"] < group["pairs"] or group["failed"]:
            name = f"{group['model']} {group['task']} {group['direction']}"
            lines.append(f"  {name}: {group['done']}/{group['pairs']}, {group['failed']} failed")
    whole = sum(group["done"] == group["pairs"] for group in status["groups"])
    lines.append(f"  {whole} of {len(status['groups'])} directions whole")
    lines += [f"  failed: {example}: {why}" for example, why in list(status["failed"].items())[:10]]
    if len(status["failed"]) > 10:
        lines.append(f"  ... and {len(status['failed']) - 10} more (--json has all)")
    return "\n".join(lines)


def is_held(folder: Path) -> bool | None:
    """Whether a process holds the run's lock; None where that can't be told."""
    from filelock import FileLock, Timeout

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


def _groups(manifest: dict[str, Any], done: set[int], failed: set[int]) -> list[dict[str, Any]]:
    groups = []
    start = 0
    for model in manifest["study"]["models"]:
        for data in manifest["data"]:
            numbers = range(start, start + data["n"])
            start += data["n"]
            groups.append(
                {
                    "model": model["name"],
                    "task": data["task"],
                    "direction": data["direction"],
                    "pairs": data["n"],
                    "done": len(done.intersection(numbers)),
                    "failed": len(failed.intersection(numbers)),
                }
            )
    return groups


def _progress(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
