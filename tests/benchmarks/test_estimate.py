from __future__ import annotations

import re
from pathlib import Path

from estimate import Work, hours, paper_study
from hypothesis import given
from hypothesis import strategies as st

DOCS = Path(__file__).parents[2] / "docs/scaling.md"


@given(n=st.integers(1, 200), seconds=st.floats(0.01, 10), workers=st.integers(1, 64))
def test_more_workers_take_less_time_but_never_less_than_their_share(n, seconds, workers):
    study = [Work("m", "t", n, seconds)]
    alone, shared = hours(study, 1, loading=0.0), hours(study, workers, loading=0.0)
    share, rounding = alone / workers, 1e-9 * alone
    assert share - rounding <= shared <= share + seconds / 3600 + rounding
    assert hours(study, workers, loading=30.0) > shared


def test_the_table_in_the_documentation_is_what_the_function_gives():
    text = DOCS.read_text(encoding="utf-8")
    rows = re.findall(r"\| (\d+\.\d) \| (\d+\.\d) h \| (\d+\.\d) h \| (\d+\.\d) h \|", text)
    studies = [paper_study(0.5, 6.0), paper_study(6.0, 6.0)]
    assert len(rows) == len(studies)
    for row, study in zip(rows, studies, strict=True):
        gpu_hours = sum(work.n_pairs * work.seconds_a_map for work in study) / 3600
        assert [f"{value:.1f}" for value in (gpu_hours, *(hours(study, n) for n in (1, 8, 64)))] == list(row)
    assert f"{sum(work.n_pairs for work in studies[0]):,} maps" in text
