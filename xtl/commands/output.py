"""The folder that a command writes to: checked before any work, and what is kept in it while the work lasts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xtl.commands import library
from xtl.errors import InputError, check_flag, shown
from xtl.files import check_can_write, check_path
from xtl.foreign import as_json, printable

if TYPE_CHECKING:
    from xtl.pairs import ParallelPair
    from xtl.runs import KeptMaps

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
STOPPED = 130
"""Exit code of a command that was stopped by Ctrl-C."""
RESULTS = "results.parquet"
MAPS = "maps"


def check_out(out: Path, overwrite: bool | None = None) -> None:
    """Refuse, before any work, a folder that can't be written or whose results would be lost unasked.

    `overwrite` is what the user said of that; None where the command has no such flag.
    """
    if overwrite is not None:
        check_flag("overwrite", overwrite)
    check_folder(out)
    if not overwrite and (out / RESULTS).exists():
        flag = "" if overwrite is None else " or --overwrite"
        raise InputError(f"--out {str(out)!r} already holds results; give another folder{flag}")


def check_folder(out: Path, flag: str = "--out") -> None:
    """Raise `InputError` for what can't be a folder to write to: a file, a name that the system refuses, no permission."""
    check_path(flag, out / ".xtl-name")
    if out.exists() and not out.is_dir():
        raise InputError(f"{flag} {shown(str(out))} is a file; give a folder")
    check_can_write(out)


def wrote(*files: object) -> None:
    """Say on stdout which files were written."""
    print(printable("wrote " + ", ".join(map(str, files))))


def check_can_draw() -> None:
    """Raise `FigureError`, before any work, where no PNG can be drawn."""
    import plotly.graph_objects as go

    library.image_bytes(go.Figure(), "png", width=10, height=10)


def was_stopped(out: Path, task: str, pairs: Sequence[ParallelPair]) -> bool:
    """Whether the results in a folder are what a sweep of these pairs wrote when it was stopped."""
    if not ((out / RESULTS).exists() and (out / MAPS).exists()):
        return False

    found = library.load_results(out / RESULTS)
    asked = {(pair.id or str(index), pair.direction) for index, pair in enumerate(pairs)}
    columns = (found[name].values.astype(str) for name in ("example", "source_lang", "target_lang"))
    done = {(example, f"{source}->{target}") for example, source, target in zip(*columns, strict=True)}
    return found.attrs.get("task") == task and done <= asked


@contextmanager
def keeping_maps(out: Path) -> Iterator[KeptMaps]:
    """Keep maps in `out`/maps while it lasts. They stay if it is stopped or fails, and are removed once it is through."""

    yield library.KeptMaps(out / MAPS)
    shutil.rmtree(out / MAPS, ignore_errors=True)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(as_json(value))
