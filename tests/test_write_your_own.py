"""The page "write your own": each program on it runs as it stands, one after another, on a tiny model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import xtl

PAGE = Path(__file__).parents[1] / "docs" / "write-your-own.md"


def test_every_example_runs(tiny_model, tmp_path, monkeypatch, untyped):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    model = tiny_model("llama")
    monkeypatch.setattr(xtl, "load_model", lambda: model)
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["gains"]["module"].values.tolist() == ["attn", "values"]
    assert names["answers"].attrs["text_score"] == "begins"
    assert names["maps"].sizes["example"] == 6
    assert names["chance"].attrs["control"] == "turned"
    assert not np.allclose(names["maps"].gain, names["chance"].gain)
    assert names["data"]["share"].dims == ("direction", "module")
    assert len(names["table"]) >= 1
    assert names["policy"].held_out.control == "turned"
    for made in ("gains", "maps", "chance"):
        assert bool(np.isfinite(names[made].gain).all())
