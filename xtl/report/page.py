"""Write sweep results as one self-contained HTML page: summary, maps, examples, details.

The page needs no network: plotly.js stands in it once, and a content security policy forbids it to load anything. All
text from the data (prompts, model, task, languages) is escaped. The template is `report.html.j2` beside this file.

>>> import tempfile, numpy as np, xarray as xr
>>> gain = xr.DataArray(np.zeros((1, 2, 2)), dims=("module", "source_layer", "target_layer"),
...     coords={"module": ["attn"], "source_layer": [0, 1], "target_layer": [0, 1]})
>>> with tempfile.TemporaryDirectory() as folder:
...     path = write_report(f"{folder}/report.html", xr.Dataset({"gain": gain}))
...     "<h1>" in path.read_text(encoding="utf-8")
True
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analyses import gain_maps
from xtl import plots
from xtl.errors import InputError
from xtl.runs.results import write_whole

_RIGHT_TO_LEFT = ("ar", "fa", "he", "ur", "yi", "ps", "sd", "ug", "dv", "ckb")


def write_report(
    path: str | os.PathLike[str],
    results: xr.Dataset,
    *,
    title: str | None = None,
    command: str | Sequence[str] | None = None,
    max_examples: int = 200,
) -> Path:
    """Write the report of a sweep; an older file of that name is replaced whole, or left as it was if anything fails.

    Args:
        path: the HTML file to write; missing folders are made.
        results: result of `xtl.sweep_many` or `xtl.sweep`: `gain` in nats, dims (example,) module, source_layer,
            target_layer.
        title: heading of the page; by default made from task and model.
        command: the command that made the results, to be shown under Details.
        max_examples: rows of the table of examples; the page says how many were left out.

    Returns:
        The path that was written.

    Raises:
        InputError: results without gains (see `xtl.plots.with_directions`), or a path that cannot be written.
    """
    page = render(results, title=title, command=command, max_examples=max_examples)
    target = Path(path)
    if target.is_dir():
        raise InputError(f"path {str(path)!r} is a folder; give the name of an HTML file")
    return write_whole(
        target, lambda temporary: temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    )


def render(
    results: xr.Dataset,
    *,
    title: str | None = None,
    command: str | Sequence[str] | None = None,
    max_examples: int = 200,
) -> str:
    """The page as text. Arguments and errors: see `write_report`."""
    examples = plots.with_directions(results)
    data = gain_maps.compute(results)
    attrs = {name: str(results.attrs.get(name) or "") for name in ("model", "backend", "task", "score", "engine")}
    named = " on ".join(name for name in (attrs["task"], attrs["model"]) if name)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = examples.isel(example=slice(max_examples))
    return environment.get_template("report.html.j2").render(
        title=title or (f"Transplant report: {named}" if named else "Transplant report"),
        unit=plots.score_unit(results),
        score=attrs["score"] or "score of the right answer",
        summary=_summary_rows(gain_maps.best_cells(data)),
        sections=[_section(examples, data, str(name), k) for k, name in enumerate(data["direction"].values)],
        examples=_example_rows(shown),
        n_examples=examples.sizes["example"],
        details=_details(results, attrs, command),
        plotly_js=Markup(get_plotlyjs()),
    )


def _section(examples: xr.Dataset, data: xr.Dataset, direction: str, index: int) -> dict[str, Any]:
    """One direction: its sentences and its two figures."""
    figures = {
        "Gain map: source layer by target layer": plots.gain_map(examples, direction=direction),
        "Gain by layer and module": plots.layer_module_heatmap(examples, direction=direction),
    }
    return {
        "direction": direction,
        "sentences": gain_maps.in_words(data, direction),
        "figures": [
            {"caption": caption, "html": _figure_html(figure, f"figure-{index}-{place}")}
            for place, (caption, figure) in enumerate(figures.items())
        ],
    }


def _figure_html(figure: go.Figure, name: str) -> Markup:
    config = {
        "displaylogo": False,
        "responsive": False,
        "showSendToCloud": False,  # plotly.js 4 offers an upload by default; a report stays on this machine
        "toImageButtonOptions": {"filename": name},
    }
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config))


def _summary_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of `best_cells` as text."""
    rows = []
    for row in table.to_dict("records"):
        known = not pd.isna(row["source_layer"])
        rows.append(
            {
                "direction": row["direction"],
                "module": row["module"],
                "n": str(row["n"]),
                "vanilla_score": _number(row["vanilla_score"]),
                "vanilla_accuracy": _percent(row["vanilla_accuracy"]),
                "cell": f"{row['source_layer']} → {row['target_layer']}" if known else "–",
                "gain": _number(row["best_gain_in_sample"], sign=True),
                "accuracy": _percent(row["best_accuracy_in_sample"]),
            }
        )
    return rows


def _example_rows(examples: xr.Dataset) -> list[dict[str, str]]:
    """One row per example: prompts, gold, whether vanilla was right, and the cell with the largest gain."""
    texts = {
        name: plots.per_example(examples, name)
        for name in ("example", "direction", "source_lang", "target_lang", "source", "target", "gold")
    }
    vanilla = examples["vanilla_correct"].values if "vanilla_correct" in examples else None
    gain = examples["gain"].values
    rows = []
    for k in range(examples.sizes["example"]):
        row = {name: values[k] for name, values in texts.items()}
        for side in ("source", "target"):
            row[f"{side}_dir"] = "rtl" if row[f"{side}_lang"].split("-")[0] in _RIGHT_TO_LEFT else "auto"
        row["vanilla"] = "–" if vanilla is None or pd.isna(vanilla[k]) else "yes" if vanilla[k] else "no"
        row["cell"], row["gain"] = _best_cell(examples, gain[k])
        rows.append(row)
    return rows


def _best_cell(examples: xr.Dataset, gain: np.ndarray) -> tuple[str, str]:
    """Name and gain of the largest finite cell of one map `gain` [module, source_layer, target_layer]."""
    finite = np.isfinite(gain)
    if not finite.any():
        return "–", "–"
    place = np.unravel_index(int(np.where(finite, gain, -np.inf).argmax()), gain.shape)
    module, i, j = (examples[dim].values[at] for dim, at in zip(plots.GAIN_DIMS, place, strict=True))
    return f"{module} {i} → {j}", _number(float(gain[place]), sign=True)


def _details(results: xr.Dataset, attrs: dict[str, str], command: str | Sequence[str] | None) -> list[tuple[str, str]]:
    """What made these numbers, as (name, value); unknown things are left out."""
    rows = [(name, value) for name, value in attrs.items() if value]
    try:
        versions = json.loads(str(results.attrs.get("versions") or "{}"))
        text = ", ".join(f"{name} {version}" for name, version in versions.items())
    except (ValueError, AttributeError):
        text = str(results.attrs["versions"])
    if text:
        rows.append(("versions", text))
    for dim in ("source_layer", "target_layer"):
        rows.append((f"{dim.replace('_', ' ')}s", ", ".join(map(str, results[dim].values))))
    if command:
        rows.append(("command", command if isinstance(command, str) else shlex.join(command)))
    return rows


def _number(value: object, *, sign: bool = False) -> str:
    """Three decimals with a true minus sign; a dash where there is no value."""
    if not isinstance(value, float) or not np.isfinite(value):
        return "–"
    return f"{value:{'+' if sign else ''}.3f}".replace("-", "−")


def _percent(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, float) and np.isfinite(value) else "–"
