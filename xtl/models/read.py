"""The Hugging Face model and its tokenizer, read from a folder, a GGUF file or the hub; what can't be read, explained.

Weights come from safetensors or GGUF, never from pickle files, and code that comes with a model never runs unless
`trust_remote_code=True` says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xtl.errors import ModelError, one_line, shown
from xtl.models.converted import converted_folder
from xtl.models.embedded import embedded_folder, load_embedded_tokenizer
from xtl.models.explain import explain
from xtl.models.names import Location


def read_config(label: str, location: Location, trust_remote_code: bool, dtype: Any = "float32") -> Any:
    """The configuration, checked to be a decoder's; of a GGUF file once it is converted (see `xtl.models.converted`).

    Args:
        label: the name for people.
        location: from `resolve_name`.
        trust_remote_code: run code that comes with the model.
        dtype: the precision that the model will be loaded in, which decides in what a GGUF file is kept.

    Raises:
        ModelError: no configuration, an encoder, an encoder-decoder, a vision or audio model; a folder without weights.
    """
    from transformers import AutoConfig

    place = place_of(location, dtype)
    try:
        if isinstance(place, Path):
            check_config_file(place / "config.json")
        config = AutoConfig.from_pretrained(place, trust_remote_code=trust_remote_code)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(explain(label, location, error)) from error
    if location is None:
        return config
    check_sizes(label, config)
    if not (trust_remote_code and "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})):
        check_decoder(label, config)
    if isinstance(place, Path):
        check_weights(place)
    return config


def place_of(location: Location, dtype: Any = "float32") -> Path | str:
    """Where a model's Hugging Face folder is, or its id: the embedded model and GGUF files are converted, once."""
    if location is None:
        return embedded_folder()
    if isinstance(location, Path) and location.suffix == ".gguf":
        return converted_folder(location, dtype)
    return location


SIZES = {
    "num_hidden_layers": 10_000, "n_layer": 10_000, "num_layers": 10_000, "num_attention_heads": 100_000, "n_head": 100_000,
    "num_key_value_heads": 100_000, "hidden_size": 10**7, "n_embd": 10**7, "intermediate_size": 10**8, "head_dim": 10**6,
    "vocab_size": 10**8, "max_position_embeddings": 10**10, "n_positions": 10**10, "n_ctx": 10**10,
}  # fmt: skip
"""Sizes in a configuration and the most that each can be: far beyond any model, far below what stops a machine."""
MOST_CONFIG_BYTES = 50 * 10**6


def check_config_file(path: Path) -> None:
    """Raise `ModelError` for a `config.json` that Transformers would choke on: too large, or with sizes that no model has.

    Transformers makes lists as long as there are layers while it reads a configuration: this looks before it does.
    """
    if not path.is_file():
        return
    try:
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise ModelError(f"{str(path)!r} has more than {MOST_CONFIG_BYTES // 10**6} MB: it is no configuration")
        values = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ModelError(f"{str(path)!r} is nested too deeply: it is no configuration") from None
    except (OSError, ValueError):
        return  # Transformers says what is wrong with it
    for part in [values, *values.values()] if isinstance(values, dict) else []:
        if isinstance(part, dict):
            check_sizes(str(path), part)


def check_sizes(label: str, config: Any) -> None:
    """Raise `ModelError` for a size in a configuration (an object or a dict) that no model can have: 0, or astronomic."""
    values = (
        config if isinstance(config, dict) else config.to_dict()
    )  # asked by name, some sizes differ by layer and are refused
    for name, most in SIZES.items():
        value = values.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not 1 <= value <= most:
            raise ModelError(
                f"the configuration of {label!r} has {name} {shown(value, 40)}; it must be from 1 to {most:,}"
            )


def check_decoder(label: str, config: Any) -> None:
    """Raise `ModelError` unless the configuration is that of a decoder language model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    architecture = (config.architectures or [type(config).__name__])[0]
    what = f"{label!r} ({architecture})"
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{what} is an encoder-decoder model; transplants need one stack of blocks: take a decoder, such as gpt2"
        )
    writes = architecture in CAUSAL.values() or getattr(config, "is_decoder", False)
    if config.model_type in MASKED and not writes:
        raise ModelError(f"{what} is an encoder, which continues no text; take a decoder, such as gpt2")
    named = CAUSAL.get(config.model_type)
    sees = any(hasattr(config, part) for part in ("vision_config", "audio_config"))
    if named is None or (sees and config.model_type != "gemma3" and "ForConditionalGeneration" in str(named)):
        kind = "a vision or audio model" if sees or named is None else "a model of another kind"
        raise ModelError(
            f"{what} is no decoder language model (by its model_type {config.model_type!r} {kind}); take a text model"
        )


def check_weights(folder: Path) -> None:
    """Raise `ModelError` unless the folder has its safetensors files, all of them, each whole."""
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    try:
        names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else set()
    except (ValueError, KeyError, AttributeError, OSError) as error:
        raise ModelError(
            f"the model in {str(folder)!r} cannot be loaded: {index.name} is damaged; download it again"
        ) from error
    files = [folder / name for name in sorted(names)] or sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
        found = f"only {pickles[0].name}, a pickle file, which xtl does not read" if pickles else "no *.safetensors"
        raise ModelError(
            f"the model in {str(folder)!r} cannot be loaded: it has no weights ({found}); add its safetensors files"
        )
    for file in files:
        if not file.is_file():
            raise ModelError(
                f"the model in {str(folder)!r} cannot be loaded: {file.name} is missing; download it again"
            )
        try:
            with safe_open(file, framework="pt") as weights:
                weights.keys()
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"the model in {str(folder)!r} cannot be loaded: {file.name} is damaged or cut short "
                f"({one_line(error)}); download it again"
            ) from error


def read_hf(
    label: str,
    location: Location,
    *,
    dtype: Any,
    trust_remote_code: bool = False,
    tokenizer: Any = None,
    **options: Any,
) -> tuple[Any, Any]:
    """The Hugging Face model, attention in plain matrix products (eager) so that every hook point exists, and its tokenizer.

    Args:
        label: the name for people.
        location: from `resolve_name`.
        dtype: a torch dtype.
        trust_remote_code: run code that comes with the model.
        tokenizer: one to take in place of the model's own.
        options: further ones of `from_pretrained`: `device_map`, `quantization_config`.

    Returns:
        The model, and its tokenizer or None.

    Raises:
        ModelError: it can't be had or read, or its weights are not all there; one line that says why.
    """
    from transformers import AutoModelForCausalLM

    options |= {"dtype": dtype, "attn_implementation": "eager", "trust_remote_code": trust_remote_code}
    place = place_of(location, dtype)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            place, output_loading_info=True, use_safetensors=True, **options
        )
    except Exception as error:
        raise ModelError(explain(label, location, error)) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{label!r} cannot be loaded: its weights lack {missing[0]} ({len(missing)} in all), which would be random; it is "
            "saved without its language model head, or for another task"
        )
    return text_part(model), tokenizer or read_tokenizer(label, location, place, trust_remote_code)


def read_tokenizer(label: str, location: Location, place: Any, trust_remote_code: bool) -> Any:
    """The model's own tokenizer; None for a folder without one."""
    from transformers import AutoTokenizer

    if location is None:
        return load_embedded_tokenizer(place)
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=trust_remote_code)
    except Exception as error:
        if isinstance(place, Path) and not list(place.glob("*token*")):
            return None  # a folder without tokenizer: prompts are token ids
        raise ModelError(f"the tokenizer of {label!r} cannot be read: {one_line(error)}") from error


def text_part(hf_model: Any) -> Any:
    """The language model of a Gemma 3 that also sees, as a model of its own (its tensors, not copies); others as they are."""
    import torch

    if type(hf_model).__name__ != "Gemma3ForConditionalGeneration":
        return hf_model
    from transformers import Gemma3ForCausalLM

    config = hf_model.config.text_config
    config.architectures = ["Gemma3ForCausalLM"]
    config._attn_implementation = "eager"
    with torch.device("meta"):
        text = Gemma3ForCausalLM(config)
    text.model, text.lm_head = hf_model.model.language_model, hf_model.lm_head
    text.generation_config = hf_model.generation_config
    return text
