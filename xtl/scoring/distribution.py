"""How near a model's choice among options is to what people chose: 1 - Jensen-Shannon distance.

The measure of GlobalOpinionQA (Durmus et al. 2023, arXiv 2306.16388). The model's distribution over the options is its
probabilities of them, made to add up to 1; the distance is the square root of the Jensen-Shannon divergence with logarithms to
base 2, so that similarity is 1 for the same distribution and 0 for two that share no option. It needs log-probabilities, no
generated text, and takes a whole map at once.

>>> logprobs = np.log([[0.5, 0.5], [0.9, 0.1]]) - 3  # two cells; unnormalised, as the model gives them
>>> similarity(logprobs, [0.5, 0.5]).round(2).tolist()
[1.0, 0.62]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from xtl.errors import InputError, shown


def option_shares(logprobs: Float[np.ndarray, "*cells option"]) -> Float[np.ndarray, "*cells option"]:
    """The model's distribution over the options, from their log-probabilities (nats): their softmax.

    Raises:
        InputError: NaN among them, or no option of a cell has a probability above 0.
    """
    logprobs = _numbers("logprobs", logprobs)
    if np.isnan(logprobs).any() or not np.isfinite(logprobs.max(axis=-1)).all():
        raise InputError("logprobs must not be NaN, and at least one option of each cell must be finite")
    shares: Float[np.ndarray, "*cells option"] = softmax(logprobs, axis=-1)
    return shares


def similarity(
    logprobs: Float[np.ndarray, "*cells option"], distribution: Sequence[float]
) -> Float[np.ndarray, "*cells"]:
    """1 - Jensen-Shannon distance (base 2) between the model's distribution of each cell and people's; 0 to 1.

    Args:
        logprobs: log-probability of each option, in nats; any number of leading dimensions. Need not be normalised.
        distribution: for each option the share of people who chose it (`ParallelPair.distribution`).

    Raises:
        InputError: another number of shares than options; negative shares, or none above 0; NaN.
    """
    people, logprobs = _numbers("distribution", distribution), _numbers("logprobs", logprobs)
    if people.shape != logprobs.shape[-1:]:
        raise InputError(f"distribution has {people.size} shares for {logprobs.shape[-1]} options; give one for each")
    if not np.isfinite(people).all() or (people < 0).any() or people.sum() == 0:
        raise InputError(f"distribution must be shares of at least 0 that don't add up to 0, got {list(distribution)}")
    with np.errstate(invalid="ignore"):  # rounding can put a divergence of 0 just below it
        distance = np.nan_to_num(jensenshannon(option_shares(logprobs), people, base=2, axis=-1))
    return np.asarray(1 - np.clip(distance, 0, 1))


def _numbers(argument: str, values: object) -> Float[np.ndarray, "*cells option"]:
    """A list or an array of numbers as an array. Raises `InputError` for texts, flags, None among them, or a lone number."""
    try:
        found = np.asarray(values)
    except ValueError as error:  # lists of several lengths
        raise InputError(f"{argument} must be numbers, got {shown(values)}") from error
    flags = isinstance(values, (list, tuple)) and any(isinstance(value, bool) for value in values)
    if found.dtype.kind not in "fiu" or found.ndim == 0 or flags:
        raise InputError(f"{argument} must be a list or an array of numbers, got {shown(values)}")
    return found.astype(np.float64)
