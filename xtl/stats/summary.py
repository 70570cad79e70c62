"""One table that a careful reader wants: what is left of the gain when selection and chance are taken off?"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
import xarray as xr

from xtl.errors import InputError, check_whole, known_keywords
from xtl.results import Maps, with_control
from xtl.stats.examples import record
from xtl.stats.intervals import bracket
from xtl.stats.selection import held_out
from xtl.stats.upper_bounds import layer_upper_bounds

QUANTITIES = {
    "vanilla": "no transplant",
    "fixed": "best fixed cell, held out",
    "fixed_control": "the same cell, control source",
    "fixed_gain": "best fixed cell minus vanilla",
    "fixed_over_control": "best fixed cell minus control",
    "upper_bound": "upper bound: any cell",
    "chance_upper_bound": "upper bound of the control",
    "corrected": "upper bound, real minus control",
}
"""What `summary_table` holds, and how a table should call it; shares of right answers, and differences of them."""
DIFFERENCES = ("fixed_gain", "fixed_over_control", "corrected")


@known_keywords()
def summary_table(
    real: Maps,
    control: Maps,
    *,
    strategy: str = "overall",
    choose_by: str = "gain",
    n_splits: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Vanilla, best fixed cell (held out), upper bound, that of chance, and the corrected one, each with n and interval.

    Args:
        real, control: as for `xtl.stats.examples.split_groups`, with right answers known.
        strategy, choose_by, n_splits: of the best fixed cell, as for `xtl.stats.held_out`.
        confidence: level of the intervals.
        seed: of the splits.

    Returns:
        A row a `direction`, `module` (and all modules as one set) and `quantity` (the keys of `QUANTITIES`, in that order), with
        `n` (examples), `n_instances`, `value`, `low`, `high`: shares from 0 to 1, differences from -1 to 1. Where there are
        several directions, the last rows pool them, clustered by instance, as direction "all" (one cell for all). Settings in
        `attrs`.

    Raises:
        InputError: see `xtl.stats.examples.split_groups`.

    >>> from xtl import stats
    >>> table = summary_table(*stats.simulate(control=True, planted={("attn", 2, 3): 3.0}))
    >>> summary_wide(table).loc[("en->es", "attn"), "corrected"]
    '+30% [+7, +46]'
    """
    seed = check_whole("seed", seed, 0)
    real, control = with_control(real, control)
    tables = []
    pooled: tuple[str | None, ...] = ("direction", None)
    for by in pooled:
        fixed = held_out(
            real, control, strategy=strategy, choose_by=choose_by, by=by, n_splits=n_splits, confidence=confidence, seed=seed
        ).rename(columns={"group": "direction"})  # fmt: skip
        if "accuracy" not in fixed:
            raise InputError(
                "a summary counts right answers, and these results have no 'correct': sweep pairs with options"
            )
        bounds = layer_upper_bounds(real, control, by=by, confidence=confidence)
        tables.append(_rows(fixed, bounds.rename({} if by else {"group": "direction"})))
        if by and fixed["direction"].nunique() == 1:
            break
    table = pd.concat(tables, ignore_index=True)
    settings = {
        "strategy": strategy, "choose_by": choose_by, "n_splits": n_splits, "confidence": confidence,
        "seed": seed,
    }  # fmt: skip
    table.attrs = record(real, control, **settings)
    return table


@known_keywords()
def summary_wide(table: pd.DataFrame) -> pd.DataFrame:
    """The table for reading: a row a direction and module, `n`, and a column a quantity, such as "74% [64, 82]".

    Args:
        table: result of `summary_table`.
    """
    wanted = {"direction", "module", "quantity", "n", "value", "low", "high"}
    if not wanted <= set(table.columns):
        raise InputError("table must be the result of summary_table")
    text = table.assign(text=[_text(row) for row in table.to_dict("records")])
    order = pd.MultiIndex.from_frame(table[["direction", "module"]].drop_duplicates())
    wide = text.pivot(index=["direction", "module"], columns="quantity", values="text").reindex(order)
    n = table.drop_duplicates(["direction", "module"]).set_index(["direction", "module"])["n"]
    wide.insert(0, "n", n.reindex(order))
    wide.columns.name = None
    return wide[["n", *QUANTITIES]]


def _rows(fixed: pd.DataFrame, bounds: xr.Dataset) -> pd.DataFrame:
    held = {"vanilla": "vanilla_accuracy", "fixed": "accuracy", "fixed_control": "control_accuracy",
            "fixed_gain": "accuracy_gain", "fixed_over_control": "accuracy_over_control"}  # fmt: skip
    conditions = {"upper_bound": "real", "chance_upper_bound": "control", "corrected": "difference"}
    rows = []
    for record_ in fixed.to_dict("records"):
        common = {name: record_[name] for name in ("direction", "module", "n", "n_instances")}
        place = bounds.sel(direction=common["direction"], module=common["module"])
        for quantity in QUANTITIES:
            if quantity in held:
                values = [record_[held[quantity] + end] for end in ("", "_low", "_high")]
            else:
                values = [
                    float(place["overall" + end].sel(condition=conditions[quantity])) for end in ("", "_low", "_high")
                ]
            rows.append({**common, "quantity": quantity, **dict(zip(("value", "low", "high"), values, strict=True))})
    return pd.DataFrame(rows)


def _text(row: Mapping[Hashable, Any]) -> str:
    """One estimate in per cent; differences with their sign."""
    sign = "+" if row["quantity"] in DIFFERENCES else ""
    value, low, high = (100 * float(row[name]) for name in ("value", "low", "high"))
    return f"{value:{sign}.0f}% {bracket(low, high, f'{sign}.0f')}"
