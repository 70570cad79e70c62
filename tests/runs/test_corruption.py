"""Broken files of a run, each in each way: what comes of it is right, or one clear line; no traceback, no other numbers."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.runs.filling import content, files_of, fill, jobs_of
from xtl.errors import XtlError
from xtl.publish.export import export_run
from xtl.runs import open_run
from xtl.runs.reading import read_run
from xtl.runs.status import in_words, run_status
from xtl.runs.store import Store

JOBS = jobs_of()
DONE = 4
"""Pairs that are done: one direction, and one pair of the other, which is pending."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A run that was killed: one shard, one pair pending, one shard lacking."""
    folder = tmp_path_factory.mktemp("corruption") / "run"
    fill(folder, JOBS, most=3)
    with contextlib.suppress(RuntimeError), Store(folder, JOBS) as store:
        store.add(files_of(JOBS.all[3]))
        raise RuntimeError
    assert sum(path.name.startswith("000003.") for path in (folder / "pending").iterdir()) == 2
    (folder / "progress.json").write_text(json.dumps({"now": "capitals", "cells_per_second": 2.5, "seconds_left": 3}))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corruption") / "whole"
    fill(folder, JOBS)
    return folder


FILES = ["manifest.json", "study.yaml", "log.jsonl", "SHA256SUMS", "progress.json", ".lock", "cells/*", "vanilla/*",
         "pending/*.cells.*", "pending/*.vanilla.*"]  # fmt: skip


def flip(position: float, bit: int) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        data = bytearray(path.read_bytes())
        if data:
            data[int(position * (len(data) - 1))] ^= 1 << bit
        path.write_bytes(bytes(data))

    return harm


def replace_by_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


HARMS: dict[str, Callable[[Path], None]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "deleted": Path.unlink,
    "a folder": replace_by_folder,
    "another kind": lambda path: path.write_text("[1, 2]\n"),
    "null": lambda path: path.write_text("null\n"),
    "text": lambda path: path.write_text("{\"done\": \"x\"}\n"),
    **{f"bit {bit} at {position}": flip(position, bit)
       for position, bit in [(0, 1), (0.29, 6), (0.41, 2), (0.67, 5), (0.97, 1)]},
}  # fmt: skip
STRAYS = ["cells/stray.parquet", "cells/00000_copy.parquet", "vanilla/notes.txt", "pending/stray.parquet",
          "pending/x.cells.parquet", "pending/000099.cells.parquet", "pending/000004.vanilla.parquet", "notes.txt"]  # fmt: skip


def without_keys(path: Path) -> Iterator[str]:
    """The JSON file without each of its keys, one after another, those of its parts included; and with another value of each."""
    values = json.loads(path.read_text())

    def places(part: object, way: tuple = ()) -> Iterator[tuple]:
        items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, inner in items:
            yield (*way, key)
            yield from places(inner, (*way, key))

    for number, way in enumerate(places(values)):
        for other in ("gone", (None, "x", -1, [])[number % 4]):
            changed = json.loads(json.dumps(values))
            part = changed
            for key in way[:-1]:
                part = part[key]
            if other == "gone":
                del part[way[-1]]
            else:
                part[way[-1]] = other
            path.write_text(json.dumps(changed))
            yield f"{way} {other}"
    path.write_text(json.dumps(values))


def one_line(error: XtlError) -> str:
    assert "\n" not in str(error), error
    return str(error)


def check_readers(folder: Path, want, exports: bool = True) -> None:
    """What each reader says of a run is right, or it refuses in one line."""
    try:
        status = run_status(folder)
        assert in_words(status)
    except XtlError as error:
        one_line(error)
        status = None
    try:
        found = open_run(folder).load()
    except XtlError as error:
        one_line(error)
        return
    check_numbers(found, want)
    assert status is None or status["pairs_done"] == found.sizes["example"]
    assert found.attrs["pairs_here"] == found.sizes["example"]
    assert ("extent" in found.attrs) == (found.sizes["example"] < 6)
    if not exports:
        return
    try:
        results, notes = read_run(folder)
        assert notes
        check_numbers(results[0].load(), want)
        out = export_run(folder, "csv", folder.parent / "export.csv", partial=True)
        assert out.read_text().count("\n") == 1 + 32 * found.sizes["example"]
    except XtlError as error:
        one_line(error)
    with pytest.raises(XtlError):
        export_run(folder, "csv", folder.parent / "export.csv")


def check_numbers(found, want) -> None:
    """Each instance has its own numbers."""
    keys = list(zip(found["example"].values.tolist(), found["target_lang"].values.tolist(), strict=True))
    all_keys = list(zip(want["example"].values.tolist(), want["target_lang"].values.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    same = want.isel(example=[all_keys.index(key) for key in keys])
    assert set(found.data_vars) == set(want.data_vars)
    for name in want.data_vars:
        np.testing.assert_array_equal(found[name].values, same[name].values)


def check_resume(folder: Path, whole: Path) -> None:
    """Run again, the study is whole, or refused in one line with nothing computed."""
    try:
        fill(folder, JOBS)
    except XtlError as error:
        one_line(error)
        return
    assert run_status(folder)["pairs_done"] == 6
    assert content(folder) | {"SHA256SUMS": b""} == {**content(folder), **content(whole), "SHA256SUMS": b""}
    check_numbers(open_run(folder).load(), open_run(whole).load())


@pytest.mark.parametrize("pattern", FILES)
def test_a_broken_file_gives_right_numbers_or_one_line(base, whole, tmp_path, pattern):
    want = open_run(whole).load()
    for name, harm in HARMS.items():
        folder = shutil.copytree(base, tmp_path / name.replace(" ", "_") / "run")
        for path in folder.glob(pattern):
            harm(path)
        check_readers(folder, want, exports=name in ("truncated", "deleted", "a folder", "bit 2 at 0.41"))
        check_resume(folder, whole)
        shutil.rmtree(folder.parent)


@pytest.mark.parametrize("stray", STRAYS)
@pytest.mark.parametrize("kind", ["file", "folder", "copy"])
def test_a_file_that_is_none_of_the_runs_changes_nothing(base, whole, tmp_path, stray, kind):
    folder = shutil.copytree(base, tmp_path / "run")
    if kind == "folder":
        (folder / stray).mkdir()
    else:
        (folder / stray).write_bytes(b"x" if kind == "file" else next((folder / "cells").glob("0*")).read_bytes())
    assert run_status(folder)["pairs_done"] == DONE
    check_readers(folder, open_run(whole).load())
    fill(folder, JOBS)
    assert run_status(folder)["pairs_done"] == 6
    check_numbers(open_run(folder).load(), open_run(whole).load())


def test_a_manifest_without_a_key_or_with_another_value_gives_right_numbers_or_one_line(base, whole, tmp_path):
    want, folder = open_run(whole).load(), shutil.copytree(base, tmp_path / "run")
    for _ in without_keys(folder / "manifest.json"):
        try:
            status = run_status(folder)
            assert (status["pairs"], status["pairs_done"]) == (6, DONE)
            check_numbers(open_run(folder).load(), want)
        except XtlError as error:
            one_line(error)


def test_a_zeroed_journal_costs_nothing_that_the_checksums_vouch_for(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    (folder / "log.jsonl").write_bytes(bytes((folder / "log.jsonl").stat().st_size))
    assert run_status(folder)["pairs_done"] == 6
    with Store(folder, JOBS) as store:
        assert len(store.done) == 6
    assert content(folder) == content(whole)


def test_a_damaged_study_is_told_and_written_again(whole, tmp_path, capsys):
    folder = shutil.copytree(whole, tmp_path / "run")
    before = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(before.replace("limit: 3", "limit: 7"))
    assert "study.yaml" in run_status(folder)["damaged"]
    fill(folder, JOBS)
    assert "study.yaml is damaged" in capsys.readouterr().err
    assert (folder / "study.yaml").read_text() == before
    assert not run_status(folder)["damaged"]


@pytest.mark.parametrize("table", ["cells", "vanilla"])
def test_a_missing_shard_is_said_by_whatever_reads_the_run(run, whole, tmp_path, table):
    import pandas as pd

    folder = shutil.copytree(whole, tmp_path / "run")
    (gone,) = (folder / table).glob("*en-de*")
    gone.unlink()
    name = f"{table}/{gone.name}"
    code, said, _ = run("status", folder)
    assert (code, f"missing: {name}" in said, "1 of 2 directions whole" in said) == (0, True, True)
    assert "pairs 3/6" in said
    found = open_run(folder)
    assert (found.attrs["pairs_here"], found.attrs["pairs_in_run"]) == (3, 6)
    assert found.attrs["extent"] == f"3 of 6 pairs (capitals en->de 0 of 3); missing: {name}"
    _, notes = read_run(folder)
    assert any(name in note for note in notes)
    for form in ("csv", "parquet", "netcdf", "latex"):
        code, _, error = run("export", folder, "--format", form)
        assert (code, name in error, "--partial" in error) == (2, True, True)
        assert run("export", folder, "--format", form, "--partial")[0] == 0
    assert set(pd.read_csv(folder / "export.csv")["extent"]) == {"3 of 6 pairs"}
    assert set(pd.read_parquet(folder / "export.parquet")["extent"]) == {"3 of 6 pairs"}
    tex = (folder / "export.tex").read_text()
    assert tex.startswith("% of an unfinished run: 3 of 6 pairs")
    assert tex.count("3 of 6 pairs") == 2
    code, _, error = run("figure", folder, "--format", "html")
    assert (code, "3 of 6 pairs" in error) == (2, True)
    assert run("figure", folder, "--format", "html", "--partial")[0] == 0
    assert "Unfinished run: 3 of 6 pairs" in (folder / "gain_map.html").read_text()
    assert "extent" in pd.read_csv(folder / "gain_map.csv")
    _, _, error = run("analyse", "gain_maps", folder, "--out", tmp_path / "analyses")
    assert "3 of 6 pairs" in error


def test_exports_of_a_whole_run_say_nothing_of_parts(whole, tmp_path):
    out = export_run(whole, "csv", tmp_path / "all.csv")
    assert "extent" not in out.read_text().splitlines()[0]
    assert "extent" not in open_run(whole).attrs
