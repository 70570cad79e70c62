"""`xtl report` and `xtl figure`: what a run has to show, as a page and as figures for papers."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from xtl.commands import library
from xtl.commands.output import wrote

Run = Annotated[Path, typer.Argument(help="Folder of `xtl run` or `xtl sweep`.")]
Model = Annotated[str | None, typer.Option(help="Which model of the run; all, or the only one, by default.")]
Task = Annotated[str | None, typer.Option(help="Which task of the run; all by default.")]


def register(app: typer.Typer) -> None:
    """Give an app the commands."""
    app.command(epilog="Example: xtl report runs/capitals")(report)
    app.command(
        epilog="Example: xtl figure runs/capitals --kind gain_map --direction en:es --format pdf --width 3.3in --style paper"
    )(figure)


def report(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="The HTML file; report.html in the run's folder by default.")] = None,
    model: Model = None,
    task: Task = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    control: Annotated[
        Path | None, typer.Option(help="Folder of the same run with a control: real minus control beside each map.")
    ] = None,
) -> None:
    """Write a run's report: one page that needs no network, with a summary, maps, and what the model said in each cell."""

    given = {"--out": out, "--model": model, "--task": task, "--title": title, "--control": control}
    words = [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    command = ["xtl", "report", str(run), *words]
    wrote(
        library.report_run(run, out, model=model, task=task, title=title, command=shlex.join(command), control=control)
    )


def figure(
    run: Run,
    kind: Annotated[
        str,
        typer.Option(
            help="gain_map, accuracy_map, interval_map, layer_module, layer_profile, held_out or upper_bound."
        ),
    ] = "gain_map",
    form: Annotated[str, typer.Option("--format", help="pdf, svg, png or html.")] = "pdf",
    width: Annotated[str, typer.Option(help="Width in print, as 3.3in, 8.4cm, 84mm or 240pt.")] = "3.3in",
    style: Annotated[str, typer.Option(help="paper (8-point labels, no title) or screen.")] = "paper",
    out: Annotated[
        Path | None,
        typer.Option(help="The file; KIND.FORMAT in the run's folder by default. A CSV is written beside it."),
    ] = None,
    direction: Annotated[str | None, typer.Option(help="Which direction, as en:es; all by default.")] = None,
    model: Model = None,
    task: Task = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take what there is of a run that is not whole; the file says so.")
    ] = False,
) -> None:
    """Draw a figure of a run for a paper, and write its data as CSV beside it."""

    written = library.export_figure(
        run, kind=kind, form=form, width=width, style=style, out=out, direction=direction, model=model, task=task,
        partial=partial,
    )  # fmt: skip
    wrote(*written)
