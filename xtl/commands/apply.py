"""`xtl apply`: what a model answers under a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xtl.commands import library
from xtl.commands.flags import ChatOption, Loading, NameOption, parse_chat, with_flags
from xtl.commands.output import JsonOption, print_json
from xtl.errors import InputError, check_whole
from xtl.foreign import printable
from xtl.pairs import check_prompt


def register(app: typer.Typer) -> None:
    """Give an app the command."""
    app.command(
        epilog='Example: xtl apply runs/policies/es --prompt "País: Francia. Capital:" --source "Country: France. Capital:"'
    )(with_flags(apply))


def apply(
    policy: Annotated[Path, typer.Argument(help="A policy's folder (xtl.Policy.save, `xtl protocol select`).")],
    prompt: Annotated[str, typer.Option(help="Prompt that is answered.")],
    source: Annotated[
        str | None, typer.Option(help="The same in the source language, for a policy that reads it.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens to generate.")] = 20,
    model: NameOption = None,
    chat: ChatOption = "false",
    json_output: JsonOption = False,
    loading: Loading = Loading(),
) -> None:
    """Answer a prompt under a policy, and without it."""
    check_prompt("prompt", prompt)
    check_whole("max_new_tokens", max_new_tokens, 1)
    wrap = parse_chat(chat)
    known = library.Policy.load(policy)
    if known.needs_source != (source is not None):
        raise InputError(
            "--source is missing: this policy writes what the source prompt gives"
            if known.needs_source
            else "--source is given, and this policy writes a fixed vector: leave it out"
        )
    if source is not None:
        check_prompt("source", source)
    loaded = loading.load(model)
    given = None if source is None else library.chat_prompt(loaded, source, wrap)
    ids = library.encode(loaded, library.chat_prompt(loaded, prompt, wrap), "prompt")
    library.check_fits(loaded, "prompt", len(ids), max_new_tokens)
    hooks = library.prompt_hooks(known, loaded, given, len(ids))
    answers = [library.generate(loaded, ids, max_new_tokens, one) for one in ([], hooks)]
    vanilla, text = (library.decode(loaded, answer.tokens) for answer in answers)
    if json_output:
        print_json({"model": loaded.xtl_info.name, "policy": str(known), "text": text, "tokens": answers[1].tokens,
                    "vanilla_text": vanilla, "vanilla_tokens": answers[0].tokens})  # fmt: skip
        return
    print(printable(f"policy       {known}"))
    print(f"vanilla      {vanilla!r}")
    print(f"with it      {text!r}")
