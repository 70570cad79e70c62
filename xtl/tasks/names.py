"""Names of countries, cities and languages in many languages, from the CLDR data that Babel carries.

CLDR (the Unicode locale data) names each country and each language in every major language, and each time zone by its
*exemplar city*: Europe/Paris is 巴黎 in Chinese. Where the exemplar city is the capital, CLDR knows the capital's name.
A language that writes a city exactly as the zone id does has no entry of its own for it; the id then is the name. That
is right in Latin script only, and tests make sure that it happens nowhere else.

Names change a little from one version of CLDR to the next, so from one Babel to the next; `cldr_version` tells.

>>> country_name("FR", "de"), city_name("Europe/Paris", "el"), language_name("pt", "ja")
('Frankreich', 'Παρίσι', 'ポルトガル語')
"""

from __future__ import annotations

from functools import cache

from babel import Locale
from babel.core import get_global

from xtl.errors import InputError

SOFT_HYPHEN = "\u00ad"  # CLDR's German city names carry them ("Reyk-ja-vík"); they are layout, not spelling


def country_name(country: str, lang: str) -> str:
    """Name of a country (ISO 3166 code) in a language, in citation form.

    Raises:
        InputError: CLDR has no such country in that language.
    """
    return _clean(_locale(lang).territories.get(country), f"country {country!r}", lang)


def language_name(language: str, lang: str) -> str:
    """Name of a language (code) in a language, in citation form, in the capitals or small letters that CLDR has.

    Raises:
        InputError: CLDR has no such language in that language.
    """
    return _clean(_locale(lang).languages.get(language), f"language {language!r}", lang)


def city_name(zone: str, lang: str) -> str:
    """Name of the exemplar city of a time zone in a language; the last part of the zone id where CLDR has no other.

    >>> city_name("Asia/Phnom_Penh", "en"), city_name("Asia/Phnom_Penh", "ru")
    ('Phnom Penh', 'Пномпень')
    """
    entry = _locale(lang).time_zones.get(zone) or {}
    return _clean(entry.get("city") or zone.rsplit("/", 1)[-1].replace("_", " "), f"time zone {zone!r}", lang)


def cldr_version() -> str:
    """Version of the CLDR data in the Babel that is installed, "unknown" if it doesn't say."""
    return str(get_global("cldr").get("version", "unknown"))


@cache
def _locale(lang: str) -> Locale:
    return Locale(lang)


def _clean(name: str | None, what: str, lang: str) -> str:
    if not name:
        raise InputError(f"CLDR has no name in {lang!r} for the {what}")
    return name.replace(SOFT_HYPHEN, "")


def continent(country: str) -> str:
    """The part of the world that a country's time zones are named after, by CLDR; "" where it is unknown.

    >>> continent("FR"), continent("ZW"), continent("?")
    ('Europe', 'Africa', '')
    """
    zones = [zone.split("/")[0] for zone, home in get_global("zone_territories").items() if home == country]
    return max(sorted(set(zones)), key=zones.count) if zones else ""
