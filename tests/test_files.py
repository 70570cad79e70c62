"""Files that are whole or not there."""

from __future__ import annotations

import os

import pytest

import xtl
from xtl.files import check_can_write, write_text


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, why in [
        ("pipe", "it is no file but a device or a pipe"),
        ("folder", "Is a directory"),
        ("x" * 300, "too long"),
    ]:
        with pytest.raises(xtl.InputError, match=f"^cannot write .*{why}"):
            write_text(tmp_path / name, "text")
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc")
def test_a_folder_that_takes_no_file_is_found_out_before_the_work(tmp_path):
    for folder, why in [("/proc/xtl", ".*"), (tmp_path / ("x" * 300), "File name too long")]:
        with pytest.raises(xtl.InputError, match=why):
            check_can_write(tmp_path.__class__(folder))
    check_can_write(tmp_path / "new/folder")
    assert not list(tmp_path.iterdir())
