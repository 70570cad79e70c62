"""SQuAD-style exact match and F1, in any language.

The measures of extractive question answering (Rajpurkar et al. 2016), with normalisation for each language as MLQA (Lewis et al.
2020) began it: letter case, punctuation and articles don't count; exact match asks whether the rest is the same, F1 how many
words are shared. Of several accepted answers the best match counts.

What differs from MLQA's script, and why:

- Unicode comes first (`xtl.scoring.normalise.fold`): full-width forms, digits of other scripts, invisible marks.
- Punctuation is every sign and symbol, so that "€5" loses as much as "$5".
- Chinese, Japanese, Thai, Lao, Khmer and Burmese are compared by character, by the script of the text and not by its language,
  so that a Latin name in a Chinese answer stays a word. MLQA does so for Chinese; others split such text at spaces, which makes
  F1 nearly an exact match. F1 by character is higher than F1 by word would be: don't compare it across languages.
- Articles are removed in more languages, elided ones too ("l'eau"). The Arabic article only at the start of a word. An answer
  that is nothing but articles or signs ("The Who" keeps "Who"; "%" stays "%") is compared as it is, never as an empty string; a
  blank prediction matches nothing.

A model that isn't told to stop writes on after its answer. Both scores therefore read only the first line with text in it, and
that line again up to the end of its first sentence, and keep the better of the two (a full stop may belong to the answer:
"Dr. King").

torchmetrics' SQuAD has the English normalisation alone and takes no language; on English the tests check that it gives the same.

>>> exact_match("The Eiffel Tower.", ["Eiffel tower"], "en"), f1("el río Sena", ["Sena"], "es")
(1.0, 0.6666666666666666)
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

import regex

from xtl.errors import InputError, check_text, shown
from xtl.pairs import ParallelPair
from xtl.scoring.normalise import fold, language, tokens
from xtl.scoring.text import TextScore

ARTICLES: dict[str, str] = {
    "ca": "el la els les un una uns unes",
    "da": "en et den det de",
    "de": "der die das den dem des ein eine einen einem eines einer",
    "el": "ο η το οι τα τον την του της των τους τις ένας μια μία ένα",
    "en": "a an the",
    "es": "el la los las lo un una unos unas",
    "fr": "le la les un une des",
    "hu": "a az egy",
    "it": "il lo la i gli le un uno una",
    "nl": "de het een",
    "pt": "o a os as um uma uns umas",
    "ro": "un o niște",
    "sv": "en ett den det de",
    "vi": "của là cái chiếc những",  # MLQA's list: classifiers and particles, Vietnamese has no articles
}
"""Words that don't count, by language. A language that is not here has none that stand alone."""

_ARTICLES = {lang: frozenset(fold(word) for word in text.split()) for lang, text in ARTICLES.items()}
_ELIDED = regex.compile(r"\b(?:l|un|gl|quell|dell|nell|all|d)['’](?=\w)")
_ELIDING = ("fr", "it", "ca")
_ARABIC_ARTICLE = regex.compile(r"\bال(?=\w{2})")
_SENTENCE_END = regex.compile(r"[.!?…]+(?=\s|$)|[。！？｡؟۔।]|\.(?=\p{Lu}\p{Ll})")


def answer_words(text: str, lang: str | None = None) -> tuple[str, ...]:
    """The words of an answer that count, in order.

    Args:
        text: an answer.
        lang: its language (a code such as "zh", "zho" or "zh-CN"), for the articles; None removes none.

    >>> answer_words("Die U.S.A., 1990", "de"), answer_words("在1990年，AFC")
    (('usa', '1990'), ('在', '1990', '年', 'afc'))
    """
    code = language(lang)
    folded = fold(text)
    bare = _ELIDED.sub("", folded) if code in _ELIDING else folded
    bare = _ARABIC_ARTICLE.sub("", bare) if code == "ar" else bare
    kept = _split(_without_signs(bare))
    without_articles = tuple(word for word in kept if word not in _ARTICLES.get(code, ()))
    return without_articles or kept or tuple(token.text for token in tokens(folded) if token.kind != "newline")


def exact_match(prediction: str, answers: Sequence[str], lang: str | None = None) -> float:
    """1 if the prediction is one of the answers, up to case, punctuation and articles, else 0.

    The prediction is taken whole; `EM` and `F1` cut a generated text to the answer in it.

    >>> exact_match("第49届", ["第 49 届"], "zh"), exact_match("49", ["第 49 届"], "zh")
    (1.0, 0.0)
    """
    _check_answers(answers)
    said = answer_words(prediction, lang)
    return float(bool(said) and any(said == answer_words(answer, lang) for answer in answers))


def f1(prediction: str, answers: Sequence[str], lang: str | None = None) -> float:
    """Harmonic mean of the shares of words that prediction and answer have in common, for the best of the answers; 0 to 1.

    >>> round(f1("in July 1990", ["July 1990", "1990"], "en"), 2)
    0.8
    """
    _check_answers(answers)
    return max(_overlap(answer_words(prediction, lang), answer_words(answer, lang)) for answer in answers)


def contains(prediction: str, answers: Sequence[str], lang: str | None = None) -> float:
    """1 if the words of one of the answers stand in the prediction in a row, else 0: an answer inside another word is none.

    >>> contains("It was 11 in all", ["11"], "en"), contains("It was 1100 in all", ["11"], "en")
    (1.0, 0.0)
    """
    _check_answers(answers)
    said = answer_words(prediction, lang)
    wanted = [some for answer in answers if (some := answer_words(answer, lang))]
    return float(any(said[at : at + len(some)] == some for some in wanted for at in range(len(said) - len(some) + 1)))


def _check_answers(answers: Sequence[str]) -> None:
    """Raise `InputError` unless answers are texts, one or more: a lone text is taken for its letters."""
    if not isinstance(answers, (list, tuple)) or not answers:
        raise InputError(f"answers must be a list of texts, got {shown(answers)}")
    for answer in answers:
        check_text("answers", answer)


def answer_lines(output: str) -> tuple[str, ...]:
    """What of a generated text can be its answer: the first line with text in it, and that line's first sentence.

    >>> answer_lines("\\n Paris. It is big.\\nQuestion: ...")
    ('Paris. It is big.', 'Paris.')
    """
    line = next((line.strip() for line in check_text("output", output).splitlines() if line.strip()), "")
    end = _SENTENCE_END.search(line)
    return (line,) if end is None or end.end() == len(line) else (line, line[: end.end()])


def accepted_answers(name: str, pair: ParallelPair) -> Sequence[str]:
    """The answers of a pair that count as right; the space that joins a prompt and its `answer` is no part of it.

    Raises:
        InputError: the pair has none.
    """
    if pair.answers is not None:
        return pair.answers
    if pair.answer is not None and pair.answer.strip():
        return (pair.answer.strip(),)
    raise InputError(f"score {name!r} needs a pair with answers; this one has none")


def _without_signs(folded: str) -> str:
    return "".join(char for char in folded if unicodedata.category(char)[0] not in "PS")


def _split(folded: str) -> tuple[str, ...]:
    return tuple(token.text for token in tokens(folded) if token.kind == "word")


def _overlap(said: tuple[str, ...], answer: tuple[str, ...]) -> float:
    common = sum((Counter(said) & Counter(answer)).values())
    return 2 * common / (len(said) + len(answer)) if common else 0.0


def _rate_em(output: str, pair: ParallelPair) -> float:
    answers = accepted_answers("em", pair)
    return max(exact_match(line, answers, pair.target_lang) for line in answer_lines(output))


def _rate_f1(output: str, pair: ParallelPair) -> float:
    answers = accepted_answers("f1", pair)
    return max(f1(line, answers, pair.target_lang) for line in answer_lines(output))


def _rate_contains(output: str, pair: ParallelPair) -> float:
    return contains(answer_lines(output)[0], accepted_answers("contains", pair), pair.target_lang)


EM = TextScore("em", "exact match with an accepted answer, up to case, punctuation and articles", _rate_em)
F1 = TextScore("f1", "words shared with the best accepted answer (F1)", _rate_f1, binary=False)
CONTAINS = TextScore("contains", "whole words of an accepted answer in the first line", _rate_contains)
