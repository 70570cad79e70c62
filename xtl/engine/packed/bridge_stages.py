"""How packed cells branch off in a bridge's forward pass, layer by layer (see `xtl.engine.staging`).

A bridge can't start in the middle, and TransformerLens's hook points can't change how long the sequence is: so torch hooks around
each block let the cells branch off there, and cut masks and positions to the rows that there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.plan import Cell, Plan
from xtl.engine.staging import BranchPoint, branch_points, rows_after_block, sites_before_block
from xtl.engine.tree import Tree
from xtl.engine.written import Written
from xtl.hooks import Hooks, capture, transplant_packed


class Stages:
    """What lets packed cells branch off in a bridge's forward pass, layer by layer (see `xtl.engine.staging`).

    Attributes:
        hooks: for `run_with_hooks`: the writes of cells that branch off before a block, and what those after it need of vanilla.
        seen: by layers that are looked at, `[group, row, d_model]`: the prompt's last token of each row that there is after it.
    """

    def __init__(
        self,
        model: Model,
        tree: Tree,
        read_from: int,
        n_prefix: int,
        plan: Plan,
        cells: list[Cell],
        written: Written,
    ) -> None:
        """Stages of groups of cells that are alike in where they write.

        Args:
            model: a bridge.
            tree: a cell's tokens.
            read_from: which of them is the prompt's last one.
            n_prefix: tokens before it.
            plan: whether later nodes are patched too.
            cells: those of a group, in branch order; other groups have others of the same target layers and hooks.
            written: what each writes, by group and cell.
        """
        self.model = model
        self.n_nodes = len(tree)
        self.read_from = read_from
        self.nodes = plan.nodes
        self.n_prefix = n_prefix
        self.n_tokens = self.n_nodes * (1 + len(cells))  # of a group
        self.every_step = plan.every_step
        self.cells = cells
        self.written = written
        self.vanilla: dict[str, Tensor] = {}
        self.seen: dict[int, Tensor] = {}
        self.hooks: Hooks = []
        self.branch_points = branch_points(cells, model.cfg.n_layers)
        for layer, point in enumerate(self.branch_points):
            for site, places in sites_before_block(cells, point):
                device = written.sources.device
                which = torch.tensor(places, device=device)
                groups = torch.arange(len(written.sources), device=device)[:, None]
                these, rows = written[:, which], 1 + which[None]
                self.hooks.append(
                    (
                        site,
                        transplant_packed(
                            these.sources,
                            rows,
                            self.n_nodes,
                            groups=groups,
                            nodes=plan.nodes,
                            and_after=plan.every_step,
                            **these.how,
                        ),
                    )
                )
            if any(cell.module.write == "hook_mlp_out" for cell in self.cells_after_block(point)):
                for site in ("hook_resid_pre", "hook_attn_out"):
                    name = f"blocks.{layer}.{site}"
                    self.hooks.append((name, capture(self.vanilla, name, slice(self.n_nodes))))

    def cells_after_block(self, point: BranchPoint) -> list[Cell]:
        """The cells that branch off after the block."""
        first = point.start + point.before
        return self.cells[first : first + point.after]

    @contextmanager
    def branching(self) -> Iterator[None]:
        """While it lasts, the model's blocks run on the rows that there are."""
        handles = []
        try:
            for layer, block in enumerate(self.model.blocks):
                handles.append(block.register_forward_pre_hook(self.before(layer), with_kwargs=True))
                handles.append(block.register_forward_hook(self.after(layer)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def before(self, layer: int) -> Any:
        """Cells branch off before the block; masks and positions are cut to the rows that there are."""
        point = self.branch_points[layer]
        n_before, n_in = point.rows_before * self.n_nodes, point.rows_in_block * self.n_nodes

        def branch(block: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            named = args[0] if args else kwargs["hidden_states"]
            new = named[:, : self.n_nodes].repeat(1, point.before, 1)
            hidden = torch.cat([named[:, :n_before], new], dim=1)
            args = tuple(self.cut(value, n_in) for value in args[1:])
            kwargs = {name: self.cut(value, n_in) for name, value in kwargs.items() if name != "hidden_states"}
            return (hidden, *args), kwargs

        return branch

    def after(self, layer: int) -> Any:
        """Cells branch off after the block."""
        point = self.branch_points[layer]
        cells = self.cells_after_block(point)
        first = point.start + point.before
        written = self.written[:, first : first + point.after]

        def branch(block: Any, args: tuple, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            if not cells:
                self.look(layer, hidden)
                return output
            vanilla = hidden[0, : self.n_nodes]
            site = f"blocks.{layer}."
            if f"{site}hook_attn_out" in self.vanilla:
                mid = (self.vanilla[f"{site}hook_resid_pre"] + self.vanilla[f"{site}hook_attn_out"])[0]
            else:
                mid = torch.zeros_like(vanilla)  # no cell writes a feed-forward output here
            rows = rows_after_block(vanilla, mid, cells, written, self.every_step, self.nodes)
            hidden = torch.cat([hidden, rows.flatten(1, 2)], dim=1)
            self.look(layer, hidden)
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return branch

    def look(self, layer: int, hidden: Float[Tensor, "group token d_model"]) -> None:
        """Keep the prompt's last token of each row, if the layer is looked at."""
        if layer in self.seen:
            self.seen[layer] = hidden[:, self.read_from :: self.n_nodes].clone()

    def cut(self, value: Any, n_tokens: int) -> Any:
        """An argument of a block, for its first `n_tokens` packed tokens: masks, positions, rotary angles; others as they are."""
        if isinstance(value, (tuple, list)):
            return type(value)(self.cut(item, n_tokens) for item in value)
        if not isinstance(value, Tensor):
            return value
        n_keys = self.n_prefix + self.n_tokens
        if value.ndim == 4 and value.shape[-2:] == (self.n_tokens, n_keys):
            return value[..., :n_tokens, : self.n_prefix + n_tokens]
        if value.ndim == 3 and value.shape[-2] == self.n_tokens:
            return value[..., :n_tokens, :]
        if value.ndim <= 2 and value.shape[-1:] == (self.n_tokens,):
            return value[..., :n_tokens]
        return value
