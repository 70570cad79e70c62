"""Mean maps: gains averaged over the examples of a direction (or task, language, ...), then over layers; and their best cells.

>>> import numpy as np
>>> gain = xr.DataArray([[[[0.0, 0.5], [-0.5, 1.0]]]], dims=("example", "module", "source_layer", "target_layer"),
...     coords={"module": ["attn"], "source_layer": [0, 1], "target_layer": [0, 1]})
>>> data = mean_maps(xr.Dataset({"gain": gain}))
>>> data["gain_as_target"].values.tolist()
[[[-0.25, 0.75]]]
>>> best_cells(data)[["module", "source_layer", "target_layer", "best_gain_in_sample"]].values.tolist()
[['attn', 1, 1, 1.0]]
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from xtl.errors import check_choice, known_keywords
from xtl.languages import english_name
from xtl.results.axes import NOISE, check_computed, diagonal, labelled, per_example, score_unit
from xtl.results.concat import Maps, as_results

GROUPS = ("direction", "task", "kind", "resource", "target_lang", "source_lang")
"""What examples can be grouped by."""
COLUMNS = (
    "direction", "module", "n", "vanilla_score", "vanilla_accuracy", "source_layer", "target_layer",
    "best_gain_in_sample", "best_accuracy_in_sample",
)  # fmt: skip


@known_keywords()
def mean_maps(results: Maps, *, by: str | None = "direction") -> xr.Dataset:
    """Average maps over the examples of each direction (or task, kind of task, resource level), and over layers.

    Args:
        results: result of `xtl.sweep_many` or `xtl.sweep`: `gain` in nats, dims (example,) module, source_layer,
            target_layer; `correct`, `vanilla_score` and `vanilla_correct` are used where they exist.
        by: one of `GROUPS`: examples that are averaged together; None: all of them, as one group "all". The dim is named
            `direction` in any case.

    Returns:
        Dataset, float64, attrs as in `results`. Missing gains (NaN) are left out of every mean; details
        (`option_logprob`, ...) are not in it, since options of different pairs have no mean:
        - `gain` (direction, module, source_layer, target_layer): mean over the examples of the direction;
        - `gain_as_target`, `gain_as_source` (direction, module, layer): mean of `gain` over the other side's layers;
          NaN for a layer that was not tried on that side; `gain_same_layer` (the same dims): the cells i -> i;
        - `accuracy` (as `gain`), `vanilla_accuracy` (direction), `vanilla_score` (direction), where the data allow it;
        - `n` (direction): examples; `n_gain` (as `gain`): examples with a gain.

    Raises:
        InputError: no `gain`, a missing or an unknown dim, no examples, an unknown `by`.
    """
    results = as_results(results)
    if by is not None:
        check_choice("by", by, GROUPS)
    examples = labelled(results)
    labels = np.array(["all"] * examples.sizes["example"] if by is None else per_example(examples, by), dtype=object)
    names = list(dict.fromkeys(map(str, labels)))
    groups = [examples.isel(example=np.flatnonzero(labels == name)) for name in names]
    direction = pd.Index(names, name="direction", dtype=object)

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
    same = diagonal(data["gain"]).rename("gain_same_layer")
    merged = xr.merge([data, as_target, as_source, same], join="outer", combine_attrs="override")
    # Of different source and target layers the union is made with floats.
    return merged.assign_coords(layer=merged["layer"].astype(int)).assign_attrs(by=by or "all")


@known_keywords()
def best_cells(data: xr.Dataset) -> pd.DataFrame:
    """The cell with the largest mean gain, per direction and module.

    The cell is chosen on the same examples that its gain and accuracy are measured on. Those two are therefore too
    high, the more so the more cells and the fewer examples there are; the columns say `in_sample`. A fair estimate
    measures the chosen cell on other examples.

    Args:
        data: result of `mean_maps`.

    Returns:
        One row per direction x module, columns `COLUMNS`; scores and gains in nats, NaN or NA where unknown. Of equal
        cells, the one with the lowest source layer, then the lowest target layer.
    """
    check_mean_maps(data)
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
        data: result of `mean_maps`.
        direction: one of its directions, such as "en->es".

    Raises:
        InputError: an unknown direction.
    """
    check_mean_maps(data)
    check_choice("direction", direction, map(str, data["direction"].values))
    part, unit = data.sel(direction=direction), score_unit(data)
    language = english_name(direction.rpartition("->")[2])
    target = _largest(part["gain_as_target"])
    if target is None:
        return [f"No gain was measured for {direction}."]
    (module, layer), gain = target
    sources = part.sizes["source_layer"]
    over = f"averaged over {sources} source layers" if sources > 1 else "from the one source layer tried"
    if gain > NOISE:
        first = (
            f"The largest lift of {language} comes from {module} at target layer {layer}: {gain:+.3f} {unit}, {over}"
        )
        source = _largest(part["gain_as_source"])
        if source is not None and source[1] > NOISE:
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
    if gain <= NOISE:
        return [f"{first}.", f"No single cell lifts it either (largest mean gain {gain:+.3f} {unit}, n = {n})."]
    second = f"The best single cell is {module} {i} → {j}: {gain:+.3f} {unit}"
    if "accuracy" in part and "vanilla_accuracy" in part:
        accuracy = float(part["accuracy"].sel(module=module, source_layer=i, target_layer=j))
        second += f", accuracy {float(part['vanilla_accuracy']):.0%} vanilla, {accuracy:.0%} with it"
    return [f"{first}.", f"{second} (in-sample: chosen on the n = {n} examples that it is measured on)."]


ROLES = {
    "gain_as_target": "target",
    "gain_as_source": "source",
    "gain_same_layer": "source and target",
}
"""Variables of mean maps that hold a gain by layer and module, with the role of the layer."""


def check_mean_maps(data: xr.Dataset) -> None:
    """Raise `InputError` unless the data are the result of `mean_maps`."""
    check_computed(data, "xtl.results.mean_maps(results) or gain_maps.compute(results)", ["gain_as_target"])


def _largest(values: xr.DataArray) -> tuple[tuple[object, ...], float] | None:
    """Coordinates and value of the largest finite entry, or None if there is none."""
    finite = values.where(np.isfinite(values))
    if not bool(finite.notnull().any()):
        return None
    place = finite.isel(finite.argmax(list(values.dims)))
    return tuple(place[dim].item() for dim in values.dims), float(place)
