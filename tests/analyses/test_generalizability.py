"""`analyses.generalizability`: a shared cell transfers, an own one does not, layers are matched by depth, levels add up."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from analyses import generalizability
from analyses._results import nearest_layer
from tests.synthetic import synthetic_results
from xtl import stats
from xtl.errors import InputError

FAST = {"n_splits": 20}


def test_a_cell_that_all_languages_share_transfers() -> None:
    results = stats.simulate(languages=["es", "sw", "ru"], planted={("attn", 2, 3): 3.0})
    data = generalizability.compute(results, **FAST)
    assert (data["transfer"] > 2).all()
    assert (data["retained"] > 0.6).all()
    assert data["source_layer"].values.tolist() == [2, 2, 2]
    assert generalizability.table(data)["module"].tolist() == ["attn"] * 3
    np.testing.assert_allclose(data["transfer"], stats.cell_transfer(results, n_splits=20, seed=0).values, atol=1e-9)


def test_a_cell_of_ones_own_does_not() -> None:
    runs = {name: stats.simulate(planted={(name, 1, 1): 4.0}, seed=seed) for name, seed in (("attn", 0), ("mlp", 1))}
    data = generalizability.compute(runs, **FAST)
    own, off = np.diag(data["transfer"]), data["transfer"].values[[0, 1], [1, 0]]
    assert (own > 3).all()
    assert (abs(off) < 0.8).all()
    assert "different cells" in generalizability.in_words(data)[1]


def test_without_an_effect_nothing_is_gained_anywhere() -> None:
    data = generalizability.compute(stats.simulate(languages=["es", "sw"], n_instances=40), n_splits=50)
    assert abs(float(data["transfer"].mean())) < 0.4


def test_layers_of_models_of_another_depth_are_matched_by_relative_depth() -> None:
    short = stats.simulate(planted={("mlp", 1, 3): 4.0}, n_layers=4).assign_attrs(model="short")
    long = stats.simulate(planted={("mlp", 2, 6): 4.0}, n_layers=7, seed=1).assign_attrs(model="long")
    data = generalizability.compute({"short": short, "long": long}, **FAST)
    assert (data["transfer"] > 2.5).all()
    assert data["target_layer"].values.tolist() == [3, 6]
    assert list(generalizability.figure(data).data[0].x) == ["short", "long"]
    tasks = {
        "a": short.assign_attrs(task="capitals"),
        "b": short.assign_attrs(task="xnli"),
        "c": long.assign_attrs(task="capitals"),
    }
    figure = generalizability.figure(generalizability.compute(tasks, **FAST))
    assert list(figure.data[0].x) == ["capitals, short", "xnli, short", "capitals, long"]
    assert figure.data[0].texttemplate == "%{text}"
    part = short.isel(source_layer=[1, 2], target_layer=[2, 3])  # layers 1 and 2 are no ends of a model of 4
    runs = {"part": part.assign_attrs(n_layers=4), "long": long.assign_attrs(n_layers=7)}
    assert (generalizability.compute(runs, **FAST)["transfer"] > 2.5).all()
    layers = list(range(18))
    assert [nearest_layer(k, layers, layers) for k in layers] == layers


def test_levels_hold_every_example_once_and_find_the_planted_one() -> None:
    results = stats.simulate(languages=["es", "sw"], planted={("attn", 0, 1): 2.0}, n_instances=12)
    countries = ["FR", "DE", "IT", "PL", "SE", "AT", "GH", "ML", "SN", "UG", "ZM", "RW"]
    ids = {f"simulated/{k}": f"capitals/{code}" for k, code in enumerate(countries)}
    results = results.assign_coords(example=[ids[str(name)] for name in results["example"].values])
    african = np.isin(results["example"].values, [f"capitals/{code}" for code in countries[6:]])
    results["gain"].values[african] += 5
    data = generalizability.compute(results, cell=("attn", 0, 1), **FAST)
    assert data["level"].values.tolist() == ["class 2", "class 5", "Africa", "Europe"]
    n = data["level_n"]
    assert int(n.sel(level=["class 2", "class 5"]).sum()) == int(n.sel(level=["Africa", "Europe"]).sum()) == 24
    assert data["level_value"].sel(level="Africa") > data["level_value"].sel(level="Europe") + 4
    assert data["level_high"].isnull().all()  # 6 instances a level
    whole = float(results["gain"].sel(module="attn", source_layer=0, target_layer=1).mean())
    weighted = (data["level_value"] * n).sel(level=["class 2", "class 5"]).sum() / 24
    assert float(weighted) == pytest.approx(whole, abs=1e-5)
    assert set(generalizability.figures(data)) == {"generalizability", "generalizability_levels"}


def test_accuracy_can_be_measured_too() -> None:
    results = stats.simulate(languages=["es", "sw"], planted={("attn", 2, 3): 3.0})
    data = generalizability.compute(results, measure="accuracy", **FAST)
    assert (abs(data["transfer"]) <= 1).all()
    assert (data["transfer"] > 0.1).all()


def no_mlp() -> xr.Dataset:
    return stats.simulate(modules=["attn"])


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        (stats.simulate(), {}, "one group alone .en->es."),
        ({"a": stats.simulate()}, {}, "one group alone"),
        ({"a": stats.simulate(), "b": no_mlp()}, {}, "different modules"),
        ({"a": stats.simulate(), "b": stats.simulate().assign_attrs(score_unit="bits")}, {}, "in nats and in bits"),
        (stats.simulate(languages=["es", "sw"]), {"cell": ("attn", 2)}, "cell must be tuple"),
        (stats.simulate(languages=["es", "sw"]), {"cell": ("attn", 9, 0)}, "no source_layer 9"),
        (stats.simulate(languages=["es", "sw"]), {"by": "model"}, "unknown by"),
        (synthetic_results(per_direction=1), {}, "fewer than 5"),
    ],
)
def test_bad_input_is_refused(results, options, message) -> None:
    with pytest.raises(InputError, match=message):
        generalizability.compute(results, **(FAST | options))
    with pytest.raises(InputError, match="compute"):
        generalizability.figure(synthetic_results())
