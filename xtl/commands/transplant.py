"""`xtl transplant`: one transplant, and what it patched."""

from __future__ import annotations

from typing import Annotated

import typer

from xtl.commands import library
from xtl.commands.flags import AlphaOption, ChatOption, Loading, NameOption, parse_chat, with_flags
from xtl.commands.output import JsonOption, print_json
from xtl.errors import check_choice, check_number, check_whole
from xtl.pairs import check_prompt


def register(app: typer.Typer) -> None:
    """Give an app the command."""
    app.command(
        epilog='Example: xtl transplant --source "Country: France. Capital:" --target "País: Francia. Capital:" '
        "--module attn --source-layer 12 --target-layer 13 --max-new-tokens 5"
    )(with_flags(transplant))


def transplant(
    source: Annotated[str, typer.Option(help="Prompt whose activation is read.")],
    target: Annotated[str, typer.Option(help="Prompt into which it is written.")],
    module: Annotated[str, typer.Option(help="attn, mlp, attn_released, resid or attn_head.")],
    source_layer: Annotated[int, typer.Option(help="Layer that is read: 0-based; a negative one counts from the end.")],
    target_layer: Annotated[
        int, typer.Option(help="Layer that is written: 0-based; a negative one counts from the end.")
    ],
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens to generate.")] = 20,
    steps: Annotated[
        str, typer.Option(help="first (patch the prompt's pass alone) or every (each new token too).")
    ] = "first",
    alpha: AlphaOption = 1.0,
    source_head: Annotated[int | None, typer.Option(help="Head that is read, for --module attn_head.")] = None,
    target_head: Annotated[int | None, typer.Option(help="Head that is written.")] = None,
    model: NameOption = None,
    chat: ChatOption = "false",
    json_output: JsonOption = False,
    loading: Loading = Loading(),
) -> None:
    """Run one transplant; print the answer with and without it, and what was patched."""
    from dataclasses import asdict

    check_prompt("source", source)
    check_prompt("target", target)
    library.get_modules([module])
    check_whole("max_new_tokens", max_new_tokens, 1)
    check_choice("steps", steps, library.STEPS)
    check_number("alpha", alpha)
    wrap = parse_chat(chat)
    loaded = loading.load(model)
    result = library.transplant(
        loaded,
        source=library.chat_prompt(loaded, source, wrap),
        target=library.chat_prompt(loaded, target, wrap),
        module=module,
        source_layer=source_layer,
        target_layer=target_layer,
        max_new_tokens=max_new_tokens,
        steps=steps,
        alpha=alpha,
        source_head=source_head,
        target_head=target_head,
    )
    if json_output:
        print_json(
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
        + ("" if patch.alpha == 1 else f"; alpha: {patch.alpha:g}")
    )
