"""What analyses of stored runs share: results labelled with task, kind of task and resource level; several runs by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from xtl import plots
from xtl.errors import InputError
from xtl.results import Maps, as_results

RESOURCE_LEVEL: dict[str, int] = {
    code: level
    for level, codes in {
        5: "en es de ja fr ar zh",
        4: "sv tr ko hi fa pt cs ru nl pl hr it vi eu hu fi sr ca",
        3: "uk lv id af bs gl el he be ms th ka da tl sl ta kk ro bg uz lt et sk bn ur",
        2: "pa ha mr xh sw zu tn is wo ht mt lo am yo ga ti",
        1: "no ne qu km te ml kn gu hy mk so jv",
    }.items()
    for code in codes.split()
}
"""How much text a language has, from 5 (most) to 0: the classes of Joshi et al. 2020 (arXiv 2004.09095), by language code."""


def resource_level(language: str) -> int | None:
    """The class of Joshi et al. of a language, None where it is not in the table; regions and scripts don't matter.

    >>> resource_level("zh_tw"), resource_level("sw"), resource_level("?")
    (5, 2, None)
    """
    return RESOURCE_LEVEL.get(language.replace("-", "_").split("_")[0].lower())


def by_resource(languages: list[str]) -> list[str]:
    """Languages from the most to the least text; unknown ones last; alphabetical within a class.

    >>> by_resource(["sw", "es", "xx", "ru", "de"])
    ['de', 'es', 'ru', 'sw', 'xx']
    """
    return sorted(languages, key=lambda code: (-(-1 if (level := resource_level(code)) is None else level), code))


def labelled(results: Maps) -> xr.Dataset:
    """Results with the coords `direction`, `task`, `kind` and `resource` of every example.

    The kind is the task's own ("understanding", "generation", "culture", "knowledge", "user"), "unknown" for a task that is not
    in the registry. The resource level is that of the language of the pair that is not English (the target's where both are not).

    Raises:
        InputError: see `xtl.plots.with_directions`.
    """
    from xtl.tasks import TASKS

    results = as_results(results)
    data = plots.with_directions(results)
    tasks = plots.per_example(data, "task")
    if not any(tasks):
        tasks = [str(results.attrs.get("task") or "unknown")] * data.sizes["example"]
    kinds = [TASKS[name].kind if name in TASKS else "unknown" for name in tasks]
    sources, targets = (plots.per_example(data, name) for name in ("source_lang", "target_lang"))
    others = [source if target == "en" else target for source, target in zip(sources, targets, strict=True)]
    levels = [resource_level(code) for code in others]
    return data.assign_coords(
        task=("example", tasks), kind=("example", kinds),
        resource=("example", ["unknown" if level is None else f"class {level}" for level in levels]),
    )  # fmt: skip


def model_name(data: xr.Dataset) -> str:
    """The model's name for titles: of a file or folder, its last part.

    >>> model_name(xr.Dataset(attrs={"model": "/data/models/small.gguf"})), model_name(xr.Dataset(attrs={"model": "org/small"}))
    ('small.gguf', 'org/small')
    """
    name = str(data.attrs.get("model") or "")
    return name.rstrip("/").rpartition("/")[2] if name.startswith(("/", ".", "~")) else name


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
    return {str(name): plots.with_directions(data) for name, data in runs.items()}


def same_layers(results: xr.Dataset) -> list[int]:
    """Layers that were tried both as source and as target."""
    return [int(layer) for layer in results["source_layer"].values if layer in results["target_layer"].values]


def diagonal(gain: xr.DataArray) -> xr.DataArray:
    """The cells i -> i, dim `layer` in place of the two."""
    layers = [k for k in gain["source_layer"].values if k in gain["target_layer"].values]
    index = xr.DataArray(np.array(layers, dtype=int), dims="layer", coords={"layer": layers})
    return gain.sel(source_layer=index, target_layer=index).drop_vars(["source_layer", "target_layer"])


def nearest_layer(layer: int, layers: list[int], others: list[int]) -> int:
    """The layer of another model at the same relative depth; the first and last of each list are its ends.

    >>> nearest_layer(12, list(range(18)), list(range(30)))
    20
    """
    depth = (layer - layers[0]) / max(layers[-1] - layers[0], 1)
    return min(others, key=lambda other: (abs((other - others[0]) / max(others[-1] - others[0], 1) - depth), other))
