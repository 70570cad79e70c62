"""Models that come as objects: their tokenizer, the states that users switch on, and what becomes of the user's own object."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

import xtl
from tests import tiny
from tests.conftest import SOURCE, TARGET
from xtl.models.chat import chat_prompt
from xtl.models.info import model_info
from xtl.models.state import check_model
from xtl.models.tokenizer import attach_tokenizer
from xtl.protocols.run import Data, pairwise
from xtl.tokens import encode

ONE = {"source": SOURCE, "target": TARGET, "module": "attn", "source_layer": 1, "target_layer": 2, "max_new_tokens": 2}
PAIR = xtl.ParallelPair(SOURCE, TARGET, options=("a", "b"), gold=0)
TEXTS = [SOURCE, TARGET, "日本", " a"]


@pytest.fixture(scope="module")
def bare_folder(tmp_path_factory):
    """A tiny model whose tokenizer adds no BOS, by architecture."""
    made = {}

    def get(architecture):
        if architecture not in made:
            made[architecture] = tiny.build(architecture, tmp_path_factory.mktemp(architecture), adds_bos=False)
        return made[architecture]

    return get


def boot(folder, **options):
    return TransformerBridge.boot_transformers(str(folder), device="cpu", **options)


def hooked(folder):
    """As `HookedTransformer.from_pretrained_no_processing` leaves one: without anything of xtl on it."""
    model = xtl.load_model(folder, backend="hooked")
    for name in [name for name in vars(model) if name.startswith("xtl_")]:
        delattr(model, name)
    return model


def ids_of(tokenizer, text):
    return tokenizer(text)["input_ids"]


# -- tokenizers


@pytest.mark.parametrize("architecture", ["qwen2", "olmoe", "gpt2", "llama"])
def test_a_booted_bridge_reads_prompts_as_the_models_own_tokenizer(bare_folder, architecture):
    folder = bare_folder(architecture)
    own = AutoTokenizer.from_pretrained(folder)
    model = boot(folder)
    assert ids_of(model.tokenizer, "ab") == [1, *ids_of(own, "ab")]  # TransformerLens's doing
    with pytest.warns(
        UserWarning, match="adds BOS, which the model's own .* does not; xtl takes the model's own"
    ) as told:
        assert xtl.load_model(model) is model
    assert len(told) == 1
    loaded = xtl.load_model(folder, backend="bridge")
    for text in TEXTS:
        assert encode(model, text) == encode(loaded, text) == ids_of(own, text)
    assert model.cfg.d_vocab == loaded.cfg.d_vocab == tiny.VOCAB
    assert model_info(model).eos_token_ids == model_info(loaded).eos_token_ids
    assert xtl.transplant(model, **ONE).logits.equal(xtl.transplant(loaded, **ONE).logits)
    check_model(model)  # told once


def test_a_bridge_that_was_never_loaded_reads_them_so_too(bare_folder):
    model, loaded = boot(bare_folder("qwen2")), xtl.load_model(bare_folder("qwen2"), backend="bridge")
    with pytest.warns(UserWarning, match="adds BOS, which the model's own"):
        one = xtl.transplant(model, **ONE)
    assert one.logits.equal(xtl.transplant(loaded, **ONE).logits)


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_the_tokenizer_given_is_the_one_used(bare_folder, architecture, adds_bos):
    model = boot(bare_folder(architecture))
    given = tiny.byte_tokenizer(adds_bos)
    given.add_tokens(["<image>"])  # beyond the embedding: no reason to widen the vocabulary
    xtl.load_model(model, tokenizer=given)
    assert model.tokenizer is given
    assert model.cfg.d_vocab == model.cfg.d_vocab_out == tiny.VOCAB
    assert model.cfg.tokenizer_prepends_bos == adds_bos
    for text in TEXTS:
        assert encode(model, text) == ids_of(given, text)


def test_boss_tokenizer_stays_where_the_user_says_so(bare_folder):
    model = boot(bare_folder("llama"))
    with_bos = model.tokenizer
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xtl.load_model(model, tokenizer=with_bos)
    assert encode(model, "ab")[0] == 1


def test_a_tokenizer_set_on_a_loaded_bridge_is_seen(bare_folder):
    """The bridge's setter reads it anew with BOS, and writes its size over that of the vocabulary."""
    folder = bare_folder("qwen2")
    model = xtl.load_model(folder, backend="bridge")
    own = AutoTokenizer.from_pretrained(folder)
    model.tokenizer = own
    assert model.cfg.d_vocab != tiny.VOCAB or ids_of(model.tokenizer, "ab") != ids_of(own, "ab")
    with pytest.warns(UserWarning, match="adds BOS, which the model's own"):
        xtl.sweep(model, PAIR, modules=["attn"], source_layers=[0], target_layers=[1])
    assert encode(model, "ab") == ids_of(own, "ab")
    assert model.cfg.d_vocab == tiny.VOCAB


@pytest.mark.hooked
def test_a_hooked_transformers_tokenizer_is_looked_at_likewise(bare_folder):
    folder = bare_folder("llama")
    own = AutoTokenizer.from_pretrained(folder)
    for way in (xtl.load_model, check_model):
        model = hooked(folder)
        model.set_tokenizer(AutoTokenizer.from_pretrained(folder))
        assert ids_of(model.tokenizer, "ab")[0] == 1
        with pytest.warns(UserWarning, match="adds BOS, which the model's own"):
            way(model)
        assert encode(model, "ab") == ids_of(own, "ab")
    model.set_tokenizer(own)
    given = AutoTokenizer.from_pretrained(folder)
    assert xtl.load_model(model, tokenizer=given).tokenizer is given


def test_a_tokenizer_that_adds_bos_itself_is_left_in_peace(tiny_folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = xtl.load_model(boot(tiny_folder("llama")))
    assert encode(model, "ab")[0] == 1


def test_one_whose_origin_is_gone_is_told(bare_folder, tmp_path):
    folder = tiny.build("llama", tmp_path / "model", adds_bos=False)
    model = boot(folder)
    folder.rename(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match=r"adds BOS, and '.*', where it comes from, can't be read .*; xtl goes by it"):
        xtl.load_model(model)


def test_one_that_was_changed_in_another_way_is_told(bare_folder):
    model = boot(bare_folder("llama"))
    changed = AutoTokenizer.from_pretrained(bare_folder("llama"))
    from tokenizers import normalizers

    changed.backend_tokenizer.normalizer = normalizers.Lowercase()
    model._tokenizer = changed
    with (
        pytest.warns(UserWarning, match="reads texts otherwise than the one of .*; xtl goes by it"),
        pytest.warns(UserWarning, match="does not give a text back as it was"),
    ):
        xtl.load_model(model)
    assert encode(model, "AB") == ids_of(changed, "ab")


def failing(**methods):
    """The byte tokenizer with other methods."""
    tokenizer = tiny.byte_tokenizer()
    tokenizer.__class__ = type("Own", (type(tokenizer),), methods)
    return tokenizer


def raises(*_, **__):
    raise NotImplementedError("not\nwritten yet")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"decode": raises}, "fails to give a text back: not written yet; give another one with tokenizer="),
        ({"__call__": raises}, "fails to read a text: not written yet; give another one"),
        ({"__call__": lambda self, text, **_: {}}, "fails to read a text"),
        ({"decode": lambda self, ids, **_: None}, "gives back NoneType, not a text"),
    ],
)
def test_a_tokenizer_that_fails_is_told_at_load(tiny_folder, tiny_model, methods, message):
    folder = tiny_folder("llama")
    for thing in (folder, AutoModelForCausalLM.from_pretrained(folder), tiny_model("llama", "bridge")):
        with pytest.raises(xtl.ModelError, match=message) as told:
            xtl.load_model(thing, tokenizer=failing(**methods))
        assert "\n" not in str(told.value)


def test_a_tokenizer_that_loses_characters_is_told_at_load(tiny_folder):
    lossy = failing(decode=lambda self, ids, **_: type(tiny.byte_tokenizer()).decode(self, ids).replace("日本", "??"))
    with pytest.warns(
        UserWarning, match="does not give a text back as it was: 日本の首都は東京です。 comes back otherwise"
    ):
        xtl.load_model(tiny_folder("llama"), tokenizer=lossy)


def test_a_text_that_a_tokenizer_fails_on_later_is_one_line(tiny_folder):
    base = type(tiny.byte_tokenizer())

    def call(self, text, **options):
        if "!" in text:
            raise ValueError("no\nexclamation")
        return base.__call__(self, text, **options)

    model = xtl.load_model(tiny_folder("llama"), tokenizer=failing(__call__=call))
    with pytest.raises(xtl.InputError, match="source: the model's tokenizer fails to read 'a!': no exclamation"):
        xtl.transplant(model, **(ONE | {"source": "a!"}))


# -- states


ENTRIES = {
    "transplant": lambda model: xtl.transplant(model, **ONE),
    "sweep": lambda model: xtl.sweep(model, PAIR),
    "sweep_many": lambda model: list(xtl.sweep_many(model, [PAIR])),
    "controls.run": lambda model: xtl.controls.run(model, [PAIR], "zero"),
    "controls.make": lambda model: xtl.controls.make(model, [PAIR], "zero"),
    "explore": lambda model: xtl.explore(model, PAIR),
    "chat_prompt": lambda model: chat_prompt(model, "a"),
    "load_model": xtl.load_model,
    "pairwise": lambda model: pairwise(model, "capitals", ["es"], data=Data(limit=1)),
}


@pytest.fixture(scope="module")
def spoilt(tiny_folder):
    """Models in states that change what transplants mean, and what is told of each."""
    folder = tiny_folder("gpt2")

    def made(change):
        model = xtl.load_model(folder, backend="bridge")
        xtl.sweep(model, PAIR, modules=["attn"], source_layers=[0], target_layers=[0])
        change(model)
        return model

    hook = ("blocks.1.hook_mlp_out", lambda value, hook: value * 0)
    return {
        "compatibility": (made(lambda m: m.enable_compatibility_mode(disable_warnings=True)), "weights processed"),
        "processed": (made(lambda m: m.process_weights(fold_ln=False)), "weights processed"),
        "training": (made(lambda m: m.train()), r"in training mode, .*; call model.eval\(\) first"),
        "hook": (made(lambda m: m.add_hook(*hook)), "a hook of its own at blocks.1.mlp.hook_out"),
        "permanent hook": (
            made(lambda m: m.add_hook(*hook, is_permanent=True)),
            r"a hook of its own at blocks.1.mlp.hook_out, .*; take it off with model.reset_hooks\(including_permanent=True",
        ),
    }


@pytest.mark.parametrize("state", ["compatibility", "processed", "training", "hook", "permanent hook"])
def test_a_state_that_changes_what_transplants_mean_is_one_line_everywhere(spoilt, state):
    model, message = spoilt[state]
    for name, entry in ENTRIES.items():
        if (state, name) == ("training", "load_model"):
            continue  # there it is switched off, and said
        with pytest.raises(xtl.InputError, match=message) as told:
            entry(model)
        assert "\n" not in str(told.value), name


@pytest.mark.hooked
def test_a_hooked_transformer_processed_after_load_is_refused(tiny_folder):
    for options, message in (({"fold_ln": True}, "folded in"), ({"fold_ln": False}, "writing weights centred")):
        model = xtl.load_model(tiny_folder("gpt2"), backend="hooked")
        model.process_weights_(**options, center_writing_weights=True)
        for entry in ("sweep", "transplant", "load_model"):
            with pytest.raises(xtl.InputError, match=message):
                ENTRIES[entry](model)


def test_hooks_off_again_the_model_is_as_before(tiny_folder):
    model = xtl.load_model(tiny_folder("gpt2"))
    before = xtl.sweep(model, PAIR, modules=["attn"], source_layers=[0], target_layers=[1])
    model.add_hook("blocks.0.hook_mlp_out", lambda value, hook: value * 0, is_permanent=True)
    model.reset_hooks(including_permanent=True)
    assert xtl.sweep(model, PAIR, modules=["attn"], source_layers=[0], target_layers=[1]).equals(before)


FEW = {"source_layers": [0], "target_layers": [1, 3]}
FLAGS = ["attn_result", "split_qkv_input", "attn_in", "hook_mlp_in"]


@pytest.mark.filterwarnings("ignore::xtl.errors.SlowEngineWarning")
@pytest.mark.parametrize("backend", ["hooked", "bridge"])
def test_flags_of_transformer_lens_change_no_number(tiny_folder, backend):
    model = xtl.load_model(tiny_folder("gpt2"), backend=backend)
    before = xtl.sweep(model, PAIR, **FEW)
    for flag in FLAGS:
        if hasattr(model, f"set_use_{flag}"):
            getattr(model, f"set_use_{flag}")(True)
            after = xtl.sweep(model, PAIR, **FEW, verify=2)
            assert abs(after.score - before.score).max() < 1e-4, flag
            getattr(model, f"set_use_{flag}")(False)
    again = xtl.sweep(model, PAIR, **FEW)
    assert again.engine == before.engine  # what was found out under a flag is forgotten with it
    assert again.score.equals(before.score)


def test_compatibility_mode_without_processing_changes_no_number(tiny_folder):
    model = xtl.load_model(tiny_folder("llama"), backend="bridge")
    before = xtl.sweep(model, PAIR, **FEW)
    model.enable_compatibility_mode(disable_warnings=True, no_processing=True)
    for engine in ("packed", "batched", "loop"):
        after = xtl.sweep(model, PAIR, **FEW, engine=engine)
        assert abs(after.score - before.score).max() < 1e-4


# -- the user's own object


def state_of(hf_model):
    return {
        "attention": hf_model.config._attn_implementation,
        "training": {name: module.training for name, module in hf_model.named_modules()},
        "gradients": {name: parameter.requires_grad for name, parameter in hf_model.named_parameters()},
        "kinds": {name: type(module) for name, module in hf_model.named_modules()},
        "hooks": [len(module._forward_hooks) for module in hf_model.modules()],
    }


@pytest.mark.parametrize("backend", ["hooked", "bridge", "auto"])
@pytest.mark.parametrize("architecture", ["gpt2", "gemma3"])
def test_the_users_own_model_stays_as_it_was(tiny_folder, architecture, backend):
    hf_model = AutoModelForCausalLM.from_pretrained(tiny_folder(architecture), attn_implementation="sdpa").train()
    hf_model.get_input_embeddings().weight.requires_grad_(False)
    before = copy.deepcopy(state_of(hf_model))
    model = xtl.load_model(hf_model, tokenizer=tiny.byte_tokenizer(), backend=backend)
    xtl.transplant(model, **ONE)
    assert state_of(hf_model) == before
    loss = hf_model(torch.tensor([[1, 5, 9]]), labels=torch.tensor([[1, 5, 9]])).loss
    loss.backward()  # it can still be trained
    again = xtl.load_model(hf_model, tokenizer=tiny.byte_tokenizer(), backend=backend)
    assert xtl.transplant(again, **ONE).logits.equal(xtl.transplant(model, **ONE).logits)


def test_a_bridge_uses_the_users_tensors_and_copies_none(tiny_folder):
    hf_model = AutoModelForCausalLM.from_pretrained(tiny_folder("gemma3"))
    model = xtl.load_model(hf_model, tokenizer=tiny.byte_tokenizer(), backend="bridge")
    mine = {tensor.data_ptr() for tensor in hf_model.parameters()}
    assert mine <= {tensor.data_ptr() for tensor in model.original_model.parameters()}
    embedding = model.original_model.get_input_embeddings().weight
    assert embedding.data_ptr() == model.original_model.get_output_embeddings().weight.data_ptr()  # tied as before


def test_a_model_that_cannot_be_left_as_it_is_says_so(tiny_folder):
    hf_model = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"))
    hf_model.users_own = (number for number in range(3))  # a generator: it can't be copied
    with pytest.warns(
        UserWarning, match="this LlamaForCausalLM can't be left as it is .*its attention is 'eager', it is in"
    ):
        model = xtl.load_model(hf_model, tokenizer=tiny.byte_tokenizer())
    assert xtl.transplant(model, **ONE).tokens


def test_a_bridge_in_training_mode_is_switched_and_says_so(tiny_folder, capsys):
    model = boot(tiny_folder("gpt2")).train()
    xtl.load_model(model)
    assert "was in training mode (dropout); it is in evaluation mode now" in capsys.readouterr().err
    assert xtl.transplant(model, **ONE).tokens


def test_a_tokenizer_can_be_taken_off(tiny_folder):
    model = xtl.load_model(tiny_folder("llama"), backend="bridge")
    attach_tokenizer(model, None)
    with pytest.raises(xtl.InputError, match="the model has no tokenizer; give token ids"):
        xtl.transplant(model, **ONE)
    assert xtl.transplant(model, **(ONE | {"source": range(3, 6), "target": [4, 5]})).tokens
