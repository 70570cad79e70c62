"""From what the user asks for to a plan: everything is checked and tokenised before any long work.

>>> SweepSettings(verify=2).verify, SweepSettings(chunk_size=8).cells_at_a_time
(2, 8)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypedDict

from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model
from xtl.engine.heads import head_axes
from xtl.engine.plan import Plan
from xtl.engine.readings import READINGS
from xtl.engine.source_run import SourceRun, prepare_source_run
from xtl.errors import InputError, Whole, as_whole, check_choice, check_chunk_size, check_number, check_whole
from xtl.hooks import Module, get_modules
from xtl.layers import Layers, check_layers
from xtl.models.hook_points import check_module
from xtl.pairs import ParallelPair
from xtl.results.details import check_details
from xtl.results.units import NORMALISATIONS
from xtl.scoring.likelihood import Question, prepare_question
from xtl.scoring.text import TextScore, check_text_score, rated
from xtl.tokens import check_fits, encode
from xtl.transplants import STEPS


class Settings(TypedDict, total=False):
    """The keyword arguments of `xtl.sweep` that are the same for every pair; see there."""

    modules: Sequence[str | Module]
    source_layers: Layers | None
    target_layers: Layers | None
    max_new_tokens: Whole | None
    text_score: TextScore | None
    normalise: str
    steps: str
    engine: str
    verify: Whole
    chunk_size: Whole | str
    details: Sequence[str] | str
    alpha: float | Sequence[float]
    heads: Layers | None
    source_heads: Layers | None
    target_heads: Layers | None


Cells = tuple[tuple[Module, ...], tuple[int, ...], tuple[int, ...]]
"""Modules, source layers and target layers of a map."""
Activations = Mapping[tuple[str, int], Float[Tensor, "*unit"]]
"""What is written, by module name and source layer."""


@dataclass(frozen=True)
class SweepSettings:
    """The arguments of `xtl.sweep` that are the same for every pair, with its defaults; checked as far as that takes no model.

    Attributes: see `xtl.sweep`.

    Raises:
        InputError: a value that is none of its argument's, or two that don't go together.
    """

    modules: Sequence[str | Module] = ("attn", "mlp")
    source_layers: Layers | None = None
    target_layers: Layers | None = None
    max_new_tokens: Whole | None = None
    text_score: TextScore | None = None
    normalise: str = "none"
    steps: str = "first"
    engine: str = "auto"
    verify: Whole = 1
    chunk_size: Whole | str = "auto"
    details: Sequence[str] | str = ()
    alpha: float | Sequence[float] = 1.0
    heads: Layers | None = None
    source_heads: Layers | None = None
    target_heads: Layers | None = None

    def __post_init__(self) -> None:
        if self.text_score is not None:
            check_text_score(self.text_score)
        object.__setattr__(self, "alpha", check_alpha(self.alpha))
        object.__setattr__(self, "verify", check_whole("verify", self.verify, 0))
        check_choice("steps", self.steps, STEPS)
        check_choice("normalise", self.normalise, NORMALISATIONS)
        object.__setattr__(self, "details", check_details(self.details, self.max_new_tokens is not None))
        check_chunk_size(self.chunk_size)
        if self.max_new_tokens is not None:
            object.__setattr__(self, "max_new_tokens", check_whole("max_new_tokens", self.max_new_tokens, 1))
            if self.normalise != "none":
                raise InputError(f"normalise={self.normalise!r} is for likelihood: leave it out, or max_new_tokens")
        elif self.text_score is not None:
            raise InputError(f"text_score {self.text_score.name!r} scores generated answers: give max_new_tokens too")

    @property
    def cells_at_a_time(self) -> int | None:
        """`chunk_size` as a number; None for "auto"."""
        return as_whole(self.chunk_size)

    def further_axes(self, model: Model, modules: Sequence[Module]) -> dict[str, Any]:
        """The plan's axes beside modules and layers, and what is the same for all cells. Raises `InputError`."""
        axes = head_axes(model, modules, self.heads, self.source_heads, self.target_heads)
        if isinstance(self.alpha, tuple):
            return {"axes": (*axes, ("alpha", self.alpha))}
        return {"axes": axes, "alpha": self.alpha}

    def cells(self, model: Model) -> Cells:
        """Modules, source layers and target layers of a model's map. Raises `InputError`."""
        cells = check_cells(model, self.modules, self.source_layers, self.target_layers)
        self.further_axes(model, cells[0])
        return cells


@dataclass(frozen=True)
class Sweep:
    """A checked sweep of one pair.

    Attributes:
        pair: what is asked.
        plan: what an engine runs.
        question: how continuations are scored; None when answers are generated.
        text_score: how a generated answer is scored, if it is.
        verify: cells to compute again with the loop.
        details: what the map keeps beside the score (`xtl.results.details`).
        source_run: the source prompt's own answer, where details ask for it.
    """

    pair: ParallelPair
    plan: Plan
    question: Question | None
    text_score: TextScore | None
    verify: int
    details: tuple[str, ...] = ()
    source_run: SourceRun | None = None

    def writing(self, activations: Activations | None) -> Sweep:
        """The same sweep that writes these instead of what the source prompt gives, which is what None does.

        Raises:
            InputError: nothing for a module and source layer of the plan.
        """
        plan = self.plan
        sites = product((module.name for module in plan.modules), plan.source_layers)
        if activations is not None and (missing := next((site for site in sites if site not in activations), None)):
            raise InputError(
                f"activations has nothing for {missing}: give what each module writes of each source layer"
            )
        return replace(self, plan=replace(plan, activations=activations))


def prepare(model: Model, pair: ParallelPair, settings: SweepSettings, cells: Cells) -> Sweep:
    """Check and tokenise everything that a sweep of these cells needs.

    Raises:
        InputError: prompts or options that don't suit the model (see `xtl.sweep`), or a pair that the score can't rate.
    """
    n_new = as_whole(settings.max_new_tokens)
    source_ids, target_ids = encode(model, pair.source, "source"), encode(model, pair.target, "target")
    check_fits(model, "source", len(source_ids))
    check_fits(model, "target", len(target_ids), n_new or 0)
    question = None
    if settings.text_score is not None:
        rated(settings.text_score, "", pair)  # what can't be rated is told before any work
    if n_new is None:
        options = None if pair.options is None else tuple(pair.options)
        question = prepare_question(model, pair.target, target_ids, options, pair.gold, pair.answer, settings.normalise)
        if settings.details and not question.has_options:
            raise InputError(f"details {settings.details[0]!r} needs options; this pair has an answer alone")
    modules, source_layers, target_layers = cells
    plan = Plan(
        source_ids=source_ids,
        target_ids=target_ids,
        modules=modules,
        source_layers=source_layers,
        target_layers=target_layers,
        continuations=question.continuations if question else (),
        up_to_constant=question.up_to_constant if question else False,
        max_new_tokens=n_new,
        confidence="confidence" in settings.details,
        readings=tuple(name for name in READINGS if name in settings.details),
        every_step=settings.steps == "every",
        chunk_size=settings.cells_at_a_time,
        **settings.further_axes(model, modules),
    )
    details = tuple(settings.details)
    source_run = prepare_source_run(model, pair, plan, settings.normalise) if "agreement" in details else None
    return Sweep(pair, plan, question, settings.text_score, int(settings.verify), details, source_run)


def check_alpha(alpha: object) -> float | tuple[float, ...]:
    """How much of the source is written: a number, or several, which become an axis of the map.

    Raises:
        InputError: no finite number, none of them, or one twice.

    >>> check_alpha(1), check_alpha([0, 0.5])
    (1.0, (0.0, 0.5))
    """
    if isinstance(alpha, (str, bytes)) or not isinstance(alpha, Iterable):
        return check_number("alpha", alpha)
    found = tuple(check_number("alpha", one) for one in alpha)
    if not found:
        raise InputError("alpha is empty: give a number, or several")
    if len(set(found)) != len(found):
        raise InputError(f"alpha has one twice: {', '.join(f'{one:g}' for one in found)}")
    return found


def check_cells(
    model: Model,
    modules: Sequence[str | Module] = ("attn", "mlp"),
    source_layers: Layers | None = None,
    target_layers: Layers | None = None,
) -> Cells:
    """Modules, source layers and target layers of a map. Arguments as for `xtl.sweep`. Raises `InputError`."""
    specs = get_modules(modules)
    for spec in specs:
        check_module(model, spec)
    return (
        tuple(specs),
        check_layers("source_layers", source_layers, model.cfg.n_layers),
        check_layers("target_layers", target_layers, model.cfg.n_layers),
    )
