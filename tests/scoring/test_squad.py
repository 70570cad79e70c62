from __future__ import annotations

import re
import string
import unicodedata

import pytest
from babel.core import get_global
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.scoring.languages import LABELS
from xtl.errors import InputError
from xtl.pairs import ParallelPair
from xtl.scoring.paper import PAPER
from xtl.scoring.squad import ARTICLES, CONTAINS, EM, F1, answer_lines, answer_words, contains, exact_match, f1

LANGS = st.sampled_from([*LABELS, *ARTICLES, "zh-CN", None])
WORDS = [label for labels in LABELS.values() for label in labels] + [
    word for text in ARTICLES.values() for word in text.split()
]
TEXTS = st.one_of(
    st.text(min_size=1),
    st.lists(st.sampled_from([*WORDS, ".", "–", "1990", "１９", "l'eau", "الماء"]), min_size=1).map(" ".join),
)
TEXTS = TEXTS.filter(str.strip)


@given(TEXTS, TEXTS, LANGS)
def test_scores_are_between_0_and_1_and_exact_match_is_the_hardest(said: str, answer: str, lang: str | None) -> None:
    exact, shared, inside = (score(said, [answer], lang) for score in (exact_match, f1, contains))
    assert 0 <= exact <= shared <= 1
    assert exact <= inside
    assert inside <= (shared > 0)


@given(TEXTS, LANGS)
def test_the_answer_itself_scores_1(text: str, lang: str | None) -> None:
    shown = bool(answer_words(text, lang))  # not only characters that show nothing
    assert exact_match(text, [text], lang) == f1(text, [text], lang) == contains(text, [text], lang) == shown


@given(TEXTS, TEXTS, LANGS)
def test_f1_is_symmetric(one: str, other: str, lang: str | None) -> None:
    assert f1(one, [other], lang) == f1(other, [one], lang)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), LANGS)
def test_the_best_answer_counts(said: str, answers: list[str], lang: str | None) -> None:
    for score in (exact_match, f1, contains):
        assert score(said, answers, lang) == max(score(said, [answer], lang) for answer in answers)


@given(
    st.sampled_from(WORDS),
    LANGS,
    st.sampled_from([str.upper, str.lower, lambda text: unicodedata.normalize("NFD", text)]),
)
def test_case_and_normal_form_do_not_matter(word: str, lang: str | None, change) -> None:
    assert exact_match(change(word), [word], lang) == 1


@pytest.mark.parametrize(
    ("lang", "said", "answer", "exact", "shared"),
    [
        ("en", "The Eiffel Tower!", "eiffel tower", 1, 1),
        ("en", "in July 1990", "July 1990", 0, 0.8),
        ("en", "The Who", "Who", 1, 1),
        ("en", "The", "A", 0, 0),  # nothing but articles: as they are
        ("de", "der Elektrostatischen Kraft.", "elektrostatischen Kraft", 1, 1),
        ("de", "Straße", "STRASSE", 1, 1),
        ("fr", "l’eau", "eau", 1, 1),
        ("it", "un'isola", "isola", 1, 1),
        ("es", "el río", "río", 1, 1),
        ("en", "el río", "río", 0, 2 / 3),  # not an article there
        ("el", "ΤΟ ΠΟΤΑΜΙ", "το ποτάμι", 1, 1),
        ("tr", "İSTANBUL", "istanbul", 1, 1),
        ("tr", "ısı", "ISI", 1, 1),
        ("ar", "الماء", "ماء", 1, 1),
        ("ar", "١٩٩٠", "1990", 1, 1),
        ("hi", "१९९० में", "1990 में", 1, 1),
        ("ru", "В 1990 году", "1990", 0, 0.5),
        ("zh", "第 49 届。", "第49届", 1, 1),
        ("zh", "静电力", "静电", 0, 0.8),
        ("zh-CN", "ＡＦＣ冠军", "AFC 冠军", 1, 1),
        ("ja", "東京タワー", "東京", 0, 4 / 7),
        ("th", "กรุงเทพ", "กรุงเทพ", 1, 1),
        ("sw", "mto wa Nile", "Mto wa Nile.", 1, 1),
        ("ta", "சென்னை", "சென்னை.", 1, 1),
        ("vi", "của Việt Nam", "Việt Nam", 1, 1),
        ("vi", "ma", "má", 0, 0),  # another word
        (None, "23-16", "23–16", 1, 1),
        (None, "%", "%", 1, 1),
        (None, "%", "$", 0, 0),
    ],
)
def test_languages(lang: str | None, said: str, answer: str, exact: float, shared: float) -> None:
    assert exact_match(said, [answer], lang) == exact
    assert f1(said, [answer], lang) == pytest.approx(shared)


@given(st.sampled_from(sorted(get_global("language_aliases").items())), TEXTS)
def test_the_form_of_the_language_code_does_not_matter(codes: tuple[str, str], text: str) -> None:
    other, usual = codes
    for code in (other, other.upper(), f"{other}-XX", f"{other}_XX"):
        assert answer_words(text, code) == answer_words(text, usual)


@pytest.mark.parametrize("lang", ["deu", "ger", "DEU-AT", "de_AT"])
def test_articles_are_removed_whatever_the_form_of_the_language_code(lang: str) -> None:
    pair = ParallelPair("s", "t", "eng", lang, answer=" der Rhein")
    assert EM.rate("Rhein", pair) == F1.rate("Rhein", pair) == 1


def test_an_answer_inside_another_word_is_not_contained() -> None:
    assert contains("like this", ["K"], "en") == 0
    assert contains("the letter K is", ["K"], "en") == 1


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ("\n\n Paris\nQuestion: Rome?", ("Paris",)),
        ("Paris. It is big. Very.", ("Paris. It is big. Very.", "Paris.")),
        ("巴黎。它很大", ("巴黎。它很大", "巴黎。")),
        ("23.5 m", ("23.5 m",)),
        ("पेरिस। यह", ("पेरिस। यह", "पेरिस।")),
        ("", ("",)),
        (" \n ", ("",)),
    ],
)
def test_the_answer_is_cut_from_what_the_model_wrote_after_it(output: str, lines: tuple[str, ...]) -> None:
    assert answer_lines(output) == lines


@given(TEXTS, TEXTS)
def test_later_lines_do_not_matter(output: str, chatter: str) -> None:
    pair = ParallelPair("s", "t", "en", "de", answers=["Neutral"])
    for score in (EM, F1, CONTAINS):
        assert score.rate(f"{output}\n{chatter}", pair) == score.rate(output, pair)
        assert score.rate("Neutral\n" + chatter, pair) == 1


def test_a_full_stop_may_belong_to_the_answer() -> None:
    pair = ParallelPair("s", "t", "s", "en", answers=["Dr. King"])
    assert EM.rate("Dr. King", pair) == 1
    assert EM.rate("Dr. King was there", pair) == 0
    assert F1.rate("Dr. King was there", pair) == pytest.approx(2 / 3)


def test_one_answer_will_do_and_none_is_refused() -> None:
    assert EM.rate("x", ParallelPair("s", "t", answer=" x")) == 1
    for score in (EM, F1, CONTAINS):
        for pair in (ParallelPair("s", "t"), ParallelPair("s", "t", answer=" ")):
            with pytest.raises(InputError, match=f"score '{score.name}' needs a pair with answers"):
                score.rate("x", pair)


def test_the_space_that_joins_prompt_and_answer_is_no_part_of_the_answer() -> None:
    pair = ParallelPair("s", "t", answer=" Paris")
    for score in (EM, F1, CONTAINS, PAPER["xquad"], PAPER["mkqa"]):
        assert score.rate("Paris", pair) == 1


ENGLISH = st.lists(
    st.text(string.ascii_letters + string.digits + "-.,'!", min_size=1, max_size=6), min_size=1, max_size=5
)
ENGLISH = ENGLISH.map(" ".join)


@given(ENGLISH, st.lists(ENGLISH, min_size=1, max_size=3), st.sampled_from(["", "the ", "A "]))
def test_english_agrees_with_torchmetrics(said: str, answers: list[str], article: str) -> None:
    text = pytest.importorskip("torchmetrics.functional.text")
    nothing = {
        "",
        "a",
        "an",
        "the",
    }  # what is nothing but articles and signs is compared as it is; torchmetrics compares ""
    assume(not any(set(re.sub(r"[^a-z0-9 ]", "", one.lower()).split(" ")) <= nothing for one in (said, *answers)))
    said = article + said
    target = {"id": "1", "answers": {"text": answers, "answer_start": [0] * len(answers)}}
    reference = text.squad([{"id": "1", "prediction_text": said}], [target])
    assert exact_match(said, answers, "en") * 100 == reference["exact_match"].item()
    assert f1(said, answers, "en") * 100 == pytest.approx(reference["f1"].item(), abs=1e-3)
