"""A benchmark's maps and its shuffled-source control side by side: stopped at any time, there are as many of one as of the other.

    python benchmarks/real_and_control.py --task xcopa --data DATA --languages sw,zh --model MODEL.gguf --dtype bfloat16 \\
        --chat --layers 0,4,8,12,16,20,24,27 --limit 50 --out runs/xcopa

`xtl run`, and then `xtl run --control shuffled_source`, do the same work one after the other. Here an instance of each language
is computed with its own source and with that of another instance, then the next one; each source prompt is run once for both.
The same command goes on where it was stopped (SIGTERM or Ctrl-C). Written to --out: `real.nc` and `control.nc`, and `maps/`, the
maps so far.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import xarray as xr
from common import parser

import xtl
from xtl.controls import Sources, shuffled_source


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--task", default="xcopa")
    p.add_argument("--data")
    p.add_argument("--languages", default="sw,zh,id,tr,vi,it")
    p.add_argument("--model")
    p.add_argument("--dtype", default="float32")
    p.add_argument("--chat", action="store_true")
    p.add_argument("--layers")
    p.add_argument("--limit", type=int, default=50)
    p.add_argument("--out", required=True)
    arguments = p.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    model = xtl.load_model(arguments.model, dtype=arguments.dtype)
    maps: dict[str, list[xr.Dataset]] = {"real": [], "control": []}
    start = time.perf_counter()
    try:
        for number, pairs in enumerate(rounds(model, arguments, out), start=1):
            for name, of_round in pairs.items():
                maps[name] += of_round
            print(
                f"{number} of {arguments.limit} instances a language, {time.perf_counter() - start:.0f} s", flush=True
            )
            write(maps, out)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)


def rounds(model: Any, arguments: Any, out: Path) -> Any:
    """For one instance after the other: its maps in all languages, real and control."""
    task, options = xtl.get_task(arguments.task), {"folder": arguments.data} if arguments.data else {}
    by_language = {
        language: xtl.chat_pairs(
            model, task.pairs("en", language, limit=arguments.limit, split="sample", **options), arguments.chat
        )
        for language in arguments.languages.split(",")
    }
    cells = {"source_layers": arguments.layers, "target_layers": arguments.layers}
    sources = Sources(model, [pair for pairs in by_language.values() for pair in pairs], {}, cells, seed=0)
    written = {"real": lambda pair: sources.read(pair.source), "control": shuffled_source(sources)}
    keep = xtl.KeptMaps(out / "maps")
    for number in range(arguments.limit):
        pairs = [of_language[number] for of_language in by_language.values()]
        yield {
            name: list(xtl.sweep_many(model, pairs, activations=activations, keep=keep, verify=0, **cells))
            for name, activations in written.items()
        }


def write(maps: dict[str, list[xr.Dataset]], out: Path) -> None:
    """Both results, each moved in whole."""
    for name, datasets in maps.items():
        xtl.concat_maps(datasets).to_netcdf(out / f"{name}.new")
        (out / f"{name}.new").replace(out / f"{name}.nc")


if __name__ == "__main__":
    main()
