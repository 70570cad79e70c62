"""The contract of a loaded model, checked at load.

A transplant means what the paper says only if, in the loaded model, a module's output is exactly what the block adds to the
residual stream, and the model computes what the original one does:

- `resid_pre + attn_out == resid_mid` and `resid_mid + mlp_out == resid_post` in every block; in parallel blocks, which have
  no `resid_mid`, `resid_pre + attn_out + mlp_out == resid_post`;
- what is *written* there arrives: with other values at the last position of every `attn_out` and `mlp_out` the same sums hold,
  and the next block reads what was written at `resid_post`. A hook point that shows a value and ignores a write would pass the
  first check alone;
- the unpatched logits equal the Hugging Face model's;
- so they do over a KV cache, a token alone, as answers are generated, and two at once; a bridge that fails
  this alone is run without a cache (`xtl.models.caching`).

Weight processing (LayerNorm folding, centring) breaks the first in meaning and is never done here. What `attn_out` and `mlp_out`
are, family by family (norms after a sublayer, parallel blocks, experts, biases, scaled residuals), is in `docs/models.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward
from xtl.errors import ContractError
from xtl.hooks import Hooks
from xtl.models.caching import CACHED, N_STEPS, try_cache
from xtl.models.precision import contract_tolerance

CHECK_TEXT = "The capital of France is Paris. La capital de España es Madrid. 日本の首都は東京です。"
"""Run at load to check the contract: several scripts, so several kinds of tokens."""

SITES = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")
"""Hook points of a block's residual stream, in their order."""

WRITES = ("hook_attn_out", "hook_mlp_out", "hook_resid_post")
"""Those that transplants write."""

WRITTEN = "a written attn_out or mlp_out is what the block adds"
WRITTEN_RESID = "a written resid_post is what the next block reads"


@dataclass(frozen=True)
class Deviation:
    """How far a check is from equality: max |difference| / max |value|, and where that is."""

    check: str
    relative: float
    where: str


def check_tokens(tokenizer: Any, vocab_size: int) -> list[int]:
    """A short prompt to check the contract on."""
    ids = tokenizer(CHECK_TEXT)["input_ids"][:32] if tokenizer is not None else []
    fits = len(ids) > N_STEPS and max(ids) < vocab_size
    return ids if fits else [index % vocab_size for index in range(3, 15)]


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
    layers = range(model.cfg.n_layers)
    logits, store = _pass(model, tokens, write=False)
    deviations = [d for layer in layers for d in _block_deviations(store, layer)]
    if reference_logits is not None:
        deviations.append(_deviation("logits equal Hugging Face's", logits, reference_logits, "last layer"))
    _, store = _pass(model, tokens, write=True)
    for layer in layers:
        deviations += [replace(d, check=WRITTEN) for d in _block_deviations(store, layer)]
        if layer:
            before, after = store[f"blocks.{layer - 1}.{SITES[-1]} written"], store[f"blocks.{layer}.{SITES[0]}"]
            deviations.append(_deviation(WRITTEN_RESID, after, before, f"block {layer}"))
    allowed = contract_tolerance(model)
    worst: dict[str, float] = {}
    for d in deviations:
        if not d.relative <= allowed:  # also catches NaN
            raise ContractError(
                f"the model's contract does not hold: {d.check} is off by {d.relative:.1e} (relative; {d.where}; "
                f"at most {allowed:.0e}). Transplants on this model would not mean what they should"
            )
        worst[d.check] = max(worst.get(d.check, 0.0), d.relative)
    worst[CACHED] = try_cache(model, tokens, logits if reference_logits is None else reference_logits)
    return worst


def _pass(model: Model, tokens: list[int], write: bool) -> tuple[Float[Tensor, "pos d_vocab"], dict[str, Tensor]]:
    """Logits and the activation at every hook point of the residual stream, in one forward pass.

    With `write`, each of `WRITES` gets, at the last position, its own values in reverse order: other values of the same size. The
    store holds what was written, and for the residual stream both what was there and, under "... written", what was written.
    """
    store: dict[str, Tensor] = {}
    known = model.hook_dict  # a bridge makes it anew each time that it is asked

    def at(name: str) -> Hooks:
        site = name.rsplit(".", 1)[-1]

        def keep(activation: Tensor, hook: object) -> Tensor | None:
            store[name] = activation.detach().clone()
            if not (write and site in WRITES):
                return None
            patched = activation.clone()
            patched[:, -1] = activation[:, -1].flip(-1)
            store[f"{name} written" if site == SITES[-1] else name] = patched.detach().clone()
            return patched

        return [(name, keep)] if name in known else []

    names = [f"blocks.{layer}.{site}" for layer in range(model.cfg.n_layers) for site in SITES]
    try:
        logits = forward(model, tokens, hooks=[hook for name in names for hook in at(name)])
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ContractError(f"the model's contract does not hold: its forward pass fails: {reason}") from error
    return logits, store


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
