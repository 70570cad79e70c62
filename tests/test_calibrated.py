"""Calibrated scores: what a model says of a place whatever it is asked does not count."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xtl
from xtl.results import calibrated, gold_option
from xtl.selectors import simulate

REAL, (CONTROL, _) = simulate(n_questions=30, planted={("attn", 1, 2): 2.0}, seed=3)


DOC = Path(__file__).parent.parent / "docs/scoring.md"


def shifted(results: xr.Dataset, by: np.ndarray, name: str = "option_logprob") -> xr.Dataset:
    """With a liking for places, renormalised; what else is in the results no longer fits."""
    values = results[name] + xr.DataArray(by, dims="option")
    return results.assign({name: values - np.log(np.exp(values).sum("option"))})


def test_a_liking_for_a_place_changes_nothing() -> None:
    want = calibrated(REAL)
    liking = np.array([4.0, 0.0, -3.0, 0.5])
    found = calibrated(shifted(shifted(REAL, liking), -liking, "vanilla_option_logprob"))
    for name in ("score", "gain", "vanilla_score", "option_logprob"):
        np.testing.assert_allclose(found[name], want[name], atol=1e-4)
    assert (found.correct == want.correct).all()
    assert (found.vanilla_correct == want.vanilla_correct).all()


def test_scores_are_what_their_definition_says_in_every_language_by_itself() -> None:
    found, gold = calibrated(REAL), gold_option(REAL).values
    languages = REAL["target_lang"].values.astype(str)
    for language in set(languages):
        here = np.flatnonzero(languages == language)
        values = REAL["option_logprob"].values[here].astype("float64")
        less = values - values.mean(0)
        less -= np.log(np.exp(less).sum(-1, keepdims=True))
        want = np.stack([one[..., k] for one, k in zip(less, gold[here], strict=True)])
        np.testing.assert_allclose(found["score"].values[here], want, atol=1e-5)
        right = np.stack([one.argmax(-1) == k for one, k in zip(less, gold[here], strict=True)])
        assert (found["correct"].values[here] == right).all()
    np.testing.assert_allclose(found["gain"], found["score"] - found["vanilla_score"], atol=1e-6)


def test_a_model_that_always_says_one_letter_is_right_where_its_evidence_is() -> None:
    """Told by the share of its letter, which is less where another one is right."""
    stubborn = shifted(shifted(REAL, np.array([50.0, 0, 0, 0])), np.array([50.0, 0, 0, 0]), "vanilla_option_logprob")
    cell = {"module": "attn", "source_layer": 1, "target_layer": 2}
    assert float(calibrated(stubborn)["correct"].sel(cell).mean()) > float(REAL["vanilla_correct"].mean()) + 0.2


def test_order_of_examples_does_not_count_and_statistics_take_it() -> None:
    order = np.random.default_rng(0).permutation(REAL.sizes["example"])
    xr.testing.assert_allclose(calibrated(REAL).isel(example=order), calibrated(REAL.isel(example=order)), atol=1e-5)
    found = xtl.stats.significance(calibrated(REAL), calibrated(CONTROL), by=None, n_resamples=200)
    assert float(found["p"].min()) < 0.05


def test_a_pair_with_fewer_options_has_none_in_the_last_place() -> None:
    last = (gold_option(REAL).values != 3) & (np.arange(REAL.sizes["example"]) % 3 == 0)
    there = xr.DataArray(~last[:, None] | (np.arange(4) < 3), dims=("example", "option"))
    fewer = {name: REAL[name].where(there) for name in ("option_logprob", "vanilla_option_logprob")}
    found = calibrated(REAL.assign(fewer))
    assert (found["option_logprob"].isnull().values == fewer["option_logprob"].isnull().values).all()
    np.testing.assert_allclose(np.exp(found["option_logprob"]).sum("option"), 1, atol=1e-5)
    assert not found["score"].isnull().any()


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (REAL.drop_vars("option_logprob"), "no option_logprob to calibrate: compute the maps with details=options"),
        (REAL.isel(example=slice(0, 8)), r"results hold \d examples of .*en->.*: .* needs at least 10"),
        (calibrated(REAL), "results are calibrated already"),
        ({"a": 1}, "results must be"),
    ],
)
def test_what_can_not_be_calibrated_is_told(results, message, untyped) -> None:
    with pytest.raises(xtl.InputError, match=message):
        calibrated(results)


def test_the_code_in_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = next(one for one in re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL) if "calibrated(" in one)
    exec(compile(code, str(DOC), "exec"), {})
    vanilla, p = map(float, capsys.readouterr().out.split())
    assert 0 < vanilla < 1
    assert p < 0.05
