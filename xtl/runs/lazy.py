"""`open_run`: a run as xarray, read from disk when its values are asked for.

The Dataset has the form of `xtl.concat_maps`: dims `example, module, source_layer, target_layer`, coords for languages, prompts
and gold. Pairs that failed or are not done yet are not in it. Values are read a shard at a time, after its checksum was checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xtl.errors import InputError, check_choice, known_keywords
from xtl.results import GAIN_DIMS
from xtl.results.details import ALONG, attrs_of
from xtl.runs.extent import extent_attrs
from xtl.runs.run_files import RunFiles
from xtl.runs.tables import EACH, OPTIONS, PROMPTS, RUNS, VALUES

COORDS = ("task", "source_lang", "target_lang", *PROMPTS)


@known_keywords()
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
    sizes = sizes_along(table)
    widths = {"tokens": ("step", files.max_new_tokens)} | {name: (dim, sizes[dim]) for name, dim in ALONG.items()}
    unit = files.shared_attr("score_unit")
    data: dict[str, Any] = {}
    for name in VALUES:
        last = widths.get(name)
        if name in EACH and (f"vanilla_{name}" not in table or table[f"vanilla_{name}"].isna().any()):
            continue  # an earlier version computed some of the maps
        if name in columns:
            array = CellArray(files, name, numbers, shape if last is None else (*shape, last[1]))
            dims = ("example", *GAIN_DIMS, *([] if last is None else [last[0]]))
            data[name] = xr.Variable(dims, indexing.LazilyIndexedArray(array), attrs_of(name, unit))
        for own in (f"{run}_{name}" for run in RUNS):
            if own in table and table[own].notna().all():
                data[own] = _without_transplant(table[own], name, last, attrs_of(name, unit))
    named = [*COORDS, *([OPTIONS] if OPTIONS in table and table[OPTIONS].notna().all() else [])]
    coords = {name: ("example", table[name].to_numpy(dtype=object)) for name in named}
    coords = {name: (dim, values.astype(str)) for name, (dim, values) in coords.items()}
    axes |= {dim: list(range(size)) for dim, size in sizes.items() if any(dim in one.dims for one in data.values())}
    attrs = files.attrs(table) | extent_attrs(extent)
    return xr.Dataset(
        data, coords={"example": table["example"].to_numpy(dtype=object).astype(str), **coords, **axes}, attrs=attrs
    )


class CellArray(BackendArray):
    """One variable of all pairs' cells, `[example, module, source_layer, target_layer, ...]`, read when it is asked for.

    The last dim of what is a list a cell (tokens, options) is as long as the longest one.
    """

    def __init__(self, files: RunFiles, column: str, numbers: np.ndarray, shape: tuple[int, ...]) -> None:
        self.files = files
        self.column = column
        self.numbers = numbers
        self.shape = shape
        self.dtype = dtype_of(column)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._get)

    def _get(self, key: tuple[Any, ...]) -> np.ndarray:
        chosen = np.atleast_1d(self.numbers[key[0]])
        blocks = [self._block(int(number)) for number in chosen]
        result = np.stack(blocks) if blocks else np.empty((0, *self.shape[1:]), self.dtype)
        for axis in range(
            len(self.shape) - 1, 0, -1
        ):  # one at a time: NumPy would move the dims of an array and a number
            result = result[(slice(None),) * axis + (key[axis],)]
        return result[0] if np.ndim(self.numbers[key[0]]) == 0 else result

    def _block(self, number: int) -> np.ndarray:
        values = self.files.values(number, self.column)
        shape = self.shape[1:]
        if self.column == "tokens":
            return _padded(values, shape[-1]).reshape(shape)
        if self.column in ALONG:
            return _as_wide(values, shape[-1]).reshape(shape)
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


def sizes_along(table: pd.DataFrame) -> dict[str, int]:
    """Of each dim of `ALONG` its size in the pair that has most, as far as the run kept such numbers."""
    sizes = dict.fromkeys(ALONG.values(), 0)
    for name, dim in ALONG.items():
        lengths = table.get(f"vanilla_{name}", pd.Series(dtype=object)).dropna().map(len)
        sizes[dim] = max(sizes[dim], int(lengths.max()) if len(lengths) else 0)
    return sizes


def _without_transplant(
    column: pd.Series, name: str, last: tuple[str, int] | None, attrs: dict[str, Any]
) -> xr.Variable:
    if last is not None:
        dim, width = last
        wide = (
            _padded(column, width)
            if name == "tokens"
            else np.concatenate([_as_wide(one[None], width) for one in column])
        )
        return xr.Variable(("example", dim), wide, attrs)
    if name == "text":
        return xr.Variable(("example",), column.to_numpy(dtype=object).astype(str))
    return xr.Variable(("example",), column.to_numpy(dtype=dtype_of(name)), attrs)


def _as_wide(rows: np.ndarray, width: int) -> np.ndarray:
    """Numbers of some cells, one an option, NaN behind the last one."""
    return np.pad(rows, [(0, 0), (0, width - rows.shape[1])], constant_values=np.nan)


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
