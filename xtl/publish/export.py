"""A run in other forms: one table (CSV or Parquet), labelled arrays (netCDF), the table of a paper (LaTeX)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
import xarray as xr

from xtl.errors import InputError, check_choice, known_keywords
from xtl.files import check_file, write_whole
from xtl.foreign import for_csv, for_latex, printable
from xtl.results import best_cells, mean_maps
from xtl.results.details import ALONG
from xtl.runs.extent import check_whole_or_partial, note_of
from xtl.runs.lazy import open_run, sizes_along
from xtl.runs.results import MEASURED
from xtl.runs.run_files import RunFiles
from xtl.runs.tables import PROMPTS

FORMATS = {"csv": ".csv", "parquet": ".parquet", "netcdf": ".nc", "latex": ".tex"}
"""Formats with the ending of their files."""


@known_keywords()
def export_run(
    run: str | os.PathLike[str],
    form: str,
    out: str | os.PathLike[str] | None = None,
    *,
    model: str | None = None,
    task: str | None = None,
    partial: bool = False,
) -> Path:
    """Write a run's maps in another form.

    Args:
        run: the run's folder.
        form: "csv" or "parquet" (a row a cell and instance, vanilla's score beside it; read shard by shard, so that a large run
            takes no more memory than a small one), "netcdf" (as `xtl.open_run`; texts and all, in memory), "latex" (per task,
            direction and module: vanilla, the best cell, its gain).
            Texts in CSV are marked where a spreadsheet would run them or pandas would lose them (`xtl.foreign.for_csv`).
        out: the file; `export` with the format's ending in the run's folder by default.
        model: which model; needed for netCDF and LaTeX where the run has several.
        task: which task; likewise.
        partial: take what there is of a run (or of its chosen model and task) that is not whole. The file says so: a column
            `extent` ("3 of 8 pairs"), which pandas and every other reader of tables reads, netCDF's attribute of that name,
            LaTeX's first line and caption.

    Raises:
        InputError: an unknown format, no run, nothing in it, a run that is not whole (without `partial`), a damaged shard, a file
            that can't be written.
    """
    run, ending = Path(run), FORMATS[check_choice("format", form, FORMATS)]
    out = check_file(run / f"export{ending}" if out is None else out)
    if form in ("netcdf", "latex"):
        _check_run(run)
        results = open_run(run, model=model, task=task)
        check_whole_or_partial(run, results.attrs.get("extent"), partial)
        if form == "netcdf":
            return write_whole(out, lambda place: _for_netcdf(results).to_netcdf(place))
        text = latex_table(results)
        return write_whole(out, lambda place: place.write_text(text, encoding="utf-8"))
    _check_run(run)
    files = RunFiles(run)
    vanilla = files.vanilla()
    for column, wanted in (("model", model), ("task", task)):
        if wanted is not None:
            check_choice(column, wanted, dict.fromkeys(vanilla[column]))
    extent = files.extent(vanilla, model, task)
    check_whole_or_partial(run, None if extent.whole else extent.in_words(), partial)
    tables = _tables(files, vanilla, model, task, "" if extent.whole else f"{extent.here} of {extent.pairs} pairs")
    first = next(tables)
    return write_whole(out, lambda place: _write_tables(place, form, first, tables))


def _check_run(run: Path) -> None:
    """Raise `InputError` for the folder of a single sweep, whose results are one table already."""
    sweep = run / "results.parquet"
    if sweep.exists() and not (run / "manifest.json").exists():
        raise InputError(
            f"{str(run)!r} is the folder of a sweep, not of `xtl run`: its {sweep.name} is one table already, which "
            "pandas.read_parquet reads, and xtl.runs.load_results opens as labelled arrays"
        )


def latex_table(results: xr.Dataset) -> str:
    """Vanilla, best cell and gain by direction and module, as a LaTeX table (booktabs).

    The best cell is chosen on the instances that its gain is measured on; the caption says so, and where the results are of a
    part of a run, how large a part.
    """
    unit = results.attrs.get("score_unit", "")
    rows = []
    for task in dict.fromkeys(results["task"].values.tolist()):
        part = results.isel(example=np.flatnonzero(results["task"].values == task))
        rows.append(best_cells(mean_maps(part.load())).assign(task=task))
    table = pd.concat(rows)
    table = table[["task", *[name for name in table if name != "task"]]]
    table.columns = [str(name).replace("_", " ") for name in table]
    texts = table.select_dtypes(exclude="number").columns
    table[texts] = table[texts].map(for_latex)
    control = results.attrs.get("control")
    control = f"with the control {control} in place of the source, " if control else ""
    caption = (
        f"Best transplants of {results.attrs.get('model', 'the model')}; {control}scores in {unit or 'the score'}. "
        "The best cell is chosen on the same instances that its gain is measured on."
    )
    note = note_of(results)
    if note is not None:
        caption += f" This is {note}."
    latex = table.to_latex(
        index=False, escape=False, float_format="%.3f", na_rep="--", caption=for_latex(caption), label="tab:xtl"
    )
    return latex if note is None else f"% {printable(' '.join(note.split()))}\n{latex}"


def _tables(
    files: RunFiles, vanilla: pd.DataFrame, model: str | None, task: str | None, extent: str
) -> Iterator[pa.Table]:
    """The cells of each file, with vanilla's scores beside; only pairs that are whole. Of a part of a run each row says so."""
    for column, wanted in (("model", model), ("task", task)):
        if wanted is not None:
            vanilla = vanilla[vanilla[column] == wanted]
    beside = [name for name in map(str, vanilla) if name in MEASURED and MEASURED[name] != "tokens"]
    vanilla = vanilla[["pair", *beside, *PROMPTS]]
    sizes = sizes_along(vanilla)
    for home in files.homes(vanilla["pair"]):
        cells = files.read(home)
        cells = cells.drop_columns([name for name in ("tokens",) if name in cells.column_names])
        joined = _in_columns(cells.to_pandas().merge(vanilla, on="pair", how="inner"), sizes)
        if extent:
            joined["extent"] = extent
        yield pa.Table.from_pandas(joined, preserve_index=False)


def _in_columns(table: pd.DataFrame, sizes: dict[str, int]) -> pd.DataFrame:
    """The same with a column a number (`option_logprob_0`, ...) in place of lists; empty where a pair has fewer options."""
    for name in [name for name in map(str, table) if MEASURED.get(name, name) in ALONG]:
        lists = table.pop(name)
        for place in range(sizes[ALONG[MEASURED.get(name, name)]]):
            table[f"{name}_{place}"] = pd.Series(
                [one[place] if place < len(one) else None for one in lists], dtype="float32"
            )
    return table


def _write_tables(place: Path, form: str, first: pa.Table, others: Iterator[pa.Table]) -> None:
    told = _texts_for_csv if form == "csv" else lambda table: table
    with csv.CSVWriter(place, first.schema) if form == "csv" else pq.ParquetWriter(place, first.schema) as writer:
        writer.write_table(told(first))
        for table in others:
            if set(table.column_names) != set(first.column_names):
                raise InputError("the tasks' maps hold different things; export one at a time, with --task")
            writer.write_table(told(table.select(first.column_names).cast(first.schema)))


def _texts_for_csv(table: pa.Table) -> pa.Table:
    """A table whose texts neither run in a spreadsheet nor are read as missing (`xtl.foreign.for_csv`); each is marked once."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            column = table.column(place).combine_chunks()
            texts = column.unique()
            marked = pa.array([for_csv(text) for text in texts.to_pylist()], field.type)
            table = table.set_column(place, field, marked.take(pc.index_in(column, texts)))
    return table


def _for_netcdf(results: xr.Dataset) -> xr.Dataset:
    """What netCDF can hold: numbers and texts; whether something is right as 0 or 1."""
    results = results.load().copy()
    for name, values in results.data_vars.items():
        if values.dtype == bool:
            results[name] = values.astype("int8")
        elif values.dtype == object:
            results[name] = values.astype(str)
    kept = {
        str(key): value if isinstance(value, (str, int, float)) else str(value) for key, value in results.attrs.items()
    }
    return results.assign_attrs(kept)
