"""How much could a perfect choice of layers solve, and how much of that is luck?

Method: the instance-aware upper bound of XTransplant (arXiv 2412.12686): an instance counts as solved if any cell of a set
solves it: a source row, a target column, or all cells. The paper reports it without a chance control. Here the same bound is
taken of a control run, whose source prompt can't hold the answer, and of random subsets of the cells of every size (exactly,
without drawing any).

How to read the figures: `figure` shows the share of instances solved against the number of cells tried. Both curves rise, because
more tries solve more; only the gap between them is the source's doing. Where the control reaches the real run's height, that
upper bound tells nothing. `layers_figure` shows the same gap for each source row and target column.

What would falsify the claim that latent knowledge waits to be used: a difference of upper bounds whose interval holds 0.

>>> from xtl import stats
>>> data = compute(*stats.simulate(control=True, planted={("attn", 2, 3): 3.0}))
>>> in_words(data, "en->es")[1]
'Under simulated control it is 67%: a difference of +27 points [+5, +43].'
"""

from __future__ import annotations

import functools

import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from xtl.analysis import Analysis, Request, words_of_each
from xtl.errors import check_choice, known_keywords
from xtl.plots import bounds
from xtl.results import Maps, check_computed, real_and_control
from xtl.stats.chance import upper_bound_curve
from xtl.stats.upper_bounds import layer_upper_bounds

COLUMNS = (
    "direction", "module", "n", "n_instances", "set", "layer", "vanilla", "real", "real_low", "real_high", "control",
    "control_low", "control_high", "difference", "difference_low", "difference_high",
)  # fmt: skip
_check = functools.partial(
    check_computed, made_by="analyses.upper_bound.compute(real, control)", holds=["overall", "spread"]
)


@known_keywords(name="upper_bound.compute")
def compute(
    real: Maps,
    control: Maps | None = None,
    *,
    by: str = "direction",
    confidence: float = 0.95,
) -> xr.Dataset:
    """Upper bounds of source rows, target columns and overall, and the curve over numbers of cells.

    Args:
        real: result of `xtl.sweep_many`, with right answers known.
        control: the same with a control's source prompts; None: the upper bounds alone, as in the paper.
        by: "direction", or "all": one bound of all examples, clustered by instance.
        confidence: of the intervals.

    Returns:
        Dataset: `source_row`, `target_column`, `overall` and `vanilla` as in `xtl.stats.layer_upper_bounds`; `upper_bound`,
        `low`, `high` and `spread` over `cells` as in `xtl.stats.upper_bound_curve`; shares from 0 to 1.

    Raises:
        InputError: see `xtl.stats.examples.split_groups`.
    """
    real, control = real_and_control(real, control)
    group_by = None if check_choice("by", by, ("direction", "all")) == "all" else by
    bounds = layer_upper_bounds(real, control, by=group_by, confidence=confidence)
    curve = upper_bound_curve(real, control, by=group_by, confidence=confidence)
    data = xr.merge([bounds, curve], join="outer", compat="override", combine_attrs="override")
    return data.rename(group="direction") if by == "all" else data


def table(data: xr.Dataset) -> pd.DataFrame:
    """A row a direction, set of modules and set of cells, columns `COLUMNS`; `layer` is NA for the set "overall".

    Args:
        data: result of `compute`. Without a control its columns are NaN.
    """
    _check(data)
    rows = []
    for direction in data["direction"].values:
        for module in data["module"].values:
            part = data.sel(direction=direction, module=module)
            common = {"direction": str(direction), "module": str(module), "vanilla": float(part["vanilla"])}
            common |= {name: int(part[name]) for name in ("n", "n_instances")}
            for name, dim in (("source_row", "source_layer"), ("target_column", "target_layer"), ("overall", None)):
                for layer in part[dim].values if dim else [None]:
                    cell = part if dim is None else part.sel({dim: layer})
                    row = {**common, "set": name, "layer": layer}
                    for one in data["condition"].values:
                        row |= {
                            f"{one}{end}": float(cell[name + end].sel(condition=one)) for end in ("", "_low", "_high")
                        }
                    rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"layer": "Int64"})


def in_words(data: xr.Dataset, direction: str) -> list[str]:
    """One or two sentences: the overall upper bound, and what is left of it against the control.

    Args:
        data: result of `compute`.
        direction: one of its directions, such as "en->es".

    Raises:
        InputError: an unknown direction.
    """
    _check(data)
    check_choice("direction", direction, map(str, data["direction"].values))
    part = data.sel(direction=direction).isel(module=-1)
    bound = part["overall"]
    cells = int(part["cells"].values[-1])
    words = [
        f"Some cell of {cells} solves {float(bound.sel(condition='real')):.0%} of n = {int(part['n'])} examples; "
        f"vanilla solves {float(part['vanilla']):.0%}."
    ]
    if "difference" in data["condition"].values:
        value, low, high = (
            100 * float(part["overall" + end].sel(condition="difference")) for end in ("", "_low", "_high")
        )
        against = data.attrs["against"]
        chance = float(bound.sel(condition="control"))
        words.append(
            f"Under {against} it is {chance:.0%}: a difference of {value:+.0f} points [{low:+.0f}, {high:+.0f}]."
        )
    return words


def figure(data: xr.Dataset) -> go.Figure:
    """The curve of the upper bound over the number of cells tried, real and control.

    Args:
        data: result of `compute`.
    """
    _check(data)
    return bounds.curve(data)


def layers_figure(data: xr.Dataset) -> go.Figure:
    """The upper bound of every source row and target column, real and control.

    Args:
        data: result of `compute`.
    """
    _check(data)
    return bounds.layer_bounds(data)


def figures(data: xr.Dataset) -> dict[str, go.Figure]:
    """All figures of the analysis, by name."""
    return {"upper_bound": figure(data), "upper_bound_layers": layers_figure(data)}


def from_request(request: Request) -> xr.Dataset:
    """What `xtl analyse upper_bound` computes."""
    return compute(request.open_run(), request.open_control(), **request.given("by"))


ANALYSIS = Analysis(
    "upper_bound", "How much could a perfect choice of layers solve, and how much is luck?", "run",
    from_request=from_request, figures=figures, words=words_of_each("direction", in_words),
    options=("control", "by"),
)  # fmt: skip
