"""The store: its files, what it takes on disk, and every way of losing power, space or bytes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xtl
from tests.runs.filling import FORKS, content, files_of, fill, fill_and_die, fill_and_fail, jobs_of, map_of
from xtl import files
from xtl.runs.journal import Journal
from xtl.runs.lazy import open_run
from xtl.runs.status import run_status
from xtl.runs.store import Store


def expected(jobs, numbers=None, layers=4) -> xr.Dataset:
    chosen = [job for job in jobs.all if numbers is None or job.number in numbers]
    return xtl.concat_maps([map_of(job, layers) for job in chosen])


def check_equal(found: xr.Dataset, want: xr.Dataset) -> None:
    assert set(found.data_vars) == set(want.data_vars)
    for name in want.variables:
        np.testing.assert_array_equal(found[name].values, want[name].values, err_msg=str(name))
        assert found[name].dtype.kind == want[name].dtype.kind
        assert found[name].dims == want[name].dims


def test_what_is_kept_comes_back_as_concat_maps_gives_it(tmp_path):
    jobs = jobs_of()
    fill(tmp_path / "a run é 日", jobs)
    check_equal(open_run(tmp_path / "a run é 日"), expected(jobs))


def test_a_run_is_read_lazily(tmp_path):
    fill(tmp_path, jobs_of())
    results = open_run(tmp_path)
    assert not results.variables["gain"]._in_memory
    part = results["gain"].isel(example=[4, 0], source_layer=2)
    np.testing.assert_array_equal(part.values, expected(jobs_of())["gain"].values[[4, 0], :, 2])
    assert not results.variables["score"]._in_memory


def test_plots_and_statistics_take_it(tmp_path):
    from analyses.gain_maps import best_cells, compute

    fill(tmp_path, jobs_of(limit=6), layers=6)
    results = open_run(tmp_path)
    pd.testing.assert_frame_equal(
        best_cells(compute(results)), best_cells(compute(expected(jobs_of(limit=6), layers=6))), check_dtype=False
    )
    xtl.plots.gain_map(results, direction="en->es")


def test_a_cell_takes_at_most_12_bytes(tmp_path):
    jobs = jobs_of(limit=50, directions=["en:es"])
    fill(tmp_path, jobs, layers=18)
    cells = 50 * 2 * 18 * 18
    size = sum(path.stat().st_size for path in [*tmp_path.glob("cells/*"), *tmp_path.glob("vanilla/*")])
    assert size / cells <= 12


def test_the_tables_are_read_by_pandas_polars_duckdb_and_datasets(tmp_path):
    import pyarrow.parquet as pq

    jobs = jobs_of()
    fill(tmp_path, jobs)
    want = float(expected(jobs)["gain"].sel(module="mlp").sum())
    table = pd.read_parquet(tmp_path / "cells")
    assert len(table) == 6 * 32
    assert table["gain"].dtype == "float32"
    both = table.merge(pd.read_parquet(tmp_path / "vanilla"), on="pair", suffixes=("", "_again"))
    assert len(both) == len(table)
    np.testing.assert_allclose(both["score"] - both["vanilla_score"], both["gain"], atol=1e-5)
    chunk = pq.read_metadata(next(tmp_path.glob("cells/*"))).row_group(0).column(1)
    assert chunk.compression == "ZSTD"
    assert "RLE_DICTIONARY" in chunk.encodings
    polars = pytest.importorskip("polars")
    rows = polars.read_parquet(tmp_path / "cells").filter(polars.col("module") == "mlp")
    assert rows["gain"].cast(polars.Float64).sum() == pytest.approx(want, abs=1e-3)
    duckdb = pytest.importorskip("duckdb")
    query = f"select sum(gain::double) from '{tmp_path}/cells/*.parquet' where module = 'mlp'"
    assert duckdb.sql(query).fetchall()[0][0] == pytest.approx(want, abs=1e-3)
    from datasets import Dataset

    rows = Dataset.from_parquet([str(path) for path in tmp_path.glob("cells/*")], cache_dir=str(tmp_path / "cache"))
    assert len(rows) == len(table)
    assert set(rows["module"]) == {"attn", "mlp"}


def test_the_checksums_are_those_that_other_tools_compute(tmp_path):
    fill(tmp_path, jobs_of())
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 4
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_the_files_do_not_depend_on_the_order_of_work_or_on_pauses(tmp_path):
    jobs = jobs_of()
    fill(tmp_path / "once", jobs)
    with Store(tmp_path / "backwards", jobs) as store:
        for job in reversed(jobs.all):
            store.add(files_of(job))
    for _ in range(6):
        fill(tmp_path / "one by one", jobs, most=1)
    assert content(tmp_path / "once") == content(tmp_path / "backwards") == content(tmp_path / "one by one")


@pytest.fixture(scope="module")
def one_direction():
    return jobs_of(directions=["en:es"], limit=2)


@pytest.mark.xdist_group("forks")
def test_killed_at_any_step_nothing_that_was_done_is_lost_and_nothing_half_done_counts(tmp_path, one_direction):
    jobs = one_direction
    fill(tmp_path / "whole", jobs)
    added = kills = 0
    for at in range(1, 1000, 3):
        folder = tmp_path / f"killed {at}"
        process = FORKS.Process(target=fill_and_die, args=(str(folder), jobs, at))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -9
        kills += 1
        said = sum("done" in event for event in Journal(folder / "log.jsonl").events)
        seen = set()
        if (folder / "manifest.json").exists():
            try:
                results = open_run(folder)
            except xtl.InputError as error:
                assert "no map yet" in str(error)  # noqa: PT017
            else:
                seen = {job.number for job in jobs.all if job.example in results["example"].values}
                check_equal(results, expected(jobs, seen))
        assert said - 1 <= len(seen) <= said, "at most the pair that was being written is lost"
        assert len(seen) >= added - 1
        added = max(added, len(seen))
        with Store(folder, jobs) as store:
            assert seen <= store.done
        fill(folder, jobs)
        assert content(folder) == content(tmp_path / "whole")
        assert not list(folder.rglob("*.tmp"))
    assert kills > 20, "a run touches the disk at more places than that"


def test_a_full_disk_is_told_and_what_was_done_is_kept(tmp_path, monkeypatch):
    jobs = jobs_of()
    fill(tmp_path / "whole", jobs)
    fill(tmp_path / "full", jobs, most=2)
    real = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        real(self, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(xtl.InputError, match=r"cannot write .*No space left on device"):
            fill(tmp_path / "full", jobs)
    assert not list((tmp_path / "full").rglob("*.tmp"))
    assert open_run(tmp_path / "full").sizes["example"] == 2
    real_write = os.write

    def journal_full(handle: int, data: bytes) -> int:
        real_write(handle, data[:5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", journal_full)
        with pytest.raises(xtl.InputError, match="No space left on device"):
            fill(tmp_path / "full", jobs)
    fill(tmp_path / "full", jobs)
    assert content(tmp_path / "full") == content(tmp_path / "whole")


SMALL_DISK = """
import subprocess, sys
from pathlib import Path
import xtl
from tests.runs.filling import content, fill, jobs_of
from xtl.runs.lazy import open_run
folder, jobs = Path(sys.argv[1]), jobs_of(limit=12)

def mount(*options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", folder], check=True)

def told(say):
    try:
        fill(folder / "run", jobs, layers=12)
    except xtl.InputError as error:
        assert say in str(error), error
        print(error)
    else:
        raise AssertionError("nothing was said")

mount("size=100k")
told("No space left on device")
kept = open_run(folder / "run").sizes["example"]
assert 0 < kept < 24, kept
mount("remount", "size=10m", "ro")
told("Read-only file system")
assert open_run(folder / "run").load().sizes["example"] == kept
mount("remount", "size=10m", "rw")
fill(folder / "run", jobs, layers=12)
fill(Path(sys.argv[2]), jobs, layers=12)
assert content(folder / "run") == content(Path(sys.argv[2]))
mount("remount", "size=10m", "ro")
told("Read-only file system")
"""


def test_a_disk_that_is_really_full_and_one_that_is_really_read_only(tmp_path):
    """A small disk of its own, in a mount namespace: filled up, made read-only, made larger; then the run goes on."""
    alone = ["unshare", "--mount", "--map-root-user"]
    try:
        subprocess.run([*alone, "mount", "-t", "tmpfs", "none", tmp_path], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody mount a disk")
    (tmp_path / "disk").mkdir()
    command = [*alone, sys.executable, "-c", SMALL_DISK, tmp_path / "disk", tmp_path / "whole"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": os.getcwd()}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    with pytest.raises(xtl.InputError, match="cannot write"):
        fill(Path("/proc/xtl"), jobs_of())
    (tmp_path / "file").write_text("")
    with pytest.raises(xtl.InputError, match="cannot write"):
        fill(tmp_path / "file" / "run", jobs_of())
    fill(tmp_path / "run", jobs_of(), most=1)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("mkdir", "replace", "unlink", "write", "fsync"):
        monkeypatch.setattr(os, name, read_only)
    with pytest.raises(xtl.InputError, match="Read-only file system"):
        fill(tmp_path / "run", jobs_of())
    check_equal(open_run(tmp_path / "run"), expected(jobs_of(), {0}))


@pytest.mark.parametrize("where", ["cells", "vanilla", "pending"])
@pytest.mark.parametrize("harm", ["truncate", "flip", "empty", "swap"])
def test_a_damaged_file_is_found_said_set_aside_and_computed_again(tmp_path, capsys, where, harm):
    jobs = jobs_of()
    whole = fill(tmp_path / "whole", jobs)
    folder = tmp_path / "run"
    if where == "pending":
        fill_and_fail(folder, jobs)
    else:
        fill(folder, jobs)
    victim = sorted((folder / where).glob("*.parquet"))[0]
    data = bytearray(victim.read_bytes())
    if harm == "truncate":
        data = data[:-7]
    elif harm == "flip":
        data[len(data) // 2] ^= 16
    elif harm == "empty":
        data = bytearray()
    else:
        data = bytearray(sorted((folder / where).glob("*.parquet"))[1].read_bytes())
    victim.write_bytes(bytes(data))
    with pytest.raises(xtl.InputError, match="is damaged"):
        open_run(folder).load()
    with Store(folder, jobs) as store:
        assert run_status(folder)["pairs_done"] == len(store.done) < (2 if where == "pending" else 6)
    assert store.damaged == [str(victim.relative_to(folder))]
    assert fill(folder, jobs).damaged == []
    assert f"{victim} is damaged" in capsys.readouterr().err
    assert content(folder) == content(tmp_path / "whole")
    assert (folder / "damaged" / victim.relative_to(folder)).read_bytes() == data
    assert whole.damaged == []


def test_a_journal_with_damaged_lines_costs_what_they_vouched_for_and_no_more(tmp_path, capsys):
    jobs = jobs_of()
    fill(tmp_path, jobs)
    before = content(tmp_path)
    path = tmp_path / "log.jsonl"
    lines = path.read_bytes().split(b"\n")
    torn = next(index for index, line in enumerate(lines) if line.startswith(b'{"file": "cells/00000'))
    lines[torn] = b'{"file": "cel\xff'
    (tmp_path / "SHA256SUMS").unlink()  # it vouches too
    path.write_bytes(b"\n".join(lines) + b'{"file"')
    with Store(tmp_path, jobs) as store:
        assert store.done == {3, 4, 5}
    fill(tmp_path, jobs)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"directions": ["en:es"]}, r"tasks\[0\].directions en->es, en->de -> en->es"),
        ({"limit": 4}, "limit 3 -> 4"),
        ({"score": "none"}, "score likelihood -> none"),
        ({"modules": ["attn"]}, "modules attn, mlp -> attn"),
        ({"models": [{"dtype": "bfloat16"}]}, r"models\[0\].dtype float32 -> bfloat16"),
        ({"seed": 1}, "seed 0 -> 1"),
        ({"tasks": [{"name": "capitals", "n_options": 5}]}, r"tasks\[0\].n_options None -> 5"),
    ],
)
def test_a_changed_study_is_refused_and_what_changed_is_said(tmp_path, changes, said):
    fill(tmp_path, jobs_of())
    before = content(tmp_path)
    with pytest.raises(xtl.InputError, match=said):
        fill(tmp_path, jobs_of(**changes))
    assert content(tmp_path) == before


def test_changed_data_another_model_and_other_versions_are_refused(tmp_path, monkeypatch):
    jobs = jobs_of()
    fill(tmp_path, jobs)
    with Store(tmp_path, jobs) as store:
        record = {"weights_sha256": "a", "revision": "1", "n_layers": 4, "backend": "hooked", "dtype": "float32"}
        store.note_model("gemma-3-270m", record)
    with Store(tmp_path, jobs) as store:
        store.note_model("gemma-3-270m", record | {"device": "cuda"})
        with pytest.raises(xtl.InputError, match=r"model gemma-3-270m: weights_sha256 a -> b; .*revision 1 -> 2"):
            store.note_model("gemma-3-270m", record | {"weights_sha256": "b", "revision": "2"})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for change, said in [
        ({"versions": manifest["versions"] | {"torch": "1.0"}}, "version of torch 1.0 -> .*--allow-versions"),
        (
            {"data": [one | {"sha256": "0"} for one in manifest["data"]]},
            "data of capitals en->es; data of capitals en->de",
        ),
    ]:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(xtl.InputError, match=said):
            fill(tmp_path, jobs)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"versions": {"torch": "1.0"}}))
    with Store(tmp_path, jobs, allow_versions=True) as store:
        assert len(store.done) == 6


def test_the_manifest_says_what_the_run_was_made_with(tmp_path):
    fill(tmp_path, jobs_of())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert set(manifest["versions"]) >= {"xtl", "torch", "transformers", "transformer-lens"}
    assert [one["direction"] for one in manifest["data"]] == ["en->es", "en->de"]
    assert manifest["data"][0]["revision"][0].startswith("CLDR ")
    assert manifest["sessions"][0]["machine"]["cores"] == os.cpu_count()


def test_a_second_process_is_told_so(tmp_path):
    jobs = jobs_of()
    lock = f"lock = filelock.FileLock({str(tmp_path / '.lock')!r}); lock.acquire()"
    script = f"import time, filelock; {lock}; print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(xtl.InputError, match="another process is at work on"):
            fill(tmp_path, jobs)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    fill(tmp_path, jobs)  # a killed holder holds nothing


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(xtl.InputError, match=r"holds other things \(thesis.tex\)"):
        fill(tmp_path, jobs_of())
    with pytest.raises(xtl.InputError, match="no run at"):
        open_run(tmp_path)


def test_clock_jumps_change_nothing(tmp_path, monkeypatch):
    jobs = jobs_of()
    fill(tmp_path / "steady", jobs)
    jumps = iter(range(0, -(10**9), -86400))
    monkeypatch.setattr(time, "time", lambda: 1e9 + next(jumps))
    fill(tmp_path / "jumping", jobs, most=3)
    for path in (tmp_path / "jumping").rglob("*"):
        os.utime(path, (0, 2**33))
    fill(tmp_path / "jumping", jobs)
    assert content(tmp_path / "steady") == content(tmp_path / "jumping")


def test_ctrl_c_in_the_middle_of_a_shard_comes_after_it_is_whole(tmp_path, monkeypatch):
    jobs = jobs_of(directions=["en:es"])
    fill(tmp_path / "whole", jobs)
    real, pressed = Path.write_bytes, []

    def press(self: Path, data: bytes) -> int:
        if self.parent.name == "cells":  # the shard, joined from its pending maps
            real(self, data[: len(data) // 2])
            signal.raise_signal(signal.SIGINT)
            pressed.append(self.name)
        return real(self, data)

    with monkeypatch.context() as patch, Store(tmp_path / "run", jobs) as store:
        patch.setattr(Path, "write_bytes", press)
        for job in jobs.all[:2]:
            store.add(files_of(job))
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                store.add(files_of(jobs.all[2]))
        finally:
            signal.signal(signal.SIGINT, before)
    assert len(pressed) == 1
    assert content(tmp_path / "run") == content(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_waits_for_a_write(number):
    reached = []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, stop)

    def write():
        with files.uninterrupted():
            signal.raise_signal(number)
            reached.append(1)

    try:
        with pytest.raises(KeyboardInterrupt):
            write()
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
    assert reached == [1]


def test_several_models_are_opened_one_at_a_time(tmp_path):
    jobs = jobs_of(models=["gemma-3-270m", {"name": "gemma-3-270m", "dtype": "bfloat16"}])
    from xtl.runs.manifest import model_labels
    from xtl.runs.reports import MapFiles
    from xtl.runs.tables import encode_map

    labels = model_labels(jobs.study)
    with Store(tmp_path, jobs) as store:
        for job in jobs.all:
            store.add(MapFiles(job.number, *encode_map(map_of(job), job, labels[job.model])))
    with pytest.raises(xtl.InputError, match=r"several models.*float32.*bfloat16"):
        open_run(tmp_path)
    assert open_run(tmp_path, model=labels[1]).sizes["example"] == 6
    with pytest.raises(xtl.InputError, match="unknown model"):
        open_run(tmp_path, model="gpt2")
    with pytest.raises(xtl.InputError, match="unknown task"):
        open_run(tmp_path, model=labels[0], task="xnli")
