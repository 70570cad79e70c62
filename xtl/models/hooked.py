"""Hugging Face models as unprocessed `HookedTransformer`s.

TransformerLens 3.9 converts an architecture's weights, but goes by a list of *names*: `HookedTransformer.from_pretrained`
refuses a local folder, and its Gemma configurations are written out for the published sizes. Here the architecture decides:
the configuration is read from the model at hand, the weights go through TransformerLens's own converters, and nothing is
folded or centred.
"""

from __future__ import annotations

import copy
import tempfile
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xtl.errors import ModelError

_GEMMA = ("Gemma2ForCausalLM", "Gemma3ForCausalLM")


def hooked_from_hf(
    hf_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, name: str, device: str, dtype: torch.dtype
) -> Any:
    """An unprocessed HookedTransformer with the weights of `hf_model` (some tensors are shared with it, not copied).

    Raises:
        ModelError: TransformerLens 3.9 can't convert this architecture.
    """
    import transformer_lens.loading_from_pretrained as loading
    from transformer_lens import HookedTransformer

    architecture = (hf_model.config.architectures or [type(hf_model).__name__])[0]
    try:
        # TransformerLens reads a configuration from a folder, and takes one whose name hints at "llama" or "gemma" for a
        # published model: so this one gets a neutral name.
        with tempfile.TemporaryDirectory(prefix="xtl-") as folder:
            _complete(hf_model.config).save_pretrained(folder)
            cfg = _config(hf_model, architecture, folder, device, dtype)
            state_dict = loading.get_pretrained_state_dict(folder, cfg, hf_model, dtype=dtype)
    except (NotImplementedError, ValueError, AttributeError, RuntimeError, TypeError) as error:
        raise ModelError(
            f"TransformerLens cannot make a HookedTransformer of {name!r} ({architecture}): {_first_line(error)}; "
            "use backend='bridge'"
        ) from error
    cfg.model_name = name
    model = HookedTransformer(cfg, tokenizer=None, move_to_device=False)
    state_dict = loading.fill_missing_keys(model, state_dict)
    if _same_storage(state_dict["embed.W_E"], state_dict["unembed.W_U"]):
        # Tied in Hugging Face, two parameters in HookedTransformer: an edit of one must not change the other.
        state_dict["unembed.W_U"] = state_dict["unembed.W_U"].clone()
    # Some converters compute in float32 (Gemma's norms); each parameter has the dtype that the model declares.
    declared = model.state_dict()
    state_dict = {key: tensor.to(declared[key].dtype) for key, tensor in state_dict.items()}
    # assign=True takes the tensors as they are: half the time and half the memory of copying them in.
    model.load_state_dict(state_dict, assign=True)
    model.move_model_modules_to_device()
    _attach_tokenizer(model, tokenizer)
    return model.eval()


def _complete(hf_config: Any) -> Any:
    """A copy of the configuration with the field that TransformerLens reads and GPT-2's class no longer sets."""
    hf_config = copy.deepcopy(hf_config)
    if hf_config.model_type == "gpt2" and not hasattr(hf_config, "n_ctx"):
        hf_config.n_ctx = hf_config.n_positions
    return hf_config


def _config(hf_model: PreTrainedModel, architecture: str, folder: str, device: str, dtype: torch.dtype) -> Any:
    """The HookedTransformerConfig for the model at hand."""
    import transformer_lens.loading_from_pretrained as loading
    from transformer_lens import HookedTransformerConfig

    hf_config = hf_model.config
    if architecture in _GEMMA:
        cfg = HookedTransformerConfig.from_dict(
            _gemma_fields(hf_config, architecture) | {"dtype": dtype, "device": device}
        )
    else:
        cfg = loading.get_pretrained_model_config(folder, hf_cfg=hf_config.to_dict(), device=device, dtype=dtype)
    context = getattr(hf_config, "max_position_embeddings", None)
    if cfg.positional_embedding_type == "rotary" and context:
        cfg.n_ctx = int(
            context
        )  # TransformerLens caps it for memory's sake, but masks and rotary tables grow on demand
    cfg.tokenizer_name = None  # the tokenizer is attached as it is; a name would make TransformerLens load another
    cfg.init_weights = False
    cfg.model_name = architecture
    return cfg


def _gemma_fields(hf_config: Any, architecture: str) -> dict[str, Any]:
    """TransformerLens's configuration of a Gemma 2 or 3 text model, from its Hugging Face configuration."""
    rope = getattr(hf_config, "rope_parameters", None) or {}
    fields: dict[str, Any] = {
        "original_architecture": architecture,
        "model_name": architecture,
        "d_model": hf_config.hidden_size,
        "d_head": hf_config.head_dim,
        "n_heads": hf_config.num_attention_heads,
        "n_key_value_heads": hf_config.num_key_value_heads,
        "d_mlp": hf_config.intermediate_size,
        "n_layers": hf_config.num_hidden_layers,
        "n_ctx": hf_config.max_position_embeddings,
        "eps": hf_config.rms_norm_eps,
        "d_vocab": hf_config.vocab_size,
        "act_fn": hf_config.hidden_activation,
        "normalization_type": "RMS",
        "final_rms": True,
        "gated_mlp": True,
        "positional_embedding_type": "rotary",
        "rotary_dim": hf_config.head_dim,
        "use_attn_scale": True,
        "attn_scale": hf_config.query_pre_attn_scalar**0.5,
        "use_local_attn": "sliding_attention" in hf_config.layer_types,
        "window_size": hf_config.sliding_window,
        "attn_types": ["local" if kind == "sliding_attention" else "global" for kind in hf_config.layer_types],
        "use_normalization_before_and_after": True,
        "use_qk_norm": architecture == "Gemma3ForCausalLM",
        "default_prepend_bos": True,
    }
    if hf_config.attn_logit_softcapping is not None:
        fields["attn_scores_soft_cap"] = hf_config.attn_logit_softcapping
    if hf_config.final_logit_softcapping is not None:
        fields["output_logits_soft_cap"] = hf_config.final_logit_softcapping
    if "full_attention" in rope:
        fields["rotary_base"] = rope["full_attention"]["rope_theta"]
        fields["rotary_base_local"] = rope["sliding_attention"]["rope_theta"]
    else:
        fields["rotary_base"] = rope.get("rope_theta", 10000.0)
    return fields


def _attach_tokenizer(model: Any, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """Give the model the tokenizer as it is.

    `HookedTransformer.set_tokenizer` would load a second one that always adds BOS; the model's own rule on BOS is kept here.
    """
    model.tokenizer = tokenizer
    if tokenizer is None:
        return
    ids = tokenizer("a")["input_ids"]
    adds_bos = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
    model.cfg.tokenizer_prepends_bos = adds_bos
    model.cfg.default_prepend_bos = adds_bos


def _same_storage(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
