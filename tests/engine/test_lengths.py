"""Texts on both sides of every edge: where a model changes its positions or its attention with length, each engine is right."""

from __future__ import annotations

import functools
import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Phi3ForCausalLM

import xtl
from tests import tiny
from xtl.backend import forward
from xtl.engine.lengths import edges, engine_for, why_not_at_lengths
from xtl.engine.packed import bridge, hooked, hooked_attention, why_not_packable
from xtl.engine.plan import Plan
from xtl.hooks import MODULES
from xtl.models.positions import alike

LONGROPE = ["phi3_longrope", "llama_longrope"]
EDGE = 32
"""Their original context, in tokens."""

LENGTHS = range(EDGE - 2, EDGE + 3)
CELLS = {"modules": ["attn", "mlp"], "source_layers": [0], "target_layers": [1]}

pytestmark = pytest.mark.filterwarnings("ignore:engine 'loop' runs a pair")


def ids(n: int, seed: int = 0) -> list[int]:
    return torch.randint(3, tiny.VOCAB, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.fixture(scope="module")
def hugging_face(tiny_folder):
    """The original, loaded apart from xtl."""

    @functools.cache
    def get(name: str):
        return AutoModelForCausalLM.from_pretrained(tiny_folder(name), attn_implementation="eager").eval()

    return get


@torch.no_grad()
def uncached_greedy(model, prompt: list[int], n: int) -> list[int]:
    tokens: list[int] = []
    while len(tokens) < n and 2 not in tokens:
        tokens.append(int(model(torch.tensor([[*prompt, *tokens]]), use_cache=False).logits[0, -1].argmax()))
    return tokens


@pytest.mark.parametrize("name", LONGROPE)
def test_scores_are_hugging_faces_on_both_sides_of_the_edge(tiny_model, hugging_face, name):
    model, original = tiny_model(name, "bridge"), hugging_face(name)
    for n in LENGTHS:
        target, answer = ids(n), "abc"
        question = {"source": ids(12, 1), "target": target, "answer": answer, **CELLS}
        loop = xtl.sweep(model, engine="loop", **question)
        for engine in ("packed", "batched"):
            got = xtl.sweep(model, engine=engine, verify=0, **question)
            assert float(abs(got.score - loop.score).max()) < 1e-4, (n, engine)
        continuation = model.tokenizer(answer, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = original(torch.tensor([[*target, *continuation[:-1]]]), use_cache=False).logits[0, n - 1 :]
        want = logits.log_softmax(-1).gather(1, torch.tensor(continuation)[:, None]).sum()
        assert float(loop.vanilla_score) == pytest.approx(float(want), abs=1e-3), n


@pytest.mark.parametrize("steps", ["first", "every"])
@pytest.mark.parametrize("name", LONGROPE)
def test_answers_are_those_of_whole_passes_on_both_sides_of_the_edge(tiny_model, hugging_face, name, steps):
    model, original = tiny_model(name, "bridge"), hugging_face(name)
    for n in LENGTHS:
        target, source = ids(n), ids(12, 1)
        question = {"source": source, "target": target, "max_new_tokens": 4, "steps": steps}
        loop = xtl.sweep(model, engine="loop", **question, **CELLS)
        want = uncached_greedy(original, target, 4)
        assert [token for token in loop.vanilla_tokens.values.tolist() if token >= 0] == want, n
        for engine in ("packed", "batched"):
            got = xtl.sweep(model, engine=engine, verify=0, **question, **CELLS)
            np.testing.assert_array_equal(got.tokens, loop.tokens, err_msg=f"{n} {engine}")
        one = xtl.transplant(model, module="mlp", source_layer=0, target_layer=1, **question)
        cell = loop.sel(module="mlp", source_layer=0, target_layer=1).tokens.values.tolist()
        assert one.tokens == [token for token in cell if token >= 0]
        assert one.vanilla_tokens == want


@pytest.mark.skipif(
    "next_sequence_length" not in inspect.getsource(Phi3ForCausalLM.prepare_inputs_for_generation),
    reason="this Transformers throws Phi 3's cache away at the edge, but hands on the last token alone",
)
def test_the_reference_is_what_phi_3s_own_generate_gives(hugging_face):
    """It throws its cache away at the edge; so whole passes are what its authors mean."""
    original = hugging_face("phi3_longrope")
    for n in LENGTHS:
        prompt = torch.tensor([ids(n)])
        own = original.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=6)
        assert own[0, n:].tolist() == uncached_greedy(original, ids(n), 6), n


@pytest.mark.parametrize("name", LONGROPE)
def test_only_pairs_that_cross_the_edge_take_the_loop(tiny_model, name):
    model = tiny_model(name, "bridge")
    engines = {}
    for n in LENGTHS:
        question = {"source": ids(5), "target": ids(n), "options": ("a", "bc"), "gold": 0, **CELLS}
        engines[n] = xtl.sweep(model, **question).attrs["engine"]
    # Cached is a prefix of n - 1 tokens; scored are texts of n and, before the "c" of "bc", n + 1.
    assert engines == {n: "loop" if n - 1 <= EDGE < n + 1 else "packed" for n in LENGTHS}


def test_the_edge_is_found_by_asking_the_rotary_modules(tiny_model):
    for name in LONGROPE:
        assert [n for n in range(2, 100) if not alike(tiny_model(name, "bridge"), (n, n + 1))] == [EDGE]
    dynamic = tiny_model("llama_dynamic", "bridge")
    assert [n for n in range(120, 140) if not alike(dynamic, (n, n + 1))] == list(range(128, 140))
    assert not alike(dynamic, (1, 2, 200))
    for name, backend in (("llama", "hooked"), ("llama", "bridge"), ("llama_yarn", "bridge"), ("gemma3", "bridge")):
        assert alike(tiny_model(name, backend), range(1, 300))


def test_dynamic_ntk_is_right_up_to_the_context_and_refused_beyond(tiny_model, hugging_face):
    model, original = tiny_model("llama_dynamic", "bridge"), hugging_face("llama_dynamic")
    assert model.cfg.n_ctx == 128
    alike(model, (127, 128, 129, 500))  # asking leaves the model's own tables alone
    with torch.no_grad():
        want = original(torch.tensor([ids(128)])).logits[0]
    assert (forward(model, ids(128)) - want).abs().max() < 1e-4 * want.abs().max()
    question = {"source": ids(5), "max_new_tokens": 3, **CELLS}
    got = xtl.sweep(model, target=ids(125), **question)
    assert got.attrs["engine"] == "packed"
    assert [token for token in got.vanilla_tokens.values.tolist() if token >= 0] == uncached_greedy(
        original, ids(125), 3
    )
    with pytest.raises(xtl.InputError, match="the model's context holds 128"):
        xtl.sweep(model, target=ids(126), **question)


WINDOWS = [("mistral", "hooked"), ("gemma3", "hooked"), ("gemma3", "bridge"), ("gpt_oss", "bridge")]


def plan(n: int) -> Plan:
    return Plan(ids(5), ids(n), (MODULES["attn"],), (0,), (1,), ((5,), (6,)))


@pytest.mark.parametrize(("name", "backend"), [*WINDOWS, ("llama4_text", "bridge")])
def test_windows_and_chunks_are_edges_and_are_crossed_rightly(tiny_model, name, backend):
    model = tiny_model(name, backend)
    assert 8 in edges(model)
    for n in (6, 8, 9, 17):
        question = {"source": ids(5), "target": ids(n, n), "options": ("a", "bcd"), "gold": 1, **CELLS}
        fast, loop = xtl.sweep(model, verify=0, **question), xtl.sweep(model, engine="loop", **question)
        assert float(abs(fast.score - loop.score).max()) < 1e-4, n


@pytest.mark.parametrize(("name", "backend"), WINDOWS)
def test_a_window_that_is_not_kept_is_found_out_where_a_text_gets_there(tiny_folder, monkeypatch, name, backend):
    """On today's short text alone it would not be."""
    model = xtl.load_model(tiny_folder(name), backend=backend)
    if backend == "bridge":
        monkeypatch.setattr(bridge, "in_window", lambda window, queries, keys: queries >= keys)
    else:
        real = hooked_attention._biases
        blind = lambda attn, *rest: real(SimpleNamespace(cfg=attn.cfg, attn_type="global"), *rest)  # noqa: E731
        monkeypatch.setattr(hooked_attention, "_biases", blind)
    assert why_not_packable(model) is None
    reason = why_not_at_lengths(model, plan(20), "packed")
    assert reason is not None
    assert "at the edge of 8 tokens" in reason
    assert "window" in reason
    assert why_not_at_lengths(model, plan(2), "packed") is None  # it doesn't get there
    with pytest.warns(
        UserWarning, match="engine 'batched' runs a pair of 20 tokens instead of 'packed': at the edge of 8"
    ):
        assert engine_for(model, plan(20), "packed") == "batched"


def test_a_model_that_counts_packed_cells_as_positions_is_packed_up_to_where_that_shows(tiny_folder):
    """Llama 4 scales the queries of some layers by their index, from `floor_scale` on."""
    model = xtl.load_model(
        tiny_folder("llama4_text"), backend="bridge"
    )  # its own: what was said of it once is not said again
    assert engine_for(model, plan(60), "packed") == "packed"
    with pytest.warns(UserWarning, match="at the edge of 100 tokens .floor_scale in its configuration"):
        assert engine_for(model, plan(99), "packed") == "batched"
    question = {"source": ids(5), "target": ids(99), "options": ("a", "bcd"), "gold": 1, **CELLS}
    fast, loop = xtl.sweep(model, verify=0, **question), xtl.sweep(model, engine="loop", **question)
    assert fast.attrs["engine"] == "batched"
    assert float(abs(fast.score - loop.score).max()) < 1e-4


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_the_trial_tries_generated_tokens_too(tiny_folder, monkeypatch, backend):
    """An engine whose scores are right and whose later tokens are not is found out."""
    model = xtl.load_model(tiny_folder("llama"), backend=backend)
    module, name = {
        "hooked": (hooked, "PackedRows"),
        "bridge": (bridge, "PackedBridgeRows"),
    }[backend]
    real = getattr(module, name).next

    def forgetful(self, tokens, live):
        return real(self, (tokens + 1) % tiny.VOCAB, live)

    monkeypatch.setattr(getattr(module, name), "next", forgetful)
    assert why_not_packable(model) == (
        "its attention does not follow the masks and positions that keep cells in one text apart"
    )
