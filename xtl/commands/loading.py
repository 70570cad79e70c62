"""The flags of every command that loads a model, defined once, and the loading itself."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer

from xtl.errors import check_choice
from xtl.foreign import printable

NameOption = Annotated[
    str | None,
    typer.Option(
        "--model", help="A name, folder or .gguf file (see `xtl models`); the embedded Gemma 3 270M by default."
    ),
]
ChatOption = Annotated[
    str,
    typer.Option(
        "--chat",
        help="Wrap prompts in the model's chat template: true, auto (where it has one) or false (raw prompts, as in the paper).",
    ),
]
NormaliseOption = Annotated[
    str,
    typer.Option(
        "--normalise",
        help="Divide log-probabilities by the length of options: none, token or byte (UTF-8); sums favour short options.",
    ),
]
CHAT: dict[str, bool | str] = {"false": False, "true": True, "auto": "auto"}


@dataclass(frozen=True)
class Loading:
    """How a model is loaded: arguments of `xtl.load_model`. None is that function's own default."""

    backend: Annotated[
        str | None,
        typer.Option(help="hooked (HookedTransformer), bridge (TransformerBridge), or auto: hooked where it can."),
    ] = None
    dtype: Annotated[str | None, typer.Option(help="float32 (the default), bfloat16, float16 or float64.")] = None
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; CUDA where there is one by default.")] = (
        None
    )
    device_map: Annotated[
        str | None, typer.Option(help="auto: spread a model over several devices that is larger than one; bridge only.")
    ] = None
    quantization: Annotated[
        str | None, typer.Option(help="8bit or 4bit, by bitsandbytes, where it is installed; bridge only.")
    ] = None
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code",
            help="Run Python code that comes with the model: it can read, send away and delete whatever you can. Only for code "
            "that you have read.",
        ),
    ] = False

    def given(self) -> dict[str, Any]:
        """What the user asked for, by name."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) not in (None, False)}

    def load(self, name: str | None) -> Any:
        """The model; says on stderr what is going on."""
        from xtl.models import load_model
        from xtl.models.load import check_asked

        given = self.given()
        check_asked(name, **{key: value for key, value in given.items() if key != "trust_remote_code"})
        print(f"loading {printable(name or 'the embedded model')} ...", file=sys.stderr)
        model = load_model(name, **given)
        if model.xtl_info.backend_reason:
            print(f"loaded as {type(model).__name__}: {printable(model.xtl_info.backend_reason)}", file=sys.stderr)
        return model


def loads_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that has a parameter `loading: Loading` the flags of `Loading` in its place."""
    signature = inspect.signature(command, eval_str=True)
    hints = get_type_hints(Loading, include_extras=True)
    flags = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
        for one in fields(Loading)
    ]
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name != "loading"
    ]

    @functools.wraps(command)
    def call(**given: Any) -> None:
        loading = Loading(**{one.name: given.pop(one.name) for one in fields(Loading)})
        command(**given, loading=loading)

    call.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    return call


def parse_chat(text: str) -> bool | str:
    """What `--chat` says.

    >>> parse_chat("true"), parse_chat("auto")
    (True, 'auto')
    """
    return CHAT[check_choice("--chat", text, CHAT)]
