"""Prompts are tokenised by the model's own rule; BOS exactly as often as that rule says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xtl
from tests import tiny
from tests.conftest import TARGET
from xtl.tokens import encode, encode_continuation


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_the_tokenizers_own_rule_on_bos_is_kept(tmp_path, adds_bos, backend):
    model = xtl.load_model(tiny.build("llama", tmp_path, adds_bos=adds_bos), backend=backend)
    want = tiny.byte_tokenizer(adds_bos)(TARGET)["input_ids"]
    assert encode(model, TARGET) == want == model.to_tokens(TARGET)[0].tolist()
    assert want.count(1) == int(adds_bos)
    assert encode(model, want) == want


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_text_that_starts_with_bos_gets_no_second_one(tiny_model, backend):
    model = tiny_model("llama", backend)
    assert encode(model, "<s>" + TARGET) == encode(model, TARGET)


@given(prompt=st.text(min_size=1).filter(str.strip), option=st.text(min_size=1, max_size=5))
def test_prompt_and_continuation_are_the_tokens_of_the_whole(tiny_model, prompt, option):
    model = tiny_model("llama")
    ids = encode(model, prompt)
    assert ids + encode_continuation(model, prompt, ids, option) == encode(model, prompt + option)


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
def test_the_prompts_last_token_stays_where_a_merge_would_cross_the_boundary(embedded):
    prompt, option = "The capital of Fran", "ce"
    ids = encode(embedded, prompt)
    assert encode(embedded, prompt + option)[: len(ids)] != ids  # "France" is one token
    continuation = encode_continuation(embedded, prompt, ids, option)
    assert embedded.tokenizer.decode(continuation) == option


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_a_model_without_tokenizer_takes_token_ids(tmp_path, backend):
    model = xtl.load_model(tiny.build("llama", tmp_path, tokenizer=False), backend=backend)
    arguments = {"module": "mlp", "source_layer": 1, "target_layer": 2, "max_new_tokens": 2}
    result = xtl.transplant(model, source=[5, 6, 7], target=[8, 9], **arguments)
    assert len(result.tokens) in (1, 2)
    assert result.text == ""
    assert result.patch.token == "9"
    with pytest.raises(xtl.InputError, match="source is a text but the model has no tokenizer; give token ids"):
        xtl.transplant(model, source="a", target=[8], **arguments)
