"""What one transplant does, looked at closely: the answer, the likeliest first tokens, and the logit lens with and without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, forward_without_logits
from xtl.engine.head import Head
from xtl.errors import check_choice
from xtl.hooks import Hooks, Module, capture, get_modules, transplant_at
from xtl.pairs import ParallelPair
from xtl.tokens import encode, encode_continuation
from xtl.transplants import Transplant, read_activations, transplant

TOP = 8
"""Likeliest tokens that are shown."""
MEASURES = {"gain": "gain", "correct": "right answer", "changed": "answer changed"}
"""What the map can show."""


@dataclass(frozen=True, eq=False)
class CellView:
    """What one transplant does.

    Attributes:
        transplant: texts, logits, and what was patched.
        token: the first token of the right answer; without one, that of the transplanted answer.
        top: likeliest first tokens: columns `token`, `vanilla`, `transplanted` (probabilities).
        lens: a row a layer: `layer`, `vanilla`, `transplanted`: probability of `token` if the model ended there (logit lens), and
            `vanilla_top`, `transplanted_top`: whether it is the likeliest of all.
    """

    transplant: Transplant = field(repr=False)
    token: str
    top: pd.DataFrame = field(repr=False)
    lens: pd.DataFrame = field(repr=False)

    def appears(self, run: str = "transplanted") -> int | None:
        """The first layer from which on the token stays the likeliest; None if it isn't in the end. `run`: or "vanilla"."""
        check_choice("run", run, ("vanilla", "transplanted"))
        top = self.lens[f"{run}_top"].to_numpy()
        others = np.flatnonzero(~top)
        first = 0 if not len(others) else int(others[-1]) + 1
        return None if first == len(top) else int(self.lens["layer"].iloc[first])

    def in_words(self) -> str:
        """Where the answer appears, with and without the transplant."""
        words = []
        for run in ("vanilla", "transplanted"):
            layer = self.appears(run)
            words.append(f"{run} {'never' if layer is None else f'from layer {layer} on'}")
        return f"{self.token!r} is the likeliest token: {'; '.join(words)}."


@torch.no_grad()
def look(
    model: Model,
    pair: ParallelPair,
    module: str | Module,
    source_layer: int,
    target_layer: int,
    max_new_tokens: int,
    head: Head,
) -> CellView:
    """Run one transplant and look at it.

    Raises:
        InputError: see `xtl.transplant`.
    """
    run = transplant(
        model,
        pair,
        module=module,
        source_layer=source_layer,
        target_layer=target_layer,
        max_new_tokens=max_new_tokens,
    )
    target = encode(model, pair.target, "target")
    token = _right_token(model, pair, target, run)
    lens: dict[str, Any] = {"layer": list(range(model.cfg.n_layers))}
    for name, hooks in (("vanilla", []), ("transplanted", _hooks(model, pair, run, module, len(target) - 1))):
        stream = _stream(model, target, hooks)
        lens[name] = head.log_probabilities(stream, [token])[:, 0].exp().tolist()
        lens[f"{name}_top"] = head.is_likeliest(stream, token).tolist()
    return CellView(run, _text(model, token), _top_tokens(model, run, token), pd.DataFrame(lens))


def _right_token(model: Model, pair: ParallelPair, target: list[int], run: Transplant) -> int:
    """The first token of the right answer; without one, that of the transplanted answer."""
    right = pair.options[pair.gold] if pair.options and pair.gold is not None else pair.answer or ""
    return encode_continuation(model, pair.target, target, right)[0] if right else run.tokens[0]


def _top_tokens(model: Model, run: Transplant, token: int) -> pd.DataFrame:
    """The likeliest first tokens of both runs, and `token`, with their probabilities."""
    before, after = (logits.float().softmax(-1).cpu() for logits in (run.vanilla_logits, run.logits))
    tokens = torch.maximum(before, after).topk(min(TOP, len(before))).indices.tolist()
    tokens += [token] if token not in tokens else []
    columns = {
        "token": [_text(model, t) for t in tokens],
        "vanilla": before[tokens].tolist(),
        "transplanted": after[tokens].tolist(),
    }
    return pd.DataFrame(columns).sort_values("transplanted", ascending=False, ignore_index=True)


def _hooks(model: Model, pair: ParallelPair, run: Transplant, module: str | Module, position: int) -> Hooks:
    """The hooks that write this transplant at a position."""
    source, layer = encode(model, pair.source, "source"), run.patch.source_layer
    (spec,) = get_modules([module])
    written = read_activations(model, source, [spec], [layer])[spec.name, layer]
    return [(run.patch.write_hook, transplant_at(written, position))]


def _stream(model: Model, tokens: list[int], hooks: Hooks) -> Float[Tensor, "layer d_model"]:
    """The residual stream at the last position after every layer."""
    store: dict[int, Tensor] = {}
    layers = range(model.cfg.n_layers)
    reads: Hooks = [(f"blocks.{layer}.hook_resid_post", capture(store, layer)) for layer in layers]
    forward_without_logits(model, tokens, hooks=[*hooks, *reads])
    return torch.stack([store[layer][0] for layer in layers]).float().cpu()


def _text(model: Model, token: int) -> str:
    return str(token) if model.tokenizer is None else model.tokenizer.decode([token])
