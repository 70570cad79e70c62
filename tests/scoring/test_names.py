from __future__ import annotations

import pytest

import xtl
from xtl.errors import InputError
from xtl.scoring.names import TEXT_SCORES, get_text_score
from xtl.scoring.paper import PAPER


def test_every_score_answers_to_its_name() -> None:
    assert [get_text_score(name).name for name in TEXT_SCORES] == list(TEXT_SCORES)
    assert all(get_text_score("paper", task) is rule for task, rule in PAPER.items())


def test_unknown_names_are_refused_with_what_there_is() -> None:
    with pytest.raises(InputError, match=r"unknown text score 'strct'.*valid: paper, strict, em, f1, contains"):
        get_text_score("strct")
    for task in (None, "capitals"):
        with pytest.raises(InputError, match=r"no rule for task .*xnli, xcopa, xquad"):
            get_text_score("paper", task)


@pytest.mark.parametrize(
    ("task", "source", "target", "said"),
    [
        ("xnli", "en", "fr", "({})"),
        ("xcopa", "en", "zh", "({})"),
        ("xquad", "en", "de", "{}"),
        ("global_opinion_qa", "sw", "en", "({})"),
    ],
)
def test_a_released_pair_answered_with_its_gold_is_right_by_every_score(shared, task, source, target, said) -> None:
    try:
        found = xtl.get_task(task)
    except InputError:
        pytest.skip(f"no task {task} yet")
    for pair in found.pairs(source, target, folder=shared / "data" / "xtransplant", limit=20):
        gold = (pair.answers or ["-"])[0] if pair.gold is None else (pair.options or ())[pair.gold].strip(" ()")
        for name in [name for name in found.text_scores if name != "distribution"]:
            assert get_text_score(name, task).rate(said.format(gold) + "\n\nHuman:", pair) == 1, (name, pair.id)
