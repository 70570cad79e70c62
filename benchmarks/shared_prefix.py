"""What a map would save if the beginning that prompts of many pairs share (an instruction, examples) were run once for all.

    OMP_NUM_THREADS=1 python benchmarks/shared_prefix.py [--model NAME] [--shared 32 128 512]

Source and target prompts of so many shared tokens and 60 of their own, options of one token, CPU seconds: the map, and the part
of it that is a pass over the shared tokens, of the target prompt alone and of both.
"""

from __future__ import annotations

import time
from typing import Any

from common import parser, random_prompt, report, seconds

import xtl
from xtl.backend import forward_without_logits, new_cache


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--model")
    p.add_argument("--shared", type=int, nargs="+", default=[32, 128, 512])
    p.add_argument("--own", type=int, default=60)
    arguments = p.parse_args()
    model = xtl.load_model(arguments.model)
    rows = [row(model, n, arguments.own) for n in arguments.shared]
    report(rows, arguments.json)


def row(model: Any, n_shared: int, n_own: int) -> dict[str, Any]:
    """The figures for so many shared tokens."""
    shared = random_prompt(model, n_shared, seed=0)
    source, target = (shared + random_prompt(model, n_own, seed) for seed in (1, 2))
    pair = xtl.ParallelPair(source, target, options=(" A", " B"), gold=0)
    whole = seconds(lambda: xtl.sweep(model, pair, verify=0), clock=time.process_time)
    part = seconds(lambda: forward_without_logits(model, shared, cache=new_cache(model)), clock=time.process_time)
    found = {"shared tokens": n_shared, "map, CPU s": whole, "a pass over them, CPU s": part}
    return found | {"saved of target": part / whole, "saved of both": 2 * part / whole}


if __name__ == "__main__":
    main()
