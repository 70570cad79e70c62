"""The capital of a country: 81 countries on all continents, in 26 languages, with no data file.

Names come from CLDR alone (see `xtl.tasks.names`). `CAPITALS` gives, for each country, the time zone whose exemplar
city is its capital. A country is in only if all of this holds, and `OMITTED` says which of it fails for the others:

- CLDR has a zone for the capital itself, and a good name of it in *every* language, so that all languages ask the same;
- which city is the capital, and whose, is not in doubt;
- the name of the country doesn't give the answer away, in any language: a model that copies must not score.

How good the names are: in CLDR, Swahili and Vietnamese write almost all capitals as English does, so that an option
tells nothing about the language there; Hindi has "कायरो" where "काहिरा" is more common for Cairo; Bengali and Thai
spell a few cities in unusual ways; Portuguese is Brazilian; "Kiev" or "Kyiv" is CLDR's choice in each language.

>>> len(CAPITALS_TASK), len(CAPITALS_TASK.languages)
(81, 26)
>>> pair = next(pair for pair in CAPITALS_TASK.pairs("en", "es") if pair.id == "capitals/FR")
>>> pair.source, pair.target, pair.options[pair.gold]
('Country: France. Capital:', 'País: Francia. Capital:', ' París')
"""

from __future__ import annotations

from xtl.tasks.base import codes
from xtl.tasks.cards import CountryCards
from xtl.tasks.names import city_name

CAPITALS: dict[str, str] = {
    # Europe
    "AT": "Europe/Vienna",
    "BE": "Europe/Brussels",
    "BG": "Europe/Sofia",
    "BY": "Europe/Minsk",
    "CZ": "Europe/Prague",
    "DE": "Europe/Berlin",
    "DK": "Europe/Copenhagen",
    "ES": "Europe/Madrid",
    "FI": "Europe/Helsinki",
    "FR": "Europe/Paris",
    "GB": "Europe/London",
    "GR": "Europe/Athens",
    "HR": "Europe/Zagreb",
    "HU": "Europe/Budapest",
    "IE": "Europe/Dublin",
    "IS": "Atlantic/Reykjavik",
    "IT": "Europe/Rome",
    "LI": "Europe/Vaduz",
    "LT": "Europe/Vilnius",
    "LV": "Europe/Riga",
    "MK": "Europe/Skopje",
    "NO": "Europe/Oslo",
    "PL": "Europe/Warsaw",
    "PT": "Europe/Lisbon",
    "RS": "Europe/Belgrade",
    "RU": "Europe/Moscow",
    "SE": "Europe/Stockholm",
    "UA": "Europe/Kiev",
    # Asia
    "AF": "Asia/Kabul",
    "AM": "Asia/Yerevan",
    "AZ": "Asia/Baku",
    "BD": "Asia/Dhaka",
    "BT": "Asia/Thimphu",
    "CY": "Asia/Nicosia",
    "IQ": "Asia/Baghdad",
    "IR": "Asia/Tehran",
    "JO": "Asia/Amman",
    "JP": "Asia/Tokyo",
    "KG": "Asia/Bishkek",
    "KH": "Asia/Phnom_Penh",
    "KP": "Asia/Pyongyang",
    "KR": "Asia/Seoul",
    "LA": "Asia/Vientiane",
    "NP": "Asia/Katmandu",
    "PH": "Asia/Manila",
    "SA": "Asia/Riyadh",
    "SY": "Asia/Damascus",
    "TH": "Asia/Bangkok",
    "TJ": "Asia/Dushanbe",
    "UZ": "Asia/Tashkent",
    # Africa
    "AO": "Africa/Luanda",
    "EG": "Africa/Cairo",
    "ET": "Africa/Addis_Ababa",
    "GH": "Africa/Accra",
    "GM": "Africa/Banjul",
    "GN": "Africa/Conakry",
    "LR": "Africa/Monrovia",
    "MG": "Indian/Antananarivo",
    "ML": "Africa/Bamako",
    "MR": "Africa/Nouakchott",
    "MZ": "Africa/Maputo",
    "NE": "Africa/Niamey",
    "RW": "Africa/Kigali",
    "SD": "Africa/Khartoum",
    "SL": "Africa/Freetown",
    "SN": "Africa/Dakar",
    "UG": "Africa/Kampala",
    "ZM": "Africa/Lusaka",
    "ZW": "Africa/Harare",
    # The Americas
    "AR": "America/Buenos_Aires",
    "BS": "America/Nassau",
    "CO": "America/Bogota",
    "HN": "America/Tegucigalpa",
    "HT": "America/Port-au-Prince",
    "PE": "America/Lima",
    "SR": "America/Paramaribo",
    "UY": "America/Montevideo",
    "VE": "America/Caracas",
    # Oceania
    "PG": "Pacific/Port_Moresby",
    "TV": "Pacific/Funafuti",
    "WS": "Pacific/Apia",
}
"""The time zone of each country whose exemplar city is the capital."""

OMITTED: dict[str, tuple[str, ...]] = {
    "several capitals, or a government that sits elsewhere": codes("BJ BO CI LK MM MY NL SZ TZ ZA"),
    "a capital that is moving or has lately moved": codes("BI GQ ID KZ NG"),
    "a country, border or capital whose status is contested": codes("EH IL PS TW XK YE"),
    "no zone of CLDR is named after the capital": codes(
        "AD AE AG AU BB BH BN BR BZ CA CH CM CN CR CV DM EC FJ FM GD GY IN JM KI KM KN LC MA MT MU MV MW NR NZ PK PW "
        "QA SB SC ST SV TO TR US VC VN VU"
    ),
    "the country gives the capital away, in some language": codes(
        "BA CD CG CL DJ DO DZ GT GW KW LU MC ME MX NI PA SG SM TN VA"
    ),
    "a capital that reads like another country, in some language": codes("CU OM RO SK SS TT"),
    "CLDR has a note, an abbreviation, a zone id or a doubtful spelling, in some language": codes(
        "AL BF BW CF EE ER GA GE KE LB LS LY MD MH MN NA PY SI SO TD TG TL TM"
    ),
}
"""Countries that are left out on purpose, by reason."""

CAPITALS_TASK = CountryCards(
    name="capitals",
    description="Name the capital of a country, given on a card (names from CLDR).",
    field="capital",
    answers=CAPITALS,
    answer_name=city_name,
)
"""The task."""
