"""`load_model`: by name, path or object, unprocessed, with its contract checked.

The Hugging Face model is loaded first, always. Its logits on a short prompt are the reference (`xtl.models.build`). What needs
torch is imported when a model is loaded: `import xtl` and the command line's help are quick.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from xtl.errors import InputError, check_choice, check_flag, known_keywords
from xtl.models.names import Location, known_names, resolve_name
from xtl.models.silence import collecting_later, silence_loading

__all__ = ["BACKENDS", "DTYPES", "known_names", "load_model", "resolve_name"]

BACKENDS = ("auto", "hooked", "bridge")
DTYPES = ("float32", "bfloat16", "float16", "float64")
QUANTIZATIONS = ("8bit", "4bit")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential", "cpu", "cuda", "mps")


@known_keywords()
def load_model(
    name: Any = None,
    *,
    backend: str = "auto",
    dtype: Any = None,
    device: str | None = None,
    device_map: Any = None,
    quantization: str | None = None,
    tokenizer: Any = None,
    trust_remote_code: bool = False,
) -> Any:
    """Load a model, unprocessed, and check the contract that transplants rest on (`xtl.models.contract`).

    Args:
        name: nothing or "gemma-3-270m" for the embedded model; a short name of the paper's models ("llama-2-7b-chat",
            "mistral-7b-instruct-v0.3", "qwen2-7b-instruct", "chinese-alpaca-2-7b", "bloomz-7b1"); a name that TransformerLens
            knows ("gpt2", "pythia-70m"); a Hugging Face id ("org/model"); a local folder with `config.json` and safetensors; a
            `.gguf` file; a Hugging Face model (its tensors are used, not copied; the object itself stays as it was); an
            unprocessed HookedTransformer or TransformerBridge (taken as it is, without gradients and in evaluation mode).
        backend: "hooked" for a HookedTransformer; "bridge" for a TransformerBridge, which wraps architectures that
            HookedTransformer lacks; "auto" for hooked where the architecture can be converted and the contract holds, else
            bridge. `model.xtl_info.backend_reason` says why.
        dtype: "float32" (default), "bfloat16", "float16" or "float64"; or the torch dtype. A model object keeps its own.
        device: "cpu", "cuda", "cuda:1", ...; CUDA where there is one by default. A model object stays where it is.
        device_map: where the parts of a model go that is larger than one device: "auto", or a dict from module to device, as
            Transformers takes it. Bridge only.
        quantization: "8bit" or "4bit", by Transformers and bitsandbytes. Bridge only.
        tokenizer: one to take in place of the model's own, as it is; needed with a Hugging Face model object, whose prompts are
            token ids otherwise. A TransformerLens model keeps its own without one, unless TransformerLens made it add BOS where
            the model's own doesn't: then that one is taken, and a warning says so.
        trust_remote_code: run Python code that comes with the model. **It can do anything that you can do on this machine**:
            read your files, send them away, delete them. Allow it only for code that you have read, at a revision that you
            have downloaded. Never on by default.

    Returns:
        A HookedTransformer or TransformerBridge with its tokenizer as it is (its own rule on BOS) and gradients off.
        `model.xtl_info` holds its name, its end-of-sequence tokens, the contract's deviations and the reason for the backend.

    Raises:
        InputError: an unknown name, backend, dtype, device or quantisation, or two that exclude each other.
        ModelError: the model can't be had: no network, no such folder, damaged files, no decoder, too large for the memory, no
            conversion for its architecture.
        ContractError: the loaded model breaks the contract.

    Example:
        >>> import xtl
        >>> model = xtl.load_model()  # doctest: +SKIP
        >>> model.cfg.n_layers  # doctest: +SKIP
        18
    """
    check_choice("backend", backend, BACKENDS)
    check_flag("trust_remote_code", trust_remote_code)
    if not (name is None or isinstance(name, (str, os.PathLike))):
        given = [key for key, value in (("dtype", dtype), ("device", device), ("device_map", device_map)) if value]
        if given or quantization:
            raise InputError(
                f"{(given or ['quantization'])[0]} is for models that are loaded by name; this one is an object"
            )
        with silence_loading():
            from xtl.models.from_object import from_object

            return from_object(name, tokenizer, backend)
    label, location, torch_dtype, (placed, place, options) = check_asked(
        name, backend=backend, dtype=dtype, device=device, device_map=device_map, quantization=quantization
    )
    with collecting_later(), silence_loading():
        import transformer_lens  # noqa: F401  # its import warns on its own

        from xtl.models.build import from_hf, n_rows
        from xtl.models.memory import check_memory, need_of
        from xtl.models.read import read_config, read_hf
        from xtl.models.tokenizer import check_tokenizer

        config = read_config(label, location, trust_remote_code, torch_dtype)
        if device_map is None:
            need = need_of(config, trust_remote_code)
            hooked = backend != "bridge" and not placed
            check_memory(label, need, torch_dtype.itemsize, place, quantization=quantization, hooked=hooked)
        hf_model, own_tokenizer = read_hf(
            label,
            location,
            dtype=torch_dtype,
            trust_remote_code=trust_remote_code,
            tokenizer=tokenizer,
            **options,
        )
        check_tokenizer(label, own_tokenizer, n_rows(hf_model), own=tokenizer is None)
        if not options:
            hf_model = hf_model.to(place)
        reason = f"{placed[0]} needs it" if placed else ""
        return from_hf(hf_model, own_tokenizer, label, "bridge" if placed else backend, reason)


def check_asked(
    name: str | os.PathLike[str] | None = None,
    *,
    backend: str = "auto",
    dtype: Any = None,
    device: str | None = None,
    device_map: Any = None,
    quantization: str | None = None,
) -> tuple[str, Location, Any, tuple[list[str], str, dict[str, Any]]]:
    """Check what is asked of `load_model`, before anything is read. Arguments and errors as there.

    Returns:
        The model's name for people and where it is (see `resolve_name`), the torch dtype, and what `check_placement` returns.
    """
    check_choice("backend", backend, BACKENDS)
    label, location = resolve_name(name)
    placement = check_placement(backend, device, device_map, quantization)
    return label, location, _check_dtype(dtype or "float32"), placement


def check_placement(
    backend: str, device: str | None, device_map: Any, quantization: str | None
) -> tuple[list[str], str, dict[str, Any]]:
    """Where a model goes on this machine, checked before anything is read. Arguments and errors as for `load_model`.

    Returns:
        Which of `device_map` and `quantization` are given; the device; the options of `from_pretrained` that say so.
    """
    placed = [key for key, value in (("device_map", device_map), ("quantization", quantization)) if value is not None]
    if placed and backend == "hooked":
        raise InputError(f"{placed[0]} needs backend='bridge': a HookedTransformer has its own weights on one device")
    if device_map is not None and device is not None:
        raise InputError("give device or device_map, not both")
    if device_map is not None and not isinstance(device_map, Mapping):
        check_choice("device_map", str(device_map).partition(":")[0], DEVICE_MAPS)
    place = _check_device(device)
    return placed, place, _placement(place, device_map, _check_quantization(quantization))


def _placement(place: str, device_map: Any, quantization_config: Any) -> dict[str, Any]:
    """What `from_pretrained` takes for where the weights go; nothing where they are moved afterwards."""
    if device_map is None and quantization_config is None:
        # Straight to the accelerator: the weights of a large model need not fit into the machine's own memory too.
        return {"device_map": {"": place}} if place.startswith("cuda") else {}
    options = {"device_map": device_map if device_map is not None else {"": place}}
    return options | ({"quantization_config": quantization_config} if quantization_config is not None else {})


def _check_quantization(quantization: str | None) -> Any:
    """The quantisation's Transformers configuration."""
    if quantization is None:
        return None
    check_choice("quantization", quantization, QUANTIZATIONS)
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(f"quantization={quantization!r} needs the package bitsandbytes: pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_8bit=quantization == "8bit", load_in_4bit=quantization == "4bit")


def _check_dtype(dtype: Any) -> Any:
    import torch

    if isinstance(dtype, torch.dtype):
        dtype = str(dtype).removeprefix("torch.")
    return getattr(torch, check_choice("dtype", dtype, DTYPES))


def _check_device(device: str | None) -> str:
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InputError(f"unknown device {device!r}; valid: cpu, cuda, cuda:0, mps, ...") from error
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(kind, kind == "cpu"):
        raise InputError(f"device {device!r} is not available on this machine; use 'cpu'")
    return str(device)
