"""What does an added cell cost, as the model gets deeper and the prompt longer?

    python benchmarks/map_growth.py [--layers 6 12 18 32] [--lengths 32 128 512 1024] [--backend hooked]

Random weights in the shape of Gemma 3 270M's layers with a small vocabulary (`Llama` blocks of width 640, MLP 2,048, 4 heads of
256, one key head), so that layers alone are measured. Each row is a whole map (both modules, all source x target layers).
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


def measure(model: Any, length: int, repeats: int) -> dict[str, Any]:
    # No tokenizer, no options: a map of first tokens costs the same but for the small vocabulary's argmax.
    question = {
        "source": random_prompt(model, length, 0),
        "target": random_prompt(model, length, 1),
        "max_new_tokens": 1,
        "engine": "packed",
        "verify": 0,
    }
    one_cell = {"modules": ["attn"], "source_layers": [0], "target_layers": [0]}
    n_cells = 2 * model.cfg.n_layers**2
    whole = seconds(lambda: xtl.sweep(model, **question), repeats)
    one = seconds(
        lambda: xtl.sweep(model, **one_cell, **question), repeats
    )  # source pass and prefix are there for one cell too
    plain = seconds(lambda: forward_without_logits(model, question["target"]), repeats)
    return {
        "layers": model.cfg.n_layers,
        "prompt_tokens": length,
        "cells": n_cells,
        "map_s": round(whole, 3),
        "one_cell_s": round(one, 3),
        "ms_per_added_cell": round(1000 * (whole - one) / (n_cells - 1), 3),
        "ms_per_cell": round(1000 * whole / n_cells, 3),
        "in_plain_forwards": round(whole / plain, 2),
    }


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
        rows += [measure(model, length, arguments.repeats) for length in arguments.lengths]
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
