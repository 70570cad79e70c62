"""The KV cache of a bridge: that it is used, and that it gives what no cache gives.

A bridge's attention takes the cache from what the Hugging Face model hands its attention, by the name of that argument. The
names differ (`past_key_values`; `cache` since transformers 5.24, before TransformerLens 4.3 knew it; `layer_past` in older
models), and a bridge that doesn't find its cache answers wrongly without an error: every new token then sees itself alone.
`use_cache_names` has the argument found by any name. Whether that is enough is not believed but tried, once a model:
`cache_deviation` runs the end of a short text, a token alone and two at once, over a cache. A bridge whose cache is
lost all the same is run without one, which is slow and right: the plain loop, with a whole pass for each new token.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward, forward_without_logits, is_bridge, new_cache, upcast
from xtl.errors import ContractError
from xtl.models.info import model_info
from xtl.models.positions import alike
from xtl.models.precision import contract_tolerance

NAMES = ("past_key_values", "cache", "layer_past", "past_key_value")
"""What attention's cache is called, in Transformers and in TransformerLens."""

N_STEPS = 3
"""Last tokens of a text, which are run over the cache of those before."""

CACHED = "logits over a KV cache equal those without one"
"""The check's name in the contract."""


def use_cache_names(bridge: Any) -> None:
    """Have each attention of a bridge find its cache, whatever the Hugging Face model calls it. Safe to call again."""
    from transformer_lens.model_bridge.generalized_components.attention import AttentionBridge

    for module in bridge.modules():
        if isinstance(module, AttentionBridge) and not getattr(module, "xtl_cache_names", False):
            vars(module)["xtl_cache_names"] = True
            module.register_forward_pre_hook(_add_name, with_kwargs=True)
            module.original_component.register_forward_pre_hook(_one_name, with_kwargs=True)


def _add_name(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Hand the cache over under the name that bridges read, too."""
    from transformers import Cache

    given = next((kwargs[name] for name in NAMES if isinstance(kwargs.get(name), Cache)), None)
    if given is not None and kwargs.get(NAMES[0]) is None:
        kwargs = {**kwargs, NAMES[0]: given}
    return args, kwargs


def _one_name(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Where a bridge calls the attention that it wraps, leave the added name out again."""
    if kwargs.get(NAMES[0]) is not None and any(kwargs.get(name) is kwargs[NAMES[0]] for name in NAMES[1:]):
        kwargs = {name: value for name, value in kwargs.items() if name != NAMES[0]}
    return args, kwargs


@torch.no_grad()
def cache_deviation(model: Model, tokens: list[int], reference: Float[Tensor, "pos d_vocab"]) -> float:
    """How far logits over a KV cache are from `reference`: largest difference, relative to the largest logit.

    The text's last tokens are run over the cache of those before: one alone, as greedy generation runs them, and then two at
    once, as engines run a continuation, which see the one's keys too. An unembedding may cost as much as all layers, so the
    beginning has none; what goes wrong there is in its keys, which the others' logits depend on.

    Args:
        model: HookedTransformer or TransformerBridge.
        tokens: a short text of more than `N_STEPS` tokens.
        reference: its logits in one pass without a cache.

    Returns:
        NaN where the cache gives logits of another shape.
    """
    cache = new_cache(model)
    forward_without_logits(model, tokens[:-N_STEPS], cache=cache)
    got = torch.cat([forward(model, piece, cache=cache) for piece in (tokens[-N_STEPS:-2], tokens[-2:])])
    want = upcast(reference[-N_STEPS:]).to(got.device)
    if got.shape != want.shape:
        return float("nan")
    return float((upcast(got) - want).abs().max() / want.abs().max().clamp_min(1e-12))


def check_cache(model: Model) -> None:
    """Find out, once a model, whether its KV cache can be used; `load_model` has done it for the models that it loads.

    Raises:
        ContractError: a HookedTransformer whose cache gives other logits.
    """
    if CACHED in model_info(model).contract or hasattr(model, "xtl_no_cache"):
        return
    if is_bridge(model):
        use_cache_names(model)
    tokens = [token % model.cfg.d_vocab for token in (5, 11, 7, 13, 3, 9)]
    try_cache(model, tokens, forward(model, tokens))


def try_cache(model: Model, tokens: list[int], reference: Float[Tensor, "pos d_vocab"]) -> float:
    """`cache_deviation`, and what follows from it: a bridge whose cache is wrong goes without (`why_no_cache`).

    Raises:
        ContractError: a HookedTransformer whose cache is wrong.
    """
    n = _steady_length(model, len(tokens))
    if n < len(tokens):
        tokens, reference = tokens[:n], forward(model, tokens[:n])
    try:
        deviation = cache_deviation(model, tokens, reference)
        found = f"off by {deviation:.1e}, relative"
    except Exception as error:
        deviation = float("nan")
        found = (str(error) or type(error).__name__).splitlines()[0]
    lost = "" if deviation <= contract_tolerance(model) else _lost(model, found)
    if lost and not is_bridge(model):
        raise ContractError(f"the model's contract does not hold: {CACHED}: {lost}")
    model.xtl_no_cache = lost
    return deviation


def _steady_length(model: Model, n_tokens: int) -> int:
    """The most tokens of a text of `n_tokens` whose positions the last steps do not change (see `xtl.models.positions`)."""
    steady = (n for n in range(n_tokens, N_STEPS, -1) if alike(model, range(n - N_STEPS, n + 1)))
    return next(steady, n_tokens)


def why_no_cache(model: Model) -> str | None:
    """Why this model is run without a KV cache, a whole pass for each new token; None where it is run with one."""
    return getattr(model, "xtl_no_cache", "") or None


def _lost(model: Model, found: str) -> str:
    """What is wrong with a model's cache, and with which versions."""
    lens, transformers = version("transformer-lens"), version("transformers")
    kind = f"TransformerBridge of {type(model.original_model).__name__}" if is_bridge(model) else "HookedTransformer"
    # As far as is known: the argument's new name came with this version (the module's docstring).
    fix = "; pip install 'transformers<5.24'" if tuple(map(int, transformers.split(".")[:2])) >= (5, 24) else ""
    return f"the {kind} of TransformerLens {lens} with transformers {transformers} loses its KV cache ({found}){fix}"
