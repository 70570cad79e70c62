"""Between texts and token ids, exactly as the model's own tokenizer does it, and how many tokens fit into its context."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from xtl.backend import Model
from xtl.errors import InputError, Whole, as_whole, check_text, known_keywords, one_line, shown
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
        reason = one_line(error, 200)
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


@dataclass(frozen=True)
class Word:
    """Where a word stands in a prompt, whatever its tokens; made by `at_word` and `over_words`.

    Attributes:
        text: the word, or several.
        whole: whether all its tokens are meant, or the last one.
    """

    text: str
    whole: bool = False

    def __post_init__(self) -> None:
        if not check_text("a word", self.text).strip():
            raise InputError("the word whose place is asked for is empty")


Position = Whole | Sequence[Whole] | Word
"""Where a prompt is read or written: a token's index (negative: from the end), several, or a word's place."""


@known_keywords()
def at_word(word: str) -> Word:
    """The last token of a word that stands once in the prompt: where a model that reads from left to right knows all of it.

    Args:
        word: as it stands in the prompt; several words are one span.

    Example:
        >>> import xtl
        >>> xtl.at_word("France")
        Word(text='France', whole=False)
        >>> xtl.sweep(  # doctest: +SKIP
        ...     model, pair, source_position=xtl.at_word("France"), target_position=xtl.at_word("Francia")
        ... )
    """
    return Word(word)


@known_keywords()
def over_words(words: str) -> Word:
    """All tokens of words that stand once in the prompt; the other prompt's must be as many, and the first goes to the first.

    Args:
        words: as they stand in the prompt.

    Example:
        >>> import xtl
        >>> xtl.over_words("the Eiffel Tower").whole
        True
    """
    return Word(words, whole=True)


def find_positions(model: Model, argument: str, prompt: Prompt, ids: list[int], position: Position) -> tuple[int, ...]:
    """The places among a prompt's tokens that a user means, from 0.

    Args:
        model: whose tokenizer is asked where words are.
        argument: its name, for messages.
        prompt: the prompt.
        ids: its token ids (`encode`).
        position: an index, several in ascending order, or a word's place.

    Raises:
        InputError: out of range, no ascending order, a word that isn't in the prompt or stands there more than once, a word in
            token ids, a tokenizer that doesn't tell where its tokens are.
    """
    if isinstance(position, Word):
        found = _tokens_of_word(model, argument, prompt, ids, position.text)
        return tuple(found) if position.whole else (found[-1],)
    if hasattr(position, "tolist"):
        position = position.tolist()
    several = [position] if as_whole(position) is not None else position
    if isinstance(several, (str, bytes)) or not isinstance(several, Iterable):
        raise InputError(
            f"{argument} must be an index, several, xtl.at_word(...) or xtl.over_words(...), got {shown(position)}"
        )
    places = [as_whole(one) for one in several]
    for one in places:
        if one is None or not -len(ids) <= one < len(ids):
            raise InputError(f"{argument} {shown(position)} is out of range for a prompt of {len(ids)} tokens")
    counted = [one % len(ids) for one in places if one is not None]
    if not counted or counted != sorted(set(counted)):
        raise InputError(f"{argument} must go up, each position once, got {shown(position)}")
    return tuple(counted)


def _tokens_of_word(model: Model, argument: str, prompt: Prompt, ids: list[int], word: str) -> list[int]:
    """The tokens that hold a part of a word, which stands in the prompt once."""
    if not isinstance(prompt, str):
        raise InputError(f"{argument}: the prompt is token ids, in which {word!r} can't be looked for; give an index")
    exact = rf"(?<!\w){re.escape(word)}(?!\w)"
    found = list(re.finditer(exact, prompt)) or list(re.finditer(re.escape(word), prompt))
    if len(found) != 1:
        times = f"{len(found)} times" if found else "not"
        raise InputError(f"{argument}: {word!r} is {times} in the prompt {shown(prompt)}; it must stand there once")
    if not getattr(model.tokenizer, "is_fast", False):
        raise InputError(f"{argument}: the model's tokenizer does not tell where its tokens stand; give an index")
    read = model.tokenizer(prompt, return_offsets_mapping=True)
    skipped = next(n for n in (0, 1) if list(read["input_ids"])[n : n + len(ids)] == ids)  # a second BOS is left out
    spans = list(read["offset_mapping"])[skipped : skipped + len(ids)]
    first, end = found[0].span()
    return [place for place, (start, stop) in enumerate(spans) if start < end and stop > first and stop > start]


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
