"""`xtl models`: what is known by name and is here; `xtl models check` tries one."""

from __future__ import annotations

from typing import Annotated, no_type_check

import typer

from xtl.commands.flags import Loading, with_flags
from xtl.commands.output import JsonOption, print_json
from xtl.commands.strict import App
from xtl.errors import InputError
from xtl.foreign import printable

app = App(epilog="Example: xtl models check gpt2", rich_markup_mode=None)


def register(app_of_all: typer.Typer) -> None:
    """Give an app the commands."""
    app_of_all.add_typer(app, name="models")


@app.callback(invoke_without_command=True)
@no_type_check  # typer hands over a class of its own in the place of the one that its annotation names
def models(context: typer.Context, json_output: JsonOption = False) -> None:
    """List the models known by name, which are on this machine, and the memory that each needs; `check` tries one."""
    if context.invoked_subcommand is not None:
        if json_output:
            raise InputError(
                f"--json goes behind {context.invoked_subcommand}: xtl models {context.invoked_subcommand} --json"
            )
        return
    from xtl.commands import listing

    rows = listing.list_models()
    if json_output:
        print_json(listing.as_json(rows))
    else:
        print(printable(listing.as_text(rows), lines=True))


@app.command("check", epilog="Example: xtl models check gpt2 --backend bridge")
@with_flags
def check_model(
    name: Annotated[
        str | None, typer.Argument(help="A name, folder or .gguf file; the embedded model by default.")
    ] = None,
    json_output: JsonOption = False,
    loading: Loading = Loading(),
) -> None:
    """Load a model and check its contract: what blocks add, what writes do, and logits against Hugging Face's."""
    from xtl.commands import listing

    report = listing.check(name, **loading.given())
    if json_output:
        print_json(report)
    else:
        print(printable(listing.check_as_text(report), lines=True))
