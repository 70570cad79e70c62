"""The best cell of a map, for a mark on it: the one that instances choose which it is not measured on, where there are enough.

>>> from xtl import stats
>>> best_of_each(stats.simulate(planted={("attn", 2, 3): 3.0}))[("en->es", "attn")]
Best(row=2, column=3, held_out=True)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from xtl.errors import InputError
from xtl.results import NOISE, Maps, as_results, labelled, mean_maps, per_example
from xtl.stats.examples import MIN_INSTANCES, split_groups
from xtl.stats.selection import chosen_cells, held_out_means, map_shape, split_halves

HALVINGS = 50
LEAST = 2 * MIN_INSTANCES
"""Instances of which a half can choose and the other measure."""


@dataclass(frozen=True)
class Best:
    """A cell to mark.

    Attributes:
        row, column: its coordinates: layers, as a rule.
        held_out: chosen by most of many random halves of the instances, with a gain on the others; False: the largest mean over
            all of them.
    """

    row: object
    column: object
    held_out: bool = False

    @property
    def words(self) -> str:
        """What the legend says."""
        return f"best cell ({'held out' if self.held_out else 'in-sample'})"

    @property
    def symbol(self) -> str:
        """Its mark: a circle, or where it is in-sample a diamond."""
        return "circle" if self.held_out else "diamond"

    def place(self, values: xr.DataArray) -> tuple[int, int]:
        """Its column and row in a map [rows, columns]."""
        rows, columns = (values[dim].values.tolist() for dim in values.dims)
        return columns.index(self.column), rows.index(self.row)


def best_in_sample(values: xr.DataArray) -> Best | None:
    """The cell with the largest value of a map [rows, columns]; None where there is no value above 0."""
    finite = values.where(np.isfinite(values))
    if not bool((finite > 0).any()):
        return None
    place = finite.argmax(values.dims)
    row, column = (values[dim].values[int(place[dim])].item() for dim in values.dims)
    return Best(row, column)


def best_of_each(results: Maps, *, by: str | None = "direction", measure: str = "gain") -> dict[tuple[str, str], Best]:
    """The best cell of each group and module.

    A cell is chosen on random halves of the instances, 50 times; the one that most halves choose is marked as held out, if it
    gains on the other halves (how much, `xtl.stats.held_out` says). Where it does not, or can't be asked (fewer than ten
    instances, gaps), it is the one with the largest mean gain, in-sample. None where no cell has a gain.

    Args:
        results: from `xtl.sweep` or `xtl.sweep_many`.
        by: as for `xtl.results.mean_maps`; None: all examples.
        measure: "gain" or "accuracy".
    """
    results, found = as_results(results), {}
    means = mean_maps(results, by=by)
    maps = means["gain"] if measure == "gain" else means["accuracy"] - means["vanilla_accuracy"]
    examples = labelled(results)
    labels = np.array(["all"] * examples.sizes["example"] if by is None else per_example(examples, by), dtype=object)
    for group in map(str, means["direction"].values):
        for module in map(str, means["module"].values):
            own = maps.sel(direction=group, module=module).transpose("source_layer", "target_layer")
            part = examples.isel(example=np.flatnonzero(labels == group)).sel(module=[module])
            if (best := best_in_sample(own)) is not None:
                found[group, module] = _of_halves(part, measure) or best
    return found


def said(marks: Sequence[Best | None]) -> str:
    """A note on the marks of a figure; empty if there are none."""
    return "".join(
        f"; {best.symbol}: {best.words}" for best in dict.fromkeys(replace(b, row=0, column=0) for b in marks if b)
    )


def mark(best: Best, x: str, y: str, trace: go.Heatmap, size: int | float) -> go.Scatter:
    """The mark on a heatmap that is drawn, at the labels of its column and row."""
    return go.Scatter(
        x=[x], y=[y], xaxis=trace.xaxis, yaxis=trace.yaxis, mode="markers", name=best.words, legendgroup=best.words,
        showlegend=False, hoverinfo="skip",
        marker={"symbol": best.symbol, "size": size, "color": "#ffffff", "line": {"color": "#000000", "width": size / 6}},
    )  # fmt: skip


def _of_halves(examples: xr.Dataset, measure: str) -> Best | None:
    """The cell that most halves of the instances choose, if it gains on the halves that did not choose it."""
    try:
        (group,) = split_groups(examples, by=None, measures=["gain", measure], min_instances=LEAST)
    except InputError:
        return None
    halves = split_halves(group.n_instances, HALVINGS, seed=0)
    values = group.differences(measure)
    cells = chosen_cells([values], group.clusters, halves, map_shape(group), "overall")
    numbers, counts = np.unique(cells, return_counts=True)
    cell = int(numbers[counts.argmax()])
    gained = held_out_means(values, group.clusters, halves, cells)[cells.ravel() == cell].mean()
    _, i, j = np.unravel_index(cell, map_shape(group))
    row, column = (group.real[dim].values[k].item() for dim, k in (("source_layer", i), ("target_layer", j)))
    return Best(row, column, held_out=True) if gained > NOISE else None
