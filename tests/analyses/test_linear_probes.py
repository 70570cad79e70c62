"""`analyses.linear_probes`: finds what is planted and nothing else, leaks nothing across parallel copies, refuses bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses import _probes, linear_probes
from tests.synthetic import synthetic_results
from xtl.errors import InputError
from xtl.pairs import ParallelPair

N, D = 24, 12
CODES = np.array(["en", "es", "sw"])
INSTANCES = np.repeat([f"t/{k}" for k in range(N)], 3)
LANGUAGES = np.tile(CODES, N)
COUNTRIES = ("FR", "GH", "DE", "ML", "IT", "SN")
COLOUR = np.repeat(np.where(np.arange(N) % 2, "red", "blue"), 3)


def noise(seed: int = 0, modules: int = 2, layers: int = 3) -> np.ndarray:
    """Activations of which parallel copies share half: a leak across folds would show."""
    rng = np.random.default_rng(seed)
    shared = np.repeat(rng.normal(size=(N, modules, layers, D)), 3, axis=0)
    return (3 * shared + rng.normal(size=shared.shape)).astype("float32")


def planted() -> np.ndarray:
    x = noise()
    x[:, 0, 1, 0] += 40 * (LANGUAGES == "es") - 40 * (LANGUAGES == "sw")  # language: attn, layer 1
    x[:, 1, 2, 1] += 40 * (COLOUR == "red")  # colour: mlp, layer 2, the same in all languages
    x[:, 0, 2, 2] += 40 * (COLOUR == "red") * np.where(LANGUAGES == "en", 1, -1)  # a code of each language's own
    return x


@pytest.fixture(scope="module")
def data():
    labels = {"language": LANGUAGES, "colour": COLOUR}
    return linear_probes.probe(planted(), labels, LANGUAGES, INSTANCES, modules=["attn", "mlp"], n_controls=2)


def test_planted_labels_are_found_where_they_are_and_nowhere_else(data) -> None:
    accuracy, chance = data["accuracy"], data["chance"]
    assert accuracy.sel(label="language", module="attn", layer=1) > 0.95
    assert accuracy.sel(label="colour", module="mlp", layer=2) > 0.95
    assert data["selectivity_low"].sel(label="colour", module="mlp", layer=2) > 0.1
    others = accuracy.sel(label="colour").values.copy()
    others[1, 2] = others[0, 2] = np.nan
    assert np.nanmax(others) < float(chance.sel(label="colour")) + 0.3
    low = data["accuracy_low"].sel(label="language").values.copy()
    low[0, 1] = np.nan
    assert np.nanmin(low) < float(chance.sel(label="language"))
    assert float(data["attn_minus_mlp_low"].sel(label="language", layer=1)) > 0.3
    assert float(data["attn_minus_mlp_high"].sel(label="language", layer=0)) > 0
    assert linear_probes.in_words(data, "language")[0].startswith(
        "language (3 classes, chance 33%) is read best from attn in"
    )


def test_a_shared_code_transfers_and_an_own_one_does_not(data) -> None:
    part = data["transfer"].sel(label="colour", layer=2)
    assert (part.sel(module="mlp") > 0.9).all()
    own = part.sel(module="attn")
    assert own.sel(trained_in="en", tested_in="en") > 0.9
    assert own.sel(trained_in="en", tested_in="sw") < 0.6  # another code: chance
    assert data["transfer"].sel(label="language").isnull().all()
    with pytest.raises(InputError, match="nothing to transfer"):
        linear_probes.transfer_figure(data, "language")
    figure = linear_probes.transfer_figure(data, "colour")
    shown = float(part.sel(module="mlp")[0, 0] - data["chance"].sel(label="colour"))
    assert f"{shown:+.2f}" in {text for trace in figure.data for row in trace.text for text in row}
    assert set(linear_probes.figures(data)) == {"linear_probes", "linear_probes_transfer_colour"}


def test_laws_and_bounds(data) -> None:
    for name in ("accuracy", "control", "transfer"):
        values = data[name].values
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    assert (data["accuracy_low"] <= data["accuracy"]).all()
    assert (data["accuracy"] <= data["accuracy_high"]).all()
    np.testing.assert_allclose(data["selectivity"], data["accuracy"] - data["control"], atol=1e-9)
    gap = data["accuracy"].sel(module="attn") - data["accuracy"].sel(module="mlp")
    np.testing.assert_allclose(data["attn_minus_mlp"], gap, atol=1e-9)


def test_null_labels_and_controls_stay_at_chance_though_copies_are_alike() -> None:
    rng = np.random.default_rng(5)
    random = np.repeat(rng.choice(["a", "b"], N), 3)
    found = linear_probes.probe(
        noise(1), {"random": random}, LANGUAGES, INSTANCES, modules=["attn", "mlp"], n_controls=6
    )
    # A split by prompt would read them from the parallel copies: accuracy near 1.
    assert abs(float(found["accuracy"].mean()) - float(found["chance"].max())) < 0.2
    assert abs(float(found["control"].mean()) - 0.5) < 0.12


def test_controls_stay_at_chance_where_a_group_holds_one_class_of_a_label() -> None:
    """Two tasks about partly the same countries: dealt out within countries, a control would be the label itself."""
    rng = np.random.default_rng(2)
    tasks = np.repeat(["capitals"] * N + ["languages"] * N, 2)
    countries = np.repeat([f"c{k}" for k in (*range(N), *range(N - 4, 2 * N - 4))], 2)
    instances = np.array([f"{task}/{country}" for task, country in zip(tasks, countries, strict=True)])
    x = rng.normal(size=(len(tasks), 1, 1, D)).astype("float32")
    x[:, 0, 0, 0] += 40 * (tasks == "capitals")
    languages = np.tile(["en", "es"], 2 * N)
    found = linear_probes.probe(
        x, {"task": tasks}, languages, instances, modules=["attn"], groups=countries, n_controls=4
    )
    assert found["accuracy"].item() > 0.95
    assert abs(found["control"].item() - 0.5) < 0.15
    assert found["n_instances"].item() == 2 * N - 4
    with pytest.raises(InputError, match="groups must name"):
        linear_probes.probe(x, {"task": tasks}, languages, instances, modules=["attn"], groups=countries[:3])


@settings(max_examples=15)
@given(st.integers(2, 6), st.integers(0, 1000))
def test_no_instance_is_in_two_folds(n_folds: int, seed: int) -> None:
    clusters = np.unique(INSTANCES, return_inverse=True)[1]
    fold = _probes.folds_by_instance(COLOUR, clusters, n_folds, seed)
    assert all(len(set(fold[clusters == c])) == 1 for c in range(N))
    assert set(fold) == set(range(n_folds))
    mixed = _probes.control_labels(LANGUAGES, clusters, True, seed)
    assert all(sorted(mixed[clusters == c]) == sorted(LANGUAGES[clusters == c]) for c in range(N))
    dealt = _probes.control_labels(COLOUR, clusters, False, seed)
    assert sorted(dealt) == sorted(COLOUR)
    assert all(len(set(dealt[clusters == c])) == 1 for c in range(N))


def test_order_of_samples_and_scale_of_features_do_not_matter() -> None:
    x, fold = planted()[:, 0, 1], np.arange(3 * N) // 3 % 4
    said = _probes.cross_validated(x, LANGUAGES, fold, 5.0)
    order = np.random.default_rng(0).permutation(len(x))
    again = _probes.cross_validated((x * 100 + 7)[order], LANGUAGES[order], fold[order], 5.0)
    assert (said[order] == again).mean() > 0.97  # solver tolerance


def test_more_features_than_prompts_change_nothing_of_what_a_probe_is() -> None:
    """Directions in which the training prompts don't differ have no weight: those features may be rotated away."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 100)).astype("float32")
    y = np.where(x[:, 0] + 0.5 * x[:, 1] > 0, "a", "b")
    fold = np.arange(30) % 3
    said = _probes.cross_validated(x, y, fold, 10.0)
    for number in range(3):
        train = fold != number
        scaled = (x - x[train].mean(0)) / x[train].std(0)
        plain = LogisticRegression(C=10.0 / 100, max_iter=300, tol=1e-3).fit(scaled[train], y[train])
        assert (plain.predict(scaled[~train]) == said[~train]).mean() > 0.89  # solver tolerance


def test_all_questions_about_one_country_are_in_one_fold() -> None:
    from analyses._activations import samples_of

    rows = [replace(pair, id=f"{task}/{pair.id}") for task in ("capitals", "languages") for pair in pairs()]
    groups = [linear_probes._group(sample) for sample in samples_of(rows)]
    assert set(groups) == set(COUNTRIES)
    assert len(groups) == 4 * len(COUNTRIES)
    assert linear_probes._group(samples_of([replace(pairs()[0], meta={})])[0]) == "t/0"


def pairs(n: int = 6) -> list[ParallelPair]:
    return [
        ParallelPair(
            f"Country: {'AB'[k % 2] * 3}{k}", f"País: {'AB'[k % 2] * 3}{k}", source_lang="en", target_lang="es",
            options=(" x", " y"), gold=k % 2, id=f"t/{k}", meta={"country": COUNTRIES[k], "kind": "AB"[k % 2]},
        )
        for k in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_on_a_tiny_model_the_language_is_in_the_last_token(tiny_model, backend) -> None:
    model = tiny_model("llama", backend)
    some = [
        ParallelPair(f"{k}{k} a", f"{k}{k} b", source_lang="en", target_lang="es", id=str(k)) for k in range(10, 40)
    ]
    found = linear_probes.compute(model, some, modules=["mlp"], n_folds=3, n_controls=1)
    assert (found["accuracy"].sel(label="language") > 0.8).all()  # chance is a half; 60 examples
    assert found.attrs["model"] == model.xtl_info.name
    assert found["trained_in"].values.tolist() == ["en", "es"]


def test_labels_come_from_pairs(tiny_model) -> None:
    from analyses._activations import samples_of

    samples = samples_of(pairs())
    assert set(linear_probes.label_values("continent", samples)) == {"Europe", "Africa"}
    assert set(linear_probes.label_values("answer", samples)) == {" x", " y"}
    assert set(linear_probes.label_values("task", samples)) == {"t"}
    assert set(linear_probes.label_values("kind", samples)) == {"A", "B"}
    with pytest.raises(InputError, match=r"unknown label 'knd' \(did you mean 'kind'\?\); valid: language, answer"):
        linear_probes.label_values("knd", samples)


@pytest.mark.parametrize(
    ("some", "options", "message"),
    [
        (pairs()[:1], {}, "1 instance;"),
        (pairs(), {"labels": ["task"]}, "has 1 class "),
        ([ParallelPair(f"a{k}", f"b{k}", source_lang="en", target_lang="en", id=str(k)) for k in range(6)], {}, "1 class "),
        (pairs(), {"modules": ["atn"]}, "unknown module"),
        (pairs(), {"n_folds": 1}, "n_folds"),
        (pairs(), {"strength": 0.0}, "strength"),
        ([ParallelPair("a", "b", source_lang="en", target_lang="es")] * 6, {}, "has no id"),
        (pairs() + pairs()[:1], {}, "twice"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(tiny_model, some, options, message) -> None:
    with pytest.raises(InputError, match=message):
        linear_probes.compute(tiny_model("llama"), some, **options)


def test_only_computed_data_are_drawn() -> None:
    with pytest.raises(InputError, match="compute"):
        linear_probes.figure(synthetic_results())
