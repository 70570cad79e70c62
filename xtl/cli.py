"""The command line, thin: it reads flags, calls the library and prints.

Bad input ends with exit code 2 and one line; nothing is written then. torch is imported only by commands that run a model.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, no_type_check

import typer

from xtl import __version__
from xtl.commands import analyses, protocols, publish, runs
from xtl.commands.loading import ChatOption, Loading, NameOption, NormaliseOption, loads_model, parse_chat
from xtl.commands.output import STOPPED, check_out, keeping_maps, was_stopped
from xtl.commands.runs import parse_layers
from xtl.commands.strict import App, UsageError, parse_names
from xtl.errors import InputError, XtlError, check_choice
from xtl.foreign import as_json, printable
from xtl.results import with_directions

if TYPE_CHECKING:
    import xarray as xr

    from xtl.pairs import ParallelPair

app = App(
    name="xtl",
    help="Cross-lingual latent transplantation: hand a model, while it reads a question in one language, the activation that "
    "it computed for the same question in another, and see what it gains.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DEMO_TASK = "capitals"
DEMO = (("en", "es", 6), ("en", "de", 5))
"""Source language, target language and number of instances of each part of the demo."""


def _print_version(asked: bool) -> bool:
    if asked:
        print(f"xtl {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """What holds for all commands; its help is the app's."""


EngineOption = Annotated[str, typer.Option(help="How the map is computed: auto, packed, batched or loop.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command(epilog="Example: xtl demo --out runs/demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for results.parquet and report.html.")] = Path("runs/demo"),
    png: Annotated[bool, typer.Option("--png", help="Also draw a PNG a direction (figures extra, Chromium).")] = False,
    limit: Annotated[int | None, typer.Option(help="Most questions a language, for a quicker look.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Show it: maps of English knowledge lent to two languages, on the embedded model, in under three minutes."""
    from xtl.tasks import get_task

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
        command=f"xtl demo --out {out}" + ("" if limit is None else f" --limit {limit}"),
        sweep_options={"modules": ["attn", "mlp"]},
    )
    if png:
        _write_pictures(results, out)
    _print_sweep(results, out, json_output)


@app.command(
    epilog='Example: xtl transplant --source "Country: France. Capital:" --target "País: Francia. Capital:" '
    "--module attn --source-layer 12 --target-layer 13 --max-new-tokens 5"
)
@loads_model
def transplant(
    source: Annotated[str, typer.Option(help="Prompt whose activation is read.")],
    target: Annotated[str, typer.Option(help="Prompt into which it is written.")],
    module: Annotated[str, typer.Option(help="attn, mlp, attn_released or resid.")],
    source_layer: Annotated[int, typer.Option(help="Layer that is read: 0-based; a negative one counts from the end.")],
    target_layer: Annotated[
        int, typer.Option(help="Layer that is written: 0-based; a negative one counts from the end.")
    ],
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens to generate.")] = 20,
    steps: Annotated[
        str, typer.Option(help="first (patch the prompt's pass alone) or every (each new token too).")
    ] = "first",
    model: NameOption = None,
    chat: ChatOption = "false",
    json_output: JsonOption = False,
    loading: Loading = Loading(),
) -> None:
    """Run one transplant; print the answer with and without it, and what was patched."""
    from dataclasses import asdict

    from xtl.hooks import get_modules
    from xtl.models.chat import chat_prompt
    from xtl.pairs import check_prompt
    from xtl.transplants import transplant as run

    check_prompt("source", source)
    check_prompt("target", target)
    get_modules([module])
    wrap = parse_chat(chat)
    loaded = loading.load(model)
    result = run(
        loaded,
        source=chat_prompt(loaded, source, wrap),
        target=chat_prompt(loaded, target, wrap),
        module=module,
        source_layer=source_layer,
        target_layer=target_layer,
        max_new_tokens=max_new_tokens,
        steps=steps,
    )
    if json_output:
        _print_json(
            {
                "model": loaded.xtl_info.name,
                "text": result.text,
                "tokens": result.tokens,
                "vanilla_text": result.vanilla_text,
                "vanilla_tokens": result.vanilla_tokens,
                "patch": asdict(result.patch),
                "steps": result.steps,
            }
        )
        return
    patch = result.patch
    print(f"vanilla      {result.vanilla_text!r}")
    print(f"transplanted {result.text!r}")
    print(
        f"patched      {patch.write_hook} at position {patch.position} ({patch.token!r}) with {patch.read_hook} "
        f"from source position {patch.source_position} ({patch.source_token!r}); steps: {result.steps}"
    )


@app.command(
    epilog="Example: xtl sweep --task capitals --source-lang en --target-lang es --modules attn,mlp --limit 5 --out runs/en-es"
)
@loads_model
def sweep(
    task: Annotated[str, typer.Option(help="A task (see `xtl tasks`), or a file of pairs.")],
    source_lang: Annotated[str, typer.Option(help="Language that is read, as a code: en.")],
    target_lang: Annotated[str, typer.Option(help="Language that is answered in, as a code: es.")],
    out: Annotated[Path, typer.Option(help="Folder for results.parquet and report.html.")],
    modules: Annotated[str, typer.Option(help="Modules, separated by commas.")] = "attn,mlp",
    limit: Annotated[int | None, typer.Option(help="Number of instances; all by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order of instances and of their options.")] = 0,
    source_layers: Annotated[
        str | None,
        typer.Option(help="Layers to read, as 0,3,-1 or 0-5 (5 is in it) or 0:18:3 (18 is not); all by default."),
    ] = None,
    target_layers: Annotated[
        str | None, typer.Option(help="Layers to write, in the same form; all by default.")
    ] = None,
    engine: EngineOption = "auto",
    normalise: NormaliseOption = "none",
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
    from xtl.scoring.likelihood import NORMALISATIONS
    from xtl.tasks import get_task
    from xtl.tasks.benchmark import Benchmark

    check_choice("--normalise", normalise, NORMALISATIONS)
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
        command=" ".join(["xtl", *sys.argv[1:]]),
        sweep_options={
            "modules": parse_names("--modules", modules),
            "source_layers": parse_layers("--source-layers", source_layers),
            "target_layers": parse_layers("--target-layers", target_layers),
            "engine": engine,
            "normalise": normalise,
        },
        model=model,
        loading=loading,
        chat=parse_chat(chat),
        overwrite=overwrite,
    )
    _print_sweep(results, out, json_output)


@app.command(epilog="Example: xtl tasks --json")
def tasks(json_output: JsonOption = False) -> None:
    """List the built-in tasks and their languages."""
    from xtl.tasks import get_task, task_names

    known = [get_task(name) for name in task_names()]
    if json_output:
        _print_json([{"name": t.name, "description": t.description, "languages": list(t.languages)} for t in known])
        return
    for task in known:
        print(f"{task.name}: {task.description}\n    {len(task.languages)} languages: {' '.join(task.languages)}")


models_app = App(epilog="Example: xtl models check gpt2", rich_markup_mode=None)
app.add_typer(models_app, name="models")


@models_app.callback(invoke_without_command=True)
@no_type_check  # typer hands over a class of its own in the place of the one that its annotation names
def models(context: typer.Context, json_output: JsonOption = False) -> None:
    """List the models known by name, which are on this machine, and the memory that each needs; `check` tries one."""
    if context.invoked_subcommand is not None:
        if json_output:
            raise InputError(
                f"--json goes behind {context.invoked_subcommand}: xtl models {context.invoked_subcommand} --json"
            )
        return
    from xtl.models import listing

    rows = listing.list_models()
    if json_output:
        _print_json(listing.as_json(rows))
    else:
        print(printable(listing.as_text(rows), lines=True))


@models_app.command("check", epilog="Example: xtl models check gpt2 --backend bridge")
@loads_model
def check_model(
    name: Annotated[
        str | None, typer.Argument(help="A name, folder or .gguf file; the embedded model by default.")
    ] = None,
    json_output: JsonOption = False,
    loading: Loading = Loading(),
) -> None:
    """Load a model and check its contract: what blocks add, what writes do, and logits against Hugging Face's."""
    from xtl.models import listing

    report = listing.check(name, **loading.given())
    if json_output:
        _print_json(report)
    else:
        print(printable(listing.check_as_text(report), lines=True))


runs.register(app)
analyses.register(app)
protocols.register(app)
publish.register(app)


def main() -> None:
    """Entry point: run the command; a user's mistake is one line and exit code 2, a warning is one line."""
    as_python_does = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"xtl: {printable(message)}\n"
    try:
        sys.exit(app(standalone_mode=False))
    except XtlError as error:
        print(f"xtl: {printable(error)}", file=sys.stderr)
        sys.exit(2)
    except UsageError as error:
        print(_in_words(error), file=sys.stderr)
        sys.exit(2)
    except typer.Abort:
        sys.exit(STOPPED)
    finally:
        warnings.formatwarning = as_python_does


def _in_words(error: Any) -> str:
    """One line, but the help where no command is named at all."""
    said = error.format_message()
    if len(sys.argv) == 1:
        return str(said)
    where = "xtl" if error.ctx is None else error.ctx.command_path
    return f"xtl: {printable(said).rstrip('.')} (see {where} --help)"


def _run_sweep(
    *,
    pairs: list[ParallelPair],
    out: Path,
    title: str,
    task: str,
    command: str,
    sweep_options: dict[str, Any],
    model: str | None = None,
    loading: Loading = Loading(),
    chat: bool | str = False,
    overwrite: bool = True,
) -> xr.Dataset:
    """Check everything, load, sweep with progress, write `results.parquet` and `report.html`.

    Stopped with Ctrl-C, it writes what there is; called again it goes on from there.
    """
    check_out(out, overwrite or was_stopped(out, task, pairs))
    loaded = loading.load(model)
    from xtl.engine import sweep_many
    from xtl.models.chat import chat_pairs
    from xtl.publish import write_report
    from xtl.results import concat_maps
    from xtl.runs import save_results
    from xtl.runs.extent import Extent, extent_attrs, note_of

    maps: list[xr.Dataset] = []
    stopped = False
    with keeping_maps(out) as keep:
        try:
            asked = chat_pairs(loaded, pairs, chat)
            for result in sweep_many(loaded, asked, **sweep_options, keep=keep, progress=True):
                maps.append(result)
        except KeyboardInterrupt:
            stopped = True
        if not maps:
            print("xtl: stopped before the first map was whole; nothing was written", file=sys.stderr)
            sys.exit(STOPPED)
        results = concat_maps(maps).assign_attrs(task=task)
        if stopped:
            results = results.assign_attrs(extent_attrs(Extent(len(pairs), len(maps))))
        save_results(results, out / "results.parquet")
        note = note_of(results)
        notes = [] if note is None else [f"This is {note}."]
        write_report(out / "report.html", results, title=title, command=command, notes=notes)
        if stopped:
            print(
                f"xtl: stopped; kept the {len(maps)} of {len(pairs)} maps that were whole in {out}; "
                "the same command goes on from there",
                file=sys.stderr,
            )
            sys.exit(STOPPED)
    return results


def _write_pictures(results: xr.Dataset, out: Path) -> None:
    """The gain map of each direction as PNG."""
    from xtl import plots

    directions = with_directions(results)["direction"].values
    for direction in dict.fromkeys(map(str, directions)):
        name = "gain_map_" + direction.replace("->", "_") + ".png"
        plots.save_png(plots.gain_map(results, direction=direction), out / name)
        print(f"wrote {out / name}")


def _print_sweep(results: xr.Dataset, out: Path, json_output: bool) -> None:
    """The short table: per direction and module, vanilla, the best cell and its gain."""
    from xtl.results import best_cells, mean_maps

    table = best_cells(mean_maps(results))
    files = {"results": str(out / "results.parquet"), "report": str(out / "report.html")}
    if json_output:
        _print_json({**files, "best_cells": json.loads(table.to_json(orient="records"))})
        return
    print(printable(table.to_string(index=False, float_format=lambda value: f"{value:.3f}"), lines=True))
    print("(the best cell is chosen on the same instances that its gain is measured on)")
    print(f"wrote {files['results']} and {files['report']}")


def _print_json(value: Any) -> None:
    print(as_json(value))
