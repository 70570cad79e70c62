"""What a selector is given: maps without their answers (`MapView`), and instances to learn on with them (`Development`).

A `MapView` has no gold option, no score, no gain and no right answers: what `choose` gets can't be peeked at, since it isn't
there. Only `fit` is given a `Development`, of other questions.

>>> from xtl.selectors import simulate
>>> real, controls = simulate(n_questions=20)
>>> every = read_maps(real, controls)
>>> every.maps.logprob.shape, every.maps.controls.shape  # examples, cells, options; controls first
((40, 16, 4), (2, 40, 16, 4))
>>> hasattr(every.maps, "gold"), every.gold.shape
(False, (40,))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from xtl.errors import InputError, known_keywords
from xtl.results import GAIN_DIMS, Maps, as_results, gold_option
from xtl.stats.examples import Group, split_groups
from xtl.stats.selection import choose, map_shape

MIN_INSTANCES = 20
"""Questions that a selector needs: half of them to learn on, half to be judged on."""
FLOOR = -50.0
"""Log-probability of an option that a question doesn't have."""


@dataclass(frozen=True)
class MapView:
    """Maps as they are where nobody knows the answer.

    Attributes:
        logprob: log-probability of each option among the options, in every cell (flat: module, source layer, target layer).
        vanilla: the same without a transplant.
        controls: the same under each control run; none, one or several.
        source: the source prompt's own, its options in the same places; None where the maps lack it.
        valid: which options a question has.
        shape: how many modules, source layers and target layers.
        source_layers: the source layer of each cell.
        languages: target language of each example.
        questions: number of the question of each example: one in several languages is one question.
        features: further numbers of the vanilla run, such as activations; None for none.
        lens: log shares of the options' first tokens by a logit lens (details "lens"), of the run and then its controls; None
            where any lacks them.
        states: the final residual stream on random directions (details "state"); likewise.
    """

    logprob: Float[np.ndarray, "examples cells options"]
    vanilla: Float[np.ndarray, "examples options"]
    controls: Float[np.ndarray, "controls examples cells options"]
    source: Float[np.ndarray, "examples options"] | None
    valid: Bool[np.ndarray, "examples options"]
    shape: tuple[int, int, int]
    source_layers: Int[np.ndarray, " cells"]
    languages: np.ndarray
    questions: Int[np.ndarray, " examples"]
    features: Float[np.ndarray, "examples features"] | None = None
    lens: Float[np.ndarray, "runs examples cells options"] | None = None
    states: Float[np.ndarray, "runs examples cells components"] | None = None

    @property
    def n(self) -> int:
        """Examples."""
        return len(self.vanilla)

    @property
    def n_cells(self) -> int:
        """Cells of a map."""
        return self.logprob.shape[1]

    def take(self, index: np.ndarray) -> MapView:
        """These examples alone."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        kept, by_run = ("shape", "source_layers"), ("controls", "lens", "states")
        taken = {
            name: value[:, index] if name in by_run else value[index]
            for name, value in own.items()
            if name not in kept and value is not None
        }
        return replace(self, **taken)


@dataclass(frozen=True)
class Development:
    """Instances to learn on: maps, and what is right.

    Attributes:
        maps: what `choose` is given too.
        gold: place of the right option.
        labels: how much a cell solves an example: 1 or 0; less where `Corrected` takes off what the control solves.
        vanilla_correct: whether vanilla solves it, 1 or 0.
        control_correct: whether each control's cell solves it.
    """

    maps: MapView
    gold: Int[np.ndarray, " examples"]
    labels: Float[np.ndarray, "examples cells"]
    vanilla_correct: Float[np.ndarray, " examples"]
    control_correct: Float[np.ndarray, "controls examples cells"]

    @property
    def gains(self) -> Float[np.ndarray, "examples cells"]:
        """Log-probability of the gold option in each cell, less vanilla's."""
        rows = np.arange(self.maps.n)
        return self.maps.logprob[rows, :, self.gold] - self.maps.vanilla[rows, self.gold][:, None]

    def take(self, index: np.ndarray) -> Development:
        """These examples alone."""
        return Development(
            self.maps.take(index), self.gold[index], self.labels[index], self.vanilla_correct[index],
            self.control_correct[:, index],
        )  # fmt: skip

    def best_cells(self, most: int) -> Int[np.ndarray, " cells"]:
        """The flat cells with the largest mean labels, best first; ties go to the larger mean gain, then to the lower cell."""
        means = self.labels.mean(0), self.gains.mean(0)
        return np.lexsort((np.arange(len(means[0])), -means[1], -means[0].round(9)))[:most]

    def best_cell(self, strategy: str) -> int:
        """The best flat cell by a strategy of `xtl.stats.selection`."""
        means = [values.mean(0)[None].astype("float64") for values in (self.labels, self.gains)]
        return int(choose(means, self.maps.shape, strategy)[0])

    def with_gold(self, gold: Int[np.ndarray, " examples"]) -> Development:
        """As if other options were right: every label by the option that has most probability."""
        maps = self.maps
        return replace(
            self, gold=gold,
            labels=(maps.logprob.argmax(-1) == gold[:, None]).astype("float64"),
            vanilla_correct=(maps.vanilla.argmax(-1) == gold).astype("float64"),
            control_correct=(maps.controls.argmax(-1) == gold[:, None]).astype("float64"),
        )  # fmt: skip

    def as_control(self) -> Development:
        """The first control in the place of the real run; the others stay controls."""
        maps = self.maps
        maps = replace(
            maps, logprob=maps.controls[0], controls=maps.controls[1:],
            lens=None if maps.lens is None else maps.lens[1:], states=None if maps.states is None else maps.states[1:],
        )  # fmt: skip
        return replace(
            self, maps=maps, labels=self.control_correct[0], control_correct=self.control_correct[1:]
        )  # fmt: skip


@known_keywords()
def read_maps(real: Maps, controls: Maps | Sequence[Maps] = (), *, features: xr.DataArray | None = None) -> Development:
    """Results as arrays: checked, their controls beside them, example by example.

    Args:
        real: from `xtl.sweep_many` or a run, with `details="options"`, right answers known.
        controls: a control of it, or several (of other seeds), with the same details.
        features: further numbers (example, feature) of the vanilla run, in the order of `real`'s examples.

    Raises:
        InputError: no option log-probabilities; fewer than 20 questions; a control of another study; features of other
            examples; and what `xtl.stats.examples.split_groups` refuses.
    """
    real = _with_options(real, "real")
    given = [controls] if isinstance(controls, xr.Dataset) else list(controls)
    others = [_with_options(one, "control") for one in given]
    groups = [_group(real, one) for one in others] or [_group(real, None)]
    maps = _view(groups, others, _features(features, real))
    return Development(
        maps=maps,
        gold=gold_option(groups[0].real).values.astype(int),
        labels=groups[0].values("accuracy"),
        vanilla_correct=groups[0].real["vanilla_correct"].values.astype("float64"),
        control_correct=_stacked(
            [group.values("accuracy", "control") for group in groups[: len(others)]], maps.logprob
        ),
    )


def _with_options(results: Maps, name: str) -> xr.Dataset:
    results = as_results(results, name)
    if "option_logprob" not in results:
        raise InputError(
            f"{name} holds no option_logprob, so nobody can see what a cell answered: compute the maps with "
            "details=options (xtl run --details options)"
        )
    return results


def _group(real: xr.Dataset, control: xr.Dataset | None) -> Group:
    (group,) = split_groups(real, control, by=None, measures=("accuracy",))
    if group.n_instances < MIN_INSTANCES:
        raise InputError(
            f"real has {group.n_instances} questions: a selector needs at least {MIN_INSTANCES}, half to learn on and half to be "
            "judged on; sweep more"
        )
    return group


def _view(groups: Sequence[Group], controls: Sequence[xr.Dataset], features: np.ndarray | None) -> MapView:
    real = groups[0].real
    logprob = _filled(real["option_logprob"])
    layers = np.broadcast_to(real["source_layer"].values[None, :, None], map_shape(groups[0]))
    sides = [_filled(group.control["option_logprob"]) for group in groups if group.control is not None]
    return MapView(
        logprob=logprob,
        vanilla=_filled(real["vanilla_option_logprob"]),
        controls=np.stack(sides) if controls else np.zeros((0, *logprob.shape), "float32"),
        source=_filled(real["source_option_logprob"]) if "source_option_logprob" in real else None,
        valid=np.isfinite(real["vanilla_option_logprob"].transpose("example", "option").values),
        shape=map_shape(groups[0]),
        source_layers=layers.ravel().astype(int),
        languages=real["target_lang"].values.astype(str),
        questions=groups[0].clusters,
        features=features,
        lens=_inside("lens_option_logprob", real, groups),
        states=_inside("final_state", real, groups),
    )


def _inside(
    name: str, real: xr.Dataset, groups: Sequence[Group]
) -> Float[np.ndarray, "runs examples cells ..."] | None:
    """What details read of each cell, of the run and its controls; None where any has none."""
    runs = [real, *(group.control for group in groups if group.control is not None)]
    return np.stack([_filled(run[name]) for run in runs]) if all(name in run for run in runs) else None


def _filled(values: xr.DataArray) -> Float[np.ndarray, "examples *cells options"]:
    """Examples first, options last, cells flat; `FLOOR` where a question has no such option."""
    if "module" not in values.dims:
        return np.nan_to_num(values.transpose("example", ...).values.astype("float32"), nan=FLOOR)
    cube = values.transpose("example", *GAIN_DIMS, ...).values.astype("float32")
    return np.nan_to_num(cube.reshape(len(cube), -1, cube.shape[-1]), nan=FLOOR)


def _stacked(values: Sequence[np.ndarray], like: np.ndarray) -> Float[np.ndarray, "controls examples cells"]:
    return np.stack(values) if values else np.zeros((0, *like.shape[:2]))


def _features(features: xr.DataArray | None, real: xr.Dataset) -> np.ndarray | None:
    if features is None:
        return None
    if set(features.dims) != {"example", "feature"} or features.sizes["example"] != real.sizes["example"]:
        raise InputError(
            f"features must have the dims example (the {real.sizes['example']} of real, in order) and feature; got "
            f"{dict(features.sizes)}"
        )
    return features.transpose("example", "feature").values.astype("float64")
