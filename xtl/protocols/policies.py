"""What the protocol `select` chose, as policies: a cell a language (or one for all), measured on the unseen part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from xtl.backend import Model
from xtl.errors import InputError
from xtl.policies import Policy
from xtl.policies.choosing import chosen_of, described, figure
from xtl.policies.record import HeldOut
from xtl.protocols.run import chosen_by, language_of
from xtl.results import score_unit, with_directions
from xtl.stats import select_cell
from xtl.stats.examples import Group, split_groups
from xtl.stats.intervals import SHARE, Interval, mean_interval

ALL = "all"
"""Name of the policy of all languages together."""


def policies_of(
    model: Model,
    sample: xr.Dataset,
    results: xr.Dataset,
    control: xr.Dataset | None = None,
    *,
    strategy: str,
    per: str,
    score: str | None = None,
) -> dict[str, Policy]:
    """A policy for each language, or one for all of them, by name.

    Args:
        model: that chose and was measured.
        sample: what cells were chosen on.
        results: of `xtl.protocols.select` on that sample.
        control: the same with a control's source.
        strategy, per, score: as they were chosen.
    """
    measure, sample = chosen_by(sample, score)
    results = chosen_by(results, score)[1]
    control = None if control is None else chosen_by(control, score)[1]
    made = {}
    for language in [ALL] if per == "task" else list(dict.fromkeys(language_of(results).values.tolist())):
        learned, real, other = (None if one is None else _part(one, language) for one in (sample, results, control))
        assert learned is not None
        assert real is not None
        cell = select_cell(learned, strategy=strategy, measure=measure)
        about: dict[str, Any] = {
            "chosen": chosen_of(learned, cell, strategy, measure),
            "held_out": measured(real, other),
        }
        made[language] = Policy.for_model(model, **described(cell, _direction(real), **about))
    return made


def measured(results: xr.Dataset, control: xr.Dataset | None) -> HeldOut:
    """Means with intervals of one cell on instances that it was not chosen on; without intervals where there are too few."""
    unit, name = score_unit(results), "" if control is None else str(control.attrs["control"])
    right = "correct" in results and (control is None or "correct" in control)
    measures = ["gain", *(["accuracy"] if right else [])]
    try:
        (group,) = split_groups(results, control, by=None, measures=measures)
    except InputError as error:
        runs = {"gain": results} | ({} if control is None else {"control_gain": control})
        alone = {label: (float(one["gain"].mean()), None, None) for label, one in runs.items()}
        return HeldOut("unseen", results.sizes["example"], unit, alone, name, str(error))
    found = {label: interval for measure in measures for label, interval in _intervals(group, measure)}
    reason = next((one.reason for one in found.values() if one.reason), "")
    return HeldOut("unseen", group.n, unit, {label: figure(one) for label, one in found.items()}, name, reason)


def _intervals(group: Group, measure: str) -> Iterator[tuple[str, Interval]]:
    """Each figure of one cell, as `xtl.stats.held_out` names them."""
    real, bounds = group.values(measure), group.bounds(measure)
    own = SHARE if measure == "accuracy" else bounds
    differences: dict[str, np.ndarray] = {}
    yield measure, mean_interval(real, group.clusters, bounds=own)
    if measure == "accuracy":
        vanilla = group.real["vanilla_correct"].values.astype("float64")[:, None]
        yield "vanilla_accuracy", mean_interval(vanilla, group.clusters, bounds=SHARE)
        differences["accuracy_gain"] = real - vanilla
    if group.control is not None:
        other = group.values(measure, "control")
        yield f"control_{measure}", mean_interval(other, group.clusters, bounds=own)
        differences[f"{measure}_over_control"] = real - other
    for name, values in differences.items():
        yield name, mean_interval(values, group.clusters, bounds=bounds)


def _part(results: xr.Dataset, language: str) -> xr.Dataset:
    if language == ALL:
        return results
    return results.isel(example=np.flatnonzero(language_of(results).values == language))


def _direction(results: xr.Dataset) -> str:
    """The one direction of some results; of several what they share."""
    ends = [sorted({text.split("->")[n] for text in with_directions(results)["direction"].values}) for n in (0, 1)]
    return "->".join(one[0] if len(one) == 1 else "?" for one in ends)
