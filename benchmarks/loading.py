"""How long does it take until a model is there? Whole processes: imports, the first load (GGUF converted), every later one.

    python benchmarks/loading.py [--repeats 3]

The conversion goes into an empty cache of its own, which is removed again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from common import parser, report, seconds

LOAD = "import xtl; xtl.load_model()"
STAGES = {
    "import torch": "import torch",
    "import transformer_lens": "import transformer_lens",
    "a load, its files hashed and the model checked": LOAD,
}


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--repeats", type=int, default=3)
    arguments = p.parse_args()
    rows = [
        {"what": name, "seconds": seconds(partial(process, code), arguments.repeats)} for name, code in STAGES.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        first = seconds(partial(process, LOAD, cache=Path(folder)), warm=False)
    rows.append({"what": "the first load, which converts the GGUF file", "seconds": first})
    report(rows, arguments.json)


def process(code: str, cache: Path | None = None) -> None:
    """Run Python anew."""
    environment = os.environ | ({"XTL_CACHE": str(cache)} if cache else {})
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
