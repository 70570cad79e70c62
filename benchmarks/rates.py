"""What the processor multiplies: the rates that docs/performance.md reckons its limits with.

    OMP_NUM_THREADS=1 python benchmarks/rates.py [--rows 649] [--width 640] [--repeats 20]

A layer's product and a look at the vocabulary, at the sizes of a map of 648 cells, and a large square product: the best of all
repeats, in GFLOP/s.
"""

from __future__ import annotations

import time

import torch
from common import machine, parser, report


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--rows", type=int, default=649)
    p.add_argument("--width", type=int, default=640)
    p.add_argument("--vocabulary", type=int, default=8192, help="columns of a tile")
    p.add_argument("--repeats", type=int, default=20)
    arguments = p.parse_args()
    print(machine())
    sizes = {
        "a layer's product": (arguments.rows, arguments.width, 2048),
        "a look at the vocabulary": (arguments.vocabulary, arguments.width, arguments.rows),
        "large and square": (2048, 2048, 2048),
    }
    rows = [
        {"product": name, "sizes": " x ".join(map(str, size))}
        | {
            f"{str(dtype)[6:]}, GFLOP/s": rate(size, dtype, arguments.repeats)
            for dtype in (torch.float32, torch.bfloat16)
        }
        for name, size in sizes.items()
    ]
    report(rows, arguments.json)


def rate(size: tuple[int, int, int], dtype: torch.dtype, repeats: int) -> float:
    """GFLOP a second of a product [m, k] x [k, n], the best of all repeats."""
    m, k, n = size
    left, right = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    out, times = torch.empty(m, n, dtype=dtype), []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        times.append(time.perf_counter() - start)
    return 2 * m * k * n / min(times) / 1e9


if __name__ == "__main__":
    main()
