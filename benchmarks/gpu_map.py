"""How long does a map of a 7B model take on a GPU, and how much of the card does it use?

    python benchmarks/gpu_map.py [--device cuda] [--dtypes bfloat16,float32] [--tokens 256,1024,4096] [--sources 1,8]

A HookedTransformer with random weights in the shape of Llama-2-7B (32 layers, width 4,096: 2,048 cells a source, both modules),
one-token options, both prompts of the same length. A row a precision, length and number of sources: the map in seconds and in
plain forward passes over the target prompt, the multiplications that `torch.utils.flop_counter` counts in it and the rate, the
share of the card's peak (of the datasheet, dense; `--peak` gives another), and what the batched engine and the loop take, scaled
from a sample of their cells. Rows that the time left (`--minutes`, 8) can't hold are left out, and said.

It runs unattended and needs nothing but torch, transformer-lens and xtl. Memory: 13 GB in bfloat16, 27 in float32, and `peak_gb`
over that. `--tiny` runs the same code on a small shape, to see that it works.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from common import parser, random_prompt, report, seconds
from torch.utils.flop_counter import FlopCounterMode
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
PEAKS = {
    "H200": (989, 67), "H100 PCIe": (756, 51), "H100": (989, 67), "A100": (312, 19.5), "L40S": (362, 91.6),
    "RTX 4090": (165, 82.6), "RTX 3090": (71, 35.6),
}  # fmt: skip
"""TFLOP/s that datasheets promise for dense matrices, in bfloat16 and float32 (no TF32), by what a card's name holds."""
QUESTION = Question(((11,), (13,), (17,)), 0, True, texts=("a", "b", "c"), alone=(False, False, False))


@dataclass(frozen=True)
class Case:
    """A row: the length of both prompts, and how many sources lend."""

    dtype: str
    tokens: int
    sources: int


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--dtypes", default="bfloat16,float32")
    p.add_argument("--tokens", default="256,1024,4096")
    p.add_argument("--sources", default="1,8")
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--minutes", type=float, default=8.0, help="in all, the model's making among it")
    p.add_argument("--peak", type=float, help="TFLOP/s that the card promises")
    p.add_argument("--tiny", action="store_true")
    arguments = p.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    rows = list(table(arguments, end))
    report(rows, arguments.json)


def table(arguments: argparse.Namespace, end: float) -> Iterator[dict[str, Any]]:
    """The rows, each said as soon as it is there."""
    dtypes, tokens, sources = (getattr(arguments, name).split(",") for name in ("dtypes", "tokens", "sources"))
    model = build("tiny" if arguments.tiny else "llama-2-7b", arguments.device, getattr(torch, dtypes[0]))
    for dtype in dtypes:
        model = model.to(getattr(torch, dtype))
        for lends, length in product(map(int, sources), map(int, tokens)):
            row = measure(model, Case(dtype, length, lends), arguments, end)
            print(row, flush=True)
            yield row


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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "HookedTransformer is deprecated", DeprecationWarning)
        return HookedTransformer(config)


def plan_of(model: HookedTransformer, case: Case) -> Plan:
    """Every cell of every source."""
    layers = tuple(range(model.cfg.n_layers))
    source, target = (random_prompt(model, case.tokens, seed) for seed in (0, 1))
    plan = Plan(source, target, tuple(get_modules(["attn", "mlp"])), layers, layers, QUESTION.continuations, True)
    if case.sources == 1:
        return plan
    names = tuple(f"source {k}" for k in range(case.sources))
    lent = tuple((name, random_prompt(model, case.tokens, 2 + k)) for k, name in enumerate(names))
    return replace(plan, sources=lent, axes=(("source_lang", names),))


@torch.no_grad()
def measure(model: HookedTransformer, case: Case, arguments: argparse.Namespace, end: float) -> dict[str, Any]:
    """One row."""
    plan = plan_of(model, case)
    found: dict[str, Any] = {"dtype": case.dtype, "tokens": case.tokens, "sources": case.sources, "cells": plan.n_cells}
    plain = seconds(lambda: forward_without_logits(model, plan.target_ids), arguments.repeats)
    found["plain_s"] = round(plain, 4)
    passes = (8 + 2 * case.sources) * (arguments.repeats + 4) + 60  # at most, as maps on CPUs go; the loop's sample
    if time.monotonic() + passes * plain > end:
        return found | {"map_s": "no time left"}
    on_gpu = torch.device(arguments.device).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    checked = run(model, plan, "packed", verify=1)
    with FlopCounterMode(display=False) as counter:
        run(model, plan, "packed")
    whole = seconds(lambda: run(model, plan, "packed"), arguments.repeats, warm=False)
    rate = counter.get_total_flops() / whole / 1e12
    found |= {
        "map_s": round(whole, 4), "in_plain_passes": round(whole / plain, 2), "tflop_s": float(f"{rate:.3g}"),
        "of_peak": share(rate, case.dtype, arguments),
        "batched_over_map": round(sample_of(model, plan, "batched") / whole, 1),
        "loop_over_map": round(sample_of(model, plan, "loop") / whole, 1),
        "difference_nats": round(checked.attrs["verified_largest_difference"], 5),
    }  # fmt: skip
    if on_gpu:
        found["peak_gb"] = round((torch.cuda.max_memory_allocated() - before) / 2**30, 2)
    return found


def run(model: HookedTransformer, plan: Plan, engine: str, verify: int = 0) -> Any:
    """A map by an engine."""
    sweep = Sweep(ParallelPair(plan.source_ids, plan.target_ids), plan, QUESTION, None, verify)
    return Driver(model, SweepSettings(engine=engine)).map(sweep)


def sample_of(model: HookedTransformer, plan: Plan, engine: str) -> float:
    """Seconds of an engine for the whole plan, by a few cells of one source: the source pass and vanilla stand for two."""
    half = model.cfg.n_layers // 2
    some = replace(plan, sources=(), axes=(), source_layers=plan.source_layers[:1], target_layers=(half - 1, half))
    taken = seconds(lambda: run(model, some, engine), 1, warm=engine == "batched")
    return taken / (some.n_cells + 2) * (plan.n_cells + 1 + max(len(plan.sources), 1))


def share(rate: float, dtype: str, arguments: argparse.Namespace) -> str:
    """Of the card's peak; nothing where that is not known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    listed = next((peaks[dtype == "float32"] for card, peaks in PEAKS.items() if card in name), None)
    peak = arguments.peak or listed
    return f"{rate / peak:.0%}" if peak else "?"


if __name__ == "__main__":
    main()
