"""Simulated sweeps whose truth is known: to calibrate a statistic, to find its power, to try a figure. No model runs.

The gains are made to be as awkward as real ones: neighbouring cells are alike (Gaussian noise, smoothed over layers), some
instances react to everything and some to nothing, tails are heavy, a share of the cells leaves the score as it is (ties at 0),
and right answers come in jumps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, overload

import numpy as np
import xarray as xr

from xtl.errors import InputError, check_choice, check_flag, check_number, check_whole, known_keywords
from xtl.results import GAIN_DIMS
from xtl.stats.seeds import generator

SHAPES = ("heavy", "normal", "skewed", "lopsided")
Planted = Mapping[tuple[str, int, int], float]


@known_keywords()
@overload
def simulate(
    *, n_instances: int = ..., languages: Sequence[str] = ..., modules: Sequence[str] = ..., n_layers: int = ...,
    planted: Planted | None = ..., shape: str = ..., smoothness: float = ..., ties: float = ..., seed: int = ...,
    control: Literal[False] = ...,
) -> xr.Dataset: ...  # fmt: skip
@known_keywords()
@overload
def simulate(
    *, n_instances: int = ..., languages: Sequence[str] = ..., modules: Sequence[str] = ..., n_layers: int = ...,
    planted: Planted | None = ..., shape: str = ..., smoothness: float = ..., ties: float = ..., seed: int = ...,
    control: Literal[True],
) -> tuple[xr.Dataset, xr.Dataset]: ...  # fmt: skip
@known_keywords()
def simulate(
    *,
    n_instances: int = 30,
    languages: Sequence[str] = ("es",),
    modules: Sequence[str] = ("attn", "mlp"),
    n_layers: int = 6,
    planted: Planted | None = None,
    shape: str = "heavy",
    smoothness: float = 1.0,
    ties: float = 0.1,
    seed: int = 0,
    control: bool = False,
) -> xr.Dataset | tuple[xr.Dataset, xr.Dataset]:
    """A sweep from English with no effect but the planted ones: what `xtl.sweep_many` would return.

    Args:
        n_instances: questions, each asked in every language.
        languages: target languages. Half of the variance of an instance's noise is shared by its languages.
        modules, n_layers: the map.
        planted: cells (module, source layer, target layer) and the gain (nats; the noise has a standard deviation of about
            1) that they have in the real run and not in the control.
        shape: of the noise: "heavy" (t with 4 degrees of freedom, symmetric), "normal", "skewed" (mean 0, long tail of
            losses: minus a lognormal), or "lopsided" (the same with median 0: its mean lies below).
        smoothness: how many layers away cells are still alike (standard deviation of the kernel); 0: independent cells.
        ties: share of the places (example, cell) with a gain of exactly 0.
        seed: of everything.
        control: return (real, control) instead of the real run alone; the two are exchangeable but for what is planted.

    Raises:
        InputError: an unknown shape or module, a planted cell outside the map.

    >>> result = simulate(n_instances=10, languages=["es", "sw"], n_layers=4)
    >>> dict(result.sizes), result.attrs["seed"]
    ({'example': 20, 'module': 2, 'source_layer': 4, 'target_layer': 4}, 0)
    """
    check_choice("shape", shape, SHAPES)
    check_flag("control", control)
    n_instances, n_layers = check_whole("n_instances", n_instances, 1), check_whole("n_layers", n_layers, 1)
    smoothness, ties = check_number("smoothness", smoothness, 0), check_number("ties", ties, 0, 1)
    for module, *layers in planted or {}:
        check_choice("module", module, modules)
        if not all(0 <= layer < n_layers for layer in layers):
            raise InputError(f"planted cell {(module, *layers)} lies outside a map of {n_layers} layers")
    rng = generator(seed, "simulation")
    ids = [f"simulated/{k}" for k in range(n_instances) for _ in languages]
    vanilla = rng.normal(-1.4, 1, len(ids))
    coords = {
        "example": ids, "module": list(modules), "source_layer": range(n_layers), "target_layer": range(n_layers),
        "source_lang": ("example", ["en"] * len(ids)), "target_lang": ("example", list(languages) * n_instances),
    }  # fmt: skip
    runs = []
    for name in ("real", "control")[: 1 + control]:
        shared = _noise(rng, n_instances, len(modules), n_layers, smoothness)
        own = _noise(rng, len(ids), len(modules), n_layers, smoothness)
        gain = _shaped(np.sqrt(0.5) * (np.repeat(shared, len(languages), axis=0) + own), shape)
        gain *= np.repeat(rng.choice([0.5, 1.0, 1.5], n_instances), len(languages))[:, None, None, None]
        gain[rng.random(gain.shape) < ties] = 0
        for (module, i, j), lift in (planted or {}).items() if name == "real" else ():
            gain[:, list(modules).index(module), i, j] += lift
        score = vanilla[:, None, None, None] + gain
        threshold = np.log(0.5)
        data = xr.Dataset(
            {
                "score": (("example", *GAIN_DIMS), score.astype("float32")),
                "gain": (("example", *GAIN_DIMS), gain.astype("float32")),
                "correct": (("example", *GAIN_DIMS), score > threshold),
                "vanilla_score": ("example", vanilla.astype("float32")),
                "vanilla_correct": ("example", vanilla > threshold),
            },
            coords=coords,
            attrs={"model": "simulated", "task": "simulated", "score_unit": "nats", "seed": seed},
        )
        runs.append(data if name == "real" else data.assign_attrs(control="simulated control"))
    return (runs[0], runs[1]) if control else runs[0]


def swap_labels(real: xr.Dataset, control: xr.Dataset, *, seed: int = 0) -> tuple[xr.Dataset, xr.Dataset]:
    """Swap real and control in half of the instances, at random: whatever the data, no effect is left between the two.

    Both must hold the same examples in the same order.

    >>> real, control = simulate(n_instances=8, control=True)
    >>> a, b = swap_labels(real, control, seed=1)
    >>> bool((a["gain"] + b["gain"] == real["gain"] + control["gain"]).all())
    True
    """
    ids, instance = np.unique(real["example"].values.astype(str), return_inverse=True)
    if not np.array_equal(real["example"].values, control["example"].values):
        raise InputError("real and control must hold the same examples in the same order")
    swapped = xr.DataArray(generator(seed, "labels").random(len(ids))[instance] < 0.5, dims="example")
    first, second = real.copy(), control.copy()
    for name in ("score", "gain", "correct"):
        if name in real:
            first[name] = real[name].where(~swapped, control[name]).astype(real[name].dtype)
            second[name] = control[name].where(~swapped, real[name]).astype(real[name].dtype)
    return first, second


def _noise(rng: np.random.Generator, n: int, n_modules: int, n_layers: int, smoothness: float) -> np.ndarray:
    """Standard normal noise [n, modules, layers, layers], alike in neighbouring cells."""
    noise = rng.normal(size=(n, n_modules, n_layers, n_layers))
    if smoothness <= 0:
        return noise
    away = np.subtract.outer(np.arange(n_layers), np.arange(n_layers)) / smoothness
    kernel = np.exp(-(away**2) / 2)
    kernel /= np.sqrt((kernel**2).sum(1, keepdims=True))
    return np.einsum("ai,bj,nmij->nmab", kernel, kernel, noise, optimize=True)


def _shaped(noise: np.ndarray, shape: str) -> np.ndarray:
    """Standard normal noise with other tails, mean 0 (lopsided: median 0), variance about 1."""
    if shape == "normal":
        return noise
    if shape == "skewed":
        return (np.exp(0.5) - np.exp(noise)) / np.sqrt(np.exp(2) - np.exp(1))
    if shape == "lopsided":
        return (1 - np.exp(noise)) / np.sqrt(np.exp(2) - np.exp(1))
    from scipy import stats

    return np.asarray(stats.t.ppf(stats.norm.cdf(noise), 4)) / np.sqrt(2)
