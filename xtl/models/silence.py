"""While a model loads: silence, as what Transformers and TransformerLens say is not for the user; and no search for garbage."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silence_loading() -> Iterator[None]:
    """No progress bars of Transformers, no deprecation warnings of TransformerLens (we use HookedTransformer knowingly) and no
    log lines of its converters about norms that an architecture does not have."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    root = logging.getLogger()
    root.addFilter(_not_transformer_lens)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        root.removeFilter(_not_transformer_lens)
        if shown:
            transformers_logging.enable_progress_bar()


@contextmanager
def collecting_later() -> Iterator[None]:
    """No search for garbage among millions of objects that stay: of modules that are imported, of a tokenizer's file."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _not_transformer_lens(record: logging.LogRecord) -> bool:
    """TransformerLens logs on the root logger."""
    return "transformer_lens" not in record.pathname
