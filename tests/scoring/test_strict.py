from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scoring.languages import LABELS, LETTERS, NUMBERS, question
from xtl.errors import InputError
from xtl.pairs import ParallelPair
from xtl.scoring.cues import DENIALS, LEADS, NAMES, denials
from xtl.scoring.strict import STRICT, choose

LANGS = st.sampled_from(sorted(LABELS))
PLACES = st.integers(0, 2)
FORMS = [
    "({tag})",
    "{tag}",
    "{tag})",
    "{tag}.",
    "[{tag}]",
    "**{tag}**",
    "（{tag}）",
    "Option {tag}",
    "The answer is {tag}.",
]
FORMS += [
    "答案是{tag}",
    "Ответ: {tag}",
    "- {tag}",
    "“{tag}”",
    "\\boxed{{{tag}}}",
    "{tag}: {label}",
    "({tag}) {label}",
    "{tag}. {label}",
]
FORMS += [
    "{label}",
    "Answer: {label}.",
    "«{label}»",
    "{label} ({tag})",
    "\n\n {tag}\n",
    "{tag}\u00a0{label}",
    "{tag}、{label}",
]
CHATTER = [
    "",
    ".",
    "\n\nHuman: what else?",
    "\n\nBecause it is so.",
    "\n助手：如果",
    "\nHope that helps!",
    "\n\n(1) (2) (3) (A) (B)",
]
CHANGES = [
    str.upper,
    str.lower,
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: unicodedata.normalize("NFKC", text),
]
CHANGES += [lambda text: text.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F) if chr(code) not in "*_`"})]
PIECES = st.sampled_from(
    [
        *"ABCD123",
        "(",
        ")",
        "(A)",
        "(2)",
        "（B）",
        " ",
        "\n",
        ".",
        ",",
        " or ",
        "not ",
        "is ",
        ":",
        "Б",
        "В",
        "ب",
        "二",
        "*",
    ]
    + [label for labels in LABELS.values() for label in labels]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=8).map("".join))


@given(LANGS, PLACES, st.sampled_from(FORMS), st.sampled_from(CHATTER), st.sampled_from([NUMBERS, LETTERS]))
def test_every_common_form_is_read_in_every_language(
    lang: str, place: int, form: str, chatter: str, options: tuple[str, ...]
) -> None:
    output = form.format(tag=options[place].strip(" ()"), label=LABELS[lang][place]) + chatter
    assert choose(output, question(lang, options=options)) == place


@given(LANGS, TEXTS, st.sampled_from(CHANGES), st.sampled_from([NUMBERS, LETTERS]))
def test_case_width_and_normal_form_do_not_matter(lang, output, change, options) -> None:
    if change in (str.upper, str.lower) and not set(output) <= set("".join(map("".join, LABELS.values()))):
        output = "".join(char for char in output if change(char).casefold() == char.casefold())
    assert choose(change(output), question(lang, options=options)) == choose(output, question(lang, options=options))


@given(LANGS, TEXTS, PLACES)
def test_a_rating_is_0_or_1_and_right_for_one_gold_at_most(lang: str, output: str, gold: int) -> None:
    ratings = [STRICT.rate(output, question(lang, place)) for place in range(3)]
    assert set(ratings) <= {0.0, 1.0}
    assert sum(ratings) <= 1
    assert ratings[gold] == (choose(output, question(lang)) == gold)


@given(LANGS, TEXTS, st.permutations(range(3)), st.sampled_from([NUMBERS, LETTERS]))
def test_the_order_of_options_does_not_matter(lang, output, order, options) -> None:
    pair = question(lang, options=options)
    shuffled = replace(pair, options=[options[k] for k in order], labels=[LABELS[lang][k] for k in order])
    chosen = choose(output, shuffled)
    assert choose(output, pair) == (None if chosen is None else order[chosen])


@given(LANGS, PLACES, PLACES)
def test_two_options_at_once_are_no_answer(lang: str, one: int, other: int) -> None:
    label = LABELS[lang][other]
    outputs = [
        f"({one + 1}) ({other + 1})",
        f"{one + 1} or {other + 1}",
        f"{one + 1}/{other + 1}",
        f"({one + 1}) {label}",
    ]
    outputs += [
        f"{one + 1} and ({other + 1})",
        f"(The answer is {one + 1}, {other + 1}",
        f"{LABELS[lang][one]}, {label}",
    ]
    for output in outputs:
        assert choose(output, question(lang)) == (one if one == other else None), output


@given(LANGS, PLACES)
def test_a_list_of_the_options_is_no_answer(lang: str, gold: int) -> None:
    for tag in ("({})", "{})", "{}."):
        listed = "\n".join(f"{tag.format(k + 1)} {label}" for k, label in enumerate(LABELS[lang]))
        assert STRICT.rate("\n" + listed, question(lang, gold)) == 0


OPINION = ParallelPair(
    "s", "t", options=(" (A)", " (B)", " (C)", " (D)"), labels=("Very good", "Good", "Don't know", "5"), gold=1
)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("The answer is B because it is so", 1),
        ("B because", 1),
        ("B.Good", 1),
        ("Bです", 1),
        ("B입니다", 1),
        ("B seçeneği", 1),
        ("Б", 1),
        ("(ب)", 1),
        ("(बी)", 1),
        ("乙", 1),
        ("Β", 1),  # Greek
        ("(В) Good", 1),  # the label decides
        ("(В)", None),  # Cyrillic: third letter, or B
        ("very good", 0),
        ("Good (A)", None),
        ("good, don't know", None),
        ("5", 3),
        ("(D) 5", 3),
        ("Jibu ni (B)", 1),
        ("Jibu sahihi ni (B) Good, never", 1),
        ("Jibu ni Good", 1),
        ("Jibu ni B kwa sababu", 1),
        ("Ni A ni B", None),  # Spanish and French "neither", for one who doesn't know the language
        ("B，因为他", 1),
        ("答案是B，因为他", 1),
        ("B：因为他", 1),
        ("B.なぜなら", 1),
        ("คำตอบคือ B,เพราะ", 1),
        ("La respuesta correcta es la B", 1),
        ("La réponse est la B.", 1),
        ("Η σωστή απάντηση είναι η B", 1),
        ("A resposta é a B", 1),
        ("A resposta é a A", 0),
        ("Die Antwort ist die B", 1),
        ("La respuesta no es la B", None),
        ("A resposta", None),
        ("A B", None),
        ("ไม่ใช่ (B)", None),
        ("คำตอบไม่ใช่ข้อ A ข้อ B", 1),
        ("A or people or (B)", 1),
        ("U.S.", None),
        ("is not (A) but (B)", 1),
        ("不是A，是B", 1),
        ("B. (A) is wrong", 1),
        ("(B)\n\n(A) is wrong", 1),
        ("A or (B)", None),
        ("A good one", None),
        ("B.C. 300", None),
        ("B,в", None),
        ("A.I. is", None),
        ("B-52 bombers", None),
        ("B's", None),
        ("Bad", None),
        ("E", None),
        ("2", None),
        ("", None),
        ("\n \n", None),
        ("goods", None),
    ],
)
def test_lettered_options(output: str, expected: int | None) -> None:
    assert choose(output, OPINION) == expected


def test_no_word_both_leads_to_an_answer_and_denies_it() -> None:
    assert not (LEADS | NAMES) & DENIALS


@pytest.mark.parametrize("lang", ["es", "spa", "fr-CA", "ca"])
def test_a_denial_of_one_language_may_be_another_word_elsewhere(lang: str) -> None:
    for output in ("No es A ni B, es C", "Ni A ni (B): (C)"):
        assert choose(output, replace(OPINION, target_lang=lang)) == 2
    assert choose("Jibu ni (B)", replace(OPINION, target_lang="sw")) == 1
    assert denials(lang) > denials("sw") == denials(None) == DENIALS


@pytest.mark.parametrize("options", [NUMBERS, LETTERS])
@pytest.mark.parametrize("piece", ["9" * 10, "٩" * 10, "(", "A or ", "1 or ", "(2) or ", "not "])
def test_no_output_is_too_long_or_too_repetitive_to_read(options: tuple[str, ...], piece: str) -> None:
    for output in (piece * 500, f"({piece * 500})"):
        assert choose(output, question("en", options=options)) in (None, 0, 1)


@pytest.mark.parametrize(
    "output",
    ["２", "2，因为", "②", "⑵", "2️⃣", "٢", "（٢）", "२", "๒", "二", "选项二", "2번", "２番", "Option 2 is", "2 Neutral"],
)
def test_numbers_in_any_script(output: str) -> None:
    assert choose(output, question("en")) == 1


@pytest.mark.parametrize(
    "output", ["2 people", "2.5", "2:30", "2-3", "1, 2", "1、2、3", "2nd", "20", "B", "neutrally", "not neutral"]
)
def test_numbers_and_words_that_are_no_answer(output: str) -> None:
    assert choose(output, question("en")) is None


def test_options_that_are_words() -> None:
    pair = ParallelPair("s", "t", "en", "es", options=(" París", " Roma", " San José"), gold=0)
    outputs = ("PARÍS, claro", "Es Roma.", "San José\nRoma", "Parísino", "París o Roma", "La capital")
    assert [choose(output, pair) for output in outputs] == [0, 1, 2, None, None, None]


def test_two_options_with_the_same_label_are_not_told_apart() -> None:
    pair = ParallelPair("s", "t", options=(" (A)", " (B)"), labels=("Same", "same"), gold=0)
    assert [choose(output, pair) for output in ("Same", "(B) Same")] == [None, 1]


def test_a_question_with_answers_is_scored_by_exact_match() -> None:
    pair = ParallelPair("s", "t", "en", "de", answers=["der Rhein"])
    assert [STRICT.rate(output, pair) for output in ("Rhein.", "Der Rhein\nFrage:", "Am Rhein")] == [1, 1, 0]


def test_a_pair_with_nothing_to_compare_is_refused() -> None:
    with pytest.raises(InputError, match="needs a pair with options and gold, or with answers"):
        STRICT.rate("x", ParallelPair("s", "t"))
    with pytest.raises(InputError, match="needs a pair with options"):
        choose("x", ParallelPair("s", "t", answers=["x"]))


def test_released_labels_are_read_in_every_language(shared: Path) -> None:
    files = sorted((shared / "data/xtransplant/XNLI/XNLI_sample/ans_lang").glob("*.json"))
    assert len(files) == 14
    for file in files:
        labels = list(json.loads(file.read_text(encoding="utf-8")).values())
        pair = ParallelPair("s", "t", options=NUMBERS, gold=0, labels=labels)
        for place, label in enumerate(labels):
            word = label.split("\xa0")[-1] if label.startswith("(") else label
            assert [choose(form, pair) for form in (label, word, word.upper(), f"{word}。")] == [place] * 4, file.name


def test_letters_of_the_released_translations_are_never_read_as_another_option(shared: Path) -> None:
    tagged = re.compile(r"^\s*[(（]([^()（）\n]{1,5})[)）]", re.MULTILINE)
    right = total = 0
    for file in sorted((shared / "data/xtransplant/GlobalOpinionQA").glob("*/translated/*.json")):
        prompts = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        rows = [
            json.loads(line)
            for line in (file.parents[1] / "split" / file.name).read_text(encoding="utf-8").splitlines()
        ]
        for prompt, row in zip(prompts, rows, strict=True):
            tags, n_options = tagged.findall(prompt), len(row["label"])
            if len(tags) != n_options or n_options > 8:
                continue
            pair = ParallelPair("s", "t", options=[f" ({'ABCDEFGH'[k]})" for k in range(n_options)], gold=0)
            chosen = [choose(f"({tag})", pair) for tag in tags]
            total, right = total + n_options, right + sum(k == c for k, c in enumerate(chosen))
            wrong = [(tag, c) for k, (tag, c) in enumerate(zip(tags, chosen, strict=True)) if c not in (k, None)]
            assert not wrong, (file, tags)
    assert right > 0.98 * total > 0
