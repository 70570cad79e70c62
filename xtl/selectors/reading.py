"""A table of selectors for reading: per cent with intervals, in a few columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xtl.errors import InputError
from xtl.stats.intervals import bracket

PERCENT = {"accuracy": ("right", ".0f"), "gain": ("over vanilla", "+.0f"), "share": ("of headroom", ".0f"),
           "shuffled": ("null: control", "+.0f"), "permuted": ("null: golds", "+.0f")}  # fmt: skip


def wide_table(table: pd.DataFrame) -> pd.DataFrame:
    """A row a selector: accuracy, gain, share of the headroom, p-values, both nulls, passes, notes.

    Args:
        table: result of `xtl.selectors.evaluate`.

    >>> from xtl import selectors
    >>> table = selectors.evaluate(*selectors.simulate(planted={("attn", 1, 2): 3.0}), ["vote_best"], n_splits=3)
    >>> wide_table(table).loc["vote_best", ["right", "passes"]].tolist()
    ['95% [84, 100]', '2.0']
    """
    if not isinstance(table, pd.DataFrame) or not {"accuracy", "passes", "null_holds"} <= set(table.columns):
        raise InputError("table must be the result of xtl.selectors.evaluate")
    columns = {
        title: [_percent(row, name, spec) for _, row in table.iterrows()] for name, (title, spec) in PERCENT.items()
    }
    for name in ("vanilla", "fixed", "null"):
        columns[f"p over {name}"] = ["" if np.isnan(p) else f"{p:.2g}" for p in table[f"p_{name}"].astype(float)]
    columns["passes"] = ["" if np.isnan(one) else f"{one:.1f}" for one in table["passes"].astype(float)]
    columns["settings"] = [text if isinstance(text, str) else "" for text in table["settings"]]
    columns["note"] = [text if isinstance(text, str) else "" for text in table["reason"]]
    return pd.DataFrame(columns, index=table.index)


def _percent(row: pd.Series, name: str, spec: str) -> str:
    value, low, high = (100 * float(row[name + end]) for end in ("", "_low", "_high"))
    if np.isnan(value):
        return ""
    return f"{value:{spec}}%" + ("" if np.isnan(low) else f" {bracket(low, high, spec)}")
