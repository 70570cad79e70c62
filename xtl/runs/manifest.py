"""What a run was made with: versions, models (`xtl.runs.model_record`), tasks and the hash of their data, seed, machine."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from typing import Any

from xtl.errors import as_whole
from xtl.packages import versions
from xtl.runs.jobs import Jobs
from xtl.runs.study import Study

PACKAGES = ("xtl", "torch", "transformers", "transformer-lens")
"""Packages whose versions a run must not mix."""
ALSO = ("babel", "datasets", "numpy", "pyarrow", "tokenizers")
"""Packages whose versions are written down."""


def make_manifest(jobs: Jobs) -> dict[str, Any]:
    """The manifest of a new run; its models are filled in as they are loaded."""
    return {
        "study": jobs.study.to_dict(),
        "pairs": len(jobs),
        "data": [group.described("agreement" in jobs.study.details) for group in jobs.groups],
        "seeds": {"order of instances and options": jobs.study.seed},
        "versions": versions(PACKAGES),
        "models": {},
        "sessions": [],
    }


def new_session(n_done: int) -> dict[str, Any]:
    """A line on this process, for people: when, where, with what."""
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "pairs_done_before": n_done,
        "machine": machine(),
        "versions": versions((*PACKAGES, *ALSO)),
    }


def machine() -> dict[str, Any]:
    """What this machine is."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def flaw_of(manifest: Any) -> str | None:
    """What a manifest lacks, or what in it contradicts the rest; None for a whole one.

    >>> flaw_of({"format": 1, "study": {}, "pairs": 4})
    "'data' is missing"
    """
    kinds = {
        "format": int,
        "study": dict,
        "pairs": int,
        "data": list,
        "versions": dict,
        "models": dict,
        "sessions": list,
    }
    if not isinstance(manifest, dict):
        return "it holds no keys and values"
    for key, kind in kinds.items():
        if key not in manifest:
            return f"{key!r} is missing"
        if not isinstance(manifest[key], kind) or isinstance(manifest[key], bool):
            return f"{key!r} is {manifest[key]!r}"[:100]
    try:
        models = [model["name"] for model in manifest["study"]["models"]]
        asked = {(task["name"], direction) for task in manifest["study"]["tasks"] for direction in task["directions"]}
        data = [(one["task"], one["direction"], one["n"], one["sha256"]) for one in manifest["data"]]
        total = len(models) * sum(n for _, _, n, _ in data)
        texts = [*models, *(text for task, direction, _, digest in data for text in (task, direction, digest))]
        if strange := [text for text in texts if not isinstance(text, str)]:
            return f"it holds {strange[0]!r} in the place of a text"
        most = manifest["study"].get("max_new_tokens")
        if (as_whole(most) or 0) < 1 and (
            most is not None or manifest["study"].get("score", "likelihood") != "likelihood"
        ):
            return f"'max_new_tokens' of 'study' is {most!r}"
    except (KeyError, TypeError) as error:
        return f"in 'study' or 'data' {error} is missing or of another kind"
    if strange := [f"{task} {direction}" for task, direction, _, _ in data if (task, direction) not in asked]:
        return f"'data' holds {strange[0]}, which 'study' does not ask for"
    if total != manifest["pairs"]:
        return f"'pairs' is {manifest['pairs']}, and 'data' makes {total}"
    if any(not isinstance(record, dict) for record in manifest["models"].values()):
        return "'models' holds other things than models"
    return None


def check_same(known: dict[str, Any], now: dict[str, Any], allow_versions: bool) -> list[str]:
    """What has changed since the run was begun, in words; nothing where it may go on."""
    changes = list(_differences(_filled_in(known["study"]), now["study"]))
    if not changes:
        before = {(one["task"], one["direction"]): one["sha256"] for one in known["data"]}
        after = {(one["task"], one["direction"]): one["sha256"] for one in now["data"]}
        changes += [f"data of {' '.join(key)}" for key in before if before[key] != after.get(key)]
        if not changes and known["pairs"] != now["pairs"]:
            changes.append(f"pairs {known['pairs']} -> {now['pairs']}")
    if not allow_versions:
        for name, old in known["versions"].items():
            if (new := now["versions"].get(name)) != old:
                changes.append(f"version of {name} {old} -> {new} (--allow-versions goes on all the same)")
    return changes


def model_labels(study: Study) -> list[str]:
    """Name of each model in the tables: what the user calls it, with backend and precision where the name is not enough.

    >>> model_labels(Study(tasks=["capitals"], models=[{"name": "gpt2"}, {"name": "gpt2", "dtype": "bfloat16"}]))
    ['gpt2 (auto, float32)', 'gpt2 (auto, bfloat16)']
    """
    names = [model.name for model in study.models]
    labels = []
    for model in study.models:
        details = [model.backend, model.dtype, *([model.quantization] if model.quantization else [])]
        labels.append(model.name if names.count(model.name) == 1 else f"{model.name} ({', '.join(details)})")
    return labels


def _filled_in(study: dict[str, Any]) -> dict[str, Any]:
    """A study that an earlier version wrote, with the keys that have come since at what was the only choice then."""
    try:
        return Study.model_validate(study).to_dict()
    except ValueError:
        return study


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            change
            for key in {**old, **new}
            for change in _differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        ]
    if (
        isinstance(old, list)
        and isinstance(new, list)
        and len(old) == len(new)
        and any(isinstance(o, dict) for o in old)
    ):
        return [
            change
            for index, pair in enumerate(zip(old, new, strict=True))
            for change in _differences(*pair, f"{where}[{index}]")
        ]
    return [] if old == new else [f"{where} {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
