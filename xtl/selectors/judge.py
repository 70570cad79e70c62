"""Judging so that nobody can fool himself: questions halved at random, settings chosen inside a half, measured on the other.

All languages of a question are on one side. Where a selector has settings, they are chosen by folds inside the half that it
learns on. `apart` holds groups of examples (languages, tasks) apart as well: what is learned on some is measured on others.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from xtl.errors import InputError, shown
from xtl.selectors.base import VANILLA, Choice, Selector
from xtl.selectors.maps import Development
from xtl.stats.seeds import generator

FOLDS = 3
"""Folds in which settings are chosen."""


@dataclass(frozen=True)
class Outcomes:
    """What a selector had on instances that it was not fitted on.

    Attributes:
        right: whether each example was answered rightly, by the fit of each half; 0 where it was not measured.
        gain: log-probability of the gold option less vanilla's; NaN where an answer was chosen, not a cell.
        passes: forward passes a question.
        settings: how often each setting was chosen.
    """

    right: Float[np.ndarray, "fits examples"]
    gain: Float[np.ndarray, "fits examples"]
    passes: float
    settings: Counter[str]


def judge(
    selector: Selector, learn: Development, measure: Development, halves: Bool[np.ndarray, "splits questions"], *,
    apart: Int[np.ndarray, "splits examples"] | None = None, seed: int = 0,
) -> Outcomes:  # fmt: skip
    """Fit on each half of each split, measure on the other; first all first halves, then all second ones.

    Args:
        selector: fitted as a copy, each time anew.
        learn, measure: the same examples; `measure` differs from `learn` where a null is judged.
        halves: from `xtl.stats.selection.split_halves`.
        apart: the part (0 or 1) that each example is in, split by split: fitted on one, measured on the other.
        seed: of the folds.
    """
    inside = np.concatenate([halves, ~halves])[:, learn.maps.questions]
    right, gain, paid = np.zeros(inside.shape), np.zeros(inside.shape), np.zeros(inside.shape)
    settings: Counter[str] = Counter()
    for row, half in enumerate(inside):
        for train, test in _sides(half, None if apart is None else apart[row % len(halves)]):
            fitted = tuned(selector, learn.take(train), seed)
            choice = fitted.choose(measure.maps.take(test))
            right[row, test], gain[row, test] = rate(choice, measure.take(test))
            paid[row, test] = choice.passes
            settings[fitted.settings()] += 1
    return Outcomes(right, gain, float(paid.sum() / (~inside).sum()), settings)


def _sides(half: np.ndarray, part: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places to learn on and to measure on."""
    for one in [None] if part is None else [0, 1]:
        learned = half if one is None else half & (part == one)
        measured = ~half if one is None else ~half & (part != one)
        yield np.flatnonzero(learned), np.flatnonzero(measured)


def tuned(selector: Selector, development: Development, seed: int) -> Selector:
    """The candidate that is right most often on folds of the development questions, fitted on all of them."""
    candidates = selector.candidates()
    if len(candidates) > 1:
        folds = split_folds(development, seed)
        scores = [_score(one, folds) for one in candidates]
        candidates = [candidates[int(np.argmax(np.round(scores, 9)))]]
    return fitted(candidates[0], development)


def fitted(selector: Selector, development: Development) -> Selector:
    """A copy, fitted."""
    one = copy.deepcopy(selector)
    one.fit(development)
    return one


def split_folds(development: Development, seed: int) -> list[tuple[Development, Development]]:
    """What to learn on and what to measure on, fold by fold: a question's examples share one."""
    names, places = np.unique(development.maps.questions, return_inverse=True)
    fold = (generator(seed, "folds").permutation(len(names)) % FOLDS)[places]
    sides = [(np.flatnonzero(fold != one), np.flatnonzero(fold == one)) for one in range(FOLDS)]
    return [(development.take(learned), development.take(measured)) for learned, measured in sides]


def _score(selector: Selector, folds: list[tuple[Development, Development]]) -> float:
    """Right answers on folds that the selector was not fitted on."""
    return float(sum(rate(fitted(selector, learned).choose(test.maps), test)[0].sum() for learned, test in folds))


def rate(choice: Choice, truth: Development) -> tuple[np.ndarray, np.ndarray]:
    """Right answers, and gains in nats, of a choice.

    Raises:
        InputError: no `Choice`; one of neither cells nor options, or of both, or of some that are not there.
    """
    if not isinstance(choice, Choice):
        raise InputError(f"choose must give an xtl.selectors.Choice, got {shown(choice)}")
    if (choice.cells is None) == (choice.options is None):
        gave = "neither" if choice.cells is None else "both"
        raise InputError(f"choose must give cells or options for every example; it gave {gave}")
    if not np.isfinite(choice.passes).all():
        raise InputError("choose gave a number of passes that is NaN or infinite")
    rows, nothing = np.arange(truth.maps.n), np.full(truth.maps.n, np.nan)
    if choice.options is not None:
        _check("options", choice.options, truth.maps.n, 0, truth.maps.logprob.shape[-1])
        return (choice.options == truth.gold).astype(float), nothing
    assert choice.cells is not None
    _check("cells", choice.cells, truth.maps.n, VANILLA, truth.maps.n_cells)
    alone = choice.cells == VANILLA
    right = np.where(alone, truth.vanilla_correct, truth.labels[rows, choice.cells])
    return right, np.where(alone, 0.0, truth.gains[rows, choice.cells])


def _check(name: str, values: np.ndarray, n: int, low: int, end: int) -> None:
    values = np.asarray(values)
    if values.shape != (n,) or values.min() < low or values.max() >= end:
        raise InputError(f"choose gave {name} of the shape {values.shape}; it must give {n} from {low} to {end - 1}")
    if values.dtype.kind not in "iu":
        raise InputError(f"choose gave {name} as {values.dtype}; it must give whole numbers")


def permuted_gold(development: Development, seed: int) -> Int[np.ndarray, " examples"]:
    """Gold options of other questions, the same ones in all languages: nothing of a question's own is left to learn.

    A question with fewer options than the other's place counts on from its first.
    """
    maps = development.maps
    names, places = np.unique(maps.questions, return_inverse=True)
    key, found = generator(seed, "permuted golds").permutation(len(names))[places], development.gold.copy()
    for language in np.unique(maps.languages):
        own = np.flatnonzero(maps.languages == language)
        found[own[np.argsort(places[own], kind="stable")]] = development.gold[own[np.argsort(key[own], kind="stable")]]
    return found % maps.valid.sum(1)
