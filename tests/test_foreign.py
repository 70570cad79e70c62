"""What others wrote acts nowhere: not in a terminal, not in LaTeX, not in a spreadsheet; and it comes back as it was."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runs.filling import files_of, jobs_of
from tests.synthetic import synthetic_results
from xtl import plots
from xtl.errors import InputError
from xtl.foreign import LATEX, as_json, for_csv, for_latex, frame_for_csv, from_csv, printable
from xtl.progress import SweepProgress
from xtl.protocols.tables import accuracy_table, write_table
from xtl.publish.export import export_run, latex_table
from xtl.publish.figure_files import save_figure
from xtl.runs.status import in_words, run_status
from xtl.runs.store import Store

HOSTILE = [
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "NA", "null", "nan", "None", "N/A", " NA", "'quoted", "''", "-",
    "a\nb", "a\x1b[2Jb", "París", "n/a", "#N/A", 'with "quotes", and commas',
]  # fmt: skip


def test_texts_come_back_from_csv_as_they_were_and_numbers_stay_numbers():
    table = pd.DataFrame({"id": HOSTILE, "gain": np.linspace(-2, 2, len(HOSTILE)), "n": -3})
    text = frame_for_csv(table).to_csv(index=False)
    back = pd.read_csv(io.StringIO(text))
    assert back["gain"].dtype == float
    assert (back["n"] == -3).all()
    np.testing.assert_allclose(back["gain"], table["gain"])
    assert back["id"].map(from_csv).tolist() == HOSTILE
    assert not any(str(one)[0] in "=+-@\t\r" for one in back["id"])


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1))
def test_whatever_the_text_it_comes_back(text):
    marked = for_csv(text)
    assert from_csv(marked) == text
    back = pd.read_csv(io.StringIO(pd.DataFrame({"id": [marked, "x"]}).to_csv(index=False)))["id"]
    assert back.notna().all()


def test_a_run_is_exported_so(tmp_path):
    jobs = jobs_of(limit=4)
    hostile = ["=cmd", "NA", "a\x1b[2J\nb", "null"]
    with Store(tmp_path / "run", jobs) as store:
        for job, example in zip(jobs.all[:4], hostile, strict=True):
            store.add(files_of(dataclasses.replace(job, example=example)))
    kept = pd.read_parquet(export_run(tmp_path / "run", "parquet", partial=True))
    told = pd.read_csv(export_run(tmp_path / "run", "csv", partial=True))
    assert list(dict.fromkeys(told["example"].map(from_csv))) == hostile
    for name in kept:
        if pd.api.types.is_numeric_dtype(kept[name]):
            np.testing.assert_allclose(told[name].astype(float), kept[name].astype(float), rtol=1e-6)
        else:
            assert told[name].map(from_csv).tolist() == kept[name].tolist()
    words = in_words({**run_status(tmp_path / "run"), "failed": {"a\x1b[2J\nb": "why\x07"}})
    assert "\x1b" not in words
    assert "  failed: a\\x1b[2J\\nb: why\\x07" in words.splitlines()


def test_latex_holds_no_command_of_others(tmp_path):
    hostile = "\\input{/etc/passwd}"
    results = synthetic_results(directions=[("en", hostile), ("e%n&", "$x^2$ ~#_")])
    results = results.assign_coords(task=("example", ["\\write18{rm}"] * results.sizes["example"])).assign_attrs(
        model="\\\\m\n%"
    )
    protocol = results.isel(module=[0], source_layer=[0], target_layer=[0]).assign_attrs(
        task="\\write18{rm}", split="a_b"
    )
    tables = [
        latex_table(results),
        write_table(accuracy_table(protocol), tmp_path / "t.tex").read_text(encoding="utf-8"),
    ]
    for text in tables:
        commands = set(re.findall(r"\\(?:[A-Za-z0-9]+|[^A-Za-z0-9])", text))
        assert not commands & {"\\input", "\\write18", "\\write", "\\m"}
        assert "\\textbackslash" in commands
        assert re.search(r"(?<!\\)[$]x", text) is None
        assert not [line for line in text.splitlines() if re.search(r"(?<!\\)%", line)]


@given(st.text())
def test_nothing_special_is_left_bare_in_latex(text):
    bare = for_latex(text).replace(r" $\to$ ", "")
    for written in sorted(LATEX.values(), key=len, reverse=True):
        bare = bare.replace(written, "")
    assert not set(bare) & set(LATEX)
    assert "\n" not in bare


@given(st.text())
def test_nothing_acts_on_a_terminal_and_what_is_plain_stays(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert printable(shown) == shown
    assert json.loads(as_json([text], indent=1)) == [text]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", as_json([text], indent=1))


def test_other_scripts_are_left_alone():
    for text in ("¿País?", "می‌خواهم", "हिन्दी", "中文，（A）", "👩‍👩‍👧"):
        assert printable(text) == text


def test_progress_and_errors_show_what_would_act(capsys, monkeypatch):
    bar = SweepProgress(1, 1, stream=io.StringIO())
    with bar:
        bar.language = "en->\x1b[31mes\n"
        assert "\\x1b[31mes\\n" in bar.line()
    from xtl import cli

    def fail(**_: object) -> None:
        raise InputError("no instance 'a\x1b[2J\nb'")

    monkeypatch.setattr(cli, "command", lambda: fail)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "xtl: no instance 'a\\x1b[2J\\nb'\n"


def test_the_numbers_beside_a_figure_are_told_so_too(tmp_path):
    results = synthetic_results(modules=["=cmd", "NA"])
    _, numbers = save_figure(plots.gain_map(results), tmp_path / "map.html")
    back = pd.read_csv(numbers)
    assert "=cmd" not in numbers.read_text(encoding="utf-8").replace("'=cmd", "")
    assert {"=cmd", "NA"} <= set(back.map(from_csv).to_numpy().ravel().tolist())
