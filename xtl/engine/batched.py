"""The batched engine: cells are rows of a batch, each with its own copy of the prefix's keys and values.

Exact on every model that takes a batch, with nothing done to its attention, and slower than the packed engine, which it stands in
for where that can't run: it starts from the target prompt's prefix too, but all layers run for all cells, over copied keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xtl.backend import (
    Model,
    forward_batch,
    forward_without_logits,
    new_cache,
    repeat_cache,
    select_rows,
    upcast,
)
from xtl.engine.greedy import Best, Greedy, best_of, greedy
from xtl.engine.memory import cells_that_fit, rows_that_fit
from xtl.engine.plan import Cell, Plan
from xtl.engine.probe import SHORT, why_not_exact
from xtl.engine.readings import Readings
from xtl.engine.rows import hooks_by_site
from xtl.engine.written import Written
from xtl.hooks import HookFunction, Hooks, transplant_batch


class Batched:
    """The cells of one plan, as rows of a batch, on either backend.

    Attributes:
        chunk_size: cells at a time, so that they stay under `xtl.engine.memory.MEMORY`.
    """

    def __init__(self, model: Model, plan: Plan) -> None:
        self.model = model
        self.plan = plan
        self.readings = Readings(model, plan)
        self.seen: dict[int, Tensor] = {}
        self.prefix = new_cache(model)
        self.tail = plan.target_ids[plan.start :]
        if plan.start:
            forward_without_logits(model, plan.target_ids[: plan.start], cache=self.prefix)
        n_read = max(map(len, plan.continuations), default=1)
        n_after = plan.max_new_tokens or n_read
        n_tokens = len(plan.target_ids) + n_after
        self.chunk_size = rows_that_fit(model, n_tokens, n_read)
        if len(self.tail) > 1:
            self.chunk_size = min(self.chunk_size, cells_that_fit(model, n_tokens, len(self.tail), 0))

    def logprobs(self, cells: list[Cell], written: Written) -> Float[Tensor, "row number"]:
        """Log-probability of each continuation (and what else is read), vanilla (row 0) and then the cells."""
        continuations = self.plan.continuations
        rows = torch.zeros(1 + len(cells), len(continuations), dtype=upcast(written.sources[:0]).dtype)
        for path in dict.fromkeys(ids[:-1] for ids in continuations):
            logprobs = upcast(self.run_prompt(cells, written, path)[0]).log_softmax(dim=-1)
            for index, ids in enumerate(continuations):
                if ids[:-1] == path:
                    rows[:, index] = logprobs[:, torch.arange(len(ids)), list(ids)].sum(dim=1).cpu()
        return self.readings.beside(rows, self.seen)

    def generate(self, cells: list[Cell], written: Written, ends: Int[Tensor, " end"]) -> Greedy:
        """Greedy answers of vanilla (row 0) and of each cell; a row stops at its end."""
        logits, cache = self.run_prompt(cells, written, ())
        batch = Batch(self.model, cache, self.plan, cells, written)
        return greedy(batch, best_of(logits[:, -1], self.plan.confidence), self.plan.max_new_tokens or 0, ends)

    def run_prompt(
        self, cells: list[Cell], written: Written, path: tuple[int, ...]
    ) -> tuple[Float[Tensor, "row token d_vocab"], Any]:
        """Logits at the prompt's last token and at the tokens of `path` after it, and the cache that they fill."""
        n_rows = 1 + len(cells)
        cache = repeat_cache(self.model, self.prefix, n_rows)
        tokens = torch.tensor([[*self.tail, *path]] * n_rows, device=self.model.cfg.device)
        writes = write_hooks(cells, written, list(range(n_rows)), self.plan.every_step, self.plan.nodes)
        hooks = writes + self.readings.hooks(self.seen, len(self.tail) - 1)
        return forward_batch(self.model, tokens, hooks=hooks, cache=cache, keep=1 + len(path)), cache


class Batch:
    """Rows after the prompt: what runs their next tokens (see `xtl.engine.greedy`)."""

    def __init__(self, model: Model, cache: Any, plan: Plan, cells: list[Cell], written: Written) -> None:
        self.model = model
        self.cache = cache
        self.plan = plan
        self.cells = cells
        self.written = written

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Go on with these rows alone."""
        self.cache = select_rows(self.model, self.cache, rows)

    def next(self, tokens: Int[Tensor, " row"], live: Int[Tensor, " row"]) -> Best:
        """Run one more token of each row, patched with `steps="every"`."""
        hooks = write_hooks(self.cells, self.written, live.tolist(), True) if self.plan.every_step else []
        logits = forward_batch(self.model, tokens[:, None], hooks=hooks, cache=self.cache, keep=1)
        return best_of(logits[:, -1], self.plan.confidence)


def write_hooks(
    cells: list[Cell], written: Written, numbers: list[int], and_after: bool, nodes: Sequence[int] = (0,)
) -> Hooks:
    """What the present rows write (see `hooks_by_site`)."""

    def hook(places: list[int], which: list[int]) -> HookFunction:
        these = written[which]
        rows = torch.tensor(places, device=these.sources.device)
        return transplant_batch(these.sources, rows, nodes=nodes, and_after=and_after, **these.how)

    return hooks_by_site(cells, numbers, hook)


def why_not_batchable(model: Model) -> str | None:
    """Why cells can't be rows of a batch on this model; None if they can. Tried once a model, then remembered on it."""
    if not hasattr(model, "xtl_batchable"):
        model.xtl_batchable = why_not_exact(
            model,
            Batched,
            SHORT,
            "its forward pass does not take a batch over cached keys",
            "its rows of a batch over cached keys differ from a plain pass",
        )
    return model.xtl_batchable or None
