"""The folder of a run: what lies where, and whether it is one.

study.yaml      the study, with all that it leaves open filled in
manifest.json   versions, models with the hash of their weights, tasks with the hash of their data, seed, machine
cells/          Parquet, a row a cell and instance
vanilla/        Parquet, a row an instance without a transplant, with its prompts
pending/        maps of shards that are not whole yet, a pair a file; empty at the end of a run
log.jsonl       the journal: checksums, failures, seconds
SHA256SUMS      for `sha256sum -c`, at the end of a run
README.md       a card for people and for the Hugging Face hub, written anew at the end of each session
"""

from __future__ import annotations

import json
import re
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from xtl.errors import InputError
from xtl.files import cannot_write
from xtl.runs import yaml12
from xtl.runs.journal import read_events
from xtl.runs.manifest import flaw_of

TABLES = ("cells", "vanilla")
FORMAT = 1
MANIFEST = "manifest.json"
LOG = "log.jsonl"
SHARED_ACTIVATIONS = "activations"
"""Where workers on this machine share source activations while a run is at work."""
ACTIVATION = re.compile(r"[0-9a-f]{64}\.safetensors|\..*\.tmp")
"""Names of files in it, whole or half written."""
PENDING = re.compile(r"\d{6,}\.(cells|vanilla)\.parquet")
"""Names of files in `pending/`; others that lie there are left alone."""


def acquire(folder: Path) -> FileLock:
    """The lock of a run, taken.

    Raises:
        InputError: another process holds it, or the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=1)
    except Timeout as error:
        raise InputError(
            f"another process is at work on {str(folder)!r}: wait for it (`xtl status` says how far it is), "
            "or give another folder"
        ) from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    return lock


def check_free(folder: Path, *ours: str) -> None:
    """Raise `InputError` where a folder without a run holds other things than what we put there ourselves, `ours` among it."""
    names = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
    allowed = (".lock", "study.yaml", *ours, *([SHARED_ACTIVATIONS] if _left_by_a_run(folder) else []))
    others = [name for name in names if name not in allowed and not name.endswith(".tmp")]
    if others:
        raise InputError(f"{str(folder)!r} holds other things ({others[0]}) and no run; give another folder")


def _left_by_a_run(folder: Path) -> bool:
    """Whether the shared activations are ours, of a run that was killed before it had a manifest: they stay in nobody's way."""
    shared = folder / SHARED_ACTIVATIONS
    names = [entry.name for entry in shared.iterdir()] if shared.is_dir() else []
    return all(map(ACTIVATION.fullmatch, names)) and bool(names or (folder / ".lock").exists())


def is_empty(folder: Path) -> bool:
    """Whether a run holds no map and never held one: another study may take its place."""
    if any(path.is_file() for table in (*TABLES, "pending", "damaged") for path in (folder / table).rglob("*")):
        return False
    return not any("done" in event or "file" in event for event in read_events(folder / LOG)[0])


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        InputError: no run there, or one of another format.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        why = "it has no manifest.json" if folder.is_dir() else "there is no such folder"
        raise InputError(f"no run at {str(folder)!r}: {why}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the run at {str(folder)!r}: {error}") from error
    flaw = flaw_of(manifest)
    if flaw is None and manifest["format"] != FORMAT:
        raise InputError(f"{str(folder)!r} is not a run of this version of xtl")
    if flaw is not None:
        raise InputError(
            f"the manifest.json of the run at {str(folder)!r} is damaged: {flaw}; put back a copy of it, or run the study into "
            "another folder"
        )
    return manifest


def study_is_damaged(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether the run's `study.yaml` is gone, cannot be read, or holds another study than the manifest."""
    try:
        return bool(yaml12.load((folder / "study.yaml").read_text(encoding="utf-8")) != manifest["study"])
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return True


def set_aside(folder: Path, file: str) -> None:
    """Move a damaged file to `damaged/`, if it is there; an earlier one of its name stays beside it."""
    if not (folder / file).exists():
        return
    places = (folder / "damaged" / (file if not n else f"{file}.{n}") for n in count())
    aside = next(place for place in places if not place.exists())
    aside.parent.mkdir(parents=True, exist_ok=True)
    (folder / file).replace(aside)
