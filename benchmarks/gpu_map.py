"""How long does a map of a 7B model take on a GPU?

    python benchmarks/gpu_map.py [--device cuda] [--dtype bfloat16] [--target-tokens 256]

A HookedTransformer with random weights in the shape of Llama-2-7B (32 layers, width 4,096: 2,048 cells, both modules), one-token
options. The peak of memory is over the model's own. `--tiny` runs the same code on a small shape, to see that it works.
"""

from __future__ import annotations

import torch
from common import parser, random_prompt, report, seconds
from transformer_lens import HookedTransformer, HookedTransformerConfig

from xtl.backend import forward_without_logits
from xtl.engine.driver import Driver
from xtl.engine.plan import Plan
from xtl.engine.prepare import Sweep, SweepSettings
from xtl.hooks import get_modules
from xtl.pairs import ParallelPair
from xtl.scoring.likelihood import Question

SHAPES = {
    "llama-2-7b": {"n_layers": 32, "d_model": 4096, "n_heads": 32, "d_head": 128, "d_mlp": 11008, "d_vocab": 32000},
    "tiny": {"n_layers": 4, "d_model": 64, "n_heads": 4, "d_head": 16, "d_mlp": 128, "d_vocab": 1000},
}


def build(shape: str, device: str, dtype: torch.dtype) -> HookedTransformer:
    torch.manual_seed(0)
    config = HookedTransformerConfig(
        **SHAPES[shape],
        n_ctx=4096,
        act_fn="silu",
        gated_mlp=True,
        normalization_type="RMS",
        positional_embedding_type="rotary",
        rotary_dim=SHAPES[shape]["d_head"],
        final_rms=True,
        initializer_range=0.02,
        dtype=dtype,
        device=device,
        model_name=f"random weights, {shape}",
        original_architecture="LlamaForCausalLM",
    )
    return HookedTransformer(config)


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--dtype", default="bfloat16")
    p.add_argument("--source-tokens", type=int, default=256)
    p.add_argument("--target-tokens", type=int, default=256)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--verify", type=int, default=3, help="cells to compare with the loop, once")
    p.add_argument("--tiny", action="store_true")
    arguments = p.parse_args()
    shape = "tiny" if arguments.tiny else "llama-2-7b"
    model = build(shape, arguments.device, getattr(torch, arguments.dtype))
    source = random_prompt(model, arguments.source_tokens, 0)
    target = random_prompt(model, arguments.target_tokens, 1)
    question = Question(((11,), (13,), (17,)), 0, True, ("a", "b", "c"))
    layers = tuple(range(model.cfg.n_layers))
    plan = Plan(source, target, tuple(get_modules(["attn", "mlp"])), layers, layers, question.continuations, True)
    sweep = Sweep(ParallelPair(source, target), plan, question, None, 0)
    if arguments.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    packed, one_by_one = (Driver(model, SweepSettings(engine=name)) for name in ("packed", "loop"))
    with torch.no_grad():
        checked = packed.map(Sweep(sweep.pair, plan, question, None, arguments.verify))
        whole = seconds(lambda: packed.map(sweep), arguments.repeats)
        plain = seconds(lambda: forward_without_logits(model, target), arguments.repeats)
        some = Plan(source, target, plan.modules, layers[:1], layers[:4], question.continuations, True)
        loop = seconds(lambda: one_by_one.map(Sweep(sweep.pair, some, question, None, 0)), 1)
    row = {
        "model": model.cfg.model_name,
        "dtype": arguments.dtype,
        "cells": plan.n_cells,
        "tokens": f"{len(source)} + {len(target)}",
        "map_s": round(whole, 4),
        "plain_forward_s": round(plain, 4),
        "in_plain_forwards": round(whole / plain, 2),
        "loop_over_map": round(loop / (some.n_cells + 2) * (plan.n_cells + 2) / whole, 1),
        "largest_difference_nats": round(checked.attrs["verified_largest_difference"], 5),
    }
    if arguments.device == "cuda":
        row["peak_over_model_gb"] = round((torch.cuda.max_memory_allocated() - before) / 2**30, 2)
    report([row], arguments.json)


if __name__ == "__main__":
    main()
