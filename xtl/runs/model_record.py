"""What identifies a model in a run's manifest, and how a loaded one differs from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xtl.models.identity import identity_changes, model_identity
from xtl.models.info import model_info
from xtl.models.names import resolve_name
from xtl.runs.specs import ModelSpec


def model_record(model: Any, spec: ModelSpec, engine: str) -> dict[str, Any]:
    """What identifies a loaded model: the revision that was asked for, and its identity as it came (`xtl.models.identity`)."""
    return {
        "name": model_info(model).name,
        "revision": revision_of(spec.name),
        **model_identity(model),
        "backend_reason": getattr(model_info(model), "backend_reason", ""),
        "device": str(model.cfg.device),
        "engine": engine,
        "n_layers": model.cfg.n_layers,
        "d_model": model.cfg.d_model,
    }


def revision_of(name: str) -> str | None:
    """Commit of a hub model in the local cache; None for a folder, a file and the embedded model."""
    from huggingface_hub import try_to_load_from_cache

    location = resolve_name(name)[1]
    if not isinstance(location, str):
        return None
    found = try_to_load_from_cache(location, "config.json")
    return Path(found).parent.name if isinstance(found, str) else None


def model_changes(known: dict[str, Any], now: dict[str, Any], other_versions: bool = False) -> list[str]:
    """How a loaded model differs from the one that the run was begun with, in words.

    A run that an earlier version began may lack parts of the identity: they are not compared. With `other_versions` of the
    software, which know other keys of a configuration, those that both know are.
    """
    before = dict(known)
    if _kind_of(known.get("device")) != _kind_of(now.get("device")):
        before.pop("tables_sha256", None)  # sines of another kind of processor differ in their last bits
    changes = identity_changes(before, now, same_keys=other_versions)
    keys = ("revision", "n_layers", "engine")
    return changes + [f"{key} {known.get(key)} -> {now.get(key)}" for key in keys if known.get(key) != now.get(key)]


def _kind_of(device: Any) -> str:
    return str(device).partition(":")[0]
