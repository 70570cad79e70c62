"""The store of a run: its folder (`xtl.runs.folder`) in the hands of the process that writes it; it survives being killed.

One process writes, under a lock. A map is first written to `pending/` (two files); when all pairs of a shard are done, or the run
ends, they are joined to `cells/` and `vanilla/`. A pair counts as done where both of its files are there and have a checksum that
the journal knows. Files hold no times, so that a run that was interrupted ends with the same bytes as one that was not.
"""

from __future__ import annotations

import io
import sys
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xtl.errors import check_flag
from xtl.files import (
    LEFTOVER,
    discard,
    gone,
    publish,
    sha256,
    stage,
    uninterrupted,
    write_text,
    writing,
)
from xtl.foreign import printable
from xtl.runs.begin import as_json, read_or_make_manifest, refused
from xtl.runs.folder import LOG, MANIFEST, PENDING, TABLES, acquire, set_aside
from xtl.runs.jobs import Job, Jobs, Shard
from xtl.runs.journal import Journal
from xtl.runs.manifest import model_labels, new_session
from xtl.runs.model_record import model_changes
from xtl.runs.reports import MapFiles
from xtl.runs.tables import join_tables


class Store:
    """A run's folder, held by this process; a context manager.

    Args:
        folder: where; made if it isn't there.
        jobs: the study's jobs.
        allow_versions: go on although the software's versions have changed since.

    Attributes:
        done: numbers of the jobs whose maps are whole.
        failed: reasons by number, of the jobs that failed in this session.
        is_open: whether the folder is there and held by this process.
        damaged: files that were found damaged; their pairs are not among the done ones.

    Raises:
        InputError: another process holds the run; it holds another study; it can't be written.
    """

    def __init__(self, folder: Path, jobs: Jobs, allow_versions: bool = False) -> None:
        check_flag("allow_versions", allow_versions)
        self.folder = folder
        self.jobs = jobs
        self.allow_versions = allow_versions
        self.failed: dict[int, str] = {}
        self.damaged: list[str] = []
        self.is_open = False
        self._in_shards: dict[str, set[int]] = {}
        self._pending: dict[str, set[int]] = {}

    def __enter__(self) -> Store:
        self._lock = acquire(self.folder)
        try:
            with writing(self.folder):
                self._open()
        except BaseException:
            self._lock.release()
            raise
        self.is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self.compact_all()
        finally:
            self._lock.release()

    def _open(self) -> None:
        self.manifest = read_or_make_manifest(self.folder, self.jobs, self.allow_versions)
        for name in (".", *TABLES, "pending"):
            (self.folder / name).mkdir(exist_ok=True)
            for leftover in (self.folder / name).glob(LEFTOVER):
                leftover.unlink()
        self.journal = Journal(self.folder / LOG)
        self.journal.repair()
        self._find_whole()
        said = {number for number, event in self.journal.latest().items() if "done" in event}
        if lost := sorted(said - self.done):  # with a damaged file, or the writer was killed before it was in its place
            self.journal.append([{"lost": number} for number in lost])
        self.manifest["sessions"].append(new_session(len(self.done)))
        self.save_manifest()

    @property
    def done(self) -> set[int]:
        """Numbers of the jobs whose maps are whole."""
        return set().union(*self._in_shards.values(), *self._pending.values())

    def add(self, result: MapFiles) -> None:
        """Keep a map. Once this returns it is on disk for good.

        Raises:
            InputError: it can't be written; nothing of it is kept then.
        """
        parts = {f"pending/{result.number:06d}.{table}.parquet": getattr(result, table) for table in TABLES}
        done = {"done": result.number, "seconds": round(result.seconds, 3), "cells": result.n_cells}
        shard = self.jobs.shard_of(result.number)
        with uninterrupted(), writing(self.folder):
            self.check_there()
            self._write(parts, [done])
            self.failed.pop(result.number, None)
            self._pending.setdefault(shard.name, set()).add(result.number)
            if self._done_in(shard).issuperset(shard.numbers):
                self.compact(shard)

    def fail(self, job: Job, reason: str) -> None:
        """Record that a job failed, and why."""
        self.check_there()
        self.journal.append([{"failed": job.number, "example": self.named(job.number), "reason": reason}])
        self.failed[job.number] = reason

    def named(self, number: int) -> str:
        """A job as people know it: "en->es capitals/FR"; with its model where there are several."""
        job = self.jobs.all[number]
        models = model_labels(self.jobs.study)
        return " ".join([*([models[job.model]] if len(models) > 1 else []), job.direction, job.example])

    def compact(self, shard: Shard) -> None:
        """Join what is pending of a shard to its files."""
        numbers = self._pending.get(shard.name, set())
        if not numbers:
            return
        whole = self._in_shards.get(shard.name, set())
        joined = {}
        for table in TABLES:
            file = f"{table}/{shard.name}.parquet"
            old = [self.folder / file] if whole else []
            new = [self.folder / f"pending/{number:06d}.{table}.parquet" for number in sorted(numbers)]
            joined[file] = join_tables([path.read_bytes() for path in [*old, *new]])
        self._write(joined, [])
        self._in_shards[shard.name] = whole | numbers
        del self._pending[shard.name]
        self._remove_pending(numbers)

    def compact_all(self) -> None:
        """Join all that is pending, and write the checksums of all files."""
        with uninterrupted(), writing(self.folder):
            self.check_there()
            for shard in self.jobs.shards:
                self.compact(shard)
            files = [
                f"{table}/{name}.parquet" for name, numbers in self._in_shards.items() if numbers for table in TABLES
            ]
            lines = [f"{sha256(self.folder / file)}  {file}\n" for file in sorted(files)]
            write_text(self.folder / "SHA256SUMS", "".join(lines), make_folder=False)

    def note_model(self, name: str, record: dict[str, Any]) -> None:
        """Keep what is known of a loaded model, or compare it with what was known.

        Raises:
            InputError: it is another model than before.
        """
        known = self.manifest["models"].get(name)
        if known is None:
            self.manifest["models"][name] = record
            self.save_manifest()
            return
        changes = model_changes(known, record, self.allow_versions)
        if changes:
            raise refused(self.folder, [f"model {name}: {change}" for change in changes])
        self._note_what_was_unknown(name, known, record)

    def _note_what_was_unknown(self, name: str, known: dict[str, Any], record: dict[str, Any]) -> None:
        """A run of an earlier version knows a model by its weights alone: say so, and know all of it from now on."""
        unknown = [part for part in ("config", "tokenizer") if part in record and part not in known]
        if not unknown:
            return
        print(
            f"xtl: the run at {str(self.folder)!r} was begun by an earlier version, which noted of model {name!r} its weights "
            f"alone: whether its {' and '.join(unknown)} are the same cannot be told; they are noted from now on",
            file=sys.stderr,
        )
        known.update({part: value for part, value in record.items() if part not in known})
        self.save_manifest()

    def save_manifest(self) -> None:
        """Write `manifest.json`."""
        text = as_json(self.manifest)
        write_text(self.folder / MANIFEST, text, make_folder=False)
        self._manifest_text = text

    def check_there(self) -> None:
        """Raise `InputError` where the folder is no longer this run's: deleted or moved, with or without another in its place."""
        try:
            ours = (self.folder / MANIFEST).read_text(encoding="utf-8") == self._manifest_text
        except (OSError, UnicodeDecodeError):
            ours = False
        if not ours:
            raise gone(self.folder)

    def _write(self, files: dict[str, bytes], events: list[dict[str, Any]]) -> None:
        staged: dict[str, Path] = {}
        try:
            for file, data in files.items():
                staged[file] = stage(self.folder / file, partial(_fill, data=data), make_folder=False)
            sums = [{"file": file, "sha256": sha256(data)} for file, data in files.items()]
            self.journal.append([*sums, *events])
            for file, temporary in staged.items():
                publish(temporary, self.folder / file)
        finally:
            for temporary in staged.values():
                discard(temporary)

    def _done_in(self, shard: Shard) -> set[int]:
        return self._in_shards.get(shard.name, set()) | self._pending.get(shard.name, set())

    def _remove_pending(self, numbers: set[int]) -> None:
        for number in numbers:
            for table in TABLES:
                discard(self.folder / f"pending/{number:06d}.{table}.parquet")

    def _find_whole(self) -> None:
        """Fill in which pairs are done; set damaged files aside and drop what is there twice."""
        known = self.journal.checksums()
        for shard in self.jobs.shards:
            found = [self._numbers_in(f"{table}/{shard.name}.parquet", known) for table in TABLES]
            self._in_shards[shard.name] = found[0] & found[1]
            if found[0] != found[1]:  # killed between the two: what both hold counts, the rest is still pending
                self._trim(shard, found)
        waiting = [path for path in sorted((self.folder / "pending").iterdir()) if PENDING.fullmatch(path.name)]
        for number in dict.fromkeys(int(path.name.split(".")[0]) for path in waiting):
            if number >= len(self.jobs):
                continue
            shard = self.jobs.shard_of(number)
            if number in self._in_shards[shard.name]:
                self._remove_pending({number})
            elif all(self._numbers_in(f"pending/{number:06d}.{table}.parquet", known) == {number} for table in TABLES):
                self._pending.setdefault(shard.name, set()).add(number)
        pending: set[int] = set().union(*self._pending.values())
        for path in waiting:
            if path.is_dir():
                set_aside(self.folder, f"pending/{path.name}")
            elif int(path.name.split(".")[0]) not in pending:  # half of a map, or what was joined already
                discard(path)

    def _trim(self, shard: Shard, found: list[set[int]]) -> None:
        """Keep in both files of a shard only the pairs that both have, so that no reader finds a pair in one alone."""
        common = found[0] & found[1]
        for table, numbers in zip(TABLES, found, strict=True):
            file = f"{table}/{shard.name}.parquet"
            if numbers == common or not numbers:
                continue
            if not common:
                (self.folder / file).unlink()
                continue
            content = pq.read_table(self.folder / file)
            content = content.filter(pc.is_in(content["pair"], pa.array(sorted(common), pa.int32())))
            sink = io.BytesIO()
            pq.write_table(content, sink)
            self._write({file: join_tables([sink.getvalue()])}, [])

    def _numbers_in(self, file: str, known: dict[str, set[str]]) -> set[int]:
        """Pairs in a file; none if it isn't there, or damaged (then it is set aside and said so)."""
        path = self.folder / file
        if not path.exists():
            if file in known and not file.startswith("pending"):
                print(f"xtl: {printable(path)} is missing; its maps are computed again", file=sys.stderr)
            return set()
        try:
            data = path.read_bytes()
        except OSError:  # a folder in its place, a disk that lost it
            data = b""
        if sha256(data) in known.get(file, set()):
            return set(pq.read_table(io.BytesIO(data), columns=["pair"])["pair"].unique().to_pylist())
        set_aside(self.folder, file)
        self.damaged.append(file)
        print(
            f"xtl: {printable(path)} is damaged (its checksum is wrong); its maps are computed again", file=sys.stderr
        )
        return set()


def _fill(place: Path, data: bytes) -> None:
    place.write_bytes(data)
