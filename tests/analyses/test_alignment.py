"""`analyses.alignment`: laws of CKA, cosine and retrieval; planted alignment found, none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses import alignment
from tests.synthetic import synthetic_results
from xtl import concat_maps, sweep_many
from xtl.errors import InputError
from xtl.pairs import ParallelPair

N = 30


def noise(seed: int, d: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, d))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.1, 50), st.integers(2, 12))
def test_cka_knows_no_rotation_shift_or_scale_and_is_symmetric(seed: int, scale: float, d: int) -> None:
    a, b = noise(seed, d), noise(seed + 1, 5)
    rotation = np.linalg.qr(noise(seed + 2, N)[:d, :d])[0]
    assert alignment.debiased_cka(a, b) == pytest.approx(alignment.debiased_cka(b, a))
    assert alignment.debiased_cka(a, scale * a @ rotation + 3) == pytest.approx(1)
    assert alignment.debiased_cka(scale * a @ rotation - 1, b) == pytest.approx(alignment.debiased_cka(a, b), abs=1e-6)


def test_cka_of_unrelated_sides_is_0_on_average_also_in_many_dimensions() -> None:
    found = [alignment.debiased_cka(noise(k, 200), noise(1000 + k, 200)) for k in range(60)]
    assert abs(np.mean(found)) < 0.02  # the plain estimator gives about 0.87 here
    assert np.isnan(alignment.debiased_cka(noise(0), np.ones((N, 3))))


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_retrieval_is_found_in_any_order_and_at_chance_in_noise(seed: int) -> None:
    a = noise(seed)
    assert (alignment.retrieved(a, a + 5) == 1).all()
    order = np.random.default_rng(seed).permutation(N)
    b = noise(seed + 1)
    np.testing.assert_array_equal(alignment.retrieved(a[order], b[order]), alignment.retrieved(a, b)[order])
    assert alignment.retrieved(a, b).mean() < 0.25


def test_cosines_are_bounded_and_zeros_give_zero() -> None:
    table = alignment.cosine_table(noise(0), np.zeros((N, 8)))
    assert (table == 0).all()
    assert abs(alignment.cosine_table(noise(0), noise(1))).max() <= 1 + 1e-9


def test_planted_alignment_is_found_in_its_layer_and_module() -> None:
    source = np.stack([[noise(10 * m + k) for k in range(4)] for m in range(2)]).transpose(2, 0, 1, 3).astype("float32")
    target = np.stack([[noise(100 + 10 * m + k) for k in range(4)] for m in range(2)]).transpose(2, 0, 1, 3)
    target = target.astype("float32")
    target[:, 1, 2] = source[:, 1, 2] + 0.3 * target[:, 1, 2]
    data = alignment.align(source, target, modules=["attn", "mlp"])
    planted = data.sel(module="mlp", layer=2)
    assert planted["cka"] > 0.8
    assert planted["retrieval_low"] > 0.7
    assert planted["cosine_low"] > 0.6
    rest = data.copy(deep=True)
    for name in ("cka", "retrieval", "cosine"):
        rest[name][1, 2] = 0
    assert rest["cka"].max() < 0.35
    assert rest["retrieval"].max() < 0.3
    assert (data["cosine_low"] <= data["cosine"]).all()
    assert float(data["chance"]) == 1 / N


def test_the_shift_test_keeps_its_level_where_layers_are_alike() -> None:
    rng = np.random.default_rng(0)
    walks = rng.normal(size=(120, 2, 24)).cumsum(-1)
    walks -= np.linspace(0, 1, 24) * (walks[..., -1:] - walks[..., :1])  # closed, so that a shift is as likely as none
    p = np.array([alignment.shift_test(*pair)[1] for pair in walks])
    assert (p <= 0.1).mean() < 0.2
    assert (p >= 1 / 24 - 1e-9).all()
    rho, p_one = alignment.shift_test(walks[0, 0], 2 * walks[0, 0] + 1)
    assert (rho, p_one) == (pytest.approx(1, abs=0.01), pytest.approx(1 / 24))
    assert np.isnan(alignment.shift_test(np.ones(6), np.arange(6.0))[0])


PAIRS = [
    ParallelPair(f"q {k}{k}", f"p {k}{k}", source_lang="en", target_lang="es", options=("a", "b"), gold=0, id=f"t/{k}")
    for k in range(6)
]


def test_with_a_run_it_correlates_with_the_gains_of_that_run(tiny_model) -> None:
    model = tiny_model("llama")
    results = concat_maps(sweep_many(model, PAIRS, verify=0))
    data = alignment.compute(model, PAIRS, results=results)
    gain = results["gain"].astype(float).mean("example").sel(module="mlp").values
    np.testing.assert_allclose(data["gain"].sel(direction="en->es", module="mlp", role="same"), np.diag(gain))
    np.testing.assert_allclose(data["gain"].sel(direction="en->es", module="mlp", role="source"), gain.mean(1))
    assert data["gain"].sel(module="resid").isnull().all()
    assert data["rho"].sel(module="attn").notnull().all()
    assert set(alignment.figures(data)) == {"alignment", "alignment_gain"}
    figure = alignment.gain_figure(data)
    titles = [note.text for note in figure.layout.annotations if "ρ" in note.text]
    assert len(titles) == 2  # each panel has its own
    assert titles[0].startswith("en → es, attn<br>")
    assert len({axis.range for axis in figure.select_yaxes()}) == 2  # what one holds flattens no other
    assert "ρ: rank correlation over layers" in figure.layout.title.subtitle.text
    assert any("rank correlation" in sentence for sentence in alignment.in_words(data, "en->es"))
    nothing = data.assign(gain=data["gain"] * np.nan, rho=data["rho"] * np.nan)  # of a run of other modules
    assert set(alignment.figures(nothing)) == {"alignment"}
    with pytest.raises(InputError, match="no same-layer gain of any module"):
        alignment.gain_figure(nothing)
    alone = alignment.compute(model, PAIRS)
    np.testing.assert_allclose(alone["cka"], data["cka"])
    with pytest.raises(InputError, match="no gains"):
        alignment.gain_figure(alone)


def test_a_language_is_aligned_with_itself(tiny_model) -> None:
    same = [ParallelPair(f"q {k}{k}", f"q {k}{k}", source_lang="en", target_lang="xx", id=f"t/{k}") for k in range(6)]
    data = alignment.compute(tiny_model("gemma3", "bridge"), same)
    for name in ("cosine", "cka", "retrieval"):
        np.testing.assert_allclose(data[name], 1, atol=1e-6)


def test_bad_input_is_refused(tiny_model) -> None:
    model = tiny_model("llama")
    with pytest.raises(InputError, match="4 instances"):
        alignment.compute(model, PAIRS[:4])
    with pytest.raises(InputError, match="the run is of model 'tiny-model'"):
        alignment.compute(model, PAIRS, results=synthetic_results())
    other = synthetic_results(directions=[("en", "fr")], layers=(0, 1)).assign_attrs(model=model.xtl_info.name)
    with pytest.raises(InputError, match="unknown direction 'en->es'"):
        alignment.compute(model, PAIRS, results=other)
    with pytest.raises(InputError, match="the model has 4 layers"):
        alignment.compute(model, PAIRS, results=synthetic_results().assign_attrs(model=model.xtl_info.name))
    with pytest.raises(InputError, match="unknown module"):
        alignment.compute(model, PAIRS, modules=["ffn"])
    with pytest.raises(InputError, match="compute"):
        alignment.figure(synthetic_results())
