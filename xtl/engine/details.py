"""The variables of a map's details (`xtl.results.details`), from what an engine gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from xtl.backend import Model
from xtl.engine.plan import Confidence, Generated, Outputs
from xtl.engine.prepare import Sweep
from xtl.engine.readings import N_COMPONENTS
from xtl.results.details import ALONG, OPTION, attrs_of
from xtl.results.units import NORMALISATIONS
from xtl.scoring.likelihood import Question
from xtl.scoring.read_as import read_as
from xtl.scoring.text import rated
from xtl.tokens import decode


def with_details(model: Model, sweep: Sweep, outputs: Outputs, result: xr.Dataset) -> xr.Dataset:
    """A labelled result with the details that were asked for."""
    if "options" in sweep.details and outputs.logprobs is not None:
        assert sweep.question is not None
        result = result.assign(_options(sweep, sweep.question, outputs.logprobs.double()))
        result = result.assign_coords({OPTION: np.arange(len(sweep.question.continuations))})
    if outputs.readings is not None:
        result = result.assign(_readings(sweep, outputs.readings))
    if sweep.plan.confidence:
        result = result.assign(_confidence(sweep, outputs))
    if sweep.source_run is not None:
        generated = outputs.logprobs is None
        found = _texts_agree(model, sweep, outputs, result) if generated else _options_agree(sweep, outputs)
        result = result.assign(found)
    return result


def _options(sweep: Sweep, question: Question, logprobs: Float[Tensor, "runs option"]) -> dict[str, Any]:
    """The log share of each option, by the chosen normalisation and by each that is kept."""
    data: dict[str, Any] = {}
    for suffix, normalise in (("", None), *((f"_{NORMALISATIONS[one]}", one) for one in question.kept)):
        shares = question.shares(logprobs, normalise).numpy().astype(np.float32)
        attrs = attrs_of(f"option_logprob{suffix}", question.unit)
        cells = shares[1:].reshape(*sweep.plan.shape, -1)
        data[f"option_logprob{suffix}"] = ((*sweep.plan.dims, OPTION), cells, attrs)
        data[f"vanilla_option_logprob{suffix}"] = ((OPTION,), shares[0], attrs)
    return data


def _readings(sweep: Sweep, readings: Float[Tensor, "runs number"]) -> dict[str, Any]:
    """What was read of the residual stream: log shares of the options' first tokens, and the final state."""
    data: dict[str, Any] = {}
    n_options = len(sweep.plan.continuations)
    for name in sweep.plan.readings:
        n, variable = (n_options, "lens_option_logprob") if name == "lens" else (N_COMPONENTS, "final_state")
        own, readings = readings[:, :n].double(), readings[:, n:]
        values = (own.log_softmax(dim=1) if name == "lens" else own).numpy().astype(np.float32)
        dim, attrs = ALONG[variable], attrs_of(variable, None)
        data[variable] = ((*sweep.plan.dims, dim), values[1:].reshape(*sweep.plan.shape, -1), attrs)
        data[f"vanilla_{variable}"] = ((dim,), values[0], attrs)
        data[dim] = np.arange(n)
    return data


def _confidence(sweep: Sweep, outputs: Outputs) -> dict[str, Any]:
    """How sure the model is of each answer, of vanilla's, and of the source run's if there is one."""
    data: dict[str, Any] = {}
    cells = np.array([answer.confidence for answer in outputs.answers or ()], dtype=np.float32)
    own = outputs.source.confidence if isinstance(outputs.source, Generated) else None
    for place, name in enumerate(Confidence._fields):
        attrs = attrs_of(name, None)
        data[name] = (sweep.plan.dims, cells[1:, place].reshape(sweep.plan.shape), attrs)
        data[f"vanilla_{name}"] = ((), cells[0, place], attrs)
        data |= {} if own is None else {f"source_{name}": ((), np.float32(own[place]), attrs)}
    return data


def _options_agree(sweep: Sweep, outputs: Outputs) -> dict[str, Any]:
    """Whether each cell chose vanilla's option, and the source run's; and the source run's score."""
    own = sweep.source_run.question if sweep.source_run else None
    logprobs, of_source = outputs.logprobs, outputs.source
    if sweep.question is None or own is None or logprobs is None or not isinstance(of_source, Tensor):
        return {}
    of_source = of_source.double()
    chosen = sweep.question.choice(logprobs).numpy()
    data = _agreement(sweep, chosen, int(own.choice(of_source)), -1)
    data |= {
        "source_score": ((), np.float32(own.score(of_source)), attrs_of("score", own.unit)),
        "source_correct": ((), bool(own.correct(of_source))),
    }
    if "options" in sweep.details:
        shares = own.shares(of_source).numpy().astype(np.float32)
        data["source_option_logprob"] = ((OPTION,), shares, attrs_of("option_logprob", own.unit))
    return data


def _texts_agree(model: Model, sweep: Sweep, outputs: Outputs, result: xr.Dataset) -> dict[str, Any]:
    """Whether each cell's text is read as vanilla's, and as the source run's; and the source run's text and score."""
    if sweep.source_run is None or not isinstance(outputs.source, Generated):
        return {}
    text, own = decode(model, outputs.source.tokens), sweep.source_run.pair
    tokens = np.full(result.sizes["step"], -1, dtype=np.int32)
    tokens[: len(outputs.source.tokens)] = outputs.source.tokens
    texts = [result["vanilla_text"].item(), *result["text"].values.ravel()]
    meant = {one: read_as(one, sweep.pair) for one in set(texts)}
    numbers = {answer: number for number, answer in enumerate(dict.fromkeys([None, *meant.values()]))}
    chosen = np.array([numbers[meant[one]] for one in texts])
    data = _agreement(sweep, chosen, numbers.get(read_as(text, own), 0), 0)
    data |= {"source_text": text, "source_tokens": (("step",), tokens)}
    if sweep.text_score is not None:
        score = rated(sweep.text_score, text, own)
        data["source_score"] = ((), np.float32(score), attrs_of("score", result.attrs["score_unit"]))
        data |= {"source_correct": score > 0.5} if sweep.text_score.binary else {}
    return data


def _agreement(sweep: Sweep, chosen: Int[np.ndarray, " runs"], of_source: int, none: int) -> dict[str, Any]:
    """Who chose the same; vanilla's choice is the first, and `none` is that of a run that chose nothing."""
    found = {}
    for name, other in (("agrees_with_vanilla", chosen[0]), ("agrees_with_source", of_source)):
        same = (chosen[1:] == other) & (other != none)
        found[name] = (sweep.plan.dims, same.reshape(sweep.plan.shape), attrs_of(name, None))
    return found
