"""How long does a whole map take, in plain forward passes and against the plain loop?

    python benchmarks/map_speed.py [--backend hooked] [--model NAME] [--source-tokens 80] [--target-tokens 111] [--json FILE]

One process, one machine: the map (source pass and prefix included, self-check off), a plain forward pass over the target prompt
without unembedding, and a sample of the loop's cells, scaled to the whole map. Medians over `--repeats`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import torch

import xtl
from xtl.backend import forward, forward_without_logits


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--backend", default="hooked")
    parser.add_argument("--source-tokens", type=int, default=80)
    parser.add_argument("--target-tokens", type=int, default=111)
    parser.add_argument("--loop-cells", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json")
    arguments = parser.parse_args()

    model = xtl.load_model(arguments.model, backend=arguments.backend)
    generator = torch.Generator().manual_seed(0)
    source, target = (
        torch.randint(1000, min(model.cfg.d_vocab, 50_000), (n,), generator=generator).tolist()
        for n in (arguments.source_tokens, arguments.target_tokens)
    )
    question = {"source": source, "target": target, "options": ["a", "b", "c"], "gold": 0}
    n_layers = model.cfg.n_layers
    cells = 2 * n_layers**2
    side = max(1, int((arguments.loop_cells / 2) ** 0.5))
    some = [round(i * (n_layers - 1) / max(side - 1, 1)) for i in range(side)]

    whole = median_seconds(lambda: xtl.sweep(model, engine="packed", verify=0, **question), arguments.repeats)
    plain = median_seconds(lambda: forward_without_logits(model, target), arguments.repeats)
    full = median_seconds(lambda: forward(model, target), arguments.repeats)
    part = median_seconds(
        lambda: xtl.sweep(model, engine="loop", source_layers=some, target_layers=some, **question), 1
    )
    loop = part / (2 * side**2 + 2) * (cells + 2)  # the sample's own vanilla and source pass count as two cells
    row = {
        "model": model.xtl_info.name,
        "backend": arguments.backend,
        "cells": cells,
        "source_tokens": arguments.source_tokens,
        "target_tokens": arguments.target_tokens,
        "map_s": round(whole, 3),
        "plain_forward_s": round(plain, 4),
        "forward_with_logits_s": round(full, 4),
        "loop_s_scaled": round(loop, 1),
        "map_in_plain_forwards": round(whole / plain, 2),
        "loop_over_map": round(loop / whole, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
    }
    for name, value in row.items():
        print(f"{name:24} {value}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(row, file, indent=1)


if __name__ == "__main__":
    main()
