"""What options of several tokens cost over options of one, and what the look in bfloat16 saves of their sums over the vocabulary.

    OMP_NUM_THREADS=1 python benchmarks/several_tokens.py [--languages es,ru,ar] [--limit 3] [--float32]

The map of 648 cells of a capital, in CPU seconds and in maps of one-token options of the same question; `--float32`, then with
all sums in float32. `nodes` are the tokens within options that need a sum of their own, for each cell.
"""

from __future__ import annotations

import time
from typing import Any

from common import machine, parser, report

import xtl
from xtl.engine import readout
from xtl.engine.driver import Driver
from xtl.engine.prepare import SweepSettings
from xtl.engine.tree import build_tree


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--languages", default="es,ru,ar")
    p.add_argument("--limit", type=int, default=3)
    p.add_argument("--float32", action="store_true")
    arguments = p.parse_args()
    print(machine())
    model, rows = xtl.load_model(), []
    for language in arguments.languages.split(","):
        for pair in xtl.get_task("capitals").pairs("en", language, limit=arguments.limit):
            single = xtl.ParallelPair(pair.source, pair.target, options=(" A", " B", " C", " D"), gold=0)
            one, now = cost(model, single), cost(model, pair)
            row: dict[str, Any] = {
                "pair": f"en->{language} {pair.id}",
                "nodes": nodes(model, pair),
                "one token, CPU s": one,
            }
            row |= {"its own options, CPU s": now, "ratio": now / one}
            if arguments.float32:
                many, readout.MANY = readout.MANY, 10**9
                row["ratio, float32 sums"] = cost(model, pair) / one
                readout.MANY = many
            rows.append(row)
    report(rows, arguments.json)


def cost(model: Any, pair: xtl.ParallelPair) -> float:
    """CPU seconds of a map, the better of two."""
    times = []
    for _ in range(2):
        start = time.process_time()
        xtl.sweep(model, pair, verify=0)
        times.append(time.process_time() - start)
    return min(times)


def nodes(model: Any, pair: xtl.ParallelPair) -> int:
    """Tokens whose sum over the vocabulary the score needs: those that not all options share."""
    plan = Driver(model, SweepSettings()).prepare(pair).plan
    tree = build_tree(plan.target_ids[-1], plan.continuations)
    shared = [sum(at == node for steps in tree.reads for at, _ in steps) for node in range(len(tree))]
    return sum(count < len(tree.reads) for count in shared)


if __name__ == "__main__":
    main()
