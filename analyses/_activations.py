"""What analyses that run the model share: prompts by language and instance, and the activations at their last position.

Activations come through `xtl.runs.activations.ActivationCache`, the cache of runs: a prompt that several directions share is run
once, and a folder of a run that kept its activations on disk serves here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, check_hooks_exist
from xtl.engine.plan import Plan
from xtl.errors import InputError, check_layer
from xtl.hooks import Hooks, get_modules, transplant_at
from xtl.models.info import model_info
from xtl.models.state import check_model
from xtl.pairs import ParallelPair, Prompt
from xtl.pairs import check_pairs as pairs_given
from xtl.runs.activations import ActivationCache
from xtl.tokens import check_fits, encode
from xtl.transplants import read_activations


@dataclass(frozen=True)
class Sample:
    """One prompt: an instance in a language, and the pair that it is from."""

    instance: str
    language: str
    prompt: Prompt
    pair: ParallelPair


def check_pairs(pairs: Iterable[ParallelPair], *, least: int = 2, options: bool = False) -> list[ParallelPair]:
    """Pairs that can be told apart and put together by language.

    Args:
        pairs: of one or several directions.
        least: instances that must be there.
        options: whether each pair must have options.

    Raises:
        InputError: too few instances; a pair without id, languages or (if needed) options; the same pair twice.
    """
    pairs = list(pairs_given(pairs))
    seen: set[tuple[str | None, ...]] = set()
    for number, pair in enumerate(pairs):
        for name in ("id", "source_lang", "target_lang"):
            if not getattr(pair, name):
                raise InputError(
                    f"pair {pair.id or number} has no {name}: parallel copies are matched by id and language"
                )
        if options and pair.options is None:
            raise InputError(f"pair {pair.id} has no options, which this analysis compares")
        key = (pair.id, pair.source_lang, pair.target_lang)
        if key in seen:
            raise InputError(f"pairs hold {pair.id} {pair.direction} twice")
        seen.add(key)
    count = len({pair.id for pair in pairs})
    if count < least:
        raise InputError(
            f"pairs hold {count} instance{'' if count == 1 else 's'}; this analysis needs at least {least}"
        )
    return pairs


def samples_of(pairs: Sequence[ParallelPair]) -> list[Sample]:
    """Every instance in every language, once: source and target prompts of all pairs, the first where several differ.

    >>> pair = ParallelPair("Country: Peru.", "País: Perú.", source_lang="en", target_lang="es", id="PE")
    >>> [sample.language for sample in samples_of([pair])]
    ['en', 'es']
    """
    found: dict[tuple[str, str], Sample] = {}
    for pair in pairs:
        for language, prompt in ((pair.source_lang, pair.source), (pair.target_lang, pair.target)):
            key = (str(pair.id), str(language))
            found.setdefault(key, Sample(*key, prompt, pair))
    return list(found.values())


def read_last(
    model: Model,
    prompts: Sequence[Prompt],
    modules: Sequence[str],
    *,
    cache: ActivationCache | None = None,
) -> Float[np.ndarray, "prompt module layer d_model"]:
    """What each module puts out at the last position of each prompt, in every layer, as float32.

    Args:
        model: HookedTransformer or TransformerBridge.
        prompts: texts or token ids.
        modules: names of `xtl.hooks.MODULES`; what they read.
        cache: where activations are looked up and kept; None: this call alone.

    Raises:
        InputError: an unknown module, one that the architecture lacks, a prompt over the context.
    """
    check_model(model)
    specs = tuple(get_modules(list(modules)))
    for spec in specs:
        check_hooks_exist(model, spec)
    cache = cache or ActivationCache(model_info(model).name)
    layers = tuple(range(model.cfg.n_layers))
    rows = []
    for prompt in prompts:
        ids = encode(model, prompt)
        check_fits(model, "prompt", len(ids))
        found = cache.get(model, Plan(ids, ids, specs, layers, ()))
        rows.append([[found[spec.name, layer].float().cpu().numpy() for layer in layers] for spec in specs])
    return np.array(rows, dtype="float32")


def check_same_model(results: xr.Dataset, model: Model) -> None:
    """Raise `InputError` where a run's results come from another model than the one given."""
    theirs, ours = results.attrs.get("model"), model_info(model).name
    if theirs is not None and theirs != ours:
        raise InputError(f"the run is of model {theirs!r}, and the model given is {ours!r}: give the run's own")


def check_layers_match(results: xr.Dataset, n_layers: int) -> None:
    """Raise `InputError` where a run has layers that the model lacks."""
    for dim in ("source_layer", "target_layer"):
        if int(results[dim].max()) >= n_layers:
            raise InputError(f"the run has {dim} {int(results[dim].max())}, and the model has {n_layers} layers")


def check_cell(model: Model, cell: tuple[str, int, int]) -> tuple[str, int, int]:
    """A cell (module, source layer, target layer) with layers counted from 0.

    Raises:
        InputError: an unknown module, one that the architecture lacks, a layer out of range.
    """
    if len(cell) != 3:
        raise InputError(f"cell must be (module, source layer, target layer), such as ('attn', 12, 13); got {cell!r}")
    name, source, target = cell
    spec = get_modules([name])[0]
    check_hooks_exist(model, spec)
    n_layers = model.cfg.n_layers
    return name, check_layer("source_layer", source, n_layers), check_layer("target_layer", target, n_layers)


def transplant_hooks(
    model: Model, source_ids: list[int], position: int, cell: tuple[str, int, int]
) -> tuple[Hooks, Float[Tensor, " d_model"]]:
    """The hook of a transplant, and what it writes.

    Args:
        model: HookedTransformer or TransformerBridge.
        source_ids: the source prompt.
        position: the target prompt's last position.
        cell: module, source layer, target layer.
    """
    spec = get_modules([cell[0]])[0]
    activation = read_activations(model, source_ids, [spec], [cell[1]])[spec.name, cell[1]]
    return [(spec.write_hook(cell[2]), transplant_at(activation, position))], activation


def in_source_language(
    pairs: Sequence[ParallelPair], back: Iterable[ParallelPair]
) -> dict[tuple[str, str], ParallelPair]:
    """The pairs of the opposite direction, whose options are written in the source language, by (id, direction).

    A task's pairs have the same ids, options and gold in both directions (`xtl.tasks.base.Task`).

    Raises:
        InputError: an instance that `back` lacks, or whose options don't match.
    """
    found = {(str(pair.id), pair.direction): pair for pair in back}
    matched = {}
    for pair in pairs:
        other = found.get((str(pair.id), f"{pair.target_lang}->{pair.source_lang}"))
        if other is None:
            raise InputError(
                f"back lacks {pair.id} {pair.target_lang}->{pair.source_lang}: give the pairs of the opposite direction"
            )
        sizes = [None if p.options is None else len(p.options) for p in (pair, other)]
        if sizes[0] != sizes[1] or pair.gold != other.gold:
            raise InputError(f"back's {pair.id} has other options than the pair: take both from one task")
        matched[str(pair.id), pair.direction] = other
    return matched
