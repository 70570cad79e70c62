"""A transplant beside what can be learned from other questions, on the embedded model and its capitals: accuracy, gain and cost.

python benchmarks/baselines.py --languages es,tr --limit 40 --folds 4
"""

from __future__ import annotations

import argparse

import torch

import xtl
from analyses import effectiveness


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--languages", default="es,tr")
    parser.add_argument("--limit", type=int, default=40, help="questions of each language")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", default="3:18:3", help="after which the learned ways may move the residual stream")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, task = xtl.load_model(given.model), xtl.get_task("capitals")
    for language in given.languages.split(","):
        data = effectiveness.compute(
            model,
            task.pairs("en", language, limit=given.limit, seed=given.seed),
            back=task.pairs(language, "en", limit=given.limit, seed=given.seed),
            cell=("attn", 12, 13),
            folds=given.folds,
            learned_layers=given.layers,
        )
        for row in effectiveness.table(data).to_dict("records"):
            share = f"{row['accuracy']:.0%} [{row['accuracy_low']:.0%}, {row['accuracy_high']:.0%}]"
            gain = f"{row['gain']:+.2f} [{row['gain_low']:+.2f}, {row['gain_high']:+.2f}]"
            cost = f"{row['tokens']:.0f} | {row['passes']}"
            print(f"| {row['direction']} | {row['strategy']} | {share} | {gain} | {cost} |", flush=True)
        print(data.attrs["learned"], flush=True)


if __name__ == "__main__":
    main()
