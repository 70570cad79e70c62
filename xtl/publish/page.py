"""Write sweep results as one self-contained HTML page: a summary, maps to click on, and what the model said in each cell.

The page needs no network and no library: maps are images of one pixel a cell, instances are packed into it
(`xtl.publish.pack`), and a content security policy lets only its own script run and forbids it to load anything. All text from
the data (prompts, answers, model, task, languages) is escaped, or reaches the page as text nodes. Template, style and script are
beside this file.

>>> import tempfile, numpy as np, xarray as xr
>>> gain = xr.DataArray(np.zeros((1, 2, 2)), dims=("module", "source_layer", "target_layer"),
...     coords={"module": ["attn"], "source_layer": [0, 1], "target_layer": [0, 1]})
>>> with tempfile.TemporaryDirectory() as folder:
...     path = write_report(f"{folder}/report.html", xr.Dataset({"gain": gain}))
...     "<h1>" in path.read_text(encoding="utf-8")
True
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import xarray as xr
from markupsafe import Markup

from xtl.errors import InputError, check_whole, known_keywords
from xtl.files import write_whole
from xtl.publish.cards import colour_bars, limits_of, make_blocks
from xtl.publish.images import gradient
from xtl.publish.sections import MEASURES, Section, instances, make_sections, overview
from xtl.publish.summary import in_words, percent, section_words, signed, summary_rows
from xtl.publish.verdict import verdict
from xtl.results import Maps, as_parts, score_unit
from xtl.stats.intervals import MIN_FOR_MEAN

HERE = Path(__file__).parent
SCRIPTS = ("report_maps.js", "report_panel.js", "report_start.js")
MAX_BYTES = 5_500_000
"""A page keeps as many instances as fit into this."""
CONTROL = "shuffled_source"
"""The control that a page without one asks for."""
IN_PYTHON = (
    f'control = xtl.concat_maps(xtl.controls.run(model, pairs, "{CONTROL}"))',
    'xtl.publish.write_report("report.html", results, control=control)',
)
"""How a control is run where no command is known that made the results."""


@known_keywords()
def write_report(
    path: str | os.PathLike[str],
    results: Maps,
    *,
    title: str | None = None,
    command: str | Sequence[str] | None = None,
    notes: Sequence[str] = (),
    max_bytes: int = MAX_BYTES,
    control: Maps | None = None,
    to_control: Sequence[str] = IN_PYTHON,
) -> Path:
    """Write the report of results; an older file of that name is replaced whole, or left as it was if anything fails.

    Args:
        path: the HTML file to write; missing folders are made.
        results: from `xtl.sweep`, `xtl.sweep_many` or `xtl.open_run`; several Datasets may have other modules, layers or scores.
        title: heading of the page; by default made from tasks and models.
        command: the command that made the results, to be shown under Details.
        notes: what a reader must know first, such as that a run is unfinished.
        max_bytes: instances are left out where the page would be larger; it says how many. Maps are of all of them all the same.
        control: results of the same examples and cells with a control in place of the source, from `xtl.controls.run` or
            `xtl.open_run`: beside each map stands real minus control, with the cells muted that may be chance.
        to_control: without `control`, the commands that the page gives for running one.

    Returns:
        The path that was written.

    Raises:
        InputError: results with nothing to show (see `xtl.plots.with_directions`), a control that is none of theirs, or a path
            that cannot be written.
    """
    page = render(
        results, title=title, command=command, notes=notes, max_bytes=max_bytes, control=control, to_control=to_control
    )
    target = Path(path)
    if target.is_dir():
        raise InputError(f"path {str(path)!r} is a folder; give the name of an HTML file")
    return write_whole(
        target, lambda temporary: temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    )


@known_keywords()
def render(
    results: Maps,
    *,
    title: str | None = None,
    command: str | Sequence[str] | None = None,
    notes: Sequence[str] = (),
    max_bytes: int = MAX_BYTES,
    control: Maps | None = None,
    to_control: Sequence[str] = IN_PYTHON,
) -> str:
    """The page as text. Arguments and errors: see `write_report`."""
    max_bytes = check_whole("max_bytes", max_bytes, 1)
    parts = as_parts(results)
    sections = make_sections(parts, control)
    named = " on ".join(filter(None, (_names(s.task for s in sections), _names(s.model for s in sections))))
    limits = limits_of(sections)
    frame = overview(sections, [s.n for s in sections])
    kept, packed = _fit(sections, max_bytes - len(frame) - 400_000)
    rows = summary_rows(sections)
    script = _script()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "signed": signed}
    return environment.get_template("report.html.j2").render(
        title=title or _title(parts, named),
        notes=list(notes),
        scores=[(unit, score) for unit, score in dict.fromkeys((score_unit(p), _score(p)) for p in parts)],
        verdict=verdict(sections, rows),
        control=_names(str(s.control.attrs.get("control") or "control") for s in sections if s.control is not None),
        to_control=[] if control is not None or any(part.attrs.get("control") for part in parts) else list(to_control),
        words=in_words(sections, rows),
        rows=rows,
        has_held_out=any("held" in row for row in rows),
        has_over=any("over" in row for row in rows),
        min_for_interval=MIN_FOR_MEAN,
        sections=sections,
        section_words=[section_words(s) for s in sections],
        blocks=make_blocks(sections, limits),
        tasks=_choices(s.task for s in sections),
        directions=_choices(s.direction for s in sections),
        models=_choices(s.model for s in sections),
        modules=_choices(name for s in sections for name in s.modules),
        measures={name: MEASURES[name] for name in MEASURES if any(name in s.maps for s in sections)},
        bars=colour_bars(limits, sections),
        left_out=sum(s.n for s in sections) - sum(kept),
        n=sum(s.n for s in sections),
        details=[_details(part) for part in parts],
        command=command if isinstance(command, str | None) else shlex.join(command),
        overview=Markup(overview(sections, kept)),
        packed=[Markup(text) for text in packed],
        style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        gradients={"light": gradient(False), "dark": gradient(True)},
    )


def _script() -> str:
    """The page's script: its parts as one function, which may return early and wait."""
    parts = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return f'"use strict";\n(async function () {{\n{parts}}})();\n'


def _fit(sections: Sequence[Section], room: int) -> tuple[list[int], list[str]]:
    """How many instances of each section the page keeps, and the sections packed; at least one each."""
    kept = [section.n for section in sections]
    packed = [instances(section, n) for section, n in zip(sections, kept, strict=True)]
    while sum(map(len, packed)) > room and max(kept) > 1:
        share = max(min(0.95 * room / sum(map(len, packed)), 0.9), 0.01)
        for k, section in enumerate(sections):
            if kept[k] > 1:
                kept[k] = max(1, math.floor(kept[k] * share))
                packed[k] = instances(section, kept[k])
    return kept, packed


def _title(results: Sequence[xr.Dataset], named: str) -> str:
    """Of what, on which model; a control is called one."""
    controls = _names(str(part.attrs.get("control") or "") for part in results)
    what = f"Control {controls}" if controls else "Transplants"
    return f"{what}: {named}" if named else "Transplant report"


def _details(results: xr.Dataset) -> list[tuple[str, str]]:
    """What made these numbers, as (name, value); unknown things are left out."""
    names = ("model", "backend", "dtype", "task", "score", "engine", "steps", "max_new_tokens", "control", "run")
    rows = [(name.replace("_", " "), str(results.attrs[name])) for name in names if results.attrs.get(name)]
    text = str(results.attrs.get("versions") or "")
    with contextlib.suppress(ValueError, AttributeError):
        text = ", ".join(f"{name} {version}" for name, version in json.loads(text or "{}").items())
    rows += [("versions", text)] if text else []
    for dim in ("source_layer", "target_layer"):
        rows.append((f"{dim.replace('_', ' ')}s", ", ".join(map(str, results[dim].values))))
    if "verified_cells" in results.attrs:
        largest = results.attrs.get("verified_largest_difference")
        rows.append(
            ("checked against the plain loop", f"largest difference {largest:.2g}" if largest is not None else "yes")
        )
    return rows


def _score(results: xr.Dataset) -> str:
    return str(results.attrs.get("score") or "score of the right answer")


def _names(names: Any) -> str:
    return ", ".join(dict.fromkeys(name for name in names if name))


def _choices(names: Any) -> list[str]:
    return list(dict.fromkeys(names))
