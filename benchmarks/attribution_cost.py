"""What the estimate of all heads by all heads costs, and then the 100 best of them exactly, in plain passes.

    OMP_NUM_THREADS=1 python benchmarks/attribution_cost.py

A plain pass is one call of the model on the target prompt, all logits included. The same question with its card alone, after ten
answered cards, and with options of one token; CPU seconds, the median of three.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import torch
from common import machine, parser, report, seconds

import xtl

cpu = partial(seconds, repeats=3, clock=time.process_time)


def main() -> None:
    arguments = parser(__doc__).parse_args()
    print(machine())
    model, task = xtl.load_model(), xtl.get_task("capitals")
    _, pair, *shots = task.pairs("en", "tr", limit=12)
    long = replace(pair, source=after(shots, pair, "source"), target=after(shots, pair, "target"))
    single = xtl.ParallelPair(long.source, long.target, options=(" A", " B", " C", " D"), gold=0)
    rows = []
    for name, asked in (("card", pair), ("after ten cards", long), ("after ten cards, options of one token", single)):
        tokens = model.to_tokens(asked.target)
        with torch.no_grad():
            plain = cpu(lambda tokens=tokens: model(tokens))
        for method in ("gradient", "carried"):
            best = {k: cpu(lambda k=k, m=method, p=asked: heads(model, p, m, k)) for k in (0, 100)}
            row = {"prompt": name, "tokens": tokens.shape[1], "method": method, "plain pass, s": plain}
            rows.append(row | {"estimate, passes": best[0] / plain, "100 exact, more": (best[100] - best[0]) / plain})
    report(rows, arguments.json)


def heads(model: object, pair: xtl.ParallelPair, method: str, verify: int) -> None:
    xtl.attribution(model, pair, modules=["attn_head"], method=method, verify=verify)


def after(shots: list[xtl.ParallelPair], pair: xtl.ParallelPair, side: str) -> str:
    """A prompt after answered ones."""
    return "\n".join([*(f"{getattr(shot, side)}{shot.options[shot.gold]}" for shot in shots), getattr(pair, side)])


if __name__ == "__main__":
    main()
