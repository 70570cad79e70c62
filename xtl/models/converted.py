"""GGUF files, converted once: as safetensors in the user's cache, known again by what is in them.

Reading GGUF takes several times as long as reading safetensors. A folder of the cache is named by the SHA-256 of the GGUF file's
content, so that a copy under another name is the same model and another file under the same name is another one. It is built
beside its place and moved in whole. At every load it is hashed, and is used only if it is what this user's conversion with these
versions gave, or what is known of the file beforehand (`xtl.models.trust`: what lies beside the files proves nothing); any other
one is rebuilt. `XTL_CACHE` names another cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtl.errors import ModelError
from xtl.models import gguf_files, trust

MANIFEST = "checksums.json"


@dataclass(frozen=True)
class Source:
    """A model that comes as GGUF.

    Attributes:
        what: the model, for people.
        name: of its folder in the cache.
        weights: SHA-256 of the GGUF file; None where the file isn't here any more.
        get: gives the file; it may put it into the folder that it gets.
        dtype: the precision in which it is kept.
    """

    what: str
    name: str
    weights: str | None
    get: Callable[[Path], Path]
    dtype: str = "float32"


def cache_folder() -> Path:
    """Where xtl keeps what it can make again: `XTL_CACHE`, or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("XTL_CACHE") or platformdirs.user_cache_dir("xtl"))


def converted_folder(file: Path, dtype: object = "float32") -> Path:
    """A GGUF file as a Hugging Face folder, verified; converted at the first call for its content.

    Args:
        file: the GGUF file.
        dtype: the precision that it will be loaded in, a name or a torch dtype: half precision is kept in half precision.

    Raises:
        ModelError: no GGUF, cut short, of an architecture that Transformers doesn't read; disk or memory are too small; the cache
            can't be written. One line; nothing half-written is left.
    """
    try:
        weights, precision = sha256_of(file), gguf_files.kept_in(dtype)
    except OSError as error:
        raise ModelError(f"the GGUF file {str(file)!r} cannot be read: {error}") from error
    name = f"gguf-{weights[:16]}-{precision}"
    return folder_of(Source(f"the GGUF file {str(file)!r}", name, weights, lambda _: file, precision))


def folder_of(source: Source) -> Path:
    """A model that comes as GGUF, as a Hugging Face folder, verified; built at the first call. Errors: see `converted_folder`."""
    from filelock import FileLock

    folder = cache_folder() / source.name
    try:
        trust.tell_if_others_may_write(source.what, folder.parent, folder, *_files(folder))
        if is_intact(folder, source):
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with FileLock(folder.parent / f"{source.name}.lock"):
            # Another process may have built it meanwhile.
            if not is_intact(folder, source) and not _brought_up_to_date(folder, source):
                _build(folder, source)
    except OSError as error:
        raise ModelError(
            f"cannot write the cache of {source.what} in {str(folder.parent)!r}: {error}; set XTL_CACHE to another folder"
        ) from error
    return folder


def is_intact(folder: Path, source: Source) -> bool:
    """Whether the folder holds what this GGUF file gives, made by this converter, and says so in its manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        weights = source.weights or manifest["made"]["weights"]
        found = _hashes(folder)
        if manifest != {"made": trust.made_by(weights, source.dtype), "sha256": found}:
            return False
        return trust.is_known(weights, folder, found) or trust.read_record(folder) == manifest
    except (OSError, ValueError, KeyError, TypeError):
        return False


_known: dict[Path, tuple[tuple[int, ...], str]] = {}
"""SHA-256 of files hashed by this process, with what says that one has not changed since: a load asks twice."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read once by a process unless it changes."""
    status = path.stat()
    now = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if path not in _known or _known[path][0] != now:
        _known[path] = now, sha256(path)
    return _known[path][1]


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    """What is in a folder, but for the manifest; nothing where there is no folder."""
    return sorted(path for path in folder.iterdir() if path.name != MANIFEST) if folder.is_dir() else []


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file."""
    files = _files(folder)
    with ThreadPoolExecutor(2) as pool:
        return {path.name: found for path, found in zip(files, pool.map(sha256_of, files), strict=True)}


def _brought_up_to_date(folder: Path, source: Source) -> bool:
    """Whether a folder had the right weights and tokenizer, made by another version: then the rest is written anew."""
    try:
        if source.weights is None or not trust.big_files_known(source.weights, _hashes(folder)):
            return False
        trust.write_words(source.weights, folder)
        _write_manifest(folder, source)
    except OSError:
        return False
    return is_intact(folder, source)


def _write_manifest(folder: Path, source: Source) -> dict[str, Any]:
    """Write who made a folder and of what, with the SHA-256 of its files: for people, and against accidents."""
    manifest = {"made": trust.made_by(str(source.weights), source.dtype), "sha256": _hashes(folder)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest


def _build(folder: Path, source: Source) -> None:
    """Convert the GGUF file, in a temporary place first; nothing half-written is ever at `folder`. We hold the lock."""
    for stale in folder.parent.glob(f".{source.name}-*"):  # left by a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{source.name}-", dir=folder.parent))
    try:
        new = work / "new"
        new.mkdir()
        file = source.get(work)
        with gguf_files.read_once():
            gguf_files.check_room(source.what, file, folder.parent, source.dtype)
            gguf_files.convert(file, new, source.dtype)
        trust.write_words(str(source.weights), new)
        manifest = _write_manifest(new, source)
        for place in (new, *new.iterdir()):
            place.chmod(0o755 if place == new else 0o644)
        if folder.exists() or folder.is_symlink():
            folder.rename(work / "damaged")
        new.rename(folder)
        if not trust.is_known(str(source.weights), folder, manifest["sha256"]):
            trust.write_record(source.what, folder, manifest)
    finally:
        shutil.rmtree(work, ignore_errors=True)
