"""Models that the user has already: from Transformers or from TransformerLens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xtl.errors import InputError


def adopt(model: Any, tokenizer: Any, backend: str) -> Any:
    """An object as a model of xtl, its contract checked.

    Args:
        model: a Hugging Face model, a HookedTransformer or a TransformerBridge.
        tokenizer: to be used; a TransformerLens model keeps its own without one.
        backend: for a Hugging Face model, as in `load_model`; otherwise "auto" or what the model is.

    Raises:
        InputError: something else, or a HookedTransformer with processed weights.
        ContractError: its contract does not hold.
    """
    from transformers import PreTrainedModel

    if isinstance(model, PreTrainedModel):
        return _adopt_hf(model, tokenizer, backend)
    return _adopt_transformer_lens(model, tokenizer, backend)


def _adopt_hf(hf_model: Any, tokenizer: Any, backend: str) -> Any:
    """A Hugging Face model: on its device, in its precision."""
    from xtl.models.load import from_hf
    from xtl.models.read import check_decoder, check_tokenizer, text_part

    label = getattr(hf_model.config, "name_or_path", "") or type(hf_model).__name__
    check_decoder(label, hf_model.config)
    if not hasattr(hf_model, "lm_head") and hf_model.get_output_embeddings() is None:
        raise InputError(f"{type(hf_model).__name__} has no language model head; load it with AutoModelForCausalLM")
    rows = int(hf_model.get_input_embeddings().weight.shape[0])
    check_tokenizer(label, tokenizer, rows, own=False)
    hf_model.set_attn_implementation("eager")  # the others leave hook points out
    return from_hf(text_part(hf_model), tokenizer, label, backend)


def _adopt_transformer_lens(model: Any, tokenizer: Any, backend: str) -> Any:
    """A HookedTransformer or TransformerBridge; there is no original to compare its logits with."""
    from xtl.backend import backend_name, check_model, model_info
    from xtl.models.caching import use_cache_names
    from xtl.models.contract import check_contract
    from xtl.models.load import check_tokens
    from xtl.models.read import check_tokenizer

    check_model(model)
    kind = backend_name(model)
    if backend not in ("auto", kind):
        raise InputError(f"backend={backend!r} was asked for, but the model is a {type(model).__name__}")
    if kind == "hooked":
        _check_not_centred(model)
    else:
        use_cache_names(model)
    info = model_info(model)
    if tokenizer is not None:
        check_tokenizer(info.name, tokenizer, model.cfg.d_vocab, own=False)
        model.tokenizer = tokenizer
    model.eval().requires_grad_(False)
    contract = check_contract(model, check_tokens(model.tokenizer, model.cfg.d_vocab), None)
    ends = model_info(model).eos_token_ids
    reason = f"the model was given as a {type(model).__name__}"
    model.xtl_info = replace(info, eos_token_ids=ends, contract=contract, backend_reason=reason)
    return model


def _check_not_centred(model: Any) -> None:
    """Refuse writing weights that were centred: the logits stay, what is transplanted changes, and no field says so."""
    means = [block.attn.W_O.float().mean(-1).abs().max() for block in model.blocks]
    sizes = [block.attn.W_O.float().abs().mean() for block in model.blocks]
    if all(float(mean) < 1e-5 * float(size) for mean, size in zip(means, sizes, strict=True)):
        raise InputError(
            "model has its writing weights centred, which changes what is transplanted; load it with xtl.load_model or "
            "HookedTransformer.from_pretrained_no_processing"
        )
