"""Several source prompts for one target: the mean of their activations, or a map each with the target read once.

>>> named = check_sources({"en": "France. Capital:", "fr": "France. Capitale :"}, None)
>>> list(named), combined(named, "mean")
(['en', 'fr'], 'en+fr')
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import xarray as xr

from xtl.backend import Model
from xtl.engine.prepare import Sweep
from xtl.errors import InputError, check_choice, shown
from xtl.pairs import ParallelPair, Prompt, check_prompt
from xtl.tokens import check_fits, encode

Sources = Mapping[str, Prompt] | Sequence[ParallelPair]
"""Source prompts by language, or pairs that have one target prompt."""
Named = dict[str, str | list[int]]
"""Checked source prompts by language."""


def check_sources(sources: object, target: Prompt | None) -> Named:
    """Source prompts by language.

    Args:
        sources: a mapping from language to prompt, or pairs, each with its source language.
        target: the target prompt, which the pairs must have too; None where it is theirs.

    Raises:
        InputError: none, one without a language or with another's, pairs that answer another prompt, an empty prompt.
    """
    if isinstance(sources, ParallelPair) or not isinstance(sources, (Mapping, Sequence)) or isinstance(sources, str):
        raise InputError(f"sources must be prompts by language, or a list of pairs, got {shown(sources)}")
    if not sources:
        raise InputError("sources is empty: give prompts by language, such as {'en': ..., 'fr': ...}, or pairs")
    if isinstance(sources, Mapping):
        named = list(sources.items())
    else:
        named = [(pair.source_lang, pair.source) for pair in map(_as_pair, range(len(sources)), sources)]
        target = sources[0].target if target is None else target
        if other := next((pair for pair in sources if pair.target != target), None):
            raise InputError(f"sources must have one target prompt; {other.direction} has {shown(other.target)}")
    for language, _ in named:
        if not isinstance(language, str) or not language.strip():
            raise InputError(f"sources needs a language for each prompt, got {language!r}")
    if len(found := {language: check_prompt(f"sources[{language!r}]", one) for language, one in named}) < len(named):
        raise InputError(f"sources has a language twice: {', '.join(str(language) for language, _ in named)}")
    return found


def _as_pair(number: int, pair: object) -> ParallelPair:
    if not isinstance(pair, ParallelPair):
        raise InputError(f"sources[{number}] must be a ParallelPair, got {type(pair).__name__}; or give a mapping")
    return pair


def combined(named: Named, combine: str | None) -> str | None:
    """The name of the mean of these languages' activations; None where each has a map of its own. Raises `InputError`."""
    return None if combine is None or not check_choice("combine", combine, ["mean"]) else "+".join(named)


def reading(model: Model, sweep: Sweep, named: Named, combine: str | None) -> Sweep:
    """The same sweep with these source prompts in place of the pair's own.

    Raises:
        InputError: a prompt that doesn't suit the model, activations given too, details of *the* source prompt.
    """
    if sweep.plan.activations is not None:
        raise InputError("give sources or activations, not both")
    if sweep.source_run is not None:
        raise InputError("details 'agreement' needs the source prompt's own answer: give one source, not sources")
    encoded = tuple((language, encode(model, one, f"sources[{language!r}]")) for language, one in named.items())
    for language, ids in encoded:
        check_fits(model, f"sources[{language!r}]", len(ids))
    axis = () if combined(named, combine) else (("source_lang", tuple(named)),)
    return replace(sweep, plan=replace(sweep.plan, sources=encoded, axes=sweep.plan.axes + axis))


def labelled_sources(result: xr.Dataset, named: Named, combine: str | None) -> xr.Dataset:
    """A map of several sources that says which; its prompts along the axis, where there is one."""
    texts = {language: one if isinstance(one, str) else json.dumps(one) for language, one in named.items()}
    whole = json.dumps(texts, ensure_ascii=False)
    if mean := combined(named, combine):
        return result.assign_coords(source_lang=mean, source=whole).assign_attrs(source=whole, combine="mean")
    return result.assign_coords(source=("source_lang", list(texts.values()))).assign_attrs(source=whole)
