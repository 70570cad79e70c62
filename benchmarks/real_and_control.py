"""A benchmark's maps and its shuffled-source control side by side: stopped at any time, there are as many of one as of the other.

    python benchmarks/real_and_control.py --task xcopa --data DATA --directions en:sw,en:zh --model MODEL.gguf --dtype bfloat16 \\
        --chat --layers 0,4,8,12,16,20,24,27 --limit 50 --out runs/xcopa

`xtl run`, and then `xtl run --control shuffled_source`, do the same work one after the other. Here an instance of each language
is computed with its own source and with that of another instance, then the next one; each source prompt is run once, and each
target prompt once for both. The same command goes on where it was stopped (SIGTERM or Ctrl-C). Written to --out: `real/` and
`control/`, for `xtl summary`, and `maps/`, the maps so far.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr
from common import parser

import xtl
from xtl.controls import Sources, shuffled_source
from xtl.engine.driver import Driver
from xtl.engine.prepare import SweepSettings
from xtl.pairs import parse_direction
from xtl.runs import save_results


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--task", default="xcopa")
    p.add_argument("--data", help="the released data; without it a task of our own")
    p.add_argument("--directions", default="en:sw,en:zh,en:id,en:tr,en:vi,en:it")
    p.add_argument("--model")
    p.add_argument("--dtype", default="float32")
    p.add_argument("--chat", action="store_true")
    p.add_argument("--layers")
    p.add_argument("--limit", type=int, default=50)
    p.add_argument("--details", default="", help="what the maps keep beside the score: options, agreement, ...")
    p.add_argument("--out", required=True)
    arguments = p.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    task, options = xtl.get_task(arguments.task), {"limit": arguments.limit}
    options |= {"folder": arguments.data, "split": "sample"} if arguments.data else {}
    pairs = [task.pairs(*parse_direction(way), **options) for way in arguments.directions.split(",")]
    model = xtl.load_model(arguments.model, dtype=arguments.dtype)
    pairs = [xtl.chat_pairs(model, of_language, arguments.chat) for of_language in pairs]
    cells = {"source_layers": arguments.layers, "target_layers": arguments.layers, "details": arguments.details or ()}
    maps: dict[str, list[xr.Dataset]] = {"real": [], "control": []}
    start = time.perf_counter()
    try:
        for number, of_round in enumerate(rounds(model, pairs, xtl.KeptMaps(out / "maps"), verify=0, **cells), start=1):
            for name, datasets in of_round.items():
                maps[name] += datasets
            with uninterrupted():
                write(maps, out, task.name)
            print(
                f"{number} of {arguments.limit} instances a language, {time.perf_counter() - start:.0f} s", flush=True
            )
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)


def rounds(
    model: Any, by_language: list[list[xtl.ParallelPair]], keep: Any = None, **settings: Any
) -> Iterator[dict[str, list[xr.Dataset]]]:
    """For one instance after the other: its maps in all languages, `real` and `control`."""
    sources = Sources(model, [pair for pairs in by_language for pair in pairs], {}, settings, seed=0)
    others, driver = shuffled_source(sources), Driver(model, SweepSettings(**settings))
    for pairs in zip(*by_language, strict=True):
        maps: dict[str, list[xr.Dataset]] = {"real": [], "control": []}
        for pair in pairs:
            both = of_both(driver, pair, {"real": sources.read(pair.source), "control": others(pair)}, keep)
            for name, found in maps.items():
                found.append(both.sel(source_lang=name, drop=True).assign_coords(source_lang=pair.source_lang))
        yield maps | {"control": [one.assign_attrs(control="shuffled_source", seed=0) for one in maps["control"]]}


def of_both(driver: Driver, pair: xtl.ParallelPair, written: dict[str, Any], keep: Any) -> xr.Dataset:
    """One map along an axis `source_lang`, in place of two: the target prompt is read once for both."""
    sweep = driver.prepare(pair)
    activations = {(*site, name): values for name, found in written.items() for site, values in found.items()}
    axes = (*sweep.plan.axes, ("source_lang", tuple(written)))
    sweep = replace(sweep, plan=replace(sweep.plan, activations=activations, axes=axes))
    found = driver.kept(sweep, keep)
    return found if found is not None else driver.map(sweep, keep=keep)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """SIGTERM and Ctrl-C wait until both results are written: one without the other would be of other instances."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def write(maps: dict[str, list[xr.Dataset]], out: Path, task: str) -> None:
    """Both results, as `xtl summary` reads them."""
    for name, datasets in maps.items():
        (out / name).mkdir(exist_ok=True)
        save_results(xtl.concat_maps(datasets).assign_attrs(task=task), out / name / "results.parquet")


if __name__ == "__main__":
    main()
