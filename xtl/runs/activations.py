"""Source activations, computed once a run: one English prompt is the source for many languages.

What a source prompt gives depends on the model (`xtl.models.identity`), the prompt's token ids and what is read. That is the
key. Activations are kept in memory up to a bound, least used first out; with a folder also on disk as safetensors, where other
workers on the machine find them. What is read back is bit for bit what was computed.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.plan import Plan
from xtl.errors import InputError
from xtl.files import sha256, writing
from xtl.hooks import Module
from xtl.models.identity import identity_key
from xtl.models.info import model_info
from xtl.runs.tensors import read_tensor, write_tensor
from xtl.transplants import read_activations

MEMORY = 1 << 30
"""Bytes of activations that are kept in memory."""


class ActivationCache:
    """Activations of one model's source prompts.

    Args:
        model_key: identifies the model: `xtl.models.identity.identity_key`.
        folder: where to keep them on disk too; made if it isn't there, but not the folder that it is in. None keeps them in
            memory alone.
        memory: most bytes in memory.
        told: told, once and in one line, where the disk takes no more; memory alone is used from then on.

    Attributes:
        hits: how often an activation was there, in memory or on disk.
        misses: how often it was computed.
    """

    def __init__(
        self,
        model_key: str,
        folder: Path | None = None,
        memory: int = MEMORY,
        told: Callable[[str], None] = warnings.warn,
    ) -> None:
        self.model_key = model_key
        self.folder = folder
        self.memory = memory
        self.told = told
        self.hits = self.misses = 0
        self._kept: OrderedDict[str, Float[Tensor, "site ..."]] = OrderedDict()
        self._bytes = 0

    def get(self, model: Model, plan: Plan) -> Mapping[tuple[str, int], Float[Tensor, "*unit"]]:
        """What the plan's cells write, by module name and source layer, on the model's device."""
        key = self.key(plan.source_ids, plan.modules, plan.source_layers)
        found = self._kept.get(key)
        if found is None:
            found = self._read(key)
            if found is not None:
                self._keep(key, found)
        if found is None:
            self.misses += 1
            computed = read_activations(model, plan.source_ids, plan.modules, plan.source_layers)
            if len({one.shape for one in computed.values()}) > 1:
                return computed  # of modules of several shapes; no one tensor holds them
            found = torch.stack([computed[site] for site in _sites(plan)]).cpu()
            self._keep(key, found)
            self._write(key, found)
            return computed
        self.hits += 1
        self._kept.move_to_end(key)
        return dict(zip(_sites(plan), found.to(model.cfg.device), strict=True))

    def key(self, source_ids: Sequence[int], modules: Sequence[Module], layers: Sequence[int]) -> str:
        """Name of a prompt's activations."""
        reads = [(module.name, module.read) for module in modules]
        return sha256(repr((self.model_key, list(source_ids), reads, list(layers))).encode())

    def _keep(self, key: str, tensor: Tensor) -> None:
        self._kept[key] = tensor
        self._bytes += tensor.nbytes
        while self._bytes > self.memory and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _read(self, key: str) -> Tensor | None:
        found = None if self.folder is None else read_tensor(self.folder / f"{key}.safetensors")
        return None if found is None else found[0]  # a damaged one is computed again

    def _write(self, key: str, tensor: Tensor) -> None:
        if self.folder is None or not self.folder.parent.is_dir():
            return
        try:
            with writing(self.folder):
                self.folder.mkdir(exist_ok=True)
            write_tensor(self.folder / f"{key}.safetensors", tensor)
        except InputError as error:  # no space: memory will do
            self.folder = None
            self.told(f"source activations are kept in memory alone from here on: {error}")


def open_cache(model: Model, folder: Path | None) -> ActivationCache:
    """A cache of this model's activations, on disk too where a folder is given: the next analysis finds them there.

    The key is that of runs (`xtl run --activations disk`): the model's identity.

    Raises:
        InputError: the folder is a file.
    """
    if folder is None:
        return ActivationCache(model_info(model).name)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"activations {str(folder)!r} is a file; give a folder")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return ActivationCache(identity_key(model), folder)


def _sites(plan: Plan) -> list[tuple[str, int]]:
    return [(module.name, layer) for module in plan.modules for layer in plan.source_layers]
