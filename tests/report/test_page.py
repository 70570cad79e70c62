"""Laws of the report: everything is in it, nothing is loaded from elsewhere, no text becomes HTML, written whole."""

import os
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import single_sweep, synthetic_results
from xtl.errors import InputError
from xtl.report import page, write_report

ATTACK = "<script>alert(1)</script>"


class Outline(HTMLParser):
    """What a browser would see: tags with attributes, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture
def small_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the 4.7 MB of plotly.js, which makes a page slow to parse."""
    monkeypatch.setattr(page, "get_plotlyjs", lambda: "var Plotly;")


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    text = write_report(tmp_path / "report.html", synthetic_results()).read_text(encoding="utf-8")
    seen = Outline(text)
    for tag, attributes in seen.tags:
        assert not {"src", "href", "srcset", "action", "data"} & set(attributes), (tag, attributes)
    assert "@import" not in text.partition("</style>")[0]
    assert "url(" not in text.partition("</style>")[0]
    assert text.count("plotly.js v") == 1
    policy = next(a["content"] for tag, a in seen.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert '"showSendToCloud": false' in text


def test_the_page_has_summary_maps_examples_and_details(small_plotly: None) -> None:
    results = synthetic_results()
    text = page.render(results, command=["xtl", "sweep", "--to", "es sw"])
    seen = Outline(text)
    assert (
        sum(a.get("class") == "plotly-graph-div" for _, a in seen.tags) == 4
    )  # two figures for each of two directions
    assert seen.count("tr") == 1 + 4 + 1 + 8
    assert seen.count("caption") == 2
    assert all(a.get("scope") in ("col", "row") for tag, a in seen.tags if tag == "th")
    for part in (
        "tiny-model",
        "3 → 4",
        "in-sample",
        "All 8 examples",
        "torch 2.13.0",
        "xtl sweep --to 'es sw'",
        "packed",
    ):
        assert part in seen.text
    for name in ("source", "target", "gold"):
        assert all(str(value) in seen.text for value in results[name].values)


def test_the_sentences_agree_with_the_numbers(small_plotly: None) -> None:
    assert "The largest lift of Spanish comes from attn at target layer 4" in page.render(synthetic_results())
    harmful = synthetic_results()
    harmful["gain"] = -abs(harmful["gain"])
    assert "No target layer of any module lifts Spanish" in page.render(harmful)


def test_text_from_the_data_stays_text(small_plotly: None) -> None:
    results = synthetic_results(directions=[("en", ATTACK)], modules=[ATTACK, "mlp"])
    texts = {name: ("example", [ATTACK] * 4) for name in ("example", "source", "target", "gold")}
    results = results.assign_coords(texts)
    results.attrs |= dict.fromkeys(("model", "task", "score", "score_unit", "engine", "versions"), ATTACK)
    clean, attacked = Outline(page.render(synthetic_results(directions=[("en", "es")]))), page.render(
        results, title=ATTACK, command=ATTACK
    )  # fmt: skip
    assert ATTACK not in attacked
    seen = Outline(attacked)
    assert seen.count("script") == clean.count("script")
    assert seen.text.count(ATTACK) >= 3 * 4 + 6


def test_the_example_rows_tell_the_best_cell_and_vanilla(small_plotly: None) -> None:
    results = synthetic_results(directions=[("en", "es")], per_direction=2)
    results["gain"][:] = -1.0
    results["gain"][0, 1, 2, 5] = 0.25
    results["gain"][1] = np.nan
    results["vanilla_correct"][:] = [True, False]
    first, second = page._example_rows(page.plots.with_directions(results))
    assert (first["cell"], first["gain"], first["vanilla"]) == ("mlp 2 → 5", "+0.250", "yes")
    assert (second["cell"], second["gain"], second["vanilla"]) == ("–", "–", "no")


def test_examples_left_out_are_counted(small_plotly: None) -> None:
    seen = Outline(page.render(synthetic_results(), max_examples=3))
    assert "The first 3 of 8 examples." in seen.text
    assert seen.count("tr") == 1 + 4 + 1 + 3


def test_bare_results_make_a_page(small_plotly: None) -> None:
    bare = single_sweep()[["gain"]].reset_coords(drop=True)
    bare.attrs.clear()
    assert "?-&gt;?" in page.render(bare)


def test_right_to_left_prompts_are_marked(small_plotly: None) -> None:
    seen = Outline(page.render(synthetic_results(directions=[("en", "ar")], per_direction=1)))
    assert [(a["dir"], a["lang"]) for tag, a in seen.tags if tag == "div" and "dir" in a] == [
        ("auto", "en"),
        ("rtl", "ar"),
    ]


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, small_plotly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")

    def fail(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match="No space left"):
        write_report(target, synthetic_results())
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_bad_results_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gain"):
        write_report(tmp_path / "new" / "report.html", synthetic_results().drop_vars("gain"))
    assert os.listdir(tmp_path) == []


def test_the_file_is_readable_by_others_as_the_umask_says(tmp_path: Path, small_plotly: None) -> None:
    before = os.umask(0o022)
    try:
        path = write_report(tmp_path / "new" / "report.html", synthetic_results())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["report.html"]


def test_a_folder_as_path_is_an_input_error(tmp_path: Path, small_plotly: None) -> None:
    with pytest.raises(InputError, match="folder"):
        write_report(tmp_path, synthetic_results())
