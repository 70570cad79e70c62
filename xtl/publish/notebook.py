"""`show`: what a sweep found, as a notebook's cell shows it: the maps, vanilla, n and the best cells.

A result is an `xarray.Dataset`, which elsewhere shows itself as a list of arrays. In Jupyter and IPython it shows this view by
itself (`import xtl` registers that); `xtl.show(result)` gives the view anywhere.

>>> import numpy as np, xarray as xr
>>> gain = xr.DataArray(np.eye(3)[None], dims=("module", "source_layer", "target_layer"),
...     coords={"module": ["attn"], "source_layer": range(3), "target_layer": range(3)})
>>> show(xr.Dataset({"gain": gain}, attrs={"model": "my model"}))
my model, ? → ?: n = 1, 9 transplants
attn: best cell 0 → 0, +1.000 nats
"""

from __future__ import annotations

from dataclasses import dataclass, field

import xarray as xr
from markupsafe import Markup

from xtl import plots
from xtl.errors import known_keywords
from xtl.foreign import printable
from xtl.languages import arrow
from xtl.publish.images import data_uri
from xtl.publish.sections import MEASURES, Section, make_sections
from xtl.publish.summary import percent, signed, summary_rows
from xtl.results import Maps, as_results

MOST = 12
"""Directions that a view draws."""


@dataclass(frozen=True)
class View:
    """A view of a sweep's result: HTML in a notebook, lines of text elsewhere.

    Attributes:
        result: the Dataset.
    """

    result: xr.Dataset
    _sections: list[Section] = field(repr=False)

    def __repr__(self) -> str:
        lines = []
        rows = summary_rows(self._sections)
        for index, section in enumerate(self._sections):
            named = printable(", ".join(filter(None, (section.model, section.task, arrow(section.direction)))))
            vanilla = next((row["vanilla"] for row in rows if row["section"] == index), None)
            right = "" if vanilla is None else f", vanilla right {percent(vanilla)}"
            cells = section.maps[next(iter(section.maps))].size
            lines.append(f"{named}: n = {section.n}{right}, {cells:,} transplants")
            for row in (row for row in rows if row["section"] == index and "cell" in row):
                measure = next(iter(section.maps))
                lines.append(
                    printable(f"{row['module']}: best cell {row['cell']}, {_amount(section, measure, row['best'])}")
                )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return str(Markup("").join(_section_html(section) for section in self._sections[:MOST]) + _more(self._sections))


@known_keywords()
def show(result: Maps) -> View:
    """A view of a sweep's result, for a notebook: leave it as the last line of a cell.

    Args:
        result: from `xtl.sweep`, `xtl.sweep_many`, `xtl.concat_maps` or `xtl.open_run`.

    Raises:
        InputError: nothing in it that a map can show.
    """
    result = as_results(result, "result")
    return View(result, make_sections(result))


def _section_html(section: Section) -> Markup:
    measure, maps = next(iter(section.maps.items()))
    limit = plots.symmetric_limit([xr.DataArray(maps)])
    unit = section.unit if measure == "gain" else "share"
    rows = summary_rows([section])
    named = ", ".join(filter(None, (section.name, section.model)))
    cards = []
    for m, row in enumerate(rows):
        values = maps[m]
        scale = max(1, round(190 / max(values.shape)))
        height, width = (scale * n for n in values.shape)
        value = "" if "cell" not in row else _amount(section, measure, row["best"]).removesuffix(f" {section.unit}")
        best = f"best {row['cell']}: {value}" if value else ""
        image = data_uri(values, limit=limit, dark=False, scale=scale)
        cards.append(
            Markup(
                '<td style="padding:0 1.2em 0 0;text-align:left;vertical-align:top;background:none"><b>{}</b><br>'
                '<img src="{}" width="{}" height="{}" alt="map of {}: source layer up, target layer to the right"><br>{}</td>'
            ).format(row["module"], image, width, height, row["module"], best)
        )
    vanilla = rows[0]["vanilla"] if rows else None
    facts = [f"n = {section.n}", f"{maps.size:,} transplants"]
    facts += [] if vanilla is None else [f"vanilla right {percent(vanilla)}"]
    ends = f"from {signed(-limit)} (red) to {signed(limit)} (blue) {unit}"
    words = f"{MEASURES[measure]}, {ends}; source layer up, target layer right"
    return Markup(
        '<div><div>{} <span style="opacity:.75">{}</span></div><table><tr>{}</tr></table><small>{}</small></div>'
    ).format(named or "sweep", "; ".join(facts), Markup("").join(cards), words)


def _amount(section: Section, measure: str, value: float) -> str:
    """A value of a map with its unit."""
    return f"{signed(value)} {section.unit}" if measure == "gain" else f"{signed(100 * value, 0)} points"


def _more(sections: list[Section]) -> Markup:
    left = len(sections) - MOST
    return Markup("<p>... and {} more directions</p>").format(left) if left > 0 else Markup("")
