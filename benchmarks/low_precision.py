"""What does bfloat16 cost in exactness? The same maps in both precisions: do they rank the cells alike?

    python benchmarks/low_precision.py [--source-lang en] [--target-lang es] [--limit 10] [--dtype bfloat16] [--layers 0:28:4]

For each instance of the capitals task: Spearman's rank correlation of the cells' gains, whether the best cell is the same one,
how many of the ten best are shared, and the differences of gains in nats; likewise for the map averaged over instances.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from common import parser, report
from scipy.stats import spearmanr

import xtl


def compare(exact: xr.DataArray, low: xr.DataArray) -> dict[str, float]:
    a, b = exact.values.ravel().astype(float), low.values.ravel().astype(float)
    best = [set(np.argsort(values)[-10:]) for values in (a, b)]
    return {
        "rank_correlation": float(spearmanr(a, b).statistic),
        "same_best_cell": float(a.argmax() == b.argmax()),
        "shared_of_ten_best": float(len(best[0] & best[1])),
        "loss_at_the_other_best": float(a.max() - a[b.argmax()]),
        "mean_difference": float(np.abs(a - b).mean()),
        "largest_difference": float(np.abs(a - b).max()),
    }


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--model")
    p.add_argument("--backend", default="hooked")
    p.add_argument("--dtype", default="bfloat16")
    p.add_argument("--source-lang", default="en")
    p.add_argument("--target-lang", default="es")
    p.add_argument("--limit", type=int, default=10)
    p.add_argument("--layers", help="source and target layers; all by default")
    arguments = p.parse_args()
    pairs = xtl.get_task("capitals").pairs(arguments.source_lang, arguments.target_lang, limit=arguments.limit)
    maps = []
    for dtype in ("float32", arguments.dtype):
        model = xtl.load_model(arguments.model, backend=arguments.backend, dtype=dtype)
        layers = dict.fromkeys(("source_layers", "target_layers"), arguments.layers)
        maps.append(xtl.concat_maps(xtl.sweep_many(model, pairs, **layers)))
    exact, low = maps
    rows = []
    for module in exact.module.values:
        one, other = exact.gain.sel(module=module), low.gain.sel(module=module)
        each = [compare(one[index], other[index]) for index in range(len(pairs))]
        mean = {name: float(np.mean([row[name] for row in each])) for name in each[0]}
        rows.append({"module": module, "of": f"each of {len(pairs)} instances (mean)", **mean})
        rows.append(
            {
                "module": module,
                "of": "the map averaged over them",
                **compare(one.mean("example"), other.mean("example")),
            }
        )
    same = float((exact.correct == low.correct).mean())
    for row in rows:
        row |= {"same_verdict": same}
    report(
        [{name: round(v, 4) if isinstance(v, float) else v for name, v in row.items()} for row in rows], arguments.json
    )


if __name__ == "__main__":
    main()
