"""How much faster is a map of generated answers than a loop that generates them one by one?

    python benchmarks/generation_speed.py [--backend hooked] [--model NAME] [--max-new-tokens 20] [--steps first]
        [--details confidence]

One process, one machine: the whole map on an engine, and a sample of cells on the loop, scaled to the map. End-of-sequence tokens
are switched off, so that every cell generates all its tokens.
"""

from __future__ import annotations

import time
from dataclasses import replace

from common import parser, report, seconds

import xtl
from xtl.models.info import model_info
from xtl.tokens import encode

SOURCE = """Question: how do the two sentences go together?

First: The museum by the harbour is closed on Mondays, but the guide told us that she would open the side door for schools.
Second: Nobody can visit the museum on a Monday.

(1) The second follows from the first
(2) Neither follows nor contradicts
(3) The second contradicts the first

Answer: if I had to pick one of the three, it would be"""
TARGET = """Pregunta: ¿qué relación hay entre las dos frases?

Primera: El museo del puerto cierra los lunes, pero la guía nos dijo que abriría la puerta lateral para los colegios.
Segunda: Nadie puede visitar el museo un lunes.

(1) La segunda se deduce de la primera
(2) Ni se deduce ni se contradice
(3) La segunda contradice a la primera

Respuesta: si tuviera que elegir una de las tres, sería"""


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--model")
    p.add_argument("--backend", default="hooked")
    p.add_argument("--engine", default="packed")
    p.add_argument("--max-new-tokens", type=int, default=20)
    p.add_argument("--steps", default="first")
    p.add_argument("--loop-cells", type=int, default=6)
    p.add_argument("--details", choices=["confidence", "agreement"])
    arguments = p.parse_args()

    model = xtl.load_model(arguments.model, backend=arguments.backend)
    model.xtl_info = replace(model_info(model), eos_token_ids=())
    question = {
        "source": SOURCE,
        "target": TARGET,
        "max_new_tokens": arguments.max_new_tokens,
        "steps": arguments.steps,
        "verify": 0,
        "details": [arguments.details] if arguments.details else (),
    }
    n_layers = model.cfg.n_layers
    cells = 2 * n_layers**2
    layers = [round(i * (n_layers - 1) / (arguments.loop_cells - 1)) for i in range(arguments.loop_cells)]
    part = seconds(
        lambda: xtl.sweep(model, engine="loop", modules=["attn"], source_layers=[0], target_layers=layers, **question)
    )
    cpu = time.process_time()
    whole = seconds(lambda: xtl.sweep(model, engine=arguments.engine, **question), warm=False)
    cpu = time.process_time() - cpu
    loop = part / (len(layers) + 1) * (cells + 1)  # vanilla runs too
    report(
        [
            {
                "model": model.xtl_info.name,
                "backend": arguments.backend,
                "engine": arguments.engine,
                "steps": arguments.steps,
                "details": arguments.details or "none",
                "cells": cells,
                "tokens": f"{len(encode(model, SOURCE))} + {len(encode(model, TARGET))}",
                "new_tokens": arguments.max_new_tokens,
                "map_s": round(whole, 2),
                "map_cpu_s": round(cpu, 1),
                "loop_s_scaled": round(loop, 1),
                "loop_over_map": round(loop / whole, 1),
            }
        ],
        arguments.json,
    )


if __name__ == "__main__":
    main()
