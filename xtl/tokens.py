"""Between texts and token ids, exactly as the model's own tokenizer does it, and how many tokens fit into its context."""

from __future__ import annotations

from typing import Any, NamedTuple

from xtl.backend import Model
from xtl.errors import InputError
from xtl.pairs import Prompt, check_characters, check_prompt

CHARACTERS_A_TOKEN = 100
"""More characters than a token stands for, on average over a text: a longer text is refused before it is tokenised."""


def encode(model: Model, prompt: Prompt, argument: str = "prompt") -> list[int]:
    """Token ids of a prompt, by the rule of the model's own tokenizer; token ids are taken as they are.

    A text that already starts with the BOS token does not get a second one, and an EOS that the tokenizer appends is left out:
    the prompt is to be continued. Nothing is padded, so that the side of padding and a missing pad token do not matter.

    Raises:
        InputError: an empty prompt, a token id outside the vocabulary, a text for a model without tokenizer.
    """
    prompt = check_prompt(argument, prompt)
    if not isinstance(prompt, str):
        outside = [t for t in prompt if not 0 <= t < model.cfg.d_vocab]
        if outside:
            raise InputError(f"{argument} has token id {outside[0]}; valid: 0 to {model.cfg.d_vocab - 1}")
        return prompt
    if model.tokenizer is None:
        raise InputError(f"{argument} is a text but the model has no tokenizer; give token ids")
    tokenizer = model.tokenizer
    most = CHARACTERS_A_TOKEN * max(context_length(model), 1000)
    if len(prompt) > most:
        raise InputError(
            f"{argument} has {len(prompt):,} characters; the model's context holds {context_length(model):,} tokens, which "
            f"more than {most:,} characters never fit into"
        )
    ids = _read(model, prompt, argument)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        ids = ids[1:]
    if eos is not None and ids[-1:] == [eos] and not prompt.endswith(tokenizer.eos_token):
        ids = ids[:-1]
    outside = [t for t in ids if t >= model.cfg.d_vocab]
    if outside:
        raise InputError(
            f"{argument} holds {tokenizer.decode(outside[:1])!r}, token {outside[0]}, which the model has no embedding for "
            f"(it has {model.cfg.d_vocab}); leave it out"
        )
    if not ids:
        raise InputError(f"{argument} has no tokens in this model's tokenizer: {prompt!r}")
    return ids


def _read(model: Model, text: str, argument: str, **options: Any) -> list[int]:
    """Token ids as the tokenizer gives them. Raises `InputError` where it fails."""
    try:
        return [int(token) for token in model.tokenizer(text, **options)["input_ids"]]
    except Exception as error:  # a tokenizer is a program of its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{argument}: the model's tokenizer fails to read {text[:80]!r}: {reason}") from error


class Continuation(NamedTuple):
    """Token ids of a text that continues a prompt, and whether it was tokenised alone, without the prompt before it."""

    ids: list[int]
    alone: bool


def encode_continuation(model: Model, prompt: Prompt, prompt_ids: list[int], text: str) -> list[int]:
    """Token ids of `text` as it continues `prompt`, without the prompt's own tokens; see `continue_prompt`."""
    return continue_prompt(model, prompt, prompt_ids, text).ids


def continue_prompt(model: Model, prompt: Prompt, prompt_ids: list[int], text: str) -> Continuation:
    """`text` as it continues `prompt`, without the prompt's own tokens.

    The two are tokenised together and the prompt's tokens taken off. Where they merge across the boundary (the prompt's
    tokens are no prefix of the whole: "Ans" and "wer" are one token, "Answer"), the text is tokenised alone: the prompt's last
    token must stay what it is. A text that continues token ids is always tokenised alone.

    Raises:
        InputError: the model has no tokenizer; a text without tokens.
    """
    check_characters(f"continuation {text!r}", text)
    if model.tokenizer is None:
        raise InputError(f"option {text!r} is a text but the model has no tokenizer")
    if isinstance(prompt, str):
        whole = encode(model, prompt + text)
        if whole[: len(prompt_ids)] == prompt_ids and len(whole) > len(prompt_ids):
            return Continuation(whole[len(prompt_ids) :], alone=False)
    ids = _alone(model, text)
    if not ids:
        raise InputError(f"{text!r} has no tokens in this model's tokenizer")
    return Continuation(ids, alone=True)


def _alone(model: Model, text: str) -> list[int]:
    """Token ids of a text that nothing merges with; behind a sign that it doesn't merge with either.

    At the very beginning of a text, a SentencePiece tokenizer puts a space that isn't there.
    """

    def ids(piece: str) -> list[int]:
        return _read(model, piece, "option", add_special_tokens=False)

    for sign in ("\n", ".", "1"):
        before, both = ids(sign), ids(sign + text)
        if len(both) > len(before) and both[: len(before)] == before:
            return both[len(before) :]
    return ids(text)


def decode(model: Model, tokens: list[int]) -> str:
    """Text of generated tokens, without special tokens; empty for a model without tokenizer."""
    return "" if model.tokenizer is None else model.tokenizer.decode(tokens, skip_special_tokens=True)


def context_length(model: Model) -> int:
    """Most tokens that the model takes, prompt and generated ones together."""
    return int(model.cfg.n_ctx)


def check_fits(model: Model, argument: str, n_prompt: int, n_more: int = 0) -> None:
    """Raise `InputError` when a prompt and what follows it exceed the model's context."""
    n_ctx = context_length(model)
    if n_prompt + n_more > n_ctx:
        more = f" and {n_more} more to come" if n_more else ""
        raise InputError(f"{argument} has {n_prompt} tokens{more}; the model's context holds {n_ctx}")
