"""How much memory a model needs, before it is loaded.

The parameters are counted on a model without storage (torch's "meta" device), made from the configuration alone; the weights are
not read. What the activations of a sweep need comes on top; engines keep that within bounds of their own.

>>> human(28_966_928_384)
'29.0 GB'
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtl.errors import ModelError, check_flag
from xtl.foreign import printable

LARGE = 4 * 10**9
"""Bytes from which a load says beforehand what it needs."""

QUANTISED = {"8bit": 1.0, "4bit": 0.5}
"""Bytes a weight of a linear layer under quantisation."""


@dataclass(frozen=True)
class Need:
    """What a model holds in memory.

    Attributes:
        n_parameters: parameters, tied ones counted once.
        n_embedding: those of the embedding.
        is_tied: whether it is the output matrix too; then a HookedTransformer keeps a second copy of it, and of nothing else.
    """

    n_parameters: int
    n_embedding: int
    is_tied: bool = True

    def bytes(self, itemsize: int, quantization: str | None = None, hooked: bool = False) -> int:
        """Bytes at `itemsize` bytes a parameter."""
        if quantization is not None:
            linear = max(self.n_parameters - 2 * self.n_embedding, 0)
            return int(linear * QUANTISED[quantization] * 1.1 + (self.n_parameters - linear) * itemsize)
        return itemsize * (self.n_parameters + (self.n_embedding if hooked and self.is_tied else 0))


def need_of(config: Any, trust_remote_code: bool = False) -> Need | None:
    """What a model of this configuration needs; None where the configuration alone does not make one."""
    import torch
    from transformers import AutoModelForCausalLM

    check_flag("trust_remote_code", trust_remote_code)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
        model.tie_weights()
        embedding, output = model.get_input_embeddings().weight, model.get_output_embeddings()
    except Exception:  # an unusual model: its load will say what is wrong with it
        return None
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    return Need(n_parameters, embedding.numel(), getattr(output, "weight", None) is embedding)


def need_by_name(name: str) -> int | None:
    """Parameters as a model's name tells them, roughly; None where it doesn't.

    >>> need_by_name("EleutherAI/pythia-1.4b-deduped"), need_by_name("mistralai/Mixtral-8x7B-v0.1"), need_by_name("gpt2")
    (1400000000, 56000000000, None)
    """
    found = re.search(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([mb])(\d?)(?![a-z0-9])", name.split("/")[-1].lower())
    if found is None:
        return None
    times, number, unit, tenth = found.groups()
    return int(int(times or 1) * (float(number) + float(tenth or 0) / 10) * (10**9 if unit == "b" else 10**6))


def free_memory(device: str) -> int:
    """Bytes free on a device; on the CPU within the limit that a container sets."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    import psutil

    return min([psutil.virtual_memory().available, *_container_limit()])


def check_memory(
    label: str, need: Need | None, itemsize: int, device: str, *, quantization: str | None, hooked: bool
) -> None:
    """Say on stderr what a large load needs; raise `ModelError` where it can't fit."""
    if need is None:
        return
    wanted = need.bytes(itemsize, quantization, hooked)
    free = free_memory(device)
    how = quantization or f"{8 * itemsize} bit"
    line = f"{label!r} has {need.n_parameters / 1e9:.1f} billion parameters and needs {human(wanted)} in {how}"
    if wanted > free:
        smaller = f"dtype='bfloat16' ({human(need.bytes(2))})" if itemsize > 2 else "quantization='4bit'"
        raise ModelError(
            f"{line}, but {device} has {human(free)} free; take {smaller}, a smaller model, or device_map='auto' to spread it"
        )
    if wanted >= LARGE:
        print(f"xtl: {printable(line)}; {device} has {human(free)} free", file=sys.stderr, flush=True)


def human(n_bytes: int) -> str:
    """Bytes in GB, MB or kB (powers of ten)."""
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.0f} kB"


def _container_limit() -> list[int]:
    """What is left of a control group's memory limit (Linux, version 2 or 1), if there is one."""
    left = []
    for limit, usage in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            text = Path(limit).read_text().strip()
            used = int(Path(usage).read_text())
            cached = int(re.search(r"inactive_file (\d+)", Path(usage).with_name("memory.stat").read_text())[1])  # type: ignore[index]
        except (OSError, ValueError, TypeError):
            continue
        if text.isdigit() and int(text) < 1 << 60:
            left.append(max(int(text) - used + cached, 0))
    return left
