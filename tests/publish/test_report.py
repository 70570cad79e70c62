"""The report of a folder: finished, unfinished, not a run at all."""

from pathlib import Path

import pytest

from tests.runs.filling import fill, jobs_of
from tests.synthetic import synthetic_results
from xtl.errors import InputError
from xtl.publish import report_run
from xtl.runs import save_results
from xtl.runs.reading import read_run


def test_a_whole_run_has_no_note(tmp_path: Path) -> None:
    jobs = jobs_of()
    fill(tmp_path / "run", jobs)
    results, notes = read_run(tmp_path / "run")
    assert notes == []
    assert sum(part.sizes["example"] for part in results) == len(jobs)
    assert report_run(tmp_path / "run") == tmp_path / "run" / "report.html"


def test_an_unfinished_run_says_how_far_it_is(tmp_path: Path) -> None:
    jobs = jobs_of()
    fill(tmp_path / "run", jobs, most=3)
    text = report_run(tmp_path / "run", tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"This run is unfinished: 3 of {len(jobs)} pairs are done ({3 / len(jobs):.0%})" in text


def test_a_run_without_a_map_yet_is_refused_and_says_how_far_it_is(tmp_path: Path) -> None:
    jobs = jobs_of()
    fill(tmp_path / "run", jobs, most=0)
    with pytest.raises(InputError, match=f"0 of {len(jobs)} pairs"):
        report_run(tmp_path / "run")


def test_the_folder_of_a_single_sweep_is_taken_too(tmp_path: Path) -> None:
    save_results(synthetic_results(), tmp_path / "results.parquet")
    results, notes = read_run(tmp_path)
    assert [part.sizes["example"] for part in results] == [8]
    assert notes == []
    with pytest.raises(InputError, match="valid: tiny-model"):
        read_run(tmp_path, model="gpt2")


def test_unknown_tasks_and_models_are_told(tmp_path: Path) -> None:
    fill(tmp_path / "run", jobs_of())
    with pytest.raises(InputError, match="unknown task 'xnli'"):
        read_run(tmp_path / "run", task="xnli")
    with pytest.raises(InputError, match="unknown model 'gpt2'"):
        read_run(tmp_path / "run", model="gpt2")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        report_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match="neither manifest"):
        report_run(tmp_path)
