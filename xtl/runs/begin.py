"""A run begun, or gone on with: its manifest is made, or compared with the study that is asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from xtl.errors import InputError
from xtl.files import discard, write_text
from xtl.foreign import printable
from xtl.runs.folder import (
    FORMAT,
    LOG,
    MANIFEST,
    SHARED_ACTIVATIONS,
    check_free,
    is_empty,
    read_manifest,
    set_aside,
    study_is_damaged,
)
from xtl.runs.jobs import Jobs
from xtl.runs.manifest import check_same, make_manifest
from xtl.runs.study import Study


def read_or_make_manifest(folder: Path, jobs: Jobs, allow_versions: bool) -> dict[str, Any]:
    """The manifest of a run: as it was written, if the study and its data are the same; else a new one, in a folder without maps.

    Raises:
        InputError: the folder holds another study, or other things.
    """
    made = {"format": FORMAT, **make_manifest(jobs)}
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        changes = check_same(manifest, made, allow_versions)
        if not changes:
            _mend_study(folder, manifest)
            return manifest
        if not is_empty(folder):
            raise refused(folder, changes)
        discard(folder / LOG)  # of a study of which nothing came
    else:
        check_free(folder, SHARED_ACTIVATIONS)  # workers may be quicker than we are
    write_text(folder / "study.yaml", jobs.study.to_yaml(), make_folder=False)
    write_text(folder / MANIFEST, as_json(made), make_folder=False)
    return made


def _mend_study(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a damaged `study.yaml` again."""
    if study_is_damaged(folder, manifest):
        print(
            f"xtl: {printable(folder / 'study.yaml')} is damaged; it is written again from {MANIFEST}", file=sys.stderr
        )
        set_aside(folder, "study.yaml")
        write_text(folder / "study.yaml", Study.model_validate(manifest["study"]).to_yaml(), make_folder=False)


def refused(folder: Path, changes: list[str]) -> InputError:
    """What to tell a user whose study is not the one that a run holds."""
    return InputError(
        f"{str(folder)!r} holds another study and is left as it is; changed: {'; '.join(changes)}. "
        "Give another folder, or the study as it was"
    )


def as_json(manifest: dict[str, Any]) -> str:
    """A manifest as it stands in its file."""
    return json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
