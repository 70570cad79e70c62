"""The names in the tasks: complete, in the right script, clean, right where checked by hand, and no give-away."""

import difflib
import unicodedata

import pytest
from babel.languages import get_official_languages

from xtl.errors import InputError
from xtl.tasks import capitals, official_languages
from xtl.tasks.capitals import CAPITALS, CAPITALS_TASK
from xtl.tasks.names import city_name, cldr_version, country_name, language_name
from xtl.tasks.official_languages import COUNTRIES, OFFICIAL_LANGUAGES, OFFICIAL_LANGUAGES_TASK
from xtl.tasks.templates import LANGUAGES

TASKS = [CAPITALS_TASK, OFFICIAL_LANGUAGES_TASK]
SCRIPTS = {
    "ru": "CYRILLIC", "uk": "CYRILLIC", "bg": "CYRILLIC", "el": "GREEK", "he": "HEBREW", "ar": "ARABIC", "fa": "ARABIC",
    "ur": "ARABIC", "hi": "DEVANAGARI", "bn": "BENGALI", "th": "THAI", "zh": "CJK", "ja": "KATAKANA CJK HIRAGANA",
    "ko": "HANGUL",
}  # fmt: skip
AFFIXES = {
    "zh": ("", "语"),
    "ja": ("", "語"),
    "ko": ("", "어"),
    "vi": ("tiếng ", ""),
    "sw": ("ki", ""),
    "ar": ("ال", ""),
}
DENSE = {"zh", "ja", "ko"}  # a character is a syllable or a word there: one shared can give the answer away


def names_in(task, lang):
    """Every name that the task writes in a language: of countries and of answers."""
    return [country_name(c, lang) for c in task.answers] + [task.answer_name(k, lang) for k in task.answers.values()]


def letters(name, lang):
    """A name without case, accents, vowel signs and spaces, and without the affix that all names of its kind share."""
    before, after = AFFIXES.get(lang, ("", ""))
    name = unicodedata.normalize("NFD", name.casefold().removeprefix(before).removesuffix(after))
    kept = (c for c in name if unicodedata.category(c) not in {"Mn", "Mc"} and not c.isspace())
    return unicodedata.normalize("NFC", "".join(kept))


def gives_away(country, answer, lang):
    """Whether a good part of the answer can be copied from the country's name."""
    a, b = letters(country, lang), letters(answer, lang)
    run = difflib.SequenceMatcher(None, a, b, autojunk=False).find_longest_match().size
    return run >= 4 or (run > 0.6 * len(b) and (run >= 3 or lang in DENSE))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_names_are_complete_and_in_the_script_of_the_language(task, lang):
    for name in names_in(task, lang):
        assert name
        for char in name:
            if char.isalpha():
                script = unicodedata.name(char).split()[0]
                assert script in SCRIPTS.get(lang, "LATIN").split() or char in "ʼー", (lang, name)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_names_hold_no_notes_abbreviations_or_layout(task, lang):
    for name in names_in(task, lang):
        assert name == " ".join(name.split())
        assert not set(name) & set("()[]{}（）/_.:：;,。\u00ad\u200b\u200e\u200f"), (lang, name)
        assert "о-ва" not in name, (lang, name)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_country_gives_its_answer_away(task, lang):
    for country, key in task.answers.items():
        assert not gives_away(country_name(country, lang), task.answer_name(key, lang), lang), (lang, country)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_wrong_option_can_be_copied_from_a_country(lang):
    """A capital that begins with, or is the beginning of, another country's name would draw a model that copies."""
    for task in TASKS:
        answers = {task.answer_name(key, lang).casefold() for key in task.answers.values()}
        for country in task.answers:
            name = country_name(country, lang).casefold()
            clash = {answer for answer in answers if answer.startswith(name) or name.startswith(answer)}
            assert not clash, (lang, country, clash)


def test_the_reasons_for_leaving_a_country_out_hold():
    for country in official_languages.OMITTED["CLDR gives it several official languages, or one in two scripts"]:
        assert len(get_official_languages(country, de_facto=True)) > 1, country
    for country in official_languages.OMITTED["the name of the country gives the language away, in some language"]:
        (language,) = get_official_languages(country, de_facto=True)
        names = [(country_name(country, lang), language_name(language, lang), lang) for lang in LANGUAGES]
        assert any(gives_away(*triple) for triple in names), country


@pytest.mark.parametrize("module", [capitals, official_languages], ids=["capitals", "official_languages"])
def test_no_country_is_both_in_and_out_or_out_twice(module):
    kept = CAPITALS if module is capitals else OFFICIAL_LANGUAGES
    everything = [*kept, *(country for countries in module.OMITTED.values() for country in countries)]
    assert len(set(everything)) == len(everything)


def test_both_tasks_account_for_the_same_world():
    """The 193 members of the United Nations, the Vatican, Kosovo, Palestine, Taiwan and Western Sahara."""
    worlds = [
        {*kept, *(country for countries in omitted.values() for country in countries)}
        for kept, omitted in [(CAPITALS, capitals.OMITTED), (OFFICIAL_LANGUAGES, official_languages.OMITTED)]
    ]
    assert worlds[0] == worlds[1]
    assert len(worlds[0]) == 193 + 5


def test_capitals_are_on_every_continent():
    regions = {zone.split("/")[0] for zone in CAPITALS.values()}
    assert regions >= {"Europe", "Asia", "Africa", "America", "Pacific"}


def test_a_language_is_the_only_official_one_in_cldr():
    for country, language in OFFICIAL_LANGUAGES.items():
        assert get_official_languages(country, de_facto=True) == (language,), country


def test_no_language_is_the_answer_too_often():
    assert max(len(countries) for countries in COUNTRIES.values()) == 8
    assert sum(len(countries) for countries in COUNTRIES.values()) == len(OFFICIAL_LANGUAGES)


@pytest.mark.parametrize(
    ("country", "lang", "capital"),
    [
        ("FR", "en", "Paris"), ("FR", "ru", "Париж"), ("FR", "zh", "巴黎"), ("FR", "ja", "パリ"), ("FR", "ar", "باريس"),
        ("FR", "el", "Παρίσι"), ("FR", "ko", "파리"), ("FR", "th", "ปารีส"), ("JP", "zh", "东京"), ("JP", "de", "Tokio"),
        ("JP", "hi", "टोक्यो"), ("DE", "he", "ברלין"), ("DE", "bn", "বার্লিন"), ("GB", "fr", "Londres"),
        ("GB", "tr", "Londra"), ("IT", "pl", "Rzym"), ("EG", "es", "El Cairo"), ("EG", "ar", "القاهرة"),
        ("EG", "id", "Kairo"), ("UA", "uk", "Київ"), ("AT", "it", "Vienna"), ("AT", "bg", "Виена"),
        ("KR", "ja", "ソウル"),
        ("IR", "fa", "تهران"), ("BD", "ur", "ڈھاکہ"), ("PT", "pt", "Lisboa"), ("HU", "ro", "Budapesta"),
        ("PE", "ko", "리마"), ("RU", "vi", "Mát-xcơ-va"), ("KH", "sw", "Phnom Penh"), ("IS", "de", "Reykjavík"),
    ],
)  # fmt: skip
def test_well_known_capitals(country, lang, capital):
    pair = next(p for p in CAPITALS_TASK.pairs("en", lang) if p.meta["country"] == country)
    assert pair.options[pair.gold].strip() == capital


@pytest.mark.parametrize(
    ("country", "lang", "language"),
    [
        ("BR", "en", "Portuguese"), ("BR", "zh", "葡萄牙语"), ("AT", "ru", "немецкий"), ("MX", "ja", "スペイン語"),
        ("EG", "fa", "عربی"), ("US", "de", "Englisch"), ("IR", "tr", "Farsça"), ("CI", "sw", "Kifaransa"),
        ("SM", "el", "Ιταλικά"), ("SR", "fr", "néerlandais"), ("AD", "es", "catalán"), ("MZ", "hi", "पुर्तगाली"),
    ],
)  # fmt: skip
def test_well_known_official_languages(country, lang, language):
    pair = next(p for p in OFFICIAL_LANGUAGES_TASK.pairs("en", lang) if p.meta["country"] == country)
    assert pair.options[pair.gold].strip() == language


def test_a_name_that_cldr_does_not_have_is_an_error():
    with pytest.raises(InputError, match="no name in 'en' for the country 'Q1'"):
        country_name("Q1", "en")
    with pytest.raises(InputError, match="no name in 'en' for the language 'q1'"):
        language_name("q1", "en")


def test_soft_hyphens_are_dropped():
    assert city_name("Atlantic/Reykjavik", "de") == "Reykjavík"


def test_pairs_say_which_cldr_their_names_are_from():
    assert cldr_version()[0].isdigit()
    assert CAPITALS_TASK.pairs("en", "es", limit=1)[0].meta["cldr"] == cldr_version()
