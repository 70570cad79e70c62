"""`xtl analyse`: flags to a request, and what to write and say of what came of it."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xtl.analysis import Request, find_analyses, get_analysis, save
from xtl.commands import library
from xtl.commands.flags import ChatOption, Loading, NameOption, parse_chat, with_flags
from xtl.commands.output import check_can_draw, check_folder, print_json, wrote
from xtl.commands.strict import GIVEN, parse_names, parse_whole, refuse
from xtl.errors import InputError, shown
from xtl.files import write_whole
from xtl.foreign import printable
from xtl.packages import DISTRIBUTION
from xtl.pairs import parse_direction
from xtl.runs.study import spell_out
from xtl.tasks import get_task

if TYPE_CHECKING:
    import xarray as xr

    from xtl.analysis import Analysis
    from xtl.pairs import ParallelPair


def register(app: typer.Typer) -> None:
    """Give an app the command."""
    app.command(
        epilog="Example: xtl analyse attn_vs_ffn runs/capitals --out runs/capitals/analyses; "
        "or on a model: xtl analyse language_flow --task capitals --directions en:es --limit 20 --cell attn,12,13 --out runs/flow"
    )(with_flags(analyse))


OF_A_MODEL = (
    "task",
    "directions",
    "limit",
    "seed",
    "model",
    "chat",
    *(one.name for one in dataclasses.fields(Loading)),
)
"""Flags for analyses that run a model."""


def analyse(
    name: Annotated[str | None, typer.Argument(help="Which analysis; none lists them.")] = None,
    run: Annotated[list[Path] | None, typer.Argument(help="Stored runs: results.parquet, or folders.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the data (netCDF) and figures.")] = None,
    control: Annotated[
        list[Path] | None, typer.Option(help="A stored control run; for selection again for one of another seed.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another stored run (task, model): gain_maps shows the difference.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Task whose questions are asked, for analyses of a model; several by commas.")
    ] = None,
    directions: Annotated[str | None, typer.Option(help="Directions, separated by commas: en:es,en:sw.")] = None,
    limit: Annotated[int, typer.Option(help="Instances of each direction.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the order of instances and of their options.")] = 0,
    cell: Annotated[str | None, typer.Option(help="Transplant: module,source layer,target layer.")] = None,
    by: Annotated[str | None, typer.Option(help="How examples are grouped: direction, task, kind, resource.")] = None,
    labels: Annotated[str, typer.Option(help="Labels of probes, separated by commas.")] = "language",
    activations: Annotated[
        Path | None, typer.Option(help="Folder where linear_probes and alignment look activations up and keep them.")
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Also write PNGs (figures extra, Chromium).")] = False,
    model: NameOption = None,
    chat: ChatOption = "false",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    loading: Loading = Loading(),
) -> None:
    """Ask one question of a stored run or of a model; write data and figures, and say what was found."""

    if name is None:
        refuse(GIVEN.get() - {"json_output"}, "goes with an analysis: name one first")
        _list(json_output)
        return
    item = get_analysis(name)
    if out is None:
        raise InputError(f"{name} needs --out, a folder for its data and figures")
    check_folder(out)
    if item.needs != "model":
        refuse(OF_A_MODEL, f"goes with analyses of a model; {name} works on a stored run")
    if activations is not None:
        check_folder(activations, "--activations")
    if png:
        check_can_draw()
    pairs, back = _pairs(task, directions, limit, seed) if item.needs == "model" else ([], [])
    request = Request(
        runs=run or [], control=control or None, against=against, load=lambda: loading.load(model),
        pairs=pairs, back=back, cell=_cell(cell), by=by,
        labels=parse_names("--labels", labels), activations=activations, chat=parse_chat(chat),
    )  # fmt: skip
    data = item.run(request)
    files = _write(item, data, out, png)
    found = item.told(data)
    if json_output:
        print_json({"analysis": name, "files": [str(file) for file in files], "found": found})
        return
    print("\n".join(map(printable, found)))
    wrote(*files)


def _list(json_output: bool) -> None:
    """Print the analyses of all installed packages; one that can't be loaded is a warning."""

    rows = []
    for offer in find_analyses().values():
        try:
            item = offer.load()
        except InputError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        rows.append({"name": item.name, "needs": item.needs, "question": item.question, "package": offer.package})
    if json_output:
        print_json(rows)
        return
    for row in rows:
        origin = "" if row["package"] == DISTRIBUTION else f" ({row['package']})"
        print(printable(f"{row['name']:26}{row['needs']:17}{row['question']}{origin}"))


def _write(item: Analysis, data: xr.Dataset, out: Path, png: bool) -> list[Path]:
    """The data and every figure as files, and PNGs where they are asked for."""

    files = [save(data, out / f"{item.name}.nc")]
    for title, figure in item.figures(data).items():
        write = functools.partial(figure.write_html, include_plotlyjs=True)
        files.append(write_whole(out / f"{title}.html", write))
        if png:
            files.append(library.plots.save_png(figure, out / f"{title}.png"))
    return files


def _pairs(
    task: str | None, directions: str | None, limit: int, seed: int
) -> tuple[list[ParallelPair], list[ParallelPair]]:
    """The questions of every direction, and those of the opposite ones."""

    if task is None or directions is None:
        raise InputError("this analysis runs the model: give --task and --directions, such as capitals and en:es,en:sw")
    pairs: list[ParallelPair] = []
    back: list[ParallelPair] = []
    for asked in [get_task(name) for name in parse_names("--task", task)]:
        for direction in spell_out(asked, tuple(parse_names("--directions", directions))):
            source, target = parse_direction(direction)
            pairs += asked.pairs(source, target, limit=limit, seed=seed)
            back += asked.pairs(target, source, limit=limit, seed=seed)
    return pairs, back


def _cell(text: str | None) -> tuple[str, int, int] | None:
    """A cell from `module,source layer,target layer`."""

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3:
        raise InputError(f"--cell {shown(text)} is no cell; write module,source layer,target layer: attn,12,13")
    module, source, target = parts
    return library.get_modules([module])[0].name, parse_whole("--cell", source), parse_whole("--cell", target)
