"""What a model's name means: the embedded model, a folder, a GGUF file, or a Hugging Face id.

>>> resolve_name("mistral-7b-instruct-v0.3")
('mistral-7b-instruct-v0.3', 'mistralai/Mistral-7B-Instruct-v0.3')
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from xtl.errors import InputError, ModelError, check_choice
from xtl.files import check_path
from xtl.models.embedded import EMBEDDED
from xtl.models.silence import silence_loading

PAPER = {
    "llama-2-7b-chat": "meta-llama/Llama-2-7b-chat-hf",
    "mistral-7b-instruct-v0.3": "mistralai/Mistral-7B-Instruct-v0.3",
    "qwen2-7b-instruct": "Qwen/Qwen2-7B-Instruct",
    "chinese-alpaca-2-7b": "hfl/chinese-alpaca-2-7b",
    "bloomz-7b1": "bigscience/bloomz-7b1",
}
"""Short names of the paper's models (arXiv 2412.12686, section 3), with their Hugging Face ids."""

UNREADABLE = ("NeelNanda/", "ArthurConmy/", "Baidicoot/")
"""Owners on TransformerLens's list whose models exist as pickle files alone, which xtl never reads."""

Location = Path | str | None
"""A folder or a GGUF file; a Hugging Face id; None for the embedded model."""


def resolve_name(name: str | os.PathLike[str] | None) -> tuple[str, Location]:
    """What a name means: `(name for people, where the model is)`.

    Raises:
        InputError: no such folder or file, or a name that nobody knows (the nearest ones are given).
        ModelError: a model that exists as pickle files alone.
    """
    if name is None or str(name) == EMBEDDED:
        return EMBEDDED, None
    text = os.fspath(name)
    if not text.strip():
        raise InputError("model name is empty; see `xtl models` for names")
    place = check_path("model", text).expanduser()
    if text.endswith(".gguf"):
        if not place.is_file():
            raise InputError(f"no GGUF file {text!r}")
        return text, place
    if (place / "config.json").is_file():
        return text, place
    if place.is_dir():
        inside = sorted(file.name for file in place.glob("*.gguf"))
        hint = f"; for GGUF name the file: {str(place / inside[0])!r}" if inside else ""
        raise InputError(f"model folder {text!r} has no config.json: give a Hugging Face model folder{hint}")
    if not isinstance(name, str) or text.startswith(("/", "./", "../", "~", ".\\")) or text.count("/") > 1:
        raise InputError(f"no model folder {text!r}")
    names = known_names()
    official = names.get(text.lower(), text if "/" in text else None)
    if official is None:
        official = names[_check_known(text, names)]
    if official.startswith(UNREADABLE):
        raise ModelError(f"{official!r} is published as pickle files alone, which xtl does not read")
    return text, official


def _check_known(text: str, names: Mapping[str, str]) -> str:
    """As `check_choice`, with the nearest of the hundreds of names in the place of all."""
    try:
        return check_choice("model", text, [EMBEDDED, *names])
    except InputError as error:
        told = str(error).partition("; valid:")[0]
        raise InputError(
            f"{told}; valid: a name from `xtl models`, a Hugging Face id, a folder or a .gguf file"
        ) from None


def known_names() -> dict[str, str]:
    """The paper's short names and TransformerLens's names and aliases, in lower case, with the Hugging Face id of each."""
    with silence_loading():
        from transformer_lens.supported_models import MODEL_ALIASES, OFFICIAL_MODEL_NAMES
    known = {name.lower(): name for name in OFFICIAL_MODEL_NAMES}
    known |= {alias.lower(): name for name, aliases in MODEL_ALIASES.items() for alias in aliases}
    return PAPER | known
