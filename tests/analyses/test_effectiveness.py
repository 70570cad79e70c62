"""`analyses.effectiveness`: each way's score is that of the plain sweep of its own prompt; costs are counted."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import xtl
from analyses import effectiveness
from analyses._learned import Questions
from tests.synthetic import synthetic_results
from xtl.errors import InputError
from xtl.pairs import ParallelPair
from xtl.tokens import encode

PAIRS = [
    ParallelPair(
        f"en {k}", f"es {k}", source_lang="en", target_lang="es", options=(" ab", " cd"), gold=k % 2, id=f"t/{k}"
    )
    for k in range(5)
]
BACK = [
    replace(p, source=p.target, target=p.source, source_lang="es", target_lang="en", options=(" xy", " zw"))
    for p in PAIRS
]
CELL = ("attn", 1, 2)


@pytest.fixture(scope="module", params=["hooked", "bridge"])
def model(request, tiny_model):
    return tiny_model("llama", request.param)


@pytest.fixture(scope="module")
def data(model):
    return effectiveness.compute(model, PAIRS, back=BACK, cell=CELL, shots=2)


def vanilla(model, pair: ParallelPair) -> float:
    return float(
        xtl.sweep(model, pair, modules=["mlp"], source_layers=[0], target_layers=[0], engine="loop")["vanilla_score"]
    )


def test_every_way_is_what_it_says(model, data) -> None:
    pair, back = PAIRS[3], BACK[3]
    row = data["score"].sel(example="t/3")
    cell = {"modules": ["attn"], "source_layers": [1], "target_layers": [2], "engine": "loop"}
    assert float(row.sel(strategy="vanilla")) == pytest.approx(vanilla(model, pair), abs=1e-4)
    assert float(row.sel(strategy="transplant")) == pytest.approx(
        xtl.sweep(model, pair, **cell)["score"].item(), abs=1e-4
    )
    other = xtl.sweep(model, replace(pair, source=PAIRS[4].source), **cell)["score"].item()
    assert float(row.sel(strategy="shuffled")) == pytest.approx(other, abs=1e-4)
    english = replace(pair, target="en 3", options=back.options)
    assert float(row.sel(strategy="source language")) == pytest.approx(vanilla(model, english), abs=1e-4)
    both = replace(pair, target="en 3\nes 3")
    assert float(row.sel(strategy="both languages")) == pytest.approx(vanilla(model, both), abs=1e-4)
    shots = replace(pair, target="es 4 ab\nes 0 ab\nes 3")
    assert float(row.sel(strategy="few-shot")) == pytest.approx(vanilla(model, shots), abs=1e-4)


def test_steering_adds_the_mean_gap_of_the_others(model, data) -> None:
    from xtl.hooks import get_modules
    from xtl.transplants import read_activations

    resid = get_modules(["resid"])
    h = {
        side: [read_activations(model, encode(model, getattr(p, side)), resid, [2])["resid", 2] for p in PAIRS]
        for side in ("source", "target")
    }
    gap = sum(h["source"][k] - h["target"][k] for k in range(5) if k != 3) / 4
    steered = xtl.sweep(
        model, PAIRS[3], modules=["resid"], source_layers=[2], target_layers=[2], engine="loop",
        activations={("resid", 2): h["target"][3] + gap},
    )  # fmt: skip
    assert float(data["score"].sel(example="t/3", strategy="steered")) == pytest.approx(
        steered["score"].item(), abs=1e-4
    )


def test_costs_and_accuracies(model, data) -> None:
    lengths = [len(encode(model, p.target)) for p in PAIRS], [len(encode(model, p.source)) for p in PAIRS]
    np.testing.assert_array_equal(data["tokens"].sel(strategy="vanilla"), lengths[0])
    np.testing.assert_array_equal(data["tokens"].sel(strategy="transplant"), np.sum(lengths, axis=0))
    assert (data["tokens"].sel(strategy="few-shot") > data["tokens"].sel(strategy="both languages")).all()
    rows = effectiveness.table(data).set_index("strategy")
    np.testing.assert_allclose(rows["accuracy"], data["correct"].mean("example"))
    assert rows.at["vanilla", "gain"] == 0
    assert (rows["accuracy_low"] <= rows["accuracy"]).all()
    assert len(effectiveness.in_words(data)) == 1
    drawn = effectiveness.figure(data).data
    assert len(drawn) == 3
    np.testing.assert_allclose(drawn[2].x, rows["tokens"])


def test_lending_a_prompt_to_itself_is_vanilla(model) -> None:
    same = [replace(p, source=p.target) for p in PAIRS]
    back = [replace(b, target=b.source, options=p.options) for p, b in zip(PAIRS, BACK, strict=True)]
    data = effectiveness.compute(model, same, back=back, cell=("mlp", 2, 2), shots=2)
    for name in ("transplant", "steered", "source language"):
        np.testing.assert_allclose(data["score"].sel(strategy=name), data["score"].sel(strategy="vanilla"), atol=1e-4)


def learned(model, pairs, **options):
    options = {"folds": 3, "learned_layers": [1, 2], "alphas": [0.5, 1.0], "shots": 2, "cell": CELL} | options
    return effectiveness.compute(model, pairs, back=options.pop("back", MORE_BACK), **options)


MORE = [replace(PAIRS[0], source=f"en {k}", target=f"es {k} {k}", gold=k % 2, id=f"t/{k}") for k in range(6)]
MORE_BACK = [
    replace(p, source=p.target, target=p.source, source_lang="es", target_lang="en", options=(" xy", " zw"))
    for p in MORE
]


def test_what_is_learned_stands_beside_the_rest(model) -> None:
    with_folds = learned(model, MORE)
    assert with_folds["strategy"].values.tolist() == [*effectiveness.STRATEGIES, "mean difference", "linear map"]
    assert not with_folds["score"].isnull().any()
    assert (with_folds["tokens"].sel(strategy="linear map") == with_folds["tokens"].sel(strategy="vanilla")).all()
    assert with_folds["passes"].sel(strategy="linear map") == 1
    chosen = json.loads(with_folds.attrs["learned"])["en->es"]["linear map"]
    assert sum(chosen.values()) == len(MORE)
    assert len(effectiveness.table(with_folds)) == 9
    assert effectiveness.figure(with_folds).data


def test_no_question_is_answered_with_what_it_taught(model) -> None:
    """Its own source prompt and gold may be anything: what is learned for it comes of other questions."""
    k = 3
    odd = [replace(p, source="quite another", gold=1 - p.gold) if p.id == f"t/{k}" else p for p in MORE]
    ours, theirs = (Questions(model, some, [1, 2], [0.5, 1.0]).held_out(3, 0) for some in (MORE, odd))
    for name in ("mean difference", "linear map"):
        for other in set(held_with(k)) - {k}:  # of the same fold: it was not learned on either
            assert ours[other][name].score == pytest.approx(theirs[other][name].score, abs=1e-6)
        shares = np.exp([ours[k][name].score, theirs[k][name].score])
        assert shares.sum() == pytest.approx(1, abs=1e-5)  # the same answer, of which the other option is asked


def held_with(k: int) -> list[int]:
    from sklearn.model_selection import KFold

    folds = KFold(3, shuffle=True, random_state=0).split(np.zeros(6))
    return next(held.tolist() for _, held in folds if k in held)


def test_a_stream_that_is_moved_is_written_as_a_sweep_writes_it(model) -> None:
    questions = Questions(model, MORE, [1, 3], [0.5])
    moved = questions.target[2] + 1.0
    scores, correct = questions.run(2, [(1, 0.5, moved[1])])
    written = {("resid", 3): torch.from_numpy(questions.target[2, 1] + 0.5)}
    swept = xtl.sweep(
        model, MORE[2], modules=["resid"], source_layers=[3], target_layers=[3], activations=written, engine="loop"
    )
    assert scores[0] == pytest.approx(swept["score"].item(), abs=1e-4)
    assert correct[0] == swept["correct"].item()


def test_the_linear_map_finds_a_linear_map() -> None:
    from analyses._learned import _linear_map

    rng = np.random.default_rng(0)
    true, target = rng.normal(size=(4, 4)), rng.normal(size=(60, 4))
    held = rng.normal(size=(5, 4))
    np.testing.assert_allclose(_linear_map(target @ true + 1, target)(held), held @ true + 1, atol=0.05)


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        (PAIRS[:3], {}, "3 instances"),
        (PAIRS, {"back": BACK[:4]}, "back lacks"),
        (PAIRS, {"cell": ("attn", 0, 7)}, "target_layer 7"),
        (PAIRS, {"shots": 0}, "shots"),
        (PAIRS, {"folds": 1}, "folds must be"),
        (PAIRS, {"folds": 2}, "folds=2 leaves too few"),
        (PAIRS, {"folds": 5, "alphas": [float("nan")]}, "alphas must be numbers"),
        (PAIRS, {"learned_layers": [9]}, "learned_layers"),
        (PAIRS, {"shots": 5}, "at least 6 are needed"),
        ([replace(p, options=None, gold=None) for p in PAIRS], {}, "no options"),
        ([replace(p, target=[1, 5, 6]) for p in PAIRS], {}, "texts"),
    ],
)
def test_bad_input_is_refused(model, pairs, options, message) -> None:
    with pytest.raises(InputError, match=message):
        effectiveness.compute(model, pairs, **({"back": BACK, "cell": CELL, "shots": 2} | options))
    with pytest.raises(InputError, match="compute"):
        effectiveness.figure(synthetic_results())


def test_a_warning_of_every_example_comes_once(model, monkeypatch) -> None:
    real = effectiveness.sweep

    def warning(*arguments, **options):
        warnings.warn(f"about {arguments[1].id} {arguments[1].target!r}", stacklevel=2)
        return real(*arguments, **options)

    monkeypatch.setattr(effectiveness, "sweep", warning)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        effectiveness.compute(model, PAIRS, back=BACK, cell=CELL, shots=2)
    said = [str(one.message) for one in caught if str(one.message).startswith("about ")]
    assert 1 <= len(said) <= 4  # a place in the code each
    assert all("(said " in text for text in said)
