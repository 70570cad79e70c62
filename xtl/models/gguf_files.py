"""GGUF files: what one needs, seen in its header, and its conversion to a Hugging Face folder."""

from __future__ import annotations

import functools
import importlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy

from xtl.errors import ModelError
from xtl.foreign import printable
from xtl.models.explain import explain
from xtl.models.memory import free_memory, human

WORDS_BYTES = 100 * 10**6
"""Room for a tokenizer and the configurations."""

DTYPES = ("float32", "bfloat16", "float16")
"""Precisions in which a GGUF file is kept; float64 is made of float32, which is what its numbers are unpacked to."""


def kept_in(dtype: object) -> str:
    """The precision in which a GGUF file is kept that is loaded in this one.

    >>> kept_in("float64"), kept_in("bfloat16")
    ('float32', 'bfloat16')
    """
    name = str(dtype).removeprefix("torch.")
    return name if name in DTYPES else "float32"


@contextmanager
def read_once() -> Iterator[None]:
    """Within it, who asks for a reader of a GGUF file gets the one that was made first, and it reads arrays, not a memory map.

    A header holds a vocabulary and its merges, a million texts. gguf cuts each of them out of a NumPy memory map, which takes
    longer than out of a plain array on the same memory, and Transformers reads the header anew for the configuration, the
    tokenizer and the weights.
    """
    try:
        package: Any = importlib.import_module("gguf")
    except ImportError:  # whoever needs it says so
        yield
        return
    real = package.GGUFReader

    class Reader(real):  # type: ignore[misc, valid-type]
        @property
        def data(self) -> Any:
            return self._data

        @data.setter
        def data(self, mapped: Any) -> None:
            self._data = mapped.view(numpy.ndarray)

    package.GGUFReader = functools.cache(lambda path: Reader(path))
    try:
        yield
    finally:
        package.GGUFReader = real


def weights_bytes(file: Path, dtype: str = "float32") -> int:
    """Bytes of a GGUF file's numbers in this precision, from its header.

    Raises:
        ModelError: it is no GGUF file, or it is cut short.
    """
    try:
        import gguf
    except ImportError as error:
        raise ModelError("GGUF files need the package gguf: pip install gguf") from error
    itemsize = 4 if dtype == "float32" else 2
    try:
        with file.open("rb") as opened:
            if opened.read(4) != b"GGUF":
                raise ValueError("it does not begin with the magic bytes of a GGUF file")
        return itemsize * sum(int(tensor.n_elements) for tensor in gguf.GGUFReader(str(file)).tensors)
    except Exception as error:  # a file of any bytes: NumPy, Unicode, memory maps
        what = error if "magic" in str(error) else ValueError(f"it is cut short or damaged ({error}); get it again")
        raise ModelError(explain(str(file), file, what)) from error


def check_room(what: str, file: Path, folder: Path, dtype: str) -> None:
    """Say on stderr what a conversion takes, before it; raise `ModelError` where disk or memory are too small.

    Args:
        what: the model, for people.
        file: the GGUF file.
        folder: the cache folder.
        dtype: of `DTYPES`.
    """
    need = weights_bytes(file, dtype)
    disk, memory = shutil.disk_usage(folder).free, free_memory("cpu")
    if need + WORDS_BYTES > disk:
        raise ModelError(
            f"{what} takes {human(need + WORDS_BYTES)} as safetensors, but {str(folder)!r} has {human(disk)} free; "
            "make room, or set XTL_CACHE to a folder on another disk"
        )
    if need > memory:
        raise ModelError(
            f"converting {what} takes {human(need)} of memory in {dtype}, but {human(memory)} are free; take "
            f"{'a smaller model' if dtype != 'float32' else 'dtype=bfloat16 (half of it)'}, or the model's safetensors"
        )
    line = f"xtl: converting {what} to safetensors, once: {human(need)} in {str(folder)!r}, this takes a while ..."
    print(printable(line), file=sys.stderr, flush=True)


def convert(file: Path, new: Path, dtype: str) -> None:
    """Write a GGUF file's weights, configuration and tokenizer as a Hugging Face folder.

    Raises:
        ModelError: Transformers can't read it, or weights are missing; one line that says why.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place, options = str(file.parent), {"gguf_file": file.name}
    try:
        options["config"] = AutoConfig.from_pretrained(place, **options)
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        model, info = AutoModelForCausalLM.from_pretrained(
            place, dtype=getattr(torch, dtype), output_loading_info=True, **options
        )
    except Exception as error:
        raise ModelError(explain(str(file), file, error)) from error
    missing = sorted(set(info["missing_keys"]) - ({"lm_head.weight"} if model.config.tie_word_embeddings else set()))
    if missing:
        lack = ValueError(f"it lacks {missing[0]} ({len(missing)} in all), which would be random")
        raise ModelError(explain(str(file), file, lack))
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # the numbers are unpacked now
    model.hf_quantizer = None
    tokenizer.save_pretrained(new)
    model.save_pretrained(new)
