"""Instance-aware upper bounds, and what is left of them when chance is taken off.

An instance counts as solved if *any* cell of a set solves it: a source row, a target column, or all cells ("overall"). Such a
union over a thousand tries solves a lot by luck: with a chance of 5% a try, independent, 32 tries solve 81%. The same union over
a control, whose source prompt can't hold the answer, shows how much; real minus control is the corrected upper bound.

Intervals are over instances, real and control together (paired). They are those of bounded values (`xtl.stats.intervals`), which
hold near 100% and where no instance differs between the two: the difference is then 0, but not certainly.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from xtl.errors import known_keywords
from xtl.results import Maps, real_and_control
from xtl.stats.examples import Group, check_confidence, record, split_groups, stack
from xtl.stats.intervals import DIFFERENCE, mean_interval, share_interval

SETS = {"source_row": "source_layer", "target_column": "target_layer", "overall": None}


@known_keywords()
def layer_upper_bounds(
    real: Maps,
    control: Maps | None = None,
    *,
    by: str | None = "direction",
    confidence: float = 0.95,
) -> xr.Dataset:
    """Upper bounds of every source row, every target column and overall: real, control and their difference.

    Args:
        real, control: as for `xtl.stats.examples.split_groups`, with `correct` and `vanilla_correct`.
        by: coord of the examples that makes the groups; None pools all, clustered by instance.
        confidence: level of the intervals (`xtl.stats.intervals`, "adjusted"; that of the difference is paired).

    Returns:
        Dataset, shares from 0 to 1 (differences from -1 to 1):
        - `source_row` (group, module, condition, source_layer), `target_column` (group, module, condition, target_layer),
          `overall` (group, module, condition), each with its ends `..._low` and `..._high`. `condition` is "real", and with a
          control also "control" and "difference". Of several modules, the last is all of them as one set, named "attn+mlp";
        - `vanilla` (group); `n`, `n_instances` (group).

    Raises:
        InputError: see `split_groups`.

    >>> from xtl import stats
    >>> bounds = layer_upper_bounds(*stats.simulate(n_instances=20, control=True))
    >>> bounds["overall"].sel(direction="en->es", module="attn+mlp", condition=["real", "control"]).values.tolist()
    [0.75, 0.7]
    """
    confidence = check_confidence(confidence)
    real, control = real_and_control(real, control)
    groups = split_groups(real, control, by=by, measures=("accuracy",))
    parts = []
    for group in groups:
        modules = group.modules()
        found = [_bounds(part, confidence) for _, part in modules]
        vanilla = float(group.real["vanilla_correct"].values.astype("float64").mean())
        data = stack(found, [name for name, _ in modules], "module")
        parts.append(data.assign(vanilla=vanilla, n=group.n, n_instances=group.n_instances))
    result = stack(parts, [group.name for group in groups], by or "group")
    return result.assign_attrs(record(real, control, method="adjusted", confidence=confidence))


def solved(group: Group, condition: str) -> Bool[np.ndarray, "examples modules source_layers target_layers"]:
    """Which cell solves which example, in a condition ("real" or "control")."""
    data = group.real if condition == "real" else group.control
    assert data is not None
    return data["correct"].transpose("example", "module", "source_layer", "target_layer").values.astype(bool)


def any_cell(
    right: Bool[np.ndarray, "examples modules source_layers target_layers"], axis: str | None
) -> Float[np.ndarray, "examples sets"]:
    """1 where any cell of the set solves the example, for every set along an axis ("source_layer", ...); None: one set.

    >>> right = np.zeros((1, 1, 2, 2), bool); right[0, 0, 1, 0] = True
    >>> any_cell(right, "source_layer").tolist(), any_cell(right, None).tolist()
    ([[0.0, 1.0]], [[1.0]])
    """
    axes = {"source_layer": (1, 3), "target_layer": (1, 2), None: (1, 2, 3)}[axis]
    return right.any(axis=axes).astype("float64").reshape(len(right), -1)


def _set_shares(
    right: Bool[np.ndarray, "examples modules source_layers target_layers"],
) -> Float[np.ndarray, "examples sets"]:
    """`any_cell` of every kind of set, side by side."""
    return np.concatenate([any_cell(right, axis) for axis in SETS.values()], axis=1)


def _bounds(group: Group, confidence: float) -> xr.Dataset:
    """All upper bounds of one group and one set of modules."""
    conditions = ["real"] if group.control is None else ["real", "control"]
    shares = {condition: _set_shares(solved(group, condition)) for condition in conditions}
    found = {name: share_interval(share, group.clusters, confidence=confidence) for name, share in shares.items()}
    if group.control is not None:
        gap = shares["real"] - shares["control"]
        found["difference"] = mean_interval(gap, group.clusters, bounds=DIFFERENCE, confidence=confidence)
    data, start = xr.Dataset(), 0
    for name, axis in SETS.items():
        columns = slice(start, start + (group.real.sizes[axis] if axis else 1))
        for suffix, end in (("", "mean"), ("_low", "low"), ("_high", "high")):
            table = np.stack([getattr(interval, end)[columns] for interval in found.values()])
            data[name + suffix] = (("condition", axis) if axis else ("condition",), table if axis else table[:, 0])
        start = columns.stop
    layers = {axis: group.real[axis].values for axis in SETS.values() if axis}
    return data.assign_coords({"condition": list(found), **layers})
