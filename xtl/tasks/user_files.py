"""The rows of a user's own file, JSONL, CSV or Parquet, each with where it is; sizes are bounded."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xtl.errors import InputError, one_line
from xtl.tasks.json_values import parse_json

MOST_BYTES = 2 * 10**9
MOST_VALUES = 50 * 10**6
"""Most that is read of a file: bytes, unpacked, and values; all of its rows are held in memory."""
SUFFIXES = (".jsonl", ".csv", ".parquet")


def rows_of_file(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each row is, and its values."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: unknown kind of file; valid: {', '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            for number, row in enumerate(_parquet_rows(path)):
                yield f"{path}, row {number}", row
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(f"{path} is no Parquet file: {one_line(error, 150)}") from error
        return
    _check_size(path, path.stat().st_size)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _csv_rows(path, file) if path.suffix == ".csv" else _jsonl_rows(path, file)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows, a few at a time: a small file can unpack to more than the memory, and its own figures don't say to how much."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        n_values = sum(group.column(place).num_values for group in groups for place in range(group.num_columns))
        if n_values > MOST_VALUES:
            raise InputError(f"{path} has {n_values:,} values; at most {MOST_VALUES:,} are read: give a part of it")
        unpacked = sum(group.total_byte_size for group in groups)
        _check_size(path, unpacked)
        unpacked = 0
        for batch in file.iter_batches(batch_size=64):
            # A column that is stored as a dictionary stays one in a batch, whose bytes don't say how long its texts are.
            for row in batch.to_pylist():
                unpacked += sum(map(_length, row.values()))
                _check_size(path, unpacked)
                yield row


def _length(value: Any) -> int:
    """Characters of the texts in a value, and one for anything else."""
    if isinstance(value, (str, bytes)):
        return len(value)
    return sum(map(_length, value)) if isinstance(value, list) else 1


def _check_size(path: Path, n_bytes: int) -> None:
    if n_bytes > MOST_BYTES:
        raise InputError(
            f"{path} unpacks to more than {MOST_BYTES // 10**9} GB, the most that is read: give a part of it"
        )


def _jsonl_rows(path: Path, file: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = parse_json(line)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: expected an object, got {row!r}")
        yield where, row


def _csv_rows(path: Path, file: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(file, strict=True)
    start = 1
    try:
        repeated = [column for column, count in Counter(reader.fieldnames or ()).items() if count > 1]
        if repeated:
            raise InputError(f"{path}, line 1: columns given more than once: {', '.join(repeated)}")
        start = reader.line_num + 1
        for row in reader:
            where = f"{path}, line {start}"
            start = reader.line_num + 1
            if None in row or None in row.values():
                raise InputError(f"{where}: another number of fields than the header")
            yield where, row
    except csv.Error as error:
        what = f"malformed CSV ({error})"
        if "field limit" in str(error):
            what = f"a field of more than {csv.field_size_limit():,} characters; JSONL and Parquet have no such limit"
        raise InputError(f"{path}, line {start}: {what}") from error
