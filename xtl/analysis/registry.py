"""Which analyses there are: what installed packages offer under the entry-point group `xtl.analyses`, ours among it.

A package's `pyproject.toml` offers one so, as the module that holds it as `ANALYSIS`, or as the object itself:

    [project.entry-points."xtl.analyses"]
    spread = "my_package.spread"

>>> find_analyses()["gain_maps"].package
'xtl-interp'
>>> get_analysis("gain_maps").needs
'run'
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions

from xtl.analysis.base import Analysis
from xtl.errors import InputError, check_choice, known_keywords
from xtl.packages import DISTRIBUTION

GROUP = "xtl.analyses"
"""The entry-point group."""


@dataclass(frozen=True)
class Offer:
    """An analysis that an installed package offers; nothing of it is imported before it is loaded.

    Attributes:
        package: the distribution's name.
        entry: its entry point.
    """

    package: str
    entry: EntryPoint

    def __str__(self) -> str:
        return f"{self.package} ({self.entry.value})"

    def load(self) -> Analysis:
        """Import it.

        Raises:
            InputError: an import that fails, something else than an `Analysis`, or one of another name.
        """
        name = self.entry.name
        try:
            found = self.entry.load()
        except (Exception, SystemExit) as error:
            why = f"{type(error).__name__}: {error}"
            raise InputError(f"analysis {name!r} of the package {self} can't be imported: {why}") from error
        found = getattr(found, "ANALYSIS", found)
        if not isinstance(found, Analysis):
            what = f"is a {type(found).__name__}, no xtl.analysis.Analysis, and has no ANALYSIS"
            raise InputError(f"analysis {name!r} of the package {self} {what}")
        if found.name != name:
            raise InputError(f"analysis {name!r} of the package {self} calls itself {found.name!r}: the two must agree")
        return found


def find_analyses() -> dict[str, Offer]:
    """What installed packages offer, by name: ours first, then by name; nothing is imported.

    A name that two packages offer, and a package whose entry points can't be read, are left out with a warning.
    """
    offers = _offers()
    for name, several in offers.items():
        if len(several) > 1:
            warnings.warn(_twice(name, several), stacklevel=2)
    return {name: several[0] for name, several in offers.items() if len(several) == 1}


@known_keywords()
def get_analysis(name: str) -> Analysis:
    """The analysis of that name.

    Raises:
        InputError: an unknown name (the message lists those there are), one that two packages offer, or one that can't be loaded.
    """
    offers = _offers()
    if not offers:
        raise InputError(f"no analysis is installed: `pip install` {DISTRIBUTION} again, which brings its own")
    several = offers[check_choice("analysis", name, offers)]
    if len(several) > 1:
        raise InputError(_twice(name, several))
    return several[0].load()


def _offers() -> dict[str, list[Offer]]:
    """All offers by name; of a package that lies on the path twice (a checkout, its install) the first one's, as in imports."""
    found: dict[tuple[str, str], Offer] = {}
    for distribution in distributions():
        for entry in _entries(distribution):
            offer = Offer(_name_of(distribution, entry), entry)
            found.setdefault((offer.package, entry.name), offer)
    ordered = sorted(found.values(), key=lambda offer: (offer.package != DISTRIBUTION, offer.entry.name, offer.package))
    named: dict[str, list[Offer]] = {}
    for offer in ordered:
        named.setdefault(offer.entry.name, []).append(offer)
    return named


def _entries(distribution: Distribution) -> Iterator[EntryPoint]:
    try:
        yield from distribution.entry_points.select(group=GROUP)
    except Exception as error:  # somebody else's file
        place = getattr(distribution, "_path", "an installed package")
        warnings.warn(f"the entry points of {place} can't be read ({type(error).__name__}: {error})", stacklevel=5)


def _name_of(distribution: Distribution, entry: EntryPoint) -> str:
    """The distribution's name; that of the module's package where its metadata are damaged."""
    metadata = distribution.metadata
    return metadata["Name"] if "Name" in metadata else entry.value.partition(".")[0]


def _twice(name: str, several: list[Offer]) -> str:
    return f"analysis {name!r} is offered by {' and by '.join(map(str, several))}: uninstall one, or rename yours"
