"""What analyses of stored runs share: results labelled with task, kind of task and resource level; several runs by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from xtl.errors import InputError
from xtl.results import model_name, per_example, score_unit, with_directions
from xtl.stats.intervals import MIN_FOR_MEAN


def check_modules(results: xr.Dataset, *needed: str) -> None:
    """Raise `InputError` unless the results have all of these modules."""
    have = [str(name) for name in results["module"].values]
    missing = [name for name in needed if name not in have]
    if missing:
        raise InputError(f"the results lack the module {missing[0]}; they have: {', '.join(have)}. Sweep it too")


def check_runs(runs: Mapping[str, xr.Dataset], least: int = 2) -> dict[str, xr.Dataset]:
    """Several runs by name, each checked.

    Raises:
        InputError: too few of them, or one that is no result.
    """
    if len(runs) < least:
        raise InputError(
            f"{len(runs)} run{'' if len(runs) == 1 else 's'} given; this analysis compares at least {least}"
        )
    return {str(name): with_directions(data) for name, data in runs.items()}


def check_units(runs: Iterable[xr.Dataset]) -> str:
    """The one unit of several results' gains.

    Raises:
        InputError: several; their gains mean nothing beside each other.

    >>> check_units([xr.Dataset(attrs={"score_unit": "nats"}), xr.Dataset()])
    'nats'
    """
    units = list(dict.fromkeys(map(score_unit, runs)))
    if len(units) > 1:
        raise InputError(f"gains are in {' and in '.join(units)}, which can't be compared: give runs of one score")
    return units[0]


def names_by_difference(runs: Mapping[str, xr.Dataset]) -> list[str]:
    """What each run has that the first has not, to name it by in figures: "bfloat16", "other prompts"; the first is "as it is".

    Two runs of which no more is known keep their given names.

    >>> a = xr.Dataset(coords={"example": ["1"], "target": ("example", ["p"])}, attrs={"task": "capitals", "dtype": "float32"})
    >>> b = a.assign_coords(target=("example", ["q"]))
    >>> names_by_difference({"first": a, "other": b, "run3": a.assign_attrs(dtype="bfloat16")})
    ['as it is', 'other prompts', 'bfloat16']
    """
    first = next(iter(runs.values()))
    names = [_differences(first, run) or ("as it is" if run is first else name) for name, run in runs.items()]
    return [f"{name} ({key})" if names.count(name) > 1 else name for name, key in zip(names, runs, strict=True)]


def names_by_origin(runs: Mapping[str, xr.Dataset]) -> list[str]:
    """Task and model of each run, those alone in which they differ; the given names where that tells them not apart.

    >>> a, b = (xr.Dataset(attrs={"model": "gpt2", "task": task}) for task in ("xnli", "capitals"))
    >>> names_by_origin({"one": a, "two": b}), names_by_origin({"one": a, "two": a})
    (['xnli', 'capitals'], ['one', 'two'])
    """
    parts = [(str(run.attrs.get("task") or ""), model_name(run)) for run in runs.values()]
    told = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    names = [", ".join(part for part, told_by in zip(own, told, strict=True) if told_by and part) for own in parts]
    return names if all(names) and len(set(names)) == len(names) else list(runs)


def _differences(first: xr.Dataset, run: xr.Dataset) -> str:
    """In words, what a run has that the first has not."""
    other = [
        name for name in ("dtype", "control", "seed") if name in run.attrs and run.attrs[name] != first.attrs.get(name)
    ]
    said = [f"seed {run.attrs[name]}" if name == "seed" else str(run.attrs[name]) for name in other]
    said += [model_name(run)] if model_name(run) != model_name(first) else []
    if _texts(run, "target_lang") != _texts(first, "target_lang"):
        said.append(", ".join(dict.fromkeys(_texts(run, "target_lang").values())))
    prompts, options = (_texts(run, name) != _texts(first, name) for name in ("target", "options"))
    return ", ".join(said + ["other prompts"] * prompts + ["other options"] * options)


def _texts(run: xr.Dataset, name: str) -> dict[str, str]:
    """A text of each example, by its id; an order of options counts as another text."""
    if "example" not in run.coords or name not in run.variables:
        return {}
    return dict(zip(map(str, run["example"].values), map(str, per_example(run, name)), strict=True))


def intervals_said(*ends: np.ndarray, words: str = "bands: 95% intervals") -> str:
    """What a subtitle says of intervals, by their ends.

    >>> intervals_said(np.array([np.nan])), intervals_said(np.array([0.1]))
    ('no intervals: fewer than 29 instances (all languages of a question are one)', 'bands: 95% intervals')
    """
    known = any(np.isfinite(end).any() for end in ends)
    return (
        words if known else f"no intervals: fewer than {MIN_FOR_MEAN} instances (all languages of a question are one)"
    )


def nearest_layer(
    layer: int, layers: list[int], others: list[int], depths: tuple[int | None, int | None] = (None, None)
) -> int:
    """The layer of another model at the same relative depth, of those that were tried there.

    Args:
        layer: one of `layers`.
        layers, others: that were tried in the two models.
        depths: how many layers the models have; where one is not known, the first and last that were tried are its ends.

    >>> nearest_layer(12, list(range(18)), list(range(30)))
    20
    >>> nearest_layer(12, [12, 13], list(range(30)), (18, 30))
    20
    """
    ends = [(own[0], own[-1]) if n is None else (0, n - 1) for own, n in zip((layers, others), depths, strict=True)]

    def depth(place: int, first: int, last: int) -> float:
        return (place - first) / max(last - first, 1)

    return min(others, key=lambda other: (abs(depth(other, *ends[1]) - depth(layer, *ends[0])), other))
