"""`open_run`: a run as xarray, read from disk when its values are asked for.

The Dataset has the form of `xtl.concat_maps`: dims `example, module, source_layer, target_layer`, coords for languages, prompts
and gold. Pairs that failed or are not done yet are not in it. Values are read a shard at a time, after its checksum was checked.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xtl.errors import InputError, check_choice
from xtl.files import sha256
from xtl.results import GAIN_DIMS
from xtl.runs.extent import Extent, extent_attrs, extent_of
from xtl.runs.journal import Journal
from xtl.runs.store import PENDING, TABLES, read_manifest
from xtl.runs.tables import EACH, METADATA, OPTIONS, PER_PAIR, PROMPTS, VALUES, rows_by_pair
from xtl.scoring.likelihood import NORMALISATIONS, UNITS

SHARD = re.compile(r"\d{5}_")
"""How the names of shards begin."""
KEPT = 16
"""Columns of shards that are kept in memory."""
COORDS = ("task", "source_lang", "target_lang", *PROMPTS)


def open_run(path: str | os.PathLike[str], *, model: str | None = None, task: str | None = None) -> xr.Dataset:
    """The maps of a run that are whole, lazily loaded; also while it is still at work, or from a folder that can't be written.

    Args:
        path: the run's folder.
        model: which model; needed where the run has several.
        task: which task; None for all of them, if their maps hold the same and can be put together.

    Returns:
        What `xtl.concat_maps` gives of the maps, with a coord `task` beside. The attributes `pairs_here` and `pairs_in_run` (of
        the chosen model and task) say how much of it there is; where that is not all, `extent` says in words what is not whole
        and which files are missing.

    Raises:
        InputError: no run there, nothing in it yet, several models and none chosen, a damaged file (when it is read: run the
            study again, which computes it anew).

    Example:
        >>> import xtl
        >>> results = xtl.open_run("runs/capitals")  # doctest: +SKIP
        >>> xtl.plots.gain_map(results)  # doctest: +SKIP
    """
    files = RunFiles(Path(path))
    table = files.vanilla()
    extent = files.extent(table, model, task)
    table = _choose(table, "model", model, needed=True)
    if task is not None or table["task"].nunique() > 1:
        table = _choose(table, "task", task, needed=False)
    axes = files.axes(int(table["pair"].iloc[0]))
    shape = (len(table), *(len(values) for values in axes.values()))
    numbers = table["pair"].to_numpy()
    files.check_alike(table)
    columns = files.columns(int(numbers[0]))
    data: dict[str, Any] = {}
    for name in VALUES:
        own = f"vanilla_{name}"
        if name in EACH and (own not in table or table[own].isna().any()):
            continue  # an earlier version computed some of the maps
        if name in columns:
            array = CellArray(files, name, numbers, shape, _steps(files) if name == "tokens" else None)
            dims = ("example", *GAIN_DIMS, *(["step"] if name == "tokens" else []))
            data[name] = xr.Variable(dims, indexing.LazilyIndexedArray(array), _unit(files, name))
        if own in table and table[own].notna().all():
            data[own] = _vanilla(table[own], name, _steps(files), _unit(files, name))
    named = [*COORDS, *([OPTIONS] if OPTIONS in table and table[OPTIONS].notna().all() else [])]
    coords = {name: ("example", table[name].to_numpy(dtype=object)) for name in named}
    coords = {name: (dim, values.astype(str)) for name, (dim, values) in coords.items()}
    attrs = files.attrs(table) | extent_attrs(extent)
    return xr.Dataset(
        data, coords={"example": table["example"].to_numpy(dtype=object).astype(str), **coords, **axes}, attrs=attrs
    )


class RunFiles:
    """The files of a run that its journal vouches for.

    Attributes:
        folder: the run.
        manifest: its manifest.
        journal: its journal, as it was when the run was opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.journal = Journal(folder / "log.jsonl")
        self._sums = self.journal.checksums()
        self._columns: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._home: dict[int, str] = {}

    def vanilla(self) -> pd.DataFrame:
        """A row a pair that is done, by number.

        Raises:
            InputError: nothing is done yet, or a file is damaged.
        """
        tables = []
        for file in self._in("vanilla"):
            cells = file.replace("vanilla/", "cells/")
            if (self.folder / cells).exists():
                tables.append((cells, self.read(file)))
        for file in self._in("pending"):
            cells = file.replace(".vanilla.", ".cells.")
            if file != cells and (self.folder / cells).exists():
                tables.append((cells, self.read(file)))
        for home, table in tables:
            for number in table["pair"].to_pylist():
                self._home.setdefault(number, home)
        if not self._home:
            raise InputError(f"the run at {str(self.folder)!r} has no map yet")
        self._attrs = {home: json.loads(table.schema.metadata[METADATA]) for home, table in tables}
        together = pa.concat_tables([table.replace_schema_metadata() for _, table in tables], promote_options="default")
        frame = together.to_pandas().drop_duplicates("pair").sort_values("pair", ignore_index=True)
        present = {home: self._pairs_in(home) for home in set(self._home.values())}
        for home, pairs in present.items():
            if pairs != {number for number, other in self._home.items() if other == home}:
                self.read(home)  # damaged, or a writer was killed between two files
        return frame[[number in present[self._home[number]] for number in frame["pair"]]].reset_index(drop=True)

    def homes(self, numbers: Iterable[int]) -> list[str]:
        """Files that hold the cells of these pairs, in the pairs' order."""
        return list(dict.fromkeys(self._home[number] for number in numbers))

    def whole(self) -> tuple[dict[int, int], list[str]]:
        """Cells of each pair that is whole, by number, and the files that are damaged. Every file is read and checked."""
        damaged: list[str] = []
        cells: dict[int, int] = {}
        by_file: dict[str, dict[int, int]] = {}
        for file in [
            *self._in("pending"),
            *self._in("cells"),
            *self._in("vanilla"),
        ]:  # in the order that a writer moves them
            try:
                numbers = self.read(file, ["pair"])["pair"].to_numpy()
            except InputError:
                if (self.folder / file).exists():
                    damaged.append(file)
                continue
            by_file[file] = dict(zip(*(part.tolist() for part in np.unique(numbers, return_counts=True)), strict=True))
        for file, counts in by_file.items():
            other = file.replace("vanilla/", "cells/").replace(".vanilla.", ".cells.")
            if file != other:
                cells |= {number: n for number, n in by_file.get(other, {}).items() if number in counts}
        return cells, damaged

    def extent(
        self, table: pd.DataFrame, model: str | None = None, task: str | None = None, direction: str | None = None
    ) -> Extent:
        """How much of the run, or of a model or task of it, there is in a table of `vanilla`."""
        return extent_of(self.manifest, table, self.missing(), model, task, direction)

    def missing(self) -> list[str]:
        """Files that the run had and that are no longer there."""
        known = [file for file in self._sums if file.startswith(tuple(f"{table}/" for table in TABLES))]
        return sorted(file for file in known if not (self.folder / file).exists())

    def read(self, file: str, columns: list[str] | None = None) -> pa.Table:
        """A file, or some of its columns.

        Raises:
            InputError: it is damaged, or gone.
        """
        try:
            data = (self.folder / file).read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"{str(self.folder / file)!r} is gone; open the run again") from error
        except OSError as error:
            raise self._damaged(file) from error
        if sha256(data) not in self._sums.get(file, set()):
            self._sums = Journal(self.folder / "log.jsonl").checksums()  # written since?
            if sha256(data) not in self._sums.get(file, set()):
                raise self._damaged(file)
        return pq.read_table(io.BytesIO(data), columns=columns)

    def axes(self, number: int) -> dict[str, list[Any]]:
        """Modules, source layers and target layers of a pair's map."""
        rows = self._rows(number, list(GAIN_DIMS))
        return {dim: list(dict.fromkeys(rows[dim].to_pylist())) for dim in GAIN_DIMS}

    def columns(self, number: int) -> list[str]:
        """Columns that a pair's cells have."""
        home = self._home[number]
        self.read(home, ["pair"])  # its checksum
        return pq.read_schema(self.folder / home).names

    def check_alike(self, table: pd.DataFrame) -> None:
        """Raise `InputError` where tasks hold different things."""
        firsts = table.drop_duplicates("task")
        kinds = {
            task: tuple(name for name in self.columns(int(number)) if name not in EACH)
            for task, number in zip(firsts["task"], firsts["pair"], strict=True)
        }
        if len(set(kinds.values())) > 1:
            raise InputError(f"the tasks' maps hold different things; open one at a time, task=: {', '.join(kinds)}")

    def values(self, number: int, column: str) -> Any:
        """One column of a pair's cells, in the file's order; a NumPy array, or a list for texts and tokens."""
        home = self._home[number]
        key = (home, column)
        if key not in self._columns:
            self._columns[key] = self._by_pair(home, column)
            while len(self._columns) > KEPT:
                self._columns.popitem(last=False)
        self._columns.move_to_end(key)
        return self._columns[key][number]

    def attrs(self, table: pd.DataFrame) -> dict[str, Any]:
        """Attributes that all maps share, and what the run is."""
        first, *others = [self._attrs[home] for home in self.homes(table["pair"])]
        common = {
            key: value for key, value in first.items() if all(key in other and other[key] == value for other in others)
        }
        for name in PER_PAIR:
            if name in table and table[name].notna().all():
                common[name] = table[name].max().item()
        tasks = list(dict.fromkeys(table["task"]))
        return common | ({"task": tasks[0]} if len(tasks) == 1 else {}) | {"run": str(self.folder)}

    @property
    def max_new_tokens(self) -> int:
        """Tokens of a generated answer."""
        return int(self.manifest["study"].get("max_new_tokens") or 0)

    def shared_attr(self, name: str) -> Any:
        """An attribute of any of the maps."""
        return next(iter(self._attrs.values())).get(name)

    def _damaged(self, file: str) -> InputError:
        return InputError(f"{str(self.folder / file)!r} is damaged; run the study again, which computes it anew")

    def _in(self, folder: str) -> list[str]:
        """The run's files in one of its folders; what else lies there is no part of it."""
        names = sorted(path.name for path in (self.folder / folder).glob("[!.]*.parquet"))
        if folder == "pending":
            names = [n for n in names if PENDING.fullmatch(n) and int(n.split(".")[0]) < self.manifest["pairs"]]
        else:
            ours = [name for name in names if f"{folder}/{name}" in self._sums]
            places = {
                name[:6] for name in ours
            }  # of a shard whose lines in the journal are damaged, its file is still ours
            names = [n for n in names if n in ours or (SHARD.match(n) and n[:6] not in places)]
        return [f"{folder}/{name}" for name in names]

    def _rows(self, number: int, columns: list[str]) -> pa.Table:
        table = self.read(self._home[number], ["pair", *columns])
        return table.filter(pc.equal(table["pair"], number))

    def _pairs_in(self, home: str) -> set[int]:
        try:
            return set(pq.read_table(self.folder / home, columns=["pair"])["pair"].unique().to_pylist())
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(home) from error

    def _by_pair(self, home: str, column: str) -> dict[int, Any]:
        table = self.read(home, ["pair", column])
        kind = table.schema.field(column).type
        nested = pa.types.is_list(kind) or pa.types.is_string(kind)
        values = table[column].to_pylist() if nested else table[column].to_numpy()
        return {number: values[rows] for number, rows in rows_by_pair(table)}


class CellArray(BackendArray):
    """One variable of all pairs' cells, `[example, module, source_layer, target_layer]`, read when it is asked for."""

    def __init__(
        self, files: RunFiles, column: str, numbers: np.ndarray, shape: tuple[int, ...], steps: int | None
    ) -> None:
        self.files = files
        self.column = column
        self.numbers = numbers
        self.shape = shape if steps is None else (*shape, steps)
        self.dtype = dtype_of(column)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._get)

    def _get(self, key: tuple[Any, ...]) -> np.ndarray:
        chosen = np.atleast_1d(self.numbers[key[0]])
        rest = (slice(None), *key[1:])
        blocks = [self._block(int(number)) for number in chosen]
        whole = np.stack(blocks) if blocks else np.empty((0, *self.shape[1:]), self.dtype)
        result = whole[rest]
        return result[0] if np.ndim(self.numbers[key[0]]) == 0 else result

    def _block(self, number: int) -> np.ndarray:
        values = self.files.values(number, self.column)
        shape = self.shape[1:]
        if self.column == "tokens":
            return _padded(values, shape[-1]).reshape(shape)
        block = np.empty(len(values), dtype=self.dtype)
        block[:] = values
        return block.reshape(shape)


def _choose(table: pd.DataFrame, column: str, wanted: str | None, needed: bool) -> pd.DataFrame:
    names = list(dict.fromkeys(table[column]))
    if wanted is None:
        if needed and len(names) > 1:
            raise InputError(f"the run has several {column}s; open one at a time, {column}=: {', '.join(names)}")
        return table
    check_choice(column, wanted, names)
    return table[table[column] == wanted].reset_index(drop=True)


def _steps(files: RunFiles) -> int:
    return files.max_new_tokens


def _unit(files: RunFiles, name: str) -> dict[str, Any]:
    for normalise, suffix in NORMALISATIONS.items():
        if name == f"score_{suffix}":
            return {"unit": UNITS[normalise]}
    unit = files.shared_attr("score_unit")
    return {"unit": unit} if name in ("score", "gain") and unit else {}


def _vanilla(column: pd.Series, name: str, steps: int, attrs: dict[str, Any]) -> xr.Variable:
    if name == "tokens":
        return xr.Variable(("example", "step"), _padded(column, steps))
    if name == "text":
        return xr.Variable(("example",), column.to_numpy(dtype=object).astype(str))
    return xr.Variable(("example",), column.to_numpy(dtype=dtype_of(name)), attrs)


def _padded(rows: Iterable[Any], steps: int) -> np.ndarray:
    """Tokens as an array `[row, step]`, -1 behind the last of each row."""
    rows = list(rows)
    padded = np.full((len(rows), steps), -1, dtype=np.int32)
    for row, tokens in enumerate(rows):
        if len(tokens) > steps:
            raise InputError(
                f"the manifest.json of this run is damaged: its max_new_tokens is {steps}, and an answer is longer"
            )
        padded[row, : len(tokens)] = tokens
    return padded


def dtype_of(name: str) -> np.dtype:
    """Type of a variable's values in memory.

    >>> dtype_of("gain"), dtype_of("tokens"), dtype_of("text")
    (dtype('float32'), dtype('int32'), dtype('O'))
    """
    kind = VALUES[name].value_type if pa.types.is_list(VALUES[name]) else VALUES[name]
    return np.dtype(kind.to_pandas_dtype())
