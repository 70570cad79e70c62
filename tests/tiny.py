"""Tiny seeded models of real architectures, built from their configurations; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
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
    "llama": lambda: LlamaConfig(**_SHARED),
    "mistral": lambda: MistralConfig(**_SHARED, sliding_window=8),
    "qwen2": lambda: Qwen2Config(**_SHARED),
    "gemma3": lambda: Gemma3TextConfig(
        **(_SHARED | {"tie_word_embeddings": True}),
        head_dim=8,
        query_pre_attn_scalar=12,
        sliding_window=8,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
    ),
    "gemma2": lambda: Gemma2Config(
        **(_SHARED | {"tie_word_embeddings": True}),
        head_dim=8,
        query_pre_attn_scalar=12,
        sliding_window=8,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=4.0,
    ),
    "gpt2": lambda: GPT2Config(**_GPT2),
    "bloom": lambda: BloomConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        n_layer=N_LAYERS,
        n_head=4,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    ),
    "pythia": lambda: GPTNeoXConfig(
        **{k: v for k, v in _SHARED.items() if k != "num_key_value_heads"}, rotary_pct=0.25, use_parallel_residual=True
    ),
}

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
    model = AutoModelForCausalLM.from_config(CONFIGS[architecture]())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # norms and biases, which start at exactly 1 or 0, would hide mistakes
                parameter.add_(0.1 * torch.randn_like(parameter))
            assert torch.isfinite(parameter).all(), name
    model.save_pretrained(folder)
    if tokenizer:
        byte_tokenizer(adds_bos).save_pretrained(folder)
    return folder
