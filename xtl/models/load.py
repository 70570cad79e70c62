"""`load_model`: by name or path, unprocessed, with its contract checked.

The Hugging Face model is loaded first, always. Its logits on a short prompt are the reference; then it becomes a
`HookedTransformer` (its weights converted by TransformerLens) or a `TransformerBridge` (wrapped as it is), which must give
the same ones.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xtl.errors import InputError, ModelError, check_choice
from xtl.models.embedded import EMBEDDED, embedded_folder, load_embedded_tokenizer

BACKENDS = ("hooked", "bridge")
DTYPES = ("float32", "bfloat16", "float16", "float64")
UNREADABLE = ("NeelNanda/", "ArthurConmy/", "Baidicoot/")
"""Owners on TransformerLens's list whose models exist as pickle files alone, which xtl never reads."""


def load_model(
    name: str | os.PathLike[str] | None = None,
    *,
    backend: str = "hooked",
    dtype: Any = "float32",
    device: str | None = None,
) -> Any:
    """Load a model, unprocessed, and check the contract that transplants rest on (`xtl.models.contract`).

    Args:
        name: nothing or "gemma-3-270m" for the embedded model; a name that TransformerLens knows ("gpt2", "pythia-70m"); a
            Hugging Face id ("org/model"); a local folder with `config.json` and safetensors.
        backend: "hooked" for a HookedTransformer, "bridge" for a TransformerBridge, which wraps architectures that
            HookedTransformer lacks.
        dtype: "float32" (default), "bfloat16", "float16" or "float64"; or the torch dtype.
        device: "cpu", "cuda", "cuda:1", ...; CUDA where there is one by default.

    Returns:
        A HookedTransformer or TransformerBridge with its tokenizer as it is (its own rule on BOS) and gradients off.
        `model.xtl_info` holds its name, its end-of-sequence tokens and the contract's deviations.

    Raises:
        InputError: an unknown name, backend, dtype or device.
        ModelError: the model can't be had: no network, no such folder, damaged files, no conversion for its architecture.
        ContractError: the loaded model breaks the contract.

    Example:
        >>> import xtl
        >>> model = xtl.load_model()  # doctest: +SKIP
        >>> model.cfg.n_layers  # doctest: +SKIP
        18
    """
    check_choice("backend", backend, BACKENDS)
    label, location = resolve_name(name)

    import torch

    torch_dtype = _check_dtype(dtype)
    place = _check_device(device)
    with _quiet():
        import transformer_lens  # noqa: F401  # its import warns on its own

        hf_model, tokenizer = _load_hf(label, location, torch_dtype)
        hf_model = hf_model.to(place).eval().requires_grad_(False)
        tokens = _check_tokens(tokenizer, hf_model.config.vocab_size)
        with torch.no_grad():
            reference = hf_model(torch.tensor([tokens], device=place)).logits[0].clone()
        ends = _eos_token_ids(hf_model, tokenizer)
        if backend == "bridge":
            model = _bridge_from_hf(hf_model, tokenizer, label)
        else:
            from xtl.models.hooked import hooked_from_hf

            model = hooked_from_hf(hf_model, tokenizer, label, place, torch_dtype)

        from xtl.backend import ModelInfo
        from xtl.models.contract import check_contract

        contract = check_contract(model, tokens, reference)
    model.requires_grad_(False)
    model.xtl_info = ModelInfo(name=label, eos_token_ids=ends, contract=contract)
    return model


def resolve_name(name: str | os.PathLike[str] | None) -> tuple[str, Path | str | None]:
    """What a name means: `(name for people, folder or hub id)`; None stands for the embedded model.

    Raises:
        InputError: no such folder, or a name that nobody knows (the nearest ones are given).
        ModelError: a model that exists as pickle files alone.
    """
    if name is None or str(name) == EMBEDDED:
        return EMBEDDED, None
    text = os.fspath(name)
    if not text.strip():
        raise InputError("model name is empty; see `xtl models` for names")
    folder = Path(text).expanduser()
    if (folder / "config.json").is_file():
        return text, folder
    if folder.is_dir():
        raise InputError(f"model folder {text!r} has no config.json: give a Hugging Face model folder")
    if not isinstance(name, str) or text.startswith(("/", "./", "../", "~", ".\\")) or text.count("/") > 1:
        raise InputError(f"no model folder {text!r}")
    official = known_names().get(text.lower(), text if "/" in text else None)
    if official is None:
        check_choice("model", text, [EMBEDDED, *known_names()])
    assert official is not None
    if official.startswith(UNREADABLE):
        raise ModelError(f"{official!r} is published as pickle files alone, which xtl does not read")
    return text, official


def known_names() -> dict[str, str]:
    """TransformerLens's names and aliases, in lower case, with the Hugging Face id of each."""
    with _quiet():
        import transformer_lens.loading_from_pretrained as loading
    return dict(loading.make_model_alias_map())


def _load_hf(label: str, location: Path | str | None, dtype: Any) -> tuple[Any, Any]:
    """The Hugging Face model, attention in plain matrix products (eager) so that every hook point exists, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"dtype": dtype, "attn_implementation": "eager", "use_safetensors": True, "trust_remote_code": False}
    if location is None:
        folder = embedded_folder()
        return AutoModelForCausalLM.from_pretrained(folder, **options), load_embedded_tokenizer(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(location, **options)
    except Exception as error:
        raise ModelError(_explain(label, location, error)) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
    except Exception as error:
        if isinstance(location, Path) and not list(location.glob("*token*")):
            return model, None  # a folder without tokenizer: prompts are token ids
        raise ModelError(f"the tokenizer of {label!r} cannot be read: {_one_line(error)}") from error
    return model, tokenizer


def _bridge_from_hf(hf_model: Any, tokenizer: Any, name: str) -> Any:
    """A TransformerBridge around the loaded model, which is wrapped in place."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    architecture = (hf_model.config.architectures or [type(hf_model).__name__])[0]
    try:
        # Without the tokenizer: the bridge would replace it by one that always adds BOS.
        bridge = build_bridge_from_module(hf_model, architecture, hf_config=hf_model.config, model_name=name)
    except (NotImplementedError, ValueError, AttributeError, KeyError) as error:
        raise ModelError(f"TransformerLens has no bridge for {name!r} ({architecture}): {_one_line(error)}") from error
    if tokenizer is not None:
        from transformer_lens.model_bridge.sources import detect_tokenizer_bos_eos

        bridge.tokenizer = tokenizer
        adds_bos, adds_eos = detect_tokenizer_bos_eos(tokenizer)
        bridge.cfg.tokenizer_prepends_bos = bridge.cfg.default_prepend_bos = adds_bos
        bridge.cfg.tokenizer_appends_eos = adds_eos
    return bridge


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


def _check_tokens(tokenizer: Any, vocab_size: int) -> list[int]:
    """A short prompt to check the contract on."""
    from xtl.models.contract import CHECK_TEXT

    ids = tokenizer(CHECK_TEXT)["input_ids"][:32] if tokenizer is not None else []
    return ids if len(ids) > 1 else [index % vocab_size for index in range(3, 15)]


def _eos_token_ids(hf_model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every token that ends a generation, as the model's generation configuration says; else the tokenizer's."""
    generation = getattr(hf_model, "generation_config", None)
    for value in (getattr(generation, "eos_token_id", None), getattr(tokenizer, "eos_token_id", None)):
        if value is not None:
            return tuple(value) if isinstance(value, (list, tuple)) else (int(value),)
    return ()


def _explain(label: str, location: Path | str, error: Exception) -> str:
    """One line for a model that can't be loaded."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 10:
        chain.append(current)
        current = current.__cause__ or current.__context__
    kinds = {type(link).__name__ for link in chain}
    if isinstance(location, Path):
        return f"the model in {str(location)!r} cannot be loaded: {_one_line(error)}"
    if "GatedRepoError" in kinds:
        return f"{label!r} is gated: accept its terms on huggingface.co and set HF_TOKEN"
    if "RepositoryNotFoundError" in kinds:
        return f"there is no model {location!r} on the Hugging Face hub (or it is private: set HF_TOKEN)"
    if isinstance(error, OSError) or kinds & {
        "ConnectionError",
        "ConnectError",
        "LocalEntryNotFoundError",
        "OfflineModeIsEnabled",
    }:
        return (
            f"{location!r} is not in the local cache and the Hugging Face hub cannot be reached; where there is a network, run "
            f"`hf download {location}` and copy the folder, or use the embedded model (no name)"
        )
    return f"{label!r} cannot be loaded: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of Transformers and no deprecation warnings of TransformerLens (we use HookedTransformer knowingly)."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()
