"""Raw and length-normalised likelihood in the store: kept together, chosen by the study, absent from runs of earlier versions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import xtl
from tests.runs.filling import jobs_of, map_of
from xtl.engine import driver
from xtl.publish.export import export_run
from xtl.results.units import NORMALISATIONS, UNITS
from xtl.runs import load_results, open_run, run_study, save_results
from xtl.runs.tables import EACH, VALUES, encode_map, join_tables

SMALL = {"tasks": "capitals", "directions": ["en:es", "en:de"], "limit": 2, "modules": ["mlp"], "source_layers": [0, 2]}


@pytest.fixture
def study(loaded) -> dict:
    return SMALL | {"models": loaded}


def swept(model, **settings):
    pairs = [pair for lang in ("es", "de") for pair in xtl.get_task("capitals").pairs("en", lang, limit=2)]
    return xtl.concat_maps(xtl.sweep_many(model, pairs, modules=["mlp"], source_layers=[0, 2], **settings))


@pytest.mark.parametrize("normalise", ["token", "byte"])
def test_a_run_keeps_all_likelihoods_and_its_score_is_the_chosen_one(study, tiny_model, tmp_path, normalise):
    run_study(study | {"normalise": normalise}, tmp_path / "run")
    found, want = open_run(tmp_path / "run"), swept(tiny_model("llama"), normalise=normalise)
    assert set(EACH) <= set(found.data_vars)
    assert set(found.data_vars) == set(want.data_vars)
    for name in want.data_vars:
        np.testing.assert_array_equal(found[name].values, want[name].values, err_msg=str(name))
        assert found[name].attrs == want[name].attrs, name
    np.testing.assert_array_equal(found.score, found[f"score_{NORMALISATIONS[normalise]}"])
    assert found.attrs["score_unit"] == UNITS[normalise]
    assert found.attrs["normalise"] == normalise
    assert found.options.values.tolist() == want.options.values.tolist()
    table = pd.read_csv(export_run(tmp_path / "run", "csv"))
    assert {*EACH, "vanilla_score_per_byte"} <= set(table)


def test_results_of_a_sweep_are_read_back_whole(tiny_model, tmp_path):
    want = swept(tiny_model("llama"), normalise="byte")
    found = load_results(save_results(want, tmp_path / "results.parquet"))
    assert set(found.data_vars) == set(want.data_vars)
    for name in want.data_vars:
        np.testing.assert_array_equal(found[name].values, want[name].values, err_msg=str(name))
    assert found.options.values.tolist() == want.options.values.tolist()
    assert found.attrs == want.attrs


def test_another_normalisation_is_another_study(study, tmp_path):
    run_study(study, tmp_path / "run")
    with pytest.raises(xtl.InputError, match="changed: normalise none -> byte"):
        run_study(study | {"normalise": "byte"}, tmp_path / "run")


def test_normalise_goes_with_likelihood_alone(study):
    with pytest.raises(xtl.InputError, match="normalise 'byte' is for the score likelihood, not for strict"):
        xtl.Study.read(study | {"normalise": "byte", "score": "strict"})
    with pytest.raises(xtl.InputError, match=r"unknown normalise 'bytes' .*; valid: none, token, byte"):
        xtl.Study.read(study | {"normalise": "bytes"})


def test_a_run_of_an_earlier_version_still_opens_and_goes_on(study, tiny_model, tmp_path, monkeypatch):
    """Its study has no such key, its maps no such columns; half of them are computed later."""
    from xtl.runs import compute

    real = compute.Computer._map

    def fail(self, job, *rest):
        if job.number % 2:
            raise RuntimeError("not yet")
        return real(self, job, *rest)

    with monkeypatch.context() as before:
        before.setattr(compute.Computer, "_map", fail)
        before.setattr("xtl.runs.tables.VALUES", {name: kind for name, kind in VALUES.items() if name not in EACH})
        before.setattr("xtl.runs.tables.OPTIONS", "")
        outcome = run_study(study, tmp_path / "run")
    assert outcome.n_done == 2
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    del manifest["study"]["normalise"]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    old = open_run(tmp_path / "run")
    assert {"score", "gain", "correct"} <= set(old.data_vars)
    assert not set(EACH) & set(old.data_vars)
    assert "options" not in old.coords
    assert run_study(study, tmp_path / "run").n_done == 4
    whole, want = open_run(tmp_path / "run"), swept(tiny_model("llama"))
    for name in ("score", "gain", "correct", "vanilla_score"):
        np.testing.assert_array_equal(whole[name].values, want[name].values)
    assert not set(EACH) & set(whole.data_vars)


def test_a_cell_takes_at_most_20_bytes_with_all_likelihoods():
    """Random scores, which pack worst."""
    jobs, random = jobs_of(limit=50, directions=["en:es"]), np.random.default_rng(0)
    files = []
    for job in jobs.all:
        result = map_of(job, layers=18)
        for name in EACH:
            like = result[name.partition("_")[0]]
            drawn = random.normal(size=like.shape).astype("float32")
            result[name] = (like.dims, drawn if like.dtype == "float32" else drawn > 0)
            result[f"vanilla_{name}"] = result[f"vanilla_{like.name}"]
        files.append(encode_map(result, job, "gemma-3-270m"))
    size = sum(len(join_tables([pair[table] for pair in files])) for table in (0, 1))
    assert size / (50 * 2 * 18 * 18) <= 20


def test_kept_maps_are_scored_anew_without_a_new_map(tiny_model, tmp_path, monkeypatch):
    model = tiny_model("llama")
    want = {normalise: swept(model, normalise=normalise) for normalise in ("token", "byte")}
    swept(model, normalise="token", keep=xtl.KeptMaps(tmp_path / "maps"))
    monkeypatch.setattr(driver, "compute", None)
    for normalise, straight in want.items():
        again = swept(model, normalise=normalise, keep=xtl.KeptMaps(tmp_path / "maps"))
        assert again.identical(straight)


def test_a_study_tells_of_mixed_options_once_with_a_count(loaded, tmp_path, monkeypatch):
    """Options that continue the prompt and options that melt into it, in two of three pairs."""
    from xtl.scoring import likelihood

    real = likelihood.continue_prompt

    def melt(model, prompt, ids, text):
        return real(model, prompt, ids, text)._replace(alone="Ans" in prompt and text == "wer")

    monkeypatch.setattr(likelihood, "continue_prompt", melt)
    rows = [("Ans (", ["x", "wer"]), ("Ans (", ["wer", "y"]), ("Say (", ["x", "wer"])]
    ends = {"source_lang": "en", "target_lang": "de", "gold": 0}
    lines = [json.dumps(ends | {"source": text, "target": text, "options": options}) for text, options in rows]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    study = SMALL | {"models": loaded, "tasks": str(tmp_path / "own.jsonl"), "directions": ["en:de"], "limit": None}
    with pytest.warns(UserWarning, match="some of the options of 2 of 3 pairs merge") as seen:
        run_study(study, tmp_path / "run")
    assert len(seen) == 1
    told = [[one["alone"] for one in json.loads(text)] for text in open_run(tmp_path / "run").options.values]
    assert sorted(told) == [[False, False], [False, True], [True, False]]
