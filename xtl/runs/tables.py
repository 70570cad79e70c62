"""A map as rows of Parquet, and back.

Two tables: `cells` holds a row a cell and instance, `vanilla` a row an instance without a transplant, with its prompts. Texts are
plain strings, dictionary-encoded in the file; scores are float32 with their bytes split, which zstd packs better. Whatever reads
Parquet reads them; `pair` (and `example` with the languages) joins the two.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from xtl.results import GAIN_DIMS
from xtl.results.details import ALONG, CONFIDENCE
from xtl.results.units import NORMALISATIONS
from xtl.runs.jobs import Job

KEYS = ("pair", "model", "task", "source_lang", "target_lang", "example")
"""Columns that both tables begin with."""
NUMBERS = pa.list_(pa.float32())
"""Several numbers of a cell: one an option, as many as the pair has."""
EACH = {
    f"{name}_{suffix}": kind
    for suffix in NORMALISATIONS.values()
    for name, kind in (("score", pa.float32()), ("correct", pa.bool_()))
}
"""Each likelihood, raw and normalised, of maps whose score is normalised."""
VALUES = {
    "score": pa.float32(),
    "gain": pa.float32(),
    "correct": pa.bool_(),
    "similarity": pa.float32(),
    "text": pa.string(),
    "tokens": pa.list_(pa.int32()),
    **EACH,
    **dict.fromkeys(ALONG, NUMBERS),
    **dict.fromkeys(CONFIDENCE, pa.float32()),
    "agrees_with_vanilla": pa.bool_(),
    "agrees_with_source": pa.bool_(),
}
"""What a map may hold for each cell, and of `RUNS` for what each is named after."""
RUNS = ("vanilla", "source")
"""Runs without a transplant of a pair, in the table `vanilla`: `vanilla_score`, `source_score`, ..."""
PER_PAIR = {"verified_cells": pa.int32(), "verified_largest_difference": pa.float64()}
"""Attributes of a map that differ from pair to pair; columns of `vanilla`."""
PROMPTS = ("source", "target", "gold")
OPTIONS = "options"
"""What was scored by likelihood, as JSON: of each option its tokens, its bytes and whether it was tokenised alone."""
METADATA = b"xtl"


def encode_map(result: xr.Dataset, job: Job, model: str) -> tuple[bytes, bytes]:
    """One map as the bytes of two Parquet files, `cells` and `vanilla`."""
    shape = tuple(result.sizes[dim] for dim in GAIN_DIMS)
    n_cells = int(np.prod(shape))
    keys: dict[str, str | int] = {
        "pair": job.number,
        "model": model,
        "task": job.task,
        "source_lang": str(result["source_lang"].item()),
        "target_lang": str(result["target_lang"].item()),
        "example": job.example,
    }
    cells = {name: _constant(value, n_cells) for name, value in keys.items()}
    grid = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    for dim, index in zip(GAIN_DIMS, grid, strict=True):
        labels = pa.array(result[dim].values.tolist(), pa.string() if dim == "module" else pa.int16())
        cells[dim] = labels.take(pa.array(index.ravel()))
    vanilla = {name: _constant(value, 1) for name, value in keys.items()}
    vanilla |= {name: pa.array([str(result[name].item())], pa.string()) for name in PROMPTS}
    if OPTIONS in result.coords:
        vanilla[OPTIONS] = pa.array([str(result[OPTIONS].item())], pa.string())
    for name, kind in VALUES.items():
        if name in result:
            cells[name] = _column(result[name].values, n_cells, kind)
        for own in (f"{run}_{name}" for run in RUNS):
            if own in result:
                vanilla[own] = _column(result[own].values, 1, kind)
    for name, kind in PER_PAIR.items():
        vanilla[name] = pa.array([result.attrs.get(name)], kind)
    attrs = {key: value for key, value in result.attrs.items() if key not in (*PER_PAIR, "source", "target")}
    return tuple(to_bytes(pa.table(columns), attrs) for columns in (cells, vanilla))  # type: ignore[return-value]


def to_bytes(table: pa.Table, attrs: dict[str, Any]) -> bytes:
    """A table as Parquet in one row group: zstd, dictionaries for texts and labels; `attrs` in the file's metadata."""
    kinds = {name: table.schema.field(name).type for name in table.column_names}
    floats = [name for name, kind in kinds.items() if kind in (pa.float32(), NUMBERS)]
    leaves = [f"{name}.list.element" if kinds[name] == NUMBERS else name for name in floats]
    schema = table.schema.with_metadata({METADATA: json.dumps(attrs, ensure_ascii=False).encode()})
    sink = io.BytesIO()
    pq.write_table(
        table.cast(schema),
        sink,
        compression="zstd",
        compression_level=3,
        use_dictionary=[name for name in table.column_names if name not in floats and name not in ("tokens", "text")]
        + [name for name in ("text",) if name in table.column_names],
        column_encoding=dict.fromkeys(leaves, "BYTE_STREAM_SPLIT"),
        row_group_size=max(table.num_rows, 1),
        write_statistics=["pair"],
        write_page_checksum=True,
    )
    return sink.getvalue()


def join_tables(files: Sequence[bytes]) -> bytes:
    """Tables of several pairs as one file, in the order of their pairs; attributes that differ are dropped."""
    tables = [pq.read_table(io.BytesIO(data)) for data in files]
    attrs = [json.loads(table.schema.metadata[METADATA]) for table in tables]
    common = {
        key: value
        for key, value in attrs[0].items()
        if all(key in other and other[key] == value for other in attrs[1:])
    }
    pieces: dict[int, pa.Table] = {}  # by pair, so that none can come twice
    for table in tables:
        for number, rows in rows_by_pair(table):
            pieces[number] = table.slice(rows.start, rows.stop - rows.start)
    # An earlier version may have begun the run, whose maps hold less.
    parts = [pieces[number].replace_schema_metadata() for number in sorted(pieces)]
    joined = pa.concat_tables(parts, promote_options="default")
    return to_bytes(joined.combine_chunks(), common)


def rows_by_pair(table: pa.Table) -> Iterator[tuple[int, slice]]:
    """Each pair of a table with its rows, which stand together.

    >>> list(rows_by_pair(pa.table({"pair": [4, 4, 7]})))
    [(4, slice(0, 2, None)), (7, slice(2, 3, None))]
    """
    numbers = table["pair"].to_numpy()
    for start, stop in pairwise([0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]):
        yield int(numbers[start]), slice(start, stop)


def _constant(value: str | int, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.int32() if isinstance(value, int) else pa.string()), n)


def _column(values: np.ndarray, n: int, kind: pa.DataType) -> pa.Array:
    if kind == NUMBERS:
        ends = np.arange(n + 1, dtype=np.int32) * (values.size // n)
        return pa.ListArray.from_arrays(ends, pa.array(values.reshape(-1), pa.float32()), kind)
    if pa.types.is_list(kind):
        rows = values.reshape(n, -1)
        return pa.array([[int(token) for token in row if token >= 0] for row in rows], kind)
    return pa.array(np.asarray(values).reshape(n).tolist() if kind == pa.string() else values.reshape(n), kind)
