"""What the vanilla run holds of a question, as features for the router: its residual stream, the source's, and their cosine.

The router of W2S (arXiv 2604.03867) reads the model's own state, not only what it says. A run doesn't keep that by question; it
is one pass over each target prompt and one over each source prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from xtl.backend import Model
from xtl.errors import check_layer, check_whole, known_keywords
from xtl.hooks import get_modules
from xtl.pairs import ParallelPair, Prompt, check_pairs
from xtl.tokens import check_fits, encode
from xtl.transplants import read_activations


@known_keywords()
def question_features(
    model: Model,
    pairs: Iterable[ParallelPair],
    *,
    layer: int,
    module: str = "resid",
    components: int = 16,
) -> xr.DataArray:
    """Principal components of a middle layer's activations at the last positions, and their cosine.

    Args:
        model: that of the run.
        pairs: those of the run, in the order of its examples.
        layer: which is read; a negative one counts from the end.
        module: what is read: a name of `xtl.hooks.MODULES`.
        components: principal components of the target prompts' and of the source prompts' activations; no answer is in them.

    Returns:
        (example, feature): `features` of `xtl.selectors.evaluate`.

    Raises:
        InputError: an unknown module, or a layer out of range.

    Example:
        >>> import xtl
        >>> pairs = xtl.get_task("capitals").pairs("en", "es", limit=40)
        >>> features = question_features(xtl.load_model(), pairs, layer=9)  # doctest: +SKIP
    """
    pairs = list(check_pairs(pairs))
    layer = check_layer("layer", layer, int(model.cfg.n_layers))
    components = check_whole("components", components, 1)
    kept: dict[str, np.ndarray] = {}
    sides = [
        _read(model, [getattr(pair, side) for pair in pairs], module, layer, kept) for side in ("target", "source")
    ]
    lengths = np.linalg.norm(sides[0], axis=1) * np.linalg.norm(sides[1], axis=1)
    cosine = (sides[0] * sides[1]).sum(1) / np.maximum(lengths, 1e-12)
    columns = [*(_principal(side, components) for side in sides), cosine[:, None]]
    return xr.DataArray(np.concatenate(columns, axis=1), dims=("example", "feature"))


def _read(
    model: Model, prompts: Sequence[Prompt], module: str, layer: int, kept: dict[str, np.ndarray]
) -> Float[np.ndarray, "example d_model"]:
    """Activations at the last position; each prompt is run once."""
    (asked,) = get_modules([module])
    for prompt in prompts:
        if repr(prompt) not in kept:
            ids = encode(model, prompt)
            check_fits(model, "prompt", len(ids))
            found = read_activations(model, ids, [asked], [layer])[asked.name, layer]
            kept[repr(prompt)] = found.float().cpu().numpy().astype("float64")
    return np.stack([kept[repr(prompt)] for prompt in prompts])


def _principal(values: Float[np.ndarray, "example d_model"], components: int) -> Float[np.ndarray, "example component"]:
    """The first principal components; as many as there are.

    >>> _principal(np.array([[0.0, 0.0], [3.0, 4.0]]), 5).round(1).tolist()
    [[2.5, 0.0], [-2.5, 0.0]]
    """
    left, size, _ = np.linalg.svd(values - values.mean(0), full_matrices=False)
    found = left[:, :components] * size[:components]
    largest = found[np.abs(found).argmax(0), np.arange(found.shape[1])]
    return found * np.where(largest < 0, -1.0, 1.0)  # a component's sign is nobody's
