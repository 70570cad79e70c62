"""Figures of selectors: accuracy against what a question costs, and each one's gain beside its nulls.

>>> from xtl import selectors
>>> table = selectors.evaluate(*selectors.simulate(planted={("attn", 1, 2): 3.0}), ["vote", "vote_best"], n_splits=3)
>>> len(cost_figure(table).data), len(gain_figure(table).data)
(6, 3)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from xtl.errors import InputError, known_keywords
from xtl.plots.forest import Estimate, forest
from xtl.plots.labels import name_lines
from xtl.plots.style import COLOURS, MARKS, escape, lay_out, with_room

NULLS = {"gain": "real maps, real golds", "shuffled": "null: shuffled source", "permuted": "null: permuted golds"}


@known_keywords()
def cost_figure(table: pd.DataFrame) -> go.Figure:
    """Accuracy against forward passes a question: a mark each baseline and selector, lines at the bounds.

    Args:
        table: from `xtl.selectors.evaluate`.

    Raises:
        InputError: another table.
    """
    check_table(table)
    figure = go.Figure()
    judged = table[table["accuracy"].notna() & (table["kind"] != "bound")]
    for place, (name, row) in enumerate(judged.iterrows()):
        figure.add_trace(_mark(str(name), row, place))
    bounds = [
        (escape(str(name)), "#555555", 100 * value)
        for name, value in table["accuracy"][table["kind"] == "bound"].items()
    ]
    for *_, value in bounds:
        figure.add_hline(y=value, line={"color": "#777777", "width": 1, "dash": "dot"})
    ends = 100 * judged[["accuracy", "accuracy_low", "accuracy_high"]].to_numpy(dtype=float).ravel()
    values = np.concatenate([ends, [value for *_, value in bounds]])
    limits = with_room(float(np.nanmin(values)), float(np.nanmax(values)), least=1.0)
    figure.update_xaxes(title_text="forward passes a question")
    figure.update_yaxes(title_text="right, %", range=list(limits))
    lay_out(figure, f"What choosing costs, and gives: {_of(table)}", _subtitle(table), width=900, height=560)
    figure.update_layout(margin_r=130)
    name_lines(figure, bounds, "", limits, 360.0, 11.0)
    return figure


def _mark(name: str, row: pd.Series, place: int) -> go.Scatter:
    value = 100 * row["accuracy"]
    low, high = (100 * row[f"accuracy_{end}"] for end in ("low", "high"))
    mark = {"color": COLOURS[place % 8], "symbol": MARKS[(place + place // 8) % 8], "size": 10}
    bar = {"array": [high - value], "arrayminus": [value - low], "color": COLOURS[place % 8]}
    return go.Scatter(
        x=[row["passes"]], y=[value], mode="markers", name=escape(name), marker=mark,
        error_y={"type": "data", "symmetric": False, "thickness": 1, "width": 2, **bar},
        hovertemplate=f"{escape(name)}<br>%{{x:.1f}} passes: %{{y:.1f}}%<extra></extra>",
    )  # fmt: skip


@known_keywords()
def gain_figure(table: pd.DataFrame) -> go.Figure:
    """Each selector's gain over vanilla with its interval, and the same of its nulls, which should lie at or below 0.

    Args:
        table: from `xtl.selectors.evaluate`.

    Raises:
        InputError: another table.
    """
    check_table(table)
    points = [
        Estimate(str(name), label, *(100 * float(row[column + end]) for end in ("", "_low", "_high")))
        for name, row in table.iterrows()
        for column, label in NULLS.items()
        if np.isfinite(row[column]) and (column == "gain" or row["kind"] != "bound")
    ]
    title = f"Gain over vanilla, held out: {_of(table)}"
    return forest([("", points)], title=title, subtitle=_subtitle(table), x="points over vanilla", decimals=1)


def check_table(table: object) -> None:
    """Raise `InputError` unless it is what `xtl.selectors.evaluate` gives."""
    if not isinstance(table, pd.DataFrame) or not {"accuracy", "passes", "null_holds"} <= set(table.columns):
        raise InputError("table must be the result of xtl.selectors.evaluate")


def _of(table: pd.DataFrame) -> str:
    return ", ".join(str(table.attrs[name]) for name in ("model", "task") if table.attrs.get(name))


def _subtitle(table: pd.DataFrame) -> str:
    attrs = table.attrs
    counts = [attrs.get(name, "?") for name in ("n", "n_questions", "n_cells")]
    new = {
        "language": ", in languages that they were not fitted on",
        "task": ", of a task that they were not fitted on",
    }
    return (
        "{} examples of {} questions, {} cells; on questions that selectors were not fitted on".format(*counts)
        + new.get(str(attrs.get("across")), "")
        + f"; {attrs.get('confidence', 0.95):.0%} intervals over questions"
    )
