"""Scores among options after what a model says of an option's place whatever it is asked has been taken off."""

from __future__ import annotations

from collections import Counter

import numpy as np
import xarray as xr
from scipy.special import log_softmax

from xtl.errors import InputError
from xtl.results.axes import NOISE, labelled
from xtl.results.concat import Maps
from xtl.results.details import OPTION, gold_option

MIN_EXAMPLES = 10
"""Examples of a task and direction that a mean over them needs."""
ENDS = ("", "vanilla_", "source_")
"""Whose answers: a cell's, vanilla's, and the source prompt's own."""


def calibrated(results: Maps) -> xr.Dataset:
    """The same results, calibrated: a model that nearly always says "(1)" is asked which questions make it say so *more*.

    Batch calibration (Zhou et al., arXiv 2309.17249): from the log-probability of each option its mean over all examples of the
    task and direction is taken off, for each place of an option and each cell (and for vanilla, and the source prompt) by
    itself. Scores, verdicts and gains are then reckoned anew. No gold option is used; each question's own numbers are part of
    the means, 1/n of them. Where golds are not spread evenly over the places, calibration costs right answers, too.

    Args:
        results: of `xtl.sweep_many` or a run, with `details="options"`. A control is calibrated by its own means.

    Returns:
        Dataset as `results`, with `score`, `gain`, `correct`, `option_logprob`, the same of `vanilla_` and (where they are there)
        of `source_`, calibrated; other details are left out. Attribute `score` begins with "calibrated".

    Raises:
        InputError: no option log-probabilities; fewer than 10 examples of a task and direction; calibrated before.

    >>> from xtl.selectors import simulate
    >>> real, controls = simulate(n_questions=20)
    >>> float(calibrated(real).option_logprob.mean("example").std("option").max()) < 1e-6  # no place is liked better
    True
    """
    data = labelled(results)
    ways = [f"{task} {way}" for task, way in zip(data["task"].values, data["direction"].values, strict=True)]
    _check(data, ways)
    groups, gold = xr.DataArray(ways, dims="example", name="group"), gold_option(data)
    made: dict[str, xr.DataArray] = {}
    for end in ENDS:
        if f"{end}option_logprob" in data:
            less = data[f"{end}option_logprob"].groupby(groups).map(lambda part: part - part.mean("example"))
            values = _among(less)
            score = values.isel({OPTION: gold}).drop_vars(OPTION)
            others = values.where(values[OPTION] != gold).max(OPTION)
            made |= {f"{end}option_logprob": values, f"{end}score": score, f"{end}correct": score > others + NOISE}
    made["gain"] = made["score"] - made["vanilla_score"]
    for name, values in made.items():
        made[name] = values.transpose(*data[name].dims).astype(data[name].dtype).assign_attrs(data[name].attrs)
    kept = data[list(made)].assign(made)
    return kept.assign_attrs(data.attrs | {"score": f"calibrated {data.attrs.get('score', 'score')}"})


def _check(data: xr.Dataset, ways: list[str]) -> None:
    if "option_logprob" not in data:
        raise InputError("results hold no option_logprob to calibrate: compute the maps with details=options")
    if str(data.attrs.get("score", "")).startswith("calibrated"):
        raise InputError("results are calibrated already")
    way, fewest = min(Counter(ways).items(), key=lambda one: one[1])
    if fewest < MIN_EXAMPLES:
        raise InputError(
            f"results hold {fewest} examples of {way}: the mean that calibration takes off needs at least {MIN_EXAMPLES}"
        )


def _among(values: xr.DataArray) -> xr.DataArray:
    """Log-probabilities among the options that there are."""
    there = values.fillna(-np.inf)
    among: xr.DataArray = xr.apply_ufunc(
        log_softmax, there, input_core_dims=[[OPTION]], output_core_dims=[[OPTION]], kwargs={"axis": -1}
    )
    return among.where(values.notnull())
