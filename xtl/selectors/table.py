"""How much of the upper bound can be had without the answer? One table, with a null beside every number.

A row a selector, after the baselines and the bounds:

- `accuracy` on questions that it was not fitted on, and `gain`, that less vanilla's, each with an interval over questions
  that also knows of the choice (`xtl.stats.selection.held_out_interval`);
- `share` of the chance-corrected headroom: gain over (corrected bound less vanilla; see `xtl.selectors.headroom`), with
  Fieller's interval;
- `p_vanilla`, `p_fixed`: sign flips of questions, is it better than vanilla, than the best fixed cell?
- `shuffled`: its gain over vanilla when it is trained and judged in the same way on the control's maps; `permuted`: when the
  golds that it learns from are those of other questions, each with its interval and p. Neither may be above 0: `null_holds`
  (p >= 0.05). `p_null`: is the selector better on the real maps than on the control's?
- `passes`: forward passes a question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int

from xtl.errors import InputError, check_choice, check_flag, check_whole, known_keywords
from xtl.results import Maps, as_results, labelled
from xtl.selectors.base import Selector, passes
from xtl.selectors.headroom import headroom, interval, lucky, share
from xtl.selectors.judge import Outcomes, judge, permuted_gold
from xtl.selectors.maps import Development, read_maps
from xtl.selectors.registry import BASELINES, get_selectors
from xtl.stats.examples import check_confidence, check_resamples, cluster_sums, record
from xtl.stats.intervals import DIFFERENCE, SHARE, mean_interval, spread
from xtl.stats.paired_tests import sign_flips
from xtl.stats.seeds import generator
from xtl.stats.selection import held_out_interval, split_halves

UNTRAINED = ("vanilla", "source_answer")
"""What has no null: nothing of it comes from maps."""
ACROSS = ("none", "language", "task")
"""What else than questions a selector may be new to when it is judged."""
COLUMNS = (
    "kind", "accuracy", "accuracy_low", "accuracy_high", "gain", "gain_low", "gain_high", "share", "share_low", "share_high",
    "p_vanilla", "p_fixed", "p_null", "shuffled", "shuffled_low", "shuffled_high", "shuffled_p", "permuted", "permuted_low",
    "permuted_high", "permuted_p", "null_holds", "score_gain", "passes", "settings", "reason",
)  # fmt: skip


@known_keywords()
def evaluate(
    real: Maps,
    controls: Maps | Sequence[Maps] = (),
    selectors: str | Sequence[str | Selector] = "all",
    *,
    across: str = "none",
    nulls: bool = True,
    features: xr.DataArray | None = None,
    n_splits: int = 20,
    confidence: float = 0.95,
    seed: int = 0,
    told: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Judge selectors on questions (and languages, or tasks) that they were not fitted on.

    Args:
        real: from `xtl.sweep_many` or a run, with `details="options"` (and "agreement", for the source's own answer).
        controls: a control of it, or several of other seeds: what is contrasted with, what chance reaches, the null.
        selectors: names of `SELECTORS`, objects of your own, or "all".
        across: "none": new questions; "language": in languages that it was not fitted on, too; "task": of another task.
        nulls: judge the two nulls too, which triples the time.
        features: further numbers (example, feature) of the vanilla run for the router, such as activations.
        n_splits: random halvings of the questions; each is used both ways.
        confidence: level of the intervals.
        seed: of all that is drawn.
        told: told the name of each selector before it is judged.

    Returns:
        A row a selector (index `selector`), columns `COLUMNS`: `kind` is "baseline", "bound" or "selector"; accuracies are
        shares, `gain`, `shuffled` and `permuted` differences of them to vanilla; `share` is NaN where the corrected headroom
        could be 0, or without a control; `score_gain` (nats) is NaN where answers are chosen, not cells; `settings` those
        chosen most often; `reason` says why a selector could not be judged. Settings in `attrs`.

    Raises:
        InputError: see `xtl.selectors.maps.read_maps`; unknown names; one language or one task where it must be new.

    >>> from xtl.selectors import simulate
    >>> table = evaluate(*simulate(planted={("attn", 1, 2): 3.0}), selectors=["contrast"], n_splits=5)
    >>> table.loc[["vanilla", "fixed", "contrast", "upper bound"], "accuracy"].round(2).tolist()
    [0.36, 0.95, 0.77, 0.99]
    """
    check_flag("nulls", nulls)
    real = as_results(real, "real")
    bench = _Bench(
        read_maps(real, controls, features=features), check_resamples(n_splits, 2, "n_splits"),
        check_confidence(confidence), check_whole("seed", seed, 0), _parts(real, across), nulls,
    )  # fmt: skip
    chosen = get_selectors(selectors)
    rows = [bench.row(make(), "baseline", told) for make in BASELINES] + bench.bounds()
    rows += [bench.row(one, "selector", told) for one in chosen]
    table = pd.DataFrame(rows).set_index("selector").reindex(columns=list(COLUMNS))
    settings: dict[str, Any] = {"across": across, "n_splits": n_splits, "confidence": confidence, "seed": seed}
    counts = {"n": bench.world.maps.n, "n_questions": bench.n_questions, "n_cells": bench.world.maps.n_cells}
    table.attrs = record(real, None, **settings, **counts) | {"n_controls": len(bench.world.maps.controls)}
    return table


def _parts(real: xr.Dataset, across: str) -> Int[np.ndarray, " examples"] | None:
    """The number of the language (or task) of each example; None where nothing but questions is new."""
    if check_choice("across", across, ACROSS) == "none":
        return None
    names = labelled(real)["target_lang" if across == "language" else "task"].values.astype(str)
    valid, places = np.unique(names, return_inverse=True)
    if len(valid) < 2:
        raise InputError(
            f"across={across!r} needs several: fitted on some, judged on others; these maps have one {across}, {valid[0]}"
        )
    return places


@dataclass
class _Bench:
    """Judges one selector after the other on the same splits."""

    world: Development
    n_splits: int
    confidence: float
    seed: int
    parts: np.ndarray | None
    nulls: bool

    def __post_init__(self) -> None:
        self.n_questions = int(self.world.maps.questions.max()) + 1
        self.halves = split_halves(self.n_questions, self.n_splits, self.seed)
        self.apart = None if self.parts is None else self._halved(self.parts)
        self.room = headroom(self.world) if len(self.world.maps.controls) else None
        self.fixed: Outcomes | None = None

    def _halved(self, parts: np.ndarray) -> Int[np.ndarray, "splits examples"]:
        """Languages (or tasks) in two random parts, split by split."""
        rng, count = generator(self.seed, "parts"), int(parts.max()) + 1
        return np.stack([rng.permutation(np.arange(count) % 2)[parts] for _ in range(self.n_splits)])

    def row(self, selector: Selector, kind: str, told: Callable[[str], None] | None) -> dict[str, Any]:
        """All columns of a selector; NaN and a reason where maps lack what it needs."""
        row: dict[str, Any] = {"selector": selector.name, "kind": kind, "reason": ""}
        if lacking := selector.lacks(self.world.maps):
            return row | {"reason": f"needs {lacking}"}
        if told is not None:
            told(selector.name)
        found = self._judge(selector, self.world, self.world)
        if selector.name == "fixed":
            self.fixed = found
        row |= self._measured(found)
        return row | (self._nulls(selector, found) if self.nulls and selector.name not in UNTRAINED else {})

    def _judge(self, selector: Selector, learn: Development, measure: Development) -> Outcomes:
        return judge(selector, learn, measure, self.halves, apart=self.apart, seed=self.seed)

    def _measured(self, found: Outcomes) -> dict[str, Any]:
        over = found.right - self.world.vanilla_correct
        row: dict[str, Any] = self._interval("accuracy", found.right, SHARE) | self._interval("gain", over, DIFFERENCE)
        row |= {"passes": found.passes, "settings": found.settings.most_common(1)[0][0]}
        row["score_gain"] = float(self._mean(found.gain).mean())
        if self.room is not None:
            ends = share(self._mean(over), self.room, self.world.maps.questions, confidence=self.confidence,
                         stretch=self._stretch(over))  # fmt: skip
            row |= dict(zip(("share", "share_low", "share_high"), ends, strict=True))
        row["p_vanilla"] = self._p(over)
        if self.fixed is not None and found is not self.fixed:
            row["p_fixed"] = self._p(found.right - self.fixed.right)
        return row

    def _p(self, difference: Float[np.ndarray, "fits examples"]) -> float:
        """Sign flips of questions: is the mean difference above 0?"""
        sums = cluster_sums(self._mean(difference)[:, None], self.world.maps.questions)
        return float(sign_flips(sums, alternative="greater", seed=self.seed).p[0])

    def _nulls(self, selector: Selector, found: Outcomes) -> dict[str, Any]:
        """Gains over vanilla with the control in the real run's place, and with other questions' golds to learn from."""
        row: dict[str, Any] = {}
        if len(self.world.maps.controls):
            control = self.world.as_control()
            if lacking := selector.lacks(control.maps):
                row["reason"] = f"its null on the control needs {lacking}: give a second control, of another seed"
            else:
                null = self._judge(selector, control, control)
                row |= self._null("shuffled", null) | {"p_null": self._p(found.right - null.right)}
        if selector.learns:
            permuted = self.world.with_gold(permuted_gold(self.world, self.seed))
            row |= self._null("permuted", self._judge(selector, permuted, self.world))
        found_p = [row[name] for name in ("shuffled_p", "permuted_p") if name in row]
        return row | ({"null_holds": bool(min(found_p) >= 1 - self.confidence)} if found_p else {})

    def _null(self, name: str, found: Outcomes) -> dict[str, Any]:
        over = found.right - self.world.vanilla_correct
        return self._interval(name, over, DIFFERENCE) | {f"{name}_p": self._p(over)}

    def _interval(
        self, name: str, picked: Float[np.ndarray, "fits examples"], bounds: tuple[float, float]
    ) -> dict[str, float]:
        found = held_out_interval(
            picked, self.world.maps.questions, self.halves, bounds=bounds, confidence=self.confidence, seed=self.seed
        )
        return {name: float(found.mean[0]), f"{name}_low": float(found.low[0]), f"{name}_high": float(found.high[0])}

    def _outside(self) -> Float[np.ndarray, "fits examples"]:
        """The weight of each example in each fit that it was not in."""
        outside = np.concatenate([~self.halves, self.halves])[:, self.world.maps.questions]
        return outside / outside.sum(1, keepdims=True)

    def _mean(self, picked: Float[np.ndarray, "fits examples"]) -> Float[np.ndarray, " examples"]:
        """What each example adds to the mean over fits."""
        return (picked * self._outside()).mean(0) * self.world.maps.n

    def _stretch(self, picked: Float[np.ndarray, "fits examples"]) -> float:
        """By how much the standard error over fits is larger than over questions."""
        means = (picked * self._outside()).sum(1)
        sums = cluster_sums(self._mean(picked)[:, None], self.world.maps.questions)
        over_questions = float(
            spread(sums, np.bincount(self.world.maps.questions).astype(float), means.mean()[None])[0]
        )
        over_fits = float(np.sqrt((1 + 1 / len(means)) * means.var(ddof=1)))
        return max(1.0, over_fits / over_questions) if over_questions > 0 else 1.0

    def bounds(self) -> list[dict[str, Any]]:
        """The paper's upper bound, what luck reaches of it, vanilla with their difference on top, and the corrected bound."""
        real, vanilla = self.world.labels.max(1), self.world.vanilla_correct
        rows: list[dict[str, Any]] = [{"selector": "upper bound"} | self._bound(real, vanilla)]
        if self.room is not None:
            luck = lucky(self.world)
            gap = mean_interval(
                (real - luck)[:, None], self.world.maps.questions, bounds=DIFFERENCE, confidence=self.confidence
            )
            ends = interval(self.room, self.world.maps.questions, self.confidence)
            rows.append({"selector": "chance bound"} | self._bound(luck, vanilla))
            rows.append(
                {"selector": "real minus chance"} | self._over([float(getattr(gap, side)[0]) for _, side in ENDS])
            )
            rows.append({"selector": "corrected bound", "share": 1.0} | self._over(ends))
        return [{"kind": "bound", "reason": "", "passes": passes(self.world.maps.n_cells)} | row for row in rows]

    def _over(self, gains: Sequence[float]) -> dict[str, float]:
        """A gain with its ends, and the accuracy that vanilla has with it."""
        vanilla = float(self.world.vanilla_correct.mean())
        gain = {f"gain{end}": value for (end, _), value in zip(ENDS, gains, strict=True)}
        return gain | {name.replace("gain", "accuracy"): vanilla + value for name, value in gain.items()}

    def _bound(self, solved: Float[np.ndarray, " examples"], vanilla: np.ndarray) -> dict[str, float]:
        row: dict[str, float] = {}
        for name, values, ends in (("accuracy", solved, SHARE), ("gain", solved - vanilla, DIFFERENCE)):
            found = mean_interval(values[:, None], self.world.maps.questions, bounds=ends, confidence=self.confidence)
            row |= {f"{name}{end}": float(getattr(found, side)[0]) for end, side in ENDS}
        return row


ENDS = (("", "mean"), ("_low", "low"), ("_high", "high"))
