"""From model to verdict: what is planted in a model is found, and where there is nothing, nothing is.

The statistics alone are calibrated on hundreds of simulated maps in `tests/stats`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xtl
from analyses import is_it_real
from tests import tiny
from xtl import controls
from xtl.models import load_model

pytestmark = pytest.mark.slow("runs of two models with controls")
N = 24
OPTIONS = [10, 11, 12, 13]
"""Tokens of the options; the first one is what the model says by itself."""
MARKS = [20, 21, 22, 23]
"""Last token of a source prompt: which option is right."""
ASK = 30
"""Last token of every target prompt."""


@pytest.fixture(scope="module")
def planted(tiny_folder):
    """A model in which `mlp` 1 -> 2 carries the answer, and no other cell does.

    Attention and feed-forward outputs are zero, but for two: layer 1's feed-forward output says which mark it reads (if any), and
    layer 2's pushes towards the first option when it reads ASK, harder than layer 1's can push against it. So the answer has to
    be written over just that push.
    """
    model = load_model(tiny_folder("gpt2"), backend="hooked")
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("ln_final.w") and ".ln" not in name:
                parameter.zero_()
            elif name.endswith(".w"):
                parameter.fill_(1.0)
            else:
                parameter.zero_()
        embeddings, _ = torch.linalg.qr(torch.randn(28, 28, generator=random))  # orthogonal, out of the options' dims
        for row, token in enumerate([*MARKS, ASK]):
            # Long, so that what is written beside it hardly changes it after the LayerNorm.
            model.embed.W_E[token, 4:] = 20 * (embeddings[row] - embeddings[row].mean())
        for place, token in enumerate(OPTIONS):
            model.unembed.W_U[place, token] = 1.0
        reader, pusher = model.blocks[1].mlp, model.blocks[2].mlp
        for row, mark in enumerate(MARKS):
            direction = torch.nn.functional.layer_norm(model.embed.W_E[mark], (32,))
            reader.W_in[:, row] = direction / direction.norm()
            reader.b_in[row] = -3.0  # a mark that is read gives 2.7
            reader.W_out[row, row] = 1.0
        direction = torch.nn.functional.layer_norm(model.embed.W_E[ASK], (32,))
        pusher.W_in[:, 0] = direction / direction.norm()
        pusher.b_in[0] = -3.0
        pusher.W_out[0, 0] = 3.0
    return model


def pairs(seed):
    random = np.random.default_rng(seed)
    noise = random.integers(40, tiny.VOCAB, (N, 2, 5)).tolist()
    golds = [1 + index % 3 for index in range(N)]
    return [
        xtl.ParallelPair(
            [*noise[index][0], MARKS[gold]],
            [*noise[index][1], ASK],
            "en",
            "es",
            options=[chr(0) if token == 0 else text(token) for token in OPTIONS],
            gold=gold,
            id=f"planted/{index}",
        )
        for index, gold in enumerate(golds)
    ]


def text(token):
    """The text whose only token this is."""
    return tiny.byte_tokenizer().decode([token])


def runs(model, seed):
    """The real run and its control."""
    asked = pairs(seed)
    return [xtl.concat_maps(found) for found in (xtl.sweep_many(model, asked),
                                                 controls.run(model, asked, "shuffled_source", seed=seed))]  # fmt: skip


def verdict(real, control, seed, measure):
    return is_it_real.compute(real, control, measure=measure, n_resamples=2000, n_splits=20, seed=seed)


def test_a_planted_cell_is_found_and_no_other(planted):
    real, control = runs(planted, seed=1)
    data = verdict(real, control, seed=1, measure="accuracy")
    assert not real.vanilla_correct.any()
    cell = {"module": "mlp", "source_layer": 1, "target_layer": 2}
    assert real.correct.sel(cell).all()
    assert control.correct.sel(cell).mean() < 0.6
    found = data["significant"].isel(direction=0)
    assert bool(found.sel(cell))
    assert int(found.sum()) == 1


def test_in_a_random_model_nothing_is_found(tiny_model):
    real, control = runs(tiny_model("llama"), seed=2)
    for measure in ("gain", "accuracy"):
        assert int(verdict(real, control, seed=2, measure=measure)["significant"].sum()) == 0
