"""A policy's folder: `policy.json`, `vectors.safetensors` where it has a vector, and `README.md`, a card made from the numbers.

Nothing in it can run: no pickle, no code. What else lies in the folder is refused, and so is what its parts should not say.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xtl.errors import InputError, one_line, shown
from xtl.files import check_can_write, check_path, sha256, sync, write_text, writing
from xtl.hooks import BY_HEAD, MODULES, Module
from xtl.policies.card import policy_card
from xtl.policies.fields import Fields
from xtl.policies.record import Chosen, HeldOut, ModelRecord, check_keys, from_plain, to_plain

FORMAT = 1
"""Of the folder; another is refused."""
POLICY = "policy.json"
VECTORS = "vectors.safetensors"
CARD = "README.md"
FILES = (POLICY, VECTORS, CARD)
PLAIN = ("target_layer", "source_layer", "heads", "alpha", "operation", "position", "source_position", "source_lang",
         "target_lang")  # fmt: skip
"""Attributes that stand in the file as they are."""
F = TypeVar("F", bound=Fields)
RECORDS: dict[str, Any] = {"model": ModelRecord, "chosen": Chosen, "held_out": HeldOut}


def save_policy(policy: Fields, folder: str | os.PathLike[str]) -> Path:
    """Write a policy to a folder that isn't there, or is empty. Whole or not at all.

    Raises:
        InputError: there is something in the folder, or it can't be written.
    """
    folder = check_path("folder", folder)
    check_can_write(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{shown(str(folder))} already holds something; give another folder")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        with writing(folder):
            temporary.mkdir(parents=True)
            _fill(policy, temporary)
            sync(temporary)
            os.replace(temporary, folder)
            sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _fill(policy: Fields, folder: Path) -> None:
    digest = None
    if policy.vector is not None:
        save_file({"vector": policy.vector.contiguous()}, folder / VECTORS)
        sync(folder / VECTORS)
        digest = sha256(folder / VECTORS)
    text = json.dumps(to_json(policy, digest), ensure_ascii=False, indent=1, allow_nan=False)
    write_text(folder / POLICY, text + "\n")
    write_text(folder / CARD, policy_card(policy))


def load_policy(kind: type[F], folder: str | os.PathLike[str]) -> F:
    """Read a policy, and check all of it.

    Raises:
        InputError: no policy there; another format; other files; damaged JSON, unknown keys, a value that no policy can have; a
            vector that is missing, damaged or not the policy's.
    """
    folder = check_path("policy", folder)
    if not folder.is_dir() or not (folder / POLICY).exists():
        why = f"it has no {POLICY}" if folder.is_dir() else "there is no such folder"
        raise InputError(f"no policy at {shown(str(folder))}: {why}; `xtl protocol select` and Policy.save write one")
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in FILES or not entry.is_file())
    if others:
        raise InputError(
            f"{shown(str(folder))} holds {shown(others[0])}; a policy's folder holds {', '.join(FILES)} and no more"
        )
    try:
        data = json.loads((folder / POLICY).read_text(encoding="utf-8"), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{shown(str(folder / POLICY))} is damaged: {one_line(error, 120)}") from error
    try:
        return kind(**from_json(data), vector=_read_vector(folder, data))
    except InputError as error:
        raise InputError(f"{shown(str(folder))}: {error}") from error


def to_json(policy: Fields, vectors_sha256: str | None) -> dict[str, Any]:
    """What `policy.json` holds."""
    assert isinstance(policy.module, Module)
    module = {name: getattr(policy.module, name) for name in ("name", "read", "write")}
    plain = {name: getattr(policy, name) for name in PLAIN}
    records = {name: to_plain(getattr(policy, name)) for name in RECORDS}
    return {"format": FORMAT, "module": module, **plain, "vectors_sha256": vectors_sha256, **records}


def from_json(data: object) -> dict[str, Any]:
    """A policy's fields, but for its vector, as `policy.json` holds them.

    Raises:
        InputError: another format, unknown or missing keys, a value that no policy can have.
    """
    if not isinstance(data, dict):
        raise InputError(f"{POLICY} must hold keys and values, got {shown(data, 80)}")
    if data.get("format") != FORMAT:
        raise InputError(f"{POLICY} has the format {shown(data.get('format'), 80)}; this version of xtl reads {FORMAT}")
    known = ["format", "module", *PLAIN, "vectors_sha256", *RECORDS]
    check_keys(POLICY, data, known)
    if missing := [name for name in known if name not in data]:
        raise InputError(f"{POLICY} lacks the key {missing[0]!r}")
    records = {name: from_plain(kind, data[name], name) for name, kind in RECORDS.items()}
    plain = {name: data[name] for name in PLAIN}
    return {"module": _module(data["module"]), **plain, **records}


def _module(data: object) -> Module:
    if not isinstance(data, Mapping) or sorted(data) != ["name", "read", "write"]:
        raise InputError(f"module must hold name, read and write, got {shown(data, 80)}")
    own = Module(**data)
    built_in = (MODULES | BY_HEAD).get(own.name)
    return built_in if built_in is not None and (built_in.read, built_in.write) == (own.read, own.write) else own


def _read_vector(folder: Path, data: object) -> Tensor | None:
    path, said = folder / VECTORS, data.get("vectors_sha256") if isinstance(data, dict) else None
    if said is None:
        if path.exists():
            raise InputError(f"{VECTORS} is there, and {POLICY} knows of none")
        return None
    if not path.exists():
        raise InputError(f"{VECTORS} is missing: {os.strerror(errno.ENOENT)}")
    if sha256(path) != said:
        raise InputError(f"{VECTORS} is damaged, or another policy's: its SHA-256 is not the one in {POLICY}")
    try:
        with safe_open(path, framework="pt") as file:
            if list(file.keys()) != ["vector"]:
                raise InputError(
                    f"{VECTORS} must hold one tensor, 'vector'; it holds {', '.join(file.keys()) or 'none'}"
                )
            return file.get_tensor("vector")
    except SafetensorError as error:
        raise InputError(f"{VECTORS} is damaged: {error}") from error


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
