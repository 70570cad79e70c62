"""The files of a run as whoever reads them may trust them: each is checked against the journal before it is used."""

from __future__ import annotations

import io
import json
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

from xtl.errors import InputError
from xtl.files import sha256
from xtl.results import GAIN_DIMS
from xtl.runs.extent import Extent, extent_of
from xtl.runs.folder import LOG, PENDING, TABLES, read_manifest
from xtl.runs.journal import Journal
from xtl.runs.tables import EACH, METADATA, NUMBERS, PER_PAIR, rows_by_pair

SHARD = re.compile(r"\d{5}_")
"""How the names of shards begin."""
KEPT = 16
"""Columns of shards that are kept in memory."""


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
        self.journal = Journal(folder / LOG)
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
            self._sums = Journal(self.folder / LOG).checksums()  # written since?
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
        table = self.read(home, ["pair", column]).combine_chunks()
        kind = table.schema.field(column).type
        if kind == NUMBERS:  # a number an option, alike within a pair
            lists = table[column].chunk(0)
            return {
                number: lists[rows].flatten().to_numpy().reshape(rows.stop - rows.start, -1)
                for number, rows in rows_by_pair(table)
            }
        nested = pa.types.is_list(kind) or pa.types.is_string(kind)
        values = table[column].to_pylist() if nested else table[column].to_numpy()
        return {number: values[rows] for number, rows in rows_by_pair(table)}
