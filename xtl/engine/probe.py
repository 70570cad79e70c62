"""Is an engine exact on a model? Not believed by the model's name, but tried: a map of a few cells against the plain
loop's.

The cells write what another text's modules put out, into attention and feed-forward of a middle layer. Scored are
continuations of several tokens, which share some; and what the cells generate, patched at every step, is compared with
whole passes over the text and the answer: so tokens after the prompt are tried too.
"""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xtl.backend import Model, forward, is_bridge, upcast
from xtl.engine.loop import continuation_logprobs, source_activations, write_hooks
from xtl.engine.plan import Cell, Plan
from xtl.engine.precision import tolerance
from xtl.engine.readout import Readout
from xtl.engine.rows import MakeRows
from xtl.engine.staging import in_joining_order
from xtl.hooks import MODULES, capture

SHORT = 3
"""Tokens before the last one of the text that every engine is tried on."""

AFTER = 3
"""Tokens that are generated after it."""


def why_not_exact(model: Model, make: MakeRows, n_prefix: int, takes: str, differs: str) -> str:
    """What is wrong with an engine's map of a text of `n_prefix` tokens and one more; empty if nothing is.

    Args:
        model: HookedTransformer or TransformerBridge.
        make: makes the engine's rows.
        n_prefix: tokens before the last one of the text.
        takes: what is said where the model can't be run so at all.
        differs: what is said where it can, and its map differs from the loop's.
    """
    plan = _plan(model, n_prefix)
    try:
        deviation = _deviation(model, make, plan)
    except Exception as error:
        return f"{takes} ({type(error).__name__})"
    return "" if deviation <= tolerance(model) else differs


def why_not_readable(model: Model) -> str:
    """Why logits can't be read off the final norm's output (see `Readout`); empty if they can."""
    kept: dict[str, Tensor] = {}
    try:
        want = upcast(
            forward(model, _text(model, SHORT), hooks=[("ln_final.hook_out", capture(kept, "", slice(None)))])
        )
        got = Readout(model).logits(kept[""][0], slice(None))
    except Exception as error:
        return f"its logits can't be read off its final norm ({type(error).__name__})"
    close = got.shape == want.shape and (got - want).abs().max() <= tolerance(model) * want.abs().max()
    return (
        ""
        if bool(close)
        else "its logits are something else than its final norm, unembedding, a factor and a soft cap give"
    )


def _text(model: Model, length: int, seed: int = 0) -> list[int]:
    """Token ids drawn at random."""
    drawn = random.Random(f"{seed} {length}")
    return [drawn.randrange(model.cfg.d_vocab) for _ in range(length)]


def _plan(model: Model, n_prefix: int) -> Plan:
    """A map of a few cells: scores of continuations that share their beginning."""
    middle = model.cfg.n_layers // 2
    modules = tuple(module for module in (MODULES["attn"], MODULES["mlp"]) if module.write_hook(0) in model.hook_dict)
    a, b, *ends = _text(model, 5, seed=1)
    continuations = tuple((a, b, end) for end in ends)
    # Two source layers, so that a bridge has two groups of cells; far into a text, where a pass is dear, one.
    sources = {0, model.cfg.n_layers - 1} if is_bridge(model) and n_prefix <= SHORT else {model.cfg.n_layers - 1}
    plan = Plan(
        _text(model, 4, seed=2), _text(model, n_prefix + 1), modules, tuple(sorted(sources)), (middle,), continuations
    )
    return replace(plan, activations=source_activations(model, plan))


@torch.no_grad()
def _deviation(model: Model, make: MakeRows, plan: Plan) -> float:
    """Largest difference between an engine's map and the loop's, relative to the largest number (at least 1)."""
    cells = [cell for _, cell in in_joining_order(list(enumerate(plan.cells())))]
    activations = source_activations(model, plan)
    sources = torch.stack([activations[cell.module.name, cell.source_layer] for cell in cells])
    answering = replace(plan, continuations=(), max_new_tokens=AFTER, every_step=True)
    scored = make(model, plan).logprobs(cells, sources)
    no_end = torch.zeros(0, dtype=torch.long, device=model.cfg.device)
    # Of one cell alone: each of its tokens costs a look at the whole vocabulary.
    tokens, logits = make(model, answering).generate(cells[-1:], sources[-1:], no_end)
    deviations = [_off_greedy(model, answering, cells[-1], tokens[1], logits[1])]
    for row, cell in enumerate([None, *cells]):
        hooks = [] if cell is None else next(write_hooks(model, plan, [cell]))[1]
        want = continuation_logprobs(model, plan.target_ids, plan.continuations, hooks)
        deviations.append(_off(scored[row], want.to(scored)))
    return max(deviations)


def _off(got: Tensor, want: Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max().clamp_min(1.0))


def _off_greedy(
    model: Model, plan: Plan, cell: Cell, tokens: Int[Tensor, " token"], logits: Float[Tensor, " token"]
) -> float:
    """How far the logits of generated tokens are from a whole pass's, and these from the largest ones there."""
    hooks = next(write_hooks(model, plan, [cell]))[1]
    want = upcast(forward(model, [*plan.target_ids, *tokens[:-1].tolist()], hooks=hooks, keep=len(tokens))).cpu()
    own = want.gather(1, tokens[:, None])[:, 0]
    return max(_off(logits.to(own), own), _off(want.amax(dim=1), own))
