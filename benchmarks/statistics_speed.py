"""How much processor time and memory do the statistics of a map take? No model; simulated gains.

python benchmarks/statistics_speed.py [--layers 32] [--instances 50] [--resamples 10000] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

from xtl import stats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--instances", type=int, default=50)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    n = arguments.resamples

    real, control = stats.simulate(
        n_instances=arguments.instances, n_layers=arguments.layers, planted={("attn", 1, 1): 1.0}, control=True
    )
    several = stats.simulate(n_instances=arguments.instances, n_layers=arguments.layers, languages=["es", "fr", "sw"])
    work: dict[str, Callable[[], object]] = {
        "intervals of gains, studentised": lambda: stats.cell_intervals(real, control, n_resamples=n),
        "intervals of right answers, adjusted": lambda: stats.cell_intervals(real, measure="accuracy"),
        "intervals, 3 languages pooled": lambda: stats.cell_intervals(several, by=None, n_resamples=n),
        "sign flips, corrected": lambda: stats.significance(real, control, n_resamples=n),
        "sign flips, as many as BH needs": lambda: stats.significance(real, control),
        "upper bounds": lambda: stats.layer_upper_bounds(real, control),
        "upper-bound curve": lambda: stats.upper_bound_curve(real, control),
        "held-out selection, 200 halvings": lambda: stats.held_out(real, control),
        "summary table": lambda: stats.summary_table(real, control),
    }
    cells = 2 * arguments.layers**2
    print(f"{cells} cells x {arguments.instances} instances x {n} resamples")
    before = _peak()
    rows = []
    for name, call in work.items():
        start = time.process_time()
        call()
        rows.append({"what": name, "seconds": round(time.process_time() - start, 3)})
        print(f"  {name:34} {rows[-1]['seconds']:7.2f} s", flush=True)
    total, added = sum(row["seconds"] for row in rows), _peak() - before
    print(f"  {'all':34} {total:7.2f} s, at most {added:.0f} MB more than the data ({before:.0f} MB in use before)")
    if arguments.out:
        settings = {"cells": cells, "instances": arguments.instances, "resamples": n}
        arguments.out.write_text(
            json.dumps({**settings, "rows": rows, "seconds": total, "added_mb": added}, indent=1) + "\n"
        )


def _peak() -> float:
    """The most memory this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
