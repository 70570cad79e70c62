"""When each packed cell leaves the vanilla run: below its target layer it is vanilla, and needs no row of its own.

A cell that writes a feed-forward output or the whole residual stream branches off *after* its target layer's block, without a
hook: until then it is vanilla, and from there on it is the sum that the block would have made (`resid_mid + mlp_out`, the
contract of `xtl.models.contract`). Every other one branches off *before* the block, and a hook writes it there: an attention
output, or what a module of the user's own writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.engine.plan import Cell
from xtl.engine.written import Written
from xtl.hooks import BUILT_IN, blend

AFTER_BLOCK = ("hook_mlp_out", "hook_resid_post")
"""Hook points whose cells branch off after the block."""


@dataclass(frozen=True)
class BranchPoint:
    """The cells that branch off at one layer, by place in the list: `before` its block from `start` on, then `after` it.

    The row of a cell is its position in the list plus 1; row 0 is vanilla.
    """

    start: int
    before: int
    after: int

    @property
    def rows_before(self) -> int:
        """Rows that there are before the layer's block and the cells before it."""
        return 1 + self.start

    @property
    def rows_in_block(self) -> int:
        """Rows that go through the layer's block."""
        return self.rows_before + self.before


def in_branch_order(cells: list[tuple[int, Cell]]) -> list[tuple[int, Cell]]:
    """Numbered cells in the order in which they leave vanilla: by layer, and in a block attention before the rest."""
    return sorted(cells, key=lambda item: (item[1].target_layer, branches_after_block(item[1]), _own_site(item[1])))


def branches_after_block(cell: Cell) -> bool:
    """Whether the cell branches off after its target layer's block."""
    return cell.module.write in AFTER_BLOCK


def _own_site(cell: Cell) -> str:
    """What keeps cells of the user's own modules together that write at one hook point."""
    return "" if cell.module in BUILT_IN else cell.module.write


def sites_before_block(cells: list[Cell], point: BranchPoint) -> list[tuple[str, list[int]]]:
    """The hook points at which the cells write that branch off before the block, each with those cells' places in the list."""
    sites: dict[str, list[int]] = {}
    for place in range(point.start, point.start + point.before):
        sites.setdefault(cells[place].module.write_hook(cells[place].target_layer), []).append(place)
    return list(sites.items())


def branch_points(cells: list[Cell], n_layers: int) -> list[BranchPoint]:
    """For each layer which cells branch off; cells come in branch order."""
    result, start = [], 0
    for layer in range(n_layers):
        here = [cell for cell in cells[start:] if cell.target_layer == layer]
        after = sum(map(branches_after_block, here))
        result.append(BranchPoint(start, len(here) - after, after))
        start += len(here)
    return result


def rows_after_block(
    vanilla_out: Float[Tensor, "node d_model"],
    vanilla_mid: Float[Tensor, "node d_model"],
    cells: list[Cell],
    written: Written,
    every_step: bool,
    nodes: Sequence[int] = (0,),
) -> Float[Tensor, "*group cell node d_model"]:
    """Residual stream after the block of cells that branch off after it: vanilla's but for the patched nodes.

    Args:
        vanilla_out: vanilla's residual stream after the block.
        vanilla_mid: the same before its feed-forward output is added.
        cells: those cells; several groups of them are alike in where they write.
        written: what each writes, by group (if there are several) and cell.
        every_step: whether all nodes are patched, or these alone:
        nodes: which are written; several have a source each.
    """
    sources = written.sources if len(nodes) > 1 else written.sources[..., None, :]
    vanilla = vanilla_out.expand(*sources.shape[:-2], -1, -1)
    rows = vanilla.clone()
    patched = list(range(len(vanilla_out)) if every_step else nodes)
    through_mlp = torch.tensor([cell.module.write == "hook_mlp_out" for cell in cells], device=rows.device)
    sources = sources.to(rows)
    rows[..., patched, :] = torch.where(through_mlp[:, None, None], sources + vanilla_mid[patched], sources)
    if written.how:
        rows[..., patched, :] = blend(vanilla[..., patched, :], rows[..., patched, :], **written.how)
    return rows
