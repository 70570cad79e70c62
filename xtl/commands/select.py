"""`xtl select`: judge ways to choose a cell without knowing the answer, on a stored run."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xtl.commands import library
from xtl.commands.output import JsonOption, check_folder, print_json, wrote
from xtl.commands.strict import parse_names, refuse
from xtl.errors import InputError, check_choice, shown
from xtl.files import write_whole
from xtl.foreign import printable

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from xtl.selectors import Selector


def register(app: typer.Typer) -> None:
    """Give an app the command."""
    app.command(
        epilog="Example: xtl select runs/capitals --control runs/capitals-shuffled --selectors all --out runs/selection"
    )(select)


def select(
    run: Annotated[Path, typer.Argument(help="A stored run with --details options: results.parquet, or a folder.")],
    control: Annotated[
        list[Path] | None, typer.Option(help="A control of it, which must be there; again for one of another seed.")
    ] = None,
    selectors: Annotated[str, typer.Option(help="Names, separated by commas, or all.")] = "all",
    across: Annotated[
        str, typer.Option(help="What else than questions is new: none, language or task; several by commas.")
    ] = "none",
    splits: Annotated[int, typer.Option(help="Random halves of the questions.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn.")] = 0,
    alignment: Annotated[
        Path | None, typer.Option(help="alignment.nc of `xtl analyse alignment`: adds layers chosen before any label.")
    ] = None,
    probes: Annotated[
        Path | None, typer.Option(help="linear_probes.nc of `xtl analyse linear_probes`, with --alignment.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables (CSV) and figures.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Choose a cell without the answer: each selector's accuracy held out, its share of the headroom, its nulls and its cost."""

    chosen = library.get_selectors("all" if selectors == "all" else parse_names("--selectors", selectors))
    if alignment is None:
        refuse(["probes"], "goes with --alignment")
    else:
        chosen.append(_aligned(alignment, probes))
    new = [check_choice("--across", one, library.ACROSS) for one in parse_names("--across", across)]
    if not control:
        raise InputError("select needs --control: a run of the same study with control: shuffled_source")
    if len(set(control)) < len(control):
        raise InputError("--control names a run twice: give controls of different seeds")
    if out is not None:
        check_folder(out)
    real, controls = _opened(run), [_opened(one) for one in control]
    tables = [
        library.evaluate(real, controls, chosen, across=one, n_splits=splits, seed=seed, told=_tell) for one in new
    ]
    files = [] if out is None else [file for table in tables for file in _write(table, out)]
    if json_output:
        print_json([{**one.attrs, "table": json.loads(one.to_json(orient="index"))} for one in tables])
        return
    print("\n\n".join(printable(_text(one), lines=True) for one in tables))
    if files:
        wrote(*files)


def _aligned(alignment: Path, probes: Path | None) -> Selector:
    """The selector of the layers that two analyses' curves single out."""
    told_apart = None if probes is None else _curves("--probes", probes)
    return library.AlignedLayers(library.aligned_layers(_curves("--alignment", alignment), told_apart))


def _curves(flag: str, path: Path) -> xr.Dataset:
    import xarray as xr

    try:
        return xr.load_dataset(path, engine="scipy")
    except (OSError, TypeError, ValueError) as error:
        raise InputError(f"{flag} {shown(str(path))} is no file of `xtl analyse`: {error}") from error


def _opened(path: Path) -> xr.Dataset:
    return library.say_extent(path, library.open_results(path).load())


def _tell(name: str) -> None:
    print(f"judging {printable(name)} ...", file=sys.stderr)


def _write(table: pd.DataFrame, out: Path) -> list[Path]:
    """The table as CSV, and its figures."""
    end = "" if table.attrs["across"] == "none" else f"_{table.attrs['across']}"
    files = [write_whole(out / f"selection{end}.csv", table.to_csv)]
    for name, draw in (("selection", library.gain_figure), ("selection_cost", library.cost_figure)):
        write = functools.partial(draw(table).write_html, include_plotlyjs=True)
        files.append(write_whole(out / f"{name}{end}.html", write))
    return files


def _text(table: pd.DataFrame) -> str:
    """For reading: per cent with intervals, points against vanilla, and why a row is empty."""
    attrs = table.attrs
    new = "questions" if attrs["across"] == "none" else f"questions and {attrs['across']}s"
    head = f"new: {new}; n = {attrs['n']} of {attrs['n_questions']} questions, {attrs['n_cells']} cells\n"
    return head + library.selection_wide(table).to_string()
