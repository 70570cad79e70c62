"""Option tags in other scripts: which option can "Б", "ב", "二" or "乙" mean?

A question's options carry *tags*: letters (A, B, C) or numbers (1, 2, 3). A model that answers in another script writes the tag
in that script. Letters are read in two ways: by their place in their own alphabet's order, and by the Latin letter that they
sound or look like (the Russian "С" for C). Where the two differ, as in "В" (third letter, or B), the tag is ambiguous: `read`
returns both, and it is for the caller to refuse unless something else decides.

The orders and sounds were chosen by what machine translation made of "(A)", "(B)" ... in the paper's culture prompts (19
languages), and by the usual order of each alphabet. Letters of other scripts are not read.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from functools import lru_cache

from xtl.scoring.normalise import fold

_ORDERS = (
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзиклмн",  # Russian and Bulgarian lists leave out ё and й
    "абвгдђежз",  # Serbian
    "абвгґдеєжз",  # Ukrainian
    "αβγδεζηθικ",
    ("α", "β", "γ", "δ", "ε", "στ", "ζ", "η", "θ", "ι"),  # as numerals
    "אבגדהוזחטי",
    "أبجدهوزحطي",  # abjad order, which lists use; also in Persian and Urdu
    "ابجدهوزحطي",  # alif without its hamza
    "कखगघङचछजझञ",
    "কখগঘঙচছজঝঞ",
    "அஆஇஈஉஊஎஏஐஒ",
    "กขคงจฉชซ",
    "가나다라마바사아자차",
    "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊ",
    "アイウエオカキクケコ",
    "あいうえおかきくけこ",
    "甲乙丙丁戊己庚辛壬癸",
    "ሀለሐመሠረሰሸቀበ",
    "աբգդեզէըթժ",
    "აბგდევზთიკ",
)

_SOUNDS = {
    "a": "а ए अ اے الف ኤ",
    "b": "в б बी ब بی ቢ",
    "c": "с ц सी स سی ت",
    "d": "д डी द ڈی ث",
    "e": "е э ε ई ای ኢ",
    "f": "ф एफ ف ایف ኤፍ",
    "g": "г जी جی ጂ",
    "h": "н х η एच ایچ ሸ",
    "i": "и і ι आई آئی አይ",
    "j": "й ј जे جے ጄ",
}

LONE_WORDS = frozenset("aeiouywzskv") | frozenset(fold("а в и к о с у я і є й з η ο ω و").split())
"""Letters that are also words of some language: alone before another word they are no answer."""


_MOST_DIGITS = 4  # a longer number is no tag, and Python refuses to read a very long one


def _letter_table() -> dict[str, frozenset[int]]:
    table: dict[str, set[int]] = defaultdict(set)
    for order in _ORDERS:
        for index, letter in enumerate(order):
            table[fold(letter)].add(index)
    for latin, spellings in _SOUNDS.items():
        for spelling in spellings.split():
            table[fold(spelling)].add(ord(latin) - ord("a"))
    return {letter: frozenset(indices) for letter, indices in table.items()}


_LETTERS = _letter_table()


@lru_cache(maxsize=4096)
def read(symbol: str, numbers: bool) -> frozenset[int]:
    """The places (from 0) that a folded word can stand for as a tag; none if it is no tag.

    Args:
        symbol: a folded word.
        numbers: whether the options are numbered, else they are lettered.

    >>> sorted(read("b", numbers=False)), sorted(read("3", numbers=True)), sorted(read("二", numbers=True))
    ([1], [2], [1])
    >>> sorted(read("в", numbers=False)), sorted(read("b", numbers=True))
    ([1, 2], [])
    """
    if not numbers:
        return _LETTERS.get(symbol, frozenset())
    if symbol.isascii() and symbol.isdigit():
        return frozenset({int(symbol) - 1}) if len(symbol) <= _MOST_DIGITS else frozenset()
    if len(symbol) == 1:
        value = unicodedata.numeric(symbol, -1.0)
        if value >= 1 and value.is_integer():
            return frozenset({int(value) - 1})
    return frozenset()
