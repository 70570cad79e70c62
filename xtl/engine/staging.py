"""When each packed cell leaves the vanilla run: below its target layer it is vanilla, and needs no row of its own.

A cell that writes a feed-forward output or the whole residual stream joins *late*, after its target layer's block and without
a hook: until then it is vanilla, and from there on it is the sum that the block would have made (`resid_mid + mlp_out`, the
contract of `xtl.models.contract`). Every other one joins *early*, before the block, and a hook writes it there: an attention
output, or what a module of the user's own writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from xtl.engine.plan import Cell
from xtl.hooks import BUILT_IN

LATE = ("hook_mlp_out", "hook_resid_post")
"""Hook points whose cells join after the block."""


@dataclass(frozen=True)
class Joining:
    """The cells that join at one layer, as positions in the list of cells: `early` from `start` on, then `late` ones.

    The row of a cell is its position in the list plus 1; row 0 is vanilla.
    """

    start: int
    early: int
    late: int

    @property
    def rows_before(self) -> int:
        """Rows that there are before the layer's block and its early cells."""
        return 1 + self.start

    @property
    def rows_in_block(self) -> int:
        """Rows that go through the layer's block."""
        return self.rows_before + self.early


def in_joining_order(cells: list[tuple[int, Cell]]) -> list[tuple[int, Cell]]:
    """Numbered cells in the order in which they leave vanilla: by layer, and in a block attention before the rest."""
    return sorted(cells, key=lambda item: (item[1].target_layer, is_late(item[1]), _own_site(item[1])))


def is_late(cell: Cell) -> bool:
    """Whether the cell joins after its target layer's block."""
    return cell.module.write in LATE


def _own_site(cell: Cell) -> str:
    """What keeps cells of the user's own modules together that write at one hook point."""
    return "" if cell.module in BUILT_IN else cell.module.write


def early_by_site(cells: list[Cell], joining: Joining) -> list[tuple[str, list[int]]]:
    """The hook points at which the cells write that join early, each with those cells' places in the list."""
    sites: dict[str, list[int]] = {}
    for place in range(joining.start, joining.start + joining.early):
        sites.setdefault(cells[place].module.write_hook(cells[place].target_layer), []).append(place)
    return list(sites.items())


def joinings(cells: list[Cell], n_layers: int) -> list[Joining]:
    """For each layer who joins; cells come in joining order."""
    result, start = [], 0
    for layer in range(n_layers):
        here = [cell for cell in cells[start:] if cell.target_layer == layer]
        late = sum(map(is_late, here))
        result.append(Joining(start, len(here) - late, late))
        start += len(here)
    return result


def late_rows(
    vanilla_out: Float[Tensor, "node d_model"],
    vanilla_mid: Float[Tensor, "node d_model"],
    cells: list[Cell],
    sources: Float[Tensor, "*group cell d_model"],
    every_step: bool,
) -> Float[Tensor, "*group cell node d_model"]:
    """Residual stream after the block of cells that join late: vanilla's but for the patched nodes.

    Args:
        vanilla_out: vanilla's residual stream after the block.
        vanilla_mid: the same before its feed-forward output is added.
        cells: the late cells; several groups of them are alike in where they write.
        sources: what each writes.
        every_step: whether all nodes are patched, or the first alone.
    """
    rows = vanilla_out.expand(*sources.shape[:-1], -1, -1).clone()
    patched = slice(None) if every_step else slice(1)
    rows[..., patched, :] = sources[..., None, :].to(rows)
    through_mlp = [row for row, cell in enumerate(cells) if cell.module.write == "hook_mlp_out"]
    rows[..., through_mlp, patched, :] += vanilla_mid[patched]
    return rows
