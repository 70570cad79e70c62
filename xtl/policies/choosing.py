"""From maps to a policy: the cell that a rule chooses, with what such a choice gains on instances that it was not made on."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xtl.backend import Model
from xtl.errors import InputError, check_choice
from xtl.hooks import BY_HEAD, MODULES, Module
from xtl.models.info import model_info
from xtl.policies.record import Chosen, HeldOut
from xtl.results import Maps, real_and_control, score_unit, with_directions
from xtl.stats import held_out, select_cell
from xtl.stats.intervals import Interval
from xtl.stats.selection import ChosenCell

MEASURED = ("gain", "control_gain", "gain_over_control", "accuracy", "vanilla_accuracy", "accuracy_gain", "control_accuracy",
            "accuracy_over_control")  # fmt: skip
"""Columns of `xtl.stats.held_out` that a policy keeps."""


def best_cell(
    model: Model,
    results: Maps,
    control: Maps | None,
    direction: str | None,
    *,
    strategy: str,
    choose_by: str,
    **halving: int,
) -> dict[str, Any]:
    """What `Policy.from_maps` makes a policy of."""
    real, other = real_and_control(results, control)
    if (made := real.attrs.get("model")) not in (None, model_info(model).name):
        raise InputError(f"results are of model {made!r}, not of {model_info(model).name!r}")
    if real.attrs.get("control"):
        raise InputError(f"results are of the control {real.attrs['control']!r}: choose on a run without one")
    if real.attrs.get("steps", "first") != "first":
        raise InputError("results are of steps='every', and a policy patches the pass over the prompt alone")
    real = with_directions(real)
    direction = _direction(real["direction"].values.tolist(), direction)
    real = real.isel(example=np.flatnonzero(real["direction"].values == direction))
    if other is not None:
        other = with_directions(other)
        other = other.isel(example=np.flatnonzero(other["direction"].values == direction))
    cell = select_cell(real, strategy=strategy, measure=choose_by)
    table = held_out(real, other, strategy=strategy, choose_by=choose_by, by="direction", **halving)
    return described(
        cell,
        direction,
        module=_module(real, cell.module),
        **_how(real),
        chosen=chosen_of(real, cell, strategy, choose_by),
        held_out=held_out_of(table.iloc[-1], score_unit(real), other),
    )


def described(cell: ChosenCell, direction: str, **more: Any) -> dict[str, Any]:
    """A chosen cell as `Policy.for_model` takes it."""
    source_lang, _, target_lang = direction.partition("->")
    where = {"module": cell.module, "source_layer": cell.source_layer, "target_layer": cell.target_layer}
    return where | {"source_lang": source_lang.strip("?"), "target_lang": target_lang.strip("?")} | more


def chosen_of(results: Maps, cell: ChosenCell, strategy: str, choose_by: str) -> Chosen:
    """How a cell was chosen on results."""
    data = with_directions(results)
    return Chosen(
        task=str(data.attrs.get("task") or ""),
        n=cell.n,
        strategy=strategy,
        choose_by=choose_by,
        split=str(data.attrs.get("split") or ""),
        in_sample=cell.in_sample,
        instances=tuple(data["example"].values.astype(str).tolist()) if "example" in data.coords else (),
    )


def held_out_of(row: pd.Series[Any], unit: str, control: Maps | None = None) -> HeldOut:
    """A row of `xtl.stats.held_out`."""
    named = {name: [np.array([row[name + end]]) for end in ("", "_low", "_high")] for name in MEASURED if name in row}
    said = "" if control is None else str(with_directions(control).attrs.get("control") or "other maps")
    figures = {name: figure(Interval(mean, low, high, "")) for name, (mean, low, high) in named.items()}
    return HeldOut("halves", int(row["n"]), unit, figures, said, str(row.get("reason") or ""))


def figure(found: Interval) -> tuple[float, float | None, float | None]:
    """Mean and ends of a single cell; None for ends that are not given."""
    mean, low, high = (float(values[0]) for values in (found.mean, found.low, found.high))
    return mean, low if np.isfinite(low) else None, high if np.isfinite(high) else None


def _direction(found: list[str], asked: str | None) -> str:
    valid = list(dict.fromkeys(found))
    if asked is not None:
        return check_choice("direction", asked, valid)
    if len(valid) > 1:
        raise InputError(f"results hold several directions ({', '.join(valid)}); choose one, direction={valid[0]!r}")
    return valid[0]


def _how(results: xr.Dataset) -> dict[str, Any]:
    """What was written of it, and where in the prompts, where results say so.

    Raises:
        InputError: at a position that no policy has: only those counted from the prompt's end mean the same in every prompt.
    """
    alpha = results["alpha"].item() if "alpha" in results.coords else results.attrs.get("alpha", 1.0)
    how: dict[str, Any] = {"alpha": float(alpha)}
    if "source_head" in results.coords:
        how["heads"] = [tuple(int(results[name]) for name in ("source_head", "target_head"))]
    for name, said in (("source_position", "source_at"), ("position", "target_at")):
        at = str(results.attrs.get(said, -1))
        if not re.fullmatch("-[0-9]+", at):
            raise InputError(
                f"results are of {said} {at!r}; a policy's position counts from the prompt's end, such as -2"
            )
        how[name] = int(at)
    return how


def _module(results: xr.Dataset, name: str) -> Module:
    """The module of a map's coordinate: a built-in one, or the user's own by the attribute `own_modules`."""
    own = json.loads(results.attrs.get("own_modules", "{}"))
    known = MODULES | BY_HEAD
    return known[name] if name in known else Module(name, *own[name])
