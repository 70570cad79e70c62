"""What the six benchmarks have in common, and our own prompts in all their languages."""

import unicodedata

import pytest

from xtl.errors import InputError
from xtl.tasks import (
    BENCHMARKS,
    PAPER,
    TASKS,
    Task,
    cultural_bench,
    get_task,
    global_opinion_qa,
    mkqa,
    normalise_language,
    xcopa,
    xnli,
    xquad,
)
from xtl.tasks.benchmark import separator
from xtl.tasks.culture import Question
from xtl.tasks.prompts import WORDS, letters, words_of

SCRIPTS = {
    "am": "ETHIOPIC", "ar": "ARABIC", "bg": "CYRILLIC", "bn": "BENGALI", "el": "GREEK", "fa": "ARABIC", "he": "HEBREW",
    "hi": "DEVANAGARI", "ja": "CJK HIRAGANA", "km": "KHMER", "ko": "HANGUL", "ne": "DEVANAGARI", "ru": "CYRILLIC",
    "ta": "TAMIL", "th": "THAI", "uk": "CYRILLIC", "ur": "ARABIC", "zh": "CJK", "zh_cn": "CJK", "zh_hk": "CJK",
    "zh_tw": "CJK",
}  # fmt: skip
QUESTION = Question("1", "7", ("8", "9"))
PROMPTS = {
    "xnli": lambda lang: xnli.prompt(lang, "7", "8"),
    "xcopa": lambda lang: (
        xcopa.prompt(lang, "7", ("8", "9"), "cause") + "\n" + xcopa.prompt(lang, "7", ("8", "9"), "effect")
    ),
    "xquad": lambda lang: xquad.prompt(lang, "7", "8"),
    "mkqa": lambda lang: mkqa.prompt(lang, "7"),
    "global_opinion_qa": lambda lang: global_opinion_qa.prompt(lang, "JP", QUESTION),
    "cultural_bench": lambda lang: (
        cultural_bench.easy_prompt(lang, "7", ("8", "9")) + cultural_bench.hard_prompt(lang, "7", "8")
    ),
}
CASES = [(name, lang) for name, task in BENCHMARKS.items() for lang in task.languages]


@pytest.fixture(params=BENCHMARKS)
def task(request):
    return BENCHMARKS[request.param]


def test_a_benchmark_speaks_the_protocol_under_its_own_name(task):
    assert isinstance(task, Task)
    assert get_task(task.name) is TASKS[task.name] is task
    assert task.kind in PAPER
    assert task.direction == ("xx->en" if task.kind == "culture" else "en->xx")
    assert task.score == ("answer" if task.kind == "generation" else "options")
    assert {"paper", "strict"} <= set(task.text_scores)
    assert "en" in task.languages
    assert "\n" not in task.description


def test_the_papers_fixed_layers():
    fixed = {name: (t.paper.module, t.paper.source_layer, t.paper.target_layer) for name, t in BENCHMARKS.items()}
    assert fixed == {
        "xnli": ("attn", -1, 0), "xcopa": ("attn", -1, 0), "xquad": ("mlp", 0, 0), "mkqa": ("mlp", 0, 0),
        "global_opinion_qa": ("mlp", 0, 0), "cultural_bench": ("mlp", 0, 0),
    }  # fmt: skip
    assert {t.paper.max_new_tokens for t in BENCHMARKS.values()} == {20}


def test_the_number_of_languages():
    assert {name: len(t.languages) for name, t in BENCHMARKS.items()} == {
        "xnli": 15, "xcopa": 12, "xquad": 12, "mkqa": 26, "global_opinion_qa": 20, "cultural_bench": 28,
    }  # fmt: skip


@pytest.mark.parametrize(("name", "lang"), CASES)
def test_our_prompts_are_in_the_script_of_the_language_and_end_open(name, lang):
    text = PROMPTS[name](lang)
    for char in text.replace("(A)", "").replace("(B)", ""):
        if char.isalpha():
            script = unicodedata.name(char).split()[0]
            assert script in SCRIPTS.get(lang, "LATIN").split() or char in "ー々", (name, lang, char)
    assert text == text.strip()
    assert text.endswith(words_of(lang).open_answer)
    assert text[-1] in ":：៖"
    assert all(line and line == line.strip() for line in text.split("\n"))
    assert "{" not in text
    assert unicodedata.is_normalized("NFC", text)


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "mkqa"])
def test_prompts_differ_between_languages(name):
    languages = BENCHMARKS[name].languages
    assert len({PROMPTS[name](lang) for lang in languages}) == len(languages)


def test_words_differ_within_a_language_and_the_three_labels_too():
    for lang, words in WORDS.items():
        assert words.question != words.answer, lang
    for lang, wording in xnli.WORDINGS.items():
        assert len(set(wording.labels)) == 3, lang
    for lang, wording in xcopa.WORDINGS.items():
        assert wording.cause != wording.effect, lang


@pytest.mark.parametrize(
    ("prompt", "space"),
    [("A:", " "), ("答：", ""), ("A: ", ""), ("A:\n", ""), ("คำตอบ:", " "), ("はい", ""), ("네", " ")],
)
def test_an_answer_is_set_off_by_a_space_where_the_script_has_one(prompt, space):
    assert separator(prompt) == space


def test_options_have_letters_up_to_z():
    assert letters(26)[-1] == "Z"
    with pytest.raises(InputError, match="27 options are too many: their keys are the 26 letters A to Z"):
        letters(27)


def test_unknown_languages_list_those_of_the_benchmark(task):
    with pytest.raises(InputError, match=r"unknown target_lang 'xx'; valid: .*en"):
        task.pairs("en", "xx")


def test_chinese_of_mkqa_is_told_apart():
    languages = BENCHMARKS["mkqa"].languages
    codes = {"zh": "zh_cn", "zh-CN": "zh_cn", "zho": "zh_cn", "zh_Hans": "zh_cn", "zh-TW": "zh_tw", "zh_Hant": "zh_tw"}
    codes |= {"zh-HK": "zh_hk", "nb": "no", "nob": "no", "no": "no"}
    assert {code: normalise_language(code, languages) for code in codes} == codes
    with pytest.raises(InputError, match="'zh-MO' can mean zh_hk or zh_tw"):
        normalise_language("zh-MO", languages)
