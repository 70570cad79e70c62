"""From what the user asks for to a plan: everything is checked and tokenised before any long work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, check_hooks_exist
from xtl.engine.plan import Plan
from xtl.errors import InputError, Whole, as_whole, check_choice, check_whole
from xtl.hooks import Module, get_modules
from xtl.layers import Layers, check_layers
from xtl.pairs import ParallelPair
from xtl.scoring.likelihood import NORMALISATIONS, Question, prepare_question
from xtl.scoring.text import TextScore, check_text_score
from xtl.tokens import check_fits, encode
from xtl.transplants import STEPS


class Settings(TypedDict, total=False):
    """The keyword arguments of `xtl.sweep` that are the same for every pair; see there."""

    modules: Sequence[str]
    source_layers: Layers | None
    target_layers: Layers | None
    max_new_tokens: Whole | None
    text_score: TextScore | None
    normalise: str
    steps: str
    engine: str
    verify: Whole
    chunk_size: Whole | str


@dataclass(frozen=True)
class Sweep:
    """A checked sweep of one pair.

    Attributes:
        pair: what is asked.
        plan: what an engine runs.
        question: how continuations are scored; None when answers are generated.
        text_score: how a generated answer is scored, if it is.
        verify: cells to compute again with the loop.
    """

    pair: ParallelPair
    plan: Plan
    question: Question | None
    text_score: TextScore | None
    verify: int


@dataclass(frozen=True)
class Asked:
    """Checked settings: `cells` (modules, source layers, target layers), and the numbers as `int`s."""

    cells: tuple[tuple[Module, ...], tuple[int, ...], tuple[int, ...]]
    max_new_tokens: int | None
    verify: int
    chunk_size: int | None


def check_settings(
    model: Model,
    *,
    modules: Sequence[str] = ("attn", "mlp"),
    source_layers: Layers | None = None,
    target_layers: Layers | None = None,
    max_new_tokens: Whole | None = None,
    text_score: TextScore | None = None,
    steps: str = "first",
    normalise: str = "none",
    verify: Whole = 1,
    chunk_size: Whole | str = "auto",
) -> Asked:
    """Check what is the same for every pair. Arguments as for `xtl.sweep`. Raises `InputError`."""
    if text_score is not None:
        check_text_score(text_score)
    verify = check_whole("verify", verify, 0)
    check_choice("steps", steps, STEPS)
    check_choice("normalise", normalise, NORMALISATIONS)
    size = as_whole(chunk_size)
    if chunk_size != "auto" and (size is None or size < 1):
        raise InputError(f"chunk_size must be 'auto' or a whole number of at least 1, got {chunk_size!r}")
    if max_new_tokens is not None:
        max_new_tokens = check_whole("max_new_tokens", max_new_tokens, 1)
        if normalise != "none":
            raise InputError(f"normalise={normalise!r} is for likelihood: leave it out, or max_new_tokens")
    elif text_score is not None:
        raise InputError(f"text_score {text_score.name!r} scores generated answers: give max_new_tokens too")
    return Asked(check_cells(model, modules, source_layers, target_layers), max_new_tokens, verify, size)


def prepare(
    model: Model,
    pair: ParallelPair,
    *,
    modules: Sequence[str] = ("attn", "mlp"),
    source_layers: Layers | None = None,
    target_layers: Layers | None = None,
    max_new_tokens: Whole | None = None,
    text_score: TextScore | None = None,
    normalise: str = "none",
    steps: str = "first",
    verify: Whole = 1,
    chunk_size: Whole | str = "auto",
    activations: Mapping[tuple[str, int], Float[Tensor, " d_model"]] | None = None,
) -> Sweep:
    """Check and tokenise everything that a sweep needs. Arguments as for `xtl.sweep`. Raises `InputError`."""
    asked = check_settings(
        model,
        modules=modules,
        source_layers=source_layers,
        target_layers=target_layers,
        max_new_tokens=max_new_tokens,
        text_score=text_score,
        steps=steps,
        normalise=normalise,
        verify=verify,
        chunk_size=chunk_size,
    )
    source_ids, target_ids = encode(model, pair.source, "source"), encode(model, pair.target, "target")
    check_fits(model, "source", len(source_ids))
    check_fits(model, "target", len(target_ids), asked.max_new_tokens or 0)
    question = None
    if asked.max_new_tokens is None:
        options = None if pair.options is None else tuple(pair.options)
        question = prepare_question(model, pair.target, target_ids, options, pair.gold, pair.answer, normalise)
    plan = Plan(
        source_ids=source_ids,
        target_ids=target_ids,
        modules=asked.cells[0],
        source_layers=asked.cells[1],
        target_layers=asked.cells[2],
        continuations=question.continuations if question else (),
        up_to_constant=question.up_to_constant if question else False,
        max_new_tokens=asked.max_new_tokens,
        every_step=steps == "every",
        chunk_size=asked.chunk_size,
        activations=activations,
    )
    return Sweep(pair, plan, question, text_score, asked.verify)


def check_cells(
    model: Model,
    modules: Sequence[str] = ("attn", "mlp"),
    source_layers: Layers | None = None,
    target_layers: Layers | None = None,
) -> tuple[tuple[Module, ...], tuple[int, ...], tuple[int, ...]]:
    """Modules, source layers and target layers of a map. Arguments as for `xtl.sweep`. Raises `InputError`."""
    specs = get_modules(modules)
    for spec in specs:
        check_hooks_exist(model, spec)
    return (
        tuple(specs),
        check_layers("source_layers", source_layers, model.cfg.n_layers),
        check_layers("target_layers", target_layers, model.cfg.n_layers),
    )
