"""What a model is: everything of it that can change a number, so that results of two models are never taken for one's.

Two folders with the same weights are two models where their configurations differ (a rotary base, an epsilon), their tokenizers
(a merge, the rule on BOS, the chat template) or the tokens that end a generation. A run's manifest, `xtl.KeptMaps` and the cache
of activations all ask `model_identity`; none has a rule of its own.

Left out, by name, is what changes no number: where the model came from, the software's versions (which a run notes itself), and
settings of training, of padding and of what is handed back. A key that nobody named counts.

    >>> model_identity(xtl.load_model("gpt2"))["config"]["layer_norm_epsilon"]  # doctest: +SKIP
    1e-05
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xtl.backend import Model, backend_name, is_bridge
from xtl.models.info import model_info
from xtl.models.silence import collecting_later

PARTS = ("weights_sha256", "buffers_sha256", "tables_sha256", "backend", "dtype", "config", "cfg", "eos_token_ids",
         "tokenizer", "code_sha256")  # fmt: skip
"""Parts of an identity, in the order in which differences are told."""

CONFIG_LEFT_OUT = frozenset({
    # where it came from, and with what it was written
    "_name_or_path", "name_or_path", "_commit_hash", "transformers_version", "architectures", "auto_map", "tokenizer_class",
    "_class_name", "finetuning_task", "task_specific_params", "prefix", "torchscript", "pruned_heads",
    # in the identity under another name: dtype, and eos_token_ids, which the generation's configuration decides
    "dtype", "torch_dtype", "eos_token_id",
    # what a forward pass hands back, and how classes are named
    "use_cache", "return_dict", "output_hidden_states", "output_attentions", "output_scores", "id2label", "label2id",
    "num_labels", "problem_type",
    # training
    "initializer_range", "attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "dropout", "layerdrop",
    "activation_dropout", "summary_first_dropout", "classifier_dropout", "gradient_checkpointing", "router_aux_loss_coef",
    "output_router_logits", "pretraining_tp",
})  # fmt: skip
"""Keys of a Hugging Face configuration, at any depth, that change no number."""

CFG_LEFT_OUT = frozenset({
    "model_name", "tokenizer_name", "device", "n_devices", "dtype", "seed", "trust_remote_code", "from_checkpoint",
    "checkpoint_index", "checkpoint_label_type", "checkpoint_value", "init_mode", "init_weights", "initializer_range", "n_params",
    # the tokenizer is called as it is; these are TransformerLens's notes on it
    "default_prepend_bos", "tokenizer_prepends_bos", "tokenizer_appends_eos", "default_padding_side", "eos_token_id",
    # which hook points there are
    "use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in", "use_hook_tokens",
})  # fmt: skip
"""Fields of a TransformerLens configuration that change no number."""

TOKENIZER_LEFT_OUT = frozenset({
    "name_or_path", "_name_or_path", "_commit_hash", "transformers_version", "vocab_file", "merges_file", "tokenizer_file",
    "spm_file", "special_tokens_map_file", "gguf_file", "cache_dir", "subfolder", "revision", "is_local", "local_files_only",
    "force_download", "resume_download", "proxies", "token", "use_auth_token", "user_agent", "trust_remote_code", "_from_auto",
    "_from_pipeline", "backend", "use_fast", "verbose", "auto_map", "tokenizer_class", "processor_class", "files_loaded",
    "tokenizer_object", "model_input_names",
    # prompts are neither padded nor cut
    "model_max_length", "max_length", "padding_side", "truncation_side", "padding", "truncation", "stride", "pad_to_multiple_of",
    "pad_token_type_id", "truncation_strategy", "max_len",
    # in the identity as parts of their own
    "chat_template", "added_tokens_decoder", "extra_special_tokens", "additional_special_tokens", "special_tokens_map",
    "model_specific_special_tokens",
})  # fmt: skip
"""Arguments of a tokenizer that change no token id and no text."""

TABLE_ROWS = 16
"""Rows of a derived table that are hashed: tables of rotary positions grow while a model is at work."""


def model_identity(model: Model) -> dict[str, Any]:
    """Everything of a model that can change a number, in parts that JSON can hold; the same in every process.

    Args:
        model: from `xtl.load_model`, or a HookedTransformer or TransformerBridge of your own. Hooks that are on it are not seen.

    Returns:
        By part of `PARTS`: hashes of the parameters, of the buffers that are saved with them, and of tables that the
        configuration gives (rotary frequencies; compare these on one kind of device alone); backend; dtype; `config`, Hugging
        Face's, as the model was loaded with it; `cfg`, TransformerLens's; the tokens that end a generation; the tokenizer's
        parts; the code that came with the model. Empty parts are left out.
    """
    saved, tables = _buffers(model)
    hf_config = getattr(getattr(model, "original_model", None), "config", None) if is_bridge(model) else None
    with ThreadPoolExecutor(1) as beside:  # a hash needs a core, not Python
        weights = beside.submit(hash_weights, model)
        found = {
            "buffers_sha256": _hash_tensors(saved) if saved else None,
            "tables_sha256": _hash_tensors(tables) if tables else None,
            "backend": backend_name(model),
            "dtype": str(model.cfg.dtype).removeprefix("torch."),
            "config": config_part(hf_config) if hf_config is not None else model_info(model).config,
            "cfg": None if is_bridge(model) else _without(model.cfg.to_dict(), CFG_LEFT_OUT),
            "eos_token_ids": list(model_info(model).eos_token_ids),
            "tokenizer": tokenizer_part(model.tokenizer),
            "code_sha256": _code(model),
        }
    found["weights_sha256"] = weights.result()
    return {part: plain(found[part]) for part in PARTS if found[part] not in (None, {})}


def identity_key(model: Model) -> str:
    """A model's identity as one SHA-256, in hex: a key for what was computed with it."""
    return _digest(model_identity(model))


def hash_weights(model: Model) -> str:
    """SHA-256 of a model's parameters, by name and value."""
    return _hash_tensors(dict(model.named_parameters()))


def config_part(config: Any) -> dict[str, Any]:
    """A Hugging Face configuration, defaults and keys of one's own included, without what changes no number."""
    values = config.to_dict()
    attention = getattr(config, "_attn_implementation", None)  # kept out of `to_dict`
    return _without(values, CONFIG_LEFT_OUT) | ({} if attention is None else {"attn_implementation": str(attention)})


@collecting_later()
def tokenizer_part(tokenizer: Any) -> dict[str, Any]:
    """A tokenizer's rules: short ones as they are, long ones (vocabulary, merges) as their SHA-256. Empty for None."""
    if tokenizer is None:
        return {}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        rules = json.loads(backend.to_str())
        kind = rules.pop("model")
        rules = {name: value for name, value in rules.items() if name not in ("version", "padding", "truncation")}
        rules |= {name: kind.pop(name) for name in ("vocab", "merges") if name in kind} | {"model": kind}
    else:  # SentencePiece, or written in Python
        rules = {"vocab": sorted(tokenizer.get_vocab().items()), "added_tokens": tokenizer.added_tokens_decoder}
        pieces: Any = getattr(tokenizer, "sp_model", None)
        if hasattr(pieces, "serialized_model_proto"):
            rules["model"] = hashlib.sha256(pieces.serialized_model_proto()).hexdigest()
    special = dict(tokenizer.special_tokens_map)
    settings = {
        name: getattr(tokenizer, name, value)
        for name, value in {**dict.fromkeys(("add_bos_token", "add_eos_token")), **tokenizer.init_kwargs}.items()
        if name not in TOKENIZER_LEFT_OUT and name not in special
    }
    return {
        "class": type(tokenizer).__name__,
        "adds": _ids_of_nothing(tokenizer),
        "special_tokens": {name: [str(token), _id_of(tokenizer, token)] for name, token in special.items()},
        "special_ids": sorted(tokenizer.all_special_ids),
        "settings": settings,
        "chat_template": None if not tokenizer.chat_template else _digest(tokenizer.chat_template),
        **{name: value if _is_short(value) else _digest(value, backend is not None) for name, value in rules.items()},
    }


def identity_changes(known: Mapping[str, Any], now: Mapping[str, Any], *, same_keys: bool = False) -> list[str]:
    """How two identities differ, in words, by the parts that `known` has.

    Args:
        known: an identity, or a part of one.
        now: another.
        same_keys: compare the keys that both have: other versions of the software know others.

    >>> identity_changes({"config": {"rope": {"theta": 1e4}}}, {"config": {"rope": {"theta": 5e5}}})
    ['config theta 10000.0 -> 500000.0']
    """
    changes: list[str] = []
    for part in PARTS:
        if part not in known or (part == "cfg" and any(change.startswith("config ") for change in changes)):
            continue  # cfg is made from config
        old, new = flatten(known[part]), flatten(now.get(part))
        names = [name for name in {**old, **new} if not same_keys or (name in old and name in new)]
        for name in names:
            if old.get(name) != new.get(name):
                short = part in ("config", "cfg") and sum(other[-1:] == name[-1:] for other in names) == 1
                last = name[-1] if short else ".".join(name)
                changes.append(f"{part} {last}".rstrip() + f" {_short(old.get(name))} -> {_short(new.get(name))}")
    return changes


def flatten(value: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The leaves of nested dicts, by path.

    >>> flatten({"a": {"b": 1}, "c": [2]})
    {('a', 'b'): 1, ('c',): [2]}
    """
    if not isinstance(value, Mapping):
        return {place: value}
    return {path: leaf for key in value for path, leaf in flatten(value[key], (*place, str(key))).items()}


def plain(value: Any) -> Any:
    """A value as JSON gives it back: tuples as lists, sets in order, numbers of NumPy as Python's, objects by what they say."""
    if value is None or (isinstance(value, (bool, int, float, str)) and type(value).__module__ == "builtins"):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=repr)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Tensor)):
        return [plain(one) for one in value]
    if hasattr(value, "item") and not isinstance(value, Tensor):
        return plain(value.item())
    return re.sub(r" at 0x[0-9a-f]+", "", str(value)).removeprefix("torch.")


def _buffers(model: Model) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Buffers that are saved with the weights, and the beginning of tables that come from the configuration."""
    saved: dict[str, Tensor] = {}
    tables: dict[str, Tensor] = {}
    config = flatten(config_part(model.original_model.config)) if is_bridge(model) else {}
    dynamic = any(path[-1] == "rope_type" and kind in ("dynamic", "longrope") for path, kind in config.items())
    for owner, module in model.named_modules():
        for name, buffer in module._buffers.items():
            if buffer is None or name in ("mask", "IGNORE"):  # of TransformerLens: made anew as long as they must be
                continue
            place = f"{owner}.{name}"
            if name in ("rotary_sin", "rotary_cos"):
                tables[place] = buffer[:TABLE_ROWS]
            elif name not in module._non_persistent_buffers_set:
                saved[place] = buffer
            elif name.endswith("inv_freq") and not name.endswith("original_inv_freq") and dynamic:
                continue  # with dynamic scaling it changes with the length of what was read
            elif buffer.ndim <= 1:
                tables[place] = buffer
        for name, parameter in module._parameters.items():  # what bitsandbytes keeps beside its integers
            state = getattr(parameter, "quant_state", None)
            for extra, tensor in (("SCB", getattr(parameter, "SCB", None)), ("absmax", getattr(state, "absmax", None))):
                if isinstance(tensor, Tensor):
                    saved[f"{owner}.{name}.{extra}"] = tensor
    return saved, tables


def _code(model: Model) -> str | None:
    """SHA-256 of the Python code that came with a model (`trust_remote_code`); None for models of Transformers' own."""
    classes = [type(getattr(model, "original_model", model)), type(model.tokenizer)]
    files = {
        inspect.getsourcefile(kind) for kind in classes if kind.__module__.partition(".")[0] == "transformers_modules"
    }
    texts = sorted(Path(file).read_text(encoding="utf-8") for file in files if file)
    return _digest(texts) if texts else None


def _without(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {
        str(key): _without(value, names) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if key not in names
    }


def _hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return digest.hexdigest()


def _digest(value: Any, is_plain: bool = False) -> str:
    """SHA-256 of a value as JSON; what came out of JSON is plain, and half a million merges need not be looked at one by one."""
    return hashlib.sha256(json.dumps(value if is_plain else plain(value), sort_keys=True).encode()).hexdigest()


def _ids_of_nothing(tokenizer: Any) -> list[int] | str:
    """What it puts around every text: BOS, EOS."""
    try:
        return list(tokenizer("")["input_ids"])
    except Exception as error:  # a tokenizer of one's own need not take an empty text
        return type(error).__name__


def _id_of(tokenizer: Any, token: Any) -> Any:
    return tokenizer.convert_tokens_to_ids(str(token)) if isinstance(token, str) else None


def _is_short(value: Any) -> bool:
    return not isinstance(value, (Mapping, list, tuple, str)) or (len(value) <= 80 and len(str(value)) <= 80)


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if re.fullmatch("[0-9a-f]{64}", text):
        return text[:12]
    return text if len(text) <= 80 else text[:77] + "..."
