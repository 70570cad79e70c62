"""`analyses.gain_maps`: same-layer cells, groups, differences, one map a language and an instance."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import gain_maps
from tests.synthetic import LIFT, PLANTED, synthetic_results
from xtl.errors import InputError
from xtl.languages import by_resource
from xtl.results import labelled

RESULTS = synthetic_results(directions=[("en", "sw"), ("en", "es"), ("en", "ru"), ("es", "en")])
DATA = gain_maps.compute(RESULTS)


def test_the_same_layer_line_is_the_diagonal() -> None:
    gain = DATA["gain"].sel(direction="en->sw", module="mlp").values
    np.testing.assert_allclose(DATA["gain_same_layer"].sel(direction="en->sw", module="mlp"), np.diag(gain))
    part = gain_maps.compute(RESULTS.isel(source_layer=[1, 2], target_layer=[2, 3]))
    assert part["gain_same_layer"].notnull().sum("layer").values.max() == 1


@pytest.mark.parametrize("by", ["task", "kind", "resource", "target_lang"])
def test_groups_are_means_of_their_examples(by: str) -> None:
    data = gain_maps.compute(RESULTS, by=by)
    labels = labelled(RESULTS)[by].values
    assert int(data["n"].sum()) == RESULTS.sizes["example"]
    for name in data["direction"].values:
        expected = RESULTS["gain"].values[labels == name].mean(0)
        np.testing.assert_allclose(data["gain"].sel(direction=name), expected, atol=1e-6)


def test_the_difference_of_modules_shows_the_planted_cell_and_turns_its_sign() -> None:
    gap = gain_maps.module_difference(DATA)["gain"]
    mean = gap.mean("direction").isel(module=0)
    place = mean.isel(mean.argmax(("source_layer", "target_layer")))
    assert (int(place["source_layer"]), int(place["target_layer"])) == PLANTED[1:]
    assert float(place) > LIFT / 2
    np.testing.assert_allclose(gap, -gain_maps.module_difference(DATA, "mlp", "attn")["gain"].values)


def test_a_result_differs_from_itself_by_nothing_and_from_another_on_what_they_share() -> None:
    assert (gain_maps.difference(DATA, DATA)["gain"] == 0).all()
    other = gain_maps.compute(synthetic_results(directions=[("en", "sw")], layers=(2, 3, 4), seed=1))
    gap = gain_maps.difference(DATA, other)
    assert dict(gap["gain"].sizes) == {"direction": 1, "module": 2, "source_layer": 3, "target_layer": 3}
    cell = {"direction": "en->sw", "module": "mlp", "source_layer": 3, "target_layer": 2}
    assert gap["gain"].sel(cell) == DATA["gain"].sel(cell) - other["gain"].sel(cell)
    assert len(gain_maps.difference_figure(gap).data) == 2


def test_languages_stand_in_the_order_of_their_resources() -> None:
    figure = gain_maps.languages_figure(DATA, "attn")
    titles = [note.text for note in figure.layout.annotations][:4]
    assert [title.split(" (")[0] for title in titles] == ["en → es", "es → en", "en → ru", "en → sw"]
    assert "class 2" in titles[3]
    assert by_resource(["sw", "en", "xx", "ne", "hi"]) == ["en", "hi", "sw", "ne", "xx"]


def test_one_map_an_instance() -> None:
    data = gain_maps.compute(RESULTS, instances=3)
    figure = gain_maps.instances_figure(data, "mlp")
    assert len(figure.data) == 3
    np.testing.assert_allclose(np.asarray(figure.data[1].z, dtype=float), RESULTS["gain"].values[1, 1])
    assert figure.layout.annotations[1].text == "capitals/es-0, en → es"
    assert "gain_maps_instances_attn" in gain_maps.figures(data)
    with pytest.raises(InputError, match="no maps of instances"):
        gain_maps.instances_figure(DATA, "mlp")


def test_groups_of_one_result_are_subtracted_with_their_sign() -> None:
    by_task = RESULTS.assign_coords(task=("example", ["capitals", "xnli"] * (RESULTS.sizes["example"] // 2)))
    by_task["gain"][:] = 0.0
    by_task["gain"].loc[{"module": "mlp", "source_layer": 1, "target_layer": 2}] = np.where(
        by_task["task"] == "xnli", 3.0, 1.0
    )
    data = gain_maps.compute(by_task, by="task")
    gap = gain_maps.group_difference(data, "xnli", "capitals")["gain"]
    assert float(gap.sel(module="mlp", source_layer=1, target_layer=2)[0]) == 2
    assert float(gap.sum()) == 2
    np.testing.assert_array_equal(gap.values, -gain_maps.group_difference(data, "capitals", "xnli")["gain"].values)
    assert "gain_maps_groups" in gain_maps.figures(data)
    with pytest.raises(InputError, match="unknown group"):
        gain_maps.group_difference(data, "xnli", "mkqa")


def test_models_of_another_depth_are_compared_at_the_same_relative_depth() -> None:
    short = synthetic_results(directions=[("en", "es")], layers=range(4)).assign_attrs(n_layers=4, model="short")
    long = synthetic_results(directions=[("en", "es")], layers=range(7)).assign_attrs(n_layers=7, model="long")
    for results, cell in ((short, (1, 3)), (long, (2, 6))):
        results["gain"][:] = 0.0
        results["gain"].loc[{"module": "attn", "source_layer": cell[0], "target_layer": cell[1]}] = 1.0
    data = gain_maps.compute(short, against=long)
    assert (data["difference"] == 0).all()  # both gain at 1/3 and 1
    assert data.attrs["difference_of"] == "short minus long: capitals, by relative depth"
    drawn = gain_maps.figures(data)["gain_maps_against"]
    assert drawn.layout.title.text.startswith("Difference of gain maps: short minus long: capitals")
    assert len([trace for trace in drawn.data if trace.type == "heatmap"]) == 2
    long["gain"].loc[{"module": "attn", "source_layer": 2, "target_layer": 6}] = 4.0
    gap = gain_maps.compute(short, against=long)["difference"]
    assert float(gap.sel(module="attn", source_layer=1, target_layer=3)[0]) == -3
    assert float(abs(gap).sum()) == 3


def test_all_figures() -> None:
    names = {
        "gain_maps",
        "gain_maps_layers",
        "gain_maps_languages_attn",
        "gain_maps_languages_mlp",
        "gain_maps_difference",
    }
    assert set(gain_maps.figures(DATA)) == names
    alone = gain_maps.compute(RESULTS.sel(module=["mlp"]).isel(example=[0]))
    assert set(gain_maps.figures(alone)) == {"gain_maps", "gain_maps_layers"}


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="unknown by"):
        gain_maps.compute(RESULTS, by="colour")
    with pytest.raises(InputError, match="unknown module"):
        gain_maps.module_difference(DATA, "resid")
    with pytest.raises(InputError, match="no direction"):
        gain_maps.difference(DATA, gain_maps.compute(synthetic_results(directions=[("en", "fr")])))
    with pytest.raises(InputError, match="can't be subtracted"):
        gain_maps.difference(DATA, DATA.assign_attrs(score_unit="fraction right"))
    with pytest.raises(InputError, match="difference or module_difference"):
        gain_maps.difference_figure(DATA)
