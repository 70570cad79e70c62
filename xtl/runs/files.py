"""Files that are whole or not there: written beside their place, synced to disk, then moved in.

A reader sees the old file or the new one, whatever happens to the writer, a power cut included.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xtl.errors import InputError

LEFTOVER = ".*.tmp"
"""Pattern of the temporary files that a killed process leaves."""


def write_whole(path: str | os.PathLike[str], write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a temporary file beside `path`, then move it there.

    Raises:
        InputError: it can't be written: no permission, no space, a folder in the way.
    """
    path = Path(path)
    temporary = stage(path, write)
    try:
        publish(temporary, path)
    finally:
        discard(temporary)
    return path


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """The same for a text, in UTF-8."""
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def stage(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a temporary file beside `path` and sync it to disk; return the temporary file.

    Raises:
        InputError: it can't be written; nothing is left of it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        sync(temporary)
    except BaseException as error:
        discard(temporary)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise
    return temporary


def discard(path: Path) -> None:
    """Remove a file, if that can be done."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Move a staged file to its place, for good."""
    try:
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def sync(path: Path) -> None:
    """Have the system put a file, or the names in a folder, on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # folders can't be opened there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """While it lasts, Ctrl-C and SIGTERM wait: files and what the program knows of them change together."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda number, frame: waiting.append(number)) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
        if waiting:
            signal.raise_signal(waiting[0])


def cannot_write(path: Path, error: OSError) -> InputError:
    """What to tell the user when a write fails."""
    return InputError(f"cannot write {str(path)!r}: {error.strerror or error}")


def sha256(data: bytes | Path) -> str:
    """SHA-256 of bytes or of a file, in hex.

    >>> sha256(b"xtl")[:8]
    '13966647'
    """
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256()
    with data.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
