"""The packed engine is exact: it equals the loop on every cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from xtl.backend import forward
from xtl.engine.packed import bridge, hooked, why_not_packable
from xtl.engine.readout import Readout
from xtl.engine.tree import build_tree
from xtl.tokens import encode

MODULES = {
    a: ["attn", "mlp", "resid", "attn_released"] if a in tiny.SEQUENTIAL else ["attn", "mlp", "resid"]
    for a in tiny.CONFIGS
}


def assert_equal_maps(model, engine="packed", **arguments):
    loop = xtl.sweep(model, engine="loop", **arguments)
    assert_close(xtl.sweep(model, engine=engine, **arguments), loop)


def assert_close(fast, loop):
    # A score near 0 (the gold option all but certain) is a difference of large log-probabilities: hence at least 1.
    scale = max(float(np.abs(loop.score).max()), abs(float(loop.vanilla_score)), 1.0)
    assert np.abs(fast.score - loop.score).max() <= 1e-5 * scale
    assert abs(float(fast.vanilla_score - loop.vanilla_score)) <= 1e-5 * scale


PACKABLE = [(a, b) for a in tiny.CONFIGS for b in ("hooked", "bridge") if (a, b) != ("bloom", "bridge")]


SCORES = {
    "one token": {"options": ("a", "b", "c"), "gold": 2},
    "several tokens": {"options": (" Paris", " Par", " Rome is far", "x"), "gold": 0},
    "a common beginning": {"options": (" (1)", " (2)", " (10)"), "gold": 2},
    "answer": {"answer": " Paris"},
}
"""How continuations branch is no matter of the model: llama and gemma3 (windows) try all, the others what has most branches."""

TRIED = [
    pytest.param(score, *one, id=f"{score}-{'-'.join(one)}")
    for score in SCORES
    for one in PACKABLE
    if one[0] in ("llama", "gemma3") or score in ("one token", "several tokens")
]


@pytest.mark.parametrize(("score", "architecture", "backend"), TRIED)
def test_packed_equals_loop(tiny_model, architecture, backend, score):
    arguments = {"source": SOURCE, "target": TARGET, "modules": MODULES[architecture], **SCORES[score]}
    if score == "one token":  # it has no later step, and is quick: the whole map
        assert_equal_maps(tiny_model(architecture, backend), **arguments)
        return
    for steps in ("first", "every"):
        cells = {"source_layers": [0, 3], "target_layers": [0, 2]}
        assert_equal_maps(tiny_model(architecture, backend), steps=steps, **cells, **arguments)


def test_a_source_that_is_the_target_is_exact_too(tiny_model):
    """Its diagonal gains nothing but for the module that writes the residual stream where attention's output was."""
    model = tiny_model("llama")
    assert_equal_maps(model, source=TARGET, target=TARGET, modules=MODULES["llama"], options=("a", "b"), gold=0)


def test_an_option_may_begin_with_another_one(tiny_model):
    """Each is scored over its own tokens: the shorter one is no part of the longer one's score, and the map is exact."""
    model = tiny_model("llama")
    question = {"source": SOURCE, "target": TARGET, "options": ("ab", "a", "abc"), "gold": 1}
    assert_equal_maps(model, **question)
    result = xtl.sweep(model, **question)
    prompt = encode(model, TARGET)
    logits = forward(model, [*prompt, *encode(model, "abc")[1:]]).log_softmax(dim=-1)
    steps = [float(logits[len(prompt) - 1 + at, token]) for at, token in enumerate(encode(model, "abc")[1:])]
    sums = np.cumsum(steps)
    assert float(result.vanilla_score) == pytest.approx(sums[0] - np.logaddexp.reduce(sums), rel=1e-5)


@pytest.mark.slow("all tiny models")
@given(
    packable=st.sampled_from(PACKABLE),
    source=st.lists(st.integers(3, tiny.VOCAB - 1), min_size=1, max_size=40),
    target=st.lists(st.integers(3, tiny.VOCAB - 1), min_size=1, max_size=40),
    options=st.lists(st.text("abcß日", min_size=1, max_size=3), min_size=2, max_size=4, unique=True),
)
@settings(max_examples=15, deadline=None)
def test_packed_equals_loop_whatever_the_prompts(tiny_model, packable, source, target, options):
    """Prompts of one token, shorter and longer than the sliding window of 8, sources longer than targets and the reverse."""
    assert_equal_maps(
        tiny_model(*packable),
        source=source,
        target=target,
        options=options,
        gold=0,
        modules=MODULES[packable[0]][:2],
        source_layers=[0, 3],
    )


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("chunk_size", [1, 5, 1000])
def test_chunks_do_not_change_the_map(tiny_model, backend, chunk_size):
    model = tiny_model("gemma3", backend)
    arguments = {"source": SOURCE, "target": TARGET, "options": ("a", "bc"), "gold": 0, "engine": "packed"}
    whole = xtl.sweep(model, **arguments)
    parts = xtl.sweep(model, chunk_size=chunk_size, **arguments)
    np.testing.assert_allclose(parts.score, whole.score, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [0, -3, 1.5, "all"])
def test_a_chunk_size_that_makes_no_sense(tiny_model, untyped, bad):
    with pytest.raises(xtl.InputError, match="chunk_size"):
        xtl.sweep(tiny_model("llama"), source=SOURCE, target=TARGET, options=("a", "b"), gold=0, chunk_size=bad)


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_out_of_memory_halves_the_chunk_and_goes_on(tiny_model, monkeypatch, backend):
    model = tiny_model("llama", backend)
    arguments = {"source": SOURCE, "target": TARGET, "options": ("a", "bc"), "gold": 0, "engine": "packed"}
    whole = xtl.sweep(model, **arguments)
    kind = {"hooked": hooked.PackedHooked, "bridge": bridge.PackedBridge}[backend]
    real, sizes = kind.logprobs, []

    def short_of_memory(self, cells, sources):
        sizes.append(len(cells))
        if len(cells) > 4:
            real(self, cells, sources)  # fails when much of the work is done
            raise torch.OutOfMemoryError("no more")
        return real(self, cells, sources)

    monkeypatch.setattr(kind, "logprobs", short_of_memory)
    with pytest.warns(UserWarning, match="out of memory") as said:
        parts = xtl.sweep(model, chunk_size=16, **arguments)
    assert [str(warning.message) for warning in said] == [
        "out of memory with 16 cells at a time; going on with 8",
        "out of memory with 8 cells at a time; going on with 4",
    ]
    assert sizes == [16, 8] + [4] * 8
    np.testing.assert_allclose(parts.score, whole.score, rtol=1e-5, atol=1e-6)


@pytest.mark.hooked
def test_another_error_is_not_taken_for_a_lack_of_memory(tiny_model, monkeypatch):
    def fail(self, cells, sources):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(hooked.PackedHooked, "logprobs", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        xtl.sweep(tiny_model("llama"), source=SOURCE, target=TARGET, options=("a", "b"), gold=0, engine="packed")


@pytest.mark.hooked
def test_the_attention_is_the_models_own_again_also_after_an_exception(tiny_model, monkeypatch):
    model = tiny_model("llama")
    monkeypatch.setattr(hooked, "transplant_packed", lambda *_, **__: lambda activation, hook: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        xtl.sweep(model, engine="packed", source=SOURCE, target=TARGET, options=("a", "b"), gold=0)
    assert all("forward" not in vars(block.attn) for block in model.blocks)
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


@pytest.mark.hooked
def test_what_can_not_be_packed_is_refused_with_the_reason(tiny_model, tiny_folder):
    assert why_not_packable(tiny_model("llama")) is None
    assert why_not_packable(tiny_model("llama", "bridge")) is None
    model = xtl.load_model(tiny_folder("llama"))
    model.cfg.use_attention_sinks = True
    assert why_not_packable(model) == "attention sinks"
    with pytest.raises(xtl.InputError, match="engine 'packed' cannot run this model: attention sinks"):
        xtl.sweep(model, engine="packed", source=SOURCE, target=TARGET, options=("a", "b"), gold=0)


def test_a_bridge_that_takes_no_packed_masks_falls_back_to_a_batch(tiny_model, monkeypatch):
    """ALiBi's slopes come from the mask in Bloom's own forward pass."""
    model = tiny_model("bloom", "bridge")
    assert why_not_packable(model) is not None
    result = xtl.sweep(model, source=SOURCE, target=TARGET, options=("a", "b"), gold=0, source_layers=[0])
    assert result.attrs["engine"] == "batched"
    # A model whose attention ignored the mask would be found out by the try, not by its name.
    llama = tiny_model("llama", "bridge")
    monkeypatch.delattr(llama, "xtl_packable", raising=False)

    def everything(self, n_rows, n_groups):
        return torch.zeros(n_groups, 1, n_rows * len(self.tree), len(self.prefix) + n_rows * len(self.tree))

    monkeypatch.setattr(bridge.PackedBridge, "masks", everything)
    assert why_not_packable(llama) == (
        "its attention does not follow the masks and positions that keep cells in one text apart"
    )
    del llama.xtl_packable


def test_a_tree_holds_what_continuations_share_once():
    tree = build_tree(7, ((1, 2, 3), (1, 2, 4), (5,)))
    assert tree.tokens == [7, 1, 2]
    assert tree.depths == [0, 1, 2]
    assert tree.reads == [[(0, 1), (1, 2), (2, 3)], [(0, 1), (1, 2), (2, 4)], [(0, 5)]]
    branches = build_tree(7, ((1, 2, 3), (4, 5, 6)))
    sees = branches.sees()
    assert torch.equal(sees, sees.tril())
    for node in range(len(branches)):
        assert int(sees[node].sum()) == branches.depths[node] + 1


def test_a_map_checks_itself_and_says_how_close_it_was(tiny_model):
    arguments = {"source": SOURCE, "target": TARGET, "options": ("a", "bc"), "gold": 0}
    result = xtl.sweep(tiny_model("llama"), engine="packed", verify=5, **arguments)
    assert result.attrs["verified_cells"] == 5
    assert 0 <= result.attrs["verified_largest_difference"] < 1e-4
    assert xtl.sweep(tiny_model("llama"), engine="packed", **arguments).attrs["verified_cells"] == 1
    assert "verified_cells" not in xtl.sweep(tiny_model("llama"), engine="packed", verify=0, **arguments).attrs
    assert "verified_cells" not in xtl.sweep(tiny_model("llama"), engine="loop", **arguments).attrs
    with pytest.raises(xtl.InputError, match="verify must be a whole number of at least 0, got -1"):
        xtl.sweep(tiny_model("llama"), verify=-1, **arguments)


def test_a_map_that_is_wrong_is_refused_with_the_figures(tiny_model, monkeypatch):
    real = Readout.logprobs

    def wrong(*arguments):
        return real(*arguments) + torch.tensor([9.0, 0.0])

    arguments = {"source": SOURCE, "target": TARGET, "options": ("a", "bc"), "gold": 1, "engine": "packed"}
    xtl.sweep(tiny_model("llama"), **arguments)  # the engine is tried out before it goes wrong
    monkeypatch.setattr(Readout, "logprobs", wrong)
    with pytest.raises(xtl.ModelError, match=r"failed its check: cell \w+ \d -> \d has score .* the plain loop gives"):
        xtl.sweep(tiny_model("llama"), verify=3, **arguments)


def test_options_that_are_mixed_up_are_seen_although_the_score_is_the_same(tiny_model, monkeypatch):
    real = Readout.logprobs
    asked = {"source": SOURCE, "target": TARGET, "options": ("a", "bc", "d"), "gold": 0, "engine": "packed"}
    xtl.sweep(tiny_model("llama"), **asked)
    monkeypatch.setattr(Readout, "logprobs", lambda *arguments: real(*arguments)[..., [0, 2, 1]])
    with pytest.raises(
        xtl.ModelError, match=r"failed its check: the options' log shares of cell \w+ \d -> \d are off by"
    ):
        xtl.sweep(tiny_model("llama"), verify=3, **asked)
