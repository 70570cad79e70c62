"""Disks that are full and folders that are taken away, for everything that is written: one line, and nothing half there."""

from __future__ import annotations

import contextlib
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import plotly.graph_objects as go
import pytest
import torch

import xtl
from tests.runs.filling import content, files_of, fill, jobs_of
from tests.synthetic import synthetic_results
from xtl.plots import save_png
from xtl.protocols.tables import write_table
from xtl.publish import report_run
from xtl.publish.export import FORMATS, export_run
from xtl.publish.figure_files import export_figure
from xtl.runs import run_study, save_results
from xtl.runs.store import Store
from xtl.runs.tensors import write_tensor
from xtl.tasks.culture import Question, write_questions

STUDY = {"tasks": "capitals", "directions": ["en:es", "en:de"], "limit": 2}


@contextlib.contextmanager
def full_disk(room: int) -> Iterator[None]:
    """While it lasts no file can grow beyond `room` bytes: a write fails in the middle, in whatever library it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def write_nc(folder: Path) -> None:
    import analyses

    analyses.save(synthetic_results(), folder / "a.nc")


def draw_png(folder: Path) -> None:
    with mock.patch("xtl.plots.images.image_bytes", return_value=bytes(1000)):  # no browser is needed
        save_png(go.Figure(), folder / "a.png")


def analyse(folder: Path) -> None:
    from analyses.gain_maps import ANALYSIS, compute
    from xtl.commands.analyses import _write

    with mock.patch("xtl.analysis.save", lambda data, path: path):  # netCDF has a case of its own
        _write(ANALYSIS, compute(synthetic_results()), folder, False)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a tensor (safetensors)": lambda folder: write_tensor(folder / "a", torch.zeros(1000)),
    "results (Parquet)": lambda folder: save_results(synthetic_results(), folder / "results.parquet"),
    "an analysis (netCDF)": write_nc,
    "a table (pandas)": lambda folder: write_table(synthetic_results()["gain"].to_dataframe(), folder / "t.csv"),
    "a report": lambda folder: report_run(folder / "run"),
    **{form: (lambda folder, form=form: export_run(folder / "run", form)) for form in FORMATS},
    "a PNG": draw_png,
    "questions to translate": lambda folder: write_questions(
        folder / "a.jsonl", [Question("1", "What?" * 50, ("a", "b"))]
    ),
    "figures of an analysis": analyse,
    "a figure": lambda folder: export_figure(folder / "run", form="html"),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_is_one_line_whatever_is_written(tmp_path, what):
    fill(tmp_path / "run", jobs_of())
    before = names_in(tmp_path)
    with full_disk(200), pytest.raises(xtl.InputError, match=r"^cannot write '[^\n]*': File too large$"):
        WRITERS[what](tmp_path)
    assert names_in(tmp_path) - before == set(), "nothing half written is left"


@pytest.mark.parametrize("command", ["sweep", "protocol", "run"])
def test_commands_on_a_full_disk_say_so_and_go_on_once_there_is_room(run, loaded, tmp_path, command):
    asked = {
        "sweep": ["sweep", "--task", "capitals", "--source-lang", "en", "--target-lang", "es"],
        "protocol": ["protocol", "upper-bound", "--task", "capitals", "--languages", "es"],
        "run": ["run", "--tasks", "capitals", "--directions", "en:es"],
    }[command]
    asked += ["--models" if command == "run" else "--model", loaded, "--limit", "2", "--out", str(tmp_path / "out")]
    for room in (100, 2000):
        with full_disk(room):
            code, out, err = run(*asked)
        assert code == 2
        assert out == ""
        assert "cannot write" in err.splitlines()[-1]
        assert "Traceback" not in err
        assert not list(tmp_path.rglob("*.tmp"))
    code, _, err = run(*asked)
    assert code == 0, err


@pytest.mark.parametrize("room", [0, 100])
def test_activations_that_find_no_room_on_disk_stay_in_memory_and_that_is_told_once(
    loaded, tmp_path, monkeypatch, capsys, room
):
    from xtl.runs import activations

    real = activations.write_tensor

    def on_a_full_disk(*arguments, **options):
        with full_disk(room):
            real(*arguments, **options)

    run_study(STUDY | {"models": loaded}, tmp_path / "memory")
    monkeypatch.setattr(activations, "write_tensor", on_a_full_disk)
    outcome = run_study(STUDY | {"models": loaded}, tmp_path / "disk", activations="disk")
    assert (outcome.n_done, outcome.failed) == (4, {})
    assert content(tmp_path / "disk") == content(tmp_path / "memory")
    told = [line for line in capsys.readouterr().err.splitlines() if "kept in memory alone" in line]
    assert len(told) == 1
    assert "File too large" in told[0]


@pytest.mark.parametrize("taken", ["deleted", "moved", "moved, another there", "manifest", "journal", "tables"])
def test_a_run_whose_folder_is_taken_away_stops_and_makes_none(tmp_path, taken):
    folder, jobs = tmp_path / "run", jobs_of()
    with contextlib.suppress(xtl.InputError), Store(folder, jobs) as store:
        store.add(files_of(jobs.all[0]))
        if taken == "deleted":
            shutil.rmtree(folder)
        elif taken.startswith("moved"):
            folder.rename(tmp_path / "elsewhere")
        elif taken == "tables":
            shutil.rmtree(folder / "pending")
        else:
            (folder / {"manifest": "manifest.json", "journal": "log.jsonl"}[taken]).unlink()
        if taken.endswith("another there"):
            fill(folder, jobs_of(limit=1))
        left = names_in(tmp_path)
        with pytest.raises(xtl.InputError, match=r"^.*(no longer there|cannot write).*$"):
            store.add(files_of(jobs.all[1]))
        raise xtl.InputError("the run ends")
    assert names_in(tmp_path) == left
    if taken == "moved":
        fill(tmp_path / "elsewhere", jobs)
        fill(tmp_path / "whole", jobs)
        assert content(tmp_path / "elsewhere") == content(tmp_path / "whole")


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_command_whose_folder_is_deleted_in_mid_run_is_one_line(run, loaded, tmp_path, monkeypatch, command):
    from xtl.engine import driver

    real, calls = driver.compute, []

    def deleted_in_the_second(*arguments):
        calls.append(1)
        if len(calls) == 2:
            shutil.rmtree(tmp_path / "out")
        return real(*arguments)

    monkeypatch.setattr(driver, "compute", deleted_in_the_second)
    asked = {
        "run": ["run", "--tasks", "capitals", "--directions", "en:es", "--models", loaded],
        "sweep": ["sweep", "--task", "capitals", "--source-lang", "en", "--target-lang", "es", "--model", loaded],
    }[command]
    code, out, err = run(*asked, "--limit", "3", "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert "no longer there (deleted or moved" in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
