from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scoring.languages import LABELS
from xtl.scoring.normalise import fold, tokens, words

ANY_LABEL = st.sampled_from([label for labels in LABELS.values() for label in labels])


@given(st.text())
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_unicode_normal_form_does_not_matter(text: str, form: str) -> None:
    assert fold(unicodedata.normalize(form, text)) == fold(text)


@given(st.lists(ANY_LABEL).map(" ".join))
def test_case_does_not_matter_in_any_language(text: str) -> None:
    assert fold(text.upper()) == fold(text.lower()) == fold(text)


def test_turkish_capitals_fold_to_their_small_letters() -> None:
    assert fold("TARAFSIZ") == fold("tarafsız")
    assert fold("İSTANBUL") == fold("istanbul")


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "\u3000", "\u2009", "\t"])
def test_every_space_is_a_space(space: str) -> None:
    assert fold(f"(1){space}x") == "(1) x"


@pytest.mark.parametrize("digits", ["١٢٣", "۱۲۳", "१२३", "๑๒๓", "１２３", "১২৩"])
def test_digits_of_every_script_are_digits(digits: str) -> None:
    assert fold(digits) == "123"


@pytest.mark.parametrize("invisible", ["\u200b", "\u200f", "\u202b", "\ufeff", "\u00ad", "\ufffd", "\ufe0f"])
def test_what_shows_nothing_is_dropped(invisible: str) -> None:
    assert fold(f"a{invisible}b") == "ab"


def test_accents_that_make_another_word_stay() -> None:
    assert fold("ma") != fold("mà") != fold("má")
    assert fold("निहित") != fold("नहत")


@given(st.text())
def test_tokens_lose_nothing_but_spaces(text: str) -> None:
    folded = fold(text)
    assert "".join(token.text for token in tokens(folded)) == folded.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("中立です", ("中", "立", "で", "す")),
        ("น้ำ", ("น้ํ", "า")),
        ("в 1990г", ("в", "1990", "г")),
        ("B입니다", ("b", "입니다")),
        ("विरोधाभास है", ("विरोधाभास", "है")),
        ("2nd", ("2nd",)),
    ],
)
def test_words(text: str, expected: tuple[str, ...]) -> None:
    assert words(text) == expected


def test_a_word_after_a_line_break_is_spaced() -> None:
    assert [token.spaced for token in tokens("a\nb.c")] == [True, False, True, False, False]
