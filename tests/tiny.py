"""Tiny seeded models of real architectures, built from their configurations; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    ApertusConfig,
    ArceeConfig,
    AutoModelForCausalLM,
    BloomConfig,
    CodeGenConfig,
    CohereConfig,
    Ernie4_5Config,
    Exaone4Config,
    FalconConfig,
    FalconMambaConfig,
    Gemma2Config,
    Gemma3TextConfig,
    Gemma4TextConfig,
    GemmaConfig,
    Glm4Config,
    Glm4MoeConfig,
    GlmConfig,
    GPT2Config,
    GPTBigCodeConfig,
    GPTJConfig,
    GPTNeoConfig,
    GPTNeoXConfig,
    GptOssConfig,
    GraniteConfig,
    GraniteMoeConfig,
    HunYuanDenseV1Config,
    Llama4TextConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    MptConfig,
    NanoChatConfig,
    NemotronConfig,
    Olmo2Config,
    Olmo3Config,
    OlmoConfig,
    OlmoeConfig,
    OpenAIGPTConfig,
    OPTConfig,
    PersimmonConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    SeedOssConfig,
    SmolLM3Config,
    StableLmConfig,
    Starcoder2Config,
    VaultGemmaConfig,
    XGLMConfig,
)

N_LAYERS = 4
SPECIAL = ["<pad>", "<s>", "</s>"]
VOCAB = len(SPECIAL) + 256

_SHARED = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}

_GPT2 = {
    "vocab_size": VOCAB,
    "n_embd": 32,
    "n_layer": N_LAYERS,
    "n_head": 4,
    "n_positions": 128,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

CONFIGS = {
    "llama": partial(LlamaConfig, **_SHARED),
    "mistral": partial(MistralConfig, **_SHARED, sliding_window=8),
    "qwen2": partial(Qwen2Config, **_SHARED),
    "gemma3": partial(
        Gemma3TextConfig,
        **(_SHARED | {"tie_word_embeddings": True}),
        head_dim=8,
        query_pre_attn_scalar=12,
        sliding_window=8,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
    ),
    "gemma2": partial(
        Gemma2Config,
        **(_SHARED | {"tie_word_embeddings": True}),
        head_dim=8,
        query_pre_attn_scalar=12,
        sliding_window=8,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=4.0,
    ),
    "gpt2": partial(GPT2Config, **_GPT2),
    "bloom": partial(
        BloomConfig,
        vocab_size=VOCAB,
        hidden_size=32,
        n_layer=N_LAYERS,
        n_head=4,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    ),
    "pythia": partial(
        GPTNeoXConfig,
        **{k: v for k, v in _SHARED.items() if k != "num_key_value_heads"},
        rotary_pct=0.5,
        use_parallel_residual=True,
    ),
}


def _without(*names: str) -> dict[str, object]:
    return {key: value for key, value in _SHARED.items() if key not in names}


_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

_LONGROPE = {
    "original_max_position_embeddings": 32,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 2000.0,
        "partial_rotary_factor": 0.5,
        "short_factor": [1.0, 1.2],
        "long_factor": [3.0, 5.0],
        "factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}

_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}

_GRANITE = {
    "residual_multiplier": 0.5,
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.2,
    "logits_scaling": 8.0,
}

MORE_CONFIGS = {
    "llama3": partial(LlamaConfig, **_SHARED, rope_parameters=_LLAMA3_ROPE),
    "llama_head_dim": partial(LlamaConfig, **_SHARED, head_dim=16),
    "smollm2": partial(
        LlamaConfig,
        **(_SHARED | {"tie_word_embeddings": True}),
        rope_parameters={"rope_theta": 1e5, "rope_type": "default"},
    ),
    "mistral_v03": partial(MistralConfig, **_SHARED, head_dim=16, sliding_window=None),
    "qwen3": partial(Qwen3Config, **_SHARED, head_dim=16),
    "gemma": partial(GemmaConfig, **(_SHARED | {"tie_word_embeddings": True}), head_dim=16),
    "gptj": partial(GPTJConfig, **_GPT2, rotary_dim=4),
    "gpt_neo": partial(
        GPTNeoConfig,
        vocab_size=VOCAB,
        hidden_size=32,
        num_layers=N_LAYERS,
        num_heads=4,
        max_position_embeddings=128,
        window_size=8,
        attention_types=[[["global", "local"], 2]],
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "neox_sequential": partial(
        GPTNeoXConfig, **_without("num_key_value_heads"), rotary_pct=0.5, use_parallel_residual=False
    ),
    "opt": partial(
        OPTConfig,
        vocab_size=VOCAB,
        hidden_size=32,
        ffn_dim=128,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        init_std=0.3,
        max_position_embeddings=128,
        word_embed_proj_dim=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "phi": partial(PhiConfig, **_without("num_key_value_heads"), partial_rotary_factor=0.25),
    "phi3": partial(Phi3Config, **_SHARED, sliding_window=8, partial_rotary_factor=0.5),
    "phi3_longrope": partial(Phi3Config, **_SHARED, sliding_window=None, **_LONGROPE),
    "olmo": partial(OlmoConfig, **_without("num_key_value_heads")),
    "olmo2": partial(Olmo2Config, **_without("num_key_value_heads")),
    "olmo3": partial(Olmo3Config, **_SHARED, sliding_window=8),
    "olmoe": partial(OlmoeConfig, **_SHARED, **_EXPERTS),
    "mixtral": partial(MixtralConfig, **_SHARED, num_local_experts=4, num_experts_per_tok=2),
    "gpt_oss": partial(
        GptOssConfig, **_SHARED, num_local_experts=4, num_experts_per_tok=2, head_dim=8, sliding_window=8
    ),
    "apertus": partial(ApertusConfig, **_SHARED),
    "qwen2_moe": partial(
        Qwen2MoeConfig,
        **_SHARED,
        **_EXPERTS,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=24,
        decoder_sparse_step=1,
    ),
    "qwen3_moe": partial(Qwen3MoeConfig, **_SHARED, **_EXPERTS, moe_intermediate_size=16, head_dim=8),
    "falcon": partial(
        FalconConfig,
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        initializer_range=0.3,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "falcon_alibi": partial(
        FalconConfig,
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        initializer_range=0.3,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
        alibi=True,
        parallel_attn=False,
        multi_query=False,
    ),
    "falcon_new": partial(
        FalconConfig,
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        num_kv_heads=2,
        initializer_range=0.3,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
        new_decoder_architecture=True,
    ),
    "stablelm": partial(StableLmConfig, **_SHARED, partial_rotary_factor=0.5),
    "starcoder2": partial(Starcoder2Config, **_SHARED, sliding_window=None),
    "smollm3": partial(SmolLM3Config, **_SHARED),
    "granite": partial(GraniteConfig, **_SHARED, **_GRANITE),
    "cohere": partial(CohereConfig, **_SHARED, logit_scale=0.3),
    "glm": partial(GlmConfig, **_SHARED, head_dim=8, partial_rotary_factor=0.25),
    "glm4": partial(Glm4Config, **_SHARED, head_dim=8, partial_rotary_factor=0.25),
    "exaone4": partial(Exaone4Config, **_SHARED, sliding_window=8),
    "nemotron": partial(NemotronConfig, **_SHARED, partial_rotary_factor=0.25),
    "mpt": partial(
        MptConfig,
        vocab_size=VOCAB,
        d_model=32,
        n_layers=N_LAYERS,
        n_heads=4,
        max_seq_len=128,
        initializer_range=0.3,
        attn_config={"alibi_bias_max": 4},
    ),
    "gpt_bigcode": partial(GPTBigCodeConfig, **_GPT2),
    "xglm": partial(
        XGLMConfig,
        vocab_size=VOCAB,
        d_model=32,
        ffn_dim=64,
        num_layers=N_LAYERS,
        attention_heads=4,
        max_position_embeddings=128,
        init_std=0.3,
    ),
    "llama_bias": partial(LlamaConfig, **_SHARED, attention_bias=True),
    "llama_yarn": partial(
        LlamaConfig,
        **_SHARED,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 1e4,
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    "llama_dynamic": partial(
        LlamaConfig, **_SHARED, rope_parameters={"rope_type": "dynamic", "rope_theta": 2000.0, "factor": 4.0}
    ),
    "llama_longrope": partial(
        LlamaConfig,
        **_SHARED,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 2000.0,
            "short_factor": [1.0, 1.2, 1.4, 1.6],
            "long_factor": [2.0, 3.0, 4.0, 6.0],
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    "nanochat": partial(NanoChatConfig, **_SHARED, final_logit_softcapping=4.0),
    "vaultgemma": partial(
        VaultGemmaConfig,
        **_SHARED,
        head_dim=8,
        query_pre_attn_scalar=12,
        sliding_window=8,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=4.0,
    ),
    "olmo2_grouped": partial(Olmo2Config, **_SHARED),
    "granite_moe": partial(GraniteMoeConfig, **_SHARED, **_GRANITE, num_local_experts=4, num_experts_per_tok=2),
    "glm4_moe": partial(
        Glm4MoeConfig,
        **_SHARED,
        head_dim=8,
        n_routed_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        n_group=1,
        topk_group=1,
        routed_scaling_factor=2.5,
        partial_rotary_factor=0.25,
    ),
    "ernie4_5": partial(Ernie4_5Config, **_SHARED),
    "seed_oss": partial(SeedOssConfig, **_SHARED, head_dim=8),
    "llama4_text": partial(
        Llama4TextConfig,
        **_SHARED,
        head_dim=8,
        num_local_experts=4,
        attention_chunk_size=8,
        floor_scale=100,
        attn_scale=0.3,
    ),
    "codegen": partial(CodeGenConfig, **_GPT2, rotary_dim=4),
    "arcee": partial(ArceeConfig, **_SHARED),
    "hunyuan": partial(HunYuanDenseV1Config, **_SHARED, head_dim=8),
    "gemma4": partial(
        Gemma4TextConfig,
        **_SHARED,
        head_dim=8,
        sliding_window=8,
        vocab_size_per_layer_input=VOCAB,
        hidden_size_per_layer_input=8,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 1e6},
        },
    ),
    "openai_gpt": partial(
        OpenAIGPTConfig, **{key: value for key, value in _GPT2.items() if key not in ("bos_token_id", "eos_token_id")}
    ),
    "opt_post_norm": partial(
        OPTConfig,
        vocab_size=VOCAB,
        hidden_size=32,
        ffn_dim=128,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        init_std=0.3,
        max_position_embeddings=128,
        word_embed_proj_dim=16,
        do_layer_norm_before=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "persimmon": partial(PersimmonConfig, **_SHARED, partial_rotary_factor=0.25),
    "falcon_mamba": partial(
        FalconMambaConfig, vocab_size=VOCAB, hidden_size=32, num_hidden_layers=N_LAYERS, state_size=4
    ),
}
"""More architectures, of which `tests/models` alone makes use."""


def _off_default(make: Callable[[], PreTrainedConfig]) -> PreTrainedConfig:
    """A configuration with a base of rotary positions and an epsilon of norms that are no class's default."""
    config = make()
    for name in EPSILONS:
        if name in type(config)().to_dict() and (config.model_type, name) not in AS_RELEASED:
            setattr(config, name, 1e-3)
    rope = getattr(config, "rope_parameters", None) or {}
    for part in [rope, *(value for value in rope.values() if isinstance(value, dict))]:
        if "rope_theta" in part:
            part["rope_theta"] = 0.3 * part["rope_theta"]
    return config


AS_RELEASED = {("starcoder2", "norm_epsilon")}
"""By kind of model, what is left at its default: TransformerLens knows no other, and the contract refuses one."""

EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon")

ALL_CONFIGS = {name: partial(_off_default, make) for name, make in (CONFIGS | MORE_CONFIGS).items()}

SEQUENTIAL = ["llama", "mistral", "qwen2", "gemma2", "gemma3", "gpt2", "bloom"]
"""Architectures whose feed-forward follows attention, so that the block has a `resid_mid`."""


def byte_tokenizer(adds_bos: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer with a token a byte: it reads any text in any script."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate(SPECIAL + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def build(architecture: str, folder: Path, seed: int = 0, adds_bos: bool = True, tokenizer: bool = True) -> Path:
    """Write a seeded model of this architecture to `folder`."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(ALL_CONFIGS[architecture]())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # norms and biases, which start at exactly 1 or 0, would hide mistakes
                parameter.add_(0.1 * torch.randn_like(parameter))
            assert torch.isfinite(parameter).all(), name
    model.save_pretrained(folder)
    if tokenizer:
        byte_tokenizer(adds_bos).save_pretrained(folder)
    return folder


def build_gguf(file: Path, folder: Path, architecture: str = "llama") -> Path:
    """Write the tiny llama model of `folder` as GGUF, under the name of this architecture."""
    import gguf

    model = AutoModelForCausalLM.from_pretrained(folder)
    config, n_heads = model.config, model.config.num_attention_heads
    writer = gguf.GGUFWriter(str(file), architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(n_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // n_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("gpt2")
    tokens = [token for token, _ in sorted(byte_tokenizer().get_vocab().items(), key=lambda item: item[1])]
    tokens[-1] = (
        tokens[68] + tokens[69]
    )  # a GGUF vocabulary has at least one merge: in the place of a byte that no text holds
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.NORMAL] * 256)
    writer.add_token_merges([f"{tokens[68]} {tokens[69]}"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if "q_proj" in name or "k_proj" in name:  # GGUF keeps the halves of rotary pairs side by side
            heads = n_heads if "q_proj" in name else config.num_key_value_heads
            rows = tensor.unflatten(0, (heads, 2, -1))
            tensor = rows.transpose(1, 2).flatten(0, 2)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
