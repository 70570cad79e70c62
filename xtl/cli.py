"""The command line, thin: it reads flags, calls the library and prints.

Bad input ends with exit code 2 and one line; nothing is written then. torch is imported only by commands that run a model.
"""

from __future__ import annotations

import functools
import sys
import warnings
from typing import Annotated, Any

import typer
import typer.main

from xtl import __version__
from xtl.commands import analyses, apply, models, protocols, publish, runs, select, sweep, tasks, transplant
from xtl.commands.output import STOPPED
from xtl.commands.strict import App, UsageError
from xtl.errors import XtlError
from xtl.foreign import printable

app = App(
    name="xtl",
    help="Cross-lingual latent transplantation: hand a model, while it reads a question in one language, the activation that "
    "it computed for the same question in another, and see what it gains.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


for commands in (sweep, transplant, apply, tasks, models, runs, analyses, select, protocols, publish):
    commands.register(app)


@functools.cache
def command() -> Any:
    """The app as it is run; built once a process, which takes longer than most of its commands take to refuse a mistake."""
    return typer.main.get_command(app)


def main() -> None:
    """Entry point: run the command; a user's mistake is one line and exit code 2, a warning is one line."""
    as_python_does = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"xtl: {printable(message)}\n"
    try:
        sys.exit(command()(standalone_mode=False))
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
