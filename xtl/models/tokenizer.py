"""A model's tokenizer: put on it as it is, and tried once.

Prompts are read exactly as the model's own tokenizer reads them, by its own rule on BOS. TransformerLens does otherwise: a model
that it loads, or that is given a tokenizer (`bridge.tokenizer = ...`, `set_tokenizer`), gets one that is read anew from where
that came from, with BOS always. Qwen2, OLMoE, GPT-2 and Llama without BOS then see a token that they never saw there in training.
So xtl puts tokenizers on models itself, and looks at each that it finds there.
"""

from __future__ import annotations

import unicodedata
import warnings
from typing import Any

from xtl.backend import is_bridge
from xtl.errors import InputError, ModelError, one_line
from xtl.models.contract import CHECK_TEXT

COMPARED = (CHECK_TEXT, "a", " a", "1\n")
"""Texts on which two tokenizers are compared."""


def attach_tokenizer(model: Any, tokenizer: Any) -> None:
    """Put a tokenizer on a model as it is; None takes it away. The model's vocabulary stays that of its embedding.

    Raises:
        ModelError: TransformerLens puts another one there all the same.
    """
    if is_bridge(model):
        model._tokenizer = None  # in the place of another one, the bridge would read it anew, with BOS
    model.tokenizer = tokenizer
    if model.tokenizer is not tokenizer:
        raise ModelError(f"this TransformerLens changes the tokenizer that {type(model).__name__} is given")
    _settle(model, tokenizer)


def check_model_tokenizer(model: Any) -> None:
    """Look at the tokenizer that stands on a model, once: one to which TransformerLens added BOS makes way for the model's own.

    A warning says so. The model's own is read from where the other one came from, in local files alone. Where it can't be read,
    or differs in another way, the model's stays, and the warning says what to do.

    Raises:
        ModelError: it can't read a text or give one back.
    """
    tokenizer = model.tokenizer
    if tokenizer is None or vars(model).get("xtl_tokenizer", False) is tokenizer:
        return
    check_reading(str(model.cfg.model_name), tokenizer)
    place = getattr(tokenizer, "name_or_path", "")  # none: made in memory, so TransformerLens could not read it anew
    own = _read(place) if place else tokenizer
    if own is None:
        told = _adds_bos(tokenizer) and bool(getattr(tokenizer, "add_bos_token", False))
        difference = (
            f"adds BOS, and {place!r}, where it comes from, can't be read here to see whether the model's own does"
        )
    else:
        found, wanted = ([token_ids(one, text) for text in COMPARED] for one in (tokenizer, own))
        told = found != wanted
        difference = f"reads texts otherwise than the one of {place!r}, where it comes from"
        if told and found == [[tokenizer.bos_token_id, *ids] for ids in wanted]:
            difference = f"adds BOS, which the model's own (of {place!r}) does not; xtl takes the model's own"
            attach_tokenizer(model, own)
    if told:
        kept = "" if model.tokenizer is own else "; xtl goes by it"
        warnings.warn(
            f"the tokenizer that TransformerLens gave this model {difference}{kept}. To choose, give load_model(model, "
            "tokenizer=...) the one you mean",
            stacklevel=4,
        )
    _settle(model, model.tokenizer)


def check_reading(label: str, tokenizer: Any) -> None:
    """Try a tokenizer: it reads a text and gives it back.

    Warns where a text comes back as another one (a small vocabulary loses characters; some change upper case).

    Raises:
        InputError: it is no tokenizer.
        ModelError: it fails to read a text, or to give one back.
    """
    if tokenizer is None:
        return
    _check_kind(tokenizer)
    hint = "give another one with tokenizer="
    try:
        ids = token_ids(tokenizer, CHECK_TEXT)
    except Exception as error:  # a tokenizer is a program of its own
        raise ModelError(f"the tokenizer of {label!r} fails to read a text: {one_line(error)}; {hint}") from error
    try:
        back = tokenizer.decode(ids, skip_special_tokens=True)
        tokenizer.decode(ids[-1:])
    except Exception as error:
        raise ModelError(f"the tokenizer of {label!r} fails to give a text back: {one_line(error)}; {hint}") from error
    if not isinstance(back, str):
        raise ModelError(f"the tokenizer of {label!r} gives back {type(back).__name__}, not a text; {hint}")
    if _letters(back) != _letters(CHECK_TEXT):
        lost = [word for word in CHECK_TEXT.split() if _letters(word) not in _letters(back)]
        warnings.warn(
            f"the tokenizer of {label!r} does not give a text back as it was: {', '.join(lost[:3]) or 'it'} comes back "
            f"otherwise ({back[:80]!r}); prompts in such scripts reach the model changed, and answers may be scored wrongly",
            stacklevel=3,
        )


def check_tokenizer(label: str, tokenizer: Any, n_rows: int, own: bool) -> None:
    """Try a model's tokenizer (see `check_reading`), and see that it can be this model's: the embedding has rows for its tokens.

    Rows beyond the vocabulary are common (padding to a round number), and so are added tokens beyond the rows (Gemma's image
    token, refused where a prompt holds one). A vocabulary beyond the rows, or less than nine tenths of them, is another model's.

    Args:
        label: the model's name.
        tokenizer: its tokenizer, or None.
        n_rows: rows of the embedding.
        own: whether the tokenizer came with the model; one that the user gives may be small.

    Raises:
        InputError, ModelError: as `check_reading`; or its vocabulary and the rows differ too much.
    """
    if tokenizer is None:
        return
    _check_kind(tokenizer)
    n_tokens = max(tokenizer.vocab_size, 0)
    if n_tokens > n_rows or (own and len(tokenizer) < 0.9 * n_rows):
        raise ModelError(
            f"the tokenizer of {label!r} has {n_tokens} tokens and the model {n_rows} rows of embeddings: it is another model's; "
            "give the right one with tokenizer="
        )
    check_reading(label, tokenizer)


def token_ids(tokenizer: Any, text: str, **options: Any) -> list[int]:
    """The token ids of a text."""
    return [int(token) for token in tokenizer(text, **options)["input_ids"]]


def _check_kind(tokenizer: Any) -> None:
    if not callable(tokenizer) or not hasattr(tokenizer, "decode"):
        raise InputError(f"tokenizer must be a Transformers tokenizer, got {type(tokenizer).__name__}")


def _settle(model: Any, tokenizer: Any) -> None:
    """Remember that this tokenizer is the one to go by, and tell the model's configuration the truth about it."""
    model.xtl_tokenizer = tokenizer
    embedding = model.original_model.get_input_embeddings() if is_bridge(model) else None
    if embedding is not None and model.cfg.d_vocab != embedding.weight.shape[0]:
        # A bridge's setter writes the tokenizer's size there.
        model.cfg.d_vocab = model.cfg.d_vocab_out = int(embedding.weight.shape[0])
    if tokenizer is not None:
        ids = token_ids(tokenizer, "a")
        model.cfg.tokenizer_prepends_bos = _adds_bos(tokenizer)
        model.cfg.tokenizer_appends_eos = len(ids) > 1 and ids[-1] == tokenizer.eos_token_id


def _adds_bos(tokenizer: Any) -> bool:
    return tokenizer.bos_token_id is not None and token_ids(tokenizer, "a")[:1] == [tokenizer.bos_token_id]


def _read(place: str) -> Any:
    """The tokenizer of a folder or of the local Hugging Face cache; None where it can't be read."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(place, local_files_only=True)
    except Exception:  # whatever it is: there is nothing to compare with
        return None


def _letters(text: str) -> str:
    """A text without what tokenizers rightly change: white space, and one way or the other of writing the same character."""
    return "".join(unicodedata.normalize("NFKC", text).split())
