"""Figures as files for papers: PDF, SVG or PNG at a width in print, and the numbers of each as CSV beside it.

`export_figure` draws a kind of figure (see `xtl.publish.figures`) from a run; `save_figure` writes any plotly figure. Heat maps
are written as vectors, fonts of PDFs are embedded, and equal figures give equal bytes. Text that no font of this machine has is
refused, with the name of the font to install: an empty box in a paper is found too late.

>>> import plotly.graph_objects as go
>>> figure_data(go.Figure(go.Scatter(x=[1, 2], y=[3, 5], name="a"))).to_dict("list")
{'panel': ['', ''], 'series': ['a', 'a'], 'x': [1, 2], 'y': [3, 5]}
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from xtl import plots
from xtl.errors import InputError, check_choice, known_keywords
from xtl.files import check_file, write_whole
from xtl.foreign import frame_for_csv
from xtl.pairs import parse_direction
from xtl.plots.slots import squares
from xtl.publish.figure_layout import Size
from xtl.publish.figures import KINDS, STYLES
from xtl.results import with_directions
from xtl.runs.extent import check_whole_or_partial
from xtl.runs.reading import of_direction, read_run

FORMATS = ("pdf", "svg", "png", "html")
PNG_DPI = 600
LEVELS = 255
"""Colours of a heat map that is written as vectors."""
_UNITS = {"in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "pt": 96 / 72, "px": 1.0}


@known_keywords()
def export_figure(
    run: str | os.PathLike[str],
    *,
    kind: str = "gain_map",
    form: str = "pdf",
    width: str = "3.3in",
    style: str = "paper",
    out: str | os.PathLike[str] | None = None,
    direction: str | None = None,
    model: str | None = None,
    task: str | None = None,
    partial: bool = False,
) -> tuple[Path, Path]:
    """Draw a figure of a run and write it, with its numbers as CSV beside it.

    Args:
        run: folder of `xtl run` or `xtl sweep`.
        kind: a name from `xtl.publish.figures.KINDS`.
        form: "pdf", "svg", "png" (600 dots an inch) or "html" (needs no network).
        width: in print, such as "3.3in", "8.4cm", "84mm" or "240pt".
        style: "paper" (8-point labels, no title: the caption says it) or "screen".
        out: the file; the kind's name in the run's folder by default.
        direction: such as "en->es" or "en:es"; all by default.
        model, task: which of the run's; needed where there are several.
        partial: draw what there is of a run that is not whole; a line below the figure and a column `extent` of the CSV say so.

    Returns:
        The figure's file and the CSV's.

    Raises:
        InputError: an unknown kind, format, style, direction, model or task; a width that is none; no run; a run without what
            the kind needs; one that is not whole, without `partial`.
        FigureError: no browser that draws, or no font for some of the text.
    """
    check_choice("kind", kind, KINDS)
    check_choice("format", form, FORMATS)
    check_choice("style", style, STYLES)
    size = Size(pixels(width), style)
    path = _check_files(Path(run) / f"{kind}.{form}" if out is None else out)
    results, _ = read_run(run, model=model, task=task)
    if len(results) > 1:
        names = ", ".join(f"{part.attrs.get('model')} {part.attrs.get('task')}" for part in results)
        raise InputError(f"the run holds several models or tasks; choose one with model and task: {names}")
    chosen = with_directions(results[0], measure=next(iter(results[0].data_vars)))  # type: ignore[arg-type]
    if direction is not None:
        wanted = "->".join(parse_direction(direction))
        names_ = chosen["direction"].values
        check_choice("direction", wanted, dict.fromkeys(map(str, names_)))
        chosen = of_direction(run, chosen.isel(example=np.flatnonzero(names_ == wanted)), wanted, model, task)
    extent = chosen.attrs.get("extent")
    check_whole_or_partial(run, extent, partial)
    figure = KINDS[kind](chosen.load(), size)
    if extent:
        _say_below(figure, f"{chosen.attrs['pairs_here']} of {chosen.attrs['pairs_in_run']} pairs", size)
    written = save_figure(figure, path, form=form)
    if extent:
        table = pd.read_csv(written[1], keep_default_na=False).assign(extent=extent)
        write_whole(written[1], lambda place: table.to_csv(place, index=False))
    return written


def _check_files(path: str | os.PathLike[str]) -> Path:
    """The figure's path; it and the CSV beside it can be written, and are not one file."""
    path = check_file(path)
    if check_file(path.with_suffix(".csv")) == path:
        raise InputError(f"cannot write the figure to {str(path)!r}: its numbers go there, as CSV")
    return path


def _say_below(figure: go.Figure, text: str, size: Size) -> None:
    """A line below everything else, in room of its own."""
    room, margin = 2.2 * size.label, figure.layout.margin.b or 0
    figure.update_layout(height=(figure.layout.height or 450) + room, margin_b=margin + room)
    figure.add_annotation(
        text=f"Unfinished run: {text}", xref="paper", yref="paper", x=0, y=0, yshift=-margin, xanchor="left", yanchor="top",
        showarrow=False, font={"size": size.label},
    )  # fmt: skip


@known_keywords()
def save_figure(figure: go.Figure, path: str | os.PathLike[str], *, form: str | None = None) -> tuple[Path, Path]:
    """Write a figure at its own size, and its numbers as CSV beside it.

    Args:
        figure: any plotly figure; its layout says width and height in pixels, 96 of which are an inch.
        path: the file; missing folders are made.
        form: one of `FORMATS`; the ending of `path` by default.

    Raises:
        InputError: an unknown format; a path that can't be written.
        FigureError: no browser that draws, or no font for some of the text.
    """
    path = _check_files(path)
    form = check_choice("format", form or path.suffix.removeprefix("."), FORMATS)
    check_fonts(figure)
    if form == "html":
        data = figure.to_html(include_plotlyjs=True, div_id="figure", config={"displaylogo": False}).encode()
    elif form == "png":
        data = plots.image_bytes(figure, "png", scale=PNG_DPI / 96)
    else:
        data = stable(plots.image_bytes(as_vectors(figure), form), form)
    table = figure_data(figure)
    written = write_whole(path, lambda place: place.write_bytes(data))
    return written, write_whole(
        path.with_suffix(".csv"), lambda place: frame_for_csv(table).to_csv(place, index=False, float_format="%.6g")
    )


def figure_data(figure: go.Figure) -> pd.DataFrame:
    """The numbers of a figure as a tidy table: a row a point, or a row a cell of a heat map.

    Columns: `panel` (title of the subplot), `series` (name of the trace), `x`, `y`, and what there is of `value` (of a cell), `n`
    (examples), `best` (which cell is marked, and how it was chosen), `low` and `high` (ends of an interval).
    """
    titles, marks = _panel_titles(figure), _marks(figure)
    parts = []
    for trace in figure.data:
        panel = titles.get(trace.xaxis or "x", "") if hasattr(trace, "xaxis") else ""
        if trace.hoverinfo == "skip":
            continue  # what mutes cells, marks the best, fills a band
        columns = _cells(trace, marks) if trace.type == "heatmap" else _points(trace)
        if not columns or not len(next(iter(columns.values()))):
            continue
        parts.append(pd.DataFrame({"panel": panel, "series": _read(trace.name or ""), **columns}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["panel", "series", "x", "y"])


def pixels(width: str) -> float:
    """A width in print as pixels of 1/96 inch.

    >>> round(pixels("3.3in"), 6), pixels("72 pt")
    (316.8, 96.0)

    Raises:
        InputError: no width, or one below 1 or above 40 inches.
    """
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(in|cm|mm|pt|px)", width.strip(), re.ASCII)
    if match is None:
        raise InputError(f"width {width!r} is none; write it as 3.3in, 8.4cm, 84mm, 240pt or 600px")
    found = float(match[1]) * _UNITS[match[2]]
    if not 96 <= found <= 40 * 96:
        raise InputError(f"width {width!r} is out of range; valid: 1in to 40in")
    return found


def check_fonts(figure: go.Figure) -> None:
    """Refuse text that no font of this machine can show.

    Raises:
        FigureError: it names the scripts and what to install.
    """
    missing = missing_scripts("".join(_texts(figure.to_dict())))
    if missing:
        named = ", ".join(f"{script} (such as {character!r})" for script, character in missing.items())
        fonts = ", ".join(dict.fromkeys(font_for(script) for script in missing))
        raise plots.FigureError(f"no font on this machine has {named}: install {fonts}, then try again")


def missing_scripts(text: str) -> dict[str, str]:
    """Scripts of a text that no installed font covers, with a character of each; empty where there is no fontconfig to ask."""
    missing: dict[str, str] = {}
    for character in sorted(set(text)):
        if ord(character) < 0x250 or unicodedata.category(character)[0] in "CZ":
            continue
        script = unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0]
        if script not in missing and not has_font(character):
            missing[script] = character
    return missing


@lru_cache(maxsize=10_000)
def has_font(character: str) -> bool:
    """Whether a font on this machine has a character; True where that can't be told."""
    if shutil.which("fc-list") is None:
        return True
    asked = subprocess.run(["fc-list", f":charset={ord(character):x}", "family"], capture_output=True, text=True)
    return asked.returncode != 0 or bool(asked.stdout.strip())


def font_for(script: str) -> str:
    """What to install for a script.

    >>> font_for("CJK"), font_for("ETHIOPIC")
    ('Noto Sans CJK (Debian: fonts-noto-cjk)', 'Noto Sans Ethiopic (Debian: fonts-noto-core)')
    """
    if script in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "FULLWIDTH"):
        return "Noto Sans CJK (Debian: fonts-noto-cjk)"
    return f"Noto Sans {script.title()} (Debian: fonts-noto-core)"


def as_vectors(figure: go.Figure) -> go.Figure:
    """The same figure with the cells of its heat maps as shapes: sharp at any size, in every viewer."""
    copy = go.Figure(figure)
    shapes = list(copy.layout.shapes)
    for trace in copy.data:
        cover = trace.type == "heatmap" and trace.showscale is False and trace.hoverinfo == "skip"
        if trace.type != "heatmap" or trace.z is None or not (trace.coloraxis or cover):
            continue
        refs = {"xref": trace.xaxis or "x", "yref": trace.yaxis or "y", "type": "path", "layer": "below"}
        if cover:  # what mutes cells: over those that are drawn by now
            path = squares(np.isfinite(np.asarray(trace.z, dtype="float64")))
            shapes.append({"path": path, "fillcolor": trace.colorscale[0][1], "line": {"width": 0}, **refs})
        else:
            shapes += [
                {"path": path, "fillcolor": colour, "line": {"color": colour, "width": 0.25}, **refs}
                for colour, path in _by_colour(np.asarray(trace.z, dtype="float64"), copy.layout[trace.coloraxis])
            ]
        trace.opacity = 0
    copy.layout.shapes = shapes
    return copy


def _by_colour(values: np.ndarray, axis: Any) -> Iterator[tuple[str, str]]:
    """The colours of a heat map's cells, each with a path of all cells that have it."""
    finite = np.isfinite(values)
    place = (np.where(finite, values, 0) - axis.cmin) / (axis.cmax - axis.cmin)
    level = np.rint(np.clip(place, 0, 1) * (LEVELS - 1)).astype(int)
    scale = [list(stop) for stop in axis.colorscale]
    for k in np.unique(level[finite]):
        (colour,) = sample_colorscale(scale, [float(k / (LEVELS - 1))])
        yield colour, squares(finite & (level == k))


def stable(data: bytes, form: str) -> bytes:
    """An image without what differs from one writing to the next: dates in a PDF, random names in an SVG."""
    if form == "pdf":
        return re.sub(rb"(/(?:Creation|Mod)Date \(D:)\d{14}", rb"\g<1>20000101000000", data)
    text = data.decode()
    named = (r'id="defs-(HEX)"', r'class="cb(HEX) colorbar"', r'class="trace \w+ trace(HEX)"')
    names = dict.fromkeys(name for one in named for name in re.findall(one.replace("HEX", "[0-9a-f]{6}"), text))
    for number, name in enumerate(names):
        text = re.sub(
            rf"(?<=defs-){name}|(?<=clip){name}|(?<=cb){name}|(?<=[\"#]g){name}|(?<= trace){name}",
            f"{number:06d}",
            text,
        )
    return text.encode()


def _marks(figure: go.Figure) -> dict[tuple[str, str, str], str]:
    """Names of the marks on heat maps, by x axis and labels of the cell's column and row."""
    return {
        (trace.xaxis or "x", str(trace.x[0]), str(trace.y[0])): _read(trace.name)
        for trace in figure.data
        if trace.type == "scatter" and trace.hoverinfo == "skip" and trace.mode == "markers"
    }


def _cells(trace: Any, marks: dict[tuple[str, str, str], str]) -> dict[str, Any]:
    values = np.asarray(trace.z, dtype="float64")
    rows, columns = values.shape
    x = list(trace.x) if trace.x is not None else list(range(columns))
    y = list(trace.y) if trace.y is not None else list(range(rows))
    found = {"x": [_read(v) for v in x] * rows, "y": [_read(v) for v in y for _ in x], "value": values.ravel()}
    if marks:
        found["best"] = [marks.get((trace.xaxis or "x", str(b), str(a)), "") for a in y for b in x]
    if trace.customdata is None or np.shape(trace.customdata) != values.shape:
        return found
    counts = np.asarray(trace.customdata, dtype="float64").ravel()
    here = np.isfinite(counts)  # no count: a layer that was not tried
    table = pd.DataFrame(found | {"n": counts})[here].astype({"n": int})
    return {str(name): table[name].to_numpy() for name in table}


def _points(trace: Any) -> dict[str, Any]:
    if getattr(trace, "x", None) is None or getattr(trace, "y", None) is None:
        return {}
    found = {"x": [_read(v) for v in trace.x], "y": [_read(v) for v in trace.y]}
    if isinstance(trace.meta, dict):  # the ends of a curve's band
        found |= {end: trace.meta[end] for end in ("low", "high") if len(trace.meta.get(end, ())) == len(trace.x)}
    for name in ("x", "y"):
        error = getattr(trace, f"error_{name}", None)
        if error is not None and error.array is not None:
            centre, high = np.asarray(getattr(trace, name), "float64"), np.asarray(error.array, "float64")
            low = high if error.arrayminus is None else np.asarray(error.arrayminus, "float64")
            found |= {"low": centre - low, "high": centre + high}
    return found


def _panel_titles(figure: go.Figure) -> dict[str, str]:
    """Titles of subplots by x axis ("x", "x2"): annotations that stand above the middle of its domain."""
    titles: dict[str, str] = {}
    taken = [note for note in figure.layout.annotations if note.xref == "paper" and note.showarrow is False]
    for name in figure.layout:
        if not name.startswith("xaxis"):
            continue
        axis = figure.layout[name]
        anchor = figure.layout["yaxis" + (axis.anchor or "y").removeprefix("y")]
        if axis.domain is None or anchor.domain is None:
            continue
        for note in taken:
            if abs(note.x - sum(axis.domain) / 2) < 1e-6 and abs(note.y - anchor.domain[1]) < 1e-6:
                titles["x" + name.removeprefix("xaxis")] = _read(note.text)
    return titles


def _read(value: Any) -> Any:
    """A label as a reader sees it, without plotly's escapes; numbers as they are."""
    if not isinstance(value, str):
        return value.item() if isinstance(value, np.generic) else value
    return html.unescape(re.sub(r"<[^>]+>", " ", value)).strip()


def _texts(value: Any) -> Iterator[str]:
    """All text in a figure's dict."""
    if isinstance(value, str):
        yield html.unescape(value)
    elif isinstance(value, dict):
        for key, part in value.items():
            if key != "template":
                yield from _texts(part)
    elif isinstance(value, Iterable) and not isinstance(value, np.ndarray | bytes):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        yield from (html.unescape(part) for part in value.ravel().tolist() if isinstance(part, str))
