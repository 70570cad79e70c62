"""All selectors by name.

>>> sorted(SELECTORS)[:3]
['calibrated', 'confidence', 'contrast']
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xtl.errors import InputError, check_choice, known_keywords
from xtl.selectors.base import Selector
from xtl.selectors.confidence import Calibrated, Confidence
from xtl.selectors.contrast import Contrast, ContrastPool, VanillaContrast
from xtl.selectors.fixed import Fixed, SourceAnswer, Vanilla
from xtl.selectors.inside import LensConfidence, StateVerifier
from xtl.selectors.learned import Router, Verifier
from xtl.selectors.votes import Pool, Vote, VoteOfBest
from xtl.selectors.wrappers import Corrected, Gate, Smoothed

MAKERS: tuple[Callable[[], Selector], ...] = (
    Confidence, LensConfidence, Calibrated, Contrast, ContrastPool, Vote, VoteOfBest, Pool, Router, Verifier, StateVerifier,
    lambda: Gate(Fixed()), lambda: Gate(Contrast()),
    lambda: Smoothed(Fixed()), lambda: Smoothed(Contrast()), lambda: Smoothed(Confidence()),
    lambda: Corrected(Fixed()), lambda: Corrected(Contrast()), lambda: Corrected(VoteOfBest()), lambda: Corrected(Gate(Fixed())),
)  # fmt: skip
SELECTORS: dict[str, Callable[[], Selector]] = {make().name: make for make in MAKERS}
"""What makes each."""
BASELINES: tuple[Callable[[], Selector], ...] = (Vanilla, SourceAnswer, Fixed, VanillaContrast)
"""What every table begins with."""


@known_keywords()
def get_selectors(selectors: str | Sequence[str | Selector]) -> list[Selector]:
    """Selectors by name, or as they are; "all" for all of ours.

    Raises:
        InputError: an unknown name, or one given twice, or something that is no selector.

    >>> [one.name for one in get_selectors(["vote", "gate_fixed"])]
    ['vote', 'gate_fixed']
    """
    if isinstance(selectors, str):
        selectors = list(SELECTORS) if selectors == "all" else [selectors]
    found = [_made(one) for one in selectors]
    names = [make().name for make in BASELINES] + [one.name for one in found]
    if twice := [name for index, name in enumerate(names) if name in names[:index]]:
        raise InputError(
            f"selectors names {twice[0]!r} twice, or it is among the baselines already: {', '.join(names[:4])}"
        )
    return found


def _made(one: str | Selector) -> Selector:
    if isinstance(one, str):
        return SELECTORS[check_choice("selectors", one, SELECTORS)]()
    if not isinstance(one, Selector) or not one.name:
        raise InputError(f"selectors must be names or xtl.selectors.Selector objects with a name, got {one!r}")
    return one
