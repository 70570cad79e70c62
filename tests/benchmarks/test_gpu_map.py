"""The script for a GPU runs as it is: nobody can mend it on a machine that is lent for half an hour."""

from __future__ import annotations

import json
import sys

import gpu_map
import pytest

pytestmark = pytest.mark.hooked


def rows_of(tmp_path, monkeypatch, *arguments):
    monkeypatch.setattr(
        sys, "argv", ["gpu_map.py", "--tiny", "--device", "cpu", "--json", str(tmp_path / "rows.json"), *arguments]
    )
    gpu_map.main()
    return json.loads((tmp_path / "rows.json").read_text())["rows"]


def test_every_precision_length_and_number_of_sources_is_a_row(tmp_path, monkeypatch):
    asked = ["--dtypes", "float32,bfloat16", "--tokens", "4", "--sources", "2", "--repeats", "1", "--peak", "1000"]
    rows = rows_of(tmp_path, monkeypatch, *asked)
    assert [(row["dtype"], row["sources"], row["cells"]) for row in rows] == [("float32", 2, 64), ("bfloat16", 2, 64)]
    assert all(row["difference_nats"] < (1e-4 if row["dtype"] == "float32" else 0.1) for row in rows)
    assert all(row["tflop_s"] > 0 and row["of_peak"] == "0%" for row in rows)


def test_what_the_time_left_cannot_hold_is_said(tmp_path, monkeypatch):
    rows = rows_of(tmp_path, monkeypatch, "--dtypes", "float32", "--tokens", "4", "--sources", "1", "--minutes", "0")
    assert [row["map_s"] for row in rows] == ["no time left"]
