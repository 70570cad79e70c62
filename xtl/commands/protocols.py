"""`xtl protocol`: the paper's experiments, from the data to their tables; and `xtl summary`, what is left of a gain."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xtl.commands import library
from xtl.commands.flags import (
    ChatOption,
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
    MAPS,
    RESULTS,
    STOPPED,
    check_folder,
    check_out,
    keeping_maps,
    print_json,
    was_stopped,
    wrote,
)
from xtl.commands.strict import App, parse_names, parse_number, refuse
from xtl.errors import InputError, check_choice
from xtl.foreign import printable
from xtl.tasks import get_task
from xtl.tasks.benchmark import Benchmark

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from xtl.pairs import ParallelPair
    from xtl.policies import Policy

POLICIES = "policies"
"""Folder in --out of what `select` chose, by language."""
USUAL = {"pairwise": "sample", "upper-bound": "sample", "fixed": "unseen", "select": "unseen"}
"""Split of a benchmark that each protocol runs on by default."""

app = App(no_args_is_help=True, rich_markup_mode=None, help="Run one of the paper's experiments and print its table.")


def register(app_of_all: typer.Typer) -> None:
    """Give an app the commands."""
    app_of_all.add_typer(app, name="protocol")
    app_of_all.command(epilog="Example: xtl summary runs/xnli runs/xnli-shuffled")(summary)


@dataclass(frozen=True)
class Question:
    """What is asked of which model, and where the table goes: the flags of every protocol."""

    task: Annotated[str, typer.Option(help="A task (see `xtl tasks`).")]
    out: Annotated[Path, typer.Option(help="Folder for results.parquet and the table as CSV and LaTeX.")]
    data: Annotated[
        Path | None, typer.Option(help="The paper's released data, or with --origin hub a local copy; or XTL_DATA.")
    ] = None
    origin: Annotated[str | None, typer.Option(help="released or hub.")] = None
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="A field of the task as KEY=VALUE: english=original (XCOPA), translations=FILE (culture tasks), ..."
        ),
    ] = None
    languages: Annotated[str | None, typer.Option(help="Codes, separated by commas; all by default.")] = None
    limit: Annotated[int | None, typer.Option(help="Instances a language; all by default.")] = None
    score: Annotated[str | None, typer.Option(help="likelihood, paper, strict, em, f1 or distribution.")] = None
    normalise: NormaliseOption = "none"
    split: Annotated[
        str | None,
        typer.Option(help="sample, unseen or (hub; tasks without a sample) all; the protocol's own by default."),
    ] = None
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Use languages that stop being parallel up to where they are.")
    ] = False
    model: NameOption = None
    chat: ChatOption = "false"
    json_output: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False


@dataclass(frozen=True)
class Cells:
    """Which cells: the flags of protocols that choose none themselves."""

    modules: Annotated[str, typer.Option(help="Modules, separated by commas.")] = "attn,mlp"
    source_layers: SourceLayersOption = None
    target_layers: TargetLayersOption = None

    def settings(self) -> dict[str, Any]:
        """Arguments of `xtl.sweep`, checked as far as they can be without a model."""

        modules = parse_names("--modules", self.modules)
        library.get_whole_modules(modules)
        return {
            "modules": modules,
            "source_layers": parse_layers("--source-layers", self.source_layers),
            "target_layers": parse_layers("--target-layers", self.target_layers),
        }


@dataclass(frozen=True)
class Control:
    """A control in the place of the real run."""

    control: Annotated[
        str | None, typer.Option(help="Run a control instead, such as shuffled_source (see `xtl.controls`).")
    ] = None
    control_seed: Annotated[int, typer.Option(help="Seed of the control.")] = 0
    control_language: Annotated[str | None, typer.Option(help="The third language of --control other_language.")] = None


@app.command(
    "pairwise",
    epilog="Example: xtl protocol pairwise --task xnli --data DATA/xtransplant --languages de,sw --out runs/xnli",
)
@with_flags
def pairwise(
    question: Question, cells: Cells = Cells(), control: Control = Control(), loading: Loading = Loading()
) -> None:
    """All cells on the sample: a column a language, mean and spread."""
    _pairwise("pairwise", question, cells, control, loading)


@app.command(
    "upper-bound",
    epilog="Example: xtl protocol upper-bound --task xnli --data DATA/xtransplant --languages de,sw --out runs/xnli",
)
@with_flags
def upper_bound(
    question: Question, cells: Cells = Cells(), control: Control = Control(), loading: Loading = Loading()
) -> None:
    """The same as pairwise: all cells on the sample, and who is solved by some cell."""
    _pairwise("upper-bound", question, cells, control, loading)


@app.command(
    "fixed",
    epilog="Example: xtl protocol fixed --task xnli --data DATA/xtransplant --languages de,sw --out runs/xnli-fixed",
)
@with_flags
def fixed(question: Question, loading: Loading = Loading()) -> None:
    """The paper's fixed layers on unseen data, by kind of task."""

    asked = _Asked("fixed", question)
    asked.run(loading, lambda model, settings: library.protocols.fixed(model, asked.task, asked.codes, **settings))


@app.command(
    "select",
    epilog="Example: xtl protocol select --task xnli --data DATA/xtransplant --sample runs/xnli --out runs/xnli-select",
)
@with_flags
def select(
    question: Question,
    cells: Cells = Cells(),
    sample: Annotated[
        Path | None, typer.Option(help="Results of pairwise on the sample to choose on, instead of a sweep.")
    ] = None,
    strategy: Annotated[str, typer.Option(help="target_first, source_first or overall.")] = "target_first",
    per: Annotated[str, typer.Option(help="A cell for each language, or one for the task.")] = "language",
    control: Annotated[
        str | None,
        typer.Option(help="Measure the chosen cells with this control's source too, such as shuffled_source."),
    ] = None,
    control_seed: Annotated[int, typer.Option(help="Seed of the control.")] = 0,
    loading: Loading = Loading(),
) -> None:
    """Choose a cell on the sample, measure it on unseen data, and write it as a policy (see `xtl apply`)."""

    check_choice("--strategy", strategy, library.STRATEGIES)
    library.check_control(control, None)
    if control is None:
        refuse(["control_seed"], "goes with --control")
    check_choice("--per", per, library.protocols.PER)
    grid = cells.settings()
    asked = _Asked("select", question)
    learned = None if sample is None else _results(sample)
    if learned is None:
        library.protocols.gather(asked.task, asked.codes, "sample", asked.data)
    else:
        library.protocols.check_sample(learned, asked.task, asked.groups, question.score, normalise=question.normalise)

    def compute(model: Any, settings: dict[str, Any]) -> tuple[xr.Dataset, list[Path]]:
        chosen_on = learned
        if chosen_on is None:
            print("the sample, to choose on:", file=sys.stderr)
            chosen_on = library.protocols.pairwise(
                model, asked.task, asked.codes, **settings | grid | {"split": "sample"}
            )
        choice: dict[str, Any] = {"strategy": strategy, "per": per}
        select = partial(
            library.protocols.select, model, asked.task, asked.codes, sample=chosen_on, **choice, **settings
        )
        results = select()
        other = None if control is None else select(control=control, control_seed=control_seed)
        made = library.policies_of(model, chosen_on, results, other, score=question.score, **choice)
        return results, [_save_policy(policy, question.out / POLICIES / name) for name, policy in made.items()]

    asked.run(loading, compute)


def _save_policy(policy: Policy, folder: Path) -> Path:
    """Write a policy; one that the same command, killed before its end, has written there is replaced."""
    if folder.exists():
        library.Policy.load(folder)
        shutil.rmtree(folder)
    return policy.save(folder)


def _pairwise(name: str, question: Question, cells: Cells, control: Control, loading: Loading) -> None:

    library.check_control(control.control, control.control_language)
    if control.control is None:
        refuse(["control_seed"], "goes with --control")
    grid = cells.settings()
    asked = _Asked(name, question)
    library.protocols.control_pairs(
        asked.task, asked.groups, asked.split, asked.data, control.control, control.control_language
    )
    own = grid | dataclasses.asdict(control)
    asked.run(
        loading, lambda model, settings: library.protocols.pairwise(model, asked.task, asked.codes, **own, **settings)
    )


class _Asked:
    """A protocol's question, its data gathered and everything checked that can be before a model loads."""

    def __init__(self, name: str, question: Question) -> None:

        out = question.out
        check_folder(out)
        check_out(out, (out / MAPS).exists() or None)  # with maps: killed in its last moment, if it is the same command
        self.name, self.question = name, question
        self.task = _with_options(get_task(question.task), question.option or [])
        if not isinstance(self.task, Benchmark):
            refuse(["origin", "data", "truncate"], f"goes with benchmarks; task {question.task!r} is none")
        self.data = library.protocols.Data(
            limit=question.limit,
            origin=question.origin,
            folder=question.data,
            allow_misaligned="truncate" if question.truncate else "refuse",
            chat=parse_chat(question.chat),
        )
        library.protocols.score_settings(self.task, question.score, question.normalise)
        codes = None if question.languages is None else parse_names("--languages", question.languages)
        usual = USUAL[name]
        self.split = question.split or (
            usual if name == "select" else library.protocols.split_of(self.task, None, usual)
        )
        self.groups: dict[str, list[ParallelPair]] = library.protocols.gather(self.task, codes, self.split, self.data)
        self.codes = list(self.groups)
        check_out(out, was_stopped(out, self.task.name, [pair for one in self.groups.values() for pair in one]) or None)

    def run(self, loading: Loading, compute: Any) -> None:
        """Load the model, compute the results (`compute(model, settings)`), write them and their table, and print it."""

        asked, out = self.question, self.question.out
        settings = {"score": asked.score, "normalise": asked.normalise, "split": self.split, "data": self.data}
        model = loading.load(asked.model)
        try:
            with keeping_maps(out) as keep:
                computed = compute(model, settings | {"progress": True, "keep": keep})
                results, more = computed if isinstance(computed, tuple) else (computed, [])
                table_of = (
                    library.upper_bound_table if self.name in ("pairwise", "upper-bound") else library.accuracy_table
                )
                table = table_of(results, library.measure_of(results, asked.score))
                files = [library.write_table(table, out / f"table{suffix}") for suffix in (".csv", ".tex")]
                library.save_results(results, out / RESULTS)  # last: once it is there, all is
        except KeyboardInterrupt:
            print(
                f"xtl: stopped; the maps that were whole are kept in {printable(out)}, the same command goes on from there",
                file=sys.stderr,
            )
            sys.exit(STOPPED)
        _show(table, asked.json_output, [out / RESULTS, *files, *more])


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


def summary(
    real: Annotated[Path, typer.Argument(help="Folder or results.parquet of the real run.")],
    control: Annotated[Path, typer.Argument(help="The same of a control on the same target prompts.")],
    seed: Annotated[int, typer.Option(help="Seed of the splits that the best cell is chosen on.")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print the tidy table as JSON.")] = False,
) -> None:
    """What is left of a gain: vanilla, best fixed cell (held out), upper bound, what chance reaches, and the difference."""

    table = library.summary_table(_results(real), _results(control), seed=seed)
    if json_output:
        print_json(json.loads(table.to_json(orient="records")))
    else:
        print(printable(library.summary_wide(table).to_string(), lines=True))


def _results(path: Path) -> xr.Dataset:
    """The results of a sweep, of a protocol or of a run, in memory."""

    return library.say_extent(path, library.open_results(path).load())


def _show(table: pd.DataFrame, json_output: bool, files: list[Path]) -> None:
    if json_output:
        print_json({**table.attrs, "table": json.loads(table.to_json(orient="index"))})
        return
    print(printable(", ".join(f"{name}: {value}" for name, value in table.attrs.items())))
    print(printable(table.to_string(float_format=lambda value: f"{value:.1f}", na_rep=""), lines=True))
    wrote(*files)
