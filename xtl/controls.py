"""Controls: the same sweep with something else in place of the source prompt's activations.

A transplant's gain may come from the question's content, from the language alone, or from no more than a disturbance. A control
keeps the target prompts, the cells, the score and the engine, and changes only what is written; what it gains too, the content
did not do. `xtl.stats` compares the two runs.

>>> list(CONTROLS)
['shuffled_source', 'same_language', 'other_language', 'noise', 'noise_norm', 'zero', 'mean', 'language_mean']

A control is a function `(Sources) -> Writes`: from everything that can be read it makes what is written for a pair. To add
one, write that function and put it into `CONTROLS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Unpack

from xtl.backend import Model
from xtl.engine.driver import Keep, Progress
from xtl.engine.many import Writes, sweep_many
from xtl.engine.prepare import Settings, check_cells
from xtl.errors import InputError, check_choice, check_function, check_whole, known_keywords
from xtl.hooks import get_modules
from xtl.models.state import check_model
from xtl.pairs import ParallelPair, Prompt, check_pairs
from xtl.stats.seeds import generator
from xtl.tokens import check_fits, encode
from xtl.transplants import read_activations

Written = Mapping[tuple[str, int], Float[Tensor, "*unit"]]
"""What is written for a pair, by module name and source layer."""


@dataclass
class Sources:
    """What a control may draw on.

    Attributes:
        model: HookedTransformer or TransformerBridge.
        pairs: the sweep's pairs.
        others: pairs of the same instances whose source language is a third one, by id.
        settings: the sweep's modules and layers.
        seed: of all random choices.
    """

    model: Model
    pairs: Sequence[ParallelPair]
    others: Mapping[str, ParallelPair]
    settings: Settings
    seed: int
    _kept: dict[str, Written] = field(default_factory=dict)

    def read(self, prompt: Prompt) -> Written:
        """The activations at a prompt's last position, of the sweep's modules and source layers; each prompt is run once."""
        key = repr(prompt)
        if key not in self._kept:
            modules, layers, _ = check_cells(
                self.model, self.settings.get("modules", ("attn", "mlp")), self.settings.get("source_layers")
            )
            ids = encode(self.model, prompt)
            check_fits(self.model, "source", len(ids))
            self._kept[key] = read_activations(self.model, ids, modules, layers)
        return self._kept[key]

    def by_head(self) -> set[str]:
        """Names of the sweep's modules that go head by head."""
        modules = get_modules(self.settings.get("modules", ("attn", "mlp")))
        return {module.name for module in modules if module.heads}

    def alike(self, pair: ParallelPair) -> list[ParallelPair]:
        """The pairs of the same direction, other than this instance."""
        group = [
            other for other in self.pairs if other.direction == pair.direction and instance(other) != instance(pair)
        ]
        if not group:
            raise InputError(f"direction {pair.direction} has one instance alone: a control needs another one")
        return group

    def random(self, pair: ParallelPair, purpose: str) -> np.random.Generator:
        """Random numbers of this pair: the same whichever pairs came before, and whichever directions are swept with it."""
        group = [one for one in self.pairs if one.direction == pair.direction]
        place = next(index for index, one in enumerate(group) if one is pair)
        return generator(self.seed, f"{purpose}/{pair.direction}/{place}")


def instance(pair: ParallelPair) -> str:
    """What tells instances apart: the id, or the source prompt where there is none."""
    return pair.id or repr(pair.source)


Control = Callable[[Sources], Writes]


def shuffled_source(sources: Sources) -> Writes:
    """The source prompt of another instance, same languages: the same task and language without this question's content.

    Instances of a direction are put in a random circle; each gets its neighbour's source prompt, so that each is used once.
    """
    neighbour: dict[int, ParallelPair] = {}
    for direction in dict.fromkeys(pair.direction for pair in sources.pairs):
        group = [pair for pair in sources.pairs if pair.direction == direction]
        sources.alike(group[0])
        order = generator(sources.seed, f"shuffled source/{direction}").permutation(len(group))
        for place, index in enumerate(order):
            after = (group[order[(place + step) % len(order)]] for step in range(1, len(order)))
            neighbour[id(group[index])] = next(pair for pair in after if instance(pair) != instance(group[index]))
    return lambda pair: sources.read(neighbour[id(pair)].source)


def same_language(sources: Sources) -> Writes:
    """The target prompt itself: nothing but a shift of layers. Cells with i = j change nothing (but `attn_released`)."""
    return lambda pair: sources.read(pair.target)


def other_language(sources: Sources) -> Writes:
    """The same instance asked in a third language (from `others`)."""
    missing = [instance(pair) for pair in sources.pairs if instance(pair) not in sources.others]
    if missing:
        raise InputError(
            f"others has no pair for {', '.join(missing[:5])}: give the same instances with a third source language"
        )
    return lambda pair: sources.read(sources.others[instance(pair)].source)


def noise(sources: Sources) -> Writes:
    """Gaussian with the mean and the covariance of the other instances' source activations."""

    def draw(pair: ParallelPair) -> Written:
        others = [sources.read(other.source) for other in sources.alike(pair)]
        weights = torch.from_numpy(sources.random(pair, "noise").standard_normal(len(others))).float()
        return {key: _gaussian(torch.stack([one[key] for one in others]), weights) for key in others[0]}

    return draw


def _gaussian(sample: Float[Tensor, "instance ..."], weights: Float[Tensor, " instance"]) -> Float[Tensor, "*unit"]:
    """A draw from the sample's Gaussian: a weighted sum of the centred sample has its covariance."""
    mean = sample.mean(dim=0)
    summed = weights.to(sample) @ (sample - mean).flatten(1)
    return mean + summed.reshape(mean.shape) / max(len(sample) - 1, 1) ** 0.5


def noise_norm(sources: Sources) -> Writes:
    """A random direction, as long as the source activation."""

    def draw(pair: ParallelPair) -> Written:
        random = sources.random(pair, "noise norm")
        written = {}
        for key, activation in sources.read(pair.source).items():
            direction = torch.from_numpy(random.standard_normal(activation.shape)).to(activation)
            along = -1 if key[0] in sources.by_head() else None  # of each head its own length
            lengths = [one.norm(dim=along, keepdim=along is not None) for one in (direction, activation)]
            written[key] = direction / lengths[0] * lengths[1]
        return written

    return draw


def zero(sources: Sources) -> Writes:
    """Nothing: the module's output is taken away (zero ablation). The same in every source layer."""
    return lambda pair: {key: torch.zeros_like(value) for key, value in sources.read(pair.source).items()}


def mean(sources: Sources) -> Writes:
    """The average over the other instances' *target* prompts; where i = j this is mean ablation."""
    return lambda pair: _average([sources.read(other.target) for other in sources.alike(pair)])


def language_mean(sources: Sources) -> Writes:
    """The average over the other instances' source prompts: the language and the task without the question's content."""
    return lambda pair: _average([sources.read(other.source) for other in sources.alike(pair)])


def _average(written: list[Written]) -> Written:
    return {key: torch.stack([one[key] for one in written]).mean(dim=0) for key in written[0]}


CONTROLS: dict[str, Control] = {
    function.__name__: function
    for function in (shuffled_source, same_language, other_language, noise, noise_norm, zero, mean, language_mean)
}
"""Every control, by name."""

FROM_OTHERS = ("shuffled_source", "noise", "mean", "language_mean")
"""Controls that are made of other instances of the same direction, and need at least one."""


@known_keywords(Settings.__annotations__, name="controls.run")
def run(
    model: Model,
    pairs: Iterable[ParallelPair],
    control: str | Control,
    *,
    seed: int = 0,
    others: Iterable[ParallelPair] | None = None,
    keep: Keep | None = None,
    progress: bool | Progress = False,
    **settings: Unpack[Settings],
) -> Iterator[xr.Dataset]:
    """The maps of a control, on the same footing as `xtl.sweep_many`: same target prompts, cells, score and engine.

    Args:
        model: from `xtl.load_model`, or any HookedTransformer or TransformerBridge.
        pairs: the pairs of the real sweep; a control draws on all of them, so that a generator is read to its end.
        control: a name from `CONTROLS`, or a function like those.
        seed: of all random choices; kept in the result's attributes.
        others: for "other_language": pairs of the same instances (by id) whose source language is a third one.
        keep, progress: as for `xtl.sweep_many`.
        **settings: as for the real sweep.

    Yields:
        What `xtl.sweep` returns for each pair, with the control and its seed in the attributes `control` and `seed`.

    Raises:
        InputError: an unknown control, `others` missing or not parallel, a single instance where a control needs another, and
            what `xtl.sweep_many` raises.

    Example:
        >>> import xtl
        >>> pairs = xtl.get_task("capitals").pairs("en", "es", limit=20)
        >>> model = xtl.load_model()  # doctest: +SKIP
        >>> real = xtl.concat_maps(xtl.sweep_many(model, pairs, modules=["attn"]))  # doctest: +SKIP
        >>> chance = xtl.concat_maps(  # doctest: +SKIP
        ...     xtl.controls.run(model, pairs, "shuffled_source", modules=["attn"])
        ... )
    """
    seed = check_whole("seed", seed, 0)
    pairs = list(check_pairs(pairs))
    name = control if isinstance(control, str) else getattr(control, "__name__", "control")
    written = make(model, pairs, control, seed=seed, others=others, **settings)
    maps = sweep_many(model, pairs, activations=written, keep=keep, progress=progress, **settings)
    return (one.assign_attrs(control=name, seed=seed) for one in maps)


def check_control(control: str | None, language: str | None) -> None:
    """Raise `InputError` for an unknown control, a third language that none needs, or none where one is needed.

    >>> check_control("other_language", None)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: control other_language needs control_language: the third language, such as 'fr'
    """
    if control is not None:
        check_choice("control", control, CONTROLS)
    if control == "other_language" and language is None:
        raise InputError("control other_language needs control_language: the third language, such as 'fr'")
    if control != "other_language" and language is not None:
        raise InputError(f"control_language goes with the control other_language, not with {control}")


def in_third_language(
    language: str, pairs: Sequence[ParallelPair], read: Callable[[], Sequence[ParallelPair]]
) -> list[ParallelPair]:
    """The `others` of the control "other_language": the same instances with this source language.

    Args:
        language: as in the pairs' codes.
        pairs: the sweep's.
        read: gives the same instances with this source language.

    Raises:
        InputError: it is one of the pairs' languages, or asks something else.
    """
    ends = dict.fromkeys(chain.from_iterable((pair.source_lang, pair.target_lang) for pair in pairs))
    if language in ends:
        raise InputError(
            f"control_language {language!r} is no third language: it is one of {', '.join(map(str, ends))}"
        )
    others = list(read())
    known = {instance(pair) for pair in others}
    missing = [one for one in map(instance, pairs) if one not in known]
    if missing:
        raise InputError(f"control_language {language!r} does not ask the same: it has no {', '.join(missing[:3])}")
    return others


@known_keywords(Settings.__annotations__, name="controls.make")
def make(
    model: Model,
    pairs: Iterable[ParallelPair],
    control: str | Control,
    *,
    seed: int = 0,
    others: Iterable[ParallelPair] | None = None,
    **settings: Unpack[Settings],
) -> Writes:
    """What a control writes for each of these very pairs: the argument `activations` of `xtl.sweep_many`.

    Args and errors as for `run`.
    """
    seed = check_whole("seed", seed, 0)
    if callable(control):
        function = check_function("control", control, "sources")
    else:
        function = CONTROLS[check_choice("control", control, CONTROLS)]
    pairs = list(check_pairs(pairs))
    others = None if others is None else list(check_pairs(others, "others"))
    check_model(model)
    if function is other_language and not others:
        raise InputError("control 'other_language' needs others: the same instances with a third source language")
    if not pairs:
        raise InputError("pairs is empty: give at least one ParallelPair")
    written = function(Sources(model, pairs, {instance(pair): pair for pair in others or ()}, settings, seed))
    return check_function("what a control gives", written, "pair")
