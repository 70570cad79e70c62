"""Figures for papers: the size asked for, vectors with embedded fonts, equal bytes, data beside, glyphs for every script."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from tests.runs.filling import fill, jobs_of
from tests.synthetic import PLANTED, synthetic_results
from xtl import plots
from xtl.errors import InputError
from xtl.plots.heatmaps import GREY
from xtl.publish import figure_files
from xtl.publish.figure_files import (
    as_vectors,
    export_figure,
    figure_data,
    missing_scripts,
    pixels,
    save_figure,
    stable,
)
from xtl.publish.figure_layout import LETTER, Size
from xtl.publish.figures import KINDS, STYLES
from xtl.runs import save_results

no_browser = pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), reason="no Chromium on this machine"
)
leaks = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""kaleido may leave its browser's pipes to the garbage collector."""
PAPER = Size(pixels("3.3in"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep."""
    folder = tmp_path_factory.mktemp("run")
    save_results(synthetic_results(per_direction=6), folder / "results.parquet")
    return folder


@no_browser
@pytest.mark.slow("Chromium")
@leaks
@pytest.mark.parametrize(("form", "kind"), [("pdf", "gain_map"), ("svg", "gain_map"), ("svg", "upper_bound")])
def test_a_file_has_the_width_asked_for_and_equal_figures_equal_bytes(
    run: Path, tmp_path: Path, form: str, kind: str
) -> None:  # fmt: skip
    pytest.importorskip("kaleido")
    files = [export_figure(run, form=form, kind=kind, out=tmp_path / f"{k}.{form}")[0].read_bytes() for k in range(2)]
    assert files[0] == files[1]
    if form == "svg":
        assert 'width="317"' in files[0][:300].decode()
        return
    pypdf = pytest.importorskip("pypdf")
    reader = pypdf.PdfReader(io.BytesIO(files[0]))
    assert len(reader.pages) == 1
    assert float(reader.pages[0].mediabox.width) / 72 == pytest.approx(3.3, abs=0.02)
    text = reader.pages[0].extract_text()
    assert "source layer" in text
    fonts = [font.get_object() for font in reader.pages[0]["/Resources"]["/Font"].values()]
    assert fonts
    for font in fonts:
        assert font["/Subtype"] == "/Type0"
        descriptor = font["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
        assert "/FontFile2" in descriptor or "/FontFile3" in descriptor


@no_browser
@pytest.mark.slow("Chromium")
@leaks
def test_a_png_has_600_dots_an_inch(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("kaleido")
    image = pytest.importorskip("PIL.Image")
    path, table = export_figure(run, form="png", kind="held_out", out=tmp_path / "a.png")
    assert image.open(path).size[0] == pytest.approx(3.3 * 600, abs=2)
    assert len(pd.read_csv(table)) == 2 * 2 * 3  # held out and in-sample, of each direction and set of modules


def test_a_held_out_gain_without_interval_says_why_it_has_no_bar() -> None:
    few, enough = (
        KINDS["held_out"](synthetic_results(per_direction=n), Size(pixels("3.3in"), "paper")).data[0] for n in (12, 29)
    )
    assert "too few instances" in few.name
    assert "too few instances" not in enough.name
    assert len(few.x) == len(enough.x)
    assert np.isnan(np.asarray(few.error_x.array)).all()  # no bar: not one of length 0
    assert min(enough.error_x.array) > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", STYLES)
def test_every_kind_fits_its_width_with_labels_of_its_size_and_says_its_data(kind: str, style: str) -> None:
    size = Size(pixels("3.3in"), style)
    figure = KINDS[kind](synthetic_results(per_direction=30 if kind == "interval_map" else 6), size)
    assert figure.layout.width == 317
    assert figure.layout.height > 100
    wanted = (8 if style == "paper" else 9) * 96 / 72
    assert figure.layout.font.size == wanted
    assert {axis.tickfont.size for axis in figure.select_xaxes()} == {wanted}
    assert (figure.layout.title.text is None) == (style == "paper")
    data = figure_data(figure)
    assert {"panel", "series", "x", "y"} <= set(data.columns)
    assert len(data) > 10


def test_a_title_that_is_too_long_for_the_width_says_what_it_is_of_below() -> None:
    results = synthetic_results(per_direction=6)
    narrow, wide = (KINDS["held_out"](results, Size(pixels(width), style="screen")) for width in ("3.3in", "7in"))
    assert wide.layout.title.subtitle.text is None
    assert wide.layout.title.text == f"{narrow.layout.title.text}: {narrow.layout.title.subtitle.text}"
    assert 0.65 * Size(0.0, style="screen").label * len(narrow.layout.title.text) < narrow.layout.width
    assert narrow.layout.height > wide.layout.height


def test_the_data_beside_a_map_are_its_cells() -> None:
    results = synthetic_results(per_direction=6)
    table = figure_data(KINDS["gain_map"](results, PAPER))
    spanish = results["gain"].values[results["target_lang"].values == "es"].astype("float64").mean(0)
    module, i, j = PLANTED
    cell = table[(table["panel"] == f"en → es, {module}") & (table["y"] == str(i)) & (table["x"] == str(j))]
    assert cell["value"].item() == pytest.approx(spanish[0, i, j])
    assert cell["n"].item() == 6
    assert cell["best"].item() == "best cell (in-sample)"
    assert (table["best"] != "").sum() == 4  # one a panel
    assert len(table) == 2 * 2 * 36


def test_all_panels_share_one_scale_symmetric_about_zero() -> None:
    figure = KINDS["gain_map"](synthetic_results(per_direction=6), PAPER)
    assert {trace.coloraxis for trace in figure.data if trace.type == "heatmap"} == {"coloraxis"}
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax


def test_vectors_cover_every_cell_once_with_its_colour_and_leave_gaps_alone() -> None:
    results = synthetic_results(directions=[("en", "es")], per_direction=6)
    results["gain"][:, 0, 2, 3] = np.nan
    figure = as_vectors(KINDS["gain_map"](results, PAPER))
    cells = [
        cell
        for shape in figure.layout.shapes
        if shape.xref == "x" and shape.fillcolor != GREY
        for cell in re.findall(r"M([-\d.]+),([-\d.]+)H", shape.path)
    ]
    places = {(round(float(y) + 0.5), round(float(x) + 0.5)) for x, y in cells}
    assert len(cells) == len(places) == 35
    assert (2, 3) not in places
    best = next(s for s in figure.layout.shapes if s.xref == "x" and s.path == "M3.5,2.5H4.5V3.5H3.5Z")
    assert best.fillcolor == "rgb(5, 48, 97)"  # the last blue: the planted cell is the largest gain
    assert all(trace.opacity == 0 for trace in figure.data if trace.type == "heatmap")
    grey = next(s for s in figure.layout.shapes if s.xref == "x" and s.fillcolor == GREY)
    assert grey.path == "M2.5,1.5H3.5V2.5H2.5Z"


def test_upper_bounds_are_drawn_where_they_lie_and_vanilla_is_named() -> None:
    results = synthetic_results(directions=[("en", "es")], per_direction=10)
    results["correct"][:] = np.arange(10)[:, None, None, None] < 8
    results["vanilla_correct"][:] = np.arange(10) < 7
    figure = KINDS["upper_bound"](results, PAPER)
    low, high = figure.layout.yaxis.range
    assert 60 < low < 70
    assert 80 < high < 90
    assert figure.layout.yaxis2.range == figure.layout.yaxis.range
    lines = [trace for trace in figure.data if trace.name == "vanilla"]
    assert [set(line.y) for line in lines] == [{70.0}] * 2
    assert not any(trace.showlegend for trace in figure.data)
    said = {note.text: note for note in figure.layout.annotations}
    assert set(said) == {"attn", "mlp", "attn+mlp", "vanilla"}
    assert {note.xref for note in said.values()} == {"x2 domain"}  # at the right
    at = sorted(note.y for note in said.values())
    height = figure.layout.height * (figure.layout.yaxis.domain[1] - figure.layout.yaxis.domain[0]) * 0.6
    assert min(np.diff(at)) * height / (high - low) > 0.9 * PAPER.label * 0.6  # none overlaps another
    many = KINDS["upper_bound"](synthetic_results(modules=[f"m{k}" for k in range(5)], per_direction=6), PAPER)
    assert "vanilla" in [trace.name for trace in many.data if trace.showlegend]


def test_lines_over_layers_have_their_ticks_at_the_layers_that_were_tried() -> None:
    results = synthetic_results(layers=[0, 4, 8, 12, 13, 17], per_direction=6)
    for kind in ("upper_bound", "layer_profile"):
        figure = KINDS[kind](results, Size(pixels("7in")))
        assert list(figure.layout.xaxis.tickvals) == [0, 4, 8, 12, 17]  # 13 has no room beside 12
        assert list(figure.data[0].x) == [0, 4, 8, 12, 13, 17]


def test_profiles_have_bands_where_instances_are_enough_and_none_where_they_are_not() -> None:
    few, enough = (KINDS["layer_profile"](synthetic_results(per_direction=n), PAPER) for n in (6, 30))
    assert not [trace for trace in few.data if trace.fill]
    bands = [trace for trace in enough.data if trace.fill]
    assert len(bands) == 2 * 2 * 2
    line = next(trace for trace in enough.data if not trace.fill)
    upper, lower = np.asarray(bands[0].y)[:6], np.asarray(bands[0].y)[6:][::-1]
    assert (lower < line.y).all()
    assert (line.y < upper).all()
    assert not set(figure_data(enough)["series"]) - {"attn", "mlp"}
    written = figure_data(enough).head(6)
    np.testing.assert_allclose(written["low"], lower)
    np.testing.assert_allclose(written["high"], upper)
    assert not {"low", "high"} & set(figure_data(few))
    without = figure_data(KINDS["held_out"](synthetic_results(per_direction=10), PAPER))
    assert without[["low", "high"]].isna().all(axis=None)  # fewer than 29 instances: no interval, and none of length 0


def test_an_interval_map_mutes_the_cells_whose_interval_holds_zero() -> None:
    results = synthetic_results(directions=[("en", "es")], per_direction=30)
    figure = KINDS["interval_map"](results, PAPER)
    _, i, j = PLANTED
    cover = np.asarray(figure.data[2].z, dtype=float)
    assert np.isnan(cover[i, j])
    assert np.isfinite(cover).sum() > 20
    assert not [trace for trace in as_vectors(figure).data if trace.opacity != 0]  # all are shapes
    with pytest.raises(InputError, match="6 instances are too few"):
        KINDS["interval_map"](synthetic_results(per_direction=6), PAPER)


def test_a_colour_bar_is_as_long_as_its_title_and_says_what_lies_beyond() -> None:
    results = synthetic_results(per_direction=6)
    results["gain"][:, 0, 0, 0] = -50
    for kind in ("gain_map", "accuracy_map", "layer_module"):
        for width in ("3.3in", "5in"):
            figure = KINDS[kind](results, Size(pixels(width)))
            bar = figure.layout.coloraxis.colorbar
            longest = max(len(line) for line in bar.title.text.split("<br>"))
            assert bar.lenmode == "pixels"
            assert bar.len >= 0.5 * PAPER.label * longest
            assert bar.ticktext[0].startswith("≤ −") == (kind != "accuracy_map")


def test_texts_of_a_narrow_figure_have_room() -> None:
    results = synthetic_results([("en", "es")], per_direction=6)
    for style in STYLES:
        size = Size(pixels("3.3in"), style)
        figure = KINDS["layer_module"](results, size)
        titles = [note for note in figure.layout.annotations if "en → es" in note.text]
        high, low = (max(len(line) for line in note.text.split("<br>")) * LETTER * size.label for note in titles)
        (first, last), (start, end) = (axis.domain for axis in list(figure.select_xaxes())[:2])
        between = (
            (start + end - first - last) / 2 * (figure.layout.width - figure.layout.margin.l - figure.layout.margin.r)
        )
        assert (high + low) / 2 < between - size.label
        bar = figure.layout.coloraxis.colorbar
        apart = np.diff(bar.tickvals).min() / np.ptp(bar.tickvals) * bar.len
        assert apart > 1.4 * size.label


def test_marks_in_print_are_explained_below() -> None:
    for n, words in ((6, "best cell (in-sample)"), (10, "best cell (held out)")):
        figure = KINDS["gain_map"](synthetic_results(per_direction=n, modules=["attn"]), PAPER)
        assert [note.text for note in figure.layout.annotations if "best" in note.text] == [words]
        assert [trace.name for trace in figure.data if trace.type == "scatter"] == [words] * 2
        assert {note.font.size for note in figure.layout.annotations} == {PAPER.label}


def test_dates_and_random_names_are_taken_out() -> None:
    one, two = (
        f'<defs id="defs-{a}"/><g class="cb{b} colorbar"/><g class="trace scatter trace{c}"/><path id="clip{a}xy"/>'
        f'<i fill="url(#g{a}-cb{b})"/>'.encode()
        for a, b, c in (("012abc", "ffffff", "123abc"), ("aaaaaa", "000111", "bbbbbb"))
    )  # fmt: skip
    assert stable(one, "svg") == stable(two, "svg")
    assert stable(b"/CreationDate (D:20261123074251+00'00')", "pdf") == b"/CreationDate (D:20000101000000+00'00')"


@pytest.mark.skipif(shutil.which("fc-list") is None, reason="no fontconfig on this machine")
def test_a_script_without_a_font_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(figure_files, "has_font", lambda character: not "\u1200" <= character <= "\u137f")
    figure = go.Figure(layout={"title": "አዲስ አበባ"})
    with pytest.raises(plots.FigureError, match=r"ETHIOPIC.*install Noto Sans Ethiopic"):
        save_figure(figure, tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("fc-list") is None, reason="no fontconfig on this machine")
def test_what_no_font_has_is_found_and_latin_is_never_asked_for() -> None:
    assert missing_scripts("Plain text, naïve → −1") in ({}, {"RIGHTWARDS": "→"})
    assert missing_scripts("\U000e0041\ue000") == {}  # marks and private characters are no script
    assert ("CJK" in missing_scripts("\U00030000")) != figure_files.has_font("\U00030000")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pie"}, "unknown kind 'pie'.*gain_map"),
        ({"form": "gif"}, "unknown format 'gif'.*pdf"),
        ({"style": "fancy"}, "unknown style"),
        ({"width": "wide"}, "write it as 3.3in"),
        ({"width": "3in2"}, "write it as 3.3in"),
        ({"width": "0.1in"}, "out of range"),
        ({"width": "1.2in"}, "too small"),
        ({"direction": "en->xx"}, "unknown direction"),
        ({"model": "gpt2"}, "unknown model"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(
    run: Path, tmp_path: Path, options: dict, message: str
) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=message):
        export_figure(run, **({"out": tmp_path / "a.pdf"} | options))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_and_results_without_right_answers_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither manifest"):
        export_figure(tmp_path)
    save_results(synthetic_results(options=False), tmp_path / "results.parquet")
    with pytest.raises(InputError, match="right answers"):
        export_figure(tmp_path, kind="accuracy_map")


def test_an_unfinished_run_is_drawn_as_far_as_it_is_and_a_direction_may_be_written_with_a_colon(tmp_path: Path) -> None:
    fill(tmp_path / "run", jobs_of(), most=2)
    path, table = export_figure(tmp_path / "run", form="html", direction="en:es", style="screen", partial=True)
    assert path == tmp_path / "run" / "gain_map.html"
    assert set(pd.read_csv(table)["n"]) == {2}


def test_a_direction_that_is_whole_is_drawn_as_one_of_a_run_that_is_not(tmp_path: Path) -> None:
    fill(tmp_path / "run", jobs_of(), most=4)  # all of en->es, and one of en->de
    with pytest.raises(InputError, match=r"4 of 6 pairs \(capitals en->de 1 of 3\)"):
        export_figure(tmp_path / "run", form="html")
    with pytest.raises(InputError, match=r"1 of 3 pairs \(capitals en->de 1 of 3\)"):
        export_figure(tmp_path / "run", form="html", direction="en:de")
    path, table = export_figure(tmp_path / "run", form="html", direction="en:es", style="screen")
    assert "Unfinished" not in path.read_text(encoding="utf-8")
    assert "extent" not in pd.read_csv(table)


def test_a_figure_and_its_numbers_are_two_files(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its numbers go there, as CSV"):
        export_figure(run, form="html", out=tmp_path / "figure.csv")
    assert not list(tmp_path.iterdir())


def test_no_browser_is_told_with_what_to_install(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kaleido")

    def no_browser(self: go.Figure, **options: object) -> bytes:
        raise RuntimeError("\n\nKaleido requires Google Chrome to be installed.\n")

    monkeypatch.setattr(go.Figure, "to_image", no_browser)
    with pytest.raises(plots.FigureError, match=r"PDF export found no Chrome.*apt-get install chromium"):
        export_figure(run, out=tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []
