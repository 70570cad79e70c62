"""One transplant: run it, let the model answer, say what was patched.

The source prompt runs once and its module output at the last position is read. Then the target prompt runs twice, greedily:
once as it is (*vanilla*) and once with that activation written over the same module's output at its last position
(XTransplant, arXiv 2412.12686, section 2). With `steps="first"`, the paper's rule, only the pass over the prompt is
patched: later tokens run unpatched, over keys and values that keep what the patch changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward, forward_without_logits, new_cache
from xtl.errors import (
    InputError,
    ModelError,
    Whole,
    check_choice,
    check_layer,
    check_number,
    check_whole,
    known_keywords,
)
from xtl.hooks import Hooks, Module, capture, get_modules, transplant_at
from xtl.layers import check_heads
from xtl.models.caching import check_cache, why_no_cache
from xtl.models.hook_points import check_module, count_heads
from xtl.models.info import model_info
from xtl.models.positions import alike
from xtl.models.state import check_model
from xtl.pairs import ParallelPair, Prompt, check_prompt
from xtl.tokens import Position, check_fits, decode, encode, find_positions

STEPS = ("first", "every")


@dataclass(frozen=True)
class Patch:
    """What a transplant wrote, and where.

    Attributes:
        module: name of the module.
        source_layer, target_layer: 0-based.
        read_hook: hook point that was read in the source prompt's pass.
        write_hook: hook point that was written in the target prompt's pass.
        source_position, position: what was read of the source and written in the target prompt, from 0.
        source_token, token: the texts of the tokens there (their ids, as text, for a model without tokenizer).
        alpha: how much of the source was written: own + alpha (source - own).
        source_head, target_head: the heads that were read and written; None for a module that does not go by head.
    """

    module: str
    source_layer: int
    target_layer: int
    read_hook: str
    write_hook: str
    source_position: int
    position: int
    source_token: str
    token: str
    alpha: float = 1.0
    source_head: int | None = None
    target_head: int | None = None


@dataclass(frozen=True, eq=False)
class Transplant:
    """What came of one transplant.

    Attributes:
        text: the answer under the transplant, without special tokens.
        tokens: its token ids, with the end-of-sequence token if the model gave one.
        vanilla_text, vanilla_tokens: the same with no transplant.
        logits: of the first new token under the transplant, `[d_vocab]`.
        vanilla_logits: of the first new token with no transplant, `[d_vocab]`.
        patch: what was written, and where.
        steps: "first" or "every".
    """

    text: str
    tokens: list[int]
    vanilla_text: str
    vanilla_tokens: list[int]
    logits: Float[Tensor, " d_vocab"]
    vanilla_logits: Float[Tensor, " d_vocab"]
    patch: Patch
    steps: str

    def __repr__(self) -> str:
        patch = self.patch
        read, write = ("" if head is None else f" head {head}" for head in (patch.source_head, patch.target_head))
        times = "" if patch.alpha == 1 else f"{patch.alpha:g} x "
        return (
            f"Transplant({times}{patch.module} {patch.source_layer}{read} -> {patch.target_layer}{write} "
            f"at position {patch.position} {patch.token!r}: {self.vanilla_text!r} -> {self.text!r})"
        )


@known_keywords()
def transplant(
    model: Model,
    pair: ParallelPair | None = None,
    *,
    source: Prompt | None = None,
    target: Prompt | None = None,
    module: str | Module,
    source_layer: Whole,
    target_layer: Whole,
    max_new_tokens: Whole = 20,
    steps: str = "first",
    alpha: float = 1.0,
    source_head: Whole | None = None,
    target_head: Whole | None = None,
    source_position: Position | None = None,
    target_position: Position | None = None,
) -> Transplant:
    """Run one transplant and the vanilla answer beside it, greedily, with a KV cache.

    Args:
        model: from `xtl.load_model`, or any HookedTransformer or TransformerBridge.
        pair: a `ParallelPair`, instead of `source` and `target`.
        source: prompt whose activation is read; text or token ids.
        target: prompt into which it is written; text or token ids.
        module: "attn", "mlp", "attn_released" or "resid" (see `xtl.hooks.MODULES`), "attn_head" (one head), or an
            `xtl.Module` of your own.
        source_layer: 0-based; a negative one counts from the end.
        target_layer: 0-based; a negative one counts from the end.
        max_new_tokens: most tokens to generate, at least 1.
        steps: "first" patches the pass over the prompt alone; "every" also each later step, at the new token's position.
        alpha: how much of the source is written, own + alpha (source - own): 1 the activation itself, 0 nothing, 0.5 half of
            either; below 0 and above 1 it goes on in the same direction.
        source_head: of the module "attn_head", the head that is read.
        target_head: and the one that is written.
        source_position: which token of the source prompt is read, in place of the last one: an index or `xtl.at_word("Paris")`.
        target_position: which token of the target prompt is written, likewise.

    Returns:
        A `Transplant`: texts, tokens, first-token logits, with and without, and what was patched.

    Raises:
        InputError: an unknown module, a layer out of range, an empty prompt, a prompt over the model's context, ...
        ModelError: the model gives NaN or infinite logits.

    Example:
        >>> import xtl
        >>> model = xtl.load_model()  # doctest: +SKIP
        >>> xtl.transplant(  # doctest: +SKIP
        ...     model,
        ...     source="Country: France. Capital:",
        ...     target="País: Francia. Capital:",
        ...     module="attn", source_layer=12, target_layer=13, max_new_tokens=3,
        ... ).text
    """
    check_model(model)
    source, target = check_source_and_target(pair, source, target)
    spec = get_modules([module])[0]
    check_module(model, spec)
    check_cache(model)
    source_layer = check_layer("source_layer", source_layer, model.cfg.n_layers)
    target_layer = check_layer("target_layer", target_layer, model.cfg.n_layers)
    heads = _check_heads(model, spec, source_head, target_head)
    check_choice("steps", steps, STEPS)
    max_new_tokens = check_whole("max_new_tokens", max_new_tokens, 1)
    alpha = check_number("alpha", alpha)
    source_ids, target_ids = encode(model, source, "source"), encode(model, target, "target")
    check_fits(model, "source", len(source_ids))
    check_fits(model, "target", len(target_ids), max_new_tokens)

    read, position = (
        _one_place(model, name, prompt, ids, asked)
        for name, prompt, ids, asked in (
            ("source_position", source, source_ids, source_position),
            ("target_position", target, target_ids, target_position),
        )
    )
    if steps == "every" and position != len(target_ids) - 1:
        raise InputError("steps='every' writes at the prompt's end and after it: leave it out, or target_position")
    activation = read_activations(model, source_ids, [spec], [source_layer], [read])[spec.name, source_layer]
    activation = activation if heads[0] is None else activation[heads[0]]
    every = steps == "every"
    site = spec.write_hook(target_layer)
    prompt_hooks: Hooks = [(site, transplant_at(activation, position, and_after=every, alpha=alpha, head=heads[1]))]
    step_hooks: Hooks = [(site, transplant_at(activation, alpha=alpha, head=heads[1]))] if every else []

    vanilla = generate(model, target_ids, max_new_tokens)
    answer = generate(model, target_ids, max_new_tokens, prompt_hooks, step_hooks)
    if not (vanilla.finite and answer.finite):
        raise ModelError("the model's logits are NaN or infinite; try dtype='float32'")
    return Transplant(
        text=decode(model, answer.tokens),
        tokens=answer.tokens,
        vanilla_text=decode(model, vanilla.tokens),
        vanilla_tokens=vanilla.tokens,
        logits=answer.first_logits,
        vanilla_logits=vanilla.first_logits,
        patch=Patch(
            module=spec.name,
            source_layer=source_layer,
            target_layer=target_layer,
            read_hook=spec.read_hook(source_layer),
            write_hook=site,
            source_position=read,
            position=position,
            source_token=_token_text(model, source_ids[read]),
            token=_token_text(model, target_ids[position]),
            alpha=alpha,
            source_head=heads[0],
            target_head=heads[1],
        ),
        steps=steps,
    )


def _one_place(model: Model, argument: str, prompt: Prompt, ids: list[int], position: Position | None) -> int:
    """A token's place in a prompt, the last one's for None. Raises `InputError`."""
    found = find_positions(model, argument, prompt, ids, -1 if position is None else position)
    if len(found) > 1:
        raise InputError(
            f"{argument} has {len(found)} tokens; one transplant reads and writes one, xtl.sweep takes several"
        )
    return found[0]


def _check_heads(
    model: Model, module: Module, source: Whole | None, target: Whole | None
) -> tuple[int | None, int | None]:
    """The heads that are read and written; none of a module that does not go by head. Raises `InputError`."""
    given = {"source_head": source, "target_head": target}
    if not module.heads:
        if found := next((name for name, head in given.items() if head is not None), None):
            raise InputError(f"{found} is for a module by head, such as attn_head, not for {module.name}")
        return None, None
    for name, head in given.items():
        if head is None:
            raise InputError(f"module {module.name!r} writes one head: give {name}, from 0")
    n_heads = count_heads(model, module)
    one, other = (check_heads(name, [head], n_heads)[0] for name, head in given.items())
    return one, other


def check_source_and_target(
    pair: ParallelPair | None, source: Prompt | None, target: Prompt | None
) -> tuple[Prompt, Prompt]:
    """The two prompts, from a pair or given loose. Raises `InputError` for both at once or for neither."""
    if pair is not None:
        if not isinstance(pair, ParallelPair):
            raise InputError(
                f"pair must be a ParallelPair, got {type(pair).__name__}; prompts go to source= and target="
            )
        if source is not None or target is not None:
            raise InputError("give a pair, or source and target, not both")
        return pair.source, pair.target  # checked when the pair was made
    if source is None or target is None:
        missing = "source" if source is None else "target"
        raise InputError(f"{missing} is missing: give source and target, or a ParallelPair")
    return check_prompt("source", source), check_prompt("target", target)


def read_activations(
    model: Model,
    source_ids: list[int],
    modules: Sequence[Module],
    layers: Sequence[int],
    positions: Sequence[int] = (),
) -> dict[tuple[str, int], Float[Tensor, "*unit"]]:
    """What each module puts out at the last position of the source prompt, or at others, from one forward pass.

    Returns:
        `{(module name, layer): [d_model]}`, snapshots; of several positions `[position, d_model]`.
    """
    store: dict[tuple[str, int], Tensor] = {}
    last = len(source_ids) - 1
    where = (positions or (last,))[0] if len(positions) < 2 else list(positions)
    hooks = [
        (module.read_hook(layer), capture(store, (module.name, layer), -1 if where == last else where))
        for module in modules
        for layer in layers
    ]
    forward_without_logits(model, source_ids, hooks=hooks)
    return {key: activation[0] for key, activation in store.items()}


class Answer(NamedTuple):
    """A greedy answer: its tokens, the logits `[d_vocab]` of the first one, and whether all steps' logits were numbers."""

    tokens: list[int]
    first_logits: Float[Tensor, " d_vocab"]
    finite: bool


def generate(
    model: Model,
    prompt_ids: list[int],
    max_new_tokens: int,
    prompt_hooks: Hooks | None = None,
    step_hooks: Hooks | None = None,
    told: Callable[[Float[Tensor, " d_vocab"]], None] | None = None,
) -> Answer:
    """Greedy tokens, up to and with the end-of-sequence token.

    Args:
        model: HookedTransformer or TransformerBridge.
        prompt_ids: the prompt.
        max_new_tokens: most tokens to generate.
        prompt_hooks: hooks of the pass over the prompt; where no KV cache can be gone on with, of each pass over prompt and
            answer.
        step_hooks: hooks of each later, one-token pass.
        told: called with the logits of each token.
    """
    ends = model_info(model).eos_token_ids
    lost, n_cached = why_no_cache(model), len(prompt_ids)
    cache = None if lost else new_cache(model)
    first = logits = forward(model, prompt_ids, hooks=prompt_hooks, cache=cache, keep=1)[-1].clone()
    tokens: list[int] = []
    finite = True
    while True:
        best, token = logits.max(dim=-1)
        if told is not None:
            told(logits)
        tokens.append(int(token))
        finite = finite and bool(torch.isfinite(best))
        if len(tokens) == max_new_tokens or tokens[-1] in ends:
            return Answer(tokens, first, finite)
        n_tokens = len(prompt_ids) + len(tokens)
        if cache is not None and alike(model, (n_cached, n_tokens)):
            logits = forward(model, tokens[-1:], hooks=step_hooks, cache=cache)[-1]
        else:  # no cache, or one that was computed with other positions: anew, with what the prompt's pass wrote
            cache, n_cached = None if lost else new_cache(model), n_tokens
            logits = forward(model, [*prompt_ids, *tokens], hooks=prompt_hooks, cache=cache, keep=1)[-1]


def _token_text(model: Model, token: int) -> str:
    return str(token) if model.tokenizer is None else model.tokenizer.decode([token])
