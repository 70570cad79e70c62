"""What a policy holds, checked as far as it can be without a model: the fields of `xtl.Policy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from xtl.errors import InputError, as_whole, check_choice, check_number, check_text, check_whole, shown
from xtl.hooks import Module, get_modules
from xtl.policies.record import Chosen, HeldOut, ModelRecord

OPERATIONS = ("blend", "add")
"""blend: own + alpha (written - own), a transplant. add: own + alpha written, a steering vector."""


@dataclass(frozen=True, eq=False)
class Fields:
    """One write: what, where, on which model, how it was chosen, and what it gained.

    Attributes:
        module: where it is read and written: a name of `xtl.hooks.MODULES`, or a `Module` of your own.
        target_layer: the layer that is written, from 0.
        source_layer: the layer that is read in the source prompt, from 0; None for a fixed vector.
        vector: what is written, if it is always the same (a mean activation, a difference of means): the shape of the module's
            activation at one position, with `heads` [heads, d_head]. None: what the source prompt gives.
        heads: pairs of heads, one that is read and one that is written; a number stands for the same twice. Empty: all of it.
        alpha: how much of it is written.
        operation: "blend" writes own + alpha (written - own), "add" own + alpha written.
        position: of the prompt's token that is written, from its end: -1 is the last.
        source_position: of the source prompt's token that is read, in the same way.
        source_lang, target_lang: the direction that it is for.
        model: which model it is for; None where that was never said.
        chosen: how it was chosen; None where that was never said.
        held_out: what it gained where it was not chosen; None where that was never measured.

    Raises:
        InputError: a value that no policy can have. What depends on the model is checked where it is applied.
    """

    module: Module | str
    target_layer: int
    source_layer: int | None = None
    vector: Tensor | None = field(default=None, repr=False)
    heads: Sequence[Any] = ()
    alpha: float = 1.0
    operation: str = "blend"
    position: int = -1
    source_position: int = -1
    source_lang: str = ""
    target_lang: str = ""
    model: ModelRecord | None = None
    chosen: Chosen | None = None
    held_out: HeldOut | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.module, (str, Module)):
            raise InputError(f"module must be a name or a Module, got {shown(self.module)}")
        checked: dict[str, Any] = {
            "module": get_modules([self.module])[0],
            "target_layer": check_whole("target_layer", self.target_layer, 0),
            "heads": _check_heads(self.heads),
            "alpha": check_number("alpha", self.alpha),
            "operation": check_choice("operation", self.operation, OPERATIONS),
            "position": _check_position("position", self.position),
            "source_position": _check_position("source_position", self.source_position),
            "source_lang": check_text("source_lang", self.source_lang),
            "target_lang": check_text("target_lang", self.target_lang),
            "vector": _check_vector(self.vector),
        }
        if self.vector is None:
            checked["source_layer"] = check_whole("source_layer", self.source_layer, 0)
        elif self.source_layer is not None:
            raise InputError("a policy has a vector or a source_layer, not both: a fixed vector is read from no prompt")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def needs_source(self) -> bool:
        """Whether it writes what a source prompt gives."""
        return self.vector is None

    @property
    def direction(self) -> str:
        """Such as "en->es"; "?" for a language that was never said."""
        return f"{self.source_lang or '?'}->{self.target_lang or '?'}"

    def __str__(self) -> str:
        assert isinstance(self.module, Module)
        what = (
            f"layer {self.source_layer}'s"
            if self.vector is None
            else f"a fixed vector of {self.vector.numel()} numbers"
        )
        if self.operation == "add":
            formula = f"own + {self.alpha:g} x {what}"
        else:
            formula = what if self.alpha == 1 else f"own + {self.alpha:g} ({what} - own)"
        heads = ", heads " + ", ".join(f"{a}->{b}" for a, b in self.heads) if self.heads else ""
        return f"{self.module.name} at layer {self.target_layer}{heads}: {formula}, {self.direction}"


def _check_position(argument: str, value: object) -> int:
    """A position from the end of a prompt."""
    position = as_whole(value)
    if position is None or position >= 0:
        raise InputError(
            f"{argument} must be a whole number of at most -1, counted from the prompt's end, got {shown(value)}"
        )
    return position


def _check_heads(heads: object) -> tuple[tuple[int, int], ...]:
    """Pairs of heads, none written twice.

    >>> _check_heads([3, (1, 2)])
    ((3, 3), (1, 2))
    """
    if isinstance(heads, (str, Mapping)) or not isinstance(heads, Sequence):
        raise InputError(f"heads must be a list of heads or of pairs of them, got {shown(heads)}")
    found = []
    for one in heads:
        pair = (one, one) if as_whole(one) is not None else one
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise InputError(f"heads must hold heads or pairs of them (read, written), got {shown(one)}")
        found.append((check_whole("heads", pair[0], 0), check_whole("heads", pair[1], 0)))
    written = [target for _, target in found]
    if twice := [head for head in written if written.count(head) > 1]:
        raise InputError(f"heads writes head {twice[0]} twice")
    return tuple(found)


def _check_vector(vector: object) -> Tensor | None:
    """Numbers without gaps, in float32 on the CPU: a snapshot."""
    if vector is None:
        return None
    if not isinstance(vector, Tensor) or not vector.is_floating_point():
        raise InputError(f"vector must be a tensor of real numbers, got {shown(vector, 80)}")
    if vector.ndim == 0 or vector.numel() == 0:
        raise InputError(f"vector must have the shape of an activation at one position, got {list(vector.shape)}")
    if not bool(torch.isfinite(vector).all()):
        raise InputError("vector holds NaN or infinite numbers")
    return vector.detach().to("cpu", torch.float32).clone()
