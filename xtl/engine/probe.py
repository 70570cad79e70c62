"""Is an engine exact on a model? Not believed by the model's name, but tried: a map of a few cells against the plain
loop's.

The cells write what another text's modules put out, into attention and feed-forward of a middle layer and at every token after
it. What one of them generates is the beginning of the continuations that all are scored by, and whole passes over the text and
these tokens tell what is right: so tokens after the prompt are tried too.
"""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from torch import Tensor

from xtl.backend import Model, forward, is_bridge, upcast
from xtl.engine.loop import source_activations, write_hooks
from xtl.engine.plan import Plan
from xtl.engine.readout import Readout
from xtl.engine.rows import MakeRows
from xtl.engine.staging import in_branch_order
from xtl.engine.written import Written
from xtl.hooks import MODULES, Module, capture
from xtl.models.precision import engine_tolerance

SHORT = 3
"""Tokens before the last one of the text that every engine is tried on."""

AFTER = 3
"""Tokens that are generated after it."""


def why_not_exact(
    model: Model, make: MakeRows, n_prefix: int, takes: str, differs: str, modules: tuple[Module, ...] = ()
) -> str:
    """What is wrong with an engine's map of a text of `n_prefix` tokens and one more; empty if nothing is.

    Args:
        model: HookedTransformer or TransformerBridge.
        make: makes the engine's rows.
        n_prefix: tokens before the last one of the text.
        takes: what is said where the model can't be run so at all.
        differs: what is said where it can, and its map differs from the loop's.
        modules: what the cells write; attention and feed-forward by default.
    """
    try:
        deviations = _deviations(model, make, _plan(model, n_prefix, modules))
    except Exception as error:
        return f"{takes} ({type(error).__name__})"
    return "" if all(off <= engine_tolerance(model) for off in deviations) else differs  # NaN is not exact


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
    close = got.shape == want.shape and (got - want).abs().max() <= engine_tolerance(model) * want.abs().max()
    return (
        ""
        if bool(close)
        else "its logits are something else than its final norm, unembedding, a factor and a soft cap give"
    )


def _text(model: Model, length: int, seed: int = 0) -> list[int]:
    """Token ids drawn at random."""
    drawn = random.Random(f"{seed} {length}")
    return [drawn.randrange(model.cfg.d_vocab) for _ in range(length)]


def _plan(model: Model, n_prefix: int, own: tuple[Module, ...] = ()) -> Plan:
    """A map of a few cells, patched at every step."""
    usual = (MODULES["attn"], MODULES["mlp"])
    known = model.hook_dict
    modules = own or tuple(module for module in usual if module.write_hook(0) in known)
    # Two source layers, so that a bridge has two groups of cells; far into a text, where a pass is dear, one.
    first = {0} if is_bridge(model) and n_prefix <= SHORT else set()
    middle = model.cfg.n_layers // 2
    plan = Plan(
        source_ids=_text(model, 4, seed=2),
        target_ids=_text(model, n_prefix + 1),
        modules=modules,
        source_layers=tuple(sorted(first | {model.cfg.n_layers - 1})),
        target_layers=tuple(sorted({0, middle})) if own else (middle,),
        axes=(("source_head", (-1,)), ("target_head", (0,))) if own and own[0].heads else (),
        max_new_tokens=AFTER,
        every_step=True,
    )
    return replace(plan, activations=source_activations(model, plan))


@torch.no_grad()
def _deviations(model: Model, make: MakeRows, plan: Plan) -> list[float]:
    """Differences between an engine's map and the loop's, relative to the largest number (at least 1).

    The cells that are scored go on with what the last of them generates, so that one pass of the loop tells of both.
    """
    cells = [cell for _, cell in in_branch_order(list(enumerate(plan.cells())))]
    written = Written.of(cells, source_activations(model, plan))
    no_end = torch.zeros(0, dtype=torch.long, device=model.cfg.device)
    # Of one cell alone: each of its tokens costs a look at the whole vocabulary.
    tokens, logits, _ = make(model, plan).generate(cells[-1:], written[-1:], no_end)
    *path, last = tokens[1].tolist()
    ends = (last, *_text(model, 2, seed=1))
    scored = make(model, replace(plan, continuations=tuple((*path, end) for end in ends))).logprobs(cells, written)
    found = []
    # Vanilla; each module, and on a bridge each group of cells; of the user's own module every cell.
    for row in range(1 + len(cells)) if len(plan.target_layers) > 1 else sorted({0, 1, len(cells)}):
        hooks = [] if row == 0 else next(write_hooks(model, plan, [cells[row - 1]]))[1]
        want = upcast(forward(model, [*plan.target_ids, *path], hooks=hooks, keep=AFTER)).cpu()
        logprobs = want.log_softmax(dim=-1)
        shared = sum(logprobs[at, token] for at, token in enumerate(path))
        found.append(_off(scored[row], (shared + logprobs[-1, list(ends)]).to(scored)))
    own = want.gather(1, tokens[1, :, None])[:, 0]
    return [*found, _off(logits[1].to(own), own), _off(want.amax(dim=1), own)]


def _off(got: Tensor, want: Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max().clamp_min(1.0))
