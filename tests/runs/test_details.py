"""Details in the store: what a sweep gives is what a run keeps, another choice is another study, earlier runs still open."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xtl
from tests.runs.filling import content, jobs_of, map_of
from xtl.engine.plan import Confidence
from xtl.publish.export import export_run
from xtl.results import gold_option
from xtl.results.details import CONFIDENCE
from xtl.runs import load_results, open_run, run_study, save_results
from xtl.runs.jobs import hash_pairs
from xtl.runs.reading import open_results
from xtl.runs.tables import encode_map, join_tables

SMALL = {"modules": ["mlp"], "source_layers": [0, 2]}
STUDY = SMALL | {"tasks": "capitals", "directions": ["en:es", "en:de"], "limit": 2}


@pytest.fixture
def study(loaded) -> dict:
    return STUDY | {"models": loaded}


@pytest.fixture
def uneven(loaded, tmp_path) -> dict:
    """A study of two pairs, one with three options and one with two."""
    ends = {"source_lang": "en", "target_lang": "de", "gold": 0}
    rows = [("Say (", ["x", "yz", "w"]), ("Tell (", ["x", "y"])]
    lines = [json.dumps(ends | {"source": text, "target": text, "options": options}) for text, options in rows]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    return SMALL | {
        "models": loaded,
        "tasks": str(tmp_path / "own.jsonl"),
        "directions": ["en:de"],
        "details": "options",
    }


def swept(model, pairs=None, **settings):
    pairs = pairs or [pair for lang in ("es", "de") for pair in xtl.get_task("capitals").pairs("en", lang, limit=2)]
    return xtl.concat_maps(xtl.sweep_many(model, pairs, **SMALL, **settings))


def same(found, want):
    assert set(found.data_vars) == set(want.data_vars)
    for name in want.data_vars:
        np.testing.assert_array_equal(found[name].values, want[name].values, err_msg=str(name))
        assert found[name].attrs == want[name].attrs, name
        assert found[name].dims == want[name].dims, name
    for dim in ("option", "component"):
        assert (dim in found.coords) == (dim in want.coords)
        if dim in want.coords:
            assert found[dim].values.tolist() == want[dim].values.tolist()


SETTINGS = (
    {"details": ["options"]},
    {"details": ["options", "lens", "state"]},
    {"details": ["options", "agreement"], "normalise": "byte"},
    {"details": ["agreement"]},
    {"details": ["agreement"], "max_new_tokens": 2},
    {"details": ["confidence", "agreement"], "max_new_tokens": 3},
)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_run_keeps_what_a_sweep_gives(study, tiny_model, tmp_path, settings):
    run_study(study | settings | ({"score": "none"} if "max_new_tokens" in settings else {}), tmp_path / "run")
    found, want = open_run(tmp_path / "run"), swept(tiny_model("llama"), **settings)
    same(found, want)
    same(load_results(save_results(want, tmp_path / "results.parquet")), want)
    if "agreement" in settings["details"]:
        table = pd.read_csv(export_run(tmp_path / "run", "csv"))
        assert {"agrees_with_source", "source_lang"} <= set(table)
        assert ("source_text" if "max_new_tokens" in settings else "source_correct") in table


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_sweep_that_goes_on_has_them_too(tiny_model, tmp_path, settings, monkeypatch):
    """And maps that were kept without a source run are not taken for such with one."""
    model = tiny_model("llama")
    straight = swept(model, **settings)
    for _ in range(2):
        assert swept(model, **settings, keep=xtl.KeptMaps(tmp_path / "maps")).identical(straight)
        monkeypatch.setattr("xtl.engine.driver.compute", None)
    plain = {key: value for key, value in settings.items() if key != "details"}
    if settings["details"] != ["options"]:
        with pytest.raises(TypeError, match="not callable"):
            swept(model, **plain, keep=xtl.KeptMaps(tmp_path / "maps"))
    else:
        assert swept(model, **plain, keep=xtl.KeptMaps(tmp_path / "maps")).identical(straight.drop_dims("option"))


def test_the_sources_own_options_change_a_run_that_asks_for_them_alone():
    """So that a run of an earlier version, whose pairs had none, goes on."""
    pairs = xtl.get_task("capitals").pairs("en", "es", limit=2)
    assert pairs[0].source_options == tuple(xtl.get_task("capitals").pairs("en", "en", limit=2)[0].options)
    without = [dataclasses.replace(pair, source_options=None) for pair in pairs]
    assert hash_pairs(pairs) == hash_pairs(without)
    assert hash_pairs(pairs, source_run=True) != hash_pairs(without, source_run=True)


def test_pairs_of_unequal_numbers_of_options_are_kept_and_read_by_any_selection(uneven, tiny_model, tmp_path):
    run_study(uneven, tmp_path / "run")
    pairs = xtl.get_task(uneven["tasks"]).pairs("en", "de")
    want, found = swept(tiny_model("llama"), pairs, details="options"), open_run(tmp_path / "run")
    same(found, want)
    assert int(found.option_logprob.isnull().any("option").sum()) > 0
    for chosen in ({"example": [1]}, {"example": 0, "option": 2}, {"source_layer": 1, "option": [2, 0]}):
        np.testing.assert_array_equal(found.option_logprob.isel(chosen).values, want.option_logprob.isel(chosen).values)


def test_results_of_a_sweep_netcdf_and_tables_hold_them(uneven, tiny_model, tmp_path):
    run_study(uneven, tmp_path / "run")
    want = open_run(tmp_path / "run").load()
    same(load_results(save_results(want, tmp_path / "results.parquet")), want)
    stored = xr.load_dataset(export_run(tmp_path / "run", "netcdf"))
    np.testing.assert_array_equal(stored.option_logprob, want.option_logprob)
    for form, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        table = read(export_run(tmp_path / "run", form))
        columns = table[[f"option_logprob_{place}" for place in range(3)]].to_numpy().reshape(want.option_logprob.shape)
        np.testing.assert_allclose(columns, want.option_logprob, rtol=1e-6)
        assert {f"vanilla_option_logprob_{place}" for place in range(3)} <= set(table)


def test_without_details_a_run_is_what_it_was(study, tmp_path):
    """And what is there of one that keeps them is the same."""
    run_study(study, tmp_path / "plain")
    run_study(study | {"details": ["options"]}, tmp_path / "kept")
    plain, kept = open_run(tmp_path / "plain").load(), open_run(tmp_path / "kept").load()
    assert plain.drop_attrs().identical(kept.drop_dims("option").drop_attrs())
    assert not [name for name in content(tmp_path / "plain") if b"option_logprob" in content(tmp_path / "plain")[name]]


def test_other_details_are_another_study_and_a_run_of_an_earlier_version_opens_and_goes_on(study, tmp_path):
    run_study(study, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    del manifest["study"]["details"]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    assert "option_logprob" not in open_run(tmp_path / "run")
    with pytest.raises(xtl.InputError, match="changed: details none -> options"):
        run_study(study | {"details": "options"}, tmp_path / "run")
    assert run_study(study, tmp_path / "run").n_done == 4


def test_tasks_of_unequal_numbers_of_options_open_together(study, tmp_path):
    tasks = ["capitals", {"name": "official_languages", "n_options": 3}]
    run_study(study | {"tasks": tasks, "limit": 1, "details": "options"}, tmp_path / "run")
    found = open_run(tmp_path / "run")
    missing = found.option_logprob.isel(option=3).isnull().all(["module", "source_layer", "target_layer"])
    assert missing.values.tolist() == (found.task == "official_languages").values.tolist() == [False, False, True, True]
    assert open_results(tmp_path / "run").option_logprob.equals(found.option_logprob)
    assert gold_option(found).dtype == int


def test_none_takes_a_files_details_away(study):
    assert xtl.Study.read(study | {"details": ["options"]}, details="none").details == ()
    assert xtl.Study.read(study | {"details": ["agreement", "options", "options"]}).details == ("options", "agreement")


def test_details_are_refused_where_the_study_has_none_to_keep(study):
    with pytest.raises(
        xtl.InputError, match=r"unknown details 'opt' .*valid: options, lens, state, confidence, agreement"
    ):
        xtl.Study.read(study | {"details": "opt"})
    with pytest.raises(xtl.InputError, match="details 'options' is of likelihood among options"):
        xtl.Study.read(study | {"details": ["options"], "score": "none"})


def test_the_flag_is_the_key(study, tmp_path, run):
    given = [
        "--models",
        study["models"],
        "--tasks",
        "capitals",
        "--directions",
        "en:es",
        "--limit",
        1,
        "--modules",
        "mlp",
    ]
    code, _, err = run("run", *given, "--source-layers", "0", "--details", "options", "--out", tmp_path / "run")
    assert code == 0, err
    assert open_run(tmp_path / "run").option_logprob.sizes["option"] == 4


def bytes_a_cell(of_map):
    """Of maps of 648 cells with what a function adds to each."""
    files = []
    for job in jobs_of(limit=50, directions=["en:es"]).all:
        result = map_of(job, layers=18)
        files.append(encode_map(result.assign(of_map(result.score)), job, "gemma-3-270m"))
    return sum(len(join_tables([pair[table] for pair in files])) for table in (0, 1)) / (50 * 2 * 18**2)


def test_a_cell_takes_at_most_4_bytes_an_option_more_and_12_for_confidence():
    """Random numbers, which pack worst."""
    random = np.random.default_rng(0)

    def shares(n_options):
        def add(score):
            drawn = np.log(random.dirichlet(np.ones(n_options), score.shape)).astype("float32")
            cells = xr.DataArray(drawn, dims=(*score.dims, "option"))
            return {"option_logprob": cells, "vanilla_option_logprob": cells[0, 0, 0]}

        return add

    def confidence(score):
        return {name: (score.dims, random.normal(size=score.shape).astype("float32")) for name in Confidence._fields}

    def agreement(score):
        names = ("agrees_with_vanilla", "agrees_with_source")
        return {name: (score.dims, random.normal(size=score.shape) > 0) for name in names}

    plain = bytes_a_cell(lambda score: {})
    added = [bytes_a_cell(add) - plain for add in (shares(2), shares(4), confidence, agreement)]
    assert np.all(np.array(added) <= [8, 16, 12, 0.5]), added


def test_a_sweep_on_the_command_line_keeps_them_too(loaded, tmp_path, run):
    given = ["--task", "capitals", "--source-lang", "en", "--target-lang", "es", "--limit", 1, "--model", loaded]
    code, _, err = run("sweep", *given, "--source-layers", "0", "--details", "options", "--out", tmp_path)
    assert code == 0, err
    assert load_results(tmp_path / "results.parquet").option_logprob.sizes["option"] == 4
    code, _, err = run("sweep", *given, "--details", "all", "--out", tmp_path)
    assert code == 2
    assert err.count("\n") == 1
    assert "unknown details 'all'; valid: options, lens, state, confidence, agreement" in err


def test_the_store_knows_what_confidence_is_made_of_without_the_engine():
    assert Confidence._fields == CONFIDENCE
