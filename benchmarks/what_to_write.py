"""What do blends, several sources and other positions cost, in maps of one source written whole?

    OMP_NUM_THREADS=1 python benchmarks/what_to_write.py [--backend bridge] [--only alpha] [--json FILE]

One process; its own CPU seconds, each round taking all of them in turn; medians of the rounds' ratios. Both modules, all
source x target layers, one-token options, self-check off, source passes included.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from common import map_parser, random_prompt, report

import xtl


def main() -> None:
    p = map_parser(__doc__)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--only", default="", help="what to measure beside one map: a part of its name")
    arguments = p.parse_args()
    model = xtl.load_model(arguments.model, backend=arguments.backend)
    source, target = (random_prompt(model, n, seed) for seed, n in enumerate(
        (arguments.source_tokens, arguments.target_tokens)
    ))  # fmt: skip
    question = {"source": source, "target": target, "options": ["a", "b", "c"], "gold": 0}
    sources = {str(seed): random_prompt(model, arguments.source_tokens, seed) for seed in range(5)}

    def sweep(**more: object) -> Callable[[], object]:
        return lambda: xtl.sweep(model, engine="packed", verify=0, **(question | more))

    asked = {
        "one map": sweep(),
        "alpha 0.5": sweep(alpha=0.5),
        "five alphas": sweep(alpha=[0.25, 0.5, 0.75, 1.0, 1.5]),
        "written 10 tokens before the end": sweep(target_position=-11),
        "five sources, a map each": sweep(source=None, sources=sources),
        "five sources, their mean": sweep(source=None, sources=sources, combine="mean"),
        "five sources, swept apart": lambda: [sweep(source=one)() for one in sources.values()],
    }
    asked = {name: run for name, run in asked.items() if name == "one map" or arguments.only in name}
    ratios = in_maps(asked, arguments.repeats)
    report([{"asked": name, "times one map": ratio} for name, ratio in ratios.items()], arguments.json)


def in_maps(asked: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """How many times as long as the first each takes."""
    rounds: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(1 + repeats):
        took = {name: _seconds(run) for name, run in asked.items()}
        for name, seconds in took.items():
            rounds[name].append(seconds / next(iter(took.values())))
    return {name: round(statistics.median(ratios[1:]), 3) for name, ratios in rounds.items()}


def _seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    main()
