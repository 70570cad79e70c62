"""Packed cells on a TransformerBridge, whose forward pass is the Hugging Face model's.

That model takes the cells as one text, with a mask that lets each token see the prompt's prefix and its own cell, positions
that put every cell at the prompt's end, and the prefix as `past_key_values`. A bridge can't start in the middle, but cells need
no row before they leave vanilla: torch hooks around each block (below TransformerLens's hook points, which can't change how
long the sequence is) let them join there, and cut masks and positions to the rows that there are.

Whether a model honours all this is not left to its name: it is tried once on a short text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xtl.backend import Model, forward, forward_without_logits
from xtl.engine.batched import Batch, cells_that_fit
from xtl.engine.greedy import greedy
from xtl.engine.plan import Cell, Plan
from xtl.engine.readout import Readout
from xtl.engine.staging import Joining, joinings, late_rows
from xtl.engine.tree import Tree, build_tree
from xtl.hooks import MODULES, Hooks, capture, transplant_packed

TOKENS = 512
"""Most tokens of cells in one pass: the block of scores between them, masked, grows with their square."""

TRIED = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Largest relative difference of logits in the try, by precision."""


class PackedBridge:
    """The cells of one plan, on a TransformerBridge.

    Attributes:
        chunk_size: cells at a time.
    """

    def __init__(self, model: Model, plan: Plan) -> None:
        from transformers import DynamicCache

        self.model = model
        self.plan = plan
        self.tree = build_tree(plan.target_ids[-1], plan.continuations)
        self.prefix = plan.target_ids[:-1]
        # Without the configuration, every layer keeps all keys; a sliding window is in the mask.
        self.cache = DynamicCache()
        if self.prefix:
            forward_without_logits(model, self.prefix, cache=self.cache)
        self.readout = Readout(model)
        self.chunk_size = max(1, TOKENS // len(self.tree) - 1)
        if plan.max_new_tokens:
            self.chunk_size = min(self.chunk_size, cells_that_fit(model, len(self.prefix) + plan.max_new_tokens, 1))

    def logprobs(self, cells: list[Cell], sources: Float[Tensor, "cell d_model"]) -> Float[Tensor, "row continuation"]:
        """Log-probability of each continuation, vanilla (row 0) and then the cells, which are in joining order.

        Where the score allows it, up to one constant a row.
        """
        with self.run(cells, sources) as normed:
            return self.readout.logprobs(normed, self.tree, self.plan.up_to_constant)

    def generate(
        self, cells: list[Cell], sources: Float[Tensor, "cell d_model"], ends: Int[Tensor, " end"]
    ) -> tuple[Int[Tensor, "row token"], Float[Tensor, "row token"]]:
        """Greedy tokens of vanilla (row 0) and of each cell, -1 after the end, and the logit of each; a row stops at its end.

        The prompt's last token runs packed; later ones as a batch, whose rows get the prefix's keys and values and their own.
        """
        with self.run(cells, sources) as normed:
            batch = Batch(self.model, self.cache_by_row(1 + len(cells)), self.plan, cells, sources)
            first = self.readout.argmax(normed[:, 0])
        return greedy(batch, first, self.plan.max_new_tokens or 0, ends)

    def cache_by_row(self, n_rows: int) -> Any:
        """A cache with a row a cell, from the packed one: the prefix and the row's own token (vanilla's where it had none)."""
        from transformers import DynamicCache

        n_prefix, cache = len(self.prefix), DynamicCache()
        for index, layer in enumerate(self.cache.layers):
            rows = torch.arange(n_rows, device=layer.keys.device)
            rows = torch.where(rows < layer.keys.shape[2] - n_prefix, rows, 0)

            def by_row(packed: Tensor, rows: Tensor = rows) -> Tensor:
                prefix = packed[:, :, :n_prefix].expand(n_rows, -1, -1, -1)
                own = packed[0, :, n_prefix + rows].transpose(0, 1)[:, :, None]
                return torch.cat([prefix, own], dim=2)

            cache.update(by_row(layer.keys), by_row(layer.values), index)
        return cache

    @contextmanager
    def run(
        self, cells: list[Cell], sources: Float[Tensor, "cell d_model"]
    ) -> Iterator[Float[Tensor, "row node d_model"]]:
        """Residual stream after the final norm, of vanilla and of each cell; while it lasts, the cache holds their keys too."""
        n_rows, device = 1 + len(cells), self.model.cfg.device
        options: dict[str, Any] = {
            "position_ids": torch.tensor([self.tree.depths * n_rows], device=device) + len(self.prefix),
            "attention_mask": self.masks(n_rows),
        }
        kept: dict[str, Tensor] = {}
        stages = Stages(self.model, self.tree, len(self.prefix), self.plan, cells, sources)
        hooks: Hooks = [*stages.hooks, ("ln_final.hook_out", capture(kept, "normed", slice(None)))]
        try:
            with stages.joining():
                tokens = self.tree.tokens * n_rows
                forward_without_logits(self.model, tokens, hooks=hooks, cache=self.cache, **options)
            yield kept["normed"][0].unflatten(0, (n_rows, len(self.tree)))
        finally:
            for layer in self.cache.layers:  # the prefix alone again
                if layer.is_initialized:
                    layer.crop(len(self.prefix) - layer.get_seq_length())

    def masks(self, n_rows: int) -> Any:
        """What each token may see, as the model wants it: one mask, or one for each type of layer."""
        config = self.model.original_model.config
        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or [])
        if kinds:
            return {kind: self.mask(n_rows, window if kind == "sliding_attention" else None) for kind in kinds}
        return self.mask(n_rows, window)

    def mask(self, n_rows: int, window: int | None) -> Float[Tensor, "1 1 packed key"]:
        """0 where a token may look, a very negative number elsewhere."""
        n_prefix, n_nodes = len(self.prefix), len(self.tree)
        device, dtype = self.model.cfg.device, self.model.cfg.dtype
        depths = torch.tensor(self.tree.depths, device=device)
        own = self.tree.sees().to(device)
        to_prefix = torch.ones(n_nodes, n_prefix, dtype=torch.bool, device=device)
        if window is not None:
            own = own & (depths[:, None] - depths[None, :] < window)
            to_prefix = (depths[:, None] + n_prefix) - torch.arange(n_prefix, device=device)[None, :] < window
        seen = torch.zeros(n_rows, n_nodes, n_prefix + n_rows * n_nodes, dtype=torch.bool, device=device)
        seen[:, :, :n_prefix] = to_prefix
        row = torch.arange(n_rows, device=device)
        seen[:, :, n_prefix:].unflatten(2, (n_rows, n_nodes))[row, :, row] = own
        mask = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, torch.finfo(dtype).min)
        return mask.flatten(0, 1)[None, None]


class Stages:
    """What lets packed cells join a bridge's forward pass layer by layer (see `xtl.engine.staging`).

    Attributes:
        hooks: for `run_with_hooks`: the writes of early cells, and what late ones need of vanilla.
    """

    def __init__(
        self,
        model: Model,
        tree: Tree,
        n_prefix: int,
        plan: Plan,
        cells: list[Cell],
        sources: Float[Tensor, "cell d_model"],
    ) -> None:
        self.model = model
        self.n_nodes = len(tree)
        self.n_prefix = n_prefix
        self.n_tokens = self.n_nodes * (1 + len(cells))
        self.every_step = plan.every_step
        self.cells = cells
        self.sources = sources
        self.vanilla: dict[str, Tensor] = {}
        self.hooks: Hooks = []
        self.joinings = joinings(cells, model.cfg.n_layers)
        for layer, joining in enumerate(self.joinings):
            if joining.early:
                rows = torch.arange(joining.rows_before, joining.rows_in_block, device=sources.device)
                written = sources[joining.start : joining.start + joining.early]
                write = transplant_packed(written, rows, self.n_nodes, and_after=plan.every_step)
                self.hooks.append((f"blocks.{layer}.hook_attn_out", write))
            if any(cell.module.write == "hook_mlp_out" for cell in self.late_cells(joining)):
                for site in ("hook_resid_pre", "hook_attn_out"):
                    name = f"blocks.{layer}.{site}"
                    self.hooks.append((name, capture(self.vanilla, name, slice(self.n_nodes))))

    def late_cells(self, joining: Joining) -> list[Cell]:
        """The cells that join after the block."""
        first = joining.start + joining.early
        return self.cells[first : first + joining.late]

    @contextmanager
    def joining(self) -> Iterator[None]:
        """While it lasts, the model's blocks run on the rows that have joined."""
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
        """Early cells join; masks and positions are cut to the rows that there are."""
        joining = self.joinings[layer]
        n_before, n_in = joining.rows_before * self.n_nodes, joining.rows_in_block * self.n_nodes

        def join(block: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            named = args[0] if args else kwargs["hidden_states"]
            new = named[:, : self.n_nodes].repeat(1, joining.early, 1)
            hidden = torch.cat([named[:, :n_before], new], dim=1)
            args = tuple(self.cut(value, n_in) for value in args[1:])
            kwargs = {name: self.cut(value, n_in) for name, value in kwargs.items() if name != "hidden_states"}
            return (hidden, *args), kwargs

        return join

    def after(self, layer: int) -> Any:
        """Late cells join."""
        joining = self.joinings[layer]
        cells = self.late_cells(joining)
        first = joining.start + joining.early
        sources = self.sources[first : first + joining.late]

        def join(block: Any, args: tuple, output: Any) -> Any:
            if not cells:
                return output
            hidden = output[0] if isinstance(output, tuple) else output
            vanilla = hidden[0, : self.n_nodes]
            site = f"blocks.{layer}."
            if f"{site}hook_attn_out" in self.vanilla:
                mid = (self.vanilla[f"{site}hook_resid_pre"] + self.vanilla[f"{site}hook_attn_out"])[0]
            else:
                mid = torch.zeros_like(vanilla)  # no cell writes a feed-forward output here
            rows = late_rows(vanilla, mid, cells, sources, self.every_step).flatten(0, 1)
            hidden = torch.cat([hidden, rows[None]], dim=1)
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return join

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


def why_not_packable_bridge(model: Model) -> str | None:
    """Why cells can't be packed on this bridge; None if they can. Tried once a model, then remembered on it."""
    if not hasattr(model, "xtl_packable"):
        model.xtl_packable = _try(model)
    return model.xtl_packable or None


@torch.no_grad()
def _try(model: Model) -> str:
    """Vanilla and cells that write what stands there anyway, with tokens after them, must all give what a plain pass gives."""
    text = [token % model.cfg.d_vocab for token in (5, 11, 7, 13, 3, 9)]
    middle = model.cfg.n_layers // 2
    modules = [module for module in (MODULES["attn"], MODULES["mlp"]) if module.write_hook(0) in model.hook_dict]
    own: dict[str, Tensor] = {}
    hooks: Hooks = [(module.read_hook(middle), capture(own, module.name)) for module in modules]
    plan = Plan([3], text[:4], (), (), (), ((text[4], text[5], 0),))
    try:
        forward_without_logits(model, text[:4], hooks=hooks)
        packed = PackedBridge(model, plan)
        cells = [Cell(module, middle, middle) for module in modules]
        with packed.run(cells, torch.cat([own[module.name] for module in modules])) as normed:
            got = packed.readout.logits(normed.flatten(0, 1), slice(None))
    except Exception as error:
        return f"its forward pass does not take packed masks ({type(error).__name__})"
    want = forward(model, text)[3:].float().repeat(1 + len(cells), 1)
    close = got.shape == want.shape and (got - want).abs().max() <= TRIED.get(model.cfg.dtype, 0.1) * want.abs().max()
    return "" if bool(close) else "its attention does not follow packed masks and positions"
