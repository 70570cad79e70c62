"""What an engine is asked to do: the cells of one pair's map, and what to take from each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from xtl.hooks import Module
from xtl.results.concat import GAIN_DIMS


@dataclass(frozen=True)
class Cell:
    """One transplant of the map: module, source layer, target layer (0-based), and how much of the source is written."""

    module: Module
    source_layer: int
    target_layer: int
    alpha: float = 1.0
    source_lang: str | None = None
    source_head: int | None = None
    target_head: int | None = None

    def __str__(self) -> str:
        times = "" if self.alpha == 1 else f"{self.alpha:g} x "
        read, write = ("" if head is None else f" head {head}" for head in (self.source_head, self.target_head))
        where = "" if self.source_lang is None else f" from {self.source_lang}"
        return f"{times}{self.module.name} {self.source_layer}{read} -> {self.target_layer}{write}{where}"

    def source(self, activations: Mapping[Any, Tensor]) -> Tensor:
        """What the cell writes, of activations by module name and source layer (and source language, with several)."""
        language = () if self.source_lang is None else (self.source_lang,)
        found = activations[(self.module.name, self.source_layer, *language)]
        return found if self.source_head is None else found[..., self.source_head, :]


@dataclass(frozen=True)
class Plan:
    """The map of one pair: token ids of both prompts, the cells, and the continuations to score or how much to generate.

    Attributes:
        source_ids: the source prompt.
        target_ids: the target prompt.
        modules: in the order of the result.
        source_layers, target_layers: 0-based, in the order of the result.
        continuations: token ids to score after the target prompt; none when an answer is generated.
        up_to_constant: whether every score stays the same when a constant is added to all continuations' log-probabilities
            (so among options of equal lengths); an engine may then leave out what all of them share.
        max_new_tokens: most tokens to generate; None when continuations are scored.
        confidence: whether to say of each generated answer how sure the model is of it.
        readings: what else is read of each cell that is scored; names of `xtl.engine.readings.READINGS`.
        every_step: whether tokens after the prompt are patched too (`steps="every"`).
        chunk_size: cells at a time; None leaves it to the engine.
        activations: what to write, by module name and source layer (and source language, with an axis of it), `[d_model]` each;
            None reads them from the source prompt.
        axes: what else cells differ in, as fields of `Cell` with their values: the map's further axes, in order.
        sources: token ids of several source prompts by language, in place of `source_ids`: an axis `source_lang`, or else what is
            written is their mean.
        source_positions: tokens of the source prompt that are read; none for the last one.
        target_positions: tokens of the target prompt that are written, in ascending order; none for the last one.
        alpha: how much of the source every cell writes, where that is no axis.
    """

    source_ids: list[int]
    target_ids: list[int]
    modules: tuple[Module, ...]
    source_layers: tuple[int, ...]
    target_layers: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...] = ()
    up_to_constant: bool = False
    max_new_tokens: int | None = None
    confidence: bool = False
    readings: tuple[str, ...] = ()
    every_step: bool = False
    chunk_size: int | None = None
    activations: Mapping[Any, Float[Tensor, "*unit"]] | None = None
    axes: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    sources: tuple[tuple[str, list[int]], ...] = ()
    source_positions: tuple[int, ...] = ()
    target_positions: tuple[int, ...] = ()
    alpha: float = 1.0

    @property
    def start(self) -> int:
        """The first token of the target prompt that is written: those before it are the same in every cell."""
        return min(self.target_positions, default=len(self.target_ids) - 1)

    @property
    def nodes(self) -> tuple[int, ...]:
        """The written tokens, counted from there."""
        return tuple(position - self.start for position in self.target_positions) or (0,)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    def dims(self) -> tuple[str, ...]:
        """The map's axes, in order."""
        return (*GAIN_DIMS, *(name for name, _ in self.axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of modules, source layers and target layers, and the lengths of further axes."""
        lengths = (len(values) for _, values in self.axes)
        return len(self.modules), len(self.source_layers), len(self.target_layers), *lengths

    def cells(self) -> Iterator[Cell]:
        """Every cell, modules outermost, target layers (or further axes) innermost."""
        names = [name for name, _ in self.axes]
        values = (values for _, values in self.axes)
        for module, source, target, *more in product(self.modules, self.source_layers, self.target_layers, *values):
            yield Cell(module, source, target, **({"alpha": self.alpha} | dict(zip(names, more, strict=True))))


class Confidence(NamedTuple):
    """How sure the model is of a greedy answer.

    Attributes:
        answer_logprob: mean log-probability of its tokens, with the end-of-sequence token, in nats.
        first_margin: the first token's logit minus the second largest one.
        first_entropy: entropy of the first token's distribution, in nats.
    """

    answer_logprob: float
    first_margin: float
    first_entropy: float


@dataclass(frozen=True)
class Generated:
    """A greedy answer.

    Attributes:
        tokens: up to and with the end-of-sequence token.
        finite: whether the logits of every step were numbers.
        confidence: where the plan asks for it.
    """

    tokens: list[int]
    finite: bool = True
    confidence: Confidence | None = None


@dataclass(frozen=True)
class Outputs:
    """What an engine gives for a plan, before it is scored: log-probabilities or answers. First vanilla, then the plan's cells.

    Attributes:
        logprobs: of the continuations, on the CPU; None where answers are generated.
        answers: what was generated; None where continuations are scored.
        n_verified: cells that the loop computed again.
        largest_difference: of those cells from the loop's.
        source: of the source run, where it was asked for: log-probabilities of its options, or its answer.
        readings: what else was read of each run (`xtl.engine.readings`), where the plan asks for it.
    """

    logprobs: Float[Tensor, "runs continuation"] | None = None
    answers: Sequence[Generated] | None = None
    n_verified: int = 0
    largest_difference: float = 0.0
    source: Float[Tensor, " option"] | Generated | None = None
    readings: Float[Tensor, "runs number"] | None = None
