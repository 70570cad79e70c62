"""Flags that several commands share, each defined once.

A *group* of flags is a frozen dataclass whose fields are annotated as typer's options are; a field without a default must be
given. A command takes a group as one parameter, and `with_flags` gives the command line the group's flags in its place.
The flags of `xtl run` that are keys of a study are made from `Study`.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass, make_dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from xtl import layers
from xtl.commands import library
from xtl.commands.strict import parse_names, parse_number, parse_whole
from xtl.errors import check_choice
from xtl.foreign import printable
from xtl.runs.study import Study

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
DetailsOption = Annotated[
    str | None,
    typer.Option(
        "--details", help="Keep more of each cell than its score: options, lens, state, agreement, separated by commas."
    ),
]
AlphaOption = Annotated[
    float, typer.Option(help="How much of the source is written: own + alpha (source - own). 1: all of it, 0: nothing.")
]
SourceLayersOption = Annotated[
    str | None,
    typer.Option(help="Layers to read, as 0,3,-1 or 0-5 (5 is in it) or 0:18:3 (18 is not); all by default."),
]
TargetLayersOption = Annotated[str | None, typer.Option(help="Layers to write, in the same form; all by default.")]
CHAT: dict[str, bool | str] = {"false": False, "true": True, "auto": "auto"}


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of every group that it takes, in the group's place."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: one.annotation for name, one in signature.parameters.items() if is_dataclass(one.annotation)
    }
    parameters = [
        flag
        for name, one in signature.parameters.items()
        for flag in (_flags(groups[name]) if name in groups else [one])
    ]

    @functools.wraps(command)
    def call(**given: Any) -> None:
        made = {
            name: group(**{one.name: given.pop(one.name) for one in fields(group)}) for name, group in groups.items()
        }
        command(**given, **made)

    keyword = inspect.Parameter.KEYWORD_ONLY
    call.__signature__ = signature.replace(parameters=[one.replace(kind=keyword) for one in parameters])  # type: ignore[attr-defined]
    return call


def _flags(group: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for one in fields(group):
        default = inspect.Parameter.empty if one.default is MISSING else one.default
        yield inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[one.name])


def parse_layers(flag: str, text: str | None) -> tuple[int, ...] | None:
    """The layers of a flag, in the one grammar of `xtl.layers`; None where it isn't given.

    >>> parse_layers("--source-layers", "0:9:4")
    (0, 4, 8)
    """
    return None if text is None else layers.parse_layers(flag, text)


def parse_chat(text: str) -> bool | str:
    """What `--chat` says.

    >>> parse_chat("true"), parse_chat("auto")
    (True, 'auto')
    """
    return CHAT[check_choice("--chat", text, CHAT)]


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

        given = self.given()
        library.check_asked(name, **{key: value for key, value in given.items() if key != "trust_remote_code"})
        print(f"loading {printable(name or 'the embedded model')} ...", file=sys.stderr)
        model = library.load_model(name, **given)
        if model.xtl_info.backend_reason:
            print(f"loaded as {type(model).__name__}: {printable(model.xtl_info.backend_reason)}", file=sys.stderr)
        return model


class Keys:
    """Keys of a study that were given as flags: a field a key (see `StudyFlags`), None where it wasn't."""

    def given(self) -> dict[str, Any]:
        """The keys that were given, in the study's own forms.

        Raises:
            InputError: a value that is none of its key.
        """
        texts = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        return {name: _read(name, text) for name, text in texts.items() if text is not None}


def _study_flags() -> type[Keys]:
    """A group with a flag a key of `Study`, and what its docstring says of the key as help."""
    said = dict(re.findall(r"(?ms)^        (\w+): (.*?)(?=^        \w+: |\Z|^    \S)", _attributes(Study)))
    flags = []
    for name, field in Study.model_fields.items():
        words = " ".join(said[name].split()).replace("`", "")
        kind = int if _kinds(field.annotation) == {int} else str
        listed = (
            " Several are separated by commas." if tuple in _kinds(field.annotation) and "layers" not in name else ""
        )
        option = typer.Option(help=words[0].upper() + words[1:] + listed)
        flags.append((name, Annotated[kind | None, option], dataclass_field(default=None)))
    return make_dataclass("StudyFlags", flags, bases=(Keys,), frozen=True)


def _attributes(kind: type) -> str:
    """The part of a docstring that says what a class's attributes are."""
    return (kind.__doc__ or "").partition("    Attributes:\n")[2]


def _kinds(annotation: Any) -> set[type]:
    """The plain types in an annotation, without None.

    >>> sorted(kind.__name__ for kind in _kinds(Study.model_fields["source_layers"].annotation))
    ['int', 'tuple']
    """
    if isinstance(annotation, type) and not get_args(annotation):
        return {annotation} - {type(None)}
    own = {get_origin(annotation)} & {tuple}
    return own.union(*(_kinds(one) for one in get_args(annotation)))


def _read(name: str, text: Any) -> Any:
    """A key's value from its flag's text."""
    flag, kinds = f"--{name.replace('_', '-')}", _kinds(Study.model_fields[name].annotation)
    if kinds == {tuple, int}:
        return layers.parse_layers(flag, text)
    if tuple in kinds:
        return parse_names(flag, text)
    if bool in kinds:
        return parse_chat(text)
    if float in kinds:
        return parse_number(flag, text)
    return parse_whole(flag, text) if int in kinds and text != "auto" and isinstance(text, str) else text


if TYPE_CHECKING:
    StudyFlags = Keys
else:
    StudyFlags = _study_flags()
