"""Sweep results as arrays for statistics: checked, real and control paired, examples of one instance tied together.

Every function of `xtl.stats` begins with `split_groups`. It refuses what would make the numbers wrong: missing cells, real and
control of different instances, too few instances.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from xtl.errors import InputError, Whole, check_choice, check_number, check_whole, shown
from xtl.results import GAIN_DIMS, Maps, real_and_control, with_directions

MEASURES = ("gain", "accuracy")
"""What can be averaged over examples: `gain` (the score's unit) or `accuracy` (the share of right answers, 0 to 1)."""
MIN_INSTANCES = 5
"""Fewer instances than this tell nothing about their own spread: 4 sign flips can't give a p-value below 1/8."""

FRACTION = "fraction right"
"""Unit of scores from 0 to 1: those of generated answers (`xtl.scoring`)."""

KEYS = ("source_lang", "target_lang", "template", "example")


@dataclass(frozen=True)
class Group:
    """Examples that are averaged together, such as those of one direction.

    `real` and `control` hold the same examples in the same order; `clusters` numbers the instance of each from 0.
    """

    name: str
    real: xr.Dataset
    control: xr.Dataset | None
    clusters: Int[np.ndarray, " examples"]

    @property
    def n(self) -> int:
        """Examples."""
        return len(self.clusters)

    @property
    def n_instances(self) -> int:
        """Instances: examples with different ids."""
        return int(self.clusters.max()) + 1

    def values(self, measure: str, condition: str = "real") -> Float[np.ndarray, "examples cells"]:
        """`gain` or `correct` of a condition ("real" or "control"), cells flat in the order module, source, target layer."""
        data = self.real if condition == "real" else self.control
        assert data is not None
        return _flat(data["gain" if measure == "gain" else "correct"])

    def differences(self, measure: str) -> Float[np.ndarray, "examples cells"]:
        """Real minus control where there is a control, else real minus vanilla."""
        if self.control is not None:
            return self.values(measure) - self.values(measure, "control")
        if measure == "gain":
            return self.values("gain")
        return self.values("accuracy") - self.real["vanilla_correct"].values.astype("float64")[:, None]

    def varying(self, measure: str) -> Float[np.ndarray, "examples cells"]:
        """`differences`, of which some cell has any variance; raises `InputError` where none has."""
        differences = self.differences(measure)
        if (differences == differences[:1]).all():
            raise InputError(f"{self.name}: {measure} has no variance, every instance has the same value in every cell")
        return differences

    def bounds(self, measure: str) -> tuple[float, float] | None:
        """Lowest and highest difference that there can be: -1 and 1 of shares and of scores that are fractions; None of nats."""
        fractions = self.real.attrs.get("score_unit") == FRACTION and np.abs(self.differences(measure)).max() <= 1
        return (-1.0, 1.0) if measure == "accuracy" or fractions else None

    def modules(self) -> list[tuple[str, Group]]:
        """Every module on its own, and after them, if there are several, all as one set, named such as "attn+mlp"."""
        names = [str(name) for name in self.real["module"].values]
        parts = [(name, [index]) for index, name in enumerate(names)]
        if len(names) > 1:
            parts.append(("+".join(names), list(range(len(names)))))
        return [(name, self._with_modules(index)) for name, index in parts]

    def _with_modules(self, index: list[int]) -> Group:
        control = None if self.control is None else self.control.isel(module=index)
        return Group(self.name, self.real.isel(module=index), control, self.clusters)


def split_groups(
    real: Maps,
    control: Maps | None = None,
    *,
    by: str | None = "direction",
    measures: Sequence[str] = ("gain",),
    min_instances: int = MIN_INSTANCES,
) -> list[Group]:
    """Check results, pair them with their control, and split them.

    Args:
        real: from `xtl.sweep_many`: a Dataset, or the maps.
        control: from `xtl.controls.run`, of the same target prompts, modules and layers, in any order; None for no control.
        by: a coord of the examples (`direction` is made from the languages), or None for one group named "all".
        measures: what must be there without gaps, from `MEASURES`.
        min_instances: instances that each group must have.

    Raises:
        InputError: an unknown measure or coord; missing or infinite values; examples that can't be told apart; a control
            whose instances, cells, model or vanilla differ, or that is none; too few instances in a group.
    """
    real, control = real_and_control(real, control)
    for measure in measures:
        check_choice("measure", measure, MEASURES)
    real = _checked(real, "real", measures)
    if control is not None:
        control = _paired(real, _checked(control, "control", measures))
    if by is None:
        names = ["all"] * real.sizes["example"]
    else:
        valid = [str(name) for name, values in real.coords.items() if values.dims == ("example",) and name != "example"]
        names = [str(value) for value in real[check_choice("by", by, valid)].values]
    groups = []
    for name in dict.fromkeys(names):
        index = np.flatnonzero(np.array(names, dtype=object) == name)
        part = real.isel(example=index)
        clusters = np.unique(part["example"].values.astype(str), return_inverse=True)[1]
        group = Group(name, part, None if control is None else control.isel(example=index), clusters)
        if group.n_instances < min_instances:
            raise InputError(
                f"{name} has {group.n_instances} instances: fewer than {min_instances} say nothing about chance, "
                "so no intervals and no tests; sweep more"
            )
        groups.append(group)
    return groups


def cluster_sums(
    values: Float[np.ndarray, "examples cells"], clusters: Int[np.ndarray, " examples"]
) -> Float[np.ndarray, "clusters cells"]:
    """Sum of the examples of each instance.

    >>> cluster_sums(np.array([[1.0], [2.0], [4.0]]), np.array([0, 1, 0])).tolist()
    [[5.0], [2.0]]
    """
    if len(clusters) == clusters.max() + 1:  # one example an instance
        return values[np.argsort(clusters)]
    sums = np.zeros((clusters.max() + 1, values.shape[1]))
    np.add.at(sums, clusters, values)
    return sums


def on_map(values: np.ndarray, like: xr.Dataset) -> xr.DataArray:
    """Flat cells (the last axis) as `module, source_layer, target_layer`, labelled as in `like`."""
    shape = tuple(like.sizes[dim] for dim in GAIN_DIMS)
    return xr.DataArray(values.reshape(shape), dims=GAIN_DIMS, coords={dim: like[dim].values for dim in GAIN_DIMS})


def stack(parts: Sequence[xr.Dataset], names: Sequence[str], dim: str) -> xr.Dataset:
    """Results of several groups along a new first dim."""
    index = xr.Variable(dim, list(names))
    joined = xr.concat(parts, dim=dim, join="outer", data_vars="all", coords="different", compat="equals")
    return joined.assign_coords({dim: index}).assign_attrs(parts[0].attrs)


def record(real: xr.Dataset, control: xr.Dataset | None, **settings: object) -> dict[Any, Any]:
    """Attributes of a statistic's result: those of the data, and how the statistic was made.

    What the data already have under a name of `settings` (such as their own seed) is kept as `results_<name>`; the control's
    name and seed are kept as `against` and `control_seed`.

    >>> record(xr.Dataset(attrs={"model": "m", "seed": 5}), None, seed=0)
    {'model': 'm', 'results_seed': 5, 'against': 'vanilla', 'seed': 0}
    """
    kept = {f"results_{name}" if name in settings else str(name): value for name, value in real.attrs.items()}
    kept["against"] = "vanilla" if control is None else str(control.attrs.get("control", "control"))
    if control is not None and "seed" in control.attrs:
        kept["control_seed"] = control.attrs["seed"]
    return kept | settings


def check_confidence(confidence: float, argument: str = "confidence") -> float:
    """A confidence level (or, by its name, another share) between 0 and 1.

    Raises:
        InputError: anything else, such as 95.
    """
    try:
        number = check_number(argument, confidence)
    except InputError:
        number = 0
    if not 0 < number < 1:
        raise InputError(f"{argument} must be a number between 0 and 1, such as 0.95; got {shown(confidence)}")
    return number


def check_resamples(n_resamples: Whole, least: int = 100, argument: str = "n_resamples") -> int:
    """A number of resamples (or splits, simulated maps) that is large enough to be used.

    Raises:
        InputError: fewer than `least`.
    """
    return check_whole(argument, n_resamples, least)


def _checked(results: xr.Dataset, name: str, measures: Sequence[str]) -> xr.Dataset:
    """Results with the dims in order, no gap in what is needed, and examples that can be told apart."""

    results = with_directions(results)
    needed = ["gain"] if "gain" in measures else []
    needed += ["correct", "vanilla_correct"] if "accuracy" in measures else []
    for variable in needed:
        if variable not in results:
            raise InputError(
                f"{name} has no '{variable}', which accuracy needs: sweep pairs with options, or scored by a task"
            )
        values = results[variable]
        finite = np.isfinite(values.values.astype("float64"))
        if not finite.all():
            where = np.argwhere(~finite)
            ids = dict.fromkeys(str(results["example"].values[place[0]]) for place in where)
            raise InputError(
                f"{name}: {variable} is missing in {len(where)} of {finite.size} places, in {_some(ids)}: sweep these again, "
                "or drop them; means over unequal sets of instances can't be compared"
            )
    keys = _keys(results, KEYS)
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise InputError(
            f"{name} holds the same example twice: {_some(' '.join(map(str, key)) for key in twice)}; "
            "templates of one instance need a coord 'template'"
        )
    return results


def _paired(real: xr.Dataset, control: xr.Dataset) -> xr.Dataset:
    """The control's examples in the order of the real ones."""
    for dim in GAIN_DIMS:
        if not np.array_equal(real[dim].values, control[dim].values):
            raise InputError(
                f"real and control must have the same cells; {dim} is {_some(real[dim].values)} in real "
                f"and {_some(control[dim].values)} in control"
            )
    names: Sequence[str] = KEYS
    if set(_keys(real, names)) != set(_keys(control, names)):
        without = KEYS[1:]  # a control may read another language; it writes into the same prompts
        if len(set(_keys(real, without))) == real.sizes["example"] == len(set(_keys(control, without))):
            names = without
    ours, theirs = _keys(real, names), _keys(control, names)
    gone, extra = (list(dict.fromkeys(b for b in left if b not in set(right))) for left, right in
                   ((ours, theirs), (theirs, ours)))  # fmt: skip
    if gone or extra:
        parts = [f"{what} {_some(' '.join(map(str, key)) for key in keys)}" for what, keys in
                 (("control lacks", gone), ("real lacks", extra)) if keys]  # fmt: skip
        raise InputError(f"real and control must hold the same instances: {'; '.join(parts)}")
    place = {key: index for index, key in enumerate(theirs)}
    control = control.isel(example=[place[key] for key in ours])
    for name in ("vanilla_score", "vanilla_correct"):
        if name in real and name in control:
            ours_value, theirs_value = (data[name].values.astype("float64") for data in (real, control))
            same = np.isclose(ours_value, theirs_value, rtol=0.01, atol=0.01, equal_nan=True)
            if not same.all():
                ids = (str(value) for value in real["example"].values[~same])
                raise InputError(f"real and control differ in {name}, so in model or target prompt: {_some(ids)}")
    return control


def _keys(results: xr.Dataset, names: Sequence[str]) -> list[tuple[Hashable, ...]]:
    columns = [results[name].values.tolist() for name in names if name in results.coords]
    columns = [column if isinstance(column, list) else [column] * results.sizes["example"] for column in columns]
    return list(zip(*columns, strict=True)) if columns else [(k,) for k in range(results.sizes["example"])]


def _some(items: object, most: int = 4) -> str:
    """The first few, and how many more there are."""
    texts = [str(item) for item in items]  # type: ignore[attr-defined]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def _flat(values: xr.DataArray) -> Float[np.ndarray, "examples cells"]:
    return values.transpose("example", *GAIN_DIMS).values.astype("float64").reshape(values.sizes["example"], -1)
