"""The official language of a country: 43 countries and 11 languages to choose from, asked in 26 languages.

A second fact about countries, from the same CLDR data and on the same cards, but with few answers that many countries
share: where `capitals` asks for a name that belongs to one country, this asks for a class. Currencies would be the
other candidate, but CLDR's names of most of them name the country ("Mexican Peso"): the prompt would hold the answer.

A country is in only if CLDR gives it exactly one language with official (or de facto official) status, nobody disputes
that, and its name doesn't give the language away in any of the languages (so that France, Japan or Saudi Arabia are
out). At most eight countries share a language, so that a model that always says "Spanish" gains little. `OMITTED` says
why others are left out.

Options can begin alike (Vietnamese "Tiếng Anh", "Tiếng Pháp"; Swahili "Ki..."), and a name can be several words: score
whole options, never the first token alone.

>>> pair = OFFICIAL_LANGUAGES_TASK.pairs("en", "zh", n_options=2)[0]
>>> pair.source.endswith(". Official language:"), pair.target.endswith("。官方语言：")
(True, True)
"""

from __future__ import annotations

from xtl.tasks.cards import CountryCards, codes
from xtl.tasks.names import language_name

COUNTRIES: dict[str, tuple[str, ...]] = {
    "ar": ("BH", "EG", "JO", "KW", "OM", "QA", "SY", "YE"),
    "ca": ("AD",),
    "de": ("AT",),
    "dz": ("BT",),
    "en": ("AU", "BS", "GH", "GM", "JM", "LR", "US", "ZM"),
    "es": ("AR", "CL", "CO", "CR", "CU", "HN", "MX", "VE"),
    "fa": ("IR",),
    "fr": ("BJ", "CD", "CI", "GA", "GN", "MC", "TG"),
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
    "CLDR gives it several official languages": codes(
        "AF BE BO BW CA CH CM CY DZ EC FI HT IE IL IN KE KZ LI LK LU MA MG NG NO NZ PE PH PK PY RW SG SN SO TN TW UA "
        "UG ZW"
    ),
    "the name of the country gives the language away, in some language": codes(
        "AE AL AM BD BG CN CZ DE DK DO ES FR GB GE GR HR HU ID IS IT JP KH KP KR LA LT LV MK MM MN MV MY NI NL NP PL "
        "PT RO RU SA SE SI SK TH TJ TM TR VN ZA"
    ),
    "the law has lately changed, or the language or its name is disputed": codes("BF ET MD ML NE PS XK"),
    "enough others share the language": codes("BB BZ CG GT GY IQ LB LY MR NA PA SL SS SV TT UY VA"),
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
