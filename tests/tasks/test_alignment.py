"""Files that are not the same questions are found out, and where they part."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.releases import CITIES
from xtl.errors import InputError
from xtl.tasks.alignment import PROOF, Alignment, check_alignment, text_evidence


def questions(n):
    english = [f"What happened in {CITIES[i % 12]} in {1000 + 13 * i}?{' Really?' * (i % 5)}" for i in range(n)]
    german = [f"Was geschah {1000 + 13 * i} in {CITIES[i % 12]}?{' Wirklich?' * (i % 5)}" for i in range(n)]
    return english, german


@given(n=st.integers(2, 60))
@settings(max_examples=25, deadline=None)
def test_translations_are_parallel(n):
    english, german = questions(n)
    report = check_alignment(english, german)
    assert report == Alignment(n)
    assert report.parallel


@given(n=st.integers(40, 80), at=st.integers(5, 30))
@settings(max_examples=25, deadline=None)
def test_a_lost_row_is_found_from_texts_alone_and_never_after_it_happened(n, at):
    english, german = questions(n)
    report = check_alignment(english, german[:at] + german[at + 1 :] + german[at : at + 1])
    assert report.start is not None
    assert at - 4 <= report.start <= at
    assert report.evidence > PROOF
    assert "numbers, names and lengths" in report.describe()


@given(golds=st.lists(st.sampled_from("123"), min_size=3, max_size=60), data=st.data())
@settings(max_examples=50, deadline=None)
def test_one_gold_that_differs_is_enough(golds, data):
    at = data.draw(st.integers(0, len(golds) - 1))
    other = [*golds]
    other[at] = "1" if golds[at] != "1" else "2"
    texts = [f"t{i}" for i in range(len(golds))]
    report = check_alignment(texts, texts, golds, other, texts=False)
    assert report.gold_differs == (at,)
    assert report.start is not None
    assert report.start <= at


def test_golds_that_agree_by_chance_do_not_hide_rows_whose_texts_differ():
    """The files part at row 30, but golds first differ at row 33: texts tell."""
    english, german = questions(60)
    golds = [str(1 + i % 3) for i in range(60)]
    other = golds[:33] + ["1" if gold != "1" else "2" for gold in golds[33:]]
    report = check_alignment(english, german[:30] + german[31:] + german[30:31], golds, other)
    assert report.gold_differs[0] == 33
    assert report.start == 30
    assert "the texts of the rows before 33 do not belong together either" in report.describe()


def test_golds_alone_name_the_first_row_that_differs():
    golds = ["1", "2", "3"] * 10
    report = check_alignment(["x"] * 30, ["y"] * 30, golds, golds[:20] + golds[21:] + ["1"])
    assert report.start == 20
    assert report.gold_differs[:2] == (20, 21)
    assert report.describe().startswith("not parallel from row 20 on: gold labels differ in 10 of the 10 rows")


def test_digits_of_any_script_are_the_same_numbers():
    weights = text_evidence([f"x {n}" for n in (1901, 1955, 2011)], ["क १९०१", "क १९५५", "क २०११"])
    assert min(weights) > 0


def test_unequal_counts_are_an_error():
    with pytest.raises(InputError, match="unequal counts: 2 source and 1 target"):
        check_alignment(["a", "b"], ["a"])


def test_the_same_prompts_in_any_number_are_parallel():
    for n in (1, 2, 5):
        assert check_alignment(["same"] * n, ["gleich"] * n).parallel
