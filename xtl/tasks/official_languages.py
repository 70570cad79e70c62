"""The official language of a country: 42 countries and 11 languages to choose from, asked in 26 languages.

A second fact about countries, from the same CLDR data and on the same cards, but with few answers that many countries
share: where `capitals` asks for a name that belongs to one country, this asks for a class. Currencies would be the
other candidate, but CLDR's names of most of them name the country ("Mexican Peso"): the prompt would hold the answer.

A country is in only if CLDR gives it exactly one language with official (or de facto official) status, nobody disputes
that, and its name doesn't give the language away in any of the languages (so that France, Japan or Saudi Arabia are
out). At most eight countries share a language, so that a model that always says "Spanish" gains little. `OMITTED` says
why others are left out.

Options can begin alike (Vietnamese "Tiếng Anh", "Tiếng Pháp"; Swahili "Ki..."), and a name can be several words: score
whole options, never the first token alone.

>>> len(OFFICIAL_LANGUAGES_TASK), len(COUNTRIES)
(42, 11)
>>> pair = OFFICIAL_LANGUAGES_TASK.pairs("en", "zh", n_options=2)[0]
>>> pair.source.endswith(". Official language:"), pair.target.endswith("。官方语言：")
(True, True)
"""

from __future__ import annotations

from xtl.tasks.base import codes
from xtl.tasks.cards import CountryCards
from xtl.tasks.names import language_name

COUNTRIES: dict[str, tuple[str, ...]] = {
    "ar": ("BH", "EG", "JO", "KW", "OM", "QA", "SY", "YE"),
    "ca": ("AD",),
    "de": ("AT",),
    "dz": ("BT",),
    "en": ("AU", "BS", "GH", "GM", "JM", "LR", "US", "ZM"),
    "es": ("AR", "CL", "CO", "CR", "CU", "HN", "MX", "VE"),
    "fa": ("IR",),
    "fr": ("BJ", "CI", "GA", "GN", "MC", "TG"),
    "it": ("SM",),
    "nl": ("SR",),
    "pt": ("AO", "BR", "CV", "GW", "MZ", "ST"),
}
"""The countries of each language."""

OFFICIAL_LANGUAGES: dict[str, str] = {
    country: language for language, countries in COUNTRIES.items() for country in countries
}
"""The one official language of each country."""

OMITTED: dict[str, tuple[str, ...]] = {
    "CLDR gives it several official languages, or one in two scripts": codes(
        "AF AZ BA BE BI BN BO BW BY CA CF CH CM CY DJ DZ EC ER FI FJ GQ HT IE IL IN KE KG KI KM KZ LI LK LS LU MA MG "
        "MH MT MU MW NG NO NR NZ PE PG PH PK PW PY RS RW SC SD SG SN SO SZ TD TL TN TO TV TW TZ UA UG UZ VU WS ZW"
    ),
    "the name of the country gives the language away, in some language": codes(
        "AE AL AM BD BG CN CZ DE DK DO EE ES FR GB GE GR HR HU ID IS IT JP KH KP KR LA LT LV MK MM MN MV MY NI NL "
        "NP PL PT RO RU SA SE SI SK TH TJ TM TR VN ZA"
    ),
    "the law has lately changed, or the language, its name or the country is disputed": codes(
        "BF EH ET MD ME ML NE PS XK"
    ),
    "its name comes with a note, in some language": codes("CD"),
    "enough others share the language": codes(
        "AG BB BZ CG DM FM GD GT GY IQ KN LB LC LY MR NA PA SB SL SS SV TT UY VA VC"
    ),
}
"""Countries that are left out on purpose, by reason."""

OFFICIAL_LANGUAGES_TASK = CountryCards(
    name="official_languages",
    description="Name the official language of a country, given on a card (names from CLDR).",
    field="official_language",
    answers=OFFICIAL_LANGUAGES,
    answer_name=language_name,
)
"""The task."""
