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

from xtl.errors import InputError


def option_shares(logprobs: Float[np.ndarray, "*cells option"]) -> Float[np.ndarray, "*cells option"]:
    """The model's distribution over the options, from their log-probabilities (nats): their softmax.

    Raises:
        InputError: NaN among them, or no option of a cell has a probability above 0.
    """
    if np.isnan(logprobs).any() or not np.isfinite(logprobs.max(axis=-1)).all():
        raise InputError("logprobs must not be NaN, and at least one option of each cell must be finite")
    shares: Float[np.ndarray, "*cells option"] = softmax(logprobs.astype(np.float64), axis=-1)
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
    people = np.asarray(distribution, dtype=np.float64)
    if people.shape != logprobs.shape[-1:]:
        raise InputError(f"distribution has {people.size} shares for {logprobs.shape[-1]} options; give one for each")
    if not np.isfinite(people).all() or (people < 0).any() or people.sum() == 0:
        raise InputError(f"distribution must be shares of at least 0 that don't add up to 0, got {list(distribution)}")
    with np.errstate(invalid="ignore"):  # rounding can put a divergence of 0 just below it
        distance = np.nan_to_num(jensenshannon(option_shares(logprobs), people, base=2, axis=-1))
    return np.asarray(1 - np.clip(distance, 0, 1))
