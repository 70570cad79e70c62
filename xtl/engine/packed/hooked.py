"""Packed cells on a HookedTransformer: they enter the sequence where they branch off from vanilla, and only those columns of
the unembedding are used that the score needs."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from xtl.backend import Model
from xtl.engine.greedy import Best, Greedy, greedy
from xtl.engine.memory import cells_that_fit
from xtl.engine.packed.hooked_attention import OwnTokens, Prefix, packed_attention
from xtl.engine.plan import Cell, Plan
from xtl.engine.readings import Readings
from xtl.engine.readout import Readout
from xtl.engine.rows import hooks_by_site
from xtl.engine.staging import branch_points, rows_after_block, sites_before_block
from xtl.engine.tree import Tree, build_tree, trees_of
from xtl.engine.written import Written
from xtl.hooks import HookFunction, Hooks, capture, transplant_packed


class PackedHooked:
    """The cells of one plan, on a HookedTransformer.

    Attributes:
        chunk_size: cells at a time, so that their activations stay under `xtl.engine.memory.MEMORY`.
    """

    def __init__(self, model: Model, plan: Plan) -> None:
        self.model = model
        self.plan = plan
        self.tree, self.read_tree = trees_of(plan.target_ids, plan.start, plan.continuations)
        self.read_from = len(self.tree) - len(self.read_tree)
        self.prefix = Prefix(model, plan.target_ids[: plan.start])
        self.readout = Readout(model)
        self.readings = Readings(model, plan)
        n_keys = self.prefix.length + len(self.tree)
        self.chunk_size = cells_that_fit(model, n_keys, len(self.tree), plan.max_new_tokens or 0)

    def logprobs(self, cells: list[Cell], written: Written) -> Float[Tensor, "row number"]:
        """Log-probability of each continuation (and what else is read), vanilla (row 0) and then the cells, in branch order.

        Where the score allows it, up to one constant a row.
        """
        seen: dict[int, Tensor] = {}
        normed = self.norm(self.run_prompt(cells, written, self.tree, seen=seen))
        logprobs = self.readout.logprobs(normed[:, self.read_from :], self.read_tree, self.plan.up_to_constant)
        return self.readings.beside(logprobs, seen)

    def generate(self, cells: list[Cell], written: Written, ends: Int[Tensor, " end"]) -> Greedy:
        """Greedy answers of vanilla (row 0) and of each cell; a row stops at its end."""
        own = OwnTokens()
        residual = self.run_prompt(cells, written, build_tree(self.plan.target_ids[-1], ()), own)
        own.select(torch.arange(1 + len(cells), device=residual.device))
        first = self.readout.first(self.norm(residual)[:, 0], self.plan.confidence)
        return greedy(PackedRows(self, cells, written, own), first, self.plan.max_new_tokens or 0, ends)

    def norm(self, residual: Float[Tensor, "row node d_model"]) -> Float[Tensor, "row node d_model"]:
        """The final norm."""
        return self.model.ln_final(residual) if self.model.cfg.normalization_type is not None else residual

    def run_prompt(
        self,
        cells: list[Cell],
        written: Written,
        tree: Tree,
        own: OwnTokens | None = None,
        seen: dict[int, Tensor] | None = None,
    ) -> Float[Tensor, "row node d_model"]:
        """Final residual stream of vanilla (row 0) and of each cell (see `xtl.engine.staging`).

        `seen` is given what the plan reads: the prompt's last token of each row that there is after a layer.
        """
        model, every_step, nodes = self.model, self.plan.every_step, self.plan.nodes
        residual = self.embed(torch.tensor([tree.tokens], device=model.cfg.device), tree.depths)
        with packed_attention(model, self.prefix, tree, own):
            for layer, point in enumerate(branch_points(cells, model.cfg.n_layers)):
                residual = torch.cat([residual, residual[:1].expand(point.before, -1, -1)])
                hooks: Hooks = []
                vanilla: dict[str, Tensor] = {}
                first_after = point.start + point.before
                for site, places in sites_before_block(cells, point):
                    which = torch.tensor(places, device=residual.device)
                    these = written[which]
                    write = transplant_packed(
                        these.sources, 1 + which, len(tree), nodes=nodes, and_after=every_step, **these.how
                    )
                    hooks.append((site, write))
                if point.after:
                    for site in ("hook_resid_pre", "hook_attn_out"):
                        hooks.append((f"blocks.{layer}.{site}", capture(vanilla, site, slice(len(tree)))))
                out = model.run_with_hooks(
                    rearrange(residual, "row node d -> 1 (row node) d"),
                    fwd_hooks=hooks,
                    start_at_layer=layer,
                    stop_at_layer=layer + 1,
                )
                residual = rearrange(out, "1 (row node) d -> row node d", node=len(tree))
                if point.after:
                    here = slice(first_after, first_after + point.after)
                    mid = (vanilla["hook_resid_pre"] + vanilla["hook_attn_out"])[0]
                    rows = rows_after_block(residual[0], mid, cells[here], written[here], every_step, nodes)
                    residual = torch.cat([residual, rows])
                if seen is not None and layer in self.readings.layers.values():
                    seen[layer] = residual[:, self.read_from]
        return residual

    def embed(self, tokens: Int[Tensor, "row node"], depths: list[int]) -> Float[Tensor, "row node d_model"]:
        """Input of the first layer for tokens at these depths after the prompt's last one."""
        model = self.model
        residual = model.embed(tokens)
        if model.cfg.positional_embedding_type == "standard":
            positions = torch.tensor(depths, device=residual.device) + self.prefix.length
            residual = residual + model.pos_embed.W_pos[positions]
        return residual


class PackedRows:
    """Packed cells after the prompt: what runs their next tokens (see `xtl.engine.greedy`)."""

    def __init__(self, packed: PackedHooked, cells: list[Cell], written: Written, own: OwnTokens) -> None:
        self.packed = packed
        self.cells = cells
        self.written = written
        self.own = own

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Go on with these rows alone."""
        self.own.select(rows)

    def next(self, tokens: Int[Tensor, " row"], live: Int[Tensor, " row"]) -> Best:
        """Run one more token of each row, patched with `steps="every"`; all of them go through all layers."""
        packed, model = self.packed, self.packed.model
        self.own.length += 1
        hooks = hooks_by_site(self.cells, live.tolist(), self.hook) if packed.plan.every_step else []
        residual = packed.embed(tokens[:, None], [self.own.length])
        with packed_attention(model, packed.prefix, build_tree(0, ()), self.own):
            out = model.run_with_hooks(
                rearrange(residual, "row 1 d -> 1 row d"),
                fwd_hooks=hooks,
                start_at_layer=0,
                stop_at_layer=model.cfg.n_layers,
            )
        normed = packed.norm(rearrange(out, "1 row d -> row 1 d"))[:, 0]
        return packed.readout.next(normed, packed.plan.confidence)

    def hook(self, places: list[int], which: list[int]) -> HookFunction:
        """What the cells `which` write at the rows `places`."""
        these = self.written[which]
        return transplant_packed(these.sources, torch.tensor(places, device=these.sources.device), 1, **these.how)
