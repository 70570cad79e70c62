"""How far are the statistics to be trusted? Coverage of intervals, false alarms and power, on simulated maps of known truth.

python benchmarks/statistics_calibration.py [--maps 400] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from xtl import stats
from xtl.stats.examples import split_groups
from xtl.stats.intervals import METHODS, mean_interval, share_interval
from xtl.stats.selection import chosen_cells, map_shape, split_halves
from xtl.stats.simulation import swap_labels

SIZES = (10, 20, 50)
SHAPES = ("normal", "heavy", "skewed")


def coverage(maps: int) -> list[dict[str, object]]:
    """Share of 95% intervals of the mean that hold the true mean; and how wide they are, as a multiple of z intervals."""
    rng = np.random.default_rng(0)
    rows = []
    for shape in (*SHAPES, "answers"):
        for n in SIZES:
            if shape == "answers":  # +1 in 20% of instances, -1 in 10%
                values, truth = rng.choice([1.0, -1.0, 0.0], (n, 5 * maps), p=[0.2, 0.1, 0.7]), 0.1
            else:
                draws = {"normal": rng.normal, "heavy": lambda size: rng.standard_t(4, size),
                         "skewed": lambda size: np.exp(0.5) - rng.lognormal(size=size)}  # fmt: skip
                values, truth = draws[shape](size=(n, 5 * maps)), 0.0
            z_width = 2 * 1.96 * values.std(0, ddof=1) / np.sqrt(n)
            for method in METHODS:
                found = mean_interval(values, np.arange(n), method=method, n_resamples=2000, seed=n)
                known = np.isfinite(found.low + found.high)
                held = (found.low <= truth) & (truth <= found.high)
                held[np.isnan(found.low)] = False  # no variance, no interval
                width = np.median(((found.high - found.low) / np.where(z_width > 0, z_width, 1))[known])
                rows.append({"data": shape, "n": n, "interval": method, "coverage": held.mean(), "width": width,
                             "infinite": 1 - known.mean()})  # fmt: skip
    for share in (0.05, 0.5, 0.9):
        for n in SIZES:
            found = share_interval((rng.random((n, 5 * maps)) < share).astype(float), np.arange(n))
            rows.append({"data": f"share {share}", "n": n, "interval": "Wilson",
                         "coverage": ((found.low <= share) & (share <= found.high)).mean()})  # fmt: skip
        groups = np.repeat(np.arange(20), 5)  # 20 instances in 5 languages that share half of their luck
        lucky = np.repeat(rng.random((20, 5 * maps)), 5, axis=0)
        values = np.where(rng.random(lucky.shape) < 0.5, lucky, rng.random(lucky.shape)) < share
        found = share_interval(values.astype(float), groups)
        rows.append({"data": f"share {share}, 5 languages", "n": 20, "interval": "Wilson",
                     "coverage": ((found.low <= share) & (share <= found.high)).mean()})  # fmt: skip
    return rows


def false_alarms(maps: int, n: int = 30) -> list[dict[str, object]]:
    """Share of maps without effect that have a significant cell."""
    rows = []
    cases = [(shape, against, alternative) for shape in SHAPES for against, alternative in
             (("control", "two-sided"), ("vanilla", "two-sided"), ("vanilla", "greater"))]  # fmt: skip
    for shape, against, alternative in cases:
        hits = {"one cell, uncorrected": 0.0, "p_max": 0.0, "p_fdr": 0.0}
        for seed in range(maps):
            real, control = stats.simulate(n_instances=n, n_layers=8, shape=shape, control=True, seed=seed)
            found = stats.significance(
                real, control if against == "control" else None, alternative=alternative, n_resamples=5000, seed=seed
            )
            hits["one cell, uncorrected"] += float((found["p"] <= 0.05).mean()) / maps
            for name in ("p_max", "p_fdr"):
                hits[name] += bool((found[name] <= 0.05).any()) / maps
        rows.append({"noise": shape, "against": against, "alternative": alternative, **hits})
    return rows


def power(maps: int, n: int = 30) -> list[dict[str, object]]:
    """Share of maps on which a planted cell is found, by the size of its gain (in standard deviations of the noise)."""
    rows = []
    for lift in (0.5, 0.75, 1.0, 1.5):
        found_by = {"p_max": 0.0, "p_fdr": 0.0}
        for seed in range(maps):
            pair = stats.simulate(n_instances=n, n_layers=8, planted={("attn", 3, 4): lift}, control=True, seed=seed)
            found = stats.significance(*pair, seed=seed).sel(module="attn", source_layer=3, target_layer=4)
            for name in found_by:
                found_by[name] += float(found[name][0] <= 0.05) / maps
        rows.append({"gain": lift, "n": n, **found_by})
    return rows


def selection(maps: int, n: int = 30) -> list[dict[str, object]]:
    """In-sample and held-out gain of the best cell, and how often its interval holds the true gain of the chosen cells."""
    rows = []
    for shape, lift in [(shape, lift) for shape in SHAPES for lift in (0.0, 1.0, 2.0)]:
        inside, held, truths, covered = [], [], [], []
        for seed in range(maps):
            result = stats.simulate(n_instances=n, n_layers=8, shape=shape, planted={("attn", 3, 4): lift}, seed=seed)
            row = stats.held_out(result, n_splits=100, seed=seed).iloc[-1]
            (group,) = split_groups(result)
            cells = chosen_cells(
                [group.values("gain")], group.clusters, split_halves(n, 100, seed), map_shape(group), "overall"
            )
            truths.append(lift * (cells == np.ravel_multi_index((0, 3, 4), map_shape(group))).mean())
            inside.append(row["in_sample_gain"])
            held.append(row["gain"])
            covered.append(row["gain_low"] <= truths[-1] <= row["gain_high"])
        rows.append({"noise": shape, "planted": lift, "in sample": np.mean(inside), "held out": np.mean(held),
                     "true": np.mean(truths), "coverage": np.mean(covered)})  # fmt: skip
    return rows


def labels(maps: int, n: int = 30) -> list[dict[str, object]]:
    """Share of maps with a significant cell where the labels of a real effect are swapped at random."""
    hits = {"p_max": 0.0, "p_fdr": 0.0}
    for seed in range(maps):
        pair = stats.simulate(n_instances=n, n_layers=8, planted={("attn", 3, 4): 2.0}, control=True, seed=seed)
        found = stats.significance(*swap_labels(*pair, seed=seed), n_resamples=5000, seed=seed)
        for name in hits:
            hits[name] += bool((found[name] <= 0.05).any()) / maps
    return [{"data": "labels swapped", **hits}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=400)
    parser.add_argument("--only", nargs="+", default=["coverage", "false_alarms", "labels", "power", "selection"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = {}
    for name in arguments.only:
        rows = results[name] = globals()[name](arguments.maps)
        print(f"\n{name}")
        for row in rows:
            print("  " + "  ".join(f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}"
                                   for key, value in row.items()), flush=True)  # fmt: skip
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
