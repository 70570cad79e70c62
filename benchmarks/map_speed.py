"""How long does a whole map take, in plain forward passes and against the plain loop?

    python benchmarks/map_speed.py [--backend hooked] [--model NAME] [--source-tokens 80] [--target-tokens 111] [--json FILE]
    python benchmarks/map_speed.py --model qwen2.5-coder-1.5b-instruct-q4_k_m.gguf --dtype bfloat16 --target-tokens 120 --cpu-time
    python benchmarks/map_speed.py --cpu-time --details agreement

One process, one machine: the map (source pass and prefix included, self-check off), a plain forward pass over the target prompt
without unembedding, and a sample of the loop's cells, scaled to the whole map. Medians over `--repeats`. On a machine that other
work uses, `--cpu-time` counts this process's own time on all its threads (give it one: OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import time
from functools import partial

from common import map_parser, random_prompt, report
from common import seconds as median_seconds

import xtl
from xtl.backend import forward, forward_without_logits


def main() -> None:
    p = map_parser(__doc__)
    p.add_argument("--loop-cells", type=int, default=12)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--dtype", default="float32")
    p.add_argument("--cpu-time", action="store_true")
    p.add_argument("--details", nargs="*", choices=["options", "agreement"], default=[])
    arguments = p.parse_args()

    seconds = partial(median_seconds, clock=time.process_time if arguments.cpu_time else time.perf_counter)
    model = xtl.load_model(arguments.model, backend=arguments.backend, dtype=arguments.dtype)
    target = random_prompt(model, arguments.target_tokens, 1)
    question = {
        "source": random_prompt(model, arguments.source_tokens, 0),
        "target": target,
        "options": ["a", "b", "c"],
        "gold": 0,
    }
    n_layers = model.cfg.n_layers
    cells = 2 * n_layers**2
    side = max(1, int((arguments.loop_cells / 2) ** 0.5))
    some = [round(i * (n_layers - 1) / max(side - 1, 1)) for i in range(side)]

    whole = seconds(lambda: xtl.sweep(model, engine="packed", verify=0, **question), arguments.repeats)
    kept = whole
    if arguments.details:
        details = arguments.details
        kept = seconds(
            lambda: xtl.sweep(model, engine="packed", verify=0, details=details, **question), arguments.repeats
        )
    plain = seconds(lambda: forward_without_logits(model, target), arguments.repeats)
    full = seconds(lambda: forward(model, target), arguments.repeats)
    part = seconds(lambda: xtl.sweep(model, engine="loop", source_layers=some, target_layers=some, **question))
    loop = part / (2 * side**2 + 2) * (cells + 2)  # the sample's own vanilla and source pass count as two cells
    row = {
        "model": model.xtl_info.name,
        "backend": arguments.backend,
        "dtype": arguments.dtype,
        "tokens": f"{arguments.source_tokens} + {arguments.target_tokens}",
        "cells": cells,
        "map_s": round(whole, 3),
        **({f"map_with_{'_and_'.join(arguments.details)}_s": round(kept, 3)} if arguments.details else {}),
        "plain_forward_s": round(plain, 4),
        "forward_with_logits_s": round(full, 4),
        "loop_s_scaled": round(loop, 1),
        "map_in_plain_forwards": round(whole / plain, 2),
        "loop_over_map": round(loop / whole, 1),
    }
    report([row], arguments.json)


if __name__ == "__main__":
    main()
