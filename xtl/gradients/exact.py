"""Estimates against what they estimate: some cells' exact gains, and how far the two agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor

from xtl.backend import Model
from xtl.engine.engines import ENGINES, resolve_engine
from xtl.engine.lengths import engine_for
from xtl.engine.own_modules import engine_for_modules
from xtl.engine.plan import Cell, Plan
from xtl.errors import known_keywords
from xtl.hooks import Module
from xtl.scoring.likelihood import Question

Written = tuple[Module, int, Tensor]
"""What a cell writes: the module, the target layer, and the module's activation there."""


@dataclass(frozen=True)
class Chosen(Plan):
    """A plan of some cells, in place of every one of a grid: cell n writes the activation (its module, n).

    Attributes:
        chosen: the cells.
    """

    chosen: tuple[Cell, ...] = ()

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.chosen)

    def cells(self) -> Iterator[Cell]:
        """Every cell."""
        yield from self.chosen


def exact_gains(model: Model, plan: Plan, question: Question, written: Sequence[Written]) -> Float[np.ndarray, " cell"]:
    """The exact gain of each cell, in nats, all of them in one go by the fastest engine that can run them."""
    scores = question.score(written_logprobs(model, plan, written)).numpy()
    return scores[1:] - scores[0]


@torch.no_grad()
def written_logprobs(model: Model, plan: Plan, written: Sequence[Written]) -> Float[Tensor, "run continuation"]:
    """Log-probabilities of the plan's continuations, of vanilla and then of each cell, whatever it writes; float64, on the CPU.

    Args:
        model: HookedTransformer or TransformerBridge.
        plan: of the pair; its own cells don't matter.
        written: of each cell.
    """
    chosen = tuple(Cell(module, number, layer) for number, (module, layer, _) in enumerate(written))
    activations = {(module.name, number): value for number, (module, _, value) in enumerate(written)}
    known = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    few = Chosen(**{**known, "axes": (), "activations": activations, "chosen": chosen})
    modules = tuple({module.name: module for module, _, _ in written}.values())
    engine = engine_for_modules(model, modules, resolve_engine(model, "auto"), "auto")[0]
    scored = ENGINES[engine_for(model, plan, engine)].score(model, few)
    return torch.stack([values for _, values in scored]).double().cpu()


@known_keywords()
def agreement(estimate: Float[np.ndarray, " cell"], exact: Float[np.ndarray, " cell"]) -> dict[str, float]:
    """How far estimates agree with exact gains.

    Returns:
        `spearman`; `sign`: share of cells that both call a gain or both a loss; `top10`, `top50`: of the 10 (50) cells with the
        largest exact gains, the share that is among the 10 (50) with the largest estimates. NaN where there are too few cells to
        tell: below two, and for the last two below twice as many.

    >>> agreement(np.array([3.0, 2.0, -1.0]), np.array([5.0, 1.0, -2.0]))
    {'spearman': 1.0, 'sign': 1.0, 'top10': nan, 'top50': nan}
    """
    alike = len(estimate) < 2 or np.ptp(estimate) == 0 or np.ptp(exact) == 0
    found = {
        "spearman": float("nan") if alike else float(spearmanr(estimate, exact).statistic),
        "sign": float(np.mean(np.sign(estimate) == np.sign(exact))),
    }
    for top in (10, 50):
        best = [set(np.argsort(-values, kind="stable")[:top].tolist()) for values in (estimate, exact)]
        found[f"top{top}"] = len(best[0] & best[1]) / top if len(estimate) >= 2 * top else float("nan")
    return found
