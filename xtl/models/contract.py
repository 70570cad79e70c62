"""The contract of a loaded model, checked at load.

A transplant means what the paper says only if, in the loaded model, a module's output is exactly what the block adds to the
residual stream, and the model computes what the original one does:

- `resid_pre + attn_out == resid_mid` and `resid_mid + mlp_out == resid_post` in every block; in parallel blocks, which have
  no `resid_mid`, `resid_pre + attn_out + mlp_out == resid_post`;
- the unpatched logits equal the Hugging Face model's.

Weight processing (LayerNorm folding, centring) breaks the first in meaning and is never done here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward
from xtl.errors import ContractError
from xtl.hooks import Hooks

CHECK_TEXT = "The capital of France is Paris. La capital de España es Madrid. 日本の首都は東京です。"
"""Run at load to check the contract: several scripts, so several kinds of tokens."""

TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 2e-2}
"""Largest relative deviation allowed, by precision; the embedded model in float32 is at about 1e-6 (rotary tables are float32
in any precision)."""


@dataclass(frozen=True)
class Deviation:
    """How far a check is from equality: max |difference| / max |value|, and where that is."""

    check: str
    relative: float
    where: str


def check_contract(
    model: Model, tokens: list[int], reference_logits: Float[Tensor, "pos d_vocab"] | None
) -> dict[str, float]:
    """Check the contract on one prompt; return each check's largest relative deviation.

    Args:
        model: HookedTransformer or TransformerBridge.
        tokens: a short prompt.
        reference_logits: of the Hugging Face model on the same tokens; None leaves that check out.

    Raises:
        ContractError: a check fails; the message names the check, the block and the deviation.
    """
    store: dict[str, Tensor] = {}

    def keep(name: str) -> Hooks:
        def read(activation: Tensor, hook: object) -> None:
            store[name] = activation.detach().clone()

        return [(name, read)] if name in model.hook_dict else []

    sites = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")
    names = [f"blocks.{layer}.{site}" for layer in range(model.cfg.n_layers) for site in sites]
    try:
        logits = forward(model, tokens, hooks=[hook for name in names for hook in keep(name)])
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ContractError(f"the model's contract does not hold: its forward pass fails: {reason}") from error

    deviations = [d for layer in range(model.cfg.n_layers) for d in _block_deviations(store, layer)]
    if reference_logits is not None:
        deviations.append(_deviation("logits equal Hugging Face's", logits, reference_logits, "last layer"))
    tolerance = TOLERANCE.get(model.cfg.dtype, 5e-2)
    worst: dict[str, float] = {}
    for d in deviations:
        if not d.relative <= tolerance:  # also catches NaN
            raise ContractError(
                f"the model's contract does not hold: {d.check} is off by {d.relative:.1e} (relative; {d.where}; "
                f"at most {tolerance:.0e}). Transplants on this model would not mean what they should; try the other backend"
            )
        worst[d.check] = max(worst.get(d.check, 0.0), d.relative)
    return worst


def _block_deviations(store: dict[str, Tensor], layer: int) -> list[Deviation]:
    """The residual sums of one block."""

    def at(site: str) -> Tensor:
        name = f"blocks.{layer}.{site}"
        if name not in store:
            raise ContractError(
                f"the model's contract does not hold: {name} never ran; this architecture has no such residual stream"
            )
        return store[name]

    where = f"block {layer}"
    if f"blocks.{layer}.hook_resid_mid" not in store:
        total = at("hook_resid_pre") + at("hook_attn_out") + at("hook_mlp_out")
        return [_deviation("resid_pre + attn_out + mlp_out == resid_post", total, at("hook_resid_post"), where)]
    middle = at("hook_resid_pre") + at("hook_attn_out")
    after = at("hook_resid_mid") + at("hook_mlp_out")
    return [
        _deviation("resid_pre + attn_out == resid_mid", middle, at("hook_resid_mid"), where),
        _deviation("resid_mid + mlp_out == resid_post", after, at("hook_resid_post"), where),
    ]


def _deviation(check: str, got: Tensor, want: Tensor, where: str) -> Deviation:
    if got.shape != want.shape:
        return Deviation(check, float("nan"), f"{where}: shapes {tuple(got.shape)} and {tuple(want.shape)}")
    difference = (got.float() - want.to(got.device).float()).abs().max()
    return Deviation(check, float(difference / want.float().abs().max().clamp_min(1e-12)), where)
