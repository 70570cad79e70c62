from __future__ import annotations

import re
from pathlib import Path

import paper_vs_strict
import pytest
from score_disagreements import OTHER, REWRITINGS, compare, reason

from tests.scoring.languages import question
from xtl.errors import InputError
from xtl.scoring.paper import PAPER
from xtl.scoring.squad import CONTAINS, EM
from xtl.scoring.strict import STRICT
from xtl.scoring.text import TextScore

DOC = Path(__file__).parents[2] / "docs" / "scoring.md"


def test_only_disagreements_are_listed() -> None:
    pair = question("en", 1)
    rows = compare(PAPER["xnli"], STRICT, [("(2)", pair), ("2)", pair), ("(1)", pair), ("NEUTRAL", pair)])
    assert rows.output.tolist() == ["2)", "NEUTRAL"]
    assert rows.reason.tolist() == ["tag without both brackets", "letter case"]
    assert rows[["paper", "strict"]].values.tolist() == [[0, 1], [0, 1]]
    assert rows.gold.tolist() == ["(2) Neutral"] * 2


def test_no_disagreement_is_an_empty_table_with_all_columns() -> None:
    rows = compare(PAPER["xnli"], STRICT, [("(2)", question("en", 1))])
    assert rows.columns.tolist() == ["id", "direction", "output", "gold", "paper", "strict", "reason"]
    assert rows.empty


def test_any_two_scores_can_be_compared() -> None:
    pair = paper_vs_strict.answered("en", "Paris")
    assert compare(CONTAINS, EM, [("It is Paris", pair)]).reason.tolist() == ["words around the answer"]


def test_what_no_rewriting_explains_is_other() -> None:
    always = TextScore("always", "always right", lambda output, pair: 1.0)
    never = TextScore("never", "never right", lambda output, pair: 0.0)
    assert reason(always, never, "(2)", question("en")) == OTHER


def test_two_scores_of_the_same_name_are_refused() -> None:
    with pytest.raises(InputError, match="both named 'paper'"):
        compare(PAPER["xnli"], PAPER["xcopa"], [])


def test_every_reason_has_an_example_and_every_example_a_reason() -> None:
    rows = paper_vs_strict.table(paper_vs_strict.forms())
    assert set(rows.reason) == set(REWRITINGS)


def test_the_table_of_common_forms_in_the_docs_is_what_the_command_prints() -> None:
    shown = paper_vs_strict.markdown(paper_vs_strict.table(paper_vs_strict.forms()), count=False)
    assert shown in DOC.read_text(encoding="utf-8")


def test_the_table_of_golden_outputs_in_the_docs_is_what_the_command_prints(shared: Path) -> None:
    cases = paper_vs_strict.golden(shared)
    assert sum(map(len, cases.values())) == 132 + 4  # every cell, and each instance's vanilla output
    shown = paper_vs_strict.markdown(paper_vs_strict.table(cases), count=True)
    assert shown in DOC.read_text(encoding="utf-8")


def test_the_code_in_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    *_, code = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(code, str(DOC), "exec"), {})
    assert [line.split()[-3:] for line in capsys.readouterr().out.splitlines()] == [
        ["1.0", "1.0", "1"],
        ["0.0", "1.0", "1"],
        ["0.0", "1.0", "1"],
        ["0.0", "1.0", "1"],
        ["0.0", "1.0", "1"],
    ]
