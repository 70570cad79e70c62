"""Models that the user has already: from Transformers or from TransformerLens."""

from __future__ import annotations

import copy
import sys
import warnings
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel

from xtl.backend import backend_name, is_bridge
from xtl.errors import InputError, one_line
from xtl.models.build import from_hf, n_rows
from xtl.models.caching import use_cache_names
from xtl.models.contract import check_contract, check_tokens
from xtl.models.info import model_info
from xtl.models.read import check_decoder, text_part
from xtl.models.state import check_model
from xtl.models.tokenizer import attach_tokenizer, check_tokenizer


def from_object(model: Any, tokenizer: Any, backend: str) -> Any:
    """An object as a model of xtl, its contract checked.

    Args:
        model: a Hugging Face model, a HookedTransformer or a TransformerBridge.
        tokenizer: to be used; a TransformerLens model keeps its own without one (see `xtl.models.tokenizer`).
        backend: for a Hugging Face model, as in `load_model`; otherwise "auto" or what the model is.

    Raises:
        InputError: something else, or a model whose weights are processed.
        ContractError: its contract does not hold.
    """
    if isinstance(model, PreTrainedModel):
        return _from_hf_object(model, tokenizer, backend)
    return _from_transformer_lens(model, tokenizer, backend)


def _from_hf_object(hf_model: Any, tokenizer: Any, backend: str) -> Any:
    """A Hugging Face model: on its device, in its precision."""
    label = getattr(hf_model.config, "name_or_path", "") or type(hf_model).__name__
    check_decoder(label, hf_model.config)
    if not hasattr(hf_model, "lm_head") and hf_model.get_output_embeddings() is None:
        raise InputError(f"{type(hf_model).__name__} has no language model head; load it with AutoModelForCausalLM")
    check_tokenizer(label, tokenizer, n_rows(hf_model), own=False)
    ours = same_tensors(hf_model)
    ours.set_attn_implementation("eager")  # the others leave hook points out
    return from_hf(text_part(ours), tokenizer, label, backend)


def same_tensors(hf_model: Any) -> Any:
    """A second object around the same tensors: what is done to it (its attention, its mode, a bridge) is not done to the first.

    Where that can't be had (modules that can't be copied), the first one itself, and a warning says what becomes of it.
    """
    reason = "its parts are on several devices" if len(set(getattr(hf_model, "hf_device_map", {}).values())) > 1 else ""
    memo: dict[int, Any] = {}
    for tensor in hf_model.parameters():
        plain = type(tensor) is torch.nn.Parameter  # a quantised one carries more with it
        memo[id(tensor)] = torch.nn.Parameter(tensor.data, requires_grad=False) if plain else tensor
    if not reason:
        try:
            return copy.deepcopy(hf_model, memo)
        except Exception as error:  # modules of all kinds, with all that users hang on them
            reason = one_line(error)
    warnings.warn(
        f"this {type(hf_model).__name__} can't be left as it is ({reason}): from now on its attention is 'eager', it is in "
        "evaluation mode and without gradients",
        stacklevel=2,
    )
    return hf_model


def _from_transformer_lens(model: Any, tokenizer: Any, backend: str) -> Any:
    """A HookedTransformer or TransformerBridge; there is no original to compare its logits with."""
    kind = backend_name(model)
    if backend not in ("auto", kind):
        raise InputError(f"backend={backend!r} was asked for, but the model is a {type(model).__name__}")
    if is_bridge(model):
        use_cache_names(model)
    info = model_info(model)
    if tokenizer is not None:
        rows = n_rows(model.original_model) if is_bridge(model) else model.cfg.d_vocab
        check_tokenizer(info.name, tokenizer, int(rows), own=False)
        attach_tokenizer(model, tokenizer)
    _settle(model)
    check_model(model)
    contract = check_contract(model, check_tokens(model.tokenizer, model.cfg.d_vocab), None)
    ends = model_info(model).eos_token_ids
    reason = f"the model was given as a {type(model).__name__}"
    model.xtl_info = replace(info, eos_token_ids=ends, contract=contract, backend_reason=reason)
    return model


def _settle(model: Any) -> None:
    """Evaluation mode, no gradients; where the mode changes what the model answers, a line says so."""
    if getattr(getattr(model, "original_model", None), "training", False):
        print(
            f"xtl: this {type(model).__name__} was in training mode (dropout); it is in evaluation mode now",
            file=sys.stderr,
        )
    model.eval().requires_grad_(False)
