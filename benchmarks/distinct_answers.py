"""How many of a map's cells say the same: distinct answers among its cells, after each of some numbers of generated tokens.

    OMP_NUM_THREADS=1 python benchmarks/distinct_answers.py [--model NAME] [--max-new-tokens 20]

Two real questions: the written one of `generation_speed.py`, and a capital as it is asked by the task `capitals`. End-of-sequence
tokens end an answer here, as in any map.
"""

from __future__ import annotations

from typing import Any

from common import parser, report
from generation_speed import SOURCE, TARGET

import xtl
from xtl.engine.driver import Driver, compute
from xtl.engine.prepare import SweepSettings


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--model")
    p.add_argument("--max-new-tokens", type=int, default=20)
    arguments = p.parse_args()
    model = xtl.load_model(arguments.model)
    capital = xtl.get_task("capitals").pairs("en", "es", limit=1)[0]
    asked = {"written": (SOURCE, TARGET), f"capital {capital.id}": (capital.source, capital.target)}
    rows = []
    for name, (source, target) in asked.items():
        answers = generated(model, xtl.ParallelPair(source, target), arguments.max_new_tokens)
        row: dict[str, Any] = {"question": name, "cells": len(answers)}
        for n in (1, 2, 5, 10, arguments.max_new_tokens):
            row[f"{n} tokens"] = len({tuple(answer[:n]) for answer in answers})
        rows.append(row)
    report(rows, arguments.json)


def generated(model: Any, pair: xtl.ParallelPair, n_tokens: int) -> list[list[int]]:
    """The tokens that each cell of a pair's map generates."""
    driver = Driver(model, SweepSettings(max_new_tokens=n_tokens, verify=0))
    sweep = driver.prepare(pair)
    return [answer.tokens for answer in (compute(model, sweep, driver.engine).answers or ())[1:]]


if __name__ == "__main__":
    main()
