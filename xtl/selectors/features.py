"""What can be known of a question, or of a cell, without its answer; the same for any order of the options."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from xtl.selectors.base import entropy, margin
from xtl.selectors.maps import MapView

LOWEST = -20.0
"""Log-probabilities below this tell nothing more."""


def of_questions(maps: MapView, languages: list[str]) -> Float[np.ndarray, "examples features"]:
    """Of each example: vanilla's log-probabilities in order of size, margin and entropy; the source prompt's; language; features.

    Which option the source prefers is not among them: to take it over is to ask in the source language.

    Args:
        maps: what is seen.
        languages: those that have a column each; others have none.
    """
    sides = [maps.vanilla] if maps.source is None else [maps.vanilla, maps.source]
    columns = [own for side in sides for own in _of_logprob(side)]
    columns += [(maps.languages == name).astype("float64")[:, None] for name in languages]
    return np.concatenate(columns + ([] if maps.features is None else [maps.features]), axis=1)


def _of_logprob(logprob: Float[np.ndarray, "examples options"]) -> list[np.ndarray]:
    ordered = -np.sort(-np.maximum(logprob, LOWEST), axis=-1)
    return [ordered, margin(ordered)[:, None], entropy(logprob)[:, None]]


def of_cells(maps: MapView, accuracy: Float[np.ndarray, " cells"]) -> Float[np.ndarray, "examples cells features"]:
    """Of each cell of each example: how sure it is, what others think of its answer, how often it was right before.

    Args:
        maps: what is seen.
        accuracy: of each cell on development instances.
    """
    logprob, first = np.maximum(maps.logprob, LOWEST), maps.logprob.argmax(-1)
    votes = (first[..., None] == np.arange(logprob.shape[-1])).mean(1)
    columns = [
        logprob.max(-1), margin(logprob), entropy(maps.logprob),
        np.broadcast_to(margin(np.maximum(maps.vanilla, LOWEST))[:, None], first.shape),
        np.take_along_axis(np.maximum(maps.vanilla, LOWEST), first, 1), first == maps.vanilla.argmax(-1)[:, None],
        np.take_along_axis(votes, first, 1), np.broadcast_to(accuracy, first.shape),
    ]  # fmt: skip
    if len(maps.controls):
        contrast = logprob - np.maximum(maps.controls, LOWEST).mean(0)
        columns.append(np.take_along_axis(contrast, first[..., None], -1)[..., 0])
    return np.stack(columns, axis=-1).astype("float64")


def standard(
    features: Float[np.ndarray, "... features"],
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, " features"]]:
    """Mean and standard deviation of each feature; 1 where nothing varies."""
    flat = features.reshape(-1, features.shape[-1])
    spread = flat.std(0)
    return flat.mean(0), np.where(spread > 1e-9, spread, 1.0)
