"""`xtl tasks`: what there is to ask."""

from __future__ import annotations

import typer

from xtl.commands.output import JsonOption, print_json
from xtl.tasks import get_task, task_names


def register(app: typer.Typer) -> None:
    """Give an app the command."""
    app.command(epilog="Example: xtl tasks --json")(tasks)


def tasks(json_output: JsonOption = False) -> None:
    """List the built-in tasks and their languages."""

    known = [get_task(name) for name in task_names()]
    if json_output:
        print_json([{"name": t.name, "description": t.description, "languages": list(t.languages)} for t in known])
        return
    for task in known:
        print(f"{task.name}: {task.description}\n    {len(task.languages)} languages: {' '.join(task.languages)}")
