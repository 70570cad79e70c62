"""Files that are whole or not there: written beside their place, synced to disk, then moved in.

A reader sees the old file or the new one, whatever happens to the writer, a power cut included.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xtl.errors import InputError, XtlError, one_line, shown

LEFTOVER = ".*.tmp"
"""Pattern of the temporary files that a killed process leaves."""
RUST_ERROR = re.compile(r"\(os error (\d+)\)")
"""How Rust's standard library ends the text of a system's error."""


def write_whole(path: str | os.PathLike[str], write: Callable[[Path], Any], make_folder: bool = True) -> Path:
    """Let `write` fill a temporary file beside `path`, then move it there.

    Args:
        path: the file.
        write: is given the temporary file.
        make_folder: make its folder if it isn't there. False for what is at work in a folder: one that somebody has deleted or
            moved meanwhile is not made anew, half empty.

    Raises:
        InputError: it can't be written: no permission, no space, a folder in the way, or none.
    """
    path = check_file(path)
    temporary = stage(path, write, make_folder)
    try:
        publish(temporary, path)
    finally:
        discard(temporary)
    return path


def write_text(path: str | os.PathLike[str], text: str, make_folder: bool = True) -> Path:
    """The same for a text, in UTF-8."""
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), make_folder)


def stage(path: Path, write: Callable[[Path], Any], make_folder: bool = True) -> Path:
    """Let `write` fill a temporary file beside `path` and sync it to disk; return the temporary file.

    Raises:
        InputError: it can't be written; nothing is left of it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            if make_folder:
                path.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
            sync(temporary)
    except BaseException:
        discard(temporary)
        raise
    return temporary


def discard(path: Path) -> None:
    """Remove a file, if that can be done."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Move a staged file to its place, for good."""
    with writing(path):
        os.replace(temporary, path)
        sync(path.parent)


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


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """While it lasts, whatever a library raises because the disk says no becomes one line about `path`.

    >>> with writing("map.safetensors"):
    ...     raise RuntimeError("I/O error: No space left on device (os error 28)")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: cannot write 'map.safetensors': No space left on device
    """
    try:
        yield
    except XtlError:
        raise
    except Exception as error:
        said = disk_error(error)
        if said is None:
            raise
        raise cannot_write(path, said) from error


def disk_error(error: BaseException) -> OSError | None:
    """The system's error behind what was raised; None where there is none.

    Libraries in Rust (safetensors, tokenizers) have errors of their own, with the system's number in the text alone.
    """
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        if isinstance(link, OSError):
            return link
        if found := RUST_ERROR.search(str(link)):
            number = int(found[1])
            return OSError(number, os.strerror(number))
        seen.append(link)
        link = link.__cause__ or link.__context__
    return None


def cannot_write(path: str | os.PathLike[str], error: OSError) -> InputError:
    """What to tell the user when a write fails."""
    said = os.strerror(error.errno) if error.errno else error.strerror or one_line(error)
    return InputError(f"cannot write {os.fspath(path)!r}: {said}")


def gone(folder: Path) -> InputError:
    """What to tell the user when the folder that is written to is no longer there."""
    return InputError(
        f"{str(folder)!r} is no longer there (deleted or moved while it was written to); nothing more is written: put it back, "
        "and the same command goes on from there"
    )


def check_can_write(folder: Path) -> None:
    """Raise `InputError`, before any work and without a trace, where a folder can't be written, or made where it isn't there."""
    try:
        nearest = next(place for place in [folder.absolute(), *folder.absolute().parents] if place.exists())
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"no permission in {str(nearest)!r}")
        check_path("folder", folder / ".xtl-name")  # a name in a folder that isn't there yet can be wrong, too
        with tempfile.TemporaryFile(dir=nearest):  # /proc says that root may
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write {shown(str(folder))}: {why}") from error


def check_path(argument: str, path: str | os.PathLike[str]) -> Path:
    """A path that the file system can look up, whether or not something is there. Raises `InputError`.

    >>> check_path("--out", "runs/capitals").name
    'capitals'
    """
    path = Path(path)
    try:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{argument} {shown(str(path), 80)} can't be a path: {why}") from error
    return path


def check_file(path: str | os.PathLike[str]) -> Path:
    """A path that a file can be written to: nothing is there, or a file, which is then replaced. Raises `InputError`.

    >>> check_file("/dev/null")
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: cannot write '/dev/null': it is no file but a device or a pipe, which would be replaced
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        check_path("file", path.with_name(f".{path.name}.{os.getpid()}.tmp"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write {shown(str(path), 80)}: {why}") from error
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write {str(path)!r}: it is no file but a device or a pipe, which would be replaced")
    return path


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
