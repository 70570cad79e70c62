"""Which layers and which module lift the target language?

Method: the layer-wise transplantation maps of XTransplant (arXiv 2412.12686, section 3). Every transplant (module,
source layer i, target layer j) of a pair is scored; its gain is the score minus the vanilla score. `compute` averages
the gains over the examples of one direction (such as en->es), then over source layers (how good is layer j as a
target?) and over target layers (how good is layer i as a source?).

How to read the figure: one row of maps per direction, one column per module, one colour scale for all. Blue cells
lift the gold answer, red cells push it down. A blue column is a target layer that takes activations from many
source layers; a blue row is a source layer that serves many target layers; a lone blue cell may well be chance.

What would falsify the claim that a module helps a language: no layer with a mean gain above zero; or a gain that goes
away on examples other than those that the cell was chosen on; or one that is as large with unrelated source prompts.

>>> import numpy as np, xarray as xr
>>> gain = xr.DataArray([[[[0.0, 0.5], [-0.5, 1.0]]]], dims=("example", "module", "source_layer", "target_layer"),
...     coords={"module": ["attn"], "source_layer": [0, 1], "target_layer": [0, 1]})
>>> data = compute(xr.Dataset({"gain": gain}))
>>> data["gain_as_target"].values.tolist()
[[[-0.25, 0.75]]]
>>> best_cells(data)[["module", "source_layer", "target_layer", "best_gain_in_sample"]].values.tolist()
[['attn', 1, 1, 1.0]]
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from xtl import plots
from xtl.errors import InputError, check_choice

COLUMNS = (
    "direction", "module", "n", "vanilla_score", "vanilla_accuracy", "source_layer", "target_layer",
    "best_gain_in_sample", "best_accuracy_in_sample",
)  # fmt: skip


def compute(results: xr.Dataset) -> xr.Dataset:
    """Average sweep results per direction, and per layer.

    Args:
        results: result of `xtl.sweep_many` or `xtl.sweep`: `gain` in nats, dims (example,) module, source_layer,
            target_layer; `correct`, `vanilla_score` and `vanilla_correct` are used where they exist.

    Returns:
        Dataset, float64, attrs as in `results`. Missing gains (NaN) are left out of every mean:
        - `gain` (direction, module, source_layer, target_layer): mean over the examples of the direction;
        - `gain_as_target`, `gain_as_source` (direction, module, layer): mean of `gain` over the other side's layers;
          NaN for a layer that was not tried on that side;
        - `accuracy` (as `gain`), `vanilla_accuracy` (direction), `vanilla_score` (direction), where the data allow it;
        - `n` (direction): examples; `n_gain` (as `gain`): examples with a gain.

    Raises:
        InputError: no `gain`, a missing or an unknown dim, no examples.
    """
    examples = plots.with_directions(results)
    labels = examples["direction"].values
    names = list(dict.fromkeys(map(str, labels)))
    groups = [examples.isel(example=np.flatnonzero(labels == name)) for name in names]
    direction = pd.Index(names, name="direction")

    def mean_of(variable: str) -> xr.DataArray:
        means = [group[variable].astype("float64").mean("example") for group in groups]
        return xr.concat(means, dim=direction).reset_coords(drop=True)

    data = xr.Dataset({"gain": mean_of("gain")}, attrs=dict(results.attrs))
    for source, name in (
        ("correct", "accuracy"), ("vanilla_score", "vanilla_score"), ("vanilla_correct", "vanilla_accuracy"),
    ):  # fmt: skip
        if source in examples:
            data[name] = mean_of(source)
    data["n"] = ("direction", [group.sizes["example"] for group in groups])
    data["n_gain"] = xr.concat([group["gain"].notnull().sum("example") for group in groups], dim=direction)
    as_target = data["gain"].mean("source_layer").rename(target_layer="layer").rename("gain_as_target")
    as_source = data["gain"].mean("target_layer").rename(source_layer="layer").rename("gain_as_source")
    return xr.merge([data, as_target, as_source], join="outer", combine_attrs="override")


def best_cells(data: xr.Dataset) -> pd.DataFrame:
    """The cell with the largest mean gain, per direction and module.

    The cell is chosen on the same examples that its gain and accuracy are measured on. Those two are therefore too
    high, the more so the more cells and the fewer examples there are; the columns say `in_sample`. A fair estimate
    measures the chosen cell on other examples.

    Args:
        data: result of `compute`.

    Returns:
        One row per direction x module, columns `COLUMNS`; scores and gains in nats, NaN or NA where unknown. Of equal
        cells, the one with the lowest source layer, then the lowest target layer.
    """
    _check_computed(data)
    rows = []
    for direction in data["direction"].values:
        for module in data["module"].values:
            part = data.sel(direction=direction, module=module)
            row = {"direction": str(direction), "module": str(module), "n": int(part["n"])}
            row |= {name: float(part[name]) for name in ("vanilla_score", "vanilla_accuracy") if name in part}
            cells = part["gain"].where(np.isfinite(part["gain"]))
            if cells.notnull().any():
                best = part.isel(cells.argmax(("source_layer", "target_layer")))
                row |= {name: int(best[name]) for name in ("source_layer", "target_layer")}
                row["best_gain_in_sample"] = float(best["gain"])
                if "accuracy" in best:
                    row["best_accuracy_in_sample"] = float(best["accuracy"])
            rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"source_layer": "Int64", "target_layer": "Int64"})


def in_words(data: xr.Dataset, direction: str) -> list[str]:
    """One or two sentences: which layer and module lift the target language the most, or that none does.

    Args:
        data: result of `compute`.
        direction: one of its directions, such as "en->es".

    Raises:
        InputError: an unknown direction.
    """
    _check_computed(data)
    check_choice("direction", direction, map(str, data["direction"].values))
    part, unit = data.sel(direction=direction), plots.score_unit(data)
    language = plots.language_name(direction.rpartition("->")[2])
    target = _largest(part["gain_as_target"])
    if target is None:
        return [f"No gain was measured for {direction}."]
    (module, layer), gain = target
    sources = part.sizes["source_layer"]
    over = f"averaged over {sources} source layers" if sources > 1 else "from the one source layer tried"
    if gain > plots.NOISE:
        first = (
            f"The largest lift of {language} comes from {module} at target layer {layer}: {gain:+.3f} {unit}, {over}"
        )
        source = _largest(part["gain_as_source"])
        if source is not None and source[1] > plots.NOISE:
            (module, layer), gain = source
            first += f"; the best source layer is {layer} of {module} ({gain:+.3f} {unit} over all target layers)"
    else:
        first = f"No target layer of any module lifts {language}: "
        first += f"the best, {layer} of {module}, has {gain:+.3f} {unit}, {over}"
    cell = _largest(part["gain"])
    if cell is None:
        return [f"{first}."]
    (module, i, j), gain = cell
    n = int(part["n"])
    if gain <= plots.NOISE:
        return [f"{first}.", f"No single cell lifts it either (largest mean gain {gain:+.3f} {unit}, n = {n})."]
    second = f"The best single cell is {module} {i} → {j}: {gain:+.3f} {unit}"
    if "accuracy" in part and "vanilla_accuracy" in part:
        accuracy = float(part["accuracy"].sel(module=module, source_layer=i, target_layer=j))
        second += f", accuracy {float(part['vanilla_accuracy']):.0%} vanilla, {accuracy:.0%} with it"
    return [f"{first}.", f"{second} (in-sample: chosen on the n = {n} examples that it is measured on)."]


def figure(data: xr.Dataset) -> go.Figure:
    """The gain maps of all directions (rows) and modules (columns) on one colour scale.

    Args:
        data: result of `compute`.
    """
    _check_computed(data)
    hover = "source layer %{y} → target layer %{x}"
    panels = [
        plots.Panel(
            f"{direction}, {module} (n = {int(data['n'][d])})", data["gain"][d, m], data["n_gain"][d, m],
            f"{plots.escape(direction)}, {plots.escape(module)}<br>{hover}",
        )
        for d, direction in enumerate(data["direction"].values)
        for m, module in enumerate(data["module"].values)
    ]  # fmt: skip
    named = ", ".join(str(data.attrs[name]) for name in ("model", "task") if data.attrs.get(name))
    return plots.heatmap_grid(
        panels, columns=data.sizes["module"], title=f"Gain maps: {named}".removesuffix(": "),
        subtitle="mean gain over n examples; blue helps, red harms", unit=plots.score_unit(data),
    )  # fmt: skip


def _check_computed(data: xr.Dataset) -> None:
    if not isinstance(data, xr.Dataset) or "gain_as_target" not in data:
        raise InputError("data must be the result of analyses.gain_maps.compute(results)")


def _largest(values: xr.DataArray) -> tuple[tuple[object, ...], float] | None:
    """Coordinates and value of the largest finite entry, or None if there is none."""
    finite = values.where(np.isfinite(values))
    if not bool(finite.notnull().any()):
        return None
    place = finite.isel(finite.argmax(list(values.dims)))
    return tuple(place[dim].item() for dim in values.dims), float(place)
