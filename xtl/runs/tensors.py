"""One tensor a file, as safetensors, with a checksum: what comes back is bit for bit what was written, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xtl.files import sha256, write_whole

NAME = "values"


def write_tensor(path: Path, tensor: Tensor, **metadata: str) -> None:
    """Write a tensor with some texts beside it, into a folder that is there. Whole or not at all.

    Raises:
        InputError: it can't be written.
    """
    tensor = tensor.detach().cpu().contiguous()
    described = {**metadata, "sha256": _seal(tensor, metadata)}
    write_whole(path, lambda temporary: save_file({NAME: tensor}, temporary, metadata=described), make_folder=False)


def read_tensor(path: Path) -> tuple[Tensor, dict[str, str]] | None:
    """The tensor, on the CPU, and the texts; None where there is no such file or it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensor, metadata = file.get_tensor(NAME), dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return None
    written = metadata.pop("sha256", None)
    return (tensor, metadata) if _seal(tensor, metadata) == written else None


def _seal(tensor: Tensor, metadata: dict[str, str]) -> str:
    """Checksum of a tensor and of the texts beside it."""
    own = checksum(tensor)
    return sha256(json.dumps([own, sorted(metadata.items())]).encode()) if metadata else own


def checksum(tensor: Tensor) -> str:
    """SHA-256 of a tensor's values, shape and type."""
    values = tensor.detach().cpu().contiguous()
    described = f"{tuple(values.shape)} {values.dtype} ".encode()
    return sha256(described + values.reshape(-1).view(torch.uint8).numpy().tobytes())
