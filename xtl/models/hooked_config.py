"""`HookedTransformerConfig` from the Hugging Face configuration at hand.

TransformerLens 3.9 goes by the *name* of a model in many places (Gemma, OLMo, Llama, ...), and writes down the sizes of the
published ones. Here the architecture alone decides: for some families the fields are written here, for the rest TransformerLens's
own reading is taken and what it leaves out is put right: head size, feed-forward width, sliding windows, rotary base, context.

What a short prompt can't show is refused here rather than found out later: a scaling of rotary positions that HookedTransformer
does not have.
"""

from __future__ import annotations

import copy
import tempfile
from typing import Any

import torch

ROPE_SCALING = {
    "LlamaForCausalLM": {"llama3"},
    "ApertusForCausalLM": {"llama3"},
    "GptOssForCausalLM": {"yarn"},
    "Olmo3ForCausalLM": {"yarn"},
}
"""Scalings of rotary positions that TransformerLens converts, beside none."""

EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", "norm_eps", "norm_epsilon")
"""What configurations call the epsilon of their norms."""


def hooked_config(hf_config: Any, architecture: str, device: str, dtype: torch.dtype) -> Any:
    """The HookedTransformerConfig for this Hugging Face configuration.

    Raises:
        NotImplementedError: TransformerLens can't convert the architecture, or its scaling of rotary positions.
    """
    from transformer_lens import HookedTransformerConfig

    check_rope(hf_config, architecture)
    fields = (
        FAMILIES[architecture](hf_config)
        if architecture in FAMILIES
        else _as_transformer_lens_reads(hf_config, architecture)
    )
    fields |= sizes(hf_config, fields) | windows(hf_config) | rotary(hf_config, fields)
    fields |= {
        "original_architecture": architecture,
        "model_name": architecture,
        "d_vocab": hf_config.vocab_size,
        "device": device,
        "dtype": dtype,
        "init_weights": False,
        "tokenizer_name": None,  # the tokenizer is attached as it is; a name would make TransformerLens load another
        "quantization_method": None,
        "trust_remote_code": False,
    }
    return HookedTransformerConfig.from_dict(fields)


def check_rope(hf_config: Any, architecture: str) -> None:
    """Refuse a scaling of rotary positions that HookedTransformer lacks: some show beyond the first thousands of tokens only."""
    rope = getattr(hf_config, "rope_parameters", None) or {}
    for part in [rope, *(value for value in rope.values() if isinstance(value, dict))]:
        kind = part.get("rope_type") or "default"
        if kind != "default" and kind not in ROPE_SCALING.get(architecture, ()):
            raise NotImplementedError(f"HookedTransformer has no rotary scaling of type {kind!r}")


def sizes(hf_config: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """Head size and feed-forward width where the configuration states them, not a quotient or a multiple; epsilon of norms.

    TransformerLens takes some families' published epsilon for granted (GPT-J).
    """
    d_head = getattr(hf_config, "head_dim", None) or fields["d_head"]
    d_mlp = getattr(hf_config, "n_inner", None) or fields["d_mlp"]
    if fields.get("original_architecture") == "GPTNeoForCausalLM":
        d_mlp = hf_config.intermediate_size or d_mlp
    stated = [getattr(hf_config, name) for name in EPSILONS if getattr(hf_config, name, None) is not None]
    return {"d_head": d_head, "d_mlp": d_mlp} | ({"eps": stated[0]} if stated else {})


def windows(hf_config: Any) -> dict[str, Any]:
    """Sliding-window attention, layer by layer."""
    if not hasattr(hf_config, "sliding_window"):
        return {}
    kinds = getattr(hf_config, "layer_types", None)
    if kinds is None:
        kinds = ["sliding_attention" if hf_config.sliding_window else "full_attention"] * hf_config.num_hidden_layers
    if set(kinds) - {"sliding_attention", "full_attention"}:
        raise NotImplementedError(f"HookedTransformer has no attention of type {', '.join(sorted(set(kinds)))}")
    slides = bool(hf_config.sliding_window) and "sliding_attention" in kinds
    return {
        "use_local_attn": slides,
        "window_size": hf_config.sliding_window if slides else None,
        "attn_types": ["local" if slides and kind == "sliding_attention" else "global" for kind in kinds],
    }


def rotary(hf_config: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """Rotary base and size, and the model's whole context.

    TransformerLens caps the context for memory's sake, but masks and rotary tables grow on demand.
    """
    if fields.get("positional_embedding_type") != "rotary":
        return {}
    d_head = getattr(hf_config, "head_dim", None) or fields["d_head"]
    given = fields.get("rotary_dim")
    whole = given is None or given == hf_config.hidden_size // hf_config.num_attention_heads
    found: dict[str, Any] = {"rotary_dim": d_head if whole else given}
    rope = getattr(hf_config, "rope_parameters", None) or {}
    if rope.get("partial_rotary_factor") is not None:
        found["rotary_dim"] = int(d_head * rope["partial_rotary_factor"])
    if "rope_theta" in rope:
        found["rotary_base"] = rope["rope_theta"]
    context = getattr(hf_config, "max_position_embeddings", None)
    return found | ({"n_ctx": int(context)} if context else {})


def _as_transformer_lens_reads(hf_config: Any, architecture: str) -> dict[str, Any]:
    """TransformerLens's own reading of a configuration.

    It reads one from a folder, and takes a folder whose name hints at "llama" or "gemma" for a published model: so this one
    gets a neutral name.
    """
    import transformer_lens.loading_from_pretrained as loading

    hf_config = copy.deepcopy(hf_config)
    hf_config.architectures = [architecture]  # a model read from GGUF has none
    if hf_config.model_type == "gpt2" and not hasattr(hf_config, "n_ctx"):
        hf_config.n_ctx = hf_config.n_positions  # TransformerLens reads it and GPT-2's class no longer sets it
    with tempfile.TemporaryDirectory(prefix="xtl-") as folder:
        hf_config.save_pretrained(folder)
        return dict(loading.convert_hf_model_config(folder))


def _common(hf_config: Any) -> dict[str, Any]:
    """What the families below share: sizes, rotary positions."""
    return {
        "d_model": hf_config.hidden_size,
        "d_head": hf_config.hidden_size // hf_config.num_attention_heads,
        "n_heads": hf_config.num_attention_heads,
        "d_mlp": hf_config.intermediate_size,
        "n_layers": hf_config.num_hidden_layers,
        "n_ctx": hf_config.max_position_embeddings,
        "positional_embedding_type": "rotary",
        "use_attn_scale": True,
    }


def _gemma(hf_config: Any) -> dict[str, Any]:
    """Gemma: norms around each sublayer from the second on, QK norm in the third; embeddings scaled by the converter."""
    kind = hf_config.model_type
    fields = _common(hf_config) | {
        "n_key_value_heads": hf_config.num_key_value_heads,
        "eps": hf_config.rms_norm_eps,
        "act_fn": getattr(hf_config, "hidden_activation", None) or hf_config.hidden_act,
        "normalization_type": "RMS",
        "final_rms": True,
        "gated_mlp": True,
        "use_normalization_before_and_after": kind != "gemma",
        "use_qk_norm": kind == "gemma3_text",
    }
    if kind == "gemma":
        return fields
    fields["attn_scale"] = hf_config.query_pre_attn_scalar**0.5
    for field, cap in (
        ("attn_scores_soft_cap", hf_config.attn_logit_softcapping),
        ("output_logits_soft_cap", hf_config.final_logit_softcapping),
    ):
        if cap is not None:
            fields[field] = cap
    rope = hf_config.rope_parameters
    if "full_attention" in rope:
        fields["rotary_base"] = rope["full_attention"]["rope_theta"]
        fields["rotary_base_local"] = rope["sliding_attention"]["rope_theta"]
    return fields


def _olmo(hf_config: Any) -> dict[str, Any]:
    """OLMo 1 (LayerNorm without weights, clipped queries, keys and values) and 2 (norms after each sublayer, QK norm)."""
    if hf_config.num_key_value_heads != hf_config.num_attention_heads:
        raise NotImplementedError("TransformerLens converts no OLMo with fewer key heads than query heads")
    first = hf_config.model_type == "olmo"
    return _common(hf_config) | {
        "eps": 1e-5 if first else hf_config.rms_norm_eps,
        "act_fn": hf_config.hidden_act,
        "normalization_type": "LN" if first else "RMS",
        "gated_mlp": True,
        "clip_qkv": getattr(hf_config, "clip_qkv", None),
    }


def _phi(hf_config: Any) -> dict[str, Any]:
    """Phi 1 to 2: attention and feed-forward in parallel, a part of each head rotated."""
    if hf_config.num_key_value_heads != hf_config.num_attention_heads:
        raise NotImplementedError("TransformerLens converts no Phi with fewer key heads than query heads")
    rope = getattr(hf_config, "rope_parameters", None) or {}
    part = rope.get("partial_rotary_factor") or getattr(hf_config, "partial_rotary_factor", 0.5)
    return _common(hf_config) | {
        "eps": hf_config.layer_norm_eps,
        "act_fn": hf_config.hidden_act,
        "normalization_type": "LN",
        "rotary_dim": round(part * (hf_config.hidden_size // hf_config.num_attention_heads)),
        "parallel_attn_mlp": True,
    }


FAMILIES = {
    "GemmaForCausalLM": _gemma,
    "Gemma2ForCausalLM": _gemma,
    "Gemma3ForCausalLM": _gemma,
    "OlmoForCausalLM": _olmo,
    "Olmo2ForCausalLM": _olmo,
    "PhiForCausalLM": _phi,
}
"""Architectures whose fields are written here: TransformerLens knows their published sizes only, or misreads Transformers 5."""
