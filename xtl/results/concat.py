"""What belongs together: maps of many pairs as one result, and a control beside its real run.

Numbers of two models, two scores or two ways to patch have no mean. So maps come together only where everything agrees on which
a number depends, and a message says what does not. No model runs here, and nothing is drawn.

>>> from xtl import stats
>>> maps = [stats.simulate(n_instances=1, seed=0).isel(example=0) for _ in range(3)]
>>> dict(concat_maps(maps).sizes)["example"]
3
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xtl.errors import InputError, check_choice, known_keywords
from xtl.results.details import OPTION, pad_options

Maps = xr.Dataset | Iterable[xr.Dataset]
"""A result, or the maps that make one: a list of them, or what `xtl.sweep_many` and `xtl.controls.run` give."""

GAIN_DIMS = ("module", "source_layer", "target_layer")
"""The dims of a cell."""
MORE_DIMS = ("alpha", "source_head", "target_head", "source_lang")
"""Further axes of maps that were asked for them."""
OWN = (
    "source",
    "target",
    "engine",
    "verified_cells",
    "verified_largest_difference",
    "run",
    "pairs_in_run",
    "pairs_here",
    "task",
)
"""Attributes in which maps may differ: what is a coord too, where they are stored, and how they were computed, which changes no
number."""
MEASURED = (
    "score",
    "score_unit",
    "text_score",
    "normalise",
    "max_new_tokens",
    "steps",
    "alpha",
    "combine",
    "estimate",
    "points",
    "control",
    "seed",
)
"""Attributes that say what was measured: models are compared where these agree."""
OF_RUN = (*OWN, "control", "seed", "control_seed", "versions", "protocol", "split", "kind")
"""Attributes in which a control may differ from its real run."""


@known_keywords()
def concat_maps(maps: Maps, *, by: str | None = None) -> xr.Dataset:
    """Maps of several pairs as one Dataset, along a first dim `example`.

    Args:
        maps: from `xtl.sweep`, `xtl.sweep_many` or `xtl.controls.run`; a list, a generator, several results of many pairs.
        by: "model" gives a first dim `model` where the maps are of several models, each asked the same; `.sel(model=...)`
            takes one out again, attributes and all. None for maps of one model.

    Returns:
        The maps in their order, with the attributes that all of them share. `example` is the pair's id, or its place. Where pairs
        have unequal numbers of options, what has a dim `option` is NaN behind a pair's last one. Of cells
        that were verified, `verified_cells` is the fewest of a map, `verified_largest_difference` the largest.

    Raises:
        InputError: no maps, or no list of them; maps of other modules or layers; maps that differ in what a number depends on
            (model, precision, score, steps, control, versions, ...), or in what they hold. The message names it.

    Example:
        >>> import xtl
        >>> pairs = xtl.get_task("capitals").pairs("en", "es", limit=5)
        >>> xtl.concat_maps(xtl.sweep_many(xtl.load_model(), pairs))  # doctest: +SKIP
    """
    if by is not None:
        check_choice("by", by, ["model"])
    found = _with_examples(_listed(maps))
    if by is None:
        return _concat(found)
    models = {_name(one): [other for other in found if _name(other) == _name(one)] for one in found}
    return _side_by_side({name: _concat(some) for name, some in models.items()})


def as_results(results: object, name: str = "results") -> xr.Dataset:
    """One Dataset of what was given: that Dataset itself, or the maps of an iterable put together.

    Args:
        results: a Dataset, a list of maps, or a generator of them, which is used up.
        name: what the caller's argument is called.

    Raises:
        InputError: neither; a generator that was used up before; maps that don't belong together; several models.
    """
    if not isinstance(results, xr.Dataset):
        return _concat(_with_examples(_listed(results, name)))
    if "model" in results.dims:
        names = ", ".join(map(str, results["model"].values))
        raise InputError(f"{name} holds several models; choose one, .sel(model=...): {names}")
    if "models" in results.attrs and "model" in results.coords:
        attrs = dict(results.attrs)
        of_models = json.loads(attrs.pop("models"))
        attrs |= of_models[str(results["model"].item())]
        results = results.drop_vars("model")
        results.attrs = attrs
    return results


def as_parts(results: object) -> list[xr.Dataset]:
    """Results that may be of several models, layers or scores, each as one Dataset; maps of single pairs are put together.

    Raises:
        InputError: see `as_results`.
    """
    if isinstance(results, xr.Dataset):
        return [as_results(results)]
    parts = _listed(results, "results")
    return [as_results(one) for one in parts] if all("example" in one.dims for one in parts) else [as_results(parts)]


def real_and_control(real: object, control: object = None) -> tuple[xr.Dataset, xr.Dataset | None]:
    """A real run and its control as `with_control` gives them; any result where there is no control."""
    return (as_results(real, "real"), None) if control is None else with_control(real, control)


def with_control(real: object, control: object) -> tuple[xr.Dataset, xr.Dataset]:
    """A real run and its control, each as one Dataset and each in its role.

    Raises:
        InputError: see `as_results`; `real` is a control, or `control` is none; they differ in what a number depends on.
    """
    one = as_results(real, "real")
    other = as_results(control, "control")
    if one.attrs.get("control"):
        raise InputError(f"real is a control ({one.attrs['control']}): give the real run first, then its control")
    if not other.attrs.get("control"):
        raise InputError(
            "control is no control, it was swept as a real run: give what xtl.controls.run gives, or a run made with --control"
        )
    if different := [
        key
        for key in {**one.attrs, **other.attrs}
        if key not in OF_RUN and (key in MEASURED or (key in one.attrs and key in other.attrs))
        if not _same(_value(one, key), _value(other, key))
    ]:
        raise InputError(
            f"real and control differ in {_in_words(different, one, other)}: nothing else may differ than the source"
        )
    return one, other


def _listed(maps: object, name: str = "maps") -> list[xr.Dataset]:
    """The maps of an iterable; checked for being some."""
    if isinstance(maps, xr.Dataset):
        raise InputError(f"{name} is one Dataset already; give a list of maps, or what xtl.sweep_many gives")
    if isinstance(maps, (str, bytes, Mapping, xr.DataArray)) or not isinstance(maps, Iterable):
        raise InputError(f"{name} must be a sweep's Dataset or an iterable of maps, got {type(maps).__name__}")
    found = list(maps)
    if not found:
        used = (
            "; a generator gives its maps once, so keep list(...) of it to use them again"
            if isinstance(maps, Iterator)
            else ""
        )
        raise InputError(f"{name} is empty: there is nothing to put together{used}")
    for place, one in enumerate(found):
        if not isinstance(one, xr.Dataset):
            raise InputError(
                f"{name} must be maps of xtl.sweep or xtl.sweep_many; number {place} is {type(one).__name__}"
            )
        if missing := [dim for dim in GAIN_DIMS if dim not in one.dims]:
            raise InputError(
                f"{name}: number {place} is no map, it lacks the dim {missing[0]}; it has: {', '.join(map(str, one.dims))}"
            )
    return found


def _with_examples(maps: list[xr.Dataset]) -> list[xr.Dataset]:
    """Each map along a dim `example`, which has every coord of a single map."""
    found = []
    for place, one in enumerate(maps):
        if "example" not in one.dims:
            if "example" not in one.coords:
                one = one.assign_coords(example=str(place))
            own = {
                name: (("example", *values.dims), values.values[None]) if values.dims else ("example", [values.item()])
                for name, values in one.coords.items()
                if name not in one.dims
            }
            one = one.drop_vars(list(own)).expand_dims("example").assign_coords(own)
        found.append(one)
    tasks = [one.attrs.get("task") for one in found]
    if len(set(tasks)) > 1:
        found = [
            one
            if "task" in one.coords
            else one.assign_coords(task=("example", [str(task or "")] * one.sizes["example"]))
            for one, task in zip(found, tasks, strict=True)
        ]
    return found


def _concat(maps: list[xr.Dataset]) -> xr.Dataset:
    first = maps[0]
    for place, one in enumerate(maps[1:], 1):
        _check_alike(first, one, f"map 0{_where(first)} and map {place}{_where(one)}")
    per_example = {str(name) for one in maps for name, values in one.coords.items() if values.dims == ("example",)}
    filled = [
        one.assign_coords(
            {name: ("example", [""] * one.sizes["example"]) for name in per_example if name not in one.coords}
        )
        for one in pad_options(maps)
    ]
    together = xr.concat(filled, dim="example", data_vars="all", coords="minimal", compat="override", join="override")
    together.attrs = _shared_attrs([one.attrs for one in maps])
    return together


def _check_alike(first: xr.Dataset, one: xr.Dataset, who: str) -> None:
    """Raise `InputError` unless two maps have the same cells, hold the same, and agree in what a number depends on."""
    for dim in (*GAIN_DIMS, *MORE_DIMS):
        if not np.array_equal(_values(first, dim), _values(one, dim)):
            raise InputError(
                f"maps must have the same cells; {who} differ in {dim}: {_axis(first, dim)} and {_axis(one, dim)}"
            )
    different = [
        key
        for key in {**first.attrs, **one.attrs}
        if key not in OWN and not _same(_value(first, key), _value(one, key))
    ]
    if different:
        hint = "; by='model' sets models side by side" if "model" in different else ""
        raise InputError(f"{who} differ in {_in_words(different, first, one)}: no mean of the two means anything{hint}")
    held = [set(map(str, data.data_vars)) for data in (first, one)]
    if only := sorted(held[0] ^ held[1]):
        raise InputError(f"{who} hold different things: {', '.join(only)} is in one of them alone")
    if sizes := [
        str(dim) for dim in first.dims if dim not in ("example", OPTION) and first.sizes[dim] != one.sizes.get(dim)
    ]:
        raise InputError(
            f"{who} differ in the size of {sizes[0]}: {first.sizes[sizes[0]]} and {one.sizes.get(sizes[0])}"
        )


def _side_by_side(models: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Results of several models along a first dim `model`; what differs between them is kept in the attribute `models`."""
    (name, first), *others = models.items()
    aligned = [first]
    for other, one in others:
        who = f"models {name!r} and {other!r}"
        for dim in (*GAIN_DIMS, *MORE_DIMS):
            if not np.array_equal(_values(first, dim), _values(one, dim)):
                raise InputError(
                    f"{who} were swept over other cells, {dim} {_axis(first, dim)} and {_axis(one, dim)}: "
                    "sweep both over the same (modules=, source_layers=, target_layers=)"
                )
        if different := [key for key in MEASURED if not _same(_value(first, key), _value(one, key))]:
            raise InputError(f"{who} differ in {_in_words(different, first, one)}: they can't be compared")
        places = {key: place for place, key in enumerate(_keys(one))}
        if set(places) != set(_keys(first)) or len(places) != first.sizes["example"]:
            odd = next(iter(set(places) ^ set(_keys(first))), "one twice")
            raise InputError(f"{who} were asked different examples, such as {odd}")
        aligned.append(one.isel(example=[places[key] for key in _keys(first)]))
    together = xr.concat(
        pad_options(aligned),
        dim=xr.Variable("model", list(models)),
        data_vars="all",
        coords="different",
        compat="equals",
        join="exact",
    )
    together.attrs = _shared_attrs([one.attrs for one in aligned])
    own = {
        model: {key: value for key, value in one.attrs.items() if key not in together.attrs}
        for model, one in zip(models, aligned, strict=True)
    }
    return together.assign_attrs(models=json.dumps(own, default=str))


def _shared_attrs(attrs: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    """Attributes that all have alike; of the checks by the loop what holds for all."""
    shared = {
        key: value for key, value in attrs[0].items() if all(key in one and _same(value, one[key]) for one in attrs)
    }
    if "engine" not in shared and all("engine" in one for one in attrs):
        shared["engine"] = ", ".join(dict.fromkeys(str(one["engine"]) for one in attrs))
    for key, of in (("verified_cells", min), ("verified_largest_difference", max)):
        if all(key in one for one in attrs):
            shared[key] = of(one[key] for one in attrs)
    return shared


def _keys(data: xr.Dataset) -> list[tuple[str, ...]]:
    columns = [
        data[name].values.astype(str) for name in ("source_lang", "target_lang", "example") if name in data.coords
    ]
    return list(zip(*columns, strict=True))


def _where(one: xr.Dataset) -> str:
    """Which example a map is of, if it is one alone."""
    return f" ({one['example'].values[0]})" if one.sizes["example"] == 1 and "example" in one.coords else ""


def cell_dims(data: xr.Dataset) -> tuple[str, ...]:
    """The dims of a cell in these results, further axes last.

    >>> cell_dims(xr.Dataset(coords={"module": ["attn"], "source_layer": [0], "target_layer": [0], "alpha": [0.5, 1.0]}))
    ('module', 'source_layer', 'target_layer', 'alpha')
    """
    return (*GAIN_DIMS, *(dim for dim in MORE_DIMS if dim in data.dims))


def _values(data: xr.Dataset, dim: str) -> np.ndarray:
    """The values of an axis; none where the data have no such one."""
    return data[dim].values if dim in data.dims else np.array([])


def _axis(data: xr.Dataset, dim: str) -> str:
    texts = [str(value) for value in _values(data, dim)] or ["none"]
    return ", ".join(texts if len(texts) <= 6 else [*texts[:3], "...", texts[-1]])


def _in_words(keys: Sequence[str], first: xr.Dataset, one: xr.Dataset) -> str:
    return "; ".join(f"{key} ({_short(_value(first, key))} and {_short(_value(one, key))})" for key in keys)


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _value(one: xr.Dataset, key: str) -> object:
    """An attribute; of results from before lengths were normalised, that they are not."""
    return one.attrs.get(key, "none" if key == "normalise" else None)


def _same(a: object, b: object) -> bool:
    return a is b or bool(np.array_equal(np.asarray(a, dtype=object), np.asarray(b, dtype=object)))


def _name(one: xr.Dataset) -> str:
    return str(one.attrs.get("model") or "?")
