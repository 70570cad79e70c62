"""`analyses.attn_vs_ffn`: a planted advantage is found with its sign, a null is not, and missing modules are refused."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import attn_vs_ffn
from tests.synthetic import synthetic_results
from xtl import stats
from xtl.analysis import Request
from xtl.errors import InputError

FAST = {"n_resamples": 500, "n_splits": 20}


def of_task(results, task: str):  # type: ignore[no-untyped-def]
    return results.assign_attrs(task=task)


@pytest.fixture(scope="module")
def data():
    results = stats.simulate(languages=["es", "sw"], planted={("mlp", 1, 2): 3.0}, n_layers=4)
    return attn_vs_ffn.compute(of_task(results, "mkqa"), **FAST)


def test_the_planted_module_wins_and_the_claim_is_judged(data) -> None:
    best = data.sel(group="generation", quantity="best cell, held out")
    assert best["high"] < -1
    assert abs(float(best["mlp"]) - 3) < 0.6
    assert attn_vs_ffn.verdict(data, "generation") == "yes"
    assert attn_vs_ffn.in_words(data, "generation")[-1] == "The paper's claim that FFN serves generation: yes."
    other = stats.simulate(planted={("mlp", 1, 2): 3.0}, n_layers=4)
    assert attn_vs_ffn.verdict(attn_vs_ffn.compute(of_task(other, "xnli"), **FAST), "understanding") == "no"
    assert attn_vs_ffn.verdict(attn_vs_ffn.compute(of_task(other, "capitals"), **FAST), "knowledge") == "no claim"


def test_the_layer_of_the_planted_cell_stands_out(data) -> None:
    p = data["layer_p_max"].sel(group="generation")
    assert p.sel(role="target", layer=2) < 0.05
    assert p.sel(role="source", layer=1) < 0.05
    assert p.sel(role="same").min() > 0.05
    assert p.sel(role="target", layer=[0, 1, 3]).min() > 0.05


def test_differences_are_differences_of_means_and_the_sum_over_layers_is_the_whole(data) -> None:
    np.testing.assert_allclose(data["difference"], data["attn"] - data["mlp"], atol=1e-9)
    np.testing.assert_allclose(data["layer_difference"], data["layer_attn"] - data["layer_mlp"], atol=1e-9)
    whole = data["difference"].sel(quantity="all cells")
    for role in ("source", "target"):
        np.testing.assert_allclose(data["layer_difference"].sel(role=role).mean("layer"), whole, atol=1e-6)
    np.testing.assert_allclose(
        data["layer_difference"].sel(role="same").mean("layer"),
        data["difference"].sel(quantity="same layer"),
        atol=1e-6,
    )
    inside = (data["low"] <= data["difference"]) & (data["difference"] <= data["high"])
    assert inside.where(data["low"].notnull(), True).all()


def test_swapping_the_modules_turns_the_sign() -> None:
    results = stats.simulate(n_layers=3, planted={("attn", 0, 1): 2.0})
    swapped = results.assign_coords(module=["mlp", "attn"])
    a, b = (attn_vs_ffn.compute(some, **FAST) for some in (results, swapped))
    np.testing.assert_allclose(a["difference"], -b["difference"], atol=1e-9)
    np.testing.assert_allclose(a["p"], b["p"])


def test_without_an_effect_the_claim_stays_open_at_the_promised_rate() -> None:
    found = [
        attn_vs_ffn.verdict(
            attn_vs_ffn.compute(of_task(stats.simulate(n_layers=3, seed=seed), "xnli"), **FAST), "understanding"
        )
        for seed in range(12)
    ]
    assert found.count("open") >= 10


def test_the_papers_layers_are_those_of_the_kind() -> None:
    results = of_task(stats.simulate(n_layers=4, planted={("attn", 3, 0): 4.0}), "xcopa")
    data = attn_vs_ffn.compute(results, **FAST)
    assert data["difference"].sel(group="understanding", quantity="paper's layers") > 3
    thin = results.isel(source_layer=[1, 3], target_layer=[0, 2])
    part = attn_vs_ffn.compute(thin, **FAST)
    assert (
        part["difference"].sel(quantity="paper's layers").isnull().all()
    )  # is layer 3 the last one? The run doesn't say
    part = attn_vs_ffn.compute(thin.assign_attrs(n_layers=4), **FAST)
    whole = data["difference"].sel(quantity="paper's layers")
    np.testing.assert_allclose(part["difference"].sel(quantity="paper's layers"), whole)
    part = attn_vs_ffn.compute(thin.assign_attrs(n_layers=6), **FAST)
    assert part["difference"].sel(quantity="paper's layers").isnull().all()  # the last one was not tried


def test_a_control_takes_off_what_both_have() -> None:
    real, control = stats.simulate(control=True, n_layers=3)
    for run in (real, control):
        run["gain"].loc[{"module": "attn"}] += 2
    data = attn_vs_ffn.compute(real, control, **FAST)
    assert abs(float(data["difference"].sel(group="unknown", quantity="all cells"))) < 0.5
    assert data.attrs["against"] == "simulated control"


def test_figures_show_what_was_computed(data) -> None:
    found = attn_vs_ffn.figures(data)
    assert set(found) == {"attn_vs_ffn", "attn_vs_ffn_layers"}
    assert len({axis.range for axis in found["attn_vs_ffn"].select_xaxes()}) == 1  # one scale
    assert {axis.domain[0] for axis in found["attn_vs_ffn"].select_xaxes()} == {
        0,
        found["attn_vs_ffn"].layout.xaxis2.domain[0],
    }
    assert found["attn_vs_ffn"].layout.height > 350
    drawn = [trace.x[0] for trace in found["attn_vs_ffn"].data]
    np.testing.assert_allclose(drawn, data["difference"].values.ravel())


def test_bad_input_is_refused() -> None:
    results = synthetic_results(per_direction=6)
    with pytest.raises(InputError, match="lack the module attn; they have: mlp"):
        attn_vs_ffn.compute(results.sel(module=["mlp"]))
    with pytest.raises(InputError, match="unknown by 'model'"):
        attn_vs_ffn.compute(results, by="model")
    with pytest.raises(InputError, match="fewer than 5"):
        attn_vs_ffn.compute(results.isel(example=[0]))
    with pytest.raises(InputError, match="compute"):
        attn_vs_ffn.figure(results)
    with pytest.raises(InputError, match="unknown group"):
        attn_vs_ffn.verdict(attn_vs_ffn.compute(results, **FAST), "culture")


def test_tasks_that_are_not_scored_alike_are_contrasted_each_for_itself(tmp_path, monkeypatch) -> None:
    asked = synthetic_results(per_direction=6)
    parts = [asked.assign_attrs(task="xnli"), asked.assign_attrs(task="xquad", score="log-probability of the answer")]
    monkeypatch.setattr("xtl.runs.reading.open_apart", lambda run: parts)
    data = attn_vs_ffn.from_request(Request(runs=[tmp_path], by="task"))
    assert data["group"].values.tolist() == ["xnli", "xquad"]
    means = data["difference"].sel(quantity="all cells")
    assert float(means[0]) == float(means[1])
    assert "no intervals: fewer than 29" in attn_vs_ffn.figure(data).layout.title.subtitle.text
    parts[1] = parts[1].assign_attrs(score_unit="nats per byte")
    with pytest.raises(InputError, match="gains are in nats and in nats per byte"):
        attn_vs_ffn.from_request(Request(runs=[tmp_path], by="task"))
    parts[1] = parts[0].assign_attrs(score="log-probability of the answer")
    with pytest.raises(InputError, match="tasks of one group are not scored alike"):
        attn_vs_ffn.from_request(Request(runs=[tmp_path], by="task"))
