"""`xtl protocol NAME`: one of the paper's experiments, from the data to its table."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xtl.commands.loading import ChatOption, Loading, NameOption, NormaliseOption, loads_model, parse_chat
from xtl.commands.output import MAPS, RESULTS, STOPPED, check_folder, check_out, keeping_maps, was_stopped
from xtl.commands.runs import parse_layers
from xtl.commands.strict import parse_names, parse_number, refuse
from xtl.errors import InputError, check_choice
from xtl.foreign import printable

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


PROTOCOLS = ("pairwise", "upper-bound", "fixed", "select")
USUAL = {"pairwise": "sample", "upper-bound": "sample", "fixed": "unseen"}
"""Split of a benchmark that each protocol runs on by default."""


def register(app: typer.Typer) -> None:
    """Give an app the command."""
    app.command(
        epilog="Example: xtl protocol upper-bound --task xnli --data DATA/xtransplant --languages de,sw --out runs/xnli"
    )(loads_model(protocol))
    app.command(epilog="Example: xtl summary runs/xnli runs/xnli-shuffled")(summary)


def protocol(
    name: Annotated[
        str,
        typer.Argument(
            help="pairwise (all cells on the sample), upper-bound (the same, and who is solved by some cell), fixed (the paper's "
            "fixed layers on unseen data) or select (choose on the sample, measure on unseen data)."
        ),
    ],
    task: Annotated[str, typer.Option(help="A task (see `xtl tasks`).")],
    out: Annotated[Path, typer.Option(help="Folder for results.parquet and the table as CSV and LaTeX.")],
    data: Annotated[
        Path | None, typer.Option(help="The paper's released data, or with --origin hub a local copy; or XTL_DATA.")
    ] = None,
    origin: Annotated[str | None, typer.Option(help="released or hub.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="A field of the task as KEY=VALUE: english=original (XCOPA), translations=FILE (culture tasks), ..."
        ),
    ] = None,
    languages: Annotated[str | None, typer.Option(help="Codes, separated by commas; all by default.")] = None,
    limit: Annotated[int | None, typer.Option(help="Instances a language; all by default.")] = None,
    score: Annotated[str | None, typer.Option(help="likelihood, paper, strict, em, f1 or distribution.")] = None,
    normalise: NormaliseOption = "none",
    split: Annotated[
        str | None,
        typer.Option(help="sample, unseen or (hub; tasks without a sample) all; the protocol's own by default."),
    ] = None,
    modules: Annotated[
        str | None, typer.Option(help="Modules of pairwise, upper-bound and select; attn,mlp by default.")
    ] = None,
    source_layers: Annotated[
        str | None, typer.Option(help="Layers to read, as 0,3,-1 or 0-5 (5 is in it) or 0:18:3 (18 is not).")
    ] = None,
    target_layers: Annotated[str | None, typer.Option(help="Layers to write, in the same form.")] = None,
    control: Annotated[
        str | None,
        typer.Option(
            help="pairwise and upper-bound: run a control instead, such as shuffled_source (see `xtl.controls`)."
        ),
    ] = None,
    control_seed: Annotated[int, typer.Option(help="Seed of the control.")] = 0,
    control_language: Annotated[
        str | None, typer.Option(help="The third language of --control other_language.")
    ] = None,
    sample: Annotated[
        Path | None, typer.Option(help="select: results of pairwise on the sample to choose on, instead of a sweep.")
    ] = None,
    strategy: Annotated[str, typer.Option(help="target_first, source_first or overall (select).")] = "target_first",
    per: Annotated[str, typer.Option(help="A cell for each language, or one for the task (select).")] = "language",
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Use languages that stop being parallel up to where they are.")
    ] = False,
    model: NameOption = None,
    chat: ChatOption = "false",
    json_output: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
    loading: Loading = Loading(),
) -> None:
    """Run one of the paper's experiments and print its table: a column a language, mean and spread."""
    from xtl.controls import check_control
    from xtl.hooks import get_modules
    from xtl.protocols import run as protocols
    from xtl.protocols.tables import write_table
    from xtl.runs import save_results
    from xtl.stats.selection import STRATEGIES
    from xtl.tasks import get_task
    from xtl.tasks.benchmark import Benchmark

    check_choice("protocol", name, PROTOCOLS)
    check_folder(out)
    check_control(control, control_language)
    if name not in ("pairwise", "upper-bound"):
        refuse(["control"], f"goes with pairwise and upper-bound, not with {name}")
    if control is None:
        refuse(["control_seed"], "goes with --control")
    if name != "select":
        refuse(["sample", "strategy", "per"], f"goes with select, not with {name}")
    if name == "fixed":
        grid_flags = ["modules", "source_layers", "target_layers"]
        refuse(grid_flags, "does not go with fixed, whose cell is the paper's; use pairwise")
    check_choice("--strategy", strategy, STRATEGIES)
    check_choice("--per", per, protocols.PER)
    check_out(out, (out / MAPS).exists() or None)  # with maps: killed in its last moment, if it is the same command
    chosen = _with_options(get_task(task), option or [])
    if not isinstance(chosen, Benchmark):
        refuse(["origin", "data", "truncate"], f"goes with benchmarks; task {task!r} is none")
    where = protocols.Data(
        limit=limit,
        origin=origin,
        folder=data,
        allow_misaligned="truncate" if truncate else "refuse",
        chat=parse_chat(chat),
    )
    codes = None if languages is None else parse_names("--languages", languages)
    protocols.score_settings(chosen, score, normalise)
    controlled: dict[str, Any] = {
        "control": control,
        "control_seed": control_seed,
        "control_language": control_language,
    }
    split = split or ("unseen" if name == "select" else protocols.split_of(chosen, None, USUAL[name]))
    groups = protocols.gather(chosen, codes, split, where)  # everything is checked before the model loads
    check_out(out, was_stopped(out, chosen.name, [pair for found in groups.values() for pair in found]) or None)
    protocols.control_pairs(chosen, groups, split, where, control, control_language)
    codes = list(groups)
    learned = None if sample is None else _results(sample)
    if name == "select" and learned is None:
        protocols.gather(chosen, codes, "sample", where)
    if learned is not None:
        protocols.check_sample(learned, chosen, groups, score, normalise=normalise)
    settings: dict[str, Any] = {"score": score, "normalise": normalise, "split": split, "data": where}
    settings["progress"] = True
    grid: dict[str, Any] = {
        "modules": parse_names("--modules", modules or "attn,mlp"),
        "source_layers": parse_layers("--source-layers", source_layers),
        "target_layers": parse_layers("--target-layers", target_layers),
    }
    get_modules(grid["modules"])
    loaded = loading.load(model)
    try:
        with keeping_maps(out) as keep:
            settings["keep"] = keep
            if name == "fixed":
                results = protocols.fixed(loaded, chosen, codes, **settings)
            elif name == "select":
                if learned is None:
                    print("the sample, to choose on:", file=sys.stderr)
                    learned = protocols.pairwise(loaded, chosen, codes, **settings | grid | {"split": "sample"})
                results = protocols.select(
                    loaded, chosen, codes, sample=learned, strategy=strategy, per=per, **settings
                )
            else:
                results = protocols.pairwise(loaded, chosen, codes, **controlled, **settings, **grid)
            table = _table(name, results, score)
            files = [write_table(table, out / f"table{suffix}") for suffix in (".csv", ".tex")]
            save_results(results, out / RESULTS)  # last: once it is there, all is
    except KeyboardInterrupt:
        print(
            f"xtl: stopped; the maps that were whole are kept in {out}, the same command goes on from there",
            file=sys.stderr,
        )
        sys.exit(STOPPED)
    _show(table, json_output, [out / RESULTS, *files])


def _with_options(task: Any, options: list[str]) -> Any:
    """The task with its fields set to `key=value` texts."""
    if not options:
        return task
    fields = {one.name: one.default for one in dataclasses.fields(task) if one.default is not dataclasses.MISSING}
    given: dict[str, Any] = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--option {text!r} must look like KEY=VALUE")
        if not fields:
            raise InputError(f"--option {text!r}: the task {task.name!r} has no fields to set")
        default = fields[check_choice("--option", key, fields)]
        if key in given:
            raise InputError(f"--option {key} is given twice")
        given[key] = parse_number(f"--option {key}", value) if isinstance(default, float) else value
    return dataclasses.replace(task, **given)


def _table(name: str, results: xr.Dataset, score: str | None) -> pd.DataFrame:
    from xtl.protocols.tables import accuracy_table, measure_of, upper_bound

    table = upper_bound if name in ("pairwise", "upper-bound") else accuracy_table
    return table(results, measure_of(results, score))


def summary(
    real: Annotated[Path, typer.Argument(help="Folder or results.parquet of the real run.")],
    control: Annotated[Path, typer.Argument(help="The same of a control on the same target prompts.")],
    seed: Annotated[int, typer.Option(help="Seed of splits and resamples.")] = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 10_000,
    json_output: Annotated[bool, typer.Option("--json", help="Print the tidy table as JSON.")] = False,
) -> None:
    """What is left of a gain: vanilla, best fixed cell (held out), upper bound, what chance reaches, and the difference."""
    from xtl.stats import summary_table, summary_wide

    table = summary_table(_results(real), _results(control), n_resamples=resamples, seed=seed)
    if json_output:
        print(table.to_json(orient="records", force_ascii=False, indent=2))
    else:
        print(printable(summary_wide(table).to_string(), lines=True))


def _results(path: Path) -> xr.Dataset:
    """The results of a sweep, of a protocol or of a run, in memory."""
    from xtl.runs.reading import open_results, say_extent

    return say_extent(path, open_results(path).load())


def _show(table: pd.DataFrame, json_output: bool, files: list[Path]) -> None:
    if json_output:
        print(
            json.dumps(
                {**table.attrs, "table": json.loads(table.to_json(orient="index"))}, ensure_ascii=False, indent=2
            )
        )
        return
    print(printable(", ".join(f"{name}: {value}" for name, value in table.attrs.items())))
    print(printable(table.to_string(float_format=lambda value: f"{value:.1f}", na_rep=""), lines=True))
    print("wrote " + ", ".join(map(str, files)))
