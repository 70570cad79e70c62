"""`xtl demo` and `xtl sweep`: maps of a task, as a table and a page."""

from __future__ import annotations

import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xtl.commands import library
from xtl.commands.flags import (
    AlphaOption,
    ChatOption,
    DetailsOption,
    Loading,
    NameOption,
    NormaliseOption,
    SourceLayersOption,
    TargetLayersOption,
    parse_chat,
    parse_layers,
    with_flags,
)
from xtl.commands.output import (
    STOPPED,
    JsonOption,
    check_can_draw,
    check_folder,
    check_out,
    keeping_maps,
    print_json,
    was_stopped,
    wrote,
)
from xtl.commands.strict import parse_names
from xtl.errors import InputError, check_choice
from xtl.foreign import printable
from xtl.tasks import get_task
from xtl.tasks.benchmark import Benchmark

if TYPE_CHECKING:
    import xarray as xr

    from xtl.pairs import ParallelPair

DEMO_TASK = "capitals"
DEMO = (("en", "es", 6), ("en", "de", 5))
"""Source language, target language and number of instances of each part of the demo."""


EngineOption = Annotated[str, typer.Option(help="How the map is computed: auto, packed, batched or loop.")]
ControlOption = Annotated[
    str | None, typer.Option(help="Run a control in place of the transplants, such as shuffled_source.")
]


def register(app: typer.Typer) -> None:
    """Give an app the commands."""
    app.command(epilog="Example: xtl demo --out runs/demo")(demo)
    app.command(
        epilog="Example: xtl sweep --task capitals --source-lang en --target-lang es --modules attn,mlp --limit 5 "
        "--out runs/en-es"
    )(with_flags(sweep))


def demo(
    out: Annotated[Path, typer.Option(help="Folder for results.parquet and report.html.")] = Path("runs/demo"),
    png: Annotated[bool, typer.Option("--png", help="Also draw a PNG a direction (figures extra, Chromium).")] = False,
    limit: Annotated[int | None, typer.Option(help="Most questions a language, for a quicker look.")] = None,
    control: ControlOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show it: maps of English knowledge lent to two languages, on the embedded model, in under three minutes."""

    check_control(control)
    if png:
        check_can_draw()
    pairs = [
        pair
        for source, target, n in DEMO
        for pair in get_task(DEMO_TASK).pairs(source, target, limit=n if limit is None else min(n, limit))
    ]
    results = _run_sweep(
        pairs=pairs,
        out=out,
        title="xtl demo: English knowledge lent to other languages",
        task=DEMO_TASK,
        command=[
            "xtl",
            "demo",
            "--out",
            str(out),
            *([] if limit is None else ["--limit", str(limit)]),
            *([] if control is None else ["--control", control]),
        ],
        sweep_options={"modules": ["attn", "mlp"]},
        control=control,
        early=True,
    )
    if png:
        _write_pictures(results, out)
    _print_sweep(results, out, json_output)


def sweep(
    task: Annotated[str, typer.Option(help="A task (see `xtl tasks`), or a file of pairs.")],
    source_lang: Annotated[str, typer.Option(help="Language that is read, as a code: en.")],
    target_lang: Annotated[str, typer.Option(help="Language that is answered in, as a code: es.")],
    out: Annotated[Path, typer.Option(help="Folder for results.parquet and report.html.")],
    modules: Annotated[str, typer.Option(help="Modules, separated by commas.")] = "attn,mlp",
    limit: Annotated[int | None, typer.Option(help="Number of instances; all by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order of instances and of their options.")] = 0,
    source_layers: SourceLayersOption = None,
    target_layers: TargetLayersOption = None,
    alpha: AlphaOption = 1.0,
    engine: EngineOption = "auto",
    normalise: NormaliseOption = "none",
    details: DetailsOption = None,
    control: ControlOption = None,
    split: Annotated[str | None, typer.Option(help="Benchmarks: sample, unseen or (hub) all.")] = None,
    origin: Annotated[str | None, typer.Option(help="Benchmarks: released or hub.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Benchmarks: the paper's released data, or with --origin hub a local copy; or XTL_DATA."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that are already in the folder.")
    ] = False,
    model: NameOption = None,
    chat: ChatOption = "false",
    json_output: JsonOption = False,
    loading: Loading = Loading(),
) -> None:
    """Build the maps of a task: every source layer x target layer, by module; write a table and a report."""

    check_choice("--normalise", normalise, library.NORMALISATIONS)
    check_choice("engine", engine, ["auto", *library.ENGINES])
    check_control(control)
    kept = library.check_details(() if details is None else parse_names("--details", details), generated=False)
    names = parse_names("--modules", modules)
    library.get_whole_modules(names)
    found = get_task(task)
    where = {name: value for name, value in (("split", split), ("origin", origin), ("folder", data)) if value}
    if where and not isinstance(found, Benchmark):
        raise InputError(f"--split, --origin and --data go with benchmarks; task {task!r} is none")
    pairs = found.pairs(source_lang, target_lang, limit=limit, seed=seed, **where)
    results = _run_sweep(
        pairs=pairs,
        out=out,
        title=f"{task}: {pairs[0].direction}",
        task=task,
        command=["xtl", *sys.argv[1:]],
        sweep_options={
            "modules": names,
            "source_layers": parse_layers("--source-layers", source_layers),
            "target_layers": parse_layers("--target-layers", target_layers),
            "alpha": alpha,
            "engine": engine,
            "normalise": normalise,
            "details": kept,
        },
        control=control,
        model=model,
        loading=loading,
        chat=parse_chat(chat),
        overwrite=overwrite,
    )
    _print_sweep(results, out, json_output)


def _run_sweep(
    *,
    pairs: list[ParallelPair],
    out: Path,
    title: str,
    task: str,
    command: list[str],
    sweep_options: dict[str, Any],
    control: str | None = None,
    model: str | None = None,
    loading: Loading = Loading(),
    chat: bool | str = False,
    overwrite: bool = True,
    early: bool = False,
) -> xr.Dataset:
    """Check everything, load, sweep with progress, write `results.parquet` and `report.html`; `early`, the page with the first
    map too, as soon as it is there.

    Stopped with Ctrl-C, it writes what there is; called again it goes on from there.
    """
    check_folder(out)
    check_out(out, overwrite or was_stopped(out, task, pairs))
    loaded = loading.load(model)

    maps: list[xr.Dataset] = []
    stopped = False

    def so_far() -> xr.Dataset:
        """What there is, which says how much of it all that is."""
        extent = library.Extent(len(pairs), len(maps))
        attrs = {"task": task} | ({} if extent.whole else library.extent_attrs(extent))
        return library.concat_maps(maps).assign_attrs(attrs)

    def write_page(results: xr.Dataset) -> None:
        note = library.note_of(results)
        notes = [] if note is None else [f"This is {note}."]
        library.write_report(out / "report.html", results, title=title, command=command, notes=notes,
                             to_control=how_to_control(command, out))  # fmt: skip

    with keeping_maps(out) as keep:
        try:
            asked = library.chat_pairs(loaded, pairs, chat)
            begun = library.sweep_many if control is None else partial(library.controls.run, control=control)
            for result in begun(loaded, asked, **sweep_options, keep=keep, progress=True):
                maps.append(result)
                if early and len(maps) == 1 < len(pairs):
                    write_page(so_far())
                    page = printable(out / "report.html")
                    print(
                        f"wrote {page}: the first of {len(pairs)} maps (open it while the rest runs)", file=sys.stderr
                    )
        except KeyboardInterrupt:
            stopped = True
        if not maps:
            print("xtl: stopped before the first map was whole; nothing was written", file=sys.stderr)
            sys.exit(STOPPED)
        results = so_far()
        library.save_results(results, out / "results.parquet")
        write_page(results)
        if stopped:
            print(
                f"xtl: stopped; kept the {len(maps)} of {len(pairs)} maps that were whole in {printable(out)}; "
                "the same command goes on from there",
                file=sys.stderr,
            )
            sys.exit(STOPPED)
    return results


def check_control(control: str | None) -> None:
    """Raise `InputError` for a control that is unknown, or that takes a third language."""

    if control is not None:
        check_choice("--control", control, [name for name in library.CONTROLS if name != "other_language"])


def how_to_control(command: list[str], out: Path) -> list[str]:
    """The command of a sweep with a control, and that of the report with both.

    >>> how_to_control(["xtl", "sweep", "--task", "a", "--out", "a"], Path("a"))
    ['xtl sweep --task a --out a-control --control shuffled_source', 'xtl report a --control a-control']
    """

    beside, again = f"{out}-control", list(command)
    for k, word in enumerate(command):
        if word.startswith("--out=") or command[k - 1 : k] == ["--out"]:
            again[k] = f"--out={beside}" if word.startswith("--out=") else beside
    again += ["--control", "shuffled_source"]
    return [shlex.join(again), shlex.join(["xtl", "report", str(out), "--control", beside])]


def _write_pictures(results: xr.Dataset, out: Path) -> None:
    """The gain map of each direction as PNG."""

    directions = library.with_directions(results)["direction"].values
    for direction in dict.fromkeys(map(str, directions)):
        name = "gain_map_" + direction.replace("->", "_") + ".png"
        library.plots.save_png(library.plots.gain_map(results, direction=direction), out / name)
        wrote(out / name)


def _print_sweep(results: xr.Dataset, out: Path, json_output: bool) -> None:
    """The short table: per direction and module, vanilla, the best cell and its gain."""

    table = library.best_cells(library.mean_maps(results))
    files = {"results": str(out / "results.parquet"), "report": str(out / "report.html")}
    if json_output:
        print_json({**files, "best_cells": json.loads(table.to_json(orient="records"))})
        return
    print(printable(table.to_string(index=False, float_format=lambda value: f"{value:.3f}"), lines=True))
    print("(the best cell is chosen on the same instances that its gain is measured on)")
    wrote(*files.values())
