"""Ways to help a question in one language that are learned on other questions: a vector, or a linear map, and where and how much.

Both move the residual stream after one layer, at the target prompt's last position, from t to t + alpha (m(t) - t). The *mean
difference* has m(t) = t + mean of (s - t) over the questions that were learned on; the *linear map* is the least-squares map from
the target language's activations to the source language's (INCLINE, arXiv 2410.12462), its penalty by leave-one-out. Neither
reads a source prompt when a question is answered. Nested: in each fold layer and alpha are the best of half of its learning
questions for what the other half taught, and the held-out questions are answered with what all of them teach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from analyses._activations import read_last
from xtl.backend import Model
from xtl.engine.prepare import SweepSettings, prepare
from xtl.gradients.exact import Written, written_logprobs
from xtl.hooks import MODULES
from xtl.pairs import ParallelPair

LEARNED = {"mean difference": "mean difference, chosen", "linear map": "least-squares map, chosen"}
"""What is learned, and how a figure calls it."""

PENALTIES = tuple(10.0**power for power in range(-1, 8))
"""Ridge penalties that leave-one-out chooses from; the largest make the map a constant, the sources' mean."""

Streams = Float[np.ndarray, "question d_model"]
Teach = Callable[[Streams, Streams], Callable[[Streams], Streams]]


def _mean_difference(source: Streams, target: Streams) -> Callable[[Streams], Streams]:
    gap = (source - target).mean(0)
    return lambda streams: streams + gap


def _linear_map(source: Streams, target: Streams) -> Callable[[Streams], Streams]:
    return RidgeCV(PENALTIES).fit(target, source).predict


TEACH: dict[str, Teach] = {"mean difference": _mean_difference, "linear map": _linear_map}


@dataclass(frozen=True)
class Answered:
    """A held-out question's answer by something learned: score (nats), right or wrong, and what layer and alpha were chosen."""

    score: float
    correct: bool
    layer: int
    alpha: float


class Questions:
    """The questions of one direction, with what both prompts put into the residual stream.

    Args:
        model: HookedTransformer or TransformerBridge.
        pairs: with options.
        layers: after which the stream may be moved.
        alphas: how much of the way it may be moved.
    """

    def __init__(
        self, model: Model, pairs: Sequence[ParallelPair], layers: Sequence[int], alphas: Sequence[float]
    ) -> None:
        self.model, self.pairs, self.layers = model, pairs, list(layers)
        self.where = list(product(range(len(layers)), alphas))
        source, target = (
            read_last(model, [getattr(pair, side) for pair in pairs], ["resid"])[:, 0][:, self.layers]
            for side in ("source", "target")
        )
        self.source, self.target = source, target
        settings = SweepSettings(("resid",), verify=0)
        cells = settings.cells(model)
        self.prepared = [prepare(model, pair, settings, cells) for pair in pairs]

    def held_out(self, n_folds: int, seed: int) -> list[dict[str, Answered]]:
        """Each question's answers, by what was learned and chosen on the folds that it is not in."""
        found: dict[int, dict[str, Answered]] = {}
        rng = np.random.default_rng(seed)
        for learning, held in KFold(n_folds, shuffle=True, random_state=seed).split(self.target):
            mixed = rng.permutation(learning)
            best = self.choose(mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :])
            moved = {name: self.moved(teach, learning, held) for name, teach in TEACH.items()}
            for k, number in enumerate(held.tolist()):
                steps = [(layer, alpha, moved[name][layer, k]) for name, (layer, alpha) in best.items()]
                answers = zip(best.items(), *self.run(number, steps), strict=True)
                found[number] = {
                    name: Answered(float(score), bool(right), self.layers[layer], alpha)
                    for (name, (layer, alpha)), score, right in answers
                }
        return [found[number] for number in range(len(self.pairs))]

    def choose(
        self, learning: Int[np.ndarray, " learning"], judged: Int[np.ndarray, " question"]
    ) -> dict[str, tuple[int, float]]:
        """The layer (by its place) and alpha, of each thing learned, that is best for some questions after others taught it."""
        moved = {name: self.moved(teach, learning, judged) for name, teach in TEACH.items()}
        tries = list(product(TEACH, self.where))
        scores = [
            self.run(number, [(layer, alpha, moved[name][layer, k]) for name, (layer, alpha) in tries])[0]
            for k, number in enumerate(judged.tolist())
        ]
        mean = np.mean(scores, axis=0).reshape(len(TEACH), len(self.where))
        return {name: self.where[best] for name, best in zip(TEACH, mean.argmax(axis=1).tolist(), strict=True)}

    def moved(
        self, teach: Teach, learning: Int[np.ndarray, " learning"], asked: Int[np.ndarray, " question"]
    ) -> Float[np.ndarray, "layer question d_model"]:
        """m(t) of some questions, after each layer, as others teach it."""
        maps = [teach(self.source[learning, layer], self.target[learning, layer]) for layer in range(len(self.layers))]
        return np.stack([one(self.target[asked, layer]) for layer, one in enumerate(maps)])

    def run(
        self, number: int, steps: Sequence[tuple[int, float, Float[np.ndarray, " d_model"]]]
    ) -> tuple[Float[np.ndarray, " step"], Bool[np.ndarray, " step"]]:
        """Score of a question and whether it is right, its stream moved by each step: layer (by its place), alpha, where to."""
        sweep, cfg = self.prepared[number], self.model.cfg
        assert sweep.question is not None
        written: list[Written] = []
        for layer, alpha, goal in steps:
            own = self.target[number, layer]
            value = torch.as_tensor(own + alpha * (goal - own)).to(cfg.device, cfg.dtype)
            written.append((MODULES["resid"], self.layers[layer], value))
        logprobs = written_logprobs(self.model, sweep.plan, written)[1:]
        return sweep.question.score(logprobs).numpy(), sweep.question.correct(logprobs).numpy()


def counted(answers: Sequence[dict[str, Answered]]) -> dict[str, dict[str, int]]:
    """What was chosen, and for how many questions."""
    return {
        name: dict(Counter(f"after layer {one[name].layer}, alpha {one[name].alpha:g}" for one in answers))
        for name in TEACH
    }
