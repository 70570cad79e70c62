"""What the rest of xtl needs from a model, the same for `HookedTransformer` and `TransformerBridge`.

Tokenising, the forward pass under hooks (with or without a KV cache), and the model's sizes. This is the only place
that knows which of the two it holds.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xtl.errors import InputError
from xtl.hooks import HookFunction, Hooks, Module
from xtl.pairs import Prompt, check_characters, check_prompt

Model = Any
"""A `transformer_lens.HookedTransformer` or a `transformer_lens.model_bridge.TransformerBridge`."""


@dataclass(frozen=True)
class ModelInfo:
    """What `load_model` knows about a model that the model itself doesn't; kept as `model.xtl_info`.

    Attributes:
        name: the name or path that was asked for.
        eos_token_ids: tokens that end a generation.
        contract: largest relative deviation per check of the contract (see `xtl.models.contract`).
        backend_reason: why this backend was taken, in one line.
        config: the Hugging Face configuration that it was made from, as `xtl.models.identity.config_part` gives it; empty where
            there was none.
    """

    name: str
    eos_token_ids: tuple[int, ...] = ()
    contract: dict[str, float] = field(default_factory=dict)
    backend_reason: str = ""
    config: dict[str, Any] = field(default_factory=dict, repr=False)


def model_info(model: Model) -> ModelInfo:
    """The model's `ModelInfo`; for a model that `load_model` did not load, what its configuration and tokenizer tell."""
    info = getattr(model, "xtl_info", None)
    if info is not None:
        return info
    from xtl.models.tokenizer import eos_token_ids

    original = model.original_model if is_bridge(model) else None
    return ModelInfo(name=str(model.cfg.model_name), eos_token_ids=eos_token_ids(original, model.tokenizer))


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


def check_model(model: Model) -> None:
    """Raise `InputError` for anything but an unprocessed HookedTransformer or TransformerBridge in a state that can be worked on.

    Every function that takes a model begins with this: users change models, also after they were loaded (see
    `xtl.models.state`, and `xtl.models.tokenizer` for the tokenizer that stands on it). It takes a millisecond.
    """
    from xtl.models.state import check_state
    from xtl.models.tokenizer import check_model_tokenizer

    check_state(model, is_bridge(model))
    check_model_tokenizer(model)


def backend_name(model: Model) -> str:
    """`"bridge"` or `"hooked"`."""
    return "bridge" if is_bridge(model) else "hooked"


CHARACTERS_A_TOKEN = 100
"""More characters than a token stands for, on average over a text: a longer text is refused before it is tokenised."""


def encode(model: Model, prompt: Prompt, argument: str = "prompt") -> list[int]:
    """Token ids of a prompt, by the rule of the model's own tokenizer; token ids are taken as they are.

    A text that already starts with the BOS token does not get a second one, and an EOS that the tokenizer appends is left out:
    the prompt is to be continued. Nothing is padded, so that the side of padding and a missing pad token do not matter.

    Raises:
        InputError: an empty prompt, a token id outside the vocabulary, a text for a model without tokenizer.
    """
    prompt = check_prompt(argument, prompt)
    if not isinstance(prompt, str):
        outside = [t for t in prompt if not 0 <= t < model.cfg.d_vocab]
        if outside:
            raise InputError(f"{argument} has token id {outside[0]}; valid: 0 to {model.cfg.d_vocab - 1}")
        return prompt
    if model.tokenizer is None:
        raise InputError(f"{argument} is a text but the model has no tokenizer; give token ids")
    tokenizer = model.tokenizer
    most = CHARACTERS_A_TOKEN * max(context_length(model), 1000)
    if len(prompt) > most:
        raise InputError(
            f"{argument} has {len(prompt):,} characters; the model's context holds {context_length(model):,} tokens, which "
            f"more than {most:,} characters never fit into"
        )
    ids = _read(model, prompt, argument)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        ids = ids[1:]
    if eos is not None and ids[-1:] == [eos] and not prompt.endswith(tokenizer.eos_token):
        ids = ids[:-1]
    outside = [t for t in ids if t >= model.cfg.d_vocab]
    if outside:
        raise InputError(
            f"{argument} holds {tokenizer.decode(outside[:1])!r}, token {outside[0]}, which the model has no embedding for "
            f"(it has {model.cfg.d_vocab}); leave it out"
        )
    if not ids:
        raise InputError(f"{argument} has no tokens in this model's tokenizer: {prompt!r}")
    return ids


def _read(model: Model, text: str, argument: str, **options: Any) -> list[int]:
    """Token ids as the tokenizer gives them. Raises `InputError` where it fails."""
    try:
        return [int(token) for token in model.tokenizer(text, **options)["input_ids"]]
    except Exception as error:  # a tokenizer is a program of its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{argument}: the model's tokenizer fails to read {text[:80]!r}: {reason}") from error


class Continuation(NamedTuple):
    """Token ids of a text that continues a prompt, and whether it was tokenised alone, without the prompt before it."""

    ids: list[int]
    alone: bool


def encode_continuation(model: Model, prompt: Prompt, prompt_ids: list[int], text: str) -> list[int]:
    """Token ids of `text` as it continues `prompt`, without the prompt's own tokens; see `continue_prompt`."""
    return continue_prompt(model, prompt, prompt_ids, text).ids


def continue_prompt(model: Model, prompt: Prompt, prompt_ids: list[int], text: str) -> Continuation:
    """`text` as it continues `prompt`, without the prompt's own tokens.

    The two are tokenised together and the prompt's tokens taken off. Where they merge across the boundary (the prompt's
    tokens are no prefix of the whole: "Ans" and "wer" are one token, "Answer"), the text is tokenised alone: the prompt's last
    token must stay what it is. A text that continues token ids is always tokenised alone.

    Raises:
        InputError: the model has no tokenizer; a text without tokens.
    """
    check_characters(f"continuation {text!r}", text)
    if model.tokenizer is None:
        raise InputError(f"option {text!r} is a text but the model has no tokenizer")
    if isinstance(prompt, str):
        whole = encode(model, prompt + text)
        if whole[: len(prompt_ids)] == prompt_ids and len(whole) > len(prompt_ids):
            return Continuation(whole[len(prompt_ids) :], alone=False)
    ids = _alone(model, text)
    if not ids:
        raise InputError(f"{text!r} has no tokens in this model's tokenizer")
    return Continuation(ids, alone=True)


def _alone(model: Model, text: str) -> list[int]:
    """Token ids of a text that nothing merges with; behind a sign that it doesn't merge with either.

    At the very beginning of a text, a SentencePiece tokenizer puts a space that isn't there.
    """

    def ids(piece: str) -> list[int]:
        return _read(model, piece, "option", add_special_tokens=False)

    for sign in ("\n", ".", "1"):
        before, both = ids(sign), ids(sign + text)
        if len(both) > len(before) and both[: len(before)] == before:
            return both[len(before) :]
    return ids(text)


def decode(model: Model, tokens: list[int]) -> str:
    """Text of generated tokens, without special tokens; empty for a model without tokenizer."""
    return "" if model.tokenizer is None else model.tokenizer.decode(tokens, skip_special_tokens=True)


def context_length(model: Model) -> int:
    """Most tokens that the model takes, prompt and generated ones together."""
    return int(model.cfg.n_ctx)


def check_fits(model: Model, argument: str, n_prompt: int, n_more: int = 0) -> None:
    """Raise `InputError` when a prompt and what follows it exceed the model's context."""
    n_ctx = context_length(model)
    if n_prompt + n_more > n_ctx:
        more = f" and {n_more} more to come" if n_more else ""
        raise InputError(f"{argument} has {n_prompt} tokens{more}; the model's context holds {n_ctx}")


def check_hooks_exist(model: Model, module: Module) -> None:
    """Raise `InputError` when the architecture lacks a hook point of the module (a bridge would skip it silently)."""
    for name in (module.read_hook(0), module.write_hook(0)):
        if name not in model.hook_dict:
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
    """The same hooks, as one that serves all their hook points: a bridge builds its table of names anew for each entry."""
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


@torch.no_grad()
def _run(model: Model, tokens: list[int] | Tensor, hooks: Hooks | None, cache: Any, **options: Any) -> Any:
    ids: Int[Tensor, "batch pos"] = (
        tokens if isinstance(tokens, Tensor) else torch.tensor([tokens], device=model.cfg.device)
    )
    if is_bridge(model):
        hooks = _as_one_hook(model, hooks or [])
        if cache is not None:
            options |= {cache_argument(model): cache, "use_cache": True}
    else:
        # The mask is given: TransformerLens would otherwise take a pad or EOS token inside the prompt for padding.
        options |= {"past_kv_cache": cache, "attention_mask": torch.ones_like(ids)}
    return model.run_with_hooks(ids, fwd_hooks=hooks or [], **options)
