"""Gradient maps against exact ones, on the embedded model: how far they agree, and what they cost.

For each pair and module: the estimate by each method, and the exact map (of heads: of 500 cells, drawn at random). CPU times are
in plain passes: one forward pass over the pair's target prompt, without a cache, logits of its last position.

python benchmarks/attribution.py --languages es,tr,sw --pairs 2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import torch

import xtl
from xtl.backend import forward
from xtl.gradients import METHODS, agreement
from xtl.tokens import encode


def seconds(run: Callable[[], Any]) -> tuple[Any, float]:
    """What a function gives, and the CPU seconds that it takes."""
    start = time.process_time()
    return run(), time.process_time() - start


def rows_of(model: Any, pair: xtl.ParallelPair, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Of one pair a row for each module and method."""
    ids = encode(model, pair.target)
    plain = min(seconds(lambda: forward(model, ids, keep=1))[1] for _ in range(5))
    rows = []
    for module in given.modules.split(","):
        if module == "attn_head":
            exact, took = seconds(lambda: xtl.attribution(model, pair, modules=["attn_head"], sample=given.sample))
            known = exact["exact"].values
        else:
            exact, took = seconds(lambda module=module: xtl.sweep(model, pair, modules=[module], verify=0))
            known = np.ones(exact["gain"].shape, bool)
        what = f"exact, {known.sum()} cells" if module == "attn_head" else "exact"
        rows.append({"module": module, "method": what, "passes": took / plain})
        for method in [one for one in given.methods.split(",") if one != "carried" or module == "attn_head"]:
            options = {"modules": [module], "method": method, "points": given.points}
            found, took = seconds(lambda options=options: xtl.attribution(model, pair, **options))
            alike = agreement(found["gain"].values[known].astype(float), exact["gain"].values[known].astype(float))
            rows.append({"module": module, "method": method, "passes": took / plain, **alike})
    told = {"direction": pair.direction, "pair": pair.id, "vanilla": float(exact["vanilla_score"])}
    return [told | row for row in rows]


def vanilla(model: Any, pair: xtl.ParallelPair) -> float:
    """The pair's score without a transplant."""
    return float(xtl.attribution(model, pair, modules=["resid"], target_layers=[-1])["vanilla_score"])


def table(rows: list[dict[str, Any]]) -> str:
    """Means over pairs, as a Markdown table; of Spearman also the lowest."""
    data = pd.DataFrame(rows)
    lines = [
        "| module | method | Spearman (lowest) | same sign | top 10 | top 50 | plain passes |",
        "|---|---|---|---|---|---|---|",
    ]
    for (module, method), part in data.groupby(["module", "method"], sort=False):
        mean = part.mean(numeric_only=True)
        if np.isnan(mean["spearman"]):
            lines.append(f"| `{module}` | {method} | | | | | {mean['passes']:.1f} |")
            continue
        shares = " | ".join(f"{mean[name]:.0%}" for name in ("sign", "top10", "top50"))
        agreed = f"{mean['spearman']:.2f} ({part['spearman'].min():.2f}) | {shares}"
        lines.append(f"| `{module}` | {method} | {agreed} | {mean['passes']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--languages", default="es,tr,sw")
    parser.add_argument("--pairs", type=int, default=2, help="of each language")
    parser.add_argument("--below", type=float, default=0.0, help="pairs whose vanilla score is below, in nats")
    parser.add_argument("--modules", default="attn,mlp,resid,attn_head")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--sample", type=int, default=500, help="cells of heads that are computed exactly")
    parser.add_argument("--points", type=int, default=2, help="gradients a place, of 'integrated'")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = xtl.load_model(given.model)
    warm = xtl.get_task("capitals").pairs("en", "es", limit=1)[0]
    xtl.attribution(model, warm, modules=["attn_head"], sample=1)  # what is tried once a model is tried here
    rows: list[dict[str, Any]] = []
    for language in given.languages.split(","):
        pairs = list(xtl.get_task("capitals").pairs("en", language))
        for pair in islice(filter(lambda pair: vanilla(model, pair) < given.below, pairs), given.pairs):
            rows += rows_of(model, pair, given)
            agreed = {
                row["method"]: round(row["spearman"], 2) for row in rows if row["pair"] == pair.id and "spearman" in row
            }
            print(pair.id, pair.direction, f"vanilla {rows[-1]['vanilla']:.4f}", agreed, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
