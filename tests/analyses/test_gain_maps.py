"""Laws of `analyses.gain_maps`: means are numpy's, directions stay apart, the planted cell is found."""

import numpy as np
import pytest
import xarray as xr

from analyses import gain_maps
from tests.synthetic import LIFT, PLANTED, single_sweep, synthetic_results
from xtl.errors import InputError
from xtl.results import means


def test_means_equal_numpys_per_direction() -> None:
    results = synthetic_results()
    data = gain_maps.compute(results)
    assert data["direction"].values.tolist() == ["en->es", "en->sw"]
    for direction in ("es", "sw"):
        chosen = results["target_lang"].values == direction
        part = data.sel(direction=f"en->{direction}")
        mean = results["gain"].values[chosen].astype("float64").mean(axis=0)
        np.testing.assert_allclose(part["gain"], mean, rtol=1e-6)
        np.testing.assert_allclose(part["gain_as_target"], mean.mean(axis=1), rtol=1e-6)
        np.testing.assert_allclose(part["gain_as_source"], mean.mean(axis=2), rtol=1e-6)
        np.testing.assert_allclose(part["accuracy"], results["correct"].values[chosen].mean(axis=0))
        assert float(part["vanilla_accuracy"]) == pytest.approx(results["vanilla_correct"].values[chosen].mean())
        assert float(part["vanilla_score"]) == pytest.approx(results["vanilla_score"].values[chosen].mean())
        assert int(part["n"]) == chosen.sum()
    assert data["gain_as_target"].dims == ("direction", "module", "layer")


def test_the_order_of_examples_and_of_dims_is_irrelevant() -> None:
    results = synthetic_results()
    mixed = results.isel(example=np.random.default_rng(1).permutation(results.sizes["example"]))
    data = gain_maps.compute(results)
    xr.testing.assert_allclose(gain_maps.compute(mixed).sel(direction=data["direction"]), data)
    xr.testing.assert_allclose(gain_maps.compute(results.transpose("target_layer", ...)), data)


def test_unequal_directions_are_not_pooled() -> None:
    results = synthetic_results().isel(example=[0, 2, 4, 1])  # en->es three times, en->sw once
    data = gain_maps.compute(results)
    assert data["n"].values.tolist() == [3, 1]
    np.testing.assert_allclose(data["gain"].sel(direction="en->sw"), results["gain"].values[3], rtol=1e-6)


def test_the_planted_cell_is_the_best_in_every_direction() -> None:
    results = synthetic_results()
    data = gain_maps.compute(results)
    table = gain_maps.best_cells(data)
    assert list(table.columns) == list(means.COLUMNS)
    assert list(zip(table["direction"], table["module"], strict=True)) == [
        ("en->es", "attn"), ("en->es", "mlp"), ("en->sw", "attn"), ("en->sw", "mlp"),
    ]  # fmt: skip
    for row in table[table["module"] == PLANTED[0]].to_dict("records"):
        assert (row["source_layer"], row["target_layer"]) == PLANTED[1:]
        cell = data.sel(direction=row["direction"], module="attn", source_layer=PLANTED[1], target_layer=PLANTED[2])
        assert row["best_gain_in_sample"] == pytest.approx(float(cell["gain"]))
        assert row["best_gain_in_sample"] > LIFT - 1
        assert row["best_accuracy_in_sample"] == pytest.approx(float(cell["accuracy"]))
        assert row["n"] == 4


def test_the_layers_of_a_subset_keep_their_numbers() -> None:
    results = synthetic_results(layers=[0, 3, 6]).isel(target_layer=[1, 2])
    results["gain"][:] = 0.0
    results["gain"].loc[{"module": "mlp", "source_layer": 0, "target_layer": 6}] = 2.0
    data = gain_maps.compute(results)
    assert data["layer"].values.tolist() == [0, 3, 6]
    assert np.isnan(data["gain_as_target"].sel(layer=0)).all()  # never tried as a target
    assert data["gain_as_target"].sel(module="mlp", layer=6).values.tolist() == pytest.approx([2 / 3] * 2)
    row = gain_maps.best_cells(data).set_index(["direction", "module"]).loc[("en->es", "mlp")]
    assert (row["source_layer"], row["target_layer"]) == (0, 6)


def test_a_single_sweep_counts_as_one_example() -> None:
    sweep = single_sweep()
    data = gain_maps.compute(sweep)
    assert data["n"].values.tolist() == [1]
    assert data["direction"].values.tolist() == ["en->es"]
    np.testing.assert_allclose(data["gain"][0], sweep["gain"], rtol=1e-6)


def test_without_options_there_is_no_accuracy() -> None:
    data = gain_maps.compute(synthetic_results(options=False))
    assert "accuracy" not in data
    assert "vanilla_accuracy" not in data
    assert gain_maps.best_cells(data)["best_accuracy_in_sample"].isna().all()
    assert "accuracy" not in " ".join(gain_maps.in_words(data, "en->es"))


def test_missing_gains_are_left_out_and_a_module_without_any_has_no_best_cell() -> None:
    results = synthetic_results(directions=[("en", "es")])
    results["gain"][0, 0, 1, 1] = np.nan
    results["gain"][:, 1] = np.nan
    data = gain_maps.compute(results)
    assert float(data["gain"][0, 0, 1, 1]) == pytest.approx(results["gain"].values[1:, 0, 1, 1].mean(), rel=1e-5)
    assert int(data["n_gain"][0, 0, 1, 1]) == 3
    table = gain_maps.best_cells(data).set_index("module")
    assert np.isnan(table.loc["mlp", "best_gain_in_sample"])
    assert table["source_layer"].isna().tolist() == [False, True]


def test_words_name_the_layer_the_module_and_the_in_sample_cell() -> None:
    data = gain_maps.compute(synthetic_results())
    first, second = gain_maps.in_words(data, "en->sw")
    assert first.startswith("The largest lift of Swahili comes from attn at target layer 4: +")
    assert "best source layer is 3 of attn" in first
    assert "attn 3 → 4" in second
    assert "in-sample" in second
    assert "n = 4" in second


def test_words_say_so_when_nothing_helps() -> None:
    results = synthetic_results()
    results["gain"] = -abs(results["gain"]) - 0.1
    first, second = gain_maps.in_words(gain_maps.compute(results), "en->es")
    assert first.startswith("No target layer of any module lifts Spanish")
    assert "-" in first
    assert second.startswith("No single cell lifts it either")


def test_words_tell_a_lone_good_cell_from_a_good_layer() -> None:
    results = synthetic_results()
    results["gain"][:] = -1.0
    results["gain"].loc[{"module": "mlp", "source_layer": 2, "target_layer": 5}] = 1.0
    first, second = gain_maps.in_words(gain_maps.compute(results), "en->es")
    assert first.startswith("No target layer")
    assert second.startswith("The best single cell is mlp 2 → 5: +1.000 nats")


def test_words_without_any_gain_say_that() -> None:
    results = synthetic_results()
    results["gain"][:] = np.nan
    assert gain_maps.in_words(gain_maps.compute(results), "en->es") == ["No gain was measured for en->es."]


def test_figure_has_a_map_per_direction_and_module_on_one_scale() -> None:
    data = gain_maps.compute(synthetic_results())
    figure = gain_maps.figure(data)
    expected = data["gain"].values.reshape(-1, *data["gain"].shape[2:])
    for trace, values in zip(figure.data[:4], expected, strict=True):
        np.testing.assert_allclose(np.asarray(trace.z, dtype=float), values)
    assert figure.layout.coloraxis.cmax == -figure.layout.coloraxis.cmin == pytest.approx(np.abs(expected).max())
    assert [note.text for note in figure.layout.annotations][:2] == [
        "en → es, attn (n = 4)",
        "en → es, mlp (n = 4)",
    ]


@pytest.mark.parametrize(
    "call", [gain_maps.best_cells, gain_maps.figure, lambda data: gain_maps.in_words(data, "en->es")]
)
def test_raw_results_where_computed_data_belong_are_an_error(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="compute"):
        call(synthetic_results())


def test_unfit_results_are_an_error() -> None:
    with pytest.raises(InputError, match="gain"):
        gain_maps.compute(synthetic_results().drop_vars("gain"))
    with pytest.raises(InputError, match="target_layer"):
        gain_maps.compute(synthetic_results().isel(target_layer=0))
    with pytest.raises(InputError, match="en->fr"):
        gain_maps.in_words(gain_maps.compute(synthetic_results()), "en->fr")
