"""Hugging Face models as unprocessed `HookedTransformer`s (TransformerLens 3).

The configuration is read from the model at hand (`xtl.models.hooked_config`), the weights go through TransformerLens's own
converters, and nothing is folded or centred. Whether the result is the same model is not believed: `xtl.models.contract`
compares its logits with Hugging Face's.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xtl.errors import ModelError
from xtl.models.bridged import architecture_of
from xtl.models.hooked_config import hooked_config
from xtl.models.tokenizer import attach_tokenizer


def why_no_hooked() -> str | None:
    """Why this TransformerLens makes no HookedTransformer; None if it does. Version 4 removed it."""
    installed = version("transformer-lens")
    if int(installed.split(".")[0]) < 4:
        return None
    return f"TransformerLens {installed} has no HookedTransformer any more (version 4 removed it)"


def hooked_from_hf(
    hf_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, name: str, device: str, dtype: torch.dtype
) -> Any:
    """An unprocessed HookedTransformer with the weights of `hf_model` (most tensors are shared with it, not copied).

    Raises:
        ModelError: TransformerLens can't convert this architecture, or has no HookedTransformer.
    """
    reason = why_no_hooked()
    if reason is not None:
        raise ModelError(f"{reason}; use backend='bridge', or install 'transformer-lens<4'")
    architecture = architecture_of(hf_model)
    try:
        model = _convert(hf_model, architecture, device, dtype)
    except Exception as error:
        raise ModelError(
            f"TransformerLens cannot make a HookedTransformer of {name!r} ({architecture}): {_first_line(error)}; "
            "use backend='bridge'"
        ) from error
    model.cfg.model_name = name
    model.move_model_modules_to_device()
    attach_tokenizer(model, tokenizer)
    if tokenizer is not None:
        model.cfg.default_prepend_bos = model.cfg.tokenizer_prepends_bos  # in its own methods too
    return model.eval()


def _convert(hf_model: PreTrainedModel, architecture: str, device: str, dtype: torch.dtype) -> Any:
    """The model with its weights; whatever goes wrong in TransformerLens's converters is raised as it is."""
    import transformer_lens.loading_from_pretrained as loading
    from transformer_lens import HookedTransformer

    cfg = hooked_config(hf_model.config, architecture, device, dtype)
    with tempfile.TemporaryDirectory(prefix="xtl-") as folder:  # a path that exists stands for "no published name"
        state_dict = loading.get_pretrained_state_dict(folder, cfg, hf_model, dtype=dtype)
    model = HookedTransformer(cfg, tokenizer=None, move_to_device=False)
    state_dict = loading.fill_missing_keys(model, state_dict)
    if _same_storage(state_dict["embed.W_E"], state_dict["unembed.W_U"]):
        # Tied in Hugging Face, two parameters in HookedTransformer: an edit of one must not change the other.
        state_dict["unembed.W_U"] = state_dict["unembed.W_U"].clone()
    declared = model.state_dict()
    extra = {key: tensor for key, tensor in state_dict.items() if key not in declared}
    for key, tensor in extra.items():  # Phi-3's converter gives its norms a bias of zeros
        if bool(tensor.any()):
            raise NotImplementedError(f"its {key} has no place in a HookedTransformer")
    # Some converters compute in float32 (Gemma's norms); each parameter has the dtype that the model declares.
    weights = {key: tensor.to(declared[key].dtype) for key, tensor in state_dict.items() if key not in extra}
    # assign=True takes the tensors as they are: half the time and half the memory of copying them in.
    model.load_state_dict(weights, assign=True)
    return model


def _same_storage(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200].rstrip(".")
