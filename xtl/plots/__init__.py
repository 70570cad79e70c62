"""Plotly figures of transplant maps, drawn from what `xtl.sweep` or `xtl.sweep_many` returned. No model runs here.

How every figure reads: one cell is one transplant; its colour is the gain (score with the transplant minus vanilla
score), averaged over the examples. Blue helps, red harms, white changes nothing; grey has no finite value. All panels
of a figure share one colour scale, symmetric about zero. Layers are numbered from 0, and layer 0 is at the bottom
(left, for target layers). The scale, `RdBu`, runs over lightness symmetrically and keeps its two arms apart under
the three kinds of colour blindness.

>>> import numpy as np, xarray as xr
>>> gain = xr.DataArray(np.zeros((2, 18, 18), "float32"), dims=("module", "source_layer", "target_layer"),
...     coords={"module": ["attn", "mlp"], "source_layer": range(18), "target_layer": range(18)})
>>> figure = gain_map(xr.Dataset({"gain": gain}, attrs={"model": "my model"}))
>>> [panel.type for panel in figure.data]
['heatmap', 'heatmap']
"""

from __future__ import annotations

import html
import math
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from babel import Locale, UnknownLocaleError
from plotly.subplots import make_subplots

from xtl.errors import InputError, XtlError, check_choice, check_number, check_whole
from xtl.packages import install_hint
from xtl.results import Maps, as_results

COLOUR_SCALE = "RdBu"
GAIN_DIMS = ("module", "source_layer", "target_layer")
NOISE = 1e-5
"""Gains (nats) below this are float32 rounding: a figure with nothing larger is drawn white, on a scale of +-1."""

_PANEL_WIDTH = {1: 440, 2: 380, 3: 290}  # pixels, by number of columns; more columns: as for 3
_MARGIN = {"l": 70, "r": 110, "t": 120, "b": 60}
_GAP = 70


class FigureError(XtlError, RuntimeError):
    """A figure cannot be turned into an image: a package or a browser is missing."""


@dataclass(frozen=True)
class Panel:
    """One heatmap: `values` [rows, columns], whose dims name the axes, and `counts` (examples averaged), same shape."""

    title: str
    values: xr.DataArray
    counts: xr.DataArray
    hover: str


def escape(text: object) -> str:
    """Text as plotly must be given it so that it is shown as it is: no tags, no LaTeX, no hover variables.

    >>> escape("<b> & $x$")
    '&lt;b&gt; &amp; &#36;x&#36;'
    """
    return html.escape(str(text), quote=False).replace("$", "&#36;").replace("%{", "&#37;{")


def language_name(code: str) -> str:
    """English name of a language, for sentences; the code itself where CLDR has none.

    >>> language_name("ru"), language_name("?")
    ('Russian', 'the target language')
    """
    if code in ("", "?"):
        return "the target language"
    try:
        return Locale.parse(code, sep="-").get_display_name("en") or code
    except (ValueError, UnknownLocaleError):
        return code


def with_directions(results: Maps, *, measure: str = "gain") -> xr.Dataset:
    """Check sweep results, give a single sweep an `example` dim of 1, and label every example with its direction.

    Args:
        results: Dataset with `gain` (nats), dims `module, source_layer, target_layer` and, but for a single sweep,
            `example`.
        measure: the variable that must be there, instead of `gain`.

    Returns:
        The same data with dims in that order (`example` first) and a coord `direction` (example), such as "en->es";
        "?" stands for a language that is not known.

    Raises:
        InputError: no such variable, a missing or an unknown dim, nothing in it.
    """
    results = as_results(results)
    if measure not in results:
        raise InputError(
            f"results have no {measure!r}; they have: {', '.join(map(str, results.data_vars)) or 'nothing'}"
        )
    dims = results[measure].dims
    missing, unknown = set(GAIN_DIMS).difference(dims), set(map(str, dims)).difference(GAIN_DIMS, ["example"])
    if missing or unknown:
        found = f"lacks {', '.join(sorted(missing))}" if missing else f"has {', '.join(sorted(unknown))}"
        raise InputError(f"{measure} must have the dims (example), {', '.join(GAIN_DIMS)}; it {found}")
    if results[measure].size == 0:
        raise InputError(f"results are empty: {measure} has the sizes {dict(results[measure].sizes)}")
    if "example" not in results[measure].dims:
        results = results.expand_dims("example")
    languages = [per_example(results, name) for name in ("source_lang", "target_lang")]
    labels = [f"{source or '?'}->{target or '?'}" for source, target in zip(*languages, strict=True)]
    return results.assign_coords(direction=("example", labels)).transpose("example", *GAIN_DIMS, ...)


def per_example(data: xr.Dataset, name: str) -> list[str]:
    """A coord or variable as one text per example; "" where it is missing or unknown."""
    values = data[name].values if name in data.variables else ""
    flat = np.broadcast_to(np.asarray(values, dtype=object), data.sizes["example"])
    return ["" if value is None or value != value else str(value) for value in flat]


def score_unit(data: xr.Dataset) -> str:
    """The unit of score and gain: the attribute `score_unit`, else "nats"."""
    return str(data.attrs.get("score_unit") or "nats")


def gain_map(data: Maps, *, direction: str | None = None, title: str | None = None) -> go.Figure:
    """Heatmaps of the mean gain, source layer (y, 0 at the bottom) by target layer (x): one per module, one scale.

    Args:
        data: result of `xtl.sweep` or `xtl.sweep_many`; averaged over `example` if it has that dim.
        direction: draw the examples of this direction only, such as "en->es". None: all examples.
        title: first line of the title, instead of model, task and direction.

    Raises:
        InputError: see `with_directions`; or a direction that the data does not have.
    """
    part = _select(data, direction)
    mean, counts = _mean_gain(part)
    hover = "source layer %{y} → target layer %{x}"
    panels = [
        Panel(str(module), mean[index], counts[index], f"{escape(module)}<br>{hover}")
        for index, module in enumerate(part["module"].values)
    ]
    columns = math.ceil(len(panels) / math.ceil(len(panels) / 3))
    headline = title or _headline("Gain map", part)
    return heatmap_grid(panels, columns=columns, title=headline, subtitle=_subtitle(part), unit=score_unit(part))


def layer_module_heatmap(data: Maps, *, direction: str | None = None, title: str | None = None) -> go.Figure:
    """Heatmaps of the mean gain, layer (y, 0 at the bottom) by module (x): with the layer as target, and as source.

    Left, a cell is the mean over all source layers of the gain when that layer is the target; right, the mean over
    all target layers when it is the source. Arguments and errors: as for `gain_map`.
    """
    part = _select(data, direction)
    mean, counts = _mean_gain(part)
    panels = []
    for role, other in (("target", "source"), ("source", "target")):
        values = mean.mean(f"{other}_layer").rename({f"{role}_layer": "layer"}).transpose("layer", "module")
        n = counts.max(f"{other}_layer").rename({f"{role}_layer": "layer"}).transpose("layer", "module")
        hover = f"%{{x}}<br>layer %{{y}} as {role} layer,<br>mean over {mean.sizes[f'{other}_layer']} {other} layers"
        panels.append(Panel(f"layer as {role}", values, n, hover))
    headline = title or _headline("Gain by layer and module", part)
    return heatmap_grid(panels, columns=2, title=headline, subtitle=_subtitle(part), unit=score_unit(part))


def heatmap_grid(
    panels: Sequence[Panel], *, columns: int, title: str, subtitle: str = "", unit: str = "nats"
) -> go.Figure:
    """Draw panels in rows of `columns`, all on one colour scale that is symmetric about zero.

    Values are mean gains in `unit`; NaN and infinite values stay grey. Titles and labels are shown as they are
    (escaped). `Panel.hover` is a plotly hover template: whoever builds it escapes it.
    """
    rows = math.ceil(len(panels) / columns)
    width = _PANEL_WIDTH[min(columns, 3)]
    inner_width, inner_height = columns * width + (columns - 1) * _GAP, rows * width + (rows - 1) * (_GAP + 20)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[escape(panel.title) for panel in panels],
        horizontal_spacing=_GAP / inner_width, vertical_spacing=(_GAP + 20) / inner_height if rows > 1 else 0,
    )  # fmt: skip
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        _add_heatmap(figure, panel, row + 1, column + 1, escape(unit))
    limit = symmetric_limit([panel.values for panel in panels])
    subtitle += saturation([panel.values for panel in panels])
    total = inner_width + _MARGIN["l"] + _MARGIN["r"]
    headline, lines = (_wrap(text, total // characters) for text, characters in ((title, 9), (subtitle, 7)))
    top = _MARGIN["t"] + 24 * (len(headline) - 1) + 16 * max(0, len(lines) - 2)
    figure.update_layout(
        template="plotly_white",
        title={
            "text": "<br>".join(headline), "subtitle": {"text": "<br>".join(lines)},
            "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"l": 12, "t": 26 if len(headline) > 1 else 14},
        },
        coloraxis={
            "colorscale": COLOUR_SCALE, "cmin": -limit, "cmax": limit, "cmid": 0,
            "colorbar": {
                "title": {"text": f"mean gain<br>({escape(unit)})<br>&nbsp;"}, "tickformat": "+.2~g",
                "thickness": 14, "len": min(width, inner_height), "lenmode": "pixels", "y": 1, "yanchor": "top",
            },
        },
        plot_bgcolor="#c8c8c8",
        margin=_MARGIN | {"t": top},
        width=total,
        height=inner_height + top + _MARGIN["b"],
    )  # fmt: skip
    return figure


def symmetric_limit(values: Sequence[xr.DataArray]) -> float:
    """The end of a zero-centred colour scale: the largest gain, or what four of five cells stay within if that is more.

    A few transplants that wreck the answer lose ten times what the best one gains; they are drawn in the last colour rather
    than bleach all the rest. 1 where there is nothing but noise.

    >>> symmetric_limit([xr.DataArray([0.5, -0.1] * 20 + [-9.0])])
    0.5
    >>> symmetric_limit([xr.DataArray([0.5, -2.0, -1.0, float("nan")])])
    2.0
    >>> symmetric_limit([xr.DataArray([0.0])])
    1.0
    """
    finite = np.concatenate([np.zeros(1), *(v.values[np.isfinite(v.values)].ravel() for v in values)])
    usual = float(np.quantile(np.abs(finite), 0.8, method="higher"))
    limit = max(float(finite.max()), usual)
    return limit if limit > NOISE else 1.0


def saturation(values: Sequence[xr.DataArray]) -> str:
    """A note on the cells that lie beyond the colour scale; empty if there are none."""
    limit = symmetric_limit(values)
    beyond = sum(int((v.values < -limit - NOISE).sum()) for v in values)
    return f"; {beyond} losses beyond {-limit:.2g} have the last colour" if beyond else ""


def save_png(
    figure: go.Figure,
    path: str | os.PathLike[str],
    width: int | None = None,
    height: int | None = None,
    scale: int | float = 2,
) -> Path:
    """Write a figure as a PNG image through kaleido and Chrome or Chromium.

    Args:
        figure: any plotly figure.
        path: file to write; its folder must exist.
        width, height: size in layout pixels; the figure's own by default.
        scale: image pixels per layout pixel.

    Raises:
        FigureError: kaleido, or a browser for it, is not installed. The message says how to install it.
        InputError: `path` cannot be written.
    """
    target = Path(path)
    if target.is_dir() or not target.parent.is_dir():
        raise InputError(f"cannot write {str(path)!r}: give a file name in a folder that exists")
    from xtl.files import write_whole

    data = image_bytes(figure, "png", width, height, scale)
    return write_whole(target, lambda place: place.write_bytes(data), make_folder=False)


def image_bytes(
    figure: go.Figure, form: str, width: int | None = None, height: int | None = None, scale: int | float = 1
) -> bytes:
    """A figure as an image file's bytes: "png", "svg" or "pdf". Other arguments and errors: as for `save_png`."""
    for name, size in (("width", width), ("height", height)):
        if size is not None:
            check_whole(name, size, 1)
    if check_number("scale", scale, 0) == 0:
        raise InputError("scale must be larger than 0")
    what = form.upper()
    try:
        from kaleido.errors import ChromeNotFoundError
    except ImportError as error:
        raise FigureError(f"{what} export needs the package kaleido 1.x: {install_hint('figures')}") from error
    try:
        return figure.to_image(format=form, width=width, height=height, scale=scale)
    except Exception as error:  # a browser fails in many ways; plotly wraps some of them in a RuntimeError
        missing = isinstance(error, ChromeNotFoundError) or "chrome" in str(error).lower()
        failed = "found no Chrome or Chromium" if missing else f"failed ({type(error).__name__})"
        hint = "install chromium (apt-get install chromium) or run plotly_get_chrome; BROWSER_PATH names one elsewhere"
        raise FigureError(f"{what} export {failed}: {hint}") from error


def _add_heatmap(figure: go.Figure, panel: Panel, row: int, column: int, unit: str) -> None:
    """Add one panel at a 1-based place, on category axes, so that a subset of layers has cells of one size."""
    y_name, x_name = (str(dim) for dim in panel.values.dims)
    labels = {name: [escape(label) for label in panel.values[name].values] for name in (y_name, x_name)}
    values = panel.values.values.astype("float64")
    trace = go.Heatmap(
        z=np.where(np.isfinite(values), values, np.nan),
        x=labels[x_name], y=labels[y_name], customdata=panel.counts.values, coloraxis="coloraxis", hoverongaps=False,
        hovertemplate=f"{panel.hover}<br>mean gain %{{z:+.4f}} {unit}<br>n = %{{customdata}}<extra></extra>",
    )  # fmt: skip
    figure.add_trace(trace, row=row, col=column)
    for update, name in ((figure.update_xaxes, x_name), (figure.update_yaxes, y_name)):
        text = labels[name]
        step = 1 if name == "module" else math.ceil(len(text) / 9)
        update(
            type="category", categoryorder="array", categoryarray=text, tickmode="array", tickvals=text[::step],
            title={"text": escape(name.replace("_", " ")), "standoff": 6}, showgrid=False, zeroline=False,
            ticks="outside", ticklen=3, tickangle=0, constrain="domain", row=row, col=column,
        )  # fmt: skip


def _select(data: Maps, direction: str | None) -> xr.Dataset:
    """The examples of one direction, or all of them."""
    data = with_directions(data)
    if direction is None:
        return data
    labels = data["direction"].values
    check_choice("direction", direction, dict.fromkeys(labels))
    return data.isel(example=np.flatnonzero(labels == direction))


def _mean_gain(data: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean gain and number of examples behind it, both (module, source_layer, target_layer); NaN is left out."""
    gain = data["gain"].astype("float64")
    return gain.mean("example", skipna=True), gain.notnull().sum("example")


def provenance(data: xr.Dataset) -> list[str]:
    """What made some results, as far as they say: model, task, and the control if it is one.

    >>> provenance(xr.Dataset(attrs={"model": "gpt2", "task": "capitals", "control": "zero"}))
    ['gpt2', 'capitals', 'control zero']
    """
    control = f"control {data.attrs['control']}" if data.attrs.get("control") else ""
    return [str(name) for name in (data.attrs.get("model"), data.attrs.get("task"), control) if name]


def _headline(what: str, data: xr.Dataset) -> str:
    names = list(dict.fromkeys(map(str, data["direction"].values)))
    directions = ", ".join(names) if len(names) <= 4 else f"{len(names)} directions"
    named = [*provenance(data), *([] if directions == "?->?" else [directions])]
    return f"{what}: {', '.join(named)}".removesuffix(": ")


def _subtitle(data: xr.Dataset) -> str:
    n = data.sizes["example"]
    examples = f"n = {n} example{'' if n == 1 else 's'}"
    grey = "" if np.isfinite(data["gain"].values).all() else "; grey: no finite value"
    what = f"mean gain ({score_unit(data)}) over {examples}; blue helps, red harms{grey}"
    return f"{what}\nscore: {data.attrs['score']}" if data.attrs.get("score") else what


def _wrap(text: str, width: int) -> list[str]:
    """Escaped lines of at most `width` characters, one at least."""
    lines = [piece for line in text.splitlines() for piece in textwrap.wrap(line, max(width, 20))]
    return [escape(line) for line in lines] or [""]
