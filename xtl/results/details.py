"""Details: what a map keeps of each cell beside its score, where it is asked for (`details=` of `xtl.sweep`, a study's key).

`options` keeps which option each cell chose, and how surely: `option_logprob`, with a dim `option`, the log-probability of each
option *among the options*, v_k - log sum_k exp(v_k) of the values v_k that the score compares (see `xtl.scoring.likelihood`).
What all options share cancels in it: it is the same by every engine, and costs no forward pass. The score is its value at the
gold option.

`confidence` keeps how sure the model is of each generated answer: the mean log-probability of its tokens, `answer_logprob`, and
the margin and entropy of the first one, `first_margin` and `first_entropy`. These take sums over the vocabulary (what that costs
is measured in docs/performance.md).

`lens` keeps the same shares of the options' first tokens if the model ended after three quarters of its layers,
`lens_option_logprob` (the logit lens): outside English the last layers are a poor judge of what the model knows. Options that
begin alike are alike in it, and a cell that writes above that layer is vanilla in it.

`state` keeps the residual stream of the prompt's last token after the last block, scaled to length 1, on 32 random directions,
`final_state`: what a probe needs that tells right from wrong answers.

`agreement` keeps whether each cell chose what vanilla chose, `agrees_with_vanilla`, and what the source prompt itself is
answered, `agrees_with_source`; with that answer's own score, `source_score` and `source_correct`: asking in the source language.
A run whose two likeliest options tie, or whose text names none, has chosen nothing and agrees with none.

>>> check_details(["options"], generated=False)
('options',)
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

import numpy as np
import xarray as xr

from xtl.errors import InputError, check_choice
from xtl.results.units import NORMALISATIONS, UNITS

DETAILS = {
    "options": "the log-probability of each option among the options",
    "lens": "the same of their first tokens, read after three quarters of the layers",
    "state": "the final residual stream, on random directions",
    "confidence": "how sure the model is of a generated answer",
    "agreement": "whether a cell's answer is vanilla's, and that of the source prompt itself",
}
"""What can be kept, by name."""
OF_LIKELIHOOD, OF_GENERATED = ("options", "lens", "state"), ("confidence",)
"""Details of scores among options alone, and of generated answers alone."""
OPTION = "option"
"""The dim of options: an option's place among those of its pair, from 0."""
OPTION_LOGPROBS = ("option_logprob", *(f"option_logprob_{suffix}" for suffix in NORMALISATIONS.values()))
"""Variables with that dim: by the chosen normalisation, and where one is asked for, raw and by each."""
CONFIDENCE = ("answer_logprob", "first_margin", "first_entropy")
"""Variables of the detail `confidence`: the fields of `xtl.engine.plan.Confidence`."""
COMPONENT = "component"
"""The dim of a state's random directions."""
ALONG = {**dict.fromkeys(OPTION_LOGPROBS, OPTION), "lens_option_logprob": OPTION, "final_state": COMPONENT}
"""Variables that hold several numbers of a cell, each with their dim."""
ATTRS = {
    "option_logprob": {"description": "log-probability of each option among the options"},
    "lens_option_logprob": {
        "unit": "nats",
        "description": "log-probability of each option's first token among them, read after three quarters of the layers",
    },
    "final_state": {"unit": "of length 1", "description": "final residual stream on random directions"},
    "answer_logprob": {"unit": "nats per token", "description": "mean log-probability of the answer's tokens"},
    "first_margin": {"unit": "logits", "description": "logit of the answer's first token minus the second largest one"},
    "first_entropy": {"unit": "nats", "description": "entropy of the distribution of the answer's first token"},
    "agrees_with_vanilla": {"description": "whether the answer is the one without a transplant"},
    "agrees_with_source": {"description": "whether the answer is the source prompt's own"},
}
"""Attributes of details' variables."""
SCORED = ("score", "gain", "option_logprob")
"""Variables whose unit is the score's."""


def check_details(details: object, generated: bool) -> tuple[str, ...]:
    """The names of details, each once, in the order of `DETAILS`.

    Args:
        details: a name, or several; "none" for none.
        generated: whether answers are generated, not scored by likelihood.

    Raises:
        InputError: no names; an unknown one; one that does not go with the score.

    >>> check_details("option", generated=False)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: unknown details 'option' (did you mean 'options'?); valid: options, lens, state, confidence, agreement
    """
    if isinstance(details, str):
        details = [details]
    if isinstance(details, Collection) and list(details) == ["none"]:
        return ()
    if not isinstance(details, Collection):
        raise InputError(f"details must be names, got {details!r}; valid: {', '.join(DETAILS)}")
    names = [check_choice("details", one, DETAILS) for one in details]
    for name in names:
        if generated and name in OF_LIKELIHOOD:
            raise InputError(
                f"details {name!r} is of likelihood among options: leave it out where answers are generated"
            )
        if not generated and name in OF_GENERATED:
            raise InputError(f"details {name!r} is of generated answers: leave it out where likelihood is scored")
    return tuple(name for name in DETAILS if name in names)


def attrs_of(name: str, score_unit: str | None) -> dict[str, str]:
    """Attributes of a result's variable, named without `vanilla_`; `score_unit` is that of the result's score.

    >>> attrs_of("option_logprob_per_byte", "nats")
    {'unit': 'nats per byte', 'description': 'log-probability of each option among the options'}
    """
    unit = {"unit": score_unit} if score_unit else {}
    for normalise, suffix in NORMALISATIONS.items():
        if name.endswith(f"_{suffix}"):
            name, unit = name.removesuffix(f"_{suffix}"), {"unit": UNITS[normalise]}
    return (unit if name in SCORED else {}) | ATTRS.get(name, {})


def gold_option(results: xr.Dataset) -> xr.DataArray:
    """The place of the gold option of each example, from 0: where `option_logprob` is the score.

    Args:
        results: of `xtl.sweep`, `xtl.concat_maps` or `xtl.open_run`, scored among options.

    Returns:
        int, dim `example` (none for a single sweep).

    Raises:
        InputError: the results do not say what their options were.
    """
    if not {"options", "gold"} <= set(results.coords):
        raise InputError("results do not say what their options were: compute them anew, scored by likelihood")

    def place(options: str, gold: str) -> int:
        return option_texts(options).index(gold)

    return xr.apply_ufunc(place, results["options"], results["gold"], vectorize=True, output_dtypes=[int])


def option_texts(options: str) -> list[str]:
    """The texts in an entry of the coord `options`.

    >>> option_texts('[{"text": " Madrid", "tokens": 1}, {"text": " Roma", "tokens": 1}]')
    [' Madrid', ' Roma']
    """
    return [one["text"] for one in json.loads(options)]


def pad_options(maps: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Maps with as many places of options each, NaN behind a pair's last one.

    >>> two, three = (xr.Dataset({"x": (OPTION, np.zeros(n, "float32"))}, {OPTION: np.arange(n)}) for n in (2, 3))
    >>> [one.x.values.tolist() for one in pad_options([two, three])]
    [[0.0, 0.0, nan], [0.0, 0.0, 0.0]]
    """
    most = max(one.sizes.get(OPTION, 0) for one in maps)
    return [one.reindex({OPTION: np.arange(most)}) if 0 < one.sizes.get(OPTION, 0) < most else one for one in maps]
