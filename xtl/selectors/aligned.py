"""Source layers chosen before any label: where two languages' representations are most alike and still told apart.

After the finding that cross-lingual transfer works best in layers that are high in both (arXiv 2605.23036). The curves are
those of `xtl analyse alignment` and `xtl analyse linear_probes`, taken on other questions or on the same: no answer is in them.

>>> import xarray as xr
>>> curve = xr.Dataset({"retrieval": (("direction", "module", "layer"), [[[0.1, 0.9, 0.2, 0.8]]])},
...                    {"direction": ["en->es"], "module": ["attn"], "layer": [0, 1, 2, 3]})
>>> aligned_layers(curve, count=2)
(1, 3)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from xtl.errors import InputError, check_choice, check_whole
from xtl.selectors.base import Choice, Selector
from xtl.selectors.contrast import contrasts
from xtl.selectors.maps import MapView
from xtl.selectors.votes import ballots


def aligned_layers(
    alignment: xr.Dataset, probes: xr.Dataset | None = None, *, module: str = "attn", count: int = 3
) -> tuple[int, ...]:
    """The layers with the largest product of alignment and language separability, in order of depth.

    Args:
        alignment: of `analyses.alignment`: `retrieval` (direction, module, layer); the mean over directions counts.
        probes: of `analyses.linear_probes`: `accuracy` of the label "language"; None goes by alignment alone.
        module: whose curves.
        count: how many layers, where there are so many.

    Raises:
        InputError: other data, or a module that they don't have.
    """
    if "retrieval" not in alignment or (probes is not None and "accuracy" not in probes):
        raise InputError("alignment must be the data of `xtl analyse alignment`, probes of `xtl analyse linear_probes`")
    check_choice("module", module, map(str, alignment["module"].values))
    product = alignment["retrieval"].mean("direction").sel(module=module)
    if probes is not None:
        product = product * probes["accuracy"].sel(label="language", module=module)
    layers = np.argsort(-product.values, kind="stable")[: check_whole("count", count, 1)]
    return tuple(sorted(int(layer) for layer in product["layer"].values[layers]))


@dataclass
class AlignedLayers(Selector):
    """All cells whose source layer was chosen beforehand: their mean contrast with the controls, or without one their majority.

    Attributes:
        layers: the source layers (`aligned_layers`).
    """

    layers: tuple[int, ...]
    name = "aligned_layers"
    learns = False

    def choose(self, maps: MapView) -> Choice:
        """The option that these cells speak for."""
        cells = np.flatnonzero(np.isin(maps.source_layers, self.layers))
        votes = ballots(maps.logprob[:, cells], maps.vanilla)
        scores = contrasts(maps, cells).mean(1) if len(maps.controls) else votes
        return Choice.of_scores(scores, maps, cells=len(cells), controls=len(maps.controls))

    def lacks(self, maps: MapView) -> str:
        """Cells that read one of its layers."""
        found = np.isin(maps.source_layers, self.layers).any()
        return "" if found else f"cells of source layers {', '.join(map(str, self.layers))}"

    def settings(self) -> str:
        """Its layers."""
        return f"layers={','.join(map(str, self.layers))}"
