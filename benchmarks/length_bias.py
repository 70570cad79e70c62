"""Does the length of an option decide? Right answers without a transplant where the gold option is short and where it is long.

python benchmarks/length_bias.py [--languages es ru th ja] [--limit N] [--json FILE]
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from common import parser, report

import xtl
from xtl.results.units import NORMALISATIONS

SHARES: dict[str, Callable[[float], bool]] = {
    "all": lambda longer: True,
    "gold shorter": lambda longer: longer < 0,
    "gold longer": lambda longer: longer > 0,
}
"""Which instances: by the gold option's tokens less the mean of all options'."""


def rows_of(language: str, results: xr.Dataset, golds: list[int]) -> list[dict[str, Any]]:
    """A row for each of `SHARES`: instances, and the share that is right, by normalisation."""
    options = [json.loads(text) for text in results["options"].values]
    longer = [
        one[gold]["tokens"] - np.mean([option["tokens"] for option in one])
        for one, gold in zip(options, golds, strict=True)
    ]
    mixed = sum(len({option["alone"] for option in one}) > 1 for one in options)
    rows = []
    for name, holds in SHARES.items():
        among = [holds(value) for value in longer]
        right = {
            how: f"{results[f'vanilla_correct_{suffix}'].values[among].mean():.0%}"
            for how, suffix in NORMALISATIONS.items()
        }
        rows.append({"direction": f"en->{language}", "instances": name, "n": int(sum(among)), "mixed": mixed, **right})
    return rows


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--languages", nargs="+", default=["es", "ru", "th", "ja"])
    arguments.add_argument("--limit", type=int)
    given = arguments.parse_args()

    model = xtl.load_model()
    rows = []
    for language in given.languages:
        pairs = xtl.get_task("capitals").pairs("en", language, limit=given.limit)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="some of the options")  # the column `mixed` says it
            cell = {"modules": ["mlp"], "source_layers": [-1], "target_layers": [-1], "verify": 0, "normalise": "token"}
            results = xtl.concat_maps(xtl.sweep_many(model, pairs, progress=True, **cell))
        rows += rows_of(language, results, [pair.gold for pair in pairs])
    report(rows, given.json)


if __name__ == "__main__":
    main()
