"""`xtl analyse`: flags to a request, and what to write and say of what came of it."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xtl.commands.loading import ChatOption, Loading, NameOption, loads_model, parse_chat
from xtl.commands.output import check_folder
from xtl.commands.strict import parse_names, parse_whole
from xtl.errors import InputError, shown
from xtl.foreign import printable

if TYPE_CHECKING:
    from xtl.pairs import ParallelPair


def register(app: typer.Typer) -> None:
    """Give an app the command."""
    app.command(
        epilog="Example: xtl analyse attn_vs_ffn runs/capitals --out runs/capitals/analyses; "
        "or on a model: xtl analyse language_flow --task capitals --directions en:es --limit 20 --cell attn,12,13 --out runs/flow"
    )(loads_model(analyse))


def analyse(
    name: Annotated[str | None, typer.Argument(help="Which analysis; none lists them.")] = None,
    run: Annotated[list[Path] | None, typer.Argument(help="Stored runs: results.parquet, or folders.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the data (netCDF) and figures.")] = None,
    control: Annotated[Path | None, typer.Option(help="A stored control run.")] = None,
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
    import analyses

    if name is None:
        rows = [{"name": a.name, "needs": a.needs, "question": a.question} for a in analyses.ANALYSES.values()]
        print(
            json.dumps(rows, indent=2)
            if json_output
            else "\n".join(f"{r['name']:26}{r['needs']:17}{r['question']}" for r in rows)
        )
        return
    from xtl.files import write_whole

    item = analyses.get_analysis(name)
    if out is None:
        raise InputError(f"{name} needs --out, a folder for its data and figures")
    check_folder(out)

    pairs, back = _pairs(task, directions, limit, seed) if item.needs == "model" else ([], [])
    request = analyses.Request(
        runs=run or [], control=control, against=against, load=lambda: loading.load(model),
        pairs=pairs, back=back, cell=_cell(cell), by=by,
        labels=parse_names("--labels", labels), activations=activations, chat=parse_chat(chat),
    )  # fmt: skip
    data = analyses.analyse(name, request)
    files = [analyses.save(data, out / f"{name}.nc")]
    for title, figure in analyses.figures(name, data).items():
        path = out / f"{title}.html"
        files.append(write_whole(path, functools.partial(figure.write_html, include_plotlyjs=True)))
        if png:
            from xtl import plots

            files.append(plots.save_png(figure, out / f"{title}.png"))
    found = analyses.words(name, data)
    if json_output:
        print(
            json.dumps(
                {"analysis": name, "files": [str(f) for f in files], "found": found}, ensure_ascii=False, indent=2
            )
        )
        return
    print("\n".join(map(printable, found)))
    print("wrote " + ", ".join(map(str, files)))


def _pairs(
    task: str | None, directions: str | None, limit: int, seed: int
) -> tuple[list[ParallelPair], list[ParallelPair]]:
    """The questions of every direction, and those of the opposite ones."""
    from xtl.tasks import get_task

    if task is None or directions is None:
        raise InputError("this analysis runs the model: give --task and --directions, such as capitals and en:es,en:sw")
    pairs: list[ParallelPair] = []
    back: list[ParallelPair] = []
    for asked in [get_task(name) for name in parse_names("--task", task)]:
        for direction in parse_names("--directions", directions):
            source, colon, target = direction.partition(":")
            if not colon:
                raise InputError(f"--directions {direction!r} is no direction; write en:es")
            pairs += asked.pairs(source, target, limit=limit, seed=seed)
            back += asked.pairs(target, source, limit=limit, seed=seed)
    return pairs, back


def _cell(text: str | None) -> tuple[str, int, int] | None:
    """A cell from `module,source layer,target layer`."""
    from xtl.hooks import get_modules

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3:
        raise InputError(f"--cell {shown(text)} is no cell; write module,source layer,target layer: attn,12,13")
    module, source, target = parts
    return get_modules([module])[0].name, parse_whole("--cell", source), parse_whole("--cell", target)
