"""The words and the punctuation of a card, in each language.

A prompt must ask the same in every language, and be right in every language for any country. A sentence can't do that:
"The capital of ..." needs an article or a case that depends on the country (German "der Schweiz" but "Frankreichs",
French "du Japon" but "de la France", the genitive in Russian, a suffix in Turkish), and CLDR gives the citation form
only. So all languages share one form in which a citation form stands alone: a card of two labelled fields, the second
left open.

>>> card_prompt("Frankreich", "capital", "de")
'Land: Frankreich. Hauptstadt:'
>>> card_prompt("法国", "capital", "zh") + card_option("巴黎", "zh")
'国家：法国。首都：巴黎'

`template` chooses the layout: 0 writes both fields on one line, 1 puts each on a line of its own. The words are the
same, so that a difference between the two comes from the layout alone.

Spacing follows one rule: what stands between a label and its value is the same in both fields. A prompt never ends in a
space; the space after the last colon belongs to the option. Chinese and Japanese have full-width punctuation and so no
space; Thai ends no sentence with a stop and parts its fields by a space; French has a space before the colon too.
"""

from __future__ import annotations

from dataclasses import dataclass

from xtl.errors import check_choice, check_whole

N_TEMPLATES = 2


@dataclass(frozen=True)
class Card:
    """One language's card: its labels in citation form, and its punctuation.

    `colon` holds the spaces around it and `stop` the space after it, as the language has them.
    """

    country: str
    capital: str
    official_language: str
    colon: str = ": "
    stop: str = ". "


CARDS: dict[str, Card] = {
    "en": Card("Country", "Capital", "Official language"),
    "es": Card("País", "Capital", "Idioma oficial"),
    "de": Card("Land", "Hauptstadt", "Amtssprache"),
    "fr": Card("Pays", "Capitale", "Langue officielle", colon=" : "),
    "it": Card("Paese", "Capitale", "Lingua ufficiale"),
    "pt": Card("País", "Capital", "Idioma oficial"),
    "ro": Card("Țară", "Capitală", "Limbă oficială"),
    "ru": Card("Страна", "Столица", "Официальный язык"),
    "uk": Card("Країна", "Столиця", "Офіційна мова"),
    "bg": Card("Държава", "Столица", "Официален език"),
    "pl": Card("Kraj", "Stolica", "Język urzędowy"),
    "el": Card("Χώρα", "Πρωτεύουσα", "Επίσημη γλώσσα"),
    "tr": Card("Ülke", "Başkent", "Resmî dil"),
    "ar": Card("البلد", "العاصمة", "اللغة الرسمية"),
    "fa": Card("کشور", "پایتخت", "زبان رسمی"),
    "ur": Card("ملک", "دارالحکومت", "سرکاری زبان", stop="۔ "),
    "he": Card("מדינה", "עיר בירה", "שפה רשמית"),
    "hi": Card("देश", "राजधानी", "आधिकारिक भाषा", stop="। "),
    "bn": Card("দেশ", "রাজধানী", "সরকারি ভাষা", stop="। "),
    "th": Card("ประเทศ", "เมืองหลวง", "ภาษาราชการ", stop=" "),
    "vi": Card("Quốc gia", "Thủ đô", "Ngôn ngữ chính thức"),
    "id": Card("Negara", "Ibu kota", "Bahasa resmi"),
    "sw": Card("Nchi", "Mji mkuu", "Lugha rasmi"),
    "zh": Card("国家", "首都", "官方语言", colon="：", stop="。"),
    "ja": Card("国名", "首都", "公用語", colon="：", stop="。"),
    "ko": Card("국가", "수도", "공용어"),
}

LANGUAGES: tuple[str, ...] = tuple(CARDS)
"""The languages of the cards."""

FIELDS = ("capital", "official_language")
"""What a card can ask for."""


def card_prompt(country: str, field: str, lang: str, template: int = 0) -> str:
    """A card that names a country and leaves `field` open: the prompt.

    Args:
        country: name of the country in `lang`, used as it is.
        field: what is asked for, one of `FIELDS`.
        lang: one of `LANGUAGES`.
        template: 0 for one line, 1 for two.

    Raises:
        InputError: an unknown field, language or template.

    >>> card_prompt("France", "capital", "en", template=1)
    'Country: France\\nCapital:'
    """
    card = CARDS[check_choice("language", lang, LANGUAGES)]
    label: str = getattr(card, check_choice("field", field, FIELDS))
    separator = card.stop if check_whole("template", template, 0, N_TEMPLATES - 1) == 0 else "\n"
    return f"{card.country}{card.colon}{country}{separator}{label}{card.colon}".rstrip()


def card_option(answer: str, lang: str) -> str:
    """An answer as it continues a card: with the space that the language has after a colon, if any.

    Raises:
        InputError: an unknown language.

    >>> card_option("París", "es"), card_option("パリ", "ja")
    (' París', 'パリ')
    """
    colon = CARDS[check_choice("language", lang, LANGUAGES)].colon
    return colon[len(colon.rstrip()) :] + answer
