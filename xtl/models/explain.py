"""What can't be loaded, explained in one line."""

from __future__ import annotations

from pathlib import Path

from xtl.errors import one_line

REMOTE_CODE = (
    "needs Python code from its own repository, which could do anything on this machine; read that code, then allow it with "
    "trust_remote_code=True"
)
UNREACHABLE = {"ConnectionError", "ConnectError", "LocalEntryNotFoundError", "OfflineModeIsEnabled"}


def explain(label: str, location: Path | str | None, error: Exception) -> str:
    """One line for a model that can't be loaded."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 10:
        chain.append(current)
        current = current.__cause__ or current.__context__
    kinds = {type(link).__name__ for link in chain}
    text = one_line(error)
    if any("trust_remote_code" in str(link) for link in chain):
        return f"{label!r} {REMOTE_CODE}"
    if isinstance(location, Path):
        if location.suffix == ".gguf":
            return f"the GGUF file {str(location)!r} cannot be loaded: {text.rstrip('.')}; take the model's safetensors instead"
        return f"the model in {str(location)!r} cannot be loaded: {text}"
    if "GatedRepoError" in kinds or "gated repo" in text:
        return f"{label!r} is gated: accept its terms on huggingface.co/{location}, then run `hf auth login` or set HF_TOKEN"
    if "RepositoryNotFoundError" in kinds:
        return f"there is no model {location!r} on the Hugging Face hub (or it is private: set HF_TOKEN)"
    if "safetensors" in text and not kinds & UNREACHABLE:
        return (
            f"{label!r} is published as pickle files alone, which xtl does not read; load it with Transformers, if you trust it, "
            "and give load_model that model and its tokenizer"
        )
    if isinstance(error, OSError) or kinds & UNREACHABLE:
        return (
            f"{location!r} is not in the local cache and the Hugging Face hub cannot be reached; where there is a network, run "
            f"`hf download {location}` and copy the folder, or use the embedded model (no name)"
        )
    return f"{label!r} cannot be loaded: {text}"
