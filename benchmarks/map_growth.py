"""What does an added cell cost, as the model gets deeper and the prompt longer?

    python benchmarks/map_growth.py [--layers 6 12 18 32] [--lengths 32 128 512 1024] [--backend hooked]

Random weights in the shape of Gemma 3 270M's layers with a small vocabulary (`Llama` blocks of width 640, MLP 2,048, 4 heads of 256,
one key head), so that layers alone are measured. Each row is a whole map (both modules, all source x target layers).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from common import parser, random_prompt, report, seconds
from transformers import LlamaConfig, LlamaForCausalLM

import xtl
from xtl.backend import forward_without_logits


def build(n_layers: int, backend: str) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        max_position_embeddings=2048,
    )
    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(config).save_pretrained(Path(folder))
        return xtl.load_model(folder, backend=backend)


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--layers", type=int, nargs="+", default=[6, 12, 18, 32])
    p.add_argument("--lengths", type=int, nargs="+", default=[32, 128, 512, 1024])
    p.add_argument("--backend", default="hooked")
    p.add_argument("--repeats", type=int, default=3)
    arguments = p.parse_args()
    rows = []
    for n_layers in arguments.layers:
        model = build(n_layers, arguments.backend)
        for length in arguments.lengths:
            source, target = random_prompt(model, length, 0), random_prompt(model, length, 1)
            # Token ids as options need a tokenizer: an answer-free map of the first token's log-probability does as well.
            question = {"source": source, "target": target, "max_new_tokens": 1, "engine": "packed", "verify": 0}
            whole = seconds(lambda question=question: xtl.sweep(model, **question), arguments.repeats)
            plain = seconds(lambda target=target: forward_without_logits(model, target), arguments.repeats)
            cells = 2 * n_layers**2
            # Without the source pass and the prefix, which are there for one cell as for all.
            fixed = seconds(
                lambda question=question: xtl.sweep(
                    model, modules=["attn"], source_layers=[0], target_layers=[0], **question
                ),
                arguments.repeats,
            )
            rows.append(
                {
                    "layers": n_layers,
                    "prompt_tokens": length,
                    "cells": cells,
                    "map_s": round(whole, 3),
                    "one_cell_s": round(fixed, 3),
                    "ms_per_added_cell": round(1000 * (whole - fixed) / (cells - 1), 3),
                    "ms_per_cell": round(1000 * whole / cells, 3),
                    "in_plain_forwards": round(whole / plain, 2),
                }
            )
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
