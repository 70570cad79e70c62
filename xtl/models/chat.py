"""Prompts for chat models: raw, or in the model's chat template.

The paper gives its chat models raw prompts, and so does xtl unless it is asked for the template. Pairs are wrapped once, where
they meet the model; everything after (`sweep_many`, controls, analyses) takes what comes of it as any other pairs:

    pairs = xtl.chat_pairs(model, xtl.get_task("capitals").pairs("en", "es", limit=20))
    results = xtl.concat_maps(xtl.sweep_many(model, pairs))

Both prompts of a pair are wrapped alike. The last position, where a transplant reads and writes, is then the end of the header of
the answer in both: the same token in every prompt, where a raw prompt ends with a word of its own. Maps with and without the
template are maps of different positions.

A study has the key `chat`, and commands that load a model have the flag `--chat`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from xtl.errors import InputError, known_keywords
from xtl.pairs import ParallelPair, Prompt, check_pairs

CHAT = (False, True, "auto")


@known_keywords()
def chat_pairs(
    model: Any, pairs: Iterable[ParallelPair], chat: bool | str = "auto", system: str | None = None
) -> list[ParallelPair]:
    """Pairs as a chat model reads them: both prompts in its chat template, up to where the answer begins.

    Options and answers continue the template as the template itself continues: with a space (Llama 2) or without (ChatML,
    Gemma), whatever they began with. Instances keep their ids, languages and references.

    Args:
        model: from `xtl.load_model`.
        pairs: what is asked; prompts that are token ids stay as they are.
        chat: True for the model's chat template; "auto" for the template where there is one; False for the pairs as they are.
        system: a system message, for templates that take one.

    Raises:
        InputError: an unknown `chat`; True, and the tokenizer has no template; a template that does not take the messages.

    Example:
        >>> import xtl
        >>> model = xtl.load_model("qwen2-7b-instruct", dtype="bfloat16")  # doctest: +SKIP
        >>> pairs = xtl.get_task("capitals").pairs("en", "es", limit=20)
        >>> xtl.chat_pairs(model, pairs)[0].target  # doctest: +SKIP
        '<|im_start|>system\\n...<|im_start|>user\\nPaís: ...<|im_end|>\\n<|im_start|>assistant\\n'
    """
    check_chat(model, chat)
    return [_wrapped(model, pair, chat, system) for pair in check_pairs(pairs)]


def check_chat(model: Any, chat: bool | str) -> None:
    """Raise `InputError` for an unknown `chat`, or True where the model's tokenizer has no template; or as `check_model`."""
    from xtl.models.state import check_model

    check_model(model)
    if not isinstance(chat, bool) and not (isinstance(chat, str) and chat == "auto"):
        raise InputError(f"unknown chat {chat!r}; valid: False, True, 'auto'")
    if chat is True and not _has_template(model):
        raise InputError("chat=True, but the model's tokenizer has no chat template; use chat=False or chat='auto'")


def chat_prompt(model: Any, prompt: Prompt, chat: bool | str = "auto", system: str | None = None) -> Prompt:
    """One prompt as a chat model reads it: as the user's message, in the template, up to where the answer begins.

    Args:
        model: from `xtl.load_model`.
        prompt: the user's message; token ids are taken as they are.
        chat: as for `chat_pairs`.
        system: as for `chat_pairs`.

    Returns:
        The wrapped text; or, where the tokenizer would not read that text as the template's own tokens (a template without the
        BOS that the tokenizer adds, say), those tokens. BOS is there as often as the template says, never twice.

    Raises:
        InputError: as `chat_pairs`.
    """
    check_chat(model, chat)
    if not chat or not _has_template(model) or not isinstance(prompt, str):
        return prompt
    from xtl.tokens import encode

    text = _render(model, prompt, system)
    ids = list(model.tokenizer(text, add_special_tokens=False)["input_ids"])
    return text if encode(model, text) == ids else ids


def _wrapped(model: Any, pair: ParallelPair, chat: bool | str, system: str | None) -> ParallelPair:
    source, target = (chat_prompt(model, prompt, chat, system) for prompt in (pair.source, pair.target))
    if not chat or not _has_template(model) or not isinstance(pair.target, str):
        return replace(pair, source=source, target=target)
    lead = _lead(model, pair.target, system)
    options, own = (
        None if some is None else tuple(lead + option.lstrip() for option in some)
        for some in (pair.options, pair.source_options)
    )
    answer = None if pair.answer is None else lead + pair.answer.lstrip()
    return replace(pair, source=source, target=target, options=options, answer=answer, source_options=own)


def _has_template(model: Any) -> bool:
    return bool(getattr(model.tokenizer, "chat_template", None))


def _render(model: Any, prompt: str, system: str | None, answer: str | None = None) -> str:
    """The conversation as text, up to where the answer begins, or with the answer."""
    messages = [{"role": "user", "content": prompt}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    try:
        return model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer is None)
    except Exception as error:  # a template is a program, with errors of its own
        raise InputError(f"the model's chat template does not take these messages: {error}") from error


def _lead(model: Any, prompt: str, system: str | None) -> str:
    """White space that the template puts between the end of the prompt and the answer: a space, or nothing."""
    begun, whole = _render(model, prompt, system), _render(model, prompt, system, "answer")
    between = whole[len(begun) :].partition("answer")[0] if whole.startswith(begun) else ""
    return between if not between.strip() else ""
