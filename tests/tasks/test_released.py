"""A folder laid out as the paper's data: exact prompts, and every fault named with its file and line."""

from dataclasses import replace

import pytest

from tests.tasks import releases
from xtl.errors import InputError
from xtl.tasks import BENCHMARKS, get_task

XNLI, XCOPA, XQUAD, OPINIONS = (BENCHMARKS[name] for name in ("xnli", "xcopa", "xquad", "global_opinion_qa"))


@pytest.fixture
def release(tmp_path, monkeypatch):
    """A tiny release with all its benchmarks."""
    monkeypatch.delenv("XTL_DATA", raising=False)
    for make in (releases.xnli, releases.xcopa, releases.xquad, releases.opinions):
        make(tmp_path)
    return tmp_path


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def change_line(path, number, text):
    lines = lines_of(path)
    lines[number - 1] = text + "\n"
    path.write_text("".join(lines), encoding="utf-8")


def test_xnli_pairs_hold_the_prompts_as_they_are_and_all_that_scores_need(release):
    pair = XNLI.pairs("en", "zh", folder=release, seed=None)[3]
    assert pair.source.startswith("Premise: Delhi 1921.")
    assert pair.target.endswith("我的答案是：")
    assert pair.options == ("(1)", "(2)", "(3)")
    assert pair.labels == ("蕴涵", "中立", "矛盾")
    assert pair.gold == 0
    assert pair.id == "xnli/sample/3"
    assert pair.meta["row"] == 3
    assert pair.meta["gold_key"] == "1"
    assert XNLI.pairs("en", "de", folder=release, seed=None)[3].options == (" (1)", " (2)", " (3)")


def test_released_label_words_are_kept_as_they_are_and_labels_are_the_words_alone(release):
    words = {"1": "(1)\xa0Entraîner", "2": "(2)\xa0Neutre", "3": "(3)\xa0Contraire"}
    releases.write(release / "XNLI" / "XNLI_sample" / "ans_lang" / "de.json", [words])
    pair = XNLI.pairs("en", "de", folder=release)[0]
    assert pair.meta["paper_labels"] == tuple(words.values())
    assert pair.labels == ("Entraîner", "Neutre", "Contraire")


def test_xquad_pairs_have_an_answer_that_continues_the_prompt(release):
    pair = XQUAD.pairs("en", "th", folder=release, seed=None)[2]
    assert pair.answers == ("th 2",)
    assert pair.answer == " th 2"
    assert pair.options is None


def test_xcopa_takes_the_english_of_each_language_or_the_original(release):
    assert XCOPA.pairs("en", "it", folder=release, seed=None)[0].source.startswith("en it Oslo")
    original = replace(XCOPA, english="original")
    assert original.pairs("en", "it", folder=release, seed=None)[0].source.startswith("split en Oslo")
    back = XCOPA.pairs("it", "en", folder=release, seed=None)
    assert [pair.target for pair in back] == [
        pair.source for pair in XCOPA.pairs("en", "it", folder=release, seed=None)
    ]
    assert original.pairs("it", "en", folder=release, seed=None)[0].target.startswith("split en Oslo")
    pair = XCOPA.pairs("en", "it", folder=release, seed=None)[1]
    assert pair.labels == ("a 1.", "b 1.")
    assert pair.meta["question"] == "effect"
    with pytest.raises(InputError, match="no English translation of its Quechua"):
        XCOPA.pairs("en", "qu", folder=release)
    with pytest.raises(InputError, match="unknown english 'old'; valid: translated, original"):
        replace(XCOPA, english="old").pairs("en", "it", folder=release)


def test_xcopa_prompts_that_ask_for_the_wrong_one_of_cause_and_effect_say_so(release):
    path = release / "XCOPA" / "XCOPA_sample" / "split" / "it.json"
    change_line(path, 1, lines_of(path)[0].strip().replace("la causa", "l'effetto"))
    pairs = XCOPA.pairs("en", "it", folder=release, seed=None)
    assert pairs[0].meta["notes"] == ("the it prompt asks for the effect, not the cause",)
    assert not any(pair.meta["notes"] for pair in pairs[1:])


def test_opinions_hold_the_human_distribution_and_say_where_letters_were_translated(release):
    pairs = OPINIONS.pairs("zh-CN", "en", folder=release, seed=None)
    assert [bool(pair.meta["notes"]) for pair in pairs] == [False, True, False, False]
    assert pairs[1].meta["source_option_keys"] == ("А", "Б", "В")
    pair = pairs[0]
    assert pair.direction == "zh->en"
    assert pair.source.startswith("中国人")
    assert pair.target.startswith("Someone from China")
    assert pair.labels == ("Yes", "No", "Maybe")
    assert sum(pair.distribution) == pytest.approx(1, abs=1e-12)
    assert pair.gold == 1
    assert pair.meta["country"] == "China (Non-national sample)"
    assert pair.id == "global_opinion_qa/sample/zh/0"


@pytest.mark.parametrize(("source", "target"), [("en", "zh"), ("zh", "zh"), ("de", "fr")])
def test_opinions_can_only_be_asked_in_english(release, source, target):
    with pytest.raises(InputError, match=rf"has no {source}->{target}: each language has its own questions"):
        OPINIONS.pairs(source, target, folder=release)


@pytest.mark.parametrize("code", ["zh", "zh-CN", "zho", "ZH_hans", "cmn"])
def test_a_language_in_any_form_gives_the_same_pairs(release, code):
    assert XNLI.pairs("en", code, folder=release) == XNLI.pairs("en", "zh", folder=release)
    assert OPINIONS.pairs(code, "eng", folder=release) == OPINIONS.pairs("zh", "en", folder=release)


def test_any_direction_of_xnli_is_allowed_and_a_language_to_itself(release):
    there, back = (XNLI.pairs(*way, folder=release) for way in (("de", "zh"), ("zh", "de")))
    assert [(p.id, p.source, p.target, p.gold) for p in there] == [(p.id, p.target, p.source, p.gold) for p in back]
    assert all(pair.source == pair.target for pair in XNLI.pairs("de", "de", folder=release))


def test_a_seed_draws_the_same_order_for_every_language_and_a_limit_takes_its_beginning(release):
    pairs = XNLI.pairs("en", "de", folder=release, seed=4)
    assert [p.id for p in pairs] == [p.id for p in XNLI.pairs("de", "zh", folder=release, seed=4)]
    assert XNLI.pairs("en", "de", folder=release, seed=4, limit=5) == pairs[:5]
    assert XNLI.pairs("en", "de", folder=release, seed=4, limit=99) == pairs
    assert [p.id for p in pairs] != [p.id for p in XNLI.pairs("en", "de", folder=release, seed=5)]
    assert sorted(p.id for p in pairs) == sorted(p.id for p in XNLI.pairs("en", "de", folder=release, seed=None))
    rows = [p.meta["row"] for p in XNLI.pairs("en", "de", folder=release, seed=None)]
    assert rows == list(range(12))


def test_the_environment_names_the_release(release, monkeypatch):
    monkeypatch.setenv("XTL_DATA", str(release))
    assert get_task("xnli").pairs("en", "de", limit=2) == XNLI.pairs("en", "de", folder=release, limit=2)


def test_misaligned_languages_are_refused_with_their_rows_and_usable_up_to_there_on_request(release):
    folder = releases.xnli(release, n=60, split="unseen")
    for place in ("split", "ans"):
        path = folder / place / "de.json"
        lines = lines_of(path)
        path.write_text("".join(lines[:40] + lines[41:] + lines[40:41]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        XNLI.pairs("en", "de", folder=release, split="unseen")
    message = str(caught.value)
    assert "xnli unseen, en->de: not parallel from row 40 on: gold labels differ in" in message
    assert "de.json, line 41" in message
    assert "allow_misaligned='truncate' keeps the 40 rows before" in message
    kept = XNLI.pairs("en", "de", folder=release, split="unseen", allow_misaligned="truncate", seed=None)
    assert [pair.meta["row"] for pair in kept] == list(range(40))
    assert XNLI.alignment("en", "de", folder=release, split="unseen").start == 40
    assert XNLI.alignment("en", "zh", folder=release, split="unseen").parallel
    with pytest.raises(InputError, match="unknown allow_misaligned 'yes'; valid: refuse, truncate"):
        XNLI.pairs("en", "de", folder=release, allow_misaligned="yes")


FAULTS = [
    ("XNLI", "split/de.json", 2, "", r"de\.json, line 2: an empty line"),
    ("XNLI", "split/de.json", 3, '"half', r"de\.json, line 3: malformed JSON \(.*column 1\)"),
    ("XNLI", "split/de.json", 4, "7", r"de\.json, line 4: prompt must be a text, got 7"),
    ("XNLI", "split/de.json", 5, '"  "', r"de\.json, line 5: empty prompt"),
    ("XNLI", "ans/de.json", 2, '""', r"ans/de\.json, line 2: empty gold"),
    ("XNLI", "split/de.json", 6, r'"\ud800 s"', r"de\.json, line 6: half a character, \\ud800"),
    ("XNLI", "split/de.json", 7, "[" * 100_000, r"de\.json, line 7: JSON nested too deeply"),
    ("XNLI", "ans/de.json", 8, "1" * 5000, r"ans/de\.json, line 8: a whole number of too many digits"),
    ("XNLI", "ans_lang/de.json", 1, "[1]", r"ans_lang/de\.json, line 1: expected one object"),
    ("XNLI", "ans_lang/de.json", 1, "{}", r"ans_lang/de\.json, line 1: expected one object.*each of 1, 2, 3; got {}"),
    ("XNLI", "ans_lang/de.json", 1, '{"1": "a", "2": "b"}', r"ans_lang/de\.json, line 1: expected one object"),
    ("XNLI", "ans_lang/de.json", 1, '{"1": "a", "2": " ", "3": "c"}', r"ans_lang/de\.json, line 1: expected one obj"),
    ("XNLI", "ans_lang/de.json", 1, '{"1": "(1) ", "2": "b", "3": "c"}', r"de\.json, line 1: a label without a word"),
    ("XQuAD", "ans/xquad.th.json", 6, '""', r"xquad\.th\.json, line 6: empty answer"),
    ("XCOPA", "split/it.json", 1, '"no options"', r"it\.json, line 1: the prompt has no two options"),
    (
        "GlobalOpinionQA",
        "split/zh-CN.json",
        2,
        '"text"',
        r"line 2: expected an object with input_text, label and country",
    ),
]


@pytest.mark.parametrize(("benchmark", "file", "line", "text", "message"), FAULTS)
def test_a_fault_is_named_with_its_file_and_line(release, benchmark, file, line, text, message):
    change_line(release / benchmark / f"{benchmark}_sample" / file, line, text)
    task, way = {
        "XNLI": (XNLI, ("en", "de")), "XQuAD": (XQUAD, ("en", "th")), "XCOPA": (XCOPA, ("en", "it")),
        "GlobalOpinionQA": (OPINIONS, ("zh", "en")),
    }[benchmark]  # fmt: skip
    with pytest.raises(InputError, match=message):
        task.pairs(*way, folder=release)


def test_the_words_of_labels_may_stand_in_any_order(release):
    expected = XNLI.pairs("en", "de", folder=release)
    words = {"3": "Widerspricht", "1": "Folgt", "2": "Neutral"}
    releases.write(release / "XNLI" / "XNLI_sample" / "ans_lang" / "de.json", [words])
    assert XNLI.pairs("en", "de", folder=release) == expected


@pytest.mark.parametrize("gold", ["4", "(2)", "Neutral"])
@pytest.mark.parametrize("line", [1, 9])
def test_a_gold_that_is_no_option_in_one_language_is_no_misalignment(release, gold, line):
    change_line(release / "XNLI" / "XNLI_sample" / "ans" / "de.json", line, f'"{gold}"')
    for way in (("en", "de"), ("de", "en")):
        with pytest.raises(InputError) as caught:
            XNLI.pairs(*way, folder=release)
        assert str(caught.value).endswith(f"ans/de.json, line {line}: gold {gold!r} is no option; valid: 1, 2, 3")


def test_a_gold_of_xcopa_that_is_no_option_is_named_with_its_file(release):
    change_line(release / "XCOPA" / "XCOPA_sample" / "ans" / "it.json", 2, '"3"')
    with pytest.raises(InputError, match=r"ans/it\.json, line 2: gold '3' is no option; valid: 1, 2$"):
        XCOPA.pairs("en", "it", folder=release)


@pytest.mark.parametrize("gold", ["4", "Neutral", "1)"])
def test_a_gold_that_is_no_option_is_named_with_its_line(release, gold):
    for lang in ("en", "de"):
        change_line(release / "XNLI" / "XNLI_sample" / "ans" / f"{lang}.json", 6, f'"{gold}"')
    with pytest.raises(InputError, match=r"line 6: gold .* is no option; valid: 1, 2, 3"):
        XNLI.pairs("en", "de", folder=release)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("[0.5, 0.5]", "expected 3 shares, one for each option"),
        ("[0.9, 0.3, 0.1]", "shares add up to 1.300, not 1"),
        ("[0.45, 0.45, 0.1]", "no gold, since two options have the highest share"),
        ('"A"', "expected 3 shares"),
        ("[-0.1, 1.0, 0.1]", "expected 3 shares"),
        ("[NaN, 0.9, 0.1]", "expected 3 shares"),
        ("[1" + "0" * 400 + ", 0, 0]", "expected 3 shares"),
    ],
)
def test_a_distribution_that_does_not_fit_the_options_is_named(release, label, message):
    path = release / "GlobalOpinionQA" / "GlobalOpinionQA_sample" / "split" / "zh-CN.json"
    change_line(path, 3, lines_of(path)[2].strip().replace("[0.05, 0.9, 0.051]", label))
    with pytest.raises(InputError, match=f"line 3: {message}"):
        OPINIONS.pairs("zh", "en", folder=release)


def test_unequal_line_counts_are_named_with_both_files(release):
    path = release / "XNLI" / "XNLI_sample" / "ans" / "de.json"
    path.write_text("".join(lines_of(path)[:-1]), encoding="utf-8")
    with pytest.raises(InputError, match=r"unequal line counts: .*split/de\.json has 12, .*ans/de\.json has 11"):
        XNLI.pairs("en", "de", folder=release)
    path = release / "XNLI" / "XNLI_sample" / "split" / "de.json"
    path.write_text("".join(lines_of(path)[:-1]), encoding="utf-8")
    with pytest.raises(InputError, match=r"unequal counts: .*en\.json has 12 instances, .*de\.json has 11"):
        XNLI.pairs("en", "de", folder=release)


def test_what_is_not_there_is_named_with_what_is(release, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no file .*tr\.json for language 'tr'; there are: de, en, zh"):
        XNLI.pairs("en", "tr", folder=release)
    with pytest.raises(InputError, match="it has XNLI only as sample"):
        XNLI.pairs("en", "de", folder=release, split="unseen")
    with pytest.raises(InputError, match="unknown split 'test'; valid: sample, unseen"):
        XNLI.pairs("en", "de", folder=release, split="test")
    with pytest.raises(InputError, match=r"no folder '.*nowhere'"):
        XNLI.pairs("en", "de", folder=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"XNLI: no folder of released data; give folder=\.\.\. or set XTL_DATA"):
        XNLI.pairs("en", "de", origin="released")
    with pytest.raises(InputError, match="mkqa is not in the paper's released data; use origin='hub'"):
        BENCHMARKS["mkqa"].pairs("en", "de", origin="released")
    with pytest.raises(InputError, match="unknown origin 'web'; valid: released, hub"):
        XNLI.pairs("en", "de", origin="web")
    (release / "XNLI" / "XNLI_sample" / "split" / "de.json").write_bytes(b'"\xff"\n')
    with pytest.raises(InputError, match=r"de\.json is not UTF-8"):
        XNLI.pairs("en", "de", folder=release)
    (release / "XNLI" / "XNLI_sample" / "split" / "de.json").write_text("\n")
    with pytest.raises(InputError, match=r"de\.json is empty"):
        XNLI.pairs("en", "de", folder=release)


def test_bad_numbers_are_errors(release):
    with pytest.raises(InputError, match="limit must be a whole number of at least 1, got 0"):
        XNLI.pairs("en", "de", folder=release, limit=0)
    with pytest.raises(InputError, match="seed must be a whole number, got True"):
        XNLI.pairs("en", "de", folder=release, seed=True)
