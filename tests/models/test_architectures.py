"""Every architecture, tiny and seeded: both backends compute what Hugging Face computes, and keep the contract."""

from __future__ import annotations

import functools

import pytest
import torch
from transformers import AutoModelForCausalLM

import xtl
from tests import tiny
from tests.conftest import NO_HOOKED, SOURCE, TARGET
from tests.models import table
from xtl.backend import backend_name, forward
from xtl.hooks import MODULES
from xtl.models.caching import CACHED
from xtl.models.contract import WRITTEN, WRITTEN_RESID
from xtl.tokens import encode

LONG = TARGET + ", " + TARGET
"""Longer than the tiny models' sliding windows (8 tokens) and than the text that is checked at load (32)."""

REFUSED = {
    "cohere": "logits equal Hugging Face's is off",
    "hunyuan": "logits equal Hugging Face's is off",
    "gemma4": r"resid_mid \+ mlp_out == resid_post is off",
    "falcon_mamba": "hook_attn_out never ran; this architecture has no such residual stream",
    "openai_gpt": "hook_resid_post never ran",
    "opt_post_norm": "its forward pass fails",
    "persimmon": "TransformerLens has no bridge .*: Unsupported architecture: PersimmonForCausalLM",
    "falcon_new": "TransformerLens has no bridge .*: split_with_sizes expects",
}
"""What neither backend can do, with the reason that the loader gives."""

BRIDGE_ONLY = {
    "qwen2_moe": "Qwen2MoeForCausalLM is not currently supported",
    "qwen3_moe": "Qwen3MoeForCausalLM is not",
    "falcon": "FalconForCausalLM is not",
    "falcon_alibi": "FalconForCausalLM is not",
    "stablelm": "StableLmForCausalLM is not",
    "starcoder2": "Starcoder2ForCausalLM is not",
    "smollm3": "SmolLM3ForCausalLM is not",
    "granite": "GraniteForCausalLM is not",
    "granite_moe": "GraniteMoeForCausalLM is not",
    "glm": "GlmForCausalLM is not",
    "glm4": "Glm4ForCausalLM is not",
    "glm4_moe": "Glm4MoeForCausalLM is not",
    "exaone4": "Exaone4ForCausalLM is not",
    "nemotron": "NemotronForCausalLM is not",
    "mpt": "MptForCausalLM is not",
    "gpt_bigcode": "GPTBigCodeForCausalLM is not",
    "xglm": "XGLMForCausalLM is not",
    "ernie4_5": "Ernie4_5ForCausalLM is not",
    "seed_oss": "SeedOssForCausalLM is not",
    "llama4_text": "Llama4ForCausalLM is not",
    "codegen": "CodeGenForCausalLM is not",
    "arcee": "ArceeForCausalLM is not",
    "llama_bias": "logits equal Hugging Face's is off",
    "llama_yarn": "HookedTransformer has no rotary scaling of type 'yarn'",
    "llama_dynamic": "HookedTransformer has no rotary scaling of type 'dynamic'",
    "llama_longrope": "HookedTransformer has no rotary scaling of type 'longrope'",
    "phi3_longrope": "HookedTransformer has no rotary scaling of type 'longrope'",
    "nanochat": "NanoChatForCausalLM is not",
    "vaultgemma": "VaultGemmaForCausalLM is not",
    "olmo2_grouped": "no OLMo with fewer key heads than query heads",
}
"""What TransformerLens makes no HookedTransformer of, with the reason that the loader gives."""

LOADED = [name for name in tiny.ALL_CONFIGS if name not in REFUSED]
LOOP_ONLY = set() if NO_HOOKED else {("falcon_alibi", "bridge"), ("mpt", "bridge")}
"""ALiBi inside a Hugging Face model: TransformerLens 3's bridge passes no masks on, so that the plain loop alone is left."""

BACKENDS = [
    pytest.param(name, backend, marks=pytest.mark.xdist_group(name))  # a model is loaded by one worker
    for name in LOADED
    for backend in ("hooked", "bridge")
    if backend == "bridge" or name not in BRIDGE_ONLY
]


@pytest.fixture(scope="module")
def hf_logits(tiny_folder):
    """Logits of the original, loaded apart from xtl, on a long prompt."""

    @functools.cache
    def get(name: str, ids: tuple[int, ...]) -> torch.Tensor:
        model = AutoModelForCausalLM.from_pretrained(tiny_folder(name), attn_implementation="eager").eval()
        with torch.no_grad():
            return model(torch.tensor([ids])).logits[0]

    return get


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_logits_are_hugging_faces_and_the_contract_holds(tiny_model, hf_logits, name, backend):
    model = tiny_model(name, backend)
    ids = encode(model, LONG)
    want = hf_logits(name, tuple(ids))
    assert (forward(model, ids) - want).abs().max() <= 3e-5 * want.abs().max()
    contract = dict(model.xtl_info.contract)
    parallel = "blocks.0.hook_resid_mid" not in model.hook_dict
    assert len(contract) == (5 if parallel else 6)
    assert {WRITTEN, WRITTEN_RESID, "logits equal Hugging Face's"} < set(contract)
    lost = contract.pop(CACHED)
    assert lost < 1e-5 if (name, backend) not in LOOP_ONLY else lost > 1e-2
    assert max(contract.values()) < 1e-5


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_the_map_of_the_fast_engine_is_the_loops(tiny_model, name, backend):
    model = tiny_model(name, backend)
    parallel = "blocks.0.hook_resid_mid" not in model.hook_dict
    modules = [module for module in MODULES if not (parallel and module == "attn_released")]
    arguments = {
        "source": SOURCE,
        "target": TARGET,
        "answer": "a",
        "modules": modules,
        "source_layers": [0, tiny.N_LAYERS - 1],
        "target_layers": [1],
    }
    fast = xtl.sweep(model, **arguments, engine="auto", verify=0)
    loop = xtl.sweep(model, **arguments, engine="loop")
    assert (fast.attrs["engine"] == "loop") == ((name, backend) in LOOP_ONLY)
    assert float(loop.score.std()) > 1e-3  # a map that is flat would agree with anything
    assert float(abs(fast.score - loop.score).max()) <= 1e-4 * max(1.0, float(abs(loop.score).max()))


@pytest.mark.hooked
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("llama", *BRIDGE_ONLY)]
)
def test_auto_takes_hooked_where_it_can_and_says_why_not(tiny_model, name):
    model = tiny_model(name, "auto")
    info = model.xtl_info
    if name == "llama":
        assert backend_name(model) == "hooked"
        assert info.backend_reason == "TransformerLens converts LlamaForCausalLM, and the contract holds"
    else:
        assert backend_name(model) == "bridge"
        assert BRIDGE_ONLY[name] in info.backend_reason
        with pytest.raises(xtl.XtlError, match=r"(use|try) backend='bridge'$") as caught:
            tiny_model(name, "hooked")
        assert BRIDGE_ONLY[name] in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.hooked  # TransformerLens 4 wraps some of them
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_had_is_refused_with_the_reason(tiny_model, name):
    for backend in ("auto", "bridge"):
        with pytest.raises(xtl.XtlError, match=REFUSED[name]) as caught:
            tiny_model(name, backend)
        assert "\n" not in str(caught.value)
        assert ("as a HookedTransformer" in str(caught.value)) == (backend == "auto")


@pytest.mark.hooked
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in table.MODELS])
def test_the_table_of_the_documentation_is_true(tiny_model, name):
    assert table.row(name, tiny_model) in table.PAGE.read_text(encoding="utf-8").splitlines(), (
        "docs/models.md is out of date: python -m tests.models.table"
    )


@pytest.mark.parametrize("name", tiny.ALL_CONFIGS)
def test_no_scalar_of_a_tiny_model_stands_at_its_default(name):
    """At a default of 1.0 a model that leaves it out would pass; so each has a value that no class comes with."""
    kind = tiny.ALL_CONFIGS[name]().model_type
    own = table.scalars(name) | table.scalars(name, table.EVERYWHERE)
    own = {key: value for key, value in own.items() if (kind, key) not in tiny.AS_RELEASED}
    assert not {key: value for key, value in own.items() if table.defaults(name).get(key) == value}


def test_every_kind_of_scalar_is_tried():
    """Logits, residual stream, embedding, attention, caps, experts, parts of heads, windows and chunks."""
    tried = {key for name in LOADED for key in table.scalars(name)}
    assert tried >= {
        *("logits_scaling", "residual_multiplier", "embedding_multiplier", "attention_multiplier", "alibi_bias_max"),
        *("final_logit_softcapping", "attn_logit_softcapping", "query_pre_attn_scalar", "partial_rotary_factor"),
        *(
            "routed_scaling_factor",
            "attn_scale",
            "floor_scale",
            "sliding_window",
            "attention_chunk_size",
            "window_size",
        ),
    }


def test_the_table_of_the_documentation_is_whole():
    assert set(table.MODELS) == set(tiny.ALL_CONFIGS)
    lines = table.PAGE.read_text(encoding="utf-8").split(table.BEGIN)[1].split(table.END)[0].strip().splitlines()
    assert len(lines) == 2 + len(table.MODELS)


@pytest.mark.skipif(not NO_HOOKED, reason="TransformerLens 3 has HookedTransformer")
def test_transformer_lens_4_explains_where_hooked_models_went(tiny_folder):
    with pytest.raises(
        xtl.ModelError, match=r"TransformerLens 4\S+ has no HookedTransformer .*; use backend='bridge', or inst"
    ):
        xtl.load_model(tiny_folder("llama"), backend="hooked")
    model = xtl.load_model(tiny_folder("llama"))
    assert backend_name(model) == "bridge"
    assert "version 4 removed it" in model.xtl_info.backend_reason


def test_the_context_is_the_models_own(tiny_model):
    for name in ("llama", "qwen3", "mistral_v03", "gemma", "phi", "gpt2", "opt"):
        assert tiny_model(name, "hooked").cfg.n_ctx == 128, name


def test_a_tied_embedding_is_not_shared_after_conversion(tiny_model):
    model = tiny_model("smollm2", "hooked")
    pointers = {model.embed.W_E.untyped_storage().data_ptr(), model.unembed.W_U.untyped_storage().data_ptr()}
    assert len(pointers) == 2
