"""What does the release transplant at its attention level, and does it matter?

    python benchmarks/released_attention.py [--target-lang es] [--limit 10] [--out docs]

The maps of `attn` (the attention output, as the paper describes it) and of `attn_released` (the residual stream after attention,
as its code does it) on the capitals task, side by side: `released_attention.png` and a table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common import parser, report
from scipy.stats import spearmanr

import xtl
from xtl import plots
from xtl.languages import english_name


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--model")
    p.add_argument("--target-lang", default="es")
    p.add_argument("--limit", type=int, default=10)
    p.add_argument("--out", type=Path, default=Path("docs"))
    arguments = p.parse_args()
    model = xtl.load_model(arguments.model)
    pairs = xtl.get_task("capitals").pairs("en", arguments.target_lang, limit=arguments.limit)
    modules = ["attn", "attn_released", "resid"]
    maps = xtl.concat_maps(xtl.sweep_many(model, pairs, modules=modules)).assign_attrs(task="capitals")
    itself = [xtl.ParallelPair(pair.target, pair.target, options=pair.options, gold=pair.gold) for pair in pairs[:1]]
    noop = next(iter(xtl.sweep_many(model, itself, modules=modules)))
    rows = []
    for module in modules:
        gain = maps.gain.sel(module=module)
        mean = gain.mean("example")
        best = mean.argmax(...)
        layers = range(model.cfg.n_layers)
        alike = {
            other: spearmanr(mean.values.ravel(), maps.gain.sel(module=other).mean("example").values.ravel()).statistic
            for other in ("attn", "resid")
        }
        onto_itself = np.abs(noop.gain.sel(module=module).values[layers, layers]).max()
        rows.append(
            {
                "module": module,
                "mean_gain": round(float(gain.mean()), 3),
                "best_cell": f"{int(best['source_layer'])} -> {int(best['target_layer'])}",
                "gain_there": round(float(mean.max()), 3),
                **{f"rank_correlation_with_{other}": round(float(value), 3) for other, value in alike.items()},
                "largest_change_of_a_prompt_onto_itself": round(float(onto_itself), 6),
            }
        )
    report(rows, arguments.json)
    language = english_name(arguments.target_lang)
    title = f"Capitals, English lends to {language}: three things that a transplant may write"
    plots.save_png(plots.gain_map(maps, title=title), arguments.out / "released_attention.png")


if __name__ == "__main__":
    main()
