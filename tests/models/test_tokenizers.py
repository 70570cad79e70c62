"""Tokenizers of several kinds: BOS once, multi-byte characters at the last position, no padding, chat templates.

SentencePiece's own library is the reference for the tokens of its models, which are trained here in a moment.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import sentencepiece
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from xtl.models.chat import chat_pairs, chat_prompt
from xtl.tokens import encode, encode_continuation

TEXTS = [SOURCE, TARGET, "フランスの首都は東", "देश: फ़्रांस। राजधानी", "العاصمة", "é", "a é", "🏳️‍🌈", "tail ", "two\nlines"]
ONE = {"module": "attn", "source_layer": 1, "target_layer": 2, "max_new_tokens": 3}
LEARNED = ["The capital of France is Paris.", "La capital de España es Madrid, y es bella."] * 40 + [
    "a b c d e f g h i j k l m n o p q r s t u v w x y z A B C D : ."
] * 4


def sentencepiece_folder(folder: Path, kind: str) -> Path:
    """A folder with a SentencePiece model (Llama 2's scheme: bytes for what it has not learned), as the hub keeps it."""
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LEARNED),
        model_prefix=str(folder / "tokenizer"),
        model_type=kind,
        vocab_size=330,
        byte_fallback=True,
        hard_vocab_limit=False,
        character_coverage=0.99,
        minloglevel=2,
    )
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    config = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": False} | special
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def merging_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE that has learned merges, without BOS and without a pad token: as GPT-2's and Qwen's."""
    from tokenizers import trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=alphabet, special_tokens=["<end>"], show_progress=False
    )
    tokenizer.train_from_iterator(LEARNED, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def build(folder: Path, tokenizer: object) -> Path:
    """A tiny seeded Llama for this tokenizer."""
    torch.manual_seed(0)
    shape = tiny._SHARED | {"vocab_size": len(tokenizer)}
    LlamaForCausalLM(LlamaConfig(**shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


KINDS = ("byte-level with BOS", "byte-level BPE", "SentencePiece unigram", "SentencePiece BPE")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("tokenizers")
    made = {"byte-level with BOS": tiny.byte_tokenizer(), "byte-level BPE": merging_tokenizer()}
    for kind in ("unigram", "bpe"):
        folder = sentencepiece_folder(place / kind, kind)
        made[f"SentencePiece {'BPE' if kind == 'bpe' else kind}"] = AutoTokenizer.from_pretrained(folder)
    return {kind: build(place / kind.replace(" ", "-"), tokenizer) for kind, tokenizer in made.items()}


@pytest.fixture(scope="module")
def loaded(folders):
    """A loaded model, by the kind of its tokenizer."""
    return functools.cache(lambda kind: xtl.load_model(folders[kind]))


@pytest.fixture(params=KINDS)
def model(request, loaded):
    return loaded(request.param)


@pytest.mark.parametrize("text", TEXTS)
def test_bos_exactly_as_often_as_the_tokenizer_says(model, text):
    ids = encode(model, text)
    assert ids == model.tokenizer(text)["input_ids"]
    bos = model.tokenizer.bos_token_id
    assert bos is None or ids.count(bos) == 1
    if bos is not None:
        assert encode(model, model.tokenizer.bos_token + text).count(bos) == 1
    assert model.tokenizer.decode(ids, skip_special_tokens=True).lstrip() == text.lstrip()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sentencepiece_models_are_read_as_sentencepiece_reads_them(loaded, tmp_path, kind):
    reference = sentencepiece.SentencePieceProcessor(
        model_file=str(sentencepiece_folder(tmp_path / kind, kind) / "tokenizer.model")
    )
    model = loaded(f"SentencePiece {'BPE' if kind == 'bpe' else kind}")
    for text in TEXTS[:6]:
        assert encode(model, text) == reference.encode(text, add_bos=True), text


@pytest.mark.parametrize("text", ["é", "日本", "Madrid es 東", "🏳️‍🌈"])
def test_a_character_of_several_tokens_at_the_last_position(model, text):
    """The last position is the character's last byte: read and written as any other, and the map is the loop's."""
    ids = encode(model, text)
    assert model.tokenizer.decode(ids[-1:]) != text[-1]
    result = xtl.transplant(model, source=text, target=text, **ONE)
    assert result.patch.position == len(ids) - 1
    assert isinstance(result.patch.token, str)
    fast = xtl.sweep(model, source=text, target=text, answer="é", source_layers=[1], target_layers=[0, 2])
    loop = xtl.sweep(
        model, source=text, target=text, answer="é", source_layers=[1], target_layers=[0, 2], engine="loop"
    )
    assert float(abs(fast.score - loop.score).max()) < 1e-4


@given(option=st.text(min_size=1, max_size=4).filter(str.strip), kind=st.sampled_from(KINDS))
def test_what_continues_a_prompt_is_the_text_itself(loaded, option, kind):
    model = loaded(kind)
    tokenizer = model.tokenizer
    ids = encode(model, TARGET)
    together = tokenizer.decode(ids + encode_continuation(model, TARGET, ids, option), skip_special_tokens=True)
    assert together == tokenizer.decode(encode(model, TARGET + option), skip_special_tokens=True)


def test_an_eos_that_the_tokenizer_appends_is_left_out(folders, tmp_path):
    from tokenizers import processors

    model = xtl.load_model(folders["byte-level with BOS"])
    model.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert model.tokenizer("a")["input_ids"][-1] == 2
    assert encode(model, "a")[-1] != 2
    assert encode(model, "a</s>").count(2) == 2  # one that the user wrote stays, then the tokenizer's own
    assert encode(model, "a")[0] == 1


@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_the_side_of_padding_does_not_matter(folders, backend):
    """xtl pads nothing: not with a tokenizer set to pad on either side, or to a length, nor with one that has no pad token."""
    texts = {"source": SOURCE, "target": TARGET}
    seen = []
    for change in (
        {"padding_side": "left", "pad_token": "<s>"},
        {"padding_side": "right", "pad_token": "<s>"},
        {"pad_token": None},
    ):
        model = xtl.load_model(folders["byte-level with BOS"], backend=backend)
        for name, value in change.items():
            setattr(model.tokenizer, name, value)
        if change["pad_token"]:
            model.tokenizer.backend_tokenizer.enable_padding(length=100, pad_id=1, direction=change["padding_side"])
        result = xtl.sweep(model, **texts, answer="a", source_layers=[0, 3])
        seen.append(
            (encode(model, TARGET), result.score.values.tobytes(), xtl.transplant(model, **texts, **ONE).tokens)
        )
    assert seen[0] == seen[1] == seen[2]


TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}[{{ m.content }}] "
    "{% else %}<user>{{ m.content }}</user>{% endif %}{% endfor %}{% if add_generation_prompt %}<answer>{% endif %}"
)


@pytest.fixture
def chatty(folders):
    model = xtl.load_model(folders["byte-level with BOS"])
    model.tokenizer.chat_template = TEMPLATE
    return model


def test_chat_wraps_both_prompts_alike(chatty):
    pair = xtl.ParallelPair("Hello?", "¿Hola?", source_lang="en", target_lang="es", answer="a")
    (wrapped,) = chat_pairs(chatty, [pair])
    assert (wrapped.source, wrapped.target) == ("<s><user>Hello?</user><answer>", "<s><user>¿Hola?</user><answer>")
    assert (wrapped.answer, wrapped.target_lang) == ("a", "es")
    assert chat_prompt(chatty, "Hi", chat=True) == chat_prompt(chatty, "Hi", chat="auto")
    assert chat_prompt(chatty, "Hi", chat=True, system="Be brief.") == "<s>[Be brief.] <user>Hi</user><answer>"
    assert chat_pairs(chatty, [pair], chat=False) == [pair]
    assert chat_prompt(chatty, [1, 2, 3], chat=True) == [1, 2, 3]


def test_the_last_position_is_the_templates_whatever_was_asked(chatty):
    """A cell reads and writes the end of the answer's header, the same token in every prompt."""
    pairs = [
        xtl.ParallelPair("Hello?", "¿Hola?", answer="a"),
        xtl.ParallelPair("The capital", "La capital é", answer="a"),
    ]
    raw = [xtl.transplant(chatty, pair, **ONE).patch for pair in pairs]
    wrapped = [xtl.transplant(chatty, pair, **ONE).patch for pair in chat_pairs(chatty, pairs)]
    assert len({patch.token for patch in raw}) == 2
    assert {(patch.source_token, patch.token) for patch in wrapped} == {(">", ">")}
    for pair in chat_pairs(chatty, pairs):
        assert encode(chatty, pair.source).count(1) == encode(chatty, pair.target).count(1) == 1


@pytest.mark.parametrize(
    ("answered", "lead"),
    [
        ("{{ m.content }}", ""),
        (" {{ m.content }}", " "),
        ("{{ '\\n' + m.content }}", "\n"),
        ("(thinks) {{ m.content }}", ""),
    ],
)
def test_options_continue_the_template_as_its_answers_do(chatty, answered, lead):
    chatty.tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% else %}"
        f"{answered}</s>{{% endif %}}{{% endfor %}}"
    )
    pair = xtl.ParallelPair("Hello?", "¿Hola?", options=(" yes", "no"), gold=1, labels=("Yes", "No"), id="7")
    (wrapped,) = chat_pairs(chatty, [pair])
    assert wrapped.target == "<s>[¿Hola?]"
    assert wrapped.options == (f"{lead}yes", f"{lead}no")
    assert (wrapped.gold, wrapped.labels, wrapped.id) == (1, ("Yes", "No"), "7")
    raw = chat_pairs(chatty, [xtl.ParallelPair([1, 2], [1, 3], options=(" yes", "no"), gold=1)])
    assert raw[0].options == (" yes", "no")  # token ids are taken as they are, and so is what continues them


def test_a_wrapped_prompt_has_the_templates_own_tokens(chatty):
    want = chatty.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Ünïcode 日本"}], add_generation_prompt=True, return_dict=False
    )
    prompt = chat_prompt(chatty, "Ünïcode 日本")
    assert isinstance(prompt, str)
    assert encode(chatty, prompt) == want
    assert want.count(1) == 1
    chatty.tokenizer.chat_template = TEMPLATE.replace(
        "{{ bos_token }}", ""
    )  # the tokenizer would add what it leaves out
    tokens = chat_prompt(chatty, "Ünïcode 日本")
    assert tokens == want[1:]
    assert encode(chatty, tokens) == tokens


def test_chat_where_there_is_no_template(loaded):
    model = loaded("byte-level BPE")
    assert chat_prompt(model, "Hi", chat="auto") == "Hi"
    with pytest.raises(
        xtl.InputError, match="chat=True, but the model's tokenizer has no chat template; use chat=False or"
    ):
        chat_prompt(model, "Hi", chat=True)
    with pytest.raises(xtl.InputError, match="unknown chat 'yes'; valid: False, True, 'auto'"):
        chat_prompt(model, "Hi", chat="yes")


def test_a_template_that_refuses_the_messages_is_one_error(chatty):
    chatty.tokenizer.chat_template = "{{ raise_exception('no system message, please') }}"
    with pytest.raises(xtl.InputError, match="chat template does not take these messages: no system message, please"):
        chat_prompt(chatty, "Hi", system="Be brief.")


def test_added_tokens_are_one_token(chatty):
    chatty.tokenizer.add_tokens([AddedToken("<s2>", special=True)])
    with pytest.raises(xtl.InputError, match="which the model has no embedding for"):
        encode(chatty, "<s2>")
