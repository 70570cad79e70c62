"""Hugging Face models wrapped, as they are, in TransformerLens's `TransformerBridge`."""

from __future__ import annotations

from typing import Any

from xtl.errors import ModelError, one_line
from xtl.models.caching import use_cache_names
from xtl.models.tokenizer import attach_tokenizer


def bridge_from_hf(hf_model: Any, tokenizer: Any, name: str) -> Any:
    """A TransformerBridge around the loaded model, which is wrapped in place.

    Raises:
        ModelError: TransformerLens has no bridge for this architecture.
    """
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    architecture = architecture_of(hf_model)
    try:
        # Without the tokenizer: the bridge would replace it by one that always adds BOS.
        bridge = build_bridge_from_module(hf_model, architecture, hf_config=hf_model.config, model_name=name)
    except Exception as error:
        raise ModelError(f"TransformerLens has no bridge for {name!r} ({architecture}): {one_line(error)}") from error
    use_cache_names(bridge)
    attach_tokenizer(bridge, tokenizer)
    if tokenizer is not None:
        bridge.cfg.default_prepend_bos = bridge.cfg.tokenizer_prepends_bos  # in its own methods too
    return bridge


def architecture_of(hf_model: Any) -> str:
    """Name of the Hugging Face class."""
    return type(hf_model).__name__
