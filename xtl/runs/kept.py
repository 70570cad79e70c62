"""A resume cache: maps are kept as soon as each is computed, so that a sweep that was stopped goes on where it was.

A folder with a file a map: what the engine gave for it, before it is scored. The file's name is the hash of all that decides
what is in it (the model's identity, the software's versions, token ids, cells, what is written), so that nothing that was kept is
taken for something else: whatever changes, its maps are computed anew, and those that stay as they were are there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xtl.backend import Model
from xtl.engine.plan import Confidence, Generated, Outputs, Plan
from xtl.engine.prepare import Sweep
from xtl.engine.readings import n_readings
from xtl.errors import known_fields
from xtl.files import check_can_write, gone, sha256, writing
from xtl.models.identity import identity_key
from xtl.packages import versions
from xtl.runs.manifest import PACKAGES
from xtl.runs.tensors import checksum, read_tensor, write_tensor


@known_fields
class KeptMaps:
    """A resume cache for `xtl.sweep_many`: a folder in which each map is kept once computed, and read from later.

    Generated texts are scored anew when they are read, so that another score of them takes no new maps. A model's
    identity (`xtl.models.identity`) is found out once: after changing its weights, configuration or tokenizer make a new
    `KeptMaps`. What hooks of your own change is not seen: give a model with such hooks its own folder.

    Args:
        folder: where; made with the first map if it isn't there, and not again if somebody takes it away. Files of other maps in
            it are left alone.

    Raises:
        InputError: the folder can't be written.

    Example:
        >>> import xtl
        >>> pairs = xtl.get_task("capitals").pairs("en", "es", limit=100)
        >>> model = xtl.load_model()  # doctest: +SKIP
        >>> maps = xtl.sweep_many(model, pairs, keep=xtl.KeptMaps("runs/maps"))  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._models: dict[int, tuple[Model, list[Any]]] = {}
        self._made = self.folder.is_dir()
        check_can_write(self.folder)

    def get(self, model: Model, sweep: Sweep, engine: str) -> Outputs | None:
        """What was kept of this very sweep; None where there is nothing, or it is damaged."""
        found = read_tensor(self._path(model, sweep, engine))
        if found is None:
            return None
        values, said = found
        n_verified, difference = int(said["n_verified"]), float(said["largest_difference"])
        source = json.loads(said["source"]) if sweep.source_run else None
        if sweep.plan.max_new_tokens is None:
            of_source = None if source is None else torch.tensor(source, dtype=values.dtype)
            logprobs, readings = values.split([len(sweep.plan.continuations), n_readings(sweep.plan)], dim=1)
            return Outputs(logprobs, None, n_verified, difference, of_source, readings if sweep.plan.readings else None)
        answers = [_generated(row, sweep.plan) for row in values.tolist()]
        return Outputs(
            None, answers, n_verified, difference, None if source is None else _generated(source, sweep.plan)
        )

    def put(self, model: Model, sweep: Sweep, engine: str, outputs: Outputs) -> None:
        """Keep what a sweep gave. Once this returns it is on disk for good.

        Raises:
            InputError: it can't be written.
        """
        if not self._made:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            self._made = True
        elif not self.folder.is_dir():
            raise gone(self.folder)
        values = outputs.logprobs
        if values is None:
            kind = torch.float64 if sweep.plan.confidence else torch.int32
            values = torch.tensor([_row(answer, sweep.plan) for answer in outputs.answers or ()], dtype=kind)
        elif outputs.readings is not None:
            values = torch.cat([values, outputs.readings], dim=1)
        write_tensor(
            self._path(model, sweep, engine),
            values,
            n_verified=str(outputs.n_verified),
            largest_difference=repr(outputs.largest_difference),
            **({} if outputs.source is None else {"source": json.dumps(_listed(outputs.source, sweep.plan))}),
        )

    def _path(self, model: Model, sweep: Sweep, engine: str) -> Path:
        plan = sweep.plan
        written = None
        if plan.activations is not None:
            written = [(*site, checksum(tensor)) for site, tensor in sorted(plan.activations.items())]
        decides: dict[str, Any] = {
            "model": self._identity(model),
            "engine": engine,
            "source": plan.source_ids if written is None else None,
            "target": plan.target_ids,
            "modules": [(module.name, module.read, module.write) for module in plan.modules],
            "layers": [plan.source_layers, plan.target_layers],
            "continuations": plan.continuations,
            "up_to_constant": plan.up_to_constant,
            "max_new_tokens": plan.max_new_tokens,
            "every_step": plan.every_step,
            "written": written,
            "verify": sweep.verify,
            "gold": sweep.pair.gold if sweep.question else None,  # the check compares scores, which depend on it
        }
        if plan.axes or plan.alpha != 1:
            decides["axes"] = [plan.axes, plan.alpha]
        if plan.sources:
            decides["sources"] = plan.sources
        if plan.source_positions or plan.target_positions:
            decides["positions"] = [plan.source_positions, plan.target_positions]
        if plan.confidence:
            decides["confidence"] = True
        if plan.readings:
            decides["readings"] = plan.readings
        if sweep.source_run is not None:
            decides["source_run"] = [plan.source_ids, sweep.source_run.plan.continuations]
        return self.folder / f"{sha256(json.dumps(decides).encode())[:32]}.safetensors"

    def _identity(self, model: Model) -> list[Any]:
        """The model's identity and the software that runs it; found out once a model."""
        if id(model) not in self._models:
            found = [identity_key(model), versions(PACKAGES)]
            self._models[id(model)] = (model, found)
        return self._models[id(model)][1]


def _listed(source: Tensor | Generated, plan: Plan) -> list[int | float]:
    """A source run as numbers."""
    return _row(source, plan) if isinstance(source, Generated) else source.tolist()


def _row(answer: Generated, plan: Plan) -> list[int | float]:
    """A generated answer as numbers: its tokens, -1 after the end, and how sure the model is of it if the plan asks for that."""
    n_left = (plan.max_new_tokens or 0) - len(answer.tokens)
    return [*answer.tokens, *[-1] * n_left, *(answer.confidence or ())]


def _generated(row: list[int | float], plan: Plan) -> Generated:
    """The reverse."""
    n_new = plan.max_new_tokens or 0
    return Generated(
        [int(token) for token in row[:n_new] if token >= 0],
        confidence=Confidence(*row[n_new:]) if plan.confidence else None,
    )
