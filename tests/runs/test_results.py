from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr

import xtl
from tests.synthetic import single_sweep, synthetic_results
from xtl.runs import load_results, save_results, to_table


def test_results_come_back_as_they_were(tmp_path):
    results = synthetic_results()
    path = save_results(results, tmp_path / "a b é" / "results.parquet")
    back = load_results(path)
    xr.testing.assert_equal(back[list(results.data_vars)], results)
    assert back.attrs == results.attrs
    assert back.gain.dtype == results.gain.dtype
    assert back.correct.dtype == bool


def test_the_same_instance_in_two_directions_is_two_instances(tmp_path):
    results = synthetic_results()
    twice = xr.concat(
        [results.isel(example=[0]), results.isel(example=[0]).assign_coords(target_lang=("example", ["zz"]))], "example"
    )
    back = load_results(save_results(twice, tmp_path / "r.parquet"))
    assert back.sizes["example"] == 2
    assert back.target_lang.values.tolist() == [str(results.target_lang.values[0]), "zz"]


def test_the_table_is_tidy_and_readable_without_xtl(tmp_path):
    results = synthetic_results()
    path = save_results(results, tmp_path / "r.parquet")
    table = pd.read_parquet(path)
    assert list(table.columns[:8]) == list(to_table(results).columns[:8])
    row = table[
        (table.example == str(results.example.values[1]))
        & (table.module == "mlp")
        & (table.source_layer == 2)
        & (table.target_layer == 3)
    ]
    cell = results.isel(example=1).sel(module="mlp", source_layer=2, target_layer=3)
    assert row.gain.tolist() == [float(cell.gain)]
    assert row.vanilla_score.tolist() == [float(cell.vanilla_score)]


def test_a_single_sweep_is_a_table_too(tmp_path):
    back = load_results(save_results(single_sweep(), tmp_path / "r.parquet"))
    assert back.sizes["example"] == 1
    np.testing.assert_array_equal(back.gain[0], single_sweep().gain)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = save_results(synthetic_results(), tmp_path / "r.parquet")
    before = path.read_bytes()

    def half(table, where, **_):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xtl.runs.results.pq.write_table", half)
    with pytest.raises(xtl.InputError, match=r"cannot write .*No space left on device"):
        save_results(single_sweep(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.parquet"]


def test_what_is_no_results_file_is_refused(tmp_path):
    with pytest.raises(xtl.InputError, match="no results at"):
        load_results(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("text")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    for name in ["text", "other"]:
        with pytest.raises(xtl.InputError, match="is not a results file of xtl"):
            load_results(tmp_path / f"{name}.parquet")


def test_a_table_with_missing_rows_is_refused(tmp_path):
    path = save_results(synthetic_results(), tmp_path / "r.parquet")
    pq.write_table(pq.read_table(path).slice(0, 50), path)
    with pytest.raises(xtl.InputError, match="is not whole"):
        load_results(path)
    assert json.loads(pq.read_schema(path).metadata[b"xtl"])


def test_rows_in_another_order_are_refused(tmp_path):
    path = save_results(synthetic_results(), tmp_path / "results.parquet")
    table = pq.read_table(path)
    pq.write_table(table.take(np.arange(len(table))[::-1]).replace_schema_metadata(table.schema.metadata), path)
    assert load_results(path).sizes["example"] == 8  # all axes turned alike: each value still has its labels
    pq.write_table(table.sort_by("gain").replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(xtl.InputError, match="in another order than they were written"):
        load_results(path)


@pytest.mark.parametrize("empty", ["example", "module", "source_layer"])
def test_nothing_is_not_written_and_a_file_with_nothing_is_refused(tmp_path, empty):
    with pytest.raises(xtl.InputError, match=f"results are empty: no {empty}"):
        save_results(synthetic_results().isel({empty: []}), tmp_path / "results.parquet")
    assert not list(tmp_path.iterdir())
    path = save_results(synthetic_results(), tmp_path / "results.parquet")
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(xtl.InputError, match="holds no rows"):
        load_results(path)


def test_attributes_of_numpy_come_back(tmp_path):
    written = synthetic_results().assign_attrs(seed=np.int64(3), ends=np.array([0.5, 1.0]), where=tmp_path)
    found = load_results(save_results(written, tmp_path / "results.parquet")).attrs
    assert (found["seed"], found["ends"], found["where"]) == (3, [0.5, 1.0], str(tmp_path))


def test_generated_answers_survive(tiny_model, tmp_path):
    pairs = [xtl.ParallelPair("a b", f"c {i}", "en", "es", answers=["x"], id=str(i)) for i in range(2)]
    results = xtl.concat_maps(xtl.sweep_many(tiny_model("llama"), pairs, max_new_tokens=3, source_layers=[0]))
    again = load_results(save_results(results, tmp_path / "r.parquet"))
    np.testing.assert_array_equal(again.tokens, results.tokens)
    np.testing.assert_array_equal(again.vanilla_tokens, results.vanilla_tokens)
    assert again.tokens.dims == results.tokens.dims
    assert again.tokens.dtype == np.int32
    assert (again.text == results.text).all()
    assert list(again.vanilla_text.values) == list(results.vanilla_text.values)
