"""A policy at work: while it is applied, the pass over a prompt is patched, whoever generates.

By the paper's rule the pass over the prompt alone is patched; later tokens read the keys and values that it left. Which pass
that is, is told by what the first block is given, on a HookedTransformer and a TransformerBridge alike:

- a pass over an empty KV cache, or without one, is a prompt's, and its position is written in every row;
- a pass over a cache that holds something is a generated token's, and is left as it is;
- without a cache (`use_past_kv_cache=False`), a pass over the last pass's text and one more token is the same answer going on:
  the prompt's position, which is no longer the last, is written again.

Rows of a batch end where the prompt ends: they are padded on the left, as `generate` does it; padding on the right is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward_without_logits
from xtl.errors import InputError, check_choice, check_layer, shown
from xtl.hooks import HookFunction, Hooks, Module, by_head, capture, transplant_at
from xtl.models.hook_points import check_module, unit_shape
from xtl.models.identity import identity_changes, model_identity
from xtl.models.info import model_info
from xtl.models.positions import remembered
from xtl.models.state import check_model
from xtl.packages import versions
from xtl.pairs import Prompt
from xtl.policies.fields import Fields
from xtl.policies.record import ModelRecord
from xtl.tokens import check_fits, encode

VERSIONS = ("xtl", "torch", "transformers", "transformer-lens")


@contextmanager
def applied(policy: Fields, model: Model, source: Prompt | Sequence[str] | None = None) -> Iterator[Model]:
    """While it lasts, whatever the model generates is patched as the policy says; afterwards no hook of it is left.

    Args:
        policy: what is written where.
        model: the model that it is for; it is yielded.
        source: for a policy that reads one, the source prompt (text or token ids), which every row of a batch gets; or a list of
            texts, one a row. None for a fixed vector.

    Raises:
        InputError: another model than the policy's, a layer or head that it doesn't have, a vector of another shape; a source
            that is missing or not needed; hooks that are already on the model; and in a pass, a batch of more or fewer rows
            than sources, a prompt that is too short, padding on the right.

    Example:
        >>> with policy.applied(model, source="Country: France. Capital:"):  # doctest: +SKIP
        ...     model.generate("País: Francia. Capital:", max_new_tokens=5)
    """
    written = what_is_written(policy, model, source)
    passes = _Passes(policy.position, len(written))
    assert isinstance(policy.module, Module)
    site = policy.module.write_hook(policy.target_layer)
    watched = model.blocks[0].register_forward_pre_hook(passes.begin, with_kwargs=True)
    try:
        with model.hooks(fwd_hooks=[(site, _at_prompts(policy, written, passes))]):
            yield model
    finally:
        watched.remove()


def prompt_hooks(policy: Fields, model: Model, source: Prompt | None, n_prompt: int) -> Hooks:
    """The hooks of a single prompt's pass, for `xtl.transplants.generate`.

    Args:
        policy, model, source: as for `applied`.
        n_prompt: tokens of the prompt.
    """
    written = what_is_written(policy, model, source)
    assert isinstance(policy.module, Module)
    return [
        (policy.module.write_hook(policy.target_layer), write_hook(policy, written, _place(policy.position, n_prompt)))
    ]


def what_is_written(policy: Fields, model: Model, source: Prompt | Sequence[str] | None) -> Float[Tensor, "row ..."]:
    """What each row of a batch is given, one row for all of them if there is one source; everything is checked before.

    With heads, `[row, heads, d_head]`.
    """
    check_model(model)
    check_policy(policy, model)
    if policy.vector is not None:
        if source is not None:
            raise InputError("source is given, and this policy writes a fixed vector: leave it out")
        return policy.vector[None].to(model.cfg.device)
    if source is None:
        raise InputError("source is missing: this policy writes what the source prompt gives, at layer "
                         f"{policy.source_layer}")  # fmt: skip
    several = isinstance(source, (list, tuple)) and len(source) > 0 and all(isinstance(one, str) for one in source)
    sources: list[Any] = list(source) if several else [source]  # type: ignore[arg-type]
    return torch.stack([_read(policy, model, one) for one in sources])


def check_policy(policy: Fields, model: Model) -> None:
    """Raise `InputError` where a policy is for another model, or has layers, heads or a vector that this one doesn't take."""
    assert isinstance(policy.module, Module)
    if policy.model is not None:
        _check_same_model(policy.model, model)
    for name in ("source_layer", "target_layer"):
        if (layer := getattr(policy, name)) is not None:
            check_layer(name, layer, model.cfg.n_layers)
    check_module(model, policy.module)
    if policy.module.heads and not policy.heads:
        raise InputError(f"heads is missing: module {policy.module.name!r} goes by head, such as heads=[3]")
    if not policy.heads and policy.vector is None:
        return
    unit = unit_shape(model, policy.module)
    wanted = list(unit)
    if policy.heads:
        n_heads, d_head = model.cfg.n_heads, model.cfg.d_head
        if unit not in ((n_heads, d_head), (n_heads * d_head,)) or "hook_z" not in policy.module.write:
            raise InputError(
                f"heads goes with what heads put out (attn.hook_z); module {policy.module.name!r} has none"
            )
        for head in {head for pair in policy.heads for head in pair}:
            if head >= n_heads:
                raise InputError(f"heads names head {head}; this model has {n_heads}, valid: 0 to {n_heads - 1}")
        wanted = [len(policy.heads), d_head]
    if policy.vector is not None and list(policy.vector.shape) != wanted:
        raise InputError(
            f"vector has the shape {list(policy.vector.shape)}; module {policy.module.name!r} of this model takes {wanted}"
        )


def record_of(model: Model) -> ModelRecord:
    """What identifies a loaded model in a policy."""
    device = str(model.cfg.device).partition(":")[0]
    return ModelRecord(model_info(model).name, model.cfg.n_layers, _identity(model), device, versions(VERSIONS))


P = TypeVar("P", bound=Fields)


def made_for(kind: type[P], model: Model, what: Mapping[str, Any]) -> P:
    """A policy for a model, checked against it; see `Policy.for_model`."""
    check_model(model)
    known = [one.name for one in fields(kind) if one.name != "model"]
    for name in what:
        check_choice("argument of Policy.for_model:", name, known)
    layers = {
        name: check_layer(name, what[name], model.cfg.n_layers)
        for name in ("source_layer", "target_layer")
        if what.get(name) is not None
    }
    policy = kind(**{"module": None, "target_layer": None, **what, **layers, "model": record_of(model)})
    check_policy(policy, model)
    return policy


def write_hook(policy: Fields, written: Float[Tensor, "row ..."], place: int) -> HookFunction:
    """The hook function that writes each row's own at one place of the pass."""
    if not policy.heads:
        return _write(policy, written, place, None)
    writes = [_write(policy, written[:, n], place, head) for n, (_, head) in enumerate(policy.heads)]

    def write(activation: Tensor, hook: Any) -> Tensor:
        for one in writes:
            activation = one(activation, hook=hook)
        return activation

    return write


def _write(policy: Fields, rows: Float[Tensor, "row ..."], place: int, head: int | None) -> HookFunction:
    if policy.operation == "blend":
        return transplant_at(rows[:, None], place, alpha=policy.alpha, head=head)

    def add(activation: Float[Tensor, "batch pos *unit"], hook: Any) -> Float[Tensor, "batch pos *unit"]:
        patched = activation.clone()
        units = patched if head is None else by_head(patched, rows.shape[-1])[:, :, head]
        units[:, place] += policy.alpha * rows.to(activation)
        return patched

    return add


class _Passes:
    """Which pass is a prompt's, and where in it is written: `place`, None in a pass that is left as it is."""

    def __init__(self, position: int, n_rows: int) -> None:
        self.position, self.n_rows = position, n_rows
        self.prompt: Tensor | None = None
        self.n_seen = 0
        self.place: int | None = None

    def begin(self, block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What the first block is given, before it runs."""
        given = [*args, *kwargs.values()]
        residual = next(one for one in given if isinstance(one, Tensor) and one.is_floating_point() and one.ndim == 3)
        if any(_length(one) > 0 for one in given):
            self.prompt, self.place = None, None
            return
        if not self._goes_on(residual):
            self._check(residual, kwargs.get("attention_mask"))
            self.prompt, self.place = residual.detach().clone(), _place(self.position, residual.shape[1])
        else:
            assert self.prompt is not None
            self.place = _place(self.position, self.prompt.shape[1])
        self.n_seen = residual.shape[1]

    def _goes_on(self, residual: Float[Tensor, "batch pos d_model"]) -> bool:
        if self.prompt is None or residual.shape[1] != self.n_seen + 1:
            return False
        return torch.equal(residual[:, : self.prompt.shape[1]], self.prompt)

    def _check(self, residual: Tensor, mask: Any) -> None:
        if self.n_rows not in (1, len(residual)):
            raise InputError(
                f"source has {self.n_rows} prompts, and the batch has {len(residual)} rows; give one source, or one a row"
            )
        if isinstance(mask, Tensor) and _ends_in_padding(mask):
            raise InputError(
                "the batch is padded on the right, so that its rows end at different positions: pad on the left"
            )


def _at_prompts(policy: Fields, written: Float[Tensor, "row ..."], passes: _Passes) -> HookFunction:
    """Writes in a prompt's pass, once."""

    def write(activation: Tensor, hook: Any) -> Tensor | None:
        place, passes.place = passes.place, None
        return None if place is None else write_hook(policy, written, place)(activation, hook=hook)

    return write


def _length(given: Any) -> int:
    """Tokens that a KV cache holds; 0 for anything else."""
    if hasattr(given, "past_keys"):  # of TransformerLens: one layer's
        return int(given.past_keys.shape[1])
    return int(given.get_seq_length()) if hasattr(given, "get_seq_length") else 0


def _ends_in_padding(mask: Tensor) -> bool:
    """Whether a row's last token is padding: it is no key, not even to itself."""
    last = mask[:, -1] if mask.ndim == 2 else mask[:, :, -1, -1]
    return bool((last < -1).any() if last.is_floating_point() else (last == 0).any())


def _place(position: int, n_prompt: int) -> int:
    """A position from the end, as one from the beginning."""
    if -position > n_prompt:
        raise InputError(f"position {position} is before the prompt's beginning: it has {n_prompt} tokens")
    return n_prompt + position


def _read(policy: Fields, model: Model, source: Prompt) -> Float[Tensor, "*unit"]:
    """What the source prompt gives."""
    ids = encode(model, source, "source")
    check_fits(model, "source", len(ids))
    place = _place(policy.source_position, len(ids))
    assert isinstance(policy.module, Module)
    assert policy.source_layer is not None
    store: dict[str, Tensor] = {}
    forward_without_logits(
        model, ids, hooks=[(policy.module.read_hook(policy.source_layer), capture(store, "read", place))]
    )
    if not policy.heads:
        return store["read"][0]
    heads = by_head(store["read"][:, None], model.cfg.d_head)[0, 0]
    return heads[[head for head, _ in policy.heads]]


def _check_same_model(known: ModelRecord, model: Model) -> None:
    """Keys of a configuration that other versions of the software don't know are not compared, nor sines of another device."""
    now, before = _identity(model), dict(known.identity)
    if known.device != str(model.cfg.device).partition(":")[0]:
        before.pop("tables_sha256", None)
    if changes := identity_changes(before, now, same_keys=True):
        more = "" if len(changes) == 1 else f" and {len(changes) - 1} more differences"
        raise InputError(
            f"the policy is for model {shown(known.name)}, and {shown(model_info(model).name)} is another one: {changes[0]}{more}"
        )


def _identity(model: Model) -> dict[str, Any]:
    """The model's identity; taken once as long as no parameter has changed: hashing takes seconds."""
    weights = [(value.data_ptr(), value._version) for value in model.parameters()]
    state = (weights, id(model.tokenizer), str(model.cfg.dtype))
    known = remembered(model, "xtl_identity", dict)
    if known.get("state") != state:
        known.update(state=state, identity=model_identity(model))
    return dict(known["identity"])
