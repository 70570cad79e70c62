"""What else is read of each cell than its score, of the residual stream at the prompt's last token.

`lens`: the logits of the options' first tokens if the model ended after three quarters of its layers (the logit lens), where
models that answer in another language than English are surer of themselves than at the end. `state`: the residual stream after
the last block, as long as 1, on a few random directions, for probes of whether an answer is right. Engines put these numbers
behind the log-probabilities of the continuations; they cost no forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.head import final_norm
from xtl.engine.plan import Plan
from xtl.engine.readout import Readout
from xtl.hooks import Hooks, capture

READINGS = ("lens", "state")
"""Details that are read so, in the order of their numbers."""
N_COMPONENTS = 32
"""Random directions of a state."""


def lens_layer(n_layers: int) -> int:
    """The block after which the lens reads.

    >>> lens_layer(18), lens_layer(32), lens_layer(1)
    (13, 23, 0)
    """
    return max(0, round(0.75 * n_layers) - 1)


def n_readings(plan: Plan) -> int:
    """Numbers of each cell."""
    sizes = {"lens": len(plan.continuations), "state": N_COMPONENTS}
    return sum(sizes[name] for name in plan.readings)


@cache
def directions(width: int) -> Float[Tensor, "width component"]:
    """Random signs, the same for every model of a width."""
    drawn = torch.randint(0, 2, (width, N_COMPONENTS), generator=torch.Generator().manual_seed(0))
    return 2.0 * drawn - 1.0


class Readings:
    """The numbers that a plan reads of each row.

    Attributes:
        layers: after which blocks the residual stream is looked at, by the name of the reading.
    """

    def __init__(self, model: Model, plan: Plan) -> None:
        last = model.cfg.n_layers - 1
        self.model = model
        self.layers = {
            name: layer
            for name, layer in {"lens": lens_layer(last + 1), "state": last}.items()
            if name in plan.readings
        }
        self.first = [ids[0] for ids in plan.continuations]

    def hooks(self, seen: dict[int, Tensor], position: int) -> Hooks:
        """Hooks that put the residual stream at a position into `seen`, `[row, d_model]` by layer."""
        return [
            (f"blocks.{layer}.hook_resid_post", capture(seen, layer, position))
            for layer in sorted(set(self.layers.values()))
        ]

    @torch.no_grad()
    def beside(
        self, logprobs: Float[Tensor, "row continuation"], seen: Mapping[int, Float[Tensor, "some d_model"]]
    ) -> Float[Tensor, "row number"]:
        """Log-probabilities, and behind them what is read; rows that `seen` lacks are still vanilla there, as row 0 is."""
        columns = [logprobs]
        for name, layer in self.layers.items():
            states = seen[layer]
            states = torch.cat([states, states[:1].expand(len(logprobs) - len(states), -1)])
            columns.append((self._lens(states) if name == "lens" else self._state(states)).to(logprobs))
        return torch.cat(columns, dim=1)

    def _lens(self, states: Float[Tensor, "row d_model"]) -> Float[Tensor, "row continuation"]:
        columns = torch.tensor(self.first, device=states.device)
        return self._readout.logits(final_norm(self.model, states), columns)

    @cached_property
    def _readout(self) -> Readout:
        return Readout(self.model)

    def _state(self, states: Float[Tensor, "row d_model"]) -> Float[Tensor, "row component"]:
        unit = torch.nn.functional.normalize(states.float(), dim=1)
        return unit @ directions(states.shape[1]).to(unit.device)
