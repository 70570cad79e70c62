"""The run's journal: a line of JSON an event, appended and synced; what a killed process half wrote is cut off.

A line `{"file": ..., "sha256": ...}` is written *before* the file is moved into its place. A file is whole if its SHA-256 is one
that the journal gives for its name, or `SHA256SUMS`; the rest of the journal is for people and for `xtl status`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from xtl.errors import InputError, as_whole
from xtl.files import cannot_write

SUMS = "SHA256SUMS"


class Journal:
    """Events of a run, in `path`.

    Attributes:
        path: the file.
        events: what it held when it was read, without lines that are no events.
        damaged: how many lines are none; a last one that was torn by a kill, or is being written, is not counted.

    Raises:
        InputError: it can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events, self.damaged = read_events(path)

    def repair(self) -> None:
        """Cut off a last line that is not whole, so that the next one starts afresh. For the process that holds the lock."""
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(self.path, data.rfind(b"\n") + 1)

    def append(self, events: Sequence[dict[str, Any]]) -> None:
        """Add lines, at once and for good.

        Raises:
            InputError: they can't be written.
        """
        text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
        try:
            new = 0 if self.events else os.O_CREAT  # one that somebody took away is not begun anew without its events
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | new, 0o644)
            try:
                data = text.encode()
                while data:
                    data = data[os.write(handle, data) :]
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.events.extend(events)

    def latest(self) -> dict[int, dict[str, Any]]:
        """By pair the last that happened to it: an event with the key "done", "failed" or "lost"."""
        found: dict[int, dict[str, Any]] = {}
        for event in self.events:
            for kind in ("done", "failed", "lost"):
                if kind in event:
                    found[event[kind]] = event
        return found

    def checksums(self) -> dict[str, set[str]]:
        """By file (relative, with `/`) every SHA-256 that it may have: of the journal, and of `SHA256SUMS` beside it."""
        found = read_sums(self.path.with_name(SUMS))
        for event in self.events:
            if "file" in event:
                found.setdefault(event["file"], set()).add(event["sha256"])
        return found


def read_events(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The events of a journal, none if it isn't there; and how many lines are damaged: what they vouched for is computed again.

    Raises:
        InputError: it can't be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    whole, _, torn = data.rpartition(b"\n")
    events, damaged = [], 0
    for line in [*whole.split(b"\n"), torn]:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            damaged += bool(line) and line is not torn
            continue
        if is_event(event):
            events.append(event)
        else:
            damaged += 1
    return events, damaged


def is_event(event: Any) -> bool:
    """Whether a line of a journal says what it must.

    >>> is_event({"done": 3, "seconds": 0.5, "cells": 32}), is_event({"done": 3, "secondz": 0.5, "cells": 32})
    (True, False)
    """
    if not isinstance(event, dict):
        return False
    if "file" in event:
        return isinstance(event["file"], str) and isinstance(event.get("sha256"), str)
    number = next((as_whole(event[kind]) for kind in ("done", "failed", "lost") if kind in event), None)
    if number is None or number < 0:
        return False
    if "done" in event:
        seconds = event.get("seconds")
        return (
            isinstance(seconds, (int, float)) and 0 <= seconds < math.inf and as_whole(event.get("cells")) is not None
        )
    return "lost" in event or (isinstance(event.get("reason"), str) and isinstance(event.get("example", ""), str))


def read_sums(path: Path) -> dict[str, set[str]]:
    """The checksums of a `SHA256SUMS`, by file; none where it can't be read."""
    found: dict[str, set[str]] = {}
    with suppress(OSError):
        for line in path.read_bytes().decode(errors="replace").splitlines():
            digest, _, file = line.partition("  ")
            found.setdefault(file, set()).add(digest)
    return found
