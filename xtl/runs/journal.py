"""The run's journal: a line of JSON an event, appended and synced; what a killed process half wrote is cut off.

A line `{"file": ..., "sha256": ...}` is written *before* the file is moved into its place. A file is whole if its SHA-256 is one
that the journal gives for its name; the rest of the journal is for people and for `xtl status`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xtl.runs.files import cannot_write


class Journal:
    """Events of a run, in `path`.

    Attributes:
        path: the file.
        events: what it held when it was read, without lines that are no JSON.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events = read_events(path)

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
        """By file (relative, with `/`) every SHA-256 that it may have."""
        found: dict[str, set[str]] = {}
        for event in self.events:
            if "file" in event and "sha256" in event:
                found.setdefault(event["file"], set()).add(event["sha256"])
        return found


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a journal; none if it isn't there."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # torn by a kill, or damaged: what it vouched for is computed again
            continue
        if isinstance(event, dict):
            events.append(event)
    return events
