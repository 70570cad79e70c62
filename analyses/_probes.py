"""Linear probes: folds of whole instances, control tasks, and what a probe says of samples that it was not trained on."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Bool, Float, Int

from xtl.stats.seeds import generator


def folds_by_instance(y: np.ndarray, clusters: Int[np.ndarray, " sample"], n_folds: int, seed: int) -> np.ndarray:
    """The fold of each sample: whole instances, classes spread as evenly as they allow."""
    from sklearn.model_selection import StratifiedGroupKFold

    fold = np.zeros(len(y), dtype=int)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splitter.split(np.zeros((len(y), 1)), y, clusters)):
        fold[test] = number
    return fold


def control_labels(y: np.ndarray, clusters: Int[np.ndarray, " sample"], varies: bool, seed: int) -> np.ndarray:
    """The same labels dealt out at random: to whole instances, or within them where the label varies there."""
    rng = generator(seed, "control task")
    mixed = y.copy()
    if varies:
        for cluster in range(clusters.max() + 1):
            own = np.flatnonzero(clusters == cluster)
            mixed[own] = y[rng.permutation(own)]
        return mixed
    of_instance = np.array([y[clusters == cluster][0] for cluster in range(clusters.max() + 1)])
    return np.asarray(rng.permutation(of_instance)[clusters])


def cross_validated(
    x: Float[np.ndarray, "sample feature"],
    y: np.ndarray,
    fold: Int[np.ndarray, " sample"],
    strength: float,
    trained_on: Bool[np.ndarray, " sample"] | None = None,
) -> np.ndarray:
    """What a probe says of each sample that was trained on the other folds (and only on the samples `trained_on`)."""
    from sklearn import config_context
    from sklearn.linear_model import LogisticRegression

    said = y.copy()
    for number in np.unique(fold):
        test = fold == number
        train = ~test if trained_on is None else ~test & trained_on
        if len(set(y[train])) < 2:
            said[test] = y[train][0] if train.any() else ""
            continue
        mean, spread = x[train].mean(0), x[train].std(0)
        scaled = (x - mean) / np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, 1.0)
        if (
            x.shape[1] > train.sum()
        ):  # the penalty knows no rotation: what lies outside the training rows' span has no weight
            scaled = scaled @ np.linalg.qr(scaled[train].T)[0]
        with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
            warnings.simplefilter("ignore")  # a probe that hasn't quite converged is a probe
            found = LogisticRegression(C=strength / x.shape[1], max_iter=300, tol=1e-3).fit(scaled[train], y[train])
            said[test] = found.predict(scaled[test])
    return said
