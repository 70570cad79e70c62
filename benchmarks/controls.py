"""What does each control reach where the real transplant gains?

    python benchmarks/controls.py [--languages es fr de] [--limit 15] [--third-language fr] [--cells attn:12:12 mlp:12:12]

A few cells of a task, fed with the English question and with every control: mean gain with its 95% interval over instances
(clustered: an instance counts once whatever the number of languages), share right, and the mean difference of real minus control
with the p-value of a sign-flip test.
"""

from __future__ import annotations

from typing import Any

import xarray as xr
from common import parser, report

import xtl
from xtl import stats
from xtl.controls import CONTROLS


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--model")
    p.add_argument("--task", default="capitals")
    p.add_argument("--languages", nargs="+", default=["es", "fr", "de", "it", "pt", "tr", "id", "sw"])
    p.add_argument("--third-language", default="fr", help="source of the control other_language")
    p.add_argument("--limit", type=int, default=15)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--cells", nargs="+", default=["attn:12:12", "mlp:12:12"])
    arguments = p.parse_args()
    model = xtl.load_model(arguments.model)
    rows: list[dict[str, Any]] = []
    for cell in arguments.cells:
        module, source, target = cell.split(":")
        settings = {"modules": [module], "source_layers": [int(source)], "target_layers": [int(target)], "verify": 0}
        rows += of_cell(model, arguments, settings)
    report(rows, arguments.json)


def of_cell(model: Any, arguments: Any, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for the real transplant and one for each control."""
    task = xtl.get_task(arguments.task)
    third = arguments.third_language
    pairs, others = [], []
    for language in arguments.languages:
        if language != third:  # the third language can't be lent to itself
            pairs += task.pairs("en", language, limit=arguments.limit, seed=arguments.seed)
            others += task.pairs(third, language, limit=arguments.limit, seed=arguments.seed)
    real = xtl.concat_maps(xtl.sweep_many(model, pairs, **settings))
    name = f"{settings['modules'][0]} {settings['source_layers'][0]} -> {settings['target_layers'][0]}"
    rows = [{"cell": name, "source": "real", "n": len(pairs), "vanilla": share(real.vanilla_correct), **gains(real)}]
    for control in CONTROLS:
        third_pairs = others if control == "other_language" else None
        maps = xtl.controls.run(model, pairs, control, seed=arguments.seed, others=third_pairs, **settings)
        chance = xtl.concat_maps(maps)
        difference = stats.significance(real, chance, by=None, seed=arguments.seed)
        rows.append(
            {
                "cell": name,
                "source": control,
                "n": len(pairs),
                "vanilla": share(chance.vanilla_correct),
                **gains(chance),
                "real_minus_it": f"{float(difference['mean'].squeeze()):+.2f}",
                "p": f"{float(difference.p.squeeze()):.4f}",
            }
        )
    return rows


def gains(results: xr.Dataset) -> dict[str, str]:
    """Mean gain with its interval, and the share right."""
    interval = stats.cell_intervals(results, by=None).squeeze()
    low, high = float(interval.low), float(interval.high)
    return {"right": share(results.correct), "gain": f"{float(interval['mean']):+.2f} [{low:+.2f}, {high:+.2f}]"}


def share(values: xr.DataArray) -> str:
    """A mean of right and wrong, as a percentage."""
    return f"{float(values.mean()):.0%}"


if __name__ == "__main__":
    main()
