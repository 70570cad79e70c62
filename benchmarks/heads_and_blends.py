"""Which heads of a layer carry the capital, and does half a transplant lose less than a whole one? With control, by question.

    python benchmarks/heads_and_blends.py --out runs/heads

The cells are fixed beforehand: English lends attention 12 to 12 and to 13 of Gemma 3 270M, where notebook 04 finds the gain
in Spanish. Heads are written one at a time, each over each. Instances count once, whatever the number of languages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from common import parser
from plotly.subplots import make_subplots

import xtl
from xtl.plots.style import COLOUR_SCALE, CONTROL, FONT, REAL

ALPHAS = [0.25, 0.5, 0.75, 1.0, 1.5]
LAYERS = {"source_layers": [12], "target_layers": [12, 13]}


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--languages", default="es,tr,sw")
    p.add_argument("--limit", type=int, default=30)
    p.add_argument("--out", default="runs/heads")
    arguments = p.parse_args()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    model, task = xtl.load_model(), xtl.get_task("capitals")
    pairs = [pair for to in arguments.languages.split(",") for pair in task.pairs("en", to, limit=arguments.limit)]
    blends = both(model, pairs, xtl.KeptMaps(out / "blends"), modules=["attn"], alpha=ALPHAS, **LAYERS)
    shares = show(
        [row(blends, target_layer=j, alpha=a) for j in LAYERS["target_layers"] for a in ALPHAS], out / "blends.csv"
    )
    heads = both(model, pairs, xtl.KeptMaps(out / "heads"), modules=["attn_head"], **LAYERS)
    n_heads = range(heads[0].sizes["source_head"])
    by_head = show(
        [
            row(heads, target_layer=j, source_head=h, target_head=k)
            for j in LAYERS["target_layers"]
            for h in n_heads
            for k in n_heads
        ],
        out / "heads.csv",
    )
    print("chosen on half of the questions, measured on the others:")
    show([chosen("head", heads, "source_head", "target_head"), chosen("alpha", blends, "alpha")], out / "held_out.csv")
    xtl.plots.save_png(figure(shares, by_head), out / "heads_and_blends.png")


def both(model: Any, pairs: list[xtl.ParallelPair], keep: Any, **settings: Any) -> tuple[xr.Dataset, xr.Dataset]:
    """All maps of the pairs, and of their shuffled-source control."""
    real = xtl.sweep_many(model, pairs, keep=keep, progress=True, **settings)
    control = xtl.controls.run(model, pairs, "shuffled_source", keep=keep, progress=True, verify=0, **settings)
    return xtl.concat_maps(real), xtl.concat_maps(control)


def row(maps: tuple[xr.Dataset, xr.Dataset], target_layer: int, **place: Any) -> dict[str, Any]:
    """One cell: gain, gain over the control, and what became of the answers."""
    real, control = (one.sel(**place).sel(target_layer=[target_layer]) for one in maps)
    own = xtl.stats.cell_intervals(real, by=None).squeeze()
    over = xtl.stats.cell_intervals(real, control, by=None).squeeze()
    other = xtl.stats.cell_intervals(control, by=None).squeeze()
    was, now = real.vanilla_correct.values, real.correct.values.squeeze()
    return {
        "target layer": target_layer,
        **place,
        "gain": interval(own),
        "control's gain": interval(other),
        "over control": interval(over),
        "right before": was.mean(),
        "right after": now.mean(),
        "won": int((now & ~was).sum()),
        "lost": int((was & ~now).sum()),
        "control won": int((control.correct.values.squeeze() & ~was).sum()),
        "control lost": int((was & ~control.correct.values.squeeze()).sum()),
    }


def chosen(what: str, maps: tuple[xr.Dataset, xr.Dataset], *dims: str) -> dict[str, Any]:
    """What the best head pair, or alpha, gains at layer 12 where it was not chosen: its axes in the place of the layers."""
    names = dict(zip(dims, ("source_layer", "target_layer"), strict=False))
    as_layers = []
    for one in maps:
        here = one.sel(source_layer=12, drop=True)
        here = here.sel(target_layer=12, drop=True) if len(dims) == 2 else here.sel(target_layer=[12])
        as_layers.append(here.rename(names).transpose(..., "source_layer", "target_layer"))
    found = xtl.stats.held_out(*as_layers, by=None)
    return {"chosen": what} | {
        name: str(found[name].iloc[0]) for name in found if name.startswith(("gain", "in_sample"))
    }


def interval(found: xr.Dataset) -> str:
    """A mean difference with its 95% interval, nats."""
    return f"{float(found['mean']):+.2f} [{float(found['low']):+.2f}, {float(found['high']):+.2f}]"


def show(rows: list[dict[str, Any]], path: Path) -> pd.DataFrame:
    """Print the rows as a table, write them, and give the table."""
    table = pd.DataFrame(rows)
    table.to_csv(path, index=False)
    print(table.to_string(index=False, float_format="{:.2f}".format), flush=True)
    return table


def figure(blends: pd.DataFrame, heads: pd.DataFrame) -> go.Figure:
    """Gains of heads at layer 12, and of shares of the whole, real and control."""
    titles = ["One head over one head, layer 12", "A share of the layer, 12 to 12"]
    made = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.16)
    here = heads[heads["target layer"] == 12].assign(mean=lambda t: numbers(t["gain"])[:, 0])
    table = here.pivot(index="source_head", columns="target_head", values="mean")
    limit = float(table.abs().max().max())
    made.add_heatmap(
        z=table, x=table.columns.astype(str), y=table.index.astype(str), zmin=-limit, zmax=limit, colorscale=COLOUR_SCALE,
        texttemplate="%{z:+.2f}", colorbar={"title": {"text": "gain (nats)"}, "x": 0.43, "len": 0.9}, row=1, col=1,
    )  # fmt: skip
    same = blends[blends["target layer"] == 12]
    for name, column, colour, dash in (
        ("real", "gain", REAL, "solid"),
        ("shuffled source", "control's gain", CONTROL, "dash"),
    ):
        mean, low, high = numbers(same[column]).T
        made.add_scatter(
            x=same["alpha"], y=mean, name=name, line={"color": colour, "dash": dash}, mode="lines+markers",
            error_y={"array": high - mean, "arrayminus": mean - low}, row=1, col=2,
        )  # fmt: skip
    made.update_xaxes(title_text="target head", row=1, col=1).update_yaxes(title_text="source head", row=1, col=1)
    made.update_xaxes(title_text="alpha: share of the source that is written", row=1, col=2)
    made.update_yaxes(title_text="mean gain (nats), 95% interval", row=1, col=2)
    title = "Attention 12 of Gemma 3 270M, capitals, English to Spanish, Turkish and Swahili: 30 questions each"
    made.update_layout(
        title=title, font_family=FONT, template="plotly_white", width=1100, height=460, legend={"x": 0.75, "y": 0.08}
    )
    return made


def numbers(column: pd.Series) -> np.ndarray:
    """Mean and ends of written intervals."""
    return np.array([[float(one) for one in re.findall(r"[-+][\d.]+", text)] for text in column])


if __name__ == "__main__":
    main()
