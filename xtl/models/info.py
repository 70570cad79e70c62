"""What is known about a loaded model that the model itself does not hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xtl.backend import Model, is_bridge


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
    original = model.original_model if is_bridge(model) else None
    return ModelInfo(name=str(model.cfg.model_name), eos_token_ids=eos_token_ids(original, model.tokenizer))


def eos_token_ids(hf_model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every token that ends a generation, as the model's generation configuration says; else the tokenizer's."""
    generation = getattr(hf_model, "generation_config", None)
    for value in (getattr(generation, "eos_token_id", None), getattr(tokenizer, "eos_token_id", None)):
        if value is not None:
            return tuple(value) if isinstance(value, (list, tuple)) else (int(value),)
    return ()
