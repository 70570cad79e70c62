"""How much faster is a map of generated answers than a loop that generates them one by one?

    python benchmarks/generation_speed.py [--backend hooked] [--model NAME] [--max-new-tokens 20] [--steps first]

One process, one machine: the whole map on an engine, and a sample of cells on the loop, scaled to the map. End-of-sequence tokens
are switched off, so that every cell generates all its tokens.
"""

from __future__ import annotations

from dataclasses import replace

from common import parser, random_prompt, report, seconds

import xtl
from xtl.backend import model_info


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--model")
    p.add_argument("--backend", default="hooked")
    p.add_argument("--engine", default="packed")
    p.add_argument("--source-tokens", type=int, default=80)
    p.add_argument("--target-tokens", type=int, default=111)
    p.add_argument("--max-new-tokens", type=int, default=20)
    p.add_argument("--steps", default="first")
    p.add_argument("--loop-cells", type=int, default=6)
    arguments = p.parse_args()

    model = xtl.load_model(arguments.model, backend=arguments.backend)
    model.xtl_info = replace(model_info(model), eos_token_ids=())
    question = {
        "source": random_prompt(model, arguments.source_tokens, 0),
        "target": random_prompt(model, arguments.target_tokens, 1),
        "max_new_tokens": arguments.max_new_tokens,
        "steps": arguments.steps,
        "verify": 0,
    }
    n_layers = model.cfg.n_layers
    cells = 2 * n_layers**2
    layers = [round(i * (n_layers - 1) / (arguments.loop_cells - 1)) for i in range(arguments.loop_cells)]
    part = seconds(
        lambda: xtl.sweep(model, engine="loop", modules=["attn"], source_layers=[0], target_layers=layers, **question)
    )
    whole = seconds(lambda: xtl.sweep(model, engine=arguments.engine, **question), warm=False)
    loop = part / (len(layers) + 1) * (cells + 1)  # vanilla runs too
    report(
        [
            {
                "model": model.xtl_info.name,
                "backend": arguments.backend,
                "engine": arguments.engine,
                "steps": arguments.steps,
                "cells": cells,
                "new_tokens": arguments.max_new_tokens,
                "map_s": round(whole, 2),
                "loop_s_scaled": round(loop, 1),
                "loop_over_map": round(loop / whole, 1),
            }
        ],
        arguments.json,
    )


if __name__ == "__main__":
    main()
