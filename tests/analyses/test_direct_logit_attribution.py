"""`analyses.direct_logit_attribution`: the terms add up to the model's own logits, whatever the norm; writes are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analyses import direct_logit_attribution as dla
from tests.synthetic import synthetic_results
from xtl.backend import forward
from xtl.engine.head import Head
from xtl.errors import InputError
from xtl.pairs import ParallelPair
from xtl.tokens import encode
from xtl.transplants import transplant

PAIRS = [
    ParallelPair(
        f"The capital {k}", f"La capital {k}", source_lang="en", target_lang="es", options=("abc", "bcd", "cde"),
        gold=k % 3, id=f"t/{k}",
    )
    for k in range(3)
]  # fmt: skip
BACK = [
    replace(p, source=p.target, target=p.source, source_lang="es", target_lang="en", options=("xbc", "ycd", "zde"))
    for p in PAIRS
]
ARCHITECTURES = [
    ("llama", "hooked"), ("gemma3", "hooked"), ("gemma2", "hooked"), ("pythia", "hooked"), ("gpt2", "hooked"),
    ("olmo2", "hooked"),
    ("llama", "bridge"), ("gemma3", "bridge"), ("gemma2", "bridge"), ("pythia", "bridge"), ("gpt2", "bridge"),
    ("granite", "bridge"), ("opt", "bridge"),
]  # fmt: skip


def difference(model, logits: torch.Tensor, pair: ParallelPair) -> float:
    """Gold minus the mean of the others, from the model's own logits, the soft cap undone."""
    cap = float(getattr(model.cfg, "output_logits_soft_cap", 0) or 0)
    logits = logits.double()
    logits = cap * torch.atanh(logits / cap) if cap > 0 else logits
    tokens = dla.first_tokens(model, pair)
    others = [token for k, token in enumerate(tokens) if k != pair.gold]
    return float(logits[tokens[pair.gold]] - logits[others].mean())


@pytest.mark.parametrize(("architecture", "backend"), ARCHITECTURES)
def test_terms_add_up_to_the_models_logits_in_every_run(tiny_model, architecture, backend) -> None:
    model = tiny_model(architecture, backend)
    data = dla.compute(model, PAIRS, cell=("mlp", 1, 2))
    terms = data["contribution"].sum(("module", "layer")) + data["embed"] + data["bias"] + data["written"]
    np.testing.assert_allclose(terms, data["logit_difference"], rtol=1e-9)
    for row, pair in enumerate(PAIRS):
        done = transplant(model, pair, module="mlp", source_layer=1, target_layer=2, max_new_tokens=1)
        source = forward(model, encode(model, pair.source))[-1]
        for run, logits in (("source", source), ("target", done.vanilla_logits), ("transplanted", done.logits)):
            expected = difference(model, logits, pair)
            assert float(data["logit_difference"].sel(run=run)[row]) == pytest.approx(expected, rel=2e-3, abs=2e-3), run
    assert data.attrs["largest_error"] < 1e-3
    has_bias = architecture in ("gpt2", "pythia", "opt")
    assert bool((data["bias"] != 0).any()) == has_bias
    assert (data["written"] == 0).all()


@pytest.mark.parametrize(
    ("module", "architecture"), [("resid", "llama"), ("attn", "pythia"), ("attn_released", "gemma3")]
)
def test_a_transplant_changes_its_own_term_and_later_ones_alone(tiny_model, module, architecture) -> None:
    model = tiny_model(architecture)
    data = dla.compute(model, PAIRS, cell=(module, 1, 2))
    before, after = (data["contribution"].sel(run=run) for run in ("target", "transplanted"))
    for row in range(len(PAIRS)):
        # the final norm's scale changes too: terms are compared up to one factor a prompt
        factor = float(data["embed"].sel(run="transplanted")[row] / data["embed"].sel(run="target")[row])
        early = {"layer": [0, 1]}
        np.testing.assert_allclose(after[row].sel(early), factor * before[row].sel(early), rtol=1e-3, atol=1e-5)
        late = {"module": "mlp", "layer": 3}
        assert abs(float(after[row].sel(late)) - factor * float(before[row].sel(late))) > 1e-4
    assert bool((data["written"].sel(run="transplanted") != 0).all()) == (module == "resid")


def test_an_answer_planted_in_one_module_is_found_there(tiny_model, monkeypatch) -> None:
    model = tiny_model("llama")
    gold = [dla.first_tokens(model, pair)[pair.gold] for pair in PAIRS]
    direction = {pair.id: Head(model).rows([token])[0][0] for pair, token in zip(PAIRS, gold, strict=True)}
    written = [200 * direction[pair.id].float() / direction[pair.id].norm() for pair in PAIRS]
    original = dla.transplant_hooks

    def planted(model, source_ids, position, cell):
        index = next(k for k, pair in enumerate(PAIRS) if encode(model, pair.source) == source_ids)
        hooks, _ = original(model, source_ids, position, cell)
        from xtl.hooks import transplant_at

        return [(hooks[0][0], transplant_at(written[index], position))], written[index]

    monkeypatch.setattr(dla, "transplant_hooks", planted)
    data = dla.compute(model, PAIRS, cell=("attn", 0, 3))
    found = data["contribution"].sel(run="transplanted").mean("example")
    place = found.isel(found.argmax(("module", "layer")))
    assert (place["module"].item(), int(place["layer"])) == ("attn", 3)
    assert (data["logit_difference"].sel(run="transplanted") > data["logit_difference"].sel(run="target")).all()
    words = dla.in_words(data)
    assert "The transplant attn 0 -> 3 changes it by +" in words[2]


def test_a_prompt_lent_to_itself_changes_nothing(tiny_model) -> None:
    same = [replace(pair, source=pair.target) for pair in PAIRS]
    data = dla.compute(tiny_model("gemma3"), same, cell=("attn", 2, 2))
    change = dla.summary(data)["mean"].sel(run="change")
    np.testing.assert_allclose(change, 0, atol=1e-4)


def test_the_source_run_is_judged_by_its_own_options_if_they_are_given(tiny_model) -> None:
    model = tiny_model("llama")
    alone, both = dla.compute(model, PAIRS), dla.compute(model, PAIRS, back=BACK)
    assert alone["run"].values.tolist() == ["source", "target"]
    np.testing.assert_array_equal(
        alone["logit_difference"].sel(run="target"), both["logit_difference"].sel(run="target")
    )
    logits = forward(model, encode(model, PAIRS[1].source))[-1]
    expected = difference(model, logits, BACK[1])
    assert float(both["logit_difference"].sel(run="source")[1]) == pytest.approx(expected, rel=2e-3)


def test_summary_and_figure_have_a_panel_a_run(tiny_model) -> None:
    many = [replace(PAIRS[k % 3], id=f"t/{k}", target=f"La capital {k}") for k in range(29)]
    data = dla.compute(tiny_model("llama"), many, cell=("attn", 1, 2))
    found = dla.summary(data, "en->es")
    assert found["run"].values.tolist() == ["source", "target", "transplanted", "change"]
    gap = found["mean"].sel(run="transplanted") - found["mean"].sel(run="target")
    np.testing.assert_allclose(found["mean"].sel(run="change"), gap, atol=1e-9)
    assert found["low"].notnull().sum() > 0
    figure = dla.figure(data)
    lines = [trace for trace in figure.data if trace.name]
    assert [line.name for line in lines] == ["source", "target", "transplanted", "change"] * 2
    titles = [note.text for note in figure.layout.annotations]
    assert titles[0].startswith('en → es, attn<br><span style="font-size: 12px">all terms: source ')
    assert titles[1] == "en → es, mlp"
    np.testing.assert_allclose(lines[1].y, data["contribution"].sel(run="target", module="attn").mean("example"))


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([], {}, "0 instances"),
        ([replace(PAIRS[0], options=None, gold=None)], {}, "no options"),
        ([replace(PAIRS[0], options=("ab", "ac"), gold=0)], {}, "the same token"),
        (PAIRS, {"cell": ("atn", 0, 1)}, "unknown module"),
        (PAIRS, {"cell": ("attn", 0, 9)}, "target_layer 9 is out of range"),
        (PAIRS, {"back": BACK[:2]}, "back lacks t/2"),
        (PAIRS, {"back": [replace(p, gold=(p.gold + 1) % 3) for p in BACK]}, "other options"),
    ],
)
def test_bad_input_is_refused(tiny_model, pairs, options, message) -> None:
    with pytest.raises(InputError, match=message):
        dla.compute(tiny_model("llama"), pairs, **options)


def test_only_computed_data_are_drawn() -> None:
    with pytest.raises(InputError, match="compute"):
        dla.figure(synthetic_results())
