"""Prompts for chat models: with the model's chat template, or raw.

The paper gives its chat models raw prompts, and so does xtl unless it is asked for the template: `chat=False`. With
`chat="auto"` a model gets its template if it has one; with `chat=True` a model without one is an error. The source prompt and the
target prompt are wrapped alike, so that the last position, where a transplant reads and writes, is the end of the template's
header of the answer in both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xtl.errors import InputError
from xtl.pairs import ParallelPair, Prompt

CHAT = (False, True, "auto")


def chat_pair(model: Any, pair: ParallelPair, chat: bool | str = "auto", system: str | None = None) -> ParallelPair:
    """The pair with both its prompts wrapped (see `chat_prompt`)."""
    return replace(
        pair,
        source=chat_prompt(model, pair.source, chat, system),
        target=chat_prompt(model, pair.target, chat, system),
    )


def chat_prompt(model: Any, prompt: Prompt, chat: bool | str = "auto", system: str | None = None) -> Prompt:
    """A prompt as a chat model reads it: as the user's message, in the template, up to where the answer begins.

    Args:
        model: from `xtl.load_model`.
        prompt: the user's message; token ids are taken as they are.
        chat: False for the prompt as it is; True for the model's chat template; "auto" for the template where there is one.
        system: a system message, for templates that take one.

    Returns:
        The wrapped text; or, where the tokenizer would not read that text as the template's own tokens (a template without the
        BOS that the tokenizer adds, say), those tokens.

    Raises:
        InputError: an unknown `chat`; True, and the tokenizer has no template; a template that does not take the messages.

    Example:
        >>> import xtl
        >>> chat_prompt(xtl.load_model("qwen2-7b-instruct"), "Hello!", chat="auto")  # doctest: +SKIP
        '<|im_start|>system\\n...<|im_start|>user\\nHello!<|im_end|>\\n<|im_start|>assistant\\n'
    """
    if chat not in CHAT:
        raise InputError(f"unknown chat {chat!r}; valid: False, True, 'auto'")
    tokenizer = model.tokenizer
    has_template = bool(getattr(tokenizer, "chat_template", None))
    if chat is True and not has_template:
        raise InputError("chat=True, but the model's tokenizer has no chat template; use chat=False or chat='auto'")
    if not chat or not has_template or not isinstance(prompt, str):
        return prompt
    messages = [{"role": "user", "content": prompt}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program, with errors of its own
        raise InputError(f"the model's chat template does not take these messages: {error}") from error
    from xtl.backend import encode

    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return text if encode(model, text) == ids else ids
