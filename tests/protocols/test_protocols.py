from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xtl
from tests import tiny
from xtl import protocols
from xtl.protocols.run import Data, gather, score_settings

LANGUAGES = ["de", "sw"]


@pytest.fixture
def data(shared):
    return Data(limit=3, folder=shared / "data" / "xtransplant")


@pytest.fixture
def model(tiny_model):
    return tiny_model("llama")


@pytest.fixture
def short(monkeypatch):
    """The paper's prompts cut to what the tiny model can hold: what is tested here is not what they say."""
    real = Data.pairs

    def cut(self, task, language, split, source=None):
        pairs = real(self, task, language, split, source)
        return [
            xtl.ParallelPair(**(vars(pair) | {"source": pair.source[-40:], "target": pair.target[-30:]}))
            for pair in pairs
        ]

    monkeypatch.setattr(Data, "pairs", cut)


def test_pairwise_runs_all_cells_of_all_languages(model, data, short):
    maps = protocols.pairwise(model, "xnli", LANGUAGES, data=data, target_layers=[0, 1])
    assert dict(maps.sizes) | {"step": 20} == {
        "example": 6, "module": 2, "source_layer": tiny.N_LAYERS, "target_layer": 2, "step": 20
    }  # fmt: skip
    assert maps.attrs["text_score"] == "paper"
    assert (maps.attrs["task"], maps.attrs["split"], maps.attrs["kind"]) == ("xnli", "sample", "understanding")
    assert list(maps.target_lang.values) == ["de"] * 3 + ["sw"] * 3
    table = protocols.upper_bound(maps)
    assert list(table.columns) == ["de", "sw", "mean", "sd"]
    assert table.loc["n"].tolist()[:3] == [3, 3, 6]


def test_the_direction_is_the_tasks_own(model, data, short):
    maps = protocols.pairwise(
        model, "global_opinion_qa", ["sw"], data=data, score="likelihood", source_layers=[0], target_layers=[0]
    )
    assert set(maps.source_lang.values) == {"sw"}
    assert set(maps.target_lang.values) == {"en"}
    assert ((maps.similarity > 0) & (maps.similarity <= 1)).all()
    table = protocols.accuracy_table(maps, "similarity")
    assert table.loc["vanilla", "sw"] == pytest.approx(100 * float(maps.vanilla_similarity.mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("task", "cell"), [("xnli", ("attn", 3, 0)), ("xquad", ("mlp", 0, 0)), ("global_opinion_qa", ("mlp", 0, 0))]
)
def test_fixed_takes_the_papers_cell(model, data, short, task, cell):
    result = protocols.fixed(model, task, ["de"], data=data, split="sample")
    assert (result.module.item(), result.source_layer.item(), result.target_layer.item()) == cell
    table = protocols.accuracy_table(result)
    name = f"{cell[0]} {cell[1]} -> {cell[2]}"
    assert list(table.index) == ["vanilla", name, f"{name}, gain", "n"]
    assert table.loc[f"{name}, gain", "de"] == table.loc[name, "de"] - table.loc["vanilla", "de"]


def synthetic(right, vanilla=None):
    """Results with these right answers: [example, module, source_layer, target_layer]."""
    right = np.asarray(right, dtype=bool)
    n = len(right)
    return xr.Dataset(
        {
            "correct": (("example", "module", "source_layer", "target_layer"), right),
            "vanilla_correct": ("example", np.zeros(n, bool) if vanilla is None else np.asarray(vanilla)),
        },
        coords={
            "module": ["attn", "mlp"][: right.shape[1]],
            "source_layer": range(right.shape[2]),
            "target_layer": range(right.shape[3]),
            "source_lang": ("example", ["en"] * n),
            "target_lang": ("example", ["de", "sw"] * (n // 2)),
        },
    )


def test_upper_bounds_are_what_they_say():
    right = np.zeros((4, 2, 2, 3), bool)
    right[0, 0, 0, 1] = right[0, 0, 1, 1] = True  # de: solved by attn, in column 1 of both rows
    right[2, 0, 1, 2] = True  # de: by attn 1 -> 2
    right[1, 1, 0, 0] = True  # sw: by mlp 0 -> 0
    table = protocols.upper_bound(synthetic(right, [False, True, False, False]))
    assert table.loc["vanilla"].tolist()[:3] == [0, 50, 25]
    assert table.loc["attn, source row (best)", "de"] == 100  # row 1 solves both
    assert table.loc["attn, source row (mean)", "de"] == 75
    assert table.loc["attn, target column (best)", "de"] == 50
    assert table.loc["attn, target column (mean)", "de"] == pytest.approx(100 / 3)
    assert table.loc["attn, whole map"].tolist()[:3] == [100, 0, 50]
    assert table.loc["mlp, whole map"].tolist()[:3] == [0, 50, 25]
    assert table.loc["attn or mlp, whole map"].tolist()[:3] == [100, 50, 75]
    assert table.loc["attn, whole map", "sd"] == pytest.approx(np.std([100, 0], ddof=1))


def test_select_measures_the_chosen_cell_elsewhere(model, data, short):
    data = replace(data, allow_misaligned="truncate")  # German
    maps = xtl.concat_maps(
        xtl.sweep_many(
            model, [pair for g in gather(xtl.get_task("xnli"), LANGUAGES, "sample", data).values() for pair in g]
        )
    )
    right = np.zeros(maps.correct.shape, bool)
    right[:3, 1, 2, 1] = right[3:, 0, 1, 3] = True  # de: mlp 2 -> 1, sw: attn 1 -> 3
    sample = maps.assign(correct=maps.correct.copy(data=right))
    result = protocols.select(
        model, "xnli", LANGUAGES, sample=sample, score="likelihood", split="unseen", strategy="overall", data=data
    )
    assert list(result.chosen_module.values) == ["mlp"] * 3 + ["attn"] * 3
    assert list(result.chosen_source_layer.values) == [2] * 3 + [1] * 3
    assert list(result.chosen_target_layer.values) == [1] * 3 + [3] * 3
    pair = gather(xtl.get_task("xnli"), ["de"], "unseen", data)["de"][0]
    one = xtl.sweep(model, pair, modules=["mlp"], source_layers=[2], target_layers=[1])
    assert result.score[0].item() == pytest.approx(one.score.item(), rel=1e-4)
    assert result.attrs["split"] == "unseen"
    assert list(protocols.accuracy_table(result).index) == ["vanilla", "chosen", "chosen, gain", "n"]
    one_cell = protocols.select(
        model, "xnli", ["de"], sample=sample, score="likelihood", split="unseen", per="task", data=data
    )
    assert len(set(one_cell.chosen_module.values)) == 1
    with pytest.raises(
        xtl.InputError, match="sample holds 3 of the 3 instances in 'de' that the chosen cell is measured on"
    ):
        protocols.select(model, "xnli", ["de"], sample=sample, score="likelihood", split="sample", data=data)
    with pytest.raises(xtl.InputError, match="sample is of model 'other', not of"):
        protocols.select(
            model, "xnli", ["de"], sample=sample.assign_attrs(model="other"), score="likelihood", data=data
        )


def test_select_takes_the_cells_to_choose_among_and_fixed_takes_none(model):
    cells = {"modules": ["attn"], "source_layers": [1], "target_layers": [2, 3]}
    result = protocols.select(model, "capitals", ["es"], data=Data(limit=3), **cells)
    assert set(result.chosen_module.values) == {"attn"}
    assert set(result.chosen_source_layer.values) == {1}
    assert set(result.chosen_target_layer.values) <= {2, 3}
    with pytest.raises(xtl.InputError, match="fixed takes no modules: its cell is the paper's"):
        protocols.fixed(model, "capitals", ["es"], data=Data(limit=3), modules=["attn"])


def test_a_task_without_a_sample_is_halved_for_choosing():
    task = xtl.get_task("capitals")
    whole, sample, unseen = (
        [pair.id for pair in Data(seed=3).pairs(task, "es", split)] for split in ("all", "sample", "unseen")
    )
    assert sample + unseen == whole
    assert 0 <= len(sample) - len(unseen) <= 1
    assert [pair.id for pair in Data(limit=2, seed=3).pairs(task, "es", "unseen")] == unseen[:2]
    assert len(gather(task, ["es"], "unseen", Data(limit=2))["es"]) == 2


def test_a_split_without_an_instance_is_told(tmp_path):
    (tmp_path / "one.jsonl").write_text(
        '{"source": "s", "target": "t", "source_lang": "en", "target_lang": "de", "answer": " a"}\n'
    )
    with pytest.raises(xtl.InputError, match="one has no instance in 'de' in the split 'unseen'"):
        gather(xtl.get_task(str(tmp_path / "one.jsonl")), ["de"], "unseen", Data())


def test_a_sample_to_choose_on_must_be_of_the_same_task_score_and_languages(model, data):
    sample = synthetic(np.ones((4, 2, 2, 2), bool))
    for change, languages, message in (
        ({"task": "xcopa"}, ["sw"], "sample is of task 'xcopa', not of 'xnli'"),
        ({"text_score": "paper"}, ["sw"], "sample is scored by paper, not by likelihood"),
        ({}, ["sw", "es"], "sample has no instances in 'es'; it has: de, sw"),
    ):
        with pytest.raises(xtl.InputError, match=message):
            protocols.select(
                model, "xnli", languages, sample=sample.assign_attrs(change), score="likelihood", data=data
            )


def test_another_language_lends_in_the_control(model, data, short):
    settings = {"score": "likelihood", "data": data, "source_layers": [1], "target_layers": [2], "modules": ["mlp"]}
    maps = protocols.pairwise(model, "xnli", LANGUAGES, control="other_language", control_language="fr", **settings)
    assert maps.attrs["control"] == "other_language"
    (pair, *_) = data.pairs(xtl.get_task("xnli"), "sw", "sample", source="fr")
    (wanted,) = xtl.sweep_many(model, [pair], modules=["mlp"], source_layers=[1], target_layers=[2])
    found = maps.isel(example=list(maps.target_lang.values).index("sw"))
    assert found.gain.item() == wanted.gain.item()


@pytest.mark.parametrize(
    ("task", "control", "language", "message"),
    [
        ("xnli", "other_language", None, "control other_language needs control_language"),
        ("xnli", "other_language", "sw", "control_language 'sw' is no third language: it is one of en, sw"),
        ("xnli", "other_language", "xx", "unknown language 'xx'"),
        ("xnli", "zero", "fr", "control_language goes with the control other_language, not with zero"),
        ("xnli", None, "fr", "control_language goes with the control other_language, not with None"),
        (
            "global_opinion_qa",
            "other_language",
            "es",
            "control_language 'es' does not ask the same: it has no global_opinion_qa",
        ),
    ],
)
def test_a_third_language_is_checked_before_any_work(model, data, task, control, language, message):
    with pytest.raises(xtl.InputError, match=message):
        protocols.pairwise(model, task, ["sw"], data=data, control=control, control_language=language)


def test_tables_are_written_as_csv_and_latex(tmp_path):
    table = protocols.upper_bound(synthetic(np.ones((4, 2, 2, 2), bool)))
    csv = protocols.write_table(table, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(pd.read_csv(csv, index_col="method"), table, check_names=False)
    tex = protocols.write_table(table, tmp_path / "t.tex").read_text()
    assert all(rule in tex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert "attn or mlp, whole map & 100.0 & 100.0 & 100.0 & 0.0" in tex
    named = table.copy()
    named.attrs = {"task": r"a_b^c~d\e{f}"}
    assert (
        r"\caption{a\_b\textasciicircum{}c\textasciitilde{}d\textbackslash{}e\{f\}}"
        in protocols.write_table(named, tmp_path / "n.tex").read_text()
    )
    with pytest.raises(xtl.InputError, match=r"t.doc' has no known suffix; valid: .csv, .tex"):
        protocols.write_table(table, tmp_path / "t.doc")


def test_all_languages_that_the_data_has_and_what_is_left_out(data):
    with pytest.warns(UserWarning, match=r"xnli: left out .*th \(.*"):
        groups = gather(xtl.get_task("xnli"), None, "sample", data)
    assert len(groups) == 13
    with pytest.warns(UserWarning, match=r"de \(.*row 210"):
        assert "de" not in gather(xtl.get_task("xnli"), None, "unseen", data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"languages": ["xx"]}, "unknown language 'xx'"),
        ({"languages": ["en"]}, "languages names English"),
        ({"languages": "de"}, "languages must be a list of codes, got 'de'"),
        ({"score": "bleu"}, "unknown score 'bleu'; valid: likelihood, paper, strict"),
        ({"score": "distribution"}, "score 'distribution' needs shares of people; task 'xnli' has none"),
    ],
)
def test_bad_input(model, data, arguments, message):
    with pytest.raises(xtl.InputError, match=message):
        protocols.pairwise(model, "xnli", **({"languages": ["de"], "data": data} | arguments))


def test_tables_refuse_what_is_not_there():
    results = synthetic(np.ones((4, 2, 2, 2), bool))
    with pytest.raises(xtl.InputError, match="unknown measure 'acc'"):
        protocols.accuracy_table(results, "acc")
    with pytest.raises(xtl.InputError, match="results have no similarity; they have: correct, vanilla_correct"):
        protocols.accuracy_table(results, "similarity")
    with pytest.raises(xtl.InputError, match="results have no accuracy"):
        protocols.upper_bound(results.drop_vars("correct"))


def test_the_score_goes_with_the_task():
    assert score_settings(xtl.get_task("capitals"), None) == {}
    assert score_settings(xtl.get_task("xquad"), None)["text_score"].name == "paper"
    assert score_settings(xtl.get_task("xquad"), "f1")["max_new_tokens"] == 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(gather(xtl.get_task("capitals"), ["es"], "sample", Data(limit=2))) == ["es"]
