"""The paper's own data, whole: counts, prompts to the letter, and the one language that is not parallel."""

import json

import pytest

from xtl.errors import InputError
from xtl.tasks import BENCHMARKS, check_alignment

XNLI_UNSEEN = ("ar", "bg", "el", "en", "es", "fr", "sw", "tr", "ur", "zh")


@pytest.fixture(scope="module")
def data(shared):
    return shared / "data" / "xtransplant"


def raw(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("target", ["ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "tr", "ur", "vi", "zh"])
def test_xnli_sample(data, target):
    pairs = BENCHMARKS["xnli"].pairs("en", target, folder=data, seed=None)
    folder = data / "XNLI" / "XNLI_sample"
    assert [pair.source for pair in pairs] == raw(folder / "split" / "en.json")
    assert [pair.target for pair in pairs] == raw(folder / "split" / f"{target}.json")
    assert [str(pair.gold + 1) for pair in pairs] == raw(folder / "ans" / f"{target}.json")
    for pair in pairs:
        assert all(label in pair.target for label in pair.labels)
        assert list(pair.meta["paper_labels"]) == list(raw(folder / "ans_lang" / f"{target}.json")[0].values())


def test_xnli_unseen_is_parallel_but_for_german_from_row_210(data):
    task = BENCHMARKS["xnli"]
    for target in XNLI_UNSEEN:
        assert len(task.pairs("en", target, folder=data, split="unseen")) == 1000
    report = task.alignment("en", "de", folder=data, split="unseen")
    assert report.start == 210
    assert report.gold_differs[:4] == (210, 211, 212, 216)
    assert len(report.gold_differs) == 705
    with pytest.raises(
        InputError, match=r"from row 210 on: gold labels differ in 705 of the 790 .*210-212, 216-219.*line 211"
    ):
        task.pairs("en", "de", folder=data, split="unseen")
    with pytest.raises(InputError, match="from row 210 on"):
        task.pairs("fr", "de", folder=data, split="unseen")
    kept = task.pairs("en", "de", folder=data, split="unseen", allow_misaligned="truncate", seed=None)
    assert [pair.meta["row"] for pair in kept] == list(range(210))


def test_a_shift_of_the_release_is_found_from_texts_alone_no_later_than_it_happens(data):
    for target in XNLI_UNSEEN:
        prompts = raw(data / "XNLI" / "XNLI_unseen" / "split" / f"{target}.json")
        english = raw(data / "XNLI" / "XNLI_unseen" / "split" / "en.json")
        report = check_alignment(english, prompts[:500] + prompts[501:] + prompts[500:501])
        assert report.start is not None
        assert 490 <= report.start <= 500, target


def test_languages_that_the_release_lacks_are_missing_files(data):
    with pytest.raises(InputError, match=r"XNLI_unseen/split/hi\.json for language 'hi'; there are: ar, bg, de"):
        BENCHMARKS["xnli"].pairs("en", "hi", folder=data, split="unseen")
    with pytest.raises(InputError, match="it has XQuAD only as sample"):
        BENCHMARKS["xquad"].pairs("en", "de", folder=data, split="unseen")


@pytest.mark.parametrize(("split", "n"), [("sample", 50), ("unseen", 450)])
def test_xcopa(data, split, n):
    task, folder = BENCHMARKS["xcopa"], data / "XCOPA" / f"XCOPA_{split}"
    wrong = {}
    for target in [language for language in task.languages if language != "qu"]:
        pairs = task.pairs("en", target, folder=data, split=split, seed=None)
        assert [pair.target for pair in pairs] == raw(folder / "split" / f"{target}.json")
        place = "split" if target == "en" else "en"
        assert [pair.source for pair in pairs] == raw(folder / place / f"{target}.json")
        assert [str(pair.gold + 1) for pair in pairs] == raw(folder / "ans" / f"{target}.json")
        assert all(label in pair.target for pair in pairs for label in pair.labels)
        wrong[target] = sum(bool(pair.meta["notes"]) for pair in pairs)
    expected = {"th": n, "tr": 6, "sw": 5} if split == "sample" else {"th": n, "tr": 45, "sw": 32, "id": 4, "it": 4}
    assert {language: count for language, count in wrong.items() if count} == expected
    assert len(task.pairs("it", "qu", folder=data, split=split)) == n


def test_xquad_sample(data):
    task, folder = BENCHMARKS["xquad"], data / "XQuAD" / "XQuAD_sample"
    for target in task.languages:
        pairs = task.pairs("en", target, folder=data, seed=None)
        assert [pair.source for pair in pairs] == raw(folder / "split" / "xquad.en.json")
        assert [pair.target for pair in pairs] == raw(folder / "split" / f"xquad.{target}.json")
        assert [pair.meta["gold_key"] for pair in pairs] == raw(folder / "ans" / f"xquad.{target}.json")
        assert all(pair.answer.startswith(" ") == (target != "zh") for pair in pairs)


@pytest.mark.parametrize("split", ["sample", "unseen"])
def test_global_opinion_qa(data, split):
    task, folder = BENCHMARKS["global_opinion_qa"], data / "GlobalOpinionQA" / f"GlobalOpinionQA_{split}"
    for culture in task.languages:
        name = "zh-CN" if culture == "zh" else culture
        pairs = task.pairs(culture, "en", folder=data, split=split, seed=None)
        rows = raw(folder / "split" / f"{name}.json")
        assert [pair.source for pair in pairs] == raw(folder / "translated" / f"{name}.json")
        assert [pair.target for pair in pairs] == [row["input_text"] for row in rows]
        assert [pair.meta["country"] for pair in pairs] == [row["country"] for row in rows]
        for pair, row in zip(pairs, rows, strict=True):
            assert pair.gold == row["label"].index(max(row["label"]))
            assert list(pair.distribution) == pytest.approx(row["label"], abs=5e-3)
            assert len(pair.labels) == len(row["label"])
        if culture in ("am", "ar", "el"):
            assert all(pair.meta["notes"] for pair in pairs)
        if culture in ("de", "ja", "zh"):
            assert not any(pair.meta["notes"] for pair in pairs)
