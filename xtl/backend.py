"""What the rest of xtl needs from a model, the same for `HookedTransformer` and `TransformerBridge`.

The forward pass under hooks, with or without a KV cache and with or without logits. What is read of a model besides, and what
differs between the two, asks `is_bridge`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xtl.errors import InputError
from xtl.hooks import HookFunction, Hooks, Module

Model = Any
"""A `transformer_lens.HookedTransformer` or a `transformer_lens.model_bridge.TransformerBridge`."""


def is_bridge(model: Model) -> bool:
    """Whether `model` is a `TransformerBridge` (otherwise a `HookedTransformer`). Raises `InputError` for anything else."""
    kinds = {cls.__name__ for cls in type(model).__mro__}
    if "TransformerBridge" in kinds:
        return True
    if "HookedTransformer" in kinds:
        return False
    raise InputError(
        f"model must be a HookedTransformer or a TransformerBridge, got {type(model).__name__}; use xtl.load_model"
    )


def backend_name(model: Model) -> str:
    """`"bridge"` or `"hooked"`."""
    return "bridge" if is_bridge(model) else "hooked"


def check_hooks_exist(model: Model, module: Module) -> None:
    """Raise `InputError` when the architecture lacks a hook point of the module (a bridge would skip it silently)."""
    known = model.hook_dict
    for name in (module.read_hook(0), module.write_hook(0)):
        if name not in known:
            raise InputError(
                f"module {module.name!r} needs {name}, which this architecture does not have "
                "(its attention and feed-forward run in parallel, or it has none)"
            )


def cache_argument(model: Model) -> str:
    """What a bridge's Hugging Face model calls its KV cache: `cache` since transformers 5.24, `past_key_values` before."""
    return "cache" if "cache" in inspect.signature(model.original_model.forward).parameters else "past_key_values"


def new_cache(model: Model) -> Any:
    """An empty KV cache for `forward`."""
    if is_bridge(model):
        from transformers import DynamicCache

        return DynamicCache(config=model.original_model.config)
    from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

    return TransformerLensKeyValueCache.init_cache(model.cfg, model.cfg.device, batch_size=1)


def forward(
    model: Model,
    tokens: list[int],
    *,
    hooks: Hooks | None = None,
    cache: Any = None,
    keep: int | None = None,
) -> Float[Tensor, "pos d_vocab"]:
    """Logits of one forward pass under `run_with_hooks`; the hooks are off again afterwards, also after an exception.

    Args:
        model: HookedTransformer or TransformerBridge.
        tokens: the prompt, or with a filled `cache` the tokens that continue it.
        hooks: `(hook name, hook function)`, on the blocks' hook points, all names known to the model.
        cache: from `new_cache`; filled in place.
        keep: return the logits of the last `keep` positions alone; all by default. A large vocabulary makes the others dear.
    """
    if keep is None:
        return _run(model, tokens, hooks, cache)[0]
    if is_bridge(model):
        options = {"logits_to_keep": keep} if takes_logits_to_keep(model) else {}
        return _run(model, tokens, hooks, cache, **options)[0, -keep:]
    residual = _run(model, tokens, hooks, cache, stop_at_layer=model.cfg.n_layers)[:, -keep:]
    return unembed(model, residual)[0]


@torch.no_grad()
def unembed(model: Model, residual: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_vocab"]:
    """What a HookedTransformer does after its last block: final norm, unembedding, soft cap."""
    from transformer_lens.utilities.activation_functions import apply_softcap

    normed = residual if model.cfg.normalization_type is None else model.ln_final(residual)
    return apply_softcap(model.unembed(normed), model.cfg.output_logits_soft_cap)


def forward_without_logits(
    model: Model,
    tokens: list[int] | Int[Tensor, "row pos"],
    *,
    hooks: Hooks | None = None,
    cache: Any = None,
    **options: Any,
) -> None:
    """The same for what hooks and cache take from the pass, without the price of the unembedding.

    Args:
        model: HookedTransformer or TransformerBridge.
        tokens: as for `forward`, or several rows of them.
        hooks: as for `forward`.
        cache: as for `forward`.
        **options: for the Hugging Face model of a bridge: masks, positions.
    """
    if not is_bridge(model):
        _run(model, tokens, hooks, cache, return_type=None)
        return
    with _without_unembedding(model):
        _run(model, tokens, hooks, cache, **options)


@contextmanager
def _without_unembedding(model: Model) -> Iterator[None]:
    """While it lasts, a bridge's unembedding gives one number a position; it can't be left out of Hugging Face's forward pass."""
    head = model.original_model.get_output_embeddings()
    if head is None:
        yield
        return
    # Straight into the instance: a bridge's components hand attributes that are set on to what they wrap.
    vars(head)["forward"] = lambda hidden, *_, **__: hidden[..., :1]
    try:
        yield
    finally:
        vars(head).pop("forward", None)  # the class's own method is back


def upcast(values: Tensor) -> Tensor:
    """Values in float32 at least, in which sums over a vocabulary are safe; float64 stays float64."""
    return values if values.dtype == torch.float64 else values.float()


def takes_logits_to_keep(model: Model) -> bool:
    """Whether a bridge's Hugging Face model can compute the logits of the last positions alone."""
    return "logits_to_keep" in inspect.signature(model.original_model.forward).parameters


def forward_batch(
    model: Model, tokens: Int[Tensor, "row pos"], *, hooks: Hooks | None = None, cache: Any, keep: int
) -> Float[Tensor, "row keep d_vocab"]:
    """Logits of the last `keep` positions of a batch of rows, which continue what is in `cache`; fills it in place."""
    if is_bridge(model):
        options = {"logits_to_keep": keep} if takes_logits_to_keep(model) else {}
        return _run(model, tokens, hooks, cache, **options)[:, -keep:]
    return unembed(model, _run(model, tokens, hooks, cache, stop_at_layer=model.cfg.n_layers)[:, -keep:])


def repeat_cache(model: Model, cache: Any, n_rows: int) -> Any:
    """A new KV cache of `n_rows` rows, each what the one row of `cache` holds."""
    new = copy.deepcopy(cache)
    if is_bridge(model):
        new.batch_repeat_interleave(n_rows)
        return new
    for entry in new.entries:
        entry.past_keys = entry.past_keys.repeat(n_rows, 1, 1, 1)
        entry.past_values = entry.past_values.repeat(n_rows, 1, 1, 1)
    new.previous_attention_mask = new.previous_attention_mask.repeat(n_rows, 1)
    return new


def select_rows(model: Model, cache: Any, rows: Int[Tensor, " row"]) -> Any:
    """The KV cache with these rows alone; a bridge's is changed in place."""
    if is_bridge(model):
        cache.batch_select_indices(rows)
        return cache
    for entry in cache.entries:
        entry.past_keys, entry.past_values = entry.past_keys[rows], entry.past_values[rows]
    cache.previous_attention_mask = cache.previous_attention_mask[rows]
    return cache


def _as_one_hook(model: Model, hooks: Hooks) -> list[tuple[Any, HookFunction]]:
    """The same hooks, as one that serves all their hook points: a bridge asks its table of names anew for each entry."""
    if len(hooks) < 2:
        return list(hooks)
    if not hasattr(model, "xtl_hook_names"):
        model.xtl_hook_names = {name: point.name for name, point in model.hook_dict.items()}
    functions: dict[str, list[HookFunction]] = {}
    for name, function in hooks:
        functions.setdefault(model.xtl_hook_names[name], []).append(function)

    def serve(activation: Tensor, hook: Any) -> Tensor:
        for function in functions[hook.name]:
            changed = function(activation, hook=hook)
            activation = activation if changed is None else changed
        return activation

    return [(functions.__contains__, serve)]


@contextmanager
def _names_found_once(model: Model) -> Iterator[None]:
    """While it lasts, a bridge makes the table of its hook points' second names once; by itself it does thrice a pass."""
    own, names = model.__dict__, dict[str, Any]()
    make = getattr(model, "_add_aliases_to_hooks", None)
    if make is None or "_add_aliases_to_hooks" in own:  # another version of TransformerLens; a pass within a pass
        yield
        return

    def add(hooks: dict[str, Any]) -> None:
        if not names:
            make(hooks)
            names.update(hooks)
        hooks.update(names)

    own["_add_aliases_to_hooks"] = add
    try:
        yield
    finally:
        del own["_add_aliases_to_hooks"]


@torch.no_grad()
def _run(model: Model, tokens: list[int] | Tensor, hooks: Hooks | None, cache: Any, **options: Any) -> Any:
    return _run_as_set(model, tokens, hooks, cache, **options)


def _run_as_set(model: Model, tokens: list[int] | Tensor, hooks: Hooks | None, cache: Any, **options: Any) -> Any:
    """One pass under hooks, with gradients or without, as torch is set."""
    ids: Int[Tensor, "batch pos"] = (
        tokens if isinstance(tokens, Tensor) else torch.tensor([tokens], device=model.cfg.device)
    )
    if is_bridge(model):
        hooks = _as_one_hook(model, hooks or [])
        if cache is not None:
            options |= {cache_argument(model): cache, "use_cache": True}
        with _names_found_once(model):
            return model.run_with_hooks(ids, fwd_hooks=hooks, **options)
    # The mask is given: TransformerLens would otherwise take a pad or EOS token inside the prompt for padding.
    options |= {"past_kv_cache": cache, "attention_mask": torch.ones_like(ids)}
    return model.run_with_hooks(ids, fwd_hooks=hooks or [], **options)


def forward_differentiable(
    model: Model, tokens: Int[Tensor, "row pos"], *, hooks: Hooks, cache: Any = None
) -> Float[Tensor, "row pos d_model"]:
    """The residual stream after the final norm, in torch's graph wherever gradients are on, from one pass under hooks.

    Args:
        model: HookedTransformer or TransformerBridge.
        tokens: rows of a batch, which continue what is in `cache`.
        hooks: as for `forward`; those of the final norm count too.
        cache: a KV cache of as many rows (`repeat_cache`); filled in place.
    """
    if not is_bridge(model):
        with model.hooks(fwd_hooks=hooks):
            residual = _run_as_set(model, tokens, None, cache, stop_at_layer=model.cfg.n_layers)
            return residual if model.cfg.normalization_type is None else model.ln_final(residual)
    kept: dict[str, Tensor] = {}

    def keep(activation: Tensor, hook: Any) -> None:
        kept["normed"] = activation

    with _without_unembedding(model):
        _run_as_set(model, tokens, [*hooks, ("ln_final.hook_out", keep)], cache)
    return kept["normed"]
