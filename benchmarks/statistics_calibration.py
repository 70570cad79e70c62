"""How far are the statistics to be trusted? Coverage of intervals, false alarms and power, on simulated data of known truth.

python benchmarks/statistics_calibration.py [--quick] [--only coverage ...] [--out FILE.json]

Every rate has its Monte-Carlo standard error. Intervals are those that the functions give by themselves; where they refuse, the
share of refused samples is told, and coverage is that of the rest. About 4 minutes on one core, half a minute with `--quick`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xtl import stats
from xtl.stats.examples import split_groups
from xtl.stats.intervals import DIFFERENCE, SHARE, Interval, mean_interval, median_interval
from xtl.stats.paired_tests import sign_flips
from xtl.stats.selection import choose, chosen_cells, held_out_interval, split_halves
from xtl.stats.simulation import swap_labels
from xtl.stats.upper_bounds import any_cell

SIZES = (10, 20, 50, 100)
LANGUAGES = 3
Rows = list[dict[str, Any]]
Case = tuple[str, str, tuple[float, float] | None, int, Callable[[np.random.Generator, int, int], np.ndarray], float]
"""What is estimated, from which data, bounds, examples an instance, draw(rng, instances, samples), true value."""


def gains() -> Iterator[Case]:
    """Mean and median of unbounded gains (nats)."""

    def rare(share: float, loss: float) -> Callable[[np.random.Generator, int, int], np.ndarray]:
        """Most gain 0.3, give or take 0.3; a share of them loses much."""
        return lambda rng, n, r: np.where(rng.random((n, r)) < share, loss, rng.normal(0.3, 0.3, (n, r)))

    def clustered(rng: np.random.Generator, n: int, r: int) -> np.ndarray:
        """Languages of a question share half of their variance, and its large loss."""
        own = np.repeat(rng.normal(size=(n, r)), LANGUAGES, axis=0) + rng.normal(size=(LANGUAGES * n, r))
        return own / np.sqrt(2) - 5 * np.repeat(rng.random((n, r)) < 0.1, LANGUAGES, axis=0)

    shapes: list[tuple[str, int, Callable[[np.random.Generator, int, int], np.ndarray], float, float]] = [
        ("normal", 1, lambda rng, n, r: rng.normal(size=(n, r)), 0, 0),
        ("heavy tails (t, 4 degrees of freedom)", 1, lambda rng, n, r: rng.standard_t(4, (n, r)), 0, 0),
        ("skewed (minus a lognormal)", 1, lambda rng, n, r: np.exp(0.5) - rng.lognormal(size=(n, r)), 0, np.exp(0.5) - 1),
        ("10% lose 5, the rest gain 0.3 ± 0.3", 1, rare(0.1, -5.0), 0.9 * 0.3 - 0.5, 0.3 + 0.3 * _normal_quantile(0.4 / 0.9)),
        ("20% lose 5, the rest gain 0.3 ± 0.3", 1, rare(0.2, -5.0), 0.8 * 0.3 - 1.0, 0.3 + 0.3 * _normal_quantile(0.3 / 0.8)),
        ("3 languages a question, 10% of questions lose 5", LANGUAGES, clustered, -0.5, float("nan")),
    ]  # fmt: skip
    for name, languages, draw, mean, median in shapes:
        yield "mean gain", name, None, languages, draw, mean
        if np.isfinite(median):
            yield "median gain", name, None, languages, draw, median


def answers() -> Iterator[Case]:
    """Shares of right answers, and paired differences of two."""

    def share(p: float) -> Callable[[np.random.Generator, int, int], np.ndarray]:
        return lambda rng, n, r: rng.random((n, r)) < p

    def languages(p: float, q: float) -> Callable[[np.random.Generator, int, int], np.ndarray]:
        """Shares p minus q; the languages of a question share half of their luck, in both runs."""

        def draw(rng: np.random.Generator, n: int, r: int) -> np.ndarray:
            luck = np.repeat(rng.random((n, r)), LANGUAGES, axis=0)
            luck = np.where(rng.random(luck.shape) < 0.5, luck, rng.random(luck.shape))
            return (luck < p).astype(float) - (luck < q)

        return draw

    def pair(p: float, q: float, shared: float) -> Callable[[np.random.Generator, int, int], np.ndarray]:
        """Shares p minus q; a part of the questions has the same luck in both runs."""

        def draw(rng: np.random.Generator, n: int, r: int) -> np.ndarray:
            real, control = rng.random((n, r)), rng.random((n, r))
            return (real < p).astype(float) - (np.where(rng.random((n, r)) < shared, real, control) < q)

        return draw

    for p in (0.02, 0.05, 0.5, 0.9, 0.98):
        yield "share", f"{p:.2f}", SHARE, 1, share(p), p
    for p in (0.05, 0.5, 0.95):
        yield "share", f"{p:.2f}, 3 languages a question", SHARE, LANGUAGES, languages(p, 0), p
    for p, q, shared in ((0.5, 0.4, 0.0), (0.5, 0.4, 0.8), (0.9, 0.85, 0.0), (0.9, 0.85, 1.0), (0.98, 0.98, 0.5)):
        yield "difference", f"{p:.2f} - {q:.2f}, {shared:.0%} of luck shared", DIFFERENCE, 1, pair(p, q, shared), p - q
    yield "difference", "0.90 - 0.85, 3 languages a question", DIFFERENCE, LANGUAGES, languages(0.9, 0.85), 0.05


def upper_bounds() -> Iterator[Case]:
    """Corrected upper bounds: real minus control of "some of 36 cells is right", cells and runs being alike."""

    def solved(p: float, q: float, languages: int) -> Callable[[np.random.Generator, int, int], np.ndarray]:
        high, low = (_threshold(share) for share in (p, q))

        def draw(rng: np.random.Generator, n: int, r: int) -> np.ndarray:
            own = _alike_cells(rng, languages, n * r)
            right = [
                any_cell((noise > level)[:, None], None)[:, 0] for noise, level in zip(own, (high, low), strict=True)
            ]
            gap = (right[0] - right[1]).reshape(n, r, languages)
            return gap.transpose(0, 2, 1).reshape(n * languages, r)

        return draw

    for p, q, languages in ((0.6, 0.6, 1), (0.75, 0.6, 1), (0.9, 0.85, 1), (0.9, 0.85, 3), (0.98, 0.97, 1)):
        name = f"{p:.2f} - {q:.2f}" + (", 3 languages a question" if languages > 1 else "")
        yield "corrected upper bound", name, DIFFERENCE, languages, solved(p, q, languages), p - q


def coverage(samples: int) -> Rows:
    """Share of the given 95% intervals that hold the truth; how many were refused; how wide they are."""
    rows = []
    for number, (what, data, bounds, languages, draw, truth) in enumerate((*gains(), *answers(), *upper_bounds())):
        some = samples // 4 if what == "corrected upper bound" else samples
        for n in SIZES:
            values = draw(np.random.default_rng([number, n]), n, some).astype("float64")
            clusters = np.repeat(np.arange(n), languages)
            if what == "median gain":
                found = median_interval(values, clusters)
            else:
                found = mean_interval(values, clusters, bounds=bounds, n_resamples=1000, seed=n)
            rows.append({"what": what, "data": data, "n": n} | _covered(found, np.full(some, truth)))
    return rows


def selection(samples: int) -> Rows:
    """The held-out gain or share of the best of 128 cells: its bias, and how often its interval holds the truth.

    The truth is the true mean of the cells that were chosen.
    """
    rows, some = [], max(samples // 10, 20)
    cases = [("gain", shape, lift) for shape in ("normal", "heavy", "skewed") for lift in (0.0, 1.0, 2.0)]
    for measure, shape, lift in [*cases, *(("accuracy", "normal", lift) for lift in (0.0, 1.0, 2.0))]:
        planted = {("attn", 3, 4): lift}
        if measure == "gain":
            true = np.zeros(128)
            true[3 * 8 + 4] = lift
        else:
            true = _flat(stats.simulate(n_instances=4000, n_layers=8, shape=shape, planted=planted), measure).mean(0)
        for n in SIZES:
            parts, truths, inside = [], np.empty(some), np.empty(some)
            for seed in range(some):
                values = _flat(
                    stats.simulate(n_instances=n, n_layers=8, shape=shape, planted=planted, seed=seed), measure
                )
                halves, clusters = split_halves(n, 50, seed), np.arange(n)
                cells = chosen_cells([values], clusters, halves, (2, 8, 8), "overall")
                best = choose([values.mean(0)[None]], (2, 8, 8), "overall")[0]
                inside[seed], truths[seed] = values[:, best].mean(), true[cells].mean()
                picked = values[:, cells.ravel()].T
                parts.append(
                    held_out_interval(picked, clusters, halves, bounds=SHARE if measure == "accuracy" else None)
                )
            found = Interval(*(np.concatenate([getattr(part, end) for part in parts]) for end in ("mean", "low", "high")),
                             parts[0].method)  # fmt: skip
            rows.append(
                {"what": f"held-out {measure}", "data": f"{shape}, {lift:g} planted", "n": n} | _covered(found, truths)
                | {"in sample": inside.mean(), "held out": found.mean.mean(), "true": truths.mean()}
            )  # fmt: skip
    return rows


def false_alarms(samples: int, n: int = 30) -> Rows:
    """Share of maps of 128 cells without effect that have a significant cell.

    "p_max, taken as symmetric" is what `significance` withholds against vanilla unless it is asked for.
    """
    rows, some = [], max(samples // 10, 20)
    for against, noise in [(compared, noise) for compared, noises in NOISE.items() for noise in noises]:
        shape = noise.split(",")[0]
        hits: dict[str, int] = {}
        for seed in range(some):
            real, control = stats.simulate(
                n_instances=n, n_layers=8, shape=shape, languages=["es", "sw"] if "languages" in noise else ["es"],
                planted={("attn", 3, 4): 2.0} if "swapped" in noise else None, control=True, seed=seed,
            )  # fmt: skip
            if "swapped" in noise:
                real, control = swap_labels(real, control, seed=seed)
            found = stats.significance(
                real,
                control if against == "control" else None,
                assume_symmetric=True,
                by=None,
                n_resamples=1000,
                seed=seed,
            )
            for name in ("p_max", "p_fdr", "p_sign_max", "p_sign_fdr"):
                hits[name] = hits.get(name, 0) + int((found[name] <= 0.05).any())
        for name, hit in hits.items():
            if name.startswith("p_sign") and noise.startswith("skewed") and against == "vanilla":
                continue  # its mean is 0 and its median is not: no case without effect for a sign test
            taken = ", taken as symmetric" if against == "vanilla" and not name.startswith("p_sign") else ""
            rows.append({"noise": noise, "against": against, "test": name + taken, "rate": hit / some,
                         "error": _error(hit / some, some)})  # fmt: skip
    withheld = stats.significance(real, by=None, n_resamples=100)
    assert withheld["p_max"].isnull().all(), "p-values of a mean against vanilla must be asked for"
    return rows


NOISE = {
    "control": ("normal", "heavy", "skewed", "lopsided", "heavy, 2 languages", "heavy, 2.0 planted, labels swapped"),
    "vanilla": ("normal", "heavy", "lopsided", "skewed"),
}
"""Of `stats.simulate`. "skewed" has mean 0, "lopsided" median 0; both have a long tail of losses."""


def power(samples: int, n: int = 30) -> Rows:
    """Share of maps on which a planted cell is found, by the size of its gain (in standard deviations of the noise)."""
    rows, some = [], max(samples // 10, 20)
    for lift in (0.5, 0.75, 1.0, 1.5):
        hits = {"p_max": 0, "p_sign_max": 0, "p_sign_max, against vanilla": 0}
        for seed in range(some):
            real, control = stats.simulate(
                n_instances=n, n_layers=8, planted={("attn", 3, 4): lift}, control=True, seed=seed
            )
            (against,), (alone,) = split_groups(real, control), split_groups(real)
            for name, values in (("p_max", against.differences("gain")), ("p_sign_max", np.sign(against.differences("gain"))),
                                 ("p_sign_max, against vanilla", np.sign(alone.differences("gain")))):  # fmt: skip
                hits[name] += sign_flips(values, n_resamples=2000, seed=seed).p_max[3 * 8 + 4] <= 0.05
        for name, hit in hits.items():
            test, _, against = name.partition(", against ")
            rows.append({"noise": f"{lift:g} planted", "against": against or "control", "test": test, "rate": hit / some,
                         "error": _error(hit / some, some)})  # fmt: skip
    return rows


def limits(samples: int) -> Rows:
    """What no interval of an unbounded mean can know: losses that are rarer than a tenth, and not in the sample."""
    rows = []
    for share, n in [(share, n) for share in (0.05, 0.02) for n in (30, 50, 100, 200)]:
        rng = np.random.default_rng([int(100 * share), n])
        values = np.where(rng.random((n, samples)) < share, -5.0, rng.normal(0.3, 0.3, (n, samples)))
        found = mean_interval(values, np.arange(n), n_resamples=1000, seed=n)
        rows.append(
            {"what": "mean gain", "data": f"{share:.0%} lose 5, the rest gain 0.3 ± 0.3", "n": n}
            | _covered(found, np.full(samples, (1 - share) * 0.3 - 5 * share)) | {"not in the sample": (1 - share) ** n}
        )  # fmt: skip
    return rows


def _covered(found: Interval, truth: np.ndarray) -> dict[str, float]:
    """Coverage of what was given, its standard error, the share refused, the median width."""
    given = np.isfinite(found.low) & np.isfinite(found.high)
    held = ((found.low <= truth + 1e-12) & (truth - 1e-12 <= found.high))[given]
    if not given.any():
        return {"coverage": float("nan"), "error": float("nan"), "refused": 1.0, "width": float("nan")}
    width = float(np.median((found.high - found.low)[given]))
    return {
        "coverage": held.mean(),
        "error": _error(held.mean(), len(held)),
        "refused": 1 - given.mean(),
        "width": width,
    }


def _error(rate: float, n: int) -> float:
    """Standard error of a rate; of 0 and 1, that of one case more."""
    return float(np.sqrt(max(rate * (1 - rate), 1 / n * (1 - 1 / n)) / n))


def _normal_quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(level))


def _alike_cells(rng: np.random.Generator, languages: int, n: int) -> np.ndarray:
    """Standard normal noise [real or control, questions x languages, 6, 6]: half is the question's own, the rest alike cells."""
    own = rng.normal(size=(1, n, 1, 1, 1))
    shared = rng.normal(size=(2, n, 1, 6, 1)) + rng.normal(size=(2, n, languages, 1, 6))
    noise = np.sqrt(0.5) * own + np.sqrt(0.2) * shared + np.sqrt(0.1) * rng.normal(size=(2, n, languages, 6, 6))
    return noise.reshape(2, n * languages, 6, 6)


def _threshold(share: float) -> float:
    """Above what the largest of the alike cells is in this share of questions, from a million of them."""
    if not _LARGEST:
        rng = np.random.default_rng(10**6)
        _LARGEST.extend(_alike_cells(rng, 1, 25_000).max((2, 3)).ravel() for _ in range(20))
    return float(np.quantile(np.concatenate(_LARGEST), 1 - share))


_LARGEST: list[np.ndarray] = []


def _flat(results: Any, measure: str) -> np.ndarray:
    (group,) = split_groups(results, measures=(measure,))
    return group.values(measure)


def show(rows: Rows) -> None:
    """Rows as tables in Markdown: coverage as data against n, rates of significant maps as noise against test."""
    if "rate" in rows[0]:
        tests = list(dict.fromkeys(row["test"] for row in rows))
        print(f"| noise | against | {' | '.join(tests)} |\n|---|---|{'---|' * len(tests)}")
        for noise, against in dict.fromkeys((row["noise"], row["against"]) for row in rows):
            here = {row["test"]: row for row in rows if (row["noise"], row["against"]) == (noise, against)}
            none = {"p_max": "withheld", "p_fdr": "withheld"} if against == "vanilla" else {}
            cells = [
                f"{100 * here[t]['rate']:.1f} ± {100 * here[t]['error']:.1f}%" if t in here else none.get(t, "–")
                for t in tests
            ]
            print(f"| {noise} | {against} | {' | '.join(cells)} |", flush=True)
        return
    sizes = list(dict.fromkeys(row["n"] for row in rows))
    print(f"| estimate | data | {' | '.join(f'n = {n}' for n in sizes)} |\n|---|---|{'---|' * len(sizes)}")
    for what, data in dict.fromkeys((row["what"], row["data"]) for row in rows):
        cells = [_cell(row) for row in rows if (row["what"], row["data"]) == (what, data)]
        print(f"| {what} | {data} | {' | '.join(cells)} |")
    if "in sample" in rows[0]:
        print("\n| estimate, n = 50 | data | in sample | held out | true |\n|---|---|---|---|---|")
        for row in rows:
            if row["n"] == 50:
                values = " | ".join(f"{row[name]:.2f}" for name in ("in sample", "held out", "true"))
                print(f"| {row['what']} | {row['data']} | {values} |")
        print()
    least = min((row for row in rows if row["n"] >= 20 and row["refused"] < 1), key=lambda row: row["coverage"])
    print(f"lowest from n = 20: {_cell(least)} ({least['what']}, {least['data']}, n = {least['n']})", flush=True)


def _cell(row: dict[str, Any]) -> str:
    if row["refused"] == 1:
        return "refused"
    refused = f", {row['refused']:.1%} refused" if row["refused"] else ""
    return f"{100 * row['coverage']:.1f} ± {100 * row['error']:.1f}%{refused}"


PARTS: dict[str, Callable[[int], Rows]] = {
    part.__name__: part for part in (coverage, selection, false_alarms, power, limits)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=3000, help="of each case; a tenth of it for whole maps")
    parser.add_argument("--quick", action="store_true", help="400 samples")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    start, results = time.process_time(), {}
    for name in arguments.only:
        results[name] = PARTS[name](400 if arguments.quick else arguments.samples)
        print(f"\n{name}: {(PARTS[name].__doc__ or '').splitlines()[0]}\n")
        show(results[name])
        print(f"{time.process_time() - start:.0f} s of processor time so far", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
