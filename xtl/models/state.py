"""The states in which a model can be handed to xtl, beside the one in which `load_model` gives it.

Users switch things on, before `load_model` or after it. What would change what a transplant means is refused, in one line that
says how to undo it. What changes no number is taken (the flags `use_attn_result`, `use_split_qkv_input`, `use_attn_in`,
`use_hook_mlp_in`, `ungroup_grouped_query_attention`; compatibility mode without processing), and what xtl had found out about
the model is found out anew. Every function that takes a model calls `check_model`.
"""

from __future__ import annotations

from typing import Any

import torch

from xtl.backend import Model, is_bridge
from xtl.errors import InputError
from xtl.models.tokenizer import check_model_tokenizer

UNDO = "load it with xtl.load_model"
FLAGS = (
    "use_attn_result",
    "use_split_qkv_input",
    "use_attn_in",
    "use_hook_mlp_in",
    "ungroup_grouped_query_attention",
    "dtype",
)
REMEMBERED = ("xtl_packable", "xtl_batchable", "xtl_hook_names", "xtl_slow_said")
"""What xtl keeps on a model that holds in one state of it alone."""


def check_model(model: Model) -> None:
    """Raise `InputError` for anything but an unprocessed HookedTransformer or TransformerBridge in a state that can be worked on.

    Every function that takes a model begins with this: users change models, also after they were loaded (their
    tokenizers too, see `xtl.models.tokenizer`). It takes a millisecond.
    """
    check_state(model, is_bridge(model))
    check_model_tokenizer(model)


def check_state(model: Any, bridge: bool) -> None:
    """Raise `InputError` for a model in a state that would change what transplants on it mean.

    Args:
        model: HookedTransformer or TransformerBridge.
        bridge: which of them.
    """
    _check_unprocessed(model, bridge)
    if bridge and model.original_model.training:
        raise InputError(
            "model is in training mode, in which dropout makes its answers random; call model.eval() first"
        )
    left = _hooks_left(model)
    if left:
        raise InputError(
            f"model has a hook of its own at {left}, which would change some of the passes; take it off with "
            "model.reset_hooks(including_permanent=True), and put it back afterwards"
        )
    state = tuple(str(getattr(model.cfg, flag, None)) for flag in FLAGS)
    state += (str(getattr(model, "compatibility_mode", False)),)
    if vars(model).get("xtl_state", state) != state:
        for name in REMEMBERED:
            vars(model).pop(name, None)
    model.xtl_state = state


def _check_unprocessed(model: Any, bridge: bool) -> None:
    """Folding keeps the logits but changes what `hook_attn_out` and `hook_mlp_out` hold; so does centring."""
    if bridge:
        if getattr(model, "_weights_processed", False):
            raise InputError(
                "model has its weights processed (compatibility mode: LayerNorm folded in, writing weights centred), which "
                f"changes what is transplanted; {UNDO}, or boot it anew without enable_compatibility_mode and process_weights"
            )
        return
    other = f"{UNDO} or HookedTransformer.from_pretrained_no_processing"
    if str(model.cfg.normalization_type).endswith("Pre"):
        raise InputError(f"model has its LayerNorm weights folded in, which changes what is transplanted; {other}")
    if _is_centred(model):
        raise InputError(f"model has its writing weights centred, which changes what is transplanted; {other}")


@torch.no_grad()
def _is_centred(model: Any) -> bool:
    """Whether what each block writes has a mean of 0: no field says so. A model that isn't is told by its first block."""
    for block in model.blocks:
        weight = block.attn.W_O.float()
        if not weight.mean(-1).abs().max() < 1e-5 * weight.abs().mean():
            return False
    return True


def _hooks_left(model: Any) -> str:
    """Name of a hook point with a hook on it; empty where there is none."""
    return next((str(part.name) for part in model.modules() if getattr(part, "fwd_hooks", None)), "")
