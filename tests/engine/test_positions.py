"""Reading and writing at other positions: every engine gives the loop's map, which is whole passes with a hook there."""

from __future__ import annotations

import numpy as np
import pytest

import xtl
from tests.conftest import SOURCE, TARGET
from tests.engine.test_axes import ASKED, FAMILIES, GENERATED, LANGUAGES, SOME, by_every_engine
from tests.engine.test_packed import MODULES
from xtl.backend import forward
from xtl.hooks import MODULES as BUILT_IN
from xtl.hooks import transplant_at
from xtl.tokens import encode, find_positions
from xtl.transplants import read_activations

WORDS = {"source_position": xtl.at_word("France"), "target_position": xtl.at_word("Francia")}


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_engine_gives_the_loops_map_at_a_word(tiny_model, architecture, backend):
    model, modules = tiny_model(architecture, backend), MODULES[architecture][:2]
    at_words = by_every_engine(model, modules=modules, details="state", **WORDS, **ASKED, **SOME)
    spans = {"source_position": xtl.over_words("Fran"), "target_position": [-5, -4, -2, -1]}
    both = by_every_engine(model, modules=modules, alpha=[1.0], **spans, **ASKED, **SOME)
    last = by_every_engine(model, modules=modules, **ASKED, **SOME)
    assert float(abs(both["score"].sel(alpha=1) - last["score"]).max()) > 1e-4
    assert float(abs(at_words["score"] - last["score"]).max()) > 1e-4
    plainly = xtl.sweep(model, modules=modules, source_position=-1, target_position=[-1], **ASKED, **SOME)
    np.testing.assert_allclose(plainly["score"], last["score"], atol=1e-5)


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_the_loops_map_is_whole_passes_with_a_hook_there(tiny_model, backend):
    model, module = tiny_model("llama", backend), BUILT_IN["mlp"]
    source, target = encode(model, SOURCE), encode(model, TARGET)
    read = find_positions(model, "a", SOURCE, source, xtl.over_words("France"))
    write = find_positions(model, "b", TARGET, target, xtl.over_words("capital"))[:6]
    assert model.tokenizer.decode([source[one] for one in read]).strip() == "France"
    values = read_activations(model, source, [module], [2], read)["mlp", 2]
    hook = (module.write_hook(1), transplant_at(values, write))
    logprobs = forward(model, target, hooks=[hook])[-1].log_softmax(dim=-1)
    asked = {"source": SOURCE, "target": TARGET, "answer": "a", "modules": ["mlp"]}
    got = by_every_engine(model, source_position=read, target_position=list(write), **asked, **SOME)
    want = float(logprobs[encode(model, "a")[-1]])
    assert float(got["score"].sel(target_layer=1).item()) == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_patchscope_generates(tiny_model, backend):
    """Another target prompt, another position: the fast engine that can't hands on to the next one, and says so."""
    model = tiny_model("llama", backend)
    scope = {
        "modules": ["resid"],
        "source_position": -3,
        "target_position": xtl.at_word("Francia"),
        **GENERATED,
        **SOME,
    }
    with pytest.warns(xtl.SlowEngineWarning, match="written before its end are not packed"):
        fast = xtl.sweep(model, **scope)
    assert fast.attrs["engine"] == "batched"
    loop = xtl.sweep(model, engine="loop", **scope)
    assert (fast["text"] == loop["text"]).all()
    one = xtl.transplant(
        model, source=SOURCE, target=TARGET, module="resid", source_layer=2, target_layer=1, source_position=-3,
        target_position=xtl.at_word("Francia"), max_new_tokens=3,
    )  # fmt: skip
    assert one.text == loop["text"].sel(target_layer=1).item()
    assert (one.patch.position, one.patch.token) == (int(loop["target_position"]), "a")


def test_heads_and_sources_go_with_a_target_position(tiny_model):
    several = ASKED | {"source": None, "sources": LANGUAGES}
    by_every_engine(tiny_model("llama"), target_position=xtl.at_word("Francia"), **several, **SOME)
    heads = {"modules": ["attn_head"], "heads": [0, 2], "source_position": [3, 4], "target_position": [5, 9]}
    by_every_engine(tiny_model("llama"), **heads, **ASKED, **SOME)


def test_a_result_says_its_positions_and_words_of_several_questions_go_together(tiny_model):
    def at(word, **more):
        target = f"La capital de {word} es"
        return xtl.sweep(tiny_model("llama"), **{**ASKED, "target": target}, **(WORDS | more), **SOME)

    one, other = (at(word, target_position=xtl.at_word(word)) for word in ("Francia", "Italia"))
    both = xtl.concat_maps([one, other])
    assert both["target_position"].values.tolist() == [int(one["target_position"]), int(other["target_position"])]
    assert both.attrs["target_at"] == "last token of a word"
    with pytest.raises(xtl.InputError, match="differ in target_at"):
        xtl.concat_maps([one, at("Francia", target_position=5)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source_position": xtl.at_word("Spain")}, "source_position: 'Spain' is not in the prompt 'The capital"),
        (
            {"target_position": xtl.at_word("l")},
            r"target_position: 'l' is \d times in the prompt .*; it must stand there once",
        ),
        ({"target_position": 99}, "target_position 99 is out of range for a prompt of"),
        ({"target_position": "Francia"}, r"target_position must be an index, several, xtl.at_word\(...\)"),
        ({"target_position": [4, 3]}, "target_position must go up"),
        ({"target_position": []}, "target_position must go up"),
        ({"source_position": [1, 2]}, r"reads 2 tokens \(1, 2\) and target_position writes 1 .*: they must be as many"),
        ({"target_position": 3, "steps": "every"}, "steps='every' writes at the prompt's end"),
        ({"source": [5, 6, 7], "source_position": xtl.at_word("a")}, "the prompt is token ids, in which 'a' can't"),
        (
            {"source": None, "sources": LANGUAGES, "source_position": 1},
            "of one source prompt that is read: .*, or sources",
        ),
    ],
)
def test_positions_that_are_none_are_told(tiny_model, untyped, arguments, message):
    with pytest.raises(xtl.InputError, match=message):
        xtl.sweep(tiny_model("llama"), **(ASKED | arguments), **SOME)
