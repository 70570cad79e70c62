"""`analyses.language_flow`: the last layer is the model's own answer; a transplant turns what comes after it, and only that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analyses import language_flow
from tests.analyses.test_direct_logit_attribution import BACK, PAIRS
from tests.synthetic import synthetic_results
from xtl.backend import forward
from xtl.engine.head import Head
from xtl.errors import InputError
from xtl.tokens import encode, encode_continuation
from xtl.transplants import transplant


@pytest.mark.parametrize(
    ("architecture", "backend"),
    [("gemma2", "hooked"), ("pythia", "hooked"), ("llama", "bridge"), ("gemma3", "bridge"), ("granite", "bridge")],
)
def test_the_last_layer_is_the_models_own_probability(tiny_model, architecture, backend) -> None:
    model = tiny_model(architecture, backend)
    data = language_flow.compute(model, PAIRS, back=BACK, cell=("attn", 1, 2))
    for row, (pair, back) in enumerate(zip(PAIRS, BACK, strict=True)):
        done = transplant(model, pair, module="attn", source_layer=1, target_layer=2, max_new_tokens=1)
        source = forward(model, encode(model, pair.source))[-1]
        ids = encode(model, pair.target)
        for run, logits in (("source", source), ("target", done.vanilla_logits), ("transplanted", done.logits)):
            for language, options in (("source", back.options), ("target", pair.options)):
                token = encode_continuation(model, pair.target, ids, options[pair.gold])[0]
                got = float(data["log_probability"].sel(run=run, language=language).isel(layer=-1)[row])
                assert got == pytest.approx(float(logits.float().log_softmax(-1)[token]), abs=2e-3), (run, language)


def test_a_transplant_changes_nothing_below_its_layer(tiny_model) -> None:
    data = language_flow.compute(tiny_model("llama"), PAIRS, back=BACK, cell=("mlp", 0, 2))
    change = data["log_probability"].sel(run="transplanted") - data["log_probability"].sel(run="target")
    np.testing.assert_allclose(change.sel(layer=[0, 1]), 0, atol=1e-6)
    assert (abs(change.sel(layer=[2, 3])).max() > 1e-3).all()
    same = [replace(pair, source=pair.target) for pair in PAIRS]
    data = language_flow.compute(
        tiny_model("llama"), same, back=[replace(b, target=b.source) for b in BACK], cell=("mlp", 2, 2)
    )
    gap = data["log_probability"].sel(run="transplanted") - data["log_probability"].sel(run="target")
    np.testing.assert_allclose(gap, 0, atol=1e-4)


def test_a_planted_turn_is_found(tiny_model, monkeypatch) -> None:
    model = tiny_model("llama")
    head = Head(model)
    pairs = [replace(PAIRS[0], target=f"La capital {k}", source=f"The capital {k}", id=f"t/{k}") for k in range(5)]
    backs = [replace(BACK[0], source=p.target, target=p.source, id=p.id) for p in pairs]
    words = [encode_continuation(model, pairs[0].target, encode(model, pairs[0].target), o)[0] for o in ("xbc", "abc")]
    rows = [head.rows([token])[0][0].float() for token in words]

    def stream(
        model, ids, run, cell
    ):  # layers 0 and 1 write the source word, 2 and 3 the target's; the target run has neither
        rest = torch.zeros(4, model.cfg.d_model)
        rest[:, 0] = 1.0
        return rest if run == "target" else torch.stack([rows[0]] * 2 + [rows[1]] * 2)

    monkeypatch.setattr(language_flow, "_stream", stream)
    data = language_flow.compute(model, pairs, back=backs, cell=("attn", 0, 1))
    ahead = language_flow.lead(data).sel(run="transplanted").mean("example")
    assert (ahead.sel(layer=[0, 1]) > 0).all()
    assert (ahead.sel(layer=[2, 3]) < 0).all()
    assert (data["rank"].sel(run="transplanted", language="source", layer=[0, 1]) == 0).all()
    assert language_flow.in_words(data)[1].startswith(
        "The transplant attn 0 -> 1 moves the target language's answer most"
    )
    assert language_flow.figures(data).keys() == {"language_flow", "language_flow_lead"}


def test_answers_that_start_alike_are_left_out(tiny_model) -> None:
    alike = [replace(BACK[0], options=PAIRS[0].options), *BACK[1:]]
    data = language_flow.compute(tiny_model("llama"), PAIRS, back=alike)
    assert data["example"].values.tolist() == ["t/1", "t/2"]
    assert data.attrs["left_out"] == 1
    with pytest.raises(InputError, match="the same token in both"):
        language_flow.compute(tiny_model("llama"), PAIRS[:1], back=alike[:1])


@pytest.mark.parametrize(
    ("pairs", "back", "cell", "message"),
    [
        (PAIRS, [], None, "back lacks t/0"),
        ([replace(PAIRS[0], options=None, gold=None)], [replace(BACK[0], options=None, gold=None)], None, "no answer"),
        (PAIRS, BACK, ("attn", 7, 0), "source_layer 7"),
        ([replace(PAIRS[0], id=None)], BACK, None, "no id"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(tiny_model, pairs, back, cell, message) -> None:
    with pytest.raises(InputError, match=message):
        language_flow.compute(tiny_model("llama"), pairs, back=back, cell=cell)
    with pytest.raises(InputError, match="compute"):
        language_flow.figure(synthetic_results())
