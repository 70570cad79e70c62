"""What analyses of stored runs share: results labelled with task, kind of task and resource level; several runs by name."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from xtl.errors import InputError
from xtl.results import with_directions


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


def nearest_layer(layer: int, layers: list[int], others: list[int]) -> int:
    """The layer of another model at the same relative depth; the first and last of each list are its ends.

    >>> nearest_layer(12, list(range(18)), list(range(30)))
    20
    """
    depth = (layer - layers[0]) / max(layers[-1] - layers[0], 1)
    return min(others, key=lambda other: (abs((other - others[0]) / max(others[-1] - others[0], 1) - depth), other))
