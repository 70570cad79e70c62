"""Controls: each writes what it says, on the same footing as the real sweep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xtl
from tests import tiny
from xtl import controls
from xtl.controls import CONTROLS, Sources
from xtl.hooks import MODULES
from xtl.tokens import encode
from xtl.transplants import read_activations

PAIRS = [
    xtl.ParallelPair(f"Land {i}", f"país {i}", "en", "es", options=("a", "b", "c"), gold=i % 3, id=f"task/{i}")
    for i in range(6)
]
OTHERS = [xtl.ParallelPair(f"pays {i}", pair.target, "fr", "es", id=pair.id) for i, pair in enumerate(PAIRS)]
SETTINGS = {"modules": ["attn", "mlp"], "source_layers": [0, 2]}


def written(model, name, pair, seed=0, pairs=PAIRS):
    sources = Sources(model, pairs, {one.id: one for one in OTHERS}, SETTINGS, seed)
    return CONTROLS[name](sources)(pair)


def activations(model, prompt):
    return read_activations(model, encode(model, prompt), [MODULES["attn"], MODULES["mlp"]], [0, 2])


@pytest.fixture
def model(tiny_model):
    return tiny_model("llama")


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_control_is_a_sweep_with_other_activations(tiny_model, name, backend):
    model = tiny_model("llama", backend)
    maps = controls.run(model, PAIRS[:3], name, others=OTHERS, seed=3, **SETTINGS)
    result = xtl.concat_maps(maps)
    real = xtl.concat_maps(xtl.sweep_many(model, PAIRS[:3], **SETTINGS))
    assert result.gain.dims == real.gain.dims
    assert (result.example == real.example).all()
    assert (result.attrs["control"], result.attrs["seed"]) == (name, 3)
    np.testing.assert_allclose(result.vanilla_score, real.vanilla_score, rtol=1e-5)
    assert np.abs(result.gain - real.gain).max() > 1e-3


def test_a_control_is_exact_on_every_engine(model):
    fast, slow = (
        xtl.concat_maps(controls.run(model, PAIRS[:2], "noise", engine=engine, **SETTINGS))
        for engine in ("packed", "loop")
    )
    np.testing.assert_allclose(fast.score, slow.score, rtol=1e-4, atol=1e-5)


def test_shuffled_sources_come_from_another_instance_each_once(model):
    used = []
    for pair in PAIRS:
        got = written(model, "shuffled_source", pair)
        (match,) = [
            other.id for other in PAIRS if torch.equal(activations(model, other.source)["mlp", 2], got["mlp", 2])
        ]
        assert match != pair.id
        used.append(match)
    assert sorted(used) == sorted(pair.id for pair in PAIRS)
    again = [written(model, "shuffled_source", pair)["attn", 0] for pair in PAIRS]
    assert all(
        torch.equal(a, written(model, "shuffled_source", p)["attn", 0]) for a, p in zip(again, PAIRS, strict=True)
    )
    assert any(
        not torch.equal(a, written(model, "shuffled_source", p, seed=1)["attn", 0])
        for a, p in zip(again, PAIRS, strict=True)
    )


def test_shuffling_stays_within_a_direction(model):
    mixed = [
        *PAIRS[:3],
        *(xtl.ParallelPair(p.source, f"pays {i}", "en", "fr", id=p.id) for i, p in enumerate(PAIRS[:3])),
    ]
    for pair in mixed:
        got = written(model, "shuffled_source", pair, pairs=mixed)
        same = [p for p in mixed if torch.equal(activations(model, p.source)["attn", 0], got["attn", 0])]
        assert pair.id not in {p.id for p in same}


def test_what_the_others_write(model):
    pair = PAIRS[1]
    for key in (("attn", 0), ("mlp", 2)):
        own = activations(model, pair.source)[key]
        rest = [other for other in PAIRS if other is not pair]
        sources = torch.stack([activations(model, other.source)[key] for other in rest])
        targets = torch.stack([activations(model, other.target)[key] for other in rest])
        assert torch.equal(written(model, "same_language", pair)[key], activations(model, pair.target)[key])
        assert torch.equal(written(model, "other_language", pair)[key], activations(model, OTHERS[1].source)[key])
        assert (written(model, "zero", pair)[key] == 0).all()
        torch.testing.assert_close(written(model, "mean", pair)[key], targets.mean(dim=0))
        torch.testing.assert_close(written(model, "language_mean", pair)[key], sources.mean(dim=0))
        noise = written(model, "noise_norm", pair)[key]
        assert float(noise.norm()) == pytest.approx(float(own.norm()), rel=1e-5)
        assert abs(float(torch.cosine_similarity(noise, own, dim=0))) < 0.7
        gaussian = written(model, "noise", pair)[key]
        assert not torch.equal(gaussian, written(model, "noise", pair, seed=1)[key])
        centred = sources - sources.mean(dim=0)  # a Gaussian of this covariance stays in the sample's span
        away = gaussian - sources.mean(dim=0)
        solution = torch.linalg.lstsq(centred.T, away[:, None], driver="gelsd").solution
        torch.testing.assert_close(centred.T @ solution, away[:, None], atol=1e-3, rtol=1e-3)


def test_the_noise_has_the_samples_mean_and_covariance():
    random = torch.Generator().manual_seed(0)
    sample = torch.randn(8, 5, generator=random) * torch.tensor([1.0, 2.0, 3.0, 0.1, 0.0]) + 4
    draws = torch.stack([controls._gaussian(sample, torch.randn(8, generator=random)) for _ in range(20_000)])
    torch.testing.assert_close(draws.mean(dim=0), sample.mean(dim=0), atol=0.15, rtol=0)
    torch.testing.assert_close(draws.T.cov(), sample.T.cov(), atol=0.35, rtol=0.05)


def test_same_language_changes_nothing_on_the_diagonal(model):
    result = xtl.concat_maps(controls.run(model, PAIRS[:2], "same_language", modules=["attn", "mlp"]))
    layers = range(tiny.N_LAYERS)
    assert np.abs(result.gain.values[:, :, layers, layers]).max() < 1e-5


def test_a_control_of_ones_own(model):
    def ones(sources):
        return lambda pair: {key: torch.ones_like(value) for key, value in sources.read(pair.source).items()}

    result = next(controls.run(model, PAIRS[:1], ones, **SETTINGS))
    assert result.attrs["control"] == "ones"
    written_ones = {(m, i): torch.ones(32) for m in ("attn", "mlp") for i in (0, 2)}
    direct = xtl.sweep(model, PAIRS[0], activations=written_ones, **SETTINGS)
    np.testing.assert_array_equal(result.gain, direct.gain)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (PAIRS, "shuffled"),
            "unknown control 'shuffled' .did you mean 'shuffled_source'.*; valid: shuffled_source, same",
        ),
        ((PAIRS, "other_language"), "control 'other_language' needs others"),
        (([], "zero"), "pairs is empty"),
        ((PAIRS[:1], "shuffled_source"), "direction en->es has one instance alone: a control needs another one"),
        ((PAIRS[:1] * 2, "shuffled_source"), "direction en->es has one instance alone"),
    ],
)
def test_bad_input(model, arguments, message):
    with pytest.raises(xtl.InputError, match=message):
        list(controls.run(model, *arguments, **SETTINGS))


def test_others_must_be_the_same_instances(model):
    with pytest.raises(xtl.InputError, match="others has no pair for task/4, task/5: give the same instances"):
        list(controls.run(model, PAIRS, "other_language", others=OTHERS[:4], **SETTINGS))
