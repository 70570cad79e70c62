from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scoring.languages import LABELS, NUMBERS, question
from xtl.errors import InputError
from xtl.pairs import ParallelPair
from xtl.scoring.paper import LABELS_KEY, PAPER

FRENCH = ["(1)\xa0Entraîner", "(2)\xa0Neutre", "(3)\xa0Contraire"]
EN = question("en", 1)
FR = ParallelPair(
    "s", "t", options=NUMBERS, gold=1, labels=["Entraîner", "Neutre", "Contraire"], meta={LABELS_KEY: FRENCH}
)
COPA = ParallelPair("s", "t", options=(" (1)", " (2)"), gold=1, labels=("It rained.", "It shone."))
OPINION = ParallelPair("s", "t", options=(" (A)", " (B)"), gold=1, labels=("Yes", "No"))
ANSWER = ParallelPair("s", "t", answers=["K"])


@pytest.mark.parametrize(
    ("task", "pair", "output", "expected"),
    [
        ("xnli", EN, " (2) Neutral", 1),
        ("xnli", EN, "（2）", 1),
        ("xnli", EN, " 2\n", 1),
        ("xnli", EN, "2.", 0),
        ("xnli", EN, "2)", 0),
        ("xnli", EN, "not Neutral at all", 1),  # a label counts anywhere
        ("xnli", EN, "Neutrality", 1),
        ("xnli", EN, "neutral", 0),  # with its letter case
        ("xnli", EN, "(2) (1)", 0),
        ("xnli", EN, "(2) Contradict", 0),
        ("xnli", EN, "(2) (4)", 1),  # no such option
        ("xnli", FR, "Neutre", 0),  # the released label has "(2)" and a non-breaking space in front
        ("xnli", FR, "(2)\xa0Neutre", 1),
        ("xnli", FR, "(2) Contraire", 1),
        ("xcopa", COPA, "(2)", 1),
        ("xcopa", COPA, "（2） It shone.", 1),
        ("xcopa", COPA, "It shone.", 0),  # no labels here
        ("xcopa", COPA, "(1) or (2)", 0),
        ("xcopa", COPA, "(2) (3)", 1),
        ("global_opinion_qa", OPINION, "(b) no", 1),
        ("global_opinion_qa", OPINION, "b", 1),
        ("global_opinion_qa", OPINION, "（B）", 0),  # no full-width brackets here
        ("global_opinion_qa", OPINION, "B) No", 0),
        ("global_opinion_qa", OPINION, "(B) No (Z)", 0),  # any letter spoils it
        ("global_opinion_qa", OPINION, "No", 0),
        ("cultural_bench", OPINION, "(B)", 1),
        ("xquad", ANSWER, "like this", 1),  # in a word
        ("xquad", ANSWER, "No.\nQuestion: K?", 1),  # anywhere
        ("xquad", ANSWER, "that", 0),
        ("mkqa", replace(ANSWER, answers=["x", "Paris"]), "in PARIS", 1),
        ("xquad", ParallelPair("s", "t", answer="23–16"), "23-16", 0),  # another dash
    ],
)
def test_rules(task: str, pair: ParallelPair, output: str, expected: float) -> None:
    assert PAPER[task].rate(output, pair) == expected


@given(st.sampled_from(sorted(LABELS)), st.text(), st.lists(st.sampled_from(["(1)", "(2)", "3", "（3）", "x", "中立"])))
def test_one_option_at_most_is_right(lang: str, text: str, tags: list[str]) -> None:
    output = text + " ".join(tags)
    for task in ("xnli", "xcopa", "global_opinion_qa", "cultural_bench"):
        ratings = [PAPER[task].rate(output, question(lang, gold)) for gold in range(3)]
        assert set(ratings) <= {0.0, 1.0}
        assert sum(ratings) <= 1


def test_every_task_of_the_paper_has_its_rule() -> None:
    assert set(PAPER) == {"xnli", "xcopa", "xquad", "mkqa", "global_opinion_qa", "cultural_bench"}
    assert all(score.name == "paper" and score.binary for score in PAPER.values())


@pytest.mark.parametrize("task", sorted(PAPER))
def test_a_pair_without_what_the_rule_needs_is_refused(task: str) -> None:
    with pytest.raises(InputError, match="needs a pair with"):
        PAPER[task].rate("x", ParallelPair("s", "t"))


def test_xnli_needs_labels_and_letters_end_at_z() -> None:
    with pytest.raises(InputError, match="needs labels or meta"):
        PAPER["xnli"].rate("(1)", ParallelPair("s", "t", options=NUMBERS, gold=0))
    with pytest.raises(InputError, match="one for each option"):
        PAPER["xnli"].rate("(1)", replace(EN, meta={LABELS_KEY: ["Entail"]}))
    with pytest.raises(InputError, match="26 options at most, this pair has 27"):
        PAPER["global_opinion_qa"].rate("(A)", ParallelPair("s", "t", options=[f" {k}" for k in range(27)], gold=0))


def test_released_french_labels_are_never_recognised_without_their_number(shared: Path) -> None:
    folder = shared / "data/xtransplant/XNLI/XNLI_sample/ans_lang"
    recognised = {}
    for file in folder.glob("*.json"):
        labels = list(json.loads(file.read_text(encoding="utf-8")).values())
        pair = ParallelPair("s", "t", options=NUMBERS, gold=0, meta={LABELS_KEY: labels})
        words = [label.split("\xa0")[-1] if label.startswith("(") else label for label in labels]
        recognised[file.stem] = [PAPER["xnli"].rate(word, replace(pair, gold=k)) for k, word in enumerate(words)]
    assert recognised.pop("fr") == [0, 0, 0]
    assert len(recognised) == 13
    assert all(rates == [1, 1, 1] for rates in recognised.values()), recognised


def test_golden_outputs_are_scored_as_the_rules_say(shared: Path) -> None:
    data = shared / "data/xtransplant"

    def line(path: str, index: int) -> object:
        return json.loads((data / path).read_text(encoding="utf-8").splitlines()[index])

    for file in sorted((shared / "golden").glob("smollm2_*.json")):
        for cell in json.loads(file.read_text(encoding="utf-8")):
            output, index, lang = cell["output"], cell["index"], cell["lang"]
            if cell["task"] == "xnli":
                gold = str(line(f"XNLI/XNLI_sample/ans/{lang}.json", index))
                labels = json.loads((data / f"XNLI/XNLI_sample/ans_lang/{lang}.json").read_text(encoding="utf-8"))
                pair = ParallelPair(
                    "s", "t", options=NUMBERS, gold=int(gold) - 1, meta={LABELS_KEY: list(labels.values())}
                )
                named = {n for n in "123" if f"({n})" in output or output.strip() == n or labels[n] in output}
                expected, task = named == {gold}, "xnli"
            elif cell["task"] == "xquad":
                gold = str(line(f"XQuAD/XQuAD_sample/ans/xquad.{lang}.json", index))
                pair, expected, task = ParallelPair("s", "t", answers=[gold]), gold in output, "xquad"
            else:
                shares = line(f"GlobalOpinionQA/GlobalOpinionQA_sample/split/{lang}.json", index)["label"]  # type: ignore[index]
                gold = "ABCDEFGH"[shares.index(max(shares))]
                pair = ParallelPair(
                    "s", "t", options=[f" ({n})" for n in "ABCDEFGH"[: len(shares)]], gold=shares.index(max(shares))
                )
                expected, task = {n for n in "ABCDEFGH" if f"({n})" in output} == {gold}, "global_opinion_qa"
            assert PAPER[task].rate(output, pair) == expected, output
