"""How much is saved when the activations of a source prompt are computed once for all target languages?

    python benchmarks/activation_cache.py [--model NAME] [--backend hooked] [--languages 6] [--cpu-time]

One process, one machine: the maps of one source prompt and several target prompts, each with a pass over the source, and with
the cache of `xtl.runs.activations`.
"""

from __future__ import annotations

import time

from common import parser, random_prompt, report, seconds

from xtl import ParallelPair, load_model
from xtl.engine.driver import Driver
from xtl.engine.prepare import SweepSettings
from xtl.runs.activations import ActivationCache


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--model", default=None)
    arguments.add_argument("--backend", default="hooked")
    arguments.add_argument("--source-tokens", type=int, default=80)
    arguments.add_argument("--target-tokens", type=int, default=111)
    arguments.add_argument("--languages", type=int, default=6, help="maps that share the source prompt")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--cpu-time", action="store_true", help="CPU seconds, for a machine that is busy")
    given = arguments.parse_args()
    model = load_model(given.model, backend=given.backend)
    source = random_prompt(model, given.source_tokens, seed=0)
    pairs = [
        ParallelPair(source, random_prompt(model, given.target_tokens, seed=1 + language), options=(" A", " B"), gold=0)
        for language in range(given.languages)
    ]

    def maps(cached: bool) -> None:
        cache = ActivationCache("benchmark")
        driver = Driver(model, SweepSettings(verify=given.verify))
        for pair in pairs:
            sweep = driver.prepare(pair)
            driver.map(sweep.writing(cache.get(model, sweep.plan)) if cached else sweep)

    rows = []
    for given.verify in (0, 1):
        clock = time.process_time if given.cpu_time else time.perf_counter
        without, with_cache = (
            seconds(lambda cached=cached: maps(cached), given.repeats, clock=clock) for cached in (False, True)
        )
        rows.append(
            {
                "cells verified a map": given.verify,
                "maps": given.languages,
                "s a map without": round(without / given.languages, 3),
                "s a map with": round(with_cache / given.languages, 3),
                "saved": f"{1 - with_cache / without:.0%}",
            }
        )
    report(rows, given.json)


if __name__ == "__main__":
    main()
