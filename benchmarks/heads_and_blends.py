"""Which heads of a layer carry the capital, and does half a transplant lose less than a whole one? With control, by question.

    python benchmarks/heads_and_blends.py --out runs/heads

The cells are fixed beforehand: English lends attention 12 to 12 and to 13 of Gemma 3 270M, where notebook 04 finds the gain
in Spanish. Heads are written one at a time, each over each. Instances count once, whatever the number of languages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from common import parser

import xtl

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
    rows = [row(blends, target_layer=j, alpha=a) for j in LAYERS["target_layers"] for a in ALPHAS]
    show(rows, out / "blends.csv")
    heads = both(model, pairs, xtl.KeptMaps(out / "heads"), modules=["attn_head"], **LAYERS)
    n_heads = range(heads[0].sizes["source_head"])
    show(
        [
            row(heads, target_layer=j, source_head=h, target_head=k)
            for j in LAYERS["target_layers"]
            for h in n_heads
            for k in n_heads
        ],
        out / "heads.csv",
    )


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
    was, now = real.vanilla_correct.values, real.correct.values.squeeze()
    return {
        "target layer": target_layer,
        **place,
        "gain": interval(own),
        "over control": interval(over),
        "right before": was.mean(),
        "right after": now.mean(),
        "won": int((now & ~was).sum()),
        "lost": int((was & ~now).sum()),
        "control won": int((control.correct.values.squeeze() & ~was).sum()),
        "control lost": int((was & ~control.correct.values.squeeze()).sum()),
    }


def interval(found: xr.Dataset) -> str:
    """A mean difference with its 95% interval, nats."""
    return f"{float(found['mean']):+.2f} [{float(found['low']):+.2f}, {float(found['high']):+.2f}]"


def show(rows: list[dict[str, Any]], path: Path) -> None:
    """Print the rows as a table and write them."""
    table = pd.DataFrame(rows)
    table.to_csv(path, index=False)
    print(table.to_string(index=False, float_format="{:.2f}".format), flush=True)


if __name__ == "__main__":
    main()
