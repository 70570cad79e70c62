"""The one way from a pair to its map: `Driver`, under `sweep`, `sweep_many`, the controls and the runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.details import with_details
from xtl.engine.engines import ENGINES, resolve_engine
from xtl.engine.label import label_answers, label_scores
from xtl.engine.lengths import engine_for
from xtl.engine.loop import source_activations
from xtl.engine.own_modules import engine_for_modules
from xtl.engine.plan import Cell, Generated, Outputs, Plan
from xtl.engine.prepare import Sweep, SweepSettings, prepare
from xtl.engine.readings import n_readings
from xtl.engine.source_run import run_source
from xtl.engine.verify import verify_answers, verify_scores
from xtl.engine.written import check_activations
from xtl.errors import ModelError
from xtl.pairs import ParallelPair

Progress = Callable[[int, int], None]
"""Called with (cells done, cells in all)."""


@runtime_checkable
class Keep(Protocol):
    """A resume cache: keeps what an engine gave, so that it need not be computed again; `xtl.KeptMaps` is one in a folder."""

    def get(self, model: Model, sweep: Sweep, engine: str) -> Outputs | None:
        """What was kept of this very sweep; None where there is nothing."""

    def put(self, model: Model, sweep: Sweep, engine: str, outputs: Outputs) -> None:
        """Keep what a sweep gave."""


class Driver:
    """Computes maps of one model under one set of settings.

    Attributes:
        model: the model.
        settings: the settings.
        engine: the engine that runs it (a name from `ENGINES`); at lengths where that is not exact the next one does.
        slow: why that is not the fastest one; None if it is.
        cells: modules, source layers and target layers of every map.

    Raises:
        InputError: no model, an unknown module or engine, a layer out of range.
    """

    def __init__(self, model: Model, settings: SweepSettings) -> None:
        self.model = model
        self.settings = settings
        engine = resolve_engine(model, settings.engine)
        self.cells = settings.cells(model)
        self.engine, self.slow = engine_for_modules(model, self.cells[0], engine, settings.engine)

    def prepare(self, pair: ParallelPair) -> Sweep:
        """A pair's sweep, checked and tokenised. Raises `InputError`."""
        return prepare(self.model, pair, self.settings, self.cells)

    def kept(self, sweep: Sweep, keep: Keep | None) -> xr.Dataset | None:
        """The map that was kept of this very sweep; None where there is none."""
        if keep is None:
            return None
        check_activations(self.model, sweep.plan)
        engine = engine_for(self.model, sweep.plan, self.engine)
        outputs = keep.get(self.model, sweep, engine)
        return None if outputs is None else label(self.model, sweep, outputs, engine)

    def map(self, sweep: Sweep, progress: Progress | None = None, keep: Keep | None = None) -> xr.Dataset:
        """The map of a prepared sweep, some of its cells checked; `keep` is given what the engine gave.

        Raises:
            InputError: activations are given whose shape is not what stands where they are written.
            ModelError: NaN or infinite logits, or the check fails.
        """
        check_activations(self.model, sweep.plan)
        engine = engine_for(self.model, sweep.plan, self.engine)
        outputs = compute(self.model, sweep, engine, progress)
        if keep is not None:
            keep.put(self.model, sweep, engine, outputs)
        return label(self.model, sweep, outputs, engine)


@torch.no_grad()
def compute(model: Model, sweep: Sweep, engine: str, progress: Progress | None = None) -> Outputs:
    """What an engine (a name from `ENGINES`) gives for a prepared sweep, some of its cells checked."""
    # The source is read once, for the engine and the check.
    plan = replace(sweep.plan, activations=source_activations(model, sweep.plan))
    source = None
    if sweep.source_run is not None:
        source = run_source(model, sweep.source_run, plan.activations or {}, engine)
    n_checked = 0 if engine == "loop" else min(sweep.verify, plan.n_cells)
    done = 0

    def count(cell: Cell | None, finite: bool) -> None:
        nonlocal done
        if not finite:
            bad = cell if engine == "loop" else _first_not_finite(model, plan, cell)
            raise ModelError(
                f"{f'cell {bad}' if bad else 'vanilla'}: the model's logits are NaN or infinite; try dtype='float32'"
            )
        if progress is not None:
            progress(done, plan.n_cells)
        done += 1

    difference = 0.0
    if sweep.question is not None:
        scored: list[Float[Tensor, " number"]] = []
        for cell, values in ENGINES[engine].score(model, plan):
            count(cell, bool(torch.isfinite(values).all()))
            scored.append(values)
        table = torch.stack(scored)
        if n_checked:
            difference = verify_scores(model, plan, sweep.question, table, n_checked)
        logprobs, readings = table.split([len(plan.continuations), n_readings(plan)], dim=1)
        return Outputs(logprobs, None, n_checked, difference, source, readings if plan.readings else None)
    answers: list[Generated] = []
    for cell, generated in ENGINES[engine].generate(model, plan):
        count(cell, generated.finite)
        answers.append(generated)
    if n_checked:
        difference = verify_answers(model, plan, answers, n_checked)
    return Outputs(None, answers, n_checked, difference, source)


def label(model: Model, sweep: Sweep, outputs: Outputs, engine: str) -> xr.Dataset:
    """The scored and labelled result of an engine's outputs."""
    if outputs.logprobs is not None:
        result = label_scores(model, sweep, outputs.logprobs, engine)
    else:
        result = label_answers(model, sweep, outputs.answers or (), engine)
    if outputs.n_verified:
        result.attrs |= {
            "verified_cells": outputs.n_verified,
            "verified_largest_difference": outputs.largest_difference,
        }
    return with_details(model, sweep, outputs, result)


def _first_not_finite(model: Model, plan: Plan, found: Cell | None) -> Cell | None:
    """The first run whose logits are no numbers, by the loop; None is vanilla.

    Cells that are computed together can hand a NaN on, even at a weight of 0: then `found`, where it was seen, may be another.
    """
    loop = ENGINES["loop"]
    runs = (
        ((cell, answer.finite) for cell, answer in loop.generate(model, plan))
        if plan.max_new_tokens
        else ((cell, bool(torch.isfinite(values).all())) for cell, values in loop.score(model, plan))
    )
    return next((cell for cell, finite in runs if not finite), found)
