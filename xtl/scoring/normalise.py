"""One form for texts that mean the same: what every score except the paper's reads.

`fold` maps a text to its normal form; `tokens` cuts that form into words and signs. Both work on any language and need not be
told which: where words are written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) each character, with the
marks on it, is a token.

>>> fold("（Ａ）\\u00a0ENTRAÎNER") == fold("(a) entraîner")
True
>>> [token.text for token in tokens(fold("Antwort: （B）选项٣"))]
['antwort', ':', '(', 'b', ')', '选', '项', '3']
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import regex
from babel.core import get_global

from xtl.errors import InputError, check_text

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts whose words are written without spaces, as a character class."""

_TOKEN = regex.compile(
    rf"(?V1)(?P<word>[{UNSPACED}]\p{{M}}*"
    rf"|(?:[\p{{Latin}}\p{{Nd}}]\p{{M}}*)+"
    rf"|(?:[[\p{{L}}\p{{M}}\p{{N}}]--[\p{{Latin}}\p{{Nd}}{UNSPACED}]]\p{{M}}*)+)"
    r"|(?P<newline>\n)|(?P<sign>[^\s])"
)
_GREEK_ACCENTS = regex.compile(r"(?<=\p{Greek}\p{M}*)[\u0300\u0301\u0313\u0314\u0342\u0345]")
_INVISIBLE = regex.compile(r"[\p{Cf}\p{Variation_Selector}\u20e3\u0640\u064b-\u0652\ufffd]")
_NEWLINE = regex.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SPACE = regex.compile(r"[^\S\n]+")
_DIGIT = regex.compile(r"\p{Nd}")


@dataclass(frozen=True)
class Token:
    """A word, a sign or a line break of a folded text.

    Attributes:
        text: the characters.
        kind: "word", "sign" or "newline".
        spaced: whether white space (or the start of the text) comes before it.
    """

    text: str
    kind: str
    spaced: bool


def fold(text: str) -> str:
    """The text's normal form: what is the same to a reader becomes the same string.

    NFKC (full-width forms, ligatures, circled numbers), no case (a Turkish dotless i counts as i, so that "TARAFSIZ" is
    "tarafsız"), digits of every script as 0-9, every space but the line break as " ", line breaks as "\\n". Characters that show
    nothing are dropped (joiners, direction marks, emoji selectors), as are Arabic vowel signs and tatweel, Greek accents
    (capitals are written without) and U+FFFD, which stands for a character that was cut in two. Other accents stay.

    >>> fold("İstanbul\\u202f٢٠٢٤"), fold("ΟΥΔΕΤΕΡΟ") == fold("Ουδέτερο")
    ('istanbul 2024', True)
    """
    text = _NEWLINE.sub("\n", check_text("text", text))
    while True:
        folded = _fold_once(text)
        if folded == text:
            return folded
        text = folded


def _fold_once(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold().replace("ı", "i")
    text = _INVISIBLE.sub("", unicodedata.normalize("NFD", text)).replace("i\u0307", "i")
    text = unicodedata.normalize("NFKC", _GREEK_ACCENTS.sub("", text))
    return _SPACE.sub(" ", _DIGIT.sub(lambda match: str(unicodedata.decimal(match.group(), match.group())), text))


@lru_cache(maxsize=4096)
def tokens(folded: str) -> tuple[Token, ...]:
    """Words, signs and line breaks of a folded text, in order.

    A word ends where the script changes between Latin (or digits) and another, so that "B입니다" is "b" and "입니다".
    """
    found = []
    end = -1  # where the last word or sign ended
    for match in _TOKEN.finditer(folded):
        kind = str(match.lastgroup)
        found.append(Token(match.group(), kind, end != match.start()))
        end = -1 if kind == "newline" else match.end()
    return tuple(found)


def words(text: str) -> tuple[str, ...]:
    """The words of a text that is not yet folded, without signs and line breaks.

    >>> words("Don't know / 不知道")
    ('don', 't', 'know', '不', '知', '道')
    """
    return tuple(token.text for token in tokens(fold(text)) if token.kind == "word")


def language(code: str | None) -> str:
    """The language of a code in its short form, without script and region; "" where there is none.

    >>> language("deu"), language("zh-CN"), language("pt_BR"), language(None)
    ('de', 'zh', 'pt', '')
    """
    own = "" if code is None else check_text("lang", code).strip().replace("_", "-").split("-")[0].lower()
    return str(get_global("language_aliases").get(own, own))


def check_gold(name: str, gold: int | None) -> int:
    """Return the gold index, or raise an `InputError` that says that score `name` needs options."""
    if gold is None:
        raise InputError(f"score {name!r} needs a pair with options and gold; this one has none")
    return gold
