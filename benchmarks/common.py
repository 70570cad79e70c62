"""What the benchmarks share: timing, prompts, the machine, and the table."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def seconds(
    run: Callable[[], object], repeats: int = 1, warm: bool = True, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Median time of `run`, after a first run that doesn't count."""
    if warm:
        run()
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(clock() - start)
    return statistics.median(times)


def random_prompt(model: Any, n_tokens: int, seed: int) -> list[int]:
    """Token ids drawn at random: what a map costs does not depend on what they say."""
    generator = torch.Generator().manual_seed(seed)
    low, high = min(1000, model.cfg.d_vocab // 2), min(model.cfg.d_vocab, 50_000)
    return torch.randint(low, high, (n_tokens,), generator=generator).tolist()


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    if torch.cuda.is_available():
        name = f"{torch.cuda.get_device_name()} ({name})"
    return {"machine": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what all benchmarks take."""
    result = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    result.add_argument("--json", help="also write the figures to this file")
    return result


def map_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what benchmarks of one map take: the model, its backend, the prompts' lengths."""
    result = parser(doc)
    result.add_argument("--model")
    result.add_argument("--backend", default="hooked")
    result.add_argument("--source-tokens", type=int, default=80)
    result.add_argument("--target-tokens", type=int, default=111)
    return result


def report(rows: list[dict[str, Any]], path: str | None) -> None:
    """Print the rows as a table and write them, with the machine, as JSON."""
    import pandas as pd

    print(pd.DataFrame(rows).to_string(index=False))
    print(", ".join(f"{name}: {value}" for name, value in machine().items()))
    if path:
        Path(path).write_text(json.dumps({"rows": rows, **machine()}, indent=1), encoding="utf-8")
