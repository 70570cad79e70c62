"""Simulated maps with option log-probabilities whose truth is known: to try a selector, to test one. No model runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from scipy.special import log_softmax

from xtl.errors import InputError, check_number, check_whole, known_keywords
from xtl.results import GAIN_DIMS
from xtl.stats.seeds import generator

Planted = Mapping[tuple[str, int, int], float]


@known_keywords()
def simulate(
    *,
    n_questions: int = 60,
    languages: Sequence[str] = ("es", "sw"),
    n_options: int = 4,
    n_layers: int = 4,
    planted: Planted | None = None,
    knowing: float = 0.0,
    known: float = 0.3,
    n_controls: int = 2,
    seed: int = 0,
) -> tuple[xr.Dataset, list[xr.Dataset]]:
    """A real run and its controls, as `xtl.sweep_many` and `xtl.controls.run` with `details="options,agreement"` would give.

    Every cell's option log-probabilities are vanilla's, half forgotten, and noise of about 1 nat. What is planted is in the real
    run alone; the same cells of a control speak as loudly for a random option.

    Args:
        n_questions: each asked in every language.
        languages: target languages; English lends.
        n_options: of each question.
        n_layers: layers of the one module, `attn`.
        planted: cells (module, source layer, target layer) that speak for the gold option, by so many nats, in every question.
        knowing: nats by which one cell, another one for each question, speaks for the gold option.
        known: how many nats vanilla knows of the gold option.
        n_controls: control runs.
        seed: of everything.

    Raises:
        InputError: a planted cell outside the map, or a number that makes no sense.

    >>> real, controls = simulate(n_questions=20)
    >>> dict(real.sizes), len(controls), controls[1].attrs["seed"]
    ({'example': 40, 'module': 1, 'source_layer': 4, 'target_layer': 4, 'option': 4}, 2, 1)
    """
    n_questions, n_layers = check_whole("n_questions", n_questions, 1), check_whole("n_layers", n_layers, 1)
    n_options, n_controls = check_whole("n_options", n_options, 2), check_whole("n_controls", n_controls, 0)
    knowing, known = check_number("knowing", knowing), check_number("known", known)
    planted = planted or {}
    for module, *layers in planted:
        if module != "attn" or not all(0 <= layer < n_layers for layer in layers):
            raise InputError(f"planted cell {(module, *layers)} lies outside the map: attn, {n_layers} layers")
    rng, n = generator(seed, "simulated options"), n_questions * len(languages)
    gold = np.repeat(rng.integers(0, n_options, n_questions), len(languages))
    vanilla = rng.normal(0, 1, (n, n_options)) + known * np.eye(n_options)[gold]
    source = rng.normal(0, 1, (n, n_options)) + 4.0 * np.eye(n_options)[gold]
    knows = np.repeat(rng.integers(0, n_layers**2, n_questions), len(languages))
    runs: list[xr.Dataset] = []
    for _ in range(1 + n_controls):
        spoken = (
            gold
            if not runs
            else (gold + np.repeat(rng.integers(0, n_options, n_questions), len(languages))) % n_options
        )
        scores = 0.5 * vanilla[:, None] + rng.normal(0, 1, (n, n_layers**2, n_options))
        lifted = np.zeros((n, n_layers**2))
        for (_, i, j), lift in planted.items():
            lifted[:, i * n_layers + j] += lift
        lifted[np.arange(n), knows] += knowing
        scores += lifted[..., None] * np.eye(n_options)[spoken][:, None]
        runs.append(_dataset(scores, vanilla, source, gold, languages, n_layers))
    return runs[0], [one.assign_attrs(control="simulated control", seed=k) for k, one in enumerate(runs[1:])]


def _dataset(
    scores: np.ndarray, vanilla: np.ndarray, source: np.ndarray, gold: np.ndarray, languages: Sequence[str], n_layers: int
) -> xr.Dataset:  # fmt: skip
    n, n_options = vanilla.shape
    cells = log_softmax(scores, axis=-1).reshape(n, 1, n_layers, n_layers, n_options).astype("float32")
    alone, lent = (log_softmax(one, axis=-1).astype("float32") for one in (vanilla, source))
    rows, dims = np.arange(n), ("example", *GAIN_DIMS)
    score, before = cells[rows, ..., gold], alone[rows, gold]
    texts = json.dumps([{"text": f" option {k}"} for k in range(n_options)])
    return xr.Dataset(
        {
            "score": (dims, score), "gain": (dims, score - before[:, None, None, None]),
            "correct": (dims, cells.argmax(-1) == gold[:, None, None, None]),
            "option_logprob": ((*dims, "option"), cells),
            "vanilla_score": ("example", before), "vanilla_correct": ("example", alone.argmax(-1) == gold),
            "vanilla_option_logprob": (("example", "option"), alone),
            "source_score": ("example", lent[rows, gold]), "source_correct": ("example", lent.argmax(-1) == gold),
            "source_option_logprob": (("example", "option"), lent),
        },
        coords={
            "example": [f"simulated/{k}" for k in range(n // len(languages)) for _ in languages], "module": ["attn"],
            "source_layer": range(n_layers), "target_layer": range(n_layers), "option": range(n_options),
            "source_lang": ("example", ["en"] * n), "target_lang": ("example", list(languages) * (n // len(languages))),
            "options": ("example", [texts] * n), "gold": ("example", [f" option {k}" for k in gold]),
        },
        attrs={"model": "simulated", "task": "simulated", "score_unit": "nats"},
    )  # fmt: skip
