"""How sure is the mean gain of a layer, over all layers that it reads from or is written to?"""

from __future__ import annotations

import numpy as np
import xarray as xr

from xtl.errors import known_keywords
from xtl.results import Maps, real_and_control
from xtl.stats.examples import Group, record, split_groups, stack
from xtl.stats.intervals import mean_interval
from xtl.stats.selection import map_shape

SIDES = {"target": "source_layer", "source": "target_layer"}
"""Roles of a layer, and the dim of the other side, which is averaged over."""


@known_keywords()
def layer_intervals(
    real: Maps,
    control: Maps | None = None,
    *,
    measure: str = "gain",
    by: str | None = "direction",
    method: str | None = None,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> xr.Dataset:
    """The mean difference of every layer as target (over source layers) and as source (over target layers), with its interval.

    As `xtl.stats.cell_intervals`, of means over the other side's layers: an example's mean is taken first, instances are what is
    drawn.

    Args:
        real, control, measure, by, method, confidence, n_resamples, seed: as for `xtl.stats.cell_intervals`.

    Returns:
        Dataset (group, role, module, layer), the first dim named as `by` (or "group"), roles "target" and "source": `mean`,
        `low`, `high`, NaN for a layer that was not tried in a role; `reason` (group): why there are no ends (empty
        otherwise); `n`, `n_instances` (group). Settings in attrs.

    Raises:
        InputError: as for `xtl.stats.cell_intervals`.

    >>> from xtl import stats
    >>> found = layer_intervals(stats.simulate(n_instances=30, planted={("attn", 2, 3): 3.0}), n_resamples=500)
    >>> found["mean"].dims, bool((found["low"].sel(role="target", module="attn", layer=3) > 0).all())
    (('direction', 'role', 'module', 'layer'), True)
    """
    real, control = real_and_control(real, control)
    groups = split_groups(real, control, by=by, measures=(measure,))
    parts = [_of_group(group, measure, method, confidence, n_resamples, seed) for group in groups]
    settings = {"measure": measure, "confidence": confidence, "n_resamples": n_resamples, "seed": seed}
    found = stack(parts, [group.name for group in groups], by or "group")
    return found.assign_attrs(record(real, control, **settings))


def _of_group(
    group: Group, measure: str, method: str | None, confidence: float, n_resamples: int, seed: int
) -> xr.Dataset:
    """One group: the means of both roles are made together, so that both are drawn alike."""
    shape = map_shape(group)
    cells = group.varying(measure).reshape(group.n, *shape)
    layers = {role: group.real[f"{role}_layer"].values for role in SIDES}
    columns = {role: cells.mean(axis=2 if role == "target" else 3) for role in SIDES}  # [example, module, layer]
    flat = np.concatenate([part.reshape(group.n, -1) for part in columns.values()], axis=1)
    found = mean_interval(
        flat, group.clusters, bounds=group.bounds(measure), method=method, confidence=confidence,
        n_resamples=n_resamples, seed=seed,
    )  # fmt: skip
    parts, start = [], 0
    for role in SIDES:
        size = shape[0] * len(layers[role])
        part = slice(start, start := start + size)
        ends = {"mean": found.mean, "low": found.low, "high": found.high}
        own = {name: (("module", "layer"), values[part].reshape(shape[0], -1)) for name, values in ends.items()}
        parts.append(xr.Dataset(own, coords={"module": group.real["module"].values, "layer": layers[role].astype(int)}))
    data = xr.concat(parts, dim="role", join="outer", data_vars="all").assign_coords(role=list(SIDES))
    return data.assign(reason=found.reason, n=group.n, n_instances=group.n_instances)
