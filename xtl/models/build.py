"""A loaded Hugging Face model becomes a HookedTransformer (its weights converted by TransformerLens) or a TransformerBridge
(wrapped as it is), which must give the same logits."""

from __future__ import annotations

from typing import Any

import torch

from xtl.errors import ContractError, ModelError, one_line
from xtl.models.bridged import architecture_of, bridge_from_hf
from xtl.models.contract import check_contract, check_tokens
from xtl.models.hooked import hooked_from_hf, why_no_hooked
from xtl.models.identity import config_part, plain
from xtl.models.info import ModelInfo, eos_token_ids


def from_hf(hf_model: Any, tokenizer: Any, label: str, backend: str, reason: str = "") -> Any:
    """A loaded Hugging Face model as a model of this backend, its contract checked against its own logits.

    Args:
        hf_model: on its device, in its precision, with eager attention.
        tokenizer: its tokenizer, or None.
        label: its name for people.
        backend: "auto", "hooked" or "bridge".
        reason: why this backend, if something else than the user's wish decided.
    """
    hf_model = hf_model.eval().requires_grad_(False)
    device = str(hf_model.get_input_embeddings().weight.device)
    tokens = check_tokens(tokenizer, n_rows(hf_model))
    try:
        with torch.no_grad():
            reference = hf_model(torch.tensor([tokens], device=device)).logits[0].clone()
    except Exception as error:
        raise ModelError(f"{label!r} cannot be run: its own forward pass fails: {one_line(error)}") from error
    ends = eos_token_ids(hf_model, tokenizer)
    model = None
    if backend in ("auto", "hooked"):
        try:
            if backend == "auto" and (gone := why_no_hooked()):
                raise ModelError(gone)
            model = hooked_from_hf(hf_model, tokenizer, label, device, hf_model.dtype)
            contract = check_contract(model, tokens, reference)
            reason = reason or f"TransformerLens converts {architecture_of(hf_model)}, and the contract holds"
        except (ModelError, ContractError) as error:
            if isinstance(error, ContractError) and backend == "hooked":
                raise ContractError(f"{error}; try backend='bridge'") from error
            if backend == "hooked":
                raise
            model, reason = None, str(error).removesuffix("; use backend='bridge'")
    if model is None:
        try:
            model = bridge_from_hf(hf_model, tokenizer, label)
            contract = check_contract(model, tokens, reference)
        except (ModelError, ContractError) as error:
            hint = "try backend='hooked'" if backend == "bridge" else f"and as a HookedTransformer: {reason}"
            raise type(error)(f"{error}; {hint}" if why_no_hooked() is None else str(error)) from error
    if backend != "auto" and not reason:
        reason = f"backend={backend!r} was asked for"
    model.requires_grad_(False)
    model.xtl_info = ModelInfo(
        name=label,
        eos_token_ids=ends,
        contract=contract,
        backend_reason=reason,
        config=plain(config_part(hf_model.config)),
    )
    return model


def n_rows(hf_model: Any) -> int:
    """Rows of the embedding."""
    return int(hf_model.get_input_embeddings().weight.shape[0])
