"""The labelled result of a sweep: arrays with named dims, what was asked, and what it was run with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from xtl.backend import Model, backend_name
from xtl.engine.plan import Generated
from xtl.engine.prepare import Sweep
from xtl.hooks import BUILT_IN, BY_HEAD, Module
from xtl.models.info import model_info
from xtl.packages import versions
from xtl.pairs import ParallelPair, check_prompt
from xtl.results.units import NORMALISATIONS, UNITS
from xtl.scoring.distribution import similarity
from xtl.scoring.text import rated
from xtl.tokens import decode
from xtl.transplants import STEPS


def label_scores(model: Model, sweep: Sweep, logprobs: Float[Tensor, "runs continuation"], engine: str) -> xr.Dataset:
    """The result of scored continuations; row 0 is vanilla, the rest are the cells in the plan's order.

    Beside a normalised score stand all of them, raw and normalised, under names of their own.
    """
    question = sweep.question
    assert question is not None
    logprobs = logprobs.double()
    data = _score_variables(sweep, question.score(logprobs).numpy(), question.unit)
    if question.has_options:
        data |= _correct_variables(sweep, question.correct(logprobs).numpy())
    for normalise in question.kept:
        own = _score_variables(sweep, question.score(logprobs, normalise).numpy(), UNITS[normalise])
        if question.has_options:
            own |= _correct_variables(sweep, question.correct(logprobs, normalise).numpy())
        data |= {f"{name}_{NORMALISATIONS[normalise]}": values for name, values in own.items() if name != "gain"}
    if question.has_options and sweep.pair.distribution is not None:
        alike = similarity(question.values(logprobs).numpy(), list(sweep.pair.distribution))
        data |= {
            "similarity": (sweep.plan.dims, alike[1:].reshape(sweep.plan.shape).astype(np.float32)),
            "vanilla_similarity": np.float32(alike[0]),
        }
    attrs = {"score": question.description, "score_unit": question.unit, "normalise": question.normalise}
    return _dataset(model, sweep, data, engine, attrs).assign_coords(options=question.described())


def label_answers(model: Model, sweep: Sweep, answers: Sequence[Generated], engine: str) -> xr.Dataset:
    """The result of generated answers; the first is vanilla's, the rest are the cells' in the plan's order."""
    shape = sweep.plan.shape
    n_new = sweep.plan.max_new_tokens or 0
    tokens = np.full((len(answers), n_new), -1, dtype=np.int32)
    for row, answer in enumerate(answers):
        tokens[row, : len(answer.tokens)] = answer.tokens
    texts = np.array([decode(model, answer.tokens) for answer in answers], dtype=object)
    data: dict[str, Any] = {
        "text": (sweep.plan.dims, texts[1:].reshape(shape)),
        "tokens": ((*sweep.plan.dims, "step"), tokens[1:].reshape(*shape, n_new)),
        "vanilla_text": texts[0],
        "vanilla_tokens": (("step",), tokens[0]),
    }
    attrs = {"max_new_tokens": n_new, "score": "none: answers were generated, not scored"}
    if sweep.text_score is not None:
        found = {text: rated(sweep.text_score, text, sweep.pair) for text in set(texts)}
        scores = np.array([found[text] for text in texts])
        data |= _score_variables(sweep, scores, "fraction right")
        if sweep.text_score.binary:
            data |= _correct_variables(sweep, scores > 0.5)
        attrs |= {
            "score": sweep.text_score.description,
            "score_unit": "fraction right",
            "text_score": sweep.text_score.name,
        }
    return _dataset(model, sweep, data, engine, attrs)


def _score_variables(sweep: Sweep, scores: np.ndarray, unit: str) -> dict[str, Any]:
    cells, shape, attrs = scores[1:], sweep.plan.shape, {"unit": unit}
    return {
        "score": (sweep.plan.dims, cells.reshape(shape).astype(np.float32), attrs),
        "gain": (sweep.plan.dims, (cells - scores[0]).reshape(shape).astype(np.float32), attrs),
        "vanilla_score": ((), np.float32(scores[0]), attrs),
    }


def _correct_variables(sweep: Sweep, correct: np.ndarray) -> dict[str, Any]:
    cells = correct[1:].reshape(sweep.plan.shape).copy()  # of its own, with no tensor behind it
    return {"correct": (sweep.plan.dims, cells), "vanilla_correct": correct[0]}


def _gold_text(pair: ParallelPair) -> str:
    if pair.options is not None and pair.gold is not None:
        return pair.options[pair.gold]
    return pair.answer or (pair.answers[0] if pair.answers else "")


def _dataset(model: Model, sweep: Sweep, data: dict[str, Any], engine: str, attrs: dict[str, Any]) -> xr.Dataset:
    pair, plan = sweep.pair, sweep.plan
    prompts = {
        name: prompt if isinstance(prompt, str) else json.dumps(check_prompt(name, prompt))
        for name, prompt in (("source", pair.source), ("target", pair.target))
    }
    return xr.Dataset(
        data,
        coords={
            "module": [module.name for module in plan.modules],
            "source_layer": list(plan.source_layers),
            "target_layer": list(plan.target_layers),
            "source_lang": pair.source_lang or "",
            "target_lang": pair.target_lang or "",
            **{name: list(values) for name, values in plan.axes},
            **prompts,
            "gold": _gold_text(pair),
            **({} if pair.id is None else {"example": pair.id}),
        },
        attrs={
            "model": model_info(model).name,
            "n_layers": int(model.cfg.n_layers),
            "backend": backend_name(model),
            "dtype": str(model.cfg.dtype).removeprefix("torch."),
            "engine": engine,
            "steps": STEPS[plan.every_step],
            **_own_modules(plan.modules),
            **({} if plan.alpha == 1 else {"alpha": plan.alpha}),
            **attrs,
            **prompts,
            "versions": json.dumps(versions(("xtl", "transformer-lens", "torch", "transformers"))),
        },
    )


def _own_modules(modules: Sequence[Module]) -> dict[str, str]:
    """The hook points of the user's own modules, as JSON: `{name: [read, write]}`."""
    own = {
        module.name: [module.read, module.write] for module in modules if module not in (*BUILT_IN, *BY_HEAD.values())
    }
    return {"own_modules": json.dumps(own)} if own else {}
