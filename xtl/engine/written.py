"""What cells write, as the tensors that the engines' hooks take.

>>> from xtl.hooks import MODULES
>>> cells = [Cell(MODULES["attn"], 0, layer, alpha=0.5) for layer in (1, 2)]
>>> written = Written.of(cells, {("attn", 0): torch.ones(3)})
>>> tuple(written.sources.shape), written[[1]].how["alpha"].tolist()
((2, 3), [0.5])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.plan import Cell, Plan
from xtl.errors import InputError, shown
from xtl.models.hook_points import unit_shape


def check_activations(model: Model, plan: Plan) -> None:
    """Raise `InputError` where what the user gives to be written is not of the shape that stands there.

    PyTorch would write one number, or one head's values, over all of them.
    """
    if plan.activations is None:
        return
    several = [len(plan.target_positions)] if len(plan.target_positions) > 1 else []
    wanted = {module.name: [*several, *unit_shape(model, module)] for module in plan.modules}
    for site, value in plan.activations.items():
        shape = wanted.get(site[0]) if isinstance(site, tuple) else None
        if shape and not (isinstance(value, Tensor) and list(value.shape) == shape):
            got = f"one of shape {list(value.shape)}" if isinstance(value, Tensor) else shown(value)
            raise InputError(f"activations[{', '.join(map(repr, site))}] must be a tensor of shape {shape}, got {got}")


@dataclass(frozen=True)
class Written:
    """What some cells write; `written[places]` is what those of them write.

    Attributes:
        sources: of each cell the activation.
        how: what hooks are given: of each cell how much of it (`alpha`), where that is not the whole of it for all of them, and
            into which `head`, where they write one.
    """

    sources: Float[Tensor, "..."]
    how: dict[str, Any]

    @classmethod
    def of(cls, cells: Sequence[Cell], activations: Mapping[Any, Tensor]) -> Written:
        """What these cells write, of activations by module name and source layer."""
        sources = torch.stack([cell.source(activations) for cell in cells])
        how = {}
        if any(cell.alpha != 1 for cell in cells):
            how["alpha"] = torch.tensor([cell.alpha for cell in cells], device=sources.device)
        if any(cell.target_head is not None for cell in cells):
            how["head"] = torch.tensor([cell.target_head for cell in cells], device=sources.device)
        return cls(sources, how)

    def __getitem__(self, places: Any) -> Written:
        return Written(self.sources[places], {name: values[places] for name, values in self.how.items()})
