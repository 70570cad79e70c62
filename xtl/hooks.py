"""The hook functions: read an activation from one forward pass, write it into another.

A *transplant* (Ye et al., XTransplant, arXiv 2412.12686, section 2) reads the output of a module (attention or
feed-forward) at the **last** position of the source prompt, at source layer i, and writes it over the same module's output
at the **last** position of the target prompt, at target layer j. In TransformerLens both ends are hook points of the
residual stream's contributions:

>>> MODULES["attn"].read_hook(12), MODULES["attn"].write_hook(13)
('blocks.12.hook_attn_out', 'blocks.13.hook_attn_out')

Two functions make the two hooks, and `run_with_hooks` runs them:

>>> import torch
>>> captured = {}
>>> read = capture(captured, key=12)
>>> write = transplant_at(torch.zeros(4), position=2)
>>> activation = torch.ones(1, 3, 4)
>>> read(activation, hook=None), captured[12].tolist()
(None, [[1.0, 1.0, 1.0, 1.0]])
>>> write(activation, hook=None)[0, :, 0].tolist()
[1.0, 1.0, 0.0]
>>> half = transplant_at(torch.zeros(4), position=2, alpha=0.5)  # own + alpha (source - own)
>>> half(activation, hook=None)[0, :, 0].tolist()
[1.0, 1.0, 0.5]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xtl.errors import InputError, check_choice, known_fields

HookFunction = Callable[..., Any]
"""What TransformerLens calls at a hook point: `(activation, hook) -> activation or None`."""

Hooks = list[tuple[str, HookFunction]]
"""Hook points by name, each with its function: the `fwd_hooks` of `run_with_hooks`."""


@known_fields
@dataclass(frozen=True)
class Module:
    """Where a transplant reads and where it writes: one of `MODULES`, or one of your own, for `xtl.sweep(modules=[...])`.

    Attributes:
        name: what the user types, and the map's coordinate.
        read: hook point in the source layer's block: `hook_attn_out`, `attn.hook_z`, ...
        write: hook point in the target layer's block; of the same shape.
        description: one line for listings.
        heads: whether it goes head by head: both hook points hold `[batch, pos, head, d_head]`, one head of the source layer is
            read and one of the target layer written. Its maps have axes `source_head` and `target_head`.

    Example:
        >>> import xtl
        >>> values = xtl.Module("values", read="attn.hook_v", write="attn.hook_v")
        >>> values.write_hook(3)
        'blocks.3.attn.hook_v'
        >>> xtl.sweep(model, pair, modules=["attn", values])  # doctest: +SKIP

    Raises:
        InputError: a name or a hook point that is no text.
    """

    name: str
    read: str
    write: str
    description: str = ""
    heads: bool = False

    def __post_init__(self) -> None:
        for field in ("name", "read", "write"):
            value = getattr(self, field)
            if not isinstance(value, str) or not value.strip() or value != value.strip():
                raise InputError(f"{field} of a Module must be a text without spaces around it, got {value!r}")

    def read_hook(self, layer: int) -> str:
        """Name of the hook point that is read at source layer `layer`."""
        return f"blocks.{layer}.{self.read}"

    def write_hook(self, layer: int) -> str:
        """Name of the hook point that is written at target layer `layer`."""
        return f"blocks.{layer}.{self.write}"


MODULES: dict[str, Module] = {
    module.name: module
    for module in (
        Module("attn", "hook_attn_out", "hook_attn_out", "attention output (the paper's attention level)"),
        Module("mlp", "hook_mlp_out", "hook_mlp_out", "feed-forward output (the paper's FFN level)"),
        Module(
            "attn_released",
            "hook_resid_mid",
            "hook_attn_out",
            "residual stream after attention, written as attention output (what the paper's released code does)",
        ),
        Module("resid", "hook_resid_post", "hook_resid_post", "whole residual stream after the block (a control)"),
    )
}


BY_HEAD: dict[str, Module] = {
    "attn_head": Module("attn_head", "attn.hook_z", "attn.hook_z", "what one attention head puts out", heads=True)
}
"""Modules that read and write one head, by name."""

BUILT_IN = frozenset(MODULES.values())
"""The modules that every engine is known to take; others are tried."""


def get_modules(names: Sequence[str | Module]) -> list[Module]:
    """The modules of these names, in order; a `Module` stands for itself.

    Raises:
        InputError: an unknown, repeated or missing name; a `Module` that has the name of another one.
    """
    if isinstance(names, Module):
        raise InputError(f"modules must be a list, got a Module; write [{names.name}]")
    if isinstance(names, str):
        raise InputError(f"modules must be a list of names, got the text {names!r}; write [{names!r}]")
    if not isinstance(names, Collection):
        raise InputError(f"modules must be a list of names, got {names!r}; valid: {', '.join(MODULES)}")
    if len(names) == 0:
        raise InputError(f"modules is empty; valid: {', '.join(MODULES)}")
    known = MODULES | BY_HEAD
    modules = [one if isinstance(one, Module) else known[check_choice("module", one, known)] for one in names]
    for module in modules:
        if known.get(module.name, module) != module:
            raise InputError(f"module {module.name!r} has the name of another module: give yours one of its own")
    if len({module.name for module in modules}) != len(modules):
        raise InputError(f"modules names one twice: {', '.join(module.name for module in modules)}")
    return modules


def get_whole_modules(names: Sequence[str | Module]) -> list[Module]:
    """The modules of these names where no map may have axes of heads: in studies and on pages.

    Raises:
        InputError: as `get_modules`; a module by head.
    """
    modules = get_modules(names)
    if by_head := next((module.name for module in modules if module.heads), None):
        raise InputError(
            f"module {by_head!r} goes by head: a study's tables and a report have no axes for heads; in Python, "
            f"xtl.sweep(modules=[{by_head!r}], heads=...) gives its map"
        )
    return modules


def capture(store: dict[Any, Tensor], key: Any, position: int | slice | list[int] = -1) -> HookFunction:
    """A hook function that puts a snapshot of the activation at `position` into `store[key]`, and changes nothing.

    The snapshot, `[batch, d_model]` (`[batch, pos, d_model]` for a slice or a list), is a clone: later
    in-place work of the model can't reach it.
    """

    def read(activation: Float[Tensor, "batch pos *unit"], hook: Any) -> None:
        store[key] = activation[:, position].detach().clone()

    return read


def transplant_at(
    source: Float[Tensor, "*unit"],
    position: int | Sequence[int] = -1,
    *,
    and_after: bool = False,
    alpha: float = 1.0,
    head: int | None = None,
) -> HookFunction:
    """A hook function that returns the activation with `source` in place of what stood at `position`.

    All other positions, and the tensor that the model passed in, stay as they are.

    Args:
        source: what is written; with `head` that head's share, `[d_head]`. For several positions `[position, *unit]`.
        position: of the token that is written, or of several.
        and_after: write the positions after it too.
        alpha: how much of it: own + alpha (source - own). 1 writes the source itself, 0 changes nothing.
        head: which head is written, where the activation has a head axis (`[batch, pos, head, d_head]`, or the same flattened);
            None writes all of it.

    The hook function raises `InputError` where `source` is of another shape than what it is written over.
    """
    positions: slice | list[int]
    if isinstance(position, int):
        positions = slice(position, None) if and_after or position == -1 else slice(position, position + 1)
    else:
        positions = list(position)

    def write(activation: Float[Tensor, "batch pos *unit"], hook: Any) -> Float[Tensor, "batch pos *unit"]:
        if alpha == 0:
            return activation
        patched = activation.clone()
        units = patched if head is None else by_head(patched, source.shape[-1])[:, :, head]
        if (fits := units.shape[2:]) != source.shape[max(source.ndim - len(fits), 0) :]:
            raise InputError(f"source has the shape {list(source.shape)}, and what it is written over {list(fits)}")
        units[:, positions] = blend(units[:, positions], source.to(activation), alpha)
        return patched

    return write


def transplant_packed(
    sources: Float[Tensor, "..."],
    rows: Int[Tensor, "*#cell"],
    n_nodes: int,
    *,
    groups: int | Int[Tensor, "*#cell"] = 0,
    nodes: Sequence[int] = (0,),
    and_after: bool = False,
    alpha: float | Float[Tensor, "*#cell"] = 1.0,
    head: Int[Tensor, "*#cell"] | None = None,
) -> HookFunction:
    """`transplant_at` for cells that stand side by side on the position axis, each over `n_nodes` positions.

    Row `rows[c]`'s first position, which is the target prompt's last one, gets `sources[c]`; with `and_after` all its positions.
    Other `nodes` may be written than the first; of several each has a source of its own (`[*cell, node, *unit]`). With several
    groups of cells on the batch axis, `groups[c]` says which. `alpha` and `head` are each cell's own.
    """

    def write(activation: Float[Tensor, "group packed *unit"], hook: Any) -> Float[Tensor, "group packed *unit"]:
        patched = activation.clone()
        units = patched if head is None else by_head(patched, sources.shape[-1])
        for place, node in enumerate(range(n_nodes) if and_after else nodes):
            at = (groups, rows * n_nodes + node) if head is None else (groups, rows * n_nodes + node, head)
            source = sources.select(rows.ndim, place) if len(nodes) > 1 else sources
            units[at] = blend(units[at], source.to(activation), alpha)
        return patched

    return write


def transplant_batch(
    sources: Float[Tensor, "cell ..."],
    rows: Int[Tensor, " cell"],
    *,
    nodes: Sequence[int] = (0,),
    and_after: bool = False,
    alpha: float | Float[Tensor, " cell"] = 1.0,
    head: Int[Tensor, " cell"] | None = None,
) -> HookFunction:
    """`transplant_at` for cells that are rows of a batch whose first position is the target prompt's last one.

    Where other positions are written than the first, `nodes` says which; several have a source each (`[cell, node, *unit]`).
    """

    def write(activation: Float[Tensor, "batch pos *unit"], hook: Any) -> Float[Tensor, "batch pos *unit"]:
        patched = activation.clone()
        units = patched if head is None else by_head(patched, sources.shape[-1])
        where = range(activation.shape[1]) if and_after else nodes
        each, here = rows[:, None], torch.tensor(list(where), device=rows.device)
        at = (each, here) if head is None else (each, here, head[:, None])
        source = sources if len(nodes) > 1 else sources[:, None]
        units[at] = blend(units[at], source.to(activation), alpha)
        return patched

    return write


def blend(
    own: Float[Tensor, "..."], source: Float[Tensor, "..."], alpha: float | Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """own + alpha (source - own): at 1 exactly the source, at 0 exactly what stood there.

    >>> blend(torch.tensor([[2.0], [2.0], [2.0]]), torch.tensor([[4.0]]), torch.tensor([0.0, 0.5, 1.0]))[:, 0].tolist()
    [2.0, 3.0, 4.0]
    """
    if not isinstance(alpha, Tensor):
        return source if alpha == 1 else torch.lerp(own, source, alpha)
    return torch.lerp(own, source, alpha.to(own).reshape(*alpha.shape, *[1] * (own.ndim - alpha.ndim)))


def by_head(activation: Float[Tensor, "batch pos *unit"], d_head: int) -> Float[Tensor, "batch pos head d_head"]:
    """A view of an activation by head; some bridges hold what heads put out flattened."""
    return activation if activation.ndim == 4 else activation.unflatten(-1, (-1, d_head))
