"""Wrappers, each around any selector: a gate that leaves vanilla alone where it is sure; maps smoothed over layers; labels from
which chance is taken off.

>>> from xtl.selectors.fixed import Fixed
>>> Corrected(Gate(Fixed())).name
'corrected_gate_fixed'
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from xtl.selectors.base import VANILLA, Choice, Selector, margin
from xtl.selectors.maps import Development, MapView


@dataclass
class Wrapper(Selector):
    """A selector that looks at another one's maps or labels first; its name is its own and the inner one's."""

    inner: Selector
    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        self.name = f"{self.prefix}_{self.inner.name}"
        self.learns = self.inner.learns

    def candidates(self) -> list[Selector]:
        """Its own settings with each of the inner one's."""
        return [replace(one, inner=inner) for one in super().candidates() for inner in self.inner.candidates()]  # type: ignore[type-var]

    def choose(self, maps: MapView) -> Choice:
        """As the inner one."""
        return self.inner.choose(maps)

    def lacks(self, maps: MapView) -> str:
        """What the inner one lacks."""
        return self.inner.lacks(maps)


@dataclass
class Gate(Wrapper):
    """Leaves vanilla alone where its margin is above a threshold, and asks the inner one elsewhere: most cells harm.

    Attributes:
        asked: share of the development instances for which the inner one is asked, those of the smallest margins; this quantile
            is the threshold.
    """

    asked: float = 0.5
    prefix: ClassVar[str] = "gate"
    grid: ClassVar = {"asked": (0.2, 0.4, 0.6, 0.8, 1.0)}

    def fit(self, development: Development) -> None:
        """The threshold, and the inner one."""
        self.threshold = float(np.quantile(margin(development.maps.vanilla), self.asked))
        self.inner.fit(development)

    def choose(self, maps: MapView) -> Choice:
        """Vanilla's answer where its margin is larger, the inner one's elsewhere: only there is its price paid."""
        sure = margin(maps.vanilla) > self.threshold if self.asked < 1 else np.zeros(maps.n, bool)
        other = self.inner.choose(maps)
        cost = np.where(sure, 1.0, other.passes)
        if other.cells is not None:
            return Choice(cost, cells=np.where(sure, VANILLA, other.cells))
        assert other.options is not None
        return Choice(cost, options=np.where(sure, maps.vanilla.argmax(-1), other.options))


@dataclass
class Smoothed(Wrapper):
    """Every log-probability and label is a mean over neighbouring layers: cells that help come in rows, luck is alone.

    Attributes:
        width: of the Gaussian, in layers of the map; what is far out counts for nothing.
    """

    width: float = 1.0
    prefix: ClassVar[str] = "smoothed"
    grid: ClassVar = {"width": (0.7, 1.5)}

    def fit(self, development: Development) -> None:
        """Fit the inner one on smoothed maps and labels."""
        labels = self._smooth(development.labels, development.maps)
        self.inner.fit(replace(development, maps=self._smoothed(development.maps), labels=labels))

    def choose(self, maps: MapView) -> Choice:
        """Let the inner one choose on smoothed maps; a smoothed map takes the whole map."""
        found = self.inner.choose(self._smoothed(maps))
        if found.options is None:
            return found
        whole = Choice.of_scores(maps.vanilla, maps, cells=maps.n_cells, controls=len(maps.controls))
        return replace(found, passes=whole.passes)

    def _smoothed(self, maps: MapView) -> MapView:
        controls = [self._smooth(one, maps) for one in maps.controls]
        stacked = np.stack(controls) if controls else maps.controls
        return replace(maps, logprob=self._smooth(maps.logprob, maps), controls=stacked)

    def _smooth(self, values: Float[np.ndarray, "examples cells ..."], maps: MapView) -> np.ndarray:
        """Along source and target layers, module by module."""
        cube = values.reshape(len(values), *maps.shape, *values.shape[2:])
        for axis in (2, 3):
            cube = gaussian_filter1d(cube, self.width, axis=axis, mode="nearest")
        return cube.reshape(values.shape)


@dataclass
class Corrected(Wrapper):
    """A cell solves an instance only as far as the controls' same cell doesn't: it learns from what the source brought."""

    prefix: ClassVar[str] = "corrected"

    def fit(self, development: Development) -> None:
        """Fit the inner one on real labels times what the controls leave."""
        left = 1 - development.control_correct.mean(0)
        self.inner.fit(replace(development, labels=development.labels * left))

    def lacks(self, maps: MapView) -> str:
        """A control, and what the inner one lacks."""
        return self.inner.lacks(maps) or ("" if len(maps.controls) else "a control to correct labels with")
