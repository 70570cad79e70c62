"""A map as a tidy table, and back.

One row a cell and instance: `example, source_lang, target_lang, module, source_layer, target_layer, score, gain, correct,
vanilla_score, vanilla_correct, source, target, gold`, and each likelihood under its own name (`score_per_byte`, ...). pandas,
polars, DuckDB and `datasets` read the Parquet file as it is.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from xtl.errors import InputError, known_keywords
from xtl.files import write_whole
from xtl.results import GAIN_DIMS, Maps, as_results
from xtl.results.concat import cell_dims
from xtl.results.details import ALONG, attrs_of
from xtl.runs.tables import METADATA, RUNS, VALUES

AXES = "xtl_axes"
"""Among the attributes in a file: the dims of a cell, where they are more than `GAIN_DIMS`."""
MEASURED = {f"{run}_{name}": name for run in RUNS for name in VALUES}
"""Variables of an instance, each with the name that it has in a cell."""
LISTED = ("step", *dict.fromkeys(ALONG.values()))
"""Dims that a table holds as lists."""


@known_keywords()
def to_table(results: Maps) -> pd.DataFrame:
    """A sweep's result as a DataFrame, a row a cell and instance, in the result's order.

    Args:
        results: from `xtl.sweep` or `xtl.sweep_many`.
    """
    results = as_results(results)
    if "example" not in results.dims:
        results = as_results([results])
    table = _as_lists(results).to_dataframe(dim_order=["example", *cell_dims(results)]).reset_index()
    first = ["example", "source_lang", "target_lang", *cell_dims(results), "score", "gain", "correct"]
    return table[
        [name for name in dict.fromkeys(first) if name in table] + [name for name in table if name not in first]
    ]


def _as_lists(results: xr.Dataset) -> xr.Dataset:
    """Tokens and others that have one of the dims `LISTED`, as one list a cell (or an instance)."""
    for name, dim in [(name, dim) for name in results.data_vars for dim in LISTED if dim in results[name].dims]:
        rows = results[name].transpose(..., dim)
        lists = np.empty(rows.shape[:-1], dtype=object)
        for place in np.ndindex(lists.shape):
            lists[place] = rows.values[place]
        results = results.assign({name: (rows.dims[:-1], lists)})
    return results.drop_vars(LISTED, errors="ignore")


def _listed_along(name: str) -> str | None:
    """The dim of what a variable holds in lists, if it does."""
    return "step" if name.endswith("tokens") else ALONG.get(MEASURED.get(name, name))


def _from_lists(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The reverse of `_as_lists`."""
    return np.stack([np.asarray(one) for one in values]).reshape(*shape, -1)


@known_keywords()
def save_results(results: Maps, path: str | os.PathLike[str]) -> Path:
    """Write a sweep's result as Parquet (zstd), its attributes in the file's metadata. Whole or not at all.

    Raises:
        InputError: nothing in the results; the folder can't be written.
    """
    results = as_results(results)
    if empty := [str(dim) for dim, size in results.sizes.items() if size == 0]:
        raise InputError(f"results are empty: no {empty[0]}; there is nothing to write")
    table = pa.Table.from_pandas(to_table(results), preserve_index=False)
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), METADATA: json.dumps(results.attrs | _axes(results), default=_plain).encode()}
    )
    return write_whole(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's, anything else that JSON does not know as text."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)


def _axes(results: xr.Dataset) -> dict[str, list[str]]:
    dims = list(cell_dims(results))
    return {} if len(dims) == len(GAIN_DIMS) else {AXES: dims}


@known_keywords()
def load_results(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read what `save_results` wrote: dims `example, module, source_layer, target_layer` and further axes, attributes included.

    Raises:
        InputError: no such file, or one that `save_results` did not write.
    """
    try:
        table = pq.read_table(path)
        attrs = json.loads((table.schema.metadata or {})[METADATA])
    except FileNotFoundError as error:
        raise InputError(f"no results at {str(path)!r}") from error
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{str(path)!r} is not a results file of xtl") from error
    frame = table.to_pandas()
    axes = {name: list(dict.fromkeys(frame[name])) for name in attrs.pop(AXES, GAIN_DIMS)}
    row = ("example", *axes)
    cells = [len(values) for values in axes.values()]
    if frame.empty:
        raise InputError(f"{str(path)!r} holds no rows: its sweep had no examples, or no cells")
    shape = (len(frame) // math.prod(cells), *cells)
    if math.prod(shape) != len(frame):
        raise InputError(
            f"{str(path)!r} is not whole: {len(frame)} rows do not make maps of {' x '.join(map(str, cells))} cells"
        )
    for place, name in enumerate(axes, 1):
        wanted = np.arange(shape[place]).reshape([-1 if k == place else 1 for k in range(len(shape))])
        if (pd.factorize(frame[name])[0].reshape(shape) != wanted).any():
            raise InputError(
                f"{str(path)!r} has its rows in another order than they were written: it can't be made maps of"
            )
    per_cell = [name for name in VALUES if name in frame]
    per_example = [name for name in frame if name not in [*row, *per_cell]]
    first_rows = frame.iloc[:: math.prod(cells)]
    measured = [name for name in per_example if name in MEASURED or name.startswith("vanilla")]
    variables: dict[str, Any] = {}
    for name in [*per_cell, *measured]:
        said = attrs_of(MEASURED.get(name, name), attrs.get("score_unit"))
        dims, rows, sizes = (row, frame, shape) if name in per_cell else (row[:1], first_rows, shape[:1])
        if dim := _listed_along(name):
            variables[name] = ([*dims, dim], _from_lists(rows[name].to_numpy(), sizes), said)
            if dim != "step":
                axes[dim] = list(range(variables[name][1].shape[-1]))
        else:
            variables[name] = (dims, rows[name].to_numpy().reshape(sizes), said)
    several = {}
    if "source_lang" in axes and "source" in frame:  # a prompt a language
        of_cells = frame["source"].to_numpy().reshape(shape)
        first = tuple(slice(None) if dim in ("example", "source_lang") else 0 for dim in row)
        several["source"] = (("example", "source_lang"), of_cells[first])
    return xr.Dataset(
        variables,
        coords={name: ("example", list(first_rows[name])) for name in ["example", *per_example] if name not in measured}
        | axes
        | several,
        attrs=attrs,
    )
