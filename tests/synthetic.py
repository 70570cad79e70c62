"""Synthetic sweep results for the tests of figures, analyses and reports: no model runs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr

PLANTED = ("attn", 3, 4)
"""The cell (module, source layer, target layer) that lifts every example by `LIFT` nats more than any other."""
LIFT = 5.0


def synthetic_results(
    directions: Sequence[tuple[str, str]] = (("en", "es"), ("en", "sw")),
    per_direction: int = 4,
    modules: Sequence[str] = ("attn", "mlp"),
    layers: Sequence[int] = (0, 1, 2, 3, 4, 5),
    options: bool = True,
    seed: int = 0,
) -> xr.Dataset:
    """What `xtl.sweep_many` returns, with random gains and, if its layers are there, the planted cell."""
    rng = np.random.default_rng(seed)
    pairs = [(source, target, k) for k in range(per_direction) for source, target in directions]
    sizes = (len(pairs), len(modules), len(layers), len(layers))
    gain = rng.uniform(-1, 1, sizes).astype("float32")
    if PLANTED[0] in modules and PLANTED[1] in layers and PLANTED[2] in layers:
        gain[:, list(modules).index(PLANTED[0]), list(layers).index(PLANTED[1]), list(layers).index(PLANTED[2])] += LIFT
    vanilla = rng.uniform(-6, -3, len(pairs)).astype("float32")
    dims = ("example", "module", "source_layer", "target_layer")
    data = xr.Dataset(
        {
            "score": (dims, vanilla[:, None, None, None] + gain),
            "gain": (dims, gain),
            "vanilla_score": ("example", vanilla),
        },
        coords={
            "example": [f"capitals/{target}-{k}" for _, target, k in pairs],
            "module": list(modules),
            "source_layer": list(layers),
            "target_layer": list(layers),
            "source_lang": ("example", [source for source, _, _ in pairs]),
            "target_lang": ("example", [target for _, target, _ in pairs]),
            "source": ("example", [f"The capital of country {k} is" for _, _, k in pairs]),
            "target": ("example", [f"La capital del país {k} es ({target})" for _, target, k in pairs]),
            "gold": ("example", [f" gold-{target}-{k}" for _, target, k in pairs]),
        },
        attrs={
            "model": "tiny-model", "backend": "transformer_lens", "task": "capitals", "engine": "packed",
            "score": "log-probability of the gold option among the options", "score_unit": "nats",
            "versions": '{"torch": "2.13.0"}',
        },
    )  # fmt: skip
    if options:
        data["correct"] = (dims, rng.random(sizes) < 0.5)
        data["vanilla_correct"] = ("example", rng.random(len(pairs)) < 0.3)
    return data


def control_of(results: xr.Dataset, seed: int = 99) -> xr.Dataset:
    """What `xtl.controls.run` gives for the same examples: random gains, and nothing planted."""
    rng = np.random.default_rng(seed)
    gain = rng.uniform(-1, 1, results["gain"].shape).astype("float32")
    control = results.copy().assign(gain=(results["gain"].dims, gain))
    if "correct" in results:
        control["correct"] = (results["gain"].dims, rng.random(gain.shape) < 0.5)
    return control.assign_attrs(control="shuffled_source", seed=0)


def with_options(results: xr.Dataset, kept: bool = True, seed: int = 0) -> xr.Dataset:
    """The same results of questions with three options each, the gold one second; if kept, with their log-probabilities."""
    rng = np.random.default_rng(seed)
    golds = [str(gold) for gold in results["gold"].values]
    texts = [json.dumps([{"text": text} for text in (" <i>no</i>", gold, " never")]) for gold in golds]
    results = results.assign_coords(options=("example", texts))
    if not kept:
        return results
    cells = rng.dirichlet(np.ones(3), results["gain"].shape)
    vanilla = rng.dirichlet(np.ones(3), results.sizes["example"])
    return results.assign(
        option_logprob=((*results["gain"].dims, "option"), np.log(cells)),
        vanilla_option_logprob=(("example", "option"), np.log(vanilla)),
    )


def single_sweep(**arguments: object) -> xr.Dataset:
    """What `xtl.sweep` returns for one pair: no `example` dim, languages as scalar coords."""
    return synthetic_results(directions=[("en", "es")], per_direction=1, **arguments).isel(example=0)  # type: ignore[arg-type]
