"""Likelihood of options: ties, length normalisation, and options that merge with the prompt."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import xtl
from tests import tiny
from tests.conftest import DEFAULT_BACKEND, SOURCE, TARGET
from xtl.backend import forward
from xtl.results.units import NORMALISATIONS, UNITS
from xtl.scoring.likelihood import Question
from xtl.tokens import encode, encode_continuation

ENGINES = ("loop", "batched", "packed")
BACKENDS = ("hooked", "bridge")
MERGES = [("A", "n"), ("An", "s"), ("w", "e"), ("we", "r"), ("Ans", "wer"), ("x", "y"), ("xy", "z")]


def merging() -> PreTrainedTokenizerFast:
    """A token a byte, but for `MERGES`, in the places of bytes that no text here holds: "Ans" and "wer" melt into one token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merged = ["".join(pair) for pair in MERGES]
    vocab = {token: index for index, token in enumerate(tiny.SPECIAL + alphabet[: -len(merged)] + merged)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="module")
def melting(tmp_path_factory):
    """A model of that tokenizer, by backend."""
    folder = tiny.build("llama", tmp_path_factory.mktemp("melting"))
    merging().save_pretrained(folder)
    loaded = {}

    def get(backend: str = DEFAULT_BACKEND):
        if backend not in loaded:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="the tokenizer of .* does not give a text back")
                loaded[backend] = xtl.load_model(folder, backend=backend)
        return loaded[backend]

    return get


def question(n_options, gold, lengths=None):
    lengths = lengths or [1] * n_options
    ids = tuple(tuple(range(10 * k, 10 * k + n)) for k, n in enumerate(lengths))
    return Question(ids, gold, True, tuple("é" * n for n in lengths), (False,) * n_options)


# --- ties


@given(
    data=st.data(),
    values=st.lists(st.sampled_from([-0.5, -1.0, -2.0, -3.0]), min_size=2, max_size=5),
    normalise=st.sampled_from(list(NORMALISATIONS)),
)
def test_the_order_of_options_never_decides(data, values, normalise):
    """At most one option is right, none at a tie, and the same whatever their order is."""
    n = len(values)
    lengths = data.draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))
    order = data.draw(st.permutations(range(n)))
    rated = []
    for gold in range(n):
        asked = question(n, gold, lengths)
        moved = question(n, order.index(gold), [lengths[k] for k in order])
        right = bool(asked.correct(torch.tensor(values), normalise))
        assert right == bool(moved.correct(torch.tensor([values[k] for k in order]), normalise))
        rated.append(right)
    by_length = [value / (1 if normalise == "none" else length) for value, length in zip(values, lengths, strict=True)]
    ties = sum(abs(value - max(by_length)) < 1e-6 for value in by_length)
    assert sum(rated) == (1 if ties == 1 else 0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_two_options_that_the_model_cannot_tell_apart_are_both_wrong(tiny_folder, engine, backend):
    model = xtl.load_model(tiny_folder("llama"), backend=backend)
    a, b, c = (encode(model, TARGET + text)[-1] for text in ("a", "b", "c"))
    weight = model.unembed.W_U.T if backend == "hooked" else model.original_model.lm_head.weight
    with torch.no_grad():
        weight[b] = weight[a]
        weight[c] = -weight[a]  # the one is above the two where they are below it
    asked = {"source": SOURCE, "target": TARGET, "engine": engine, "modules": ["mlp"]}
    right = {
        (order, gold): xtl.sweep(model, **asked, options=order, gold=order.index(gold))
        for order in (("a", "b", "c"), ("c", "b", "a"))
        for gold in "abc"
    }
    for order in (("a", "b", "c"), ("c", "b", "a")):
        for gold in "ab":
            assert not right[order, gold].correct.any()
            assert not right[order, gold].vanilla_correct
    first, second = right[("a", "b", "c"), "c"], right[("c", "b", "a"), "c"]
    assert 0 < first.correct.mean() < 1
    assert (first.correct == second.correct).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_ties_of_bfloat16_are_nobodys(tiny_folder, engine):
    """Large logits that bfloat16 can't tell apart: the same cells are right in either order of the options, and some in none."""
    model = xtl.load_model(tiny_folder("llama"), backend="bridge", dtype="bfloat16")
    with torch.no_grad():
        model.original_model.lm_head.weight += 4.0
    asked = {"source": SOURCE, "target": TARGET, "modules": ["mlp"], "engine": engine}
    options, right = list("abcdef"), np.zeros((1, tiny.N_LAYERS, tiny.N_LAYERS), dtype=int)
    for gold in options:
        straight, reverse = (
            xtl.sweep(model, **asked, options=order, gold=order.index(gold)) for order in (options, options[::-1])
        )
        assert (straight.correct == reverse.correct).all()
        right += straight.correct.values
    assert right.max() == 1
    assert right.min() == 0


# --- length


def by_hand(model, options, hooks=None):
    prompt = encode(model, TARGET)
    sums = []
    for text in options:
        ids = encode_continuation(model, TARGET, prompt, text)
        logits = forward(model, prompt + ids, hooks=hooks).double().log_softmax(dim=-1)
        sums.append(sum(float(logits[len(prompt) - 1 + step, token]) for step, token in enumerate(ids)))
    tokens = [len(encode_continuation(model, TARGET, prompt, text)) for text in options]
    return np.array(sums), np.array(tokens), np.array([len(text.encode()) for text in options])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [("wer", "xyz!", "Paris", "é"), ("wer", "x", "xy", "y"), ("a", "b", "c", "d")])
def test_length_normalised_scores_are_what_their_definition_says_on_every_engine(melting, backend, options):
    """Options of one token and different bytes among them: what all share may not be left out there."""
    model = melting(backend)
    sums, tokens, n_bytes = by_hand(model, options)
    asked = {"source": SOURCE, "target": TARGET, "options": options, "gold": 1}
    asked["normalise"] = "token"  # once one is asked for, all are kept
    loop, *others = (xtl.sweep(model, **asked, engine=engine, verify=3) for engine in ENGINES)
    assert [fast.attrs["engine"] for fast in others] == list(ENGINES[1:])
    for suffix, divided in (("raw", sums), ("per_token", sums / tokens), ("per_byte", sums / n_bytes)):
        want = divided[1] - np.logaddexp.reduce(divided)
        assert float(loop[f"vanilla_score_{suffix}"]) == pytest.approx(want, abs=1e-5)
        assert bool(loop[f"vanilla_correct_{suffix}"]) == (divided.argmax() == 1)
        for fast in others:
            for name in (f"score_{suffix}", f"vanilla_score_{suffix}"):
                assert float(np.abs(fast[name] - loop[name]).max()) < 2e-5
            assert (fast[f"correct_{suffix}"] == loop[f"correct_{suffix}"]).all()


@pytest.mark.parametrize("normalise", NORMALISATIONS)
def test_the_score_is_the_one_that_was_chosen_with_all_of_them_beside_a_normalised_one(melting, normalise):
    model, suffix = melting(), NORMALISATIONS[normalise]
    asked = {"source": SOURCE, "target": TARGET, "options": ("wer", "xyz!", "é"), "gold": 0, "engine": "loop"}
    asked["source_layers"] = [0, 2]
    found = xtl.sweep(model, **asked, normalise=normalise)
    usual, by_token = xtl.sweep(model, **asked), xtl.sweep(model, **asked, normalise="token")
    for name in ("score", "correct", "vanilla_score", "vanilla_correct"):
        np.testing.assert_array_equal(found[name], by_token[f"{name}_{suffix}"])
        np.testing.assert_array_equal(by_token[f"{name}_raw"], usual[name])
        for other in NORMALISATIONS.values():
            assert (f"{name}_{other}" in found) == (normalise != "none")
    np.testing.assert_allclose(found.gain, found.score - found.vanilla_score, atol=1e-6)
    assert found.attrs["normalise"] == normalise
    assert found.attrs["score_unit"] == found.score.attrs["unit"] == found.gain.attrs["unit"] == UNITS[normalise]
    assert by_token[f"score_{suffix}"].attrs["unit"] == UNITS[normalise]
    assert (found.attrs["score"] == usual.attrs["score"]) == (normalise == "none")


def test_the_raw_score_of_one_token_options_needs_no_sum_over_the_vocabulary(melting, monkeypatch):
    """However long their texts are: what all options share is left out, and a map costs what its layers cost."""
    from xtl.engine.readout import Readout

    summed = []
    real = Readout.normaliser

    def count(self, normed, *more):
        summed.append(len(normed))
        return real(self, normed, *more)

    asked = {"source": SOURCE, "target": TARGET, "options": ("a", "é"), "gold": 0, "engine": "packed", "verify": 0}
    options = ("wer", "x")  # a token each, three bytes and one
    xtl.sweep(melting(), **asked)  # the engine is tried out before
    monkeypatch.setattr(Readout, "normaliser", count)
    xtl.sweep(melting(), **(asked | {"options": options}))
    assert sum(summed) == 0
    xtl.sweep(melting(), **(asked | {"options": options}), normalise="byte")
    assert sum(summed) > 0


@pytest.mark.parametrize("normalise", NORMALISATIONS)
def test_an_answer_is_divided_by_its_length(melting, normalise):
    model = melting()
    found = xtl.sweep(model, source=SOURCE, target=TARGET, answer="wer é", normalise=normalise, source_layers=[0])
    sums, tokens, n_bytes = by_hand(model, ["wer é"])
    length = {"none": 1, "token": tokens[0], "byte": n_bytes[0]}[normalise]
    assert (tokens[0], n_bytes[0]) == (4, 6)
    assert float(found.vanilla_score) == pytest.approx(sums[0] / length, abs=1e-5)
    assert "correct_per_byte" not in found


def test_shares_of_people_are_compared_with_the_normalised_options(melting):
    pair = xtl.ParallelPair(SOURCE, TARGET, options=("wer", "xyz!"), gold=0, distribution=(0.7, 0.3))
    raw, by_byte = (xtl.sweep(melting(), pair, source_layers=[0], normalise=one) for one in ("none", "byte"))
    from xtl.scoring.distribution import similarity

    score = float(by_byte.vanilla_score_per_byte)
    want = similarity(np.array([score, np.log1p(-np.exp(score))]), [0.7, 0.3])
    assert float(by_byte.vanilla_similarity) == pytest.approx(float(want), abs=1e-5)
    assert float(raw.vanilla_similarity) != pytest.approx(float(want), abs=1e-3)


def test_the_check_compares_the_normalised_scores_too(melting, monkeypatch):
    """A constant on all options leaves the raw score as it is, and no normalised one."""
    from xtl.engine import batched

    real = batched.Batched.logprobs
    monkeypatch.setattr(batched.Batched, "logprobs", lambda *arguments: real(*arguments) + 3.0)
    asked = {"source": SOURCE, "target": TARGET, "gold": 0, "engine": "batched"}
    assert xtl.sweep(melting(), **asked, options=("wer", "xyz!")) is not None
    with pytest.raises(xtl.ModelError, match=r"failed its check: cell .* \(nats per (token|byte)\)"):
        xtl.sweep(melting(), **asked, options=("wer", "xyz!"), normalise="token")


def test_normalise_that_means_nothing_is_refused(melting):
    asked = {"source": SOURCE, "target": TARGET}
    with pytest.raises(xtl.InputError, match=r"unknown normalise 'bytes' .*; valid: none, token, byte"):
        xtl.sweep(melting(), **asked, answer="a", normalise="bytes")
    with pytest.raises(xtl.InputError, match="normalise='token' is for likelihood: leave it out, or max_new_tokens"):
        xtl.sweep(melting(), **asked, normalise="token", max_new_tokens=2)


# --- options that melt into the prompt

MELTS = {"source": SOURCE, "target": "Ans", "source_layers": [0], "modules": ["mlp"]}


def told(result):
    return {one["text"]: (one["tokens"], one["bytes"], one["alone"]) for one in json.loads(result.options.item())}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_result_says_which_options_were_tokenised_alone_and_warns_once(melting, backend):
    with pytest.warns(
        UserWarning, match=r"some of the options merge .* \(such as 'wer'\) and were tokenised alone"
    ) as seen:
        result = xtl.sweep(melting(backend), **MELTS, options=("x", "wer", " yes"), gold=0)
    assert len(seen) == 1
    assert told(result) == {"x": (1, 1, False), "wer": (1, 3, True), " yes": (4, 4, False)}


def test_options_that_are_all_tokenised_alike_are_no_reason_to_warn(melting):
    model = melting()
    apart = xtl.sweep(model, **MELTS, options=("x", " wer"), gold=0)
    assert [alone for *_, alone in told(apart).values()] == [False, False]
    ids = xtl.sweep(model, **(MELTS | {"target": encode(model, "Ans")}), options=("x", "wer"), gold=0)
    assert [alone for *_, alone in told(ids).values()] == [True, True]  # behind token ids nothing can merge
    answer = xtl.sweep(model, **MELTS, answer="wer")
    assert told(answer) == {"wer": (1, 3, True)}


@pytest.mark.parametrize("listed", [True, False])
def test_many_pairs_are_told_once_with_a_count(melting, listed):
    texts = [("x", "wer"), ("x", "y"), ("wer", "z")]
    pairs = [xtl.ParallelPair(SOURCE, "Ans", options=options, gold=0, id=str(k)) for k, options in enumerate(texts)]
    settings = {"source_layers": [0], "modules": ["mlp"]}
    with pytest.warns(UserWarning, match="some of the options of 2 of 3 pairs merge") as seen:
        maps = xtl.concat_maps(xtl.sweep_many(melting(), pairs if listed else iter(pairs), **settings))
    assert len(seen) == 1
    assert [[one["alone"] for one in json.loads(text)] for text in maps.options.values] == [
        [False, True],
        [False, False],
        [True, False],
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xtl.concat_maps(xtl.sweep_many(melting(), [pairs[1], replace(pairs[1], id="4")], **settings))


# --- where it is chosen


@pytest.mark.parametrize(
    "command",
    [
        ["sweep", "--task", "capitals", "--source-lang", "en", "--target-lang", "es", "--out", "{out}"],
        ["run", "--tasks", "capitals", "--directions", "en:es", "--out", "{out}"],
        ["protocol", "pairwise", "--task", "capitals", "--languages", "es", "--out", "{out}"],
    ],
    ids=lambda command: command[0],
)
def test_commands_refuse_what_cannot_be_chosen_before_a_model_loads(run, tmp_path, command):
    given = [part.format(out=tmp_path / "out") for part in command]
    code, _, err = run(
        *given, "--normalise", "bytes", "--model" if command[0] != "run" else "--models", "no-such-model"
    )
    assert code == 2
    assert "unknown" in err
    assert "'bytes'" in err
    assert "valid: none, token, byte" in err
    assert not (tmp_path / "out" / "results.parquet").exists()


def test_a_sweep_on_the_command_line_scores_by_length(run, tiny_folder, tmp_path):
    cells = ["--modules", "mlp", "--source-layers", "0", "--target-layers", "1", "--limit", "2"]
    ends = ["--task", "capitals", "--source-lang", "en", "--target-lang", "es", "--model", tiny_folder("llama")]
    code, _, err = run("sweep", *ends, *cells, "--normalise", "byte", "--out", tmp_path)
    assert code == 0, err
    found = xtl.runs.load_results(tmp_path / "results.parquet")
    assert found.attrs["score_unit"] == "nats per byte"
    np.testing.assert_array_equal(found.score, found.score_per_byte)


def test_protocols_score_by_length_and_choose_on_a_sample_of_the_same(tiny_model):
    from xtl.protocols.run import Data, pairwise, score_settings, select

    model, data = tiny_model("llama"), Data(limit=2)
    small = {"data": data, "modules": ["mlp"], "source_layers": [0, 1], "target_layers": [2]}
    sample = pairwise(model, "capitals", ["es"], split="sample", normalise="byte", **small)
    assert sample.attrs["score_unit"] == "nats per byte"
    found = select(model, "capitals", ["es"], sample=sample, normalise="byte", data=data)
    assert found.attrs["normalise"] == "byte"
    with pytest.raises(xtl.InputError, match="sample is scored with normalise 'byte', not 'none'"):
        select(model, "capitals", ["es"], sample=sample, data=data)
    with pytest.raises(xtl.InputError, match="normalise 'byte' is for scores by likelihood, not for paper"):
        score_settings(xtl.get_task("xquad"), None, "byte")


def test_a_control_is_scored_as_its_sweep_is(tiny_model):
    pairs = xtl.get_task("capitals").pairs("en", "es", limit=3)
    cells = {"modules": ["mlp"], "source_layers": [0], "target_layers": [2], "normalise": "token"}
    found = xtl.concat_maps(xtl.controls.run(tiny_model("llama"), pairs, "zero", **cells))
    assert found.attrs["normalise"] == "token"
    np.testing.assert_array_equal(found.score, found.score_per_token)
