"""Whether a model has a module's hook points, and whether what is read fits where it is written: told before any long work."""

from __future__ import annotations

from torch import Tensor

from xtl.backend import Model, check_hooks_exist, forward_without_logits, is_bridge
from xtl.errors import InputError, check_choice
from xtl.hooks import BUILT_IN, Module, capture
from xtl.models.positions import remembered


def check_module(model: Model, module: Module) -> None:
    """Raise `InputError` where a model lacks a module's hook points, or where what is read does not fit where it is written."""
    if module in BUILT_IN:
        check_hooks_exist(model, module)
        return
    known = remembered(model, "xtl_modules_checked", dict)
    if module not in known:
        names = [name.removeprefix("blocks.0.") for name in model.hook_dict if name.startswith("blocks.0.")]
        check_choice(f"hook point read by module {module.name!r}:", module.read, names)
        check_choice(f"hook point written by module {module.name!r}:", module.write, names)
        known[module] = _misfit(model, module)
    if known[module]:
        raise InputError(f"module {module.name!r} {known[module]}")


def count_heads(model: Model, module: Module) -> int:
    """Heads of a module by head: query heads at `attn.hook_z`, key-value heads at `attn.hook_v`."""
    return unit_shape(model, module)[0]


def unit_shape(model: Model, module: Module) -> tuple[int, ...]:
    """Shape of what a module gives at one position: `[d_model]`, by head `[head, d_head]`."""
    known = remembered(model, "xtl_units", dict)
    if module.read not in known:
        site = module.read_hook(0)
        known[module.read] = tuple(_capture_all(model, [0] * 3, [site])[site].shape[2:])
    return known[module.read]


def _misfit(model: Model, module: Module) -> str:
    """What is wrong with a module on this model; empty if nothing is."""
    if module.write == "hook_resid_mid" and is_bridge(model):
        return (
            "writes 'hook_resid_mid', which on a TransformerBridge is what the feed-forward part reads and no more: the residual "
            "stream goes on without it; load the model with backend='hooked', or write 'ln2.hook_in' if that is what you mean"
        )
    ends = [(module.read, module.read_hook), (module.write, module.write_hook)]
    sites = {hook(layer): name for name, hook in ends for layer in range(model.cfg.n_layers)}
    units: dict[str, list[int]] = {}
    known = model.hook_dict
    for length in (3, 5):
        try:
            found = _capture_all(model, [0] * length, [site for site in sites if site in known])
        except (RuntimeError, IndexError, TypeError) as error:
            return f"can't be read at {module.read!r} and {module.write!r} ({type(error).__name__})"
        for site, name in sites.items():
            if site not in found:
                return f"has a hook point that this model's forward pass does not reach: {name!r} ({site})"
            shape = list(found[site].shape)
            if len(shape) < 3 or shape[:2] != [1, length]:
                return f"is at {name!r}, whose activation {shape} is not [batch, position, ...]"
            if shape[2:] != units.setdefault(name, shape[2:]):
                return f"is at {name!r}, which holds {units[name]} in one layer and {shape[2:]} in another ({site})"
    read, write = units[module.read], units[module.write]
    if module.heads and len(read) != 2:
        return f"goes by head, and {module.read!r} holds {read}, not [head, d_head]"
    return (
        ""
        if read == write
        else f"reads {read} at {module.read!r} and writes {write} at {module.write!r}: the shapes differ"
    )


def _capture_all(model: Model, ids: list[int], sites: list[str]) -> dict[str, Tensor]:
    """Whole activations at hook points, from one forward pass."""
    kept: dict[str, Tensor] = {}
    forward_without_logits(model, ids, hooks=[(site, capture(kept, site, slice(None))) for site in sites])
    return kept
