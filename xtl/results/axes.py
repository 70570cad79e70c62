"""What a result is: a Dataset of cells (module, source layer, target layer), an example a pair, unit and origin as attributes.

>>> import numpy as np
>>> gain = xr.DataArray(np.zeros((1, 2, 2)), dims=GAIN_DIMS, coords={"module": ["attn"]})
>>> data = xr.Dataset({"gain": gain.assign_coords(source_lang="en", target_lang="es")})
>>> with_directions(data)["direction"].values.tolist(), score_unit(data)
(['en->es'], 'nats')
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import xarray as xr

from xtl.errors import InputError
from xtl.languages import resource_level
from xtl.results.concat import GAIN_DIMS, MORE_DIMS, Maps, as_results
from xtl.tasks import TASKS

NOISE = 1e-5
"""Gains (nats) below this are float32 rounding."""


def with_directions(results: Maps, *, measure: str = "gain") -> xr.Dataset:
    """Check sweep results, give a single sweep an `example` dim of 1, and label every example with its direction.

    Args:
        results: Dataset with `gain` (nats), dims `module, source_layer, target_layer` and, but for a single sweep,
            `example`.
        measure: the variable that must be there, instead of `gain`.

    Returns:
        The same data with dims in that order (`example` first) and a coord `direction` (example), such as "en->es";
        "?" stands for a language that is not known.

    Raises:
        InputError: no such variable, a missing or an unknown dim, nothing in it.
    """
    results = as_results(results)
    if measure not in results:
        raise InputError(
            f"results have no {measure!r}; they have: {', '.join(map(str, results.data_vars)) or 'nothing'}"
        )
    dims = results[measure].dims
    missing, unknown = set(GAIN_DIMS).difference(dims), set(map(str, dims)).difference(GAIN_DIMS, ["example"])
    if missing or unknown:
        found = f"lacks {', '.join(sorted(missing))}" if missing else f"has {', '.join(sorted(unknown))} too"
        if chosen := [f"{name}={results[name].values.tolist()[0]!r}" for name in MORE_DIMS if name in unknown]:
            found += f"; choose one, such as results.sel({', '.join(chosen)})"
        raise InputError(f"{measure} must have the dims (example), {', '.join(GAIN_DIMS)}; it {found}")
    if results[measure].size == 0:
        raise InputError(f"results are empty: {measure} has the sizes {dict(results[measure].sizes)}")
    if "example" not in results[measure].dims:
        results = results.expand_dims("example")
    languages = [per_example(results, name) for name in ("source_lang", "target_lang")]
    labels = [f"{source or '?'}->{target or '?'}" for source, target in zip(*languages, strict=True)]
    return results.assign_coords(direction=("example", labels)).transpose("example", *GAIN_DIMS, ...)


def per_example(data: xr.Dataset, name: str) -> list[str]:
    """A coord or variable as one text per example; "" where it is missing or unknown."""
    values = data[name].values if name in data.variables else ""
    flat = np.broadcast_to(np.asarray(values, dtype=object), data.sizes["example"])
    return ["" if value is None or value != value else str(value) for value in flat]


def score_unit(data: xr.Dataset) -> str:
    """The unit of score and gain: the attribute `score_unit`, else "nats"."""
    return str(data.attrs.get("score_unit") or "nats")


def provenance(data: xr.Dataset) -> list[str]:
    """What made some results, as far as they say: model, task, the control if it is one, and how if by an estimate.

    >>> provenance(xr.Dataset(attrs={"model": "gpt2", "task": "capitals", "control": "zero"}))
    ['gpt2', 'capitals', 'control zero']
    """
    estimate = f"estimated ({data.attrs['estimate']})" if data.attrs.get("estimate") else ""
    control = f"control {data.attrs['control']}" if data.attrs.get("control") else ""
    return [str(name) for name in (model_name(data), data.attrs.get("task"), control, estimate) if name]


def labelled(results: Maps) -> xr.Dataset:
    """Results with the coords `direction`, `task`, `kind` and `resource` of every example.

    The kind is the task's own ("understanding", "generation", "culture", "knowledge", "user"), "unknown" for a task that is not
    in the registry. The resource level is that of the language of the pair that is not English (the target's where both are not).

    Raises:
        InputError: see `with_directions`.
    """
    results = as_results(results)
    data = with_directions(results)
    tasks = per_example(data, "task")
    if not any(tasks):
        tasks = [str(results.attrs.get("task") or "unknown")] * data.sizes["example"]
    kinds = [TASKS[name].kind if name in TASKS else "unknown" for name in tasks]
    sources, targets = (per_example(data, name) for name in ("source_lang", "target_lang"))
    others = [source if target == "en" else target for source, target in zip(sources, targets, strict=True)]
    levels = [resource_level(code) for code in others]
    return data.assign_coords(
        task=("example", tasks), kind=("example", kinds),
        resource=("example", ["unknown" if level is None else f"class {level}" for level in levels]),
    )  # fmt: skip


def model_name(data: xr.Dataset) -> str:
    """The model's name for titles: of a folder or file its last part, without the ending and with its quantisation apart.

    >>> model_name(xr.Dataset(attrs={"model": "/data/models/small.gguf"})), model_name(xr.Dataset(attrs={"model": "org/small"}))
    ('small', 'org/small')
    >>> model_name(xr.Dataset(attrs={"model": "SmolLM2-135M-Instruct.Q4_1.gguf"}))
    'SmolLM2-135M-Instruct (Q4_1)'
    """
    name = str(data.attrs.get("model") or "")
    name = name.rstrip("/").rpartition("/")[2] if name.startswith(("/", ".", "~")) else name
    bare = name.removesuffix(".gguf")
    return re.sub(r"[.-]((?:I?Q\d|B?F\d\d)\w*)$", r" (\1)", bare) if bare != name else name


def diagonal(gain: xr.DataArray) -> xr.DataArray:
    """The cells i -> i, dim `layer` in place of the two."""
    layers = [k for k in gain["source_layer"].values if k in gain["target_layer"].values]
    index = xr.DataArray(np.array(layers, dtype=int), dims="layer", coords={"layer": layers})
    return gain.sel(source_layer=index, target_layer=index).drop_vars(["source_layer", "target_layer"])


def check_computed(data: object, made_by: str, holds: Iterable[str]) -> None:
    """Raise `InputError` unless data are what some function computes, told by variables that it gives.

    >>> check_computed(xr.Dataset({"gain": 0.0}), "my_analysis.compute(run)", ["gain", "spread"])
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: data must be the result of my_analysis.compute(run)
    """
    if not isinstance(data, xr.Dataset) or not set(holds) <= set(data):
        raise InputError(f"data must be the result of {made_by}")
