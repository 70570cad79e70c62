"""What `xtl models` shows: the models that are known by name, which of them are here, and what each needs in memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xtl.commands import library
from xtl.models.converted import cache_folder
from xtl.models.embedded import EMBEDDED
from xtl.models.memory import human, need_by_name, need_of
from xtl.models.names import PAPER, UNREADABLE, known_names
from xtl.models.silence import silence_loading

NO_DECODERS = ("bert", "t5", "wav2vec2")
"""Parts of names on TransformerLens's list that are no decoders."""


@dataclass(frozen=True)
class Listed:
    """A model by name.

    Attributes:
        name: what to give to `load_model`.
        hf_id: its Hugging Face id; empty for the embedded model.
        n_parameters: counted from its configuration if it is here, else as its name tells; None if neither does.
        exact: whether they were counted.
        cached: whether its weights are on this machine.
    """

    name: str
    hf_id: str
    n_parameters: int | None
    exact: bool
    cached: bool

    def gigabytes(self, itemsize: int) -> str:
        """Memory for the weights at `itemsize` bytes a parameter: "29.0 GB", "~28.0 GB" or "?"."""
        if self.n_parameters is None:
            return "?"
        return ("" if self.exact else "~") + human(itemsize * self.n_parameters)


def list_models() -> list[Listed]:
    """The embedded model, the paper's, what the Hugging Face cache holds, and what TransformerLens knows; each once."""
    here = cached_models()
    rows = [Listed(EMBEDDED, "", 268_098_176, True, (cache_folder() / EMBEDDED).is_dir())]
    rows += [_listed(name, hf_id, here) for name, hf_id in PAPER.items()]
    others = {hf_id for hf_id in known_names().values() if not hf_id.startswith(UNREADABLE)} - set(PAPER.values())
    others = {hf_id for hf_id in others if not any(part in hf_id.lower() for part in NO_DECODERS)}
    cached = sorted(set(here) - set(PAPER.values()))
    return rows + [_listed(hf_id, hf_id, here) for hf_id in [*cached, *sorted(others - set(cached))]]


def cached_models() -> dict[str, Path]:
    """Decoders whose safetensors are in the local Hugging Face cache: id and folder."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, ValueError):
        return {}
    found: dict[str, Path] = {}
    for repository in repositories:
        if repository.repo_type != "model":
            continue
        for revision in sorted(repository.revisions, key=lambda one: one.last_modified):
            names = {file.file_name for file in revision.files}
            if "config.json" in names and any(name.endswith(".safetensors") for name in names):
                found[repository.repo_id] = revision.snapshot_path
    return found


def _listed(name: str, hf_id: str, here: dict[str, Path]) -> Listed:
    if hf_id not in here:
        return Listed(name, hf_id, need_by_name(hf_id), False, False)
    from transformers import AutoConfig

    try:
        with silence_loading():
            need = need_of(AutoConfig.from_pretrained(here[hf_id]))
    except (OSError, ValueError):
        need = None
    if need is None:
        return Listed(name, hf_id, need_by_name(hf_id), False, True)
    return Listed(name, hf_id, need.n_parameters, True, True)


def as_text(rows: list[Listed]) -> str:
    """The list as a table for people."""
    cells = [("name", "float32", "bfloat16", "here")]
    cells += [(row.name, row.gigabytes(4), row.gigabytes(2), "yes" if row.cached else "") for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [f"{n:<{widths[0]}}  {a:>{widths[1]}}  {b:>{widths[2]}}  {h}".rstrip() for n, a, b, h in cells]
    note = (
        f"{EMBEDDED} is the default: the demo extra carries it, it needs no network. Beside these names any Hugging Face id, "
        "model folder or .gguf file works. ~ is what the name says. `xtl models check NAME` loads one and checks its contract."
    )
    return "\n".join([*lines, "", note])


def as_json(rows: list[Listed]) -> dict[str, Any]:
    """The list for programs."""
    return {
        "embedded": EMBEDDED,
        "paper": PAPER,
        "transformer_lens": sorted(set(known_names().values())),
        "models": [asdict(row) for row in rows],
    }


def check(name: Any, **options: Any) -> dict[str, Any]:
    """Load a model (options as for `load_model`) and say what it is and how its contract holds.

    Raises:
        XtlError: as `load_model`.
    """

    model = library.load_model(name, **options)
    info = model.xtl_info
    hooks = model.hook_dict
    engine = library.resolve_engine(model, "auto")
    return {
        "model": info.name,
        "class": type(model.original_model).__name__
        if library.is_bridge(model)
        else str(model.cfg.original_architecture),
        "backend": library.backend_name(model),
        "backend_reason": info.backend_reason,
        "engine": engine,
        "engines_refused": {key: reason for key, one in library.ENGINES.items() if (reason := one.why_not(model))},
        "modules": [m.name for m in library.MODULES.values() if {m.read_hook(0), m.write_hook(0)} <= set(hooks)],
        "n_layers": model.cfg.n_layers,
        "d_model": model.cfg.d_model,
        "context": model.cfg.n_ctx,
        "dtype": str(model.cfg.dtype).removeprefix("torch."),
        "device": str(model.cfg.device),
        "tolerance": library.contract_tolerance(model),
        "contract": info.contract,
    }


def check_as_text(report: dict[str, Any]) -> str:
    """What `check` found, for people."""
    lines = [f"{key:<10} {report[key]}" for key in ("model", "class", "backend")]
    lines[-1] += f"  ({report['backend_reason']})"
    refused = "; ".join(f"not {name}: {reason}" for name, reason in report["engines_refused"].items())
    lines.append(f"{'engine':<10} {report['engine']}" + (f"  ({refused})" if refused else ""))
    lines.append(f"{'modules':<10} {', '.join(report['modules'])}")
    lines.append(
        f"{'size':<10} {report['n_layers']} layers x {report['d_model']}, context {report['context']}, {report['dtype']} on "
        f"{report['device']}"
    )
    width = max(map(len, report["contract"]))
    lines.append(f"contract (largest relative deviation; at most {report['tolerance']:.0e} is allowed)")
    for name, deviation in report["contract"].items():
        holds = "holds" if deviation <= report["tolerance"] else "doesn't: the model is run without one"
        lines.append(f"  {name:<{width}}  {deviation:.1e}  {holds}")
    return "\n".join(lines)
