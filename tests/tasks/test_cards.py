"""Language codes, numbers and cards: what goes in and what is refused."""

import pytest

from xtl.errors import InputError, check_whole
from xtl.tasks import normalise_language
from xtl.tasks.base import check_seed
from xtl.tasks.templates import CARDS, FIELDS, LANGUAGES, card_option, card_prompt


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("en", "en"), ("EN", "en"), ("eng", "en"), ("en-US", "en"), ("en_GB", "en"), (" en ", "en"), ("en.UTF-8", "en"),
        ("zh", "zh"), ("zh-CN", "zh"), ("zh_Hans", "zh"), ("zh-Hans-SG", "zh"), ("ZHO", "zh"), ("cmn", "zh"),
        ("chi", "zh"),
        ("pt-BR", "pt"), ("pt_PT", "pt"), ("es-419", "es"), ("iw", "he"), ("in", "id"), ("swh", "sw"), ("arb", "ar"),
        ("pes", "fa"), ("ell", "el"), ("deu", "de"), ("ger", "de"), ("hi-Deva", "hi"), ("rus", "ru"), ("vie", "vi"),
        ("IN-ID", "id"),
    ],
)  # fmt: skip
def test_a_language_is_known_in_many_forms(code, meant):
    assert normalise_language(code, LANGUAGES) == meant


def test_every_valid_code_means_itself():
    assert [normalise_language(code, LANGUAGES) for code in LANGUAGES] == list(LANGUAGES)


@pytest.mark.parametrize(
    "code", ["xx", "english", "", "  ", "_", "e", "12", None, 3, ["en"], "ta", "de--", "und", "und-Latn"]
)
def test_what_is_no_language_of_the_task_is_an_error_that_lists_the_valid_ones(code):
    with pytest.raises(InputError, match=r"unknown target_lang .*valid: en, hi, zh$"):
        normalise_language(code, ["en", "hi", "zh"], "target_lang")


@pytest.mark.parametrize("code", ["zh-TW", "zh_Hant", "zh-HK", "hi-Latn"])
def test_another_script_is_an_error_that_says_so(code):
    with pytest.raises(InputError, match=r"is written in the script (Hant|Latn), but (zh|hi) is given in"):
        normalise_language(code, ["en", "hi", "zh"])


def test_a_task_may_offer_a_script_by_its_full_code():
    assert normalise_language("zh_Hant", ["en", "zh_Hant"]) == "zh_Hant"


@pytest.mark.parametrize("value", [0, 9, 2.0, "3", None, True])
def test_a_count_is_a_whole_number_in_range(value):
    with pytest.raises(InputError, match="n must be a whole number from 1 to 8, got"):
        check_whole("n", value, 1, 8)


def test_old_codes_of_yiddish_and_indonesian_are_known():
    assert [normalise_language(code, ["id", "yi"]) for code in ("ji", "in")] == ["yi", "id"]


@pytest.mark.parametrize("value", [1.5, "a", True, [1]])
def test_a_seed_is_a_whole_number_or_none(value):
    with pytest.raises(InputError, match=r"seed must be a whole number, got .*; None keeps the order of the data"):
        check_seed(value)
    assert [check_seed(seed) for seed in (None, 0, -3)] == [None, 0, -3]


def test_cards_are_alike_in_every_language():
    for lang, field in [(lang, field) for lang in LANGUAGES for field in FIELDS]:
        card = CARDS[lang]
        prompt = card_prompt("X", field, lang)
        assert prompt == f"{card.country}{card.colon}X{card.stop}{getattr(card, field)}{card.colon.rstrip()}"
        assert (
            prompt + card_option("Y", lang)
            == f"{card.country}{card.colon}X{card.stop}{getattr(card, field)}{card.colon}Y"
        )


def test_labels_of_a_language_differ_and_hold_no_punctuation():
    for card in CARDS.values():
        labels = (card.country, card.capital, card.official_language)
        assert len(set(labels)) == 3
        assert all(label == label.strip() and not set(label) & set(":：.。।۔") for label in labels)


def test_a_card_refuses_what_it_does_not_know():
    with pytest.raises(InputError, match="unknown language 'xx'"):
        card_prompt("X", "capital", "xx")
    with pytest.raises(InputError, match=r"unknown field 'currency'.*capital, official_language"):
        card_prompt("X", "currency", "en")
    with pytest.raises(InputError, match="template must be a whole number from 0 to 1"):
        card_prompt("X", "capital", "en", template=2)
    with pytest.raises(InputError, match="unknown language 'xx'"):
        card_option("X", "xx")
