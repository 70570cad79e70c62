"""Languages: their names in English, and how much text each has."""

from __future__ import annotations

import re

from babel import Locale, UnknownLocaleError

RESOURCE_LEVEL: dict[str, int] = {
    code: level
    for level, codes in {
        5: "en es de ja fr ar zh",
        4: "sv tr ko hi fa pt cs ru nl pl hr it vi eu hu fi sr ca",
        3: "uk lv id af bs gl el he be ms th ka da tl sl ta kk ro bg uz lt et sk bn ur",
        2: "pa ha mr xh sw zu tn is wo ht mt lo am yo ga ti",
        1: "no ne qu km te ml kn gu hy mk so jv",
    }.items()
    for code in codes.split()
}
"""How much text a language has, from 5 (most) to 0: the classes of Joshi et al. 2020 (arXiv 2004.09095), by language code."""


def resource_level(language: str) -> int | None:
    """The class of Joshi et al. of a language, None where it is not in the table; regions and scripts don't matter.

    >>> resource_level("zh_tw"), resource_level("sw"), resource_level("?")
    (5, 2, None)
    """
    return RESOURCE_LEVEL.get(language.replace("-", "_").split("_")[0].lower())


def by_resource(languages: list[str]) -> list[str]:
    """Languages from the most to the least text; unknown ones last; alphabetical within a class.

    >>> by_resource(["sw", "es", "xx", "ru", "de"])
    ['de', 'es', 'ru', 'sw', 'xx']
    """
    return sorted(languages, key=lambda code: (-(-1 if (level := resource_level(code)) is None else level), code))


def arrow(direction: object) -> str:
    """A direction, or a text with directions and cells in it, as it is shown to readers; nothing else writes that arrow.

    >>> arrow("en->es"), arrow("attn 12 -> 13, en->es")
    ('en → es', 'attn 12 → 13, en → es')
    """
    return re.sub(r"(?<=\S) *-> *(?=\S)", " → ", str(direction))


def code_of(name: str) -> str | None:
    """Code of a language by its name in English or, of those in `RESOURCE_LEVEL`, in itself; None where CLDR has none such.

    >>> code_of("swahili"), code_of("Español"), code_of("中文"), code_of("question")
    ('sw', 'es', 'zh', None)
    """
    wanted = str(name).strip().casefold()
    found = next((code for code, one in Locale("en").languages.items() if one.casefold() == wanted), None)
    return found or next((code for code in RESOURCE_LEVEL if (own_name(code) or "").casefold() == wanted), None)


def own_name(code: str) -> str | None:
    """Name of a language in itself; None where CLDR has none.

    >>> own_name("de"), own_name("?")
    ('Deutsch', None)
    """
    try:
        return Locale.parse(code).get_language_name(code)
    except (ValueError, UnknownLocaleError):
        return None


def english_name(code: str) -> str:
    """English name of a language, for sentences; the code itself where CLDR has none.

    >>> english_name("ru"), english_name("pt_BR"), english_name("zh-Hant"), english_name("?")
    ('Russian', 'Portuguese (Brazil)', 'Chinese (Traditional)', 'the target language')
    """
    if code in ("", "?"):
        return "the target language"
    try:
        return Locale.parse(code.replace("-", "_")).get_display_name("en") or code
    except (ValueError, UnknownLocaleError):
        return code
