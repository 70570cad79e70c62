"""Laws of the figures: right means, one colour scale symmetric about zero, nothing read as HTML."""

import builtins
import inspect
import logging
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr
from plotly.colors import get_colorscale, unlabel_rgb

from tests.synthetic import PLANTED, single_sweep, synthetic_results
from xtl import plots
from xtl.errors import InputError, XtlError
from xtl.plots import slots
from xtl.results import with_directions


def drawn(figure: go.Figure) -> list[np.ndarray]:
    return [np.asarray(trace.z, dtype=float) for trace in figure.data if trace.type == "heatmap"]


def title_of(figure: go.Figure) -> str:
    return f"{figure.layout.title.text}\n{figure.layout.title.subtitle.text}"


def test_gain_map_shows_the_mean_over_examples_with_source_layers_as_rows() -> None:
    results = synthetic_results(directions=[("en", "es")])
    expected = results["gain"].values.astype("float64").mean(axis=0)
    for panel, mean in zip(drawn(plots.gain_map(results)), expected, strict=True):
        np.testing.assert_allclose(panel, mean, rtol=1e-6)


def test_numbers_in_cells_are_those_of_their_cells_where_layers_were_left_out() -> None:
    dims = ("source_layer", "target_layer")
    values = xr.DataArray([[0.1, -0.2], [0.3, np.nan]], dims=dims, coords={dim: [0, 3] for dim in dims})
    panel = plots.Panel("attn", values, xr.ones_like(values, dtype=int), "")
    (trace,) = plots.heatmap_grid([panel], columns=1, title="", numbers="+.1f").data
    shown = [text for row in trace.text for text in row]
    assert np.shape(trace.text) == np.shape(trace.z)
    assert shown == [f"{z:+.1f}".replace("-", "−") if np.isfinite(z) else "" for z in np.ravel(trace.z)]


def test_gain_map_does_not_depend_on_the_order_of_dims() -> None:
    results = synthetic_results()
    turned = results.transpose("target_layer", "module", "example", "source_layer")
    for panel, other in zip(drawn(plots.gain_map(results)), drawn(plots.gain_map(turned)), strict=True):
        np.testing.assert_array_equal(panel, other)


def test_a_direction_draws_its_own_examples_only() -> None:
    results = synthetic_results()
    spanish = results["gain"].values[results["target_lang"].values == "es"].astype("float64").mean(axis=0)
    figure = plots.gain_map(results, direction="en->es")
    np.testing.assert_allclose(drawn(figure)[1], spanish[1], rtol=1e-6)
    assert "en → es" in title_of(figure)
    assert "n = 4" in title_of(figure)
    assert "sw" not in figure.layout.title.text


def test_an_unknown_direction_is_an_error_that_lists_the_valid_ones() -> None:
    with pytest.raises(InputError, match="en->es, en->sw"):
        plots.gain_map(synthetic_results(), direction="en->fr")


def test_a_single_sweep_without_example_dim_is_drawn_as_it_is() -> None:
    sweep = single_sweep()
    figure = plots.gain_map(sweep)
    np.testing.assert_allclose(drawn(figure)[0], sweep["gain"].values[0], rtol=1e-6)
    assert "n = 1 example;" in title_of(figure)
    assert "en → es" in title_of(figure)


def test_a_control_is_called_one_wherever_it_is_drawn() -> None:
    from analyses import gain_maps
    from xtl.publish import figures, page
    from xtl.publish.figure_layout import Size

    control = synthetic_results().assign_attrs(control="shuffled_source")
    said = "control shuffled_source"
    assert said in title_of(plots.gain_map(control))
    assert said in gain_maps.figure(gain_maps.compute(control)).layout.title.text
    assert said in figures.gain_map(control, Size(600.0, "screen")).layout.title.text
    assert "<title>Control shuffled_source: " in page.render(control)
    assert "control" not in title_of(plots.gain_map(synthetic_results())).lower()
    assert "<title>Transplants: " in page.render(synthetic_results())


def test_languages_that_are_not_known_leave_the_title_without_a_direction() -> None:
    sweep = single_sweep().drop_vars(["source_lang", "target_lang"])
    assert "?" not in title_of(plots.gain_map(sweep))
    assert with_directions(sweep)["direction"].values.tolist() == ["?->?"]


@pytest.mark.parametrize("draw", [plots.gain_map, plots.layer_module_heatmap])
def test_all_panels_share_one_scale_symmetric_about_zero(draw) -> None:  # type: ignore[no-untyped-def]
    figure = draw(synthetic_results())
    axis = figure.layout.coloraxis
    assert {trace.coloraxis for trace in figure.data if trace.type == "heatmap"} == {"coloraxis"}
    assert axis.cmin == -axis.cmax
    assert axis.cmid == 0
    assert axis.cmax == pytest.approx(max(np.abs(z).max() for z in drawn(figure)))


@pytest.mark.parametrize("value", [0.0, 1e-7, math.nan, -math.inf])
def test_maps_with_nothing_to_show_still_have_a_range(value: float) -> None:
    results = synthetic_results()
    results["gain"][:] = value
    assert (plots.gain_map(results).layout.coloraxis.cmin, plots.gain_map(results).layout.coloraxis.cmax) == (-1, 1)


def test_a_missing_cell_is_a_gap_and_leaves_the_mean_of_the_others() -> None:
    results = synthetic_results(directions=[("en", "es")])
    results["gain"][0, 0, 2, 1] = np.nan
    results["gain"][:, 1, 0, 0] = np.nan
    figure = plots.gain_map(results)
    attn, mlp = drawn(figure)
    assert attn[2, 1] == pytest.approx(results["gain"].values[1:, 0, 2, 1].mean(), rel=1e-5)
    assert figure.data[0].customdata[2, 1] == 3
    assert figure.data[0].customdata[0, 0] == 4
    assert np.isnan(mlp[0, 0])
    assert np.isnan(mlp).sum() == 1
    assert "grey" in title_of(figure)
    assert "grey" not in title_of(plots.gain_map(synthetic_results()))


def test_layer_module_heatmap_averages_over_the_layers_of_the_other_side() -> None:
    results = synthetic_results(directions=[("en", "es")])
    mean = results["gain"].values.astype("float64").mean(axis=0)
    as_target, as_source = drawn(plots.layer_module_heatmap(results))
    np.testing.assert_allclose(as_target, mean.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(as_source, mean.mean(axis=2), rtol=1e-6)


@pytest.mark.parametrize("layers", [range(5), range(18), range(26), range(0, 18, 3), [0, 1, 17], [0, 4, 8, 12, 13, 17]])
def test_layers_stand_at_their_numbers_and_cells_have_one_size(layers) -> None:  # type: ignore[no-untyped-def]
    results = synthetic_results(layers=list(layers))
    figure = plots.gain_map(results)
    names = [str(layer) for layer in range(layers[-1] + 1)]
    assert list(figure.data[0].x) == list(figure.data[0].y) == names
    z = drawn(figure)[0]
    np.testing.assert_allclose(z[np.ix_(layers, layers)], results["gain"].values.mean(0)[0], atol=1e-6)
    assert np.isfinite(z).sum() == len(layers) ** 2  # all else is blank
    for axis in (figure.layout.xaxis, figure.layout.yaxis, figure.layout.xaxis2, figure.layout.yaxis2):
        assert axis.type == "category"
        assert list(axis.categoryarray) == names
        assert axis.range == (-0.5, len(names) - 0.5)
        assert len(axis.tickvals) <= 9
        assert axis.tickvals[0] == "0"
        assert set(axis.tickvals) <= {str(layer) for layer in layers}
    assert figure.layout.xaxis.title.text == "target layer"
    assert figure.layout.yaxis.title.text == "source layer"


def test_a_map_of_few_layers_of_many_shortens_the_gaps_and_says_so_on_the_axis() -> None:
    layers = [0, 10, 20, 30, 31, 60, 70, 79]
    place = slots.slots("source_layer", layers, most=24)
    assert 16 <= len(place.labels) <= 24
    assert [place.labels[k] for k in place.held] == [str(layer) for layer in layers]
    assert place.held[4] == place.held[3] + 1  # 30 and 31 still touch
    gaps = np.diff(place.held) - 1
    assert gaps[4] == gaps.max()  # 32 to 59
    assert len(place.breaks) == 6
    figure = plots.gain_map(synthetic_results(layers=layers))
    broken = [shape for shape in figure.layout.shapes if "domain" in shape.xref + shape.yref]
    assert len(broken) == 2 * 2
    assert not [
        s for s in plots.gain_map(synthetic_results(layers=[0, 4, 8])).layout.shapes if "domain" in s.xref + s.yref
    ]


def test_cells_without_a_value_are_grey_and_layers_that_were_not_tried_blank() -> None:
    results = synthetic_results(layers=[0, 1, 4], modules=["attn"])
    results["gain"][:, 0, 2, 0] = np.nan
    shapes = plots.gain_map(results).layout.shapes
    assert [shape.path for shape in shapes if shape.fillcolor] == ["M-0.5,3.5H0.5V4.5H-0.5Z"]
    assert "M1.5,-0.5L1.5,0.5" in next(shape.path for shape in shapes if not shape.fillcolor)  # a frame beside layer 1


def test_losses_beyond_the_scale_are_said_on_the_colour_bar() -> None:
    results = synthetic_results()
    bar = plots.gain_map(results).layout.coloraxis.colorbar
    assert bar.ticktext[0].startswith("−")
    assert bar.ticktext[-1].startswith("+")
    results["gain"][:, 0, 0, 0] = -50
    figure = plots.gain_map(results)
    bar = figure.layout.coloraxis.colorbar
    assert bar.ticktext[0].startswith("≤ −")
    assert bar.tickvals[0] == figure.layout.coloraxis.cmin
    assert bar.tickvals[-1] == figure.layout.coloraxis.cmax
    assert list(bar.tickvals) == sorted(bar.tickvals)


def test_the_best_cell_is_marked_and_the_subtitle_says_whether_held_out() -> None:
    module, i, j = PLANTED
    for n, symbol, words in ((6, "diamond", "best cell (in-sample)"), (10, "circle", "best cell (held out)")):
        figure = plots.gain_map(synthetic_results(directions=[("en", "es")], per_direction=n))
        marks = [trace for trace in figure.data if trace.type == "scatter"]
        assert (marks[0].x, marks[0].y) == ((str(j),), (str(i),))
        assert marks[0].xaxis == figure.data[0].xaxis
        assert marks[0].marker.symbol == symbol
        assert f"{symbol}: {words}" in figure.layout.title.subtitle.text
    lucky = synthetic_results(directions=[("en", "es")], per_direction=10, modules=["mlp"])
    lucky["gain"][:] = -1.0
    lucky["gain"][:5, 0, 1, 1] = 50.0  # of the halves that have them it is the best, and the others lose by it
    lucky["gain"][5:, 0, 1, 1] = -49.0
    assert plots.gain_map(lucky).data[1].marker.symbol == "diamond"
    harm = synthetic_results().assign(gain=lambda data: data["gain"] * 0 - 1)
    assert [trace.type for trace in plots.gain_map(harm).data] == ["heatmap"] * 2
    assert module == "attn"


def test_title_names_model_task_and_unit_and_can_be_replaced() -> None:
    figure = plots.gain_map(synthetic_results())
    for part in ("tiny-model", "capitals", "nats", "n = 8", "gold option"):
        assert part in title_of(figure)
    assert plots.gain_map(synthetic_results(), title="mine").layout.title.text == "mine"


def test_hover_names_module_cell_gain_with_unit_and_n() -> None:
    results = synthetic_results()
    results.attrs["score_unit"] = "bits"
    hover = plots.gain_map(results).data[1].hovertemplate
    for part in ("mlp", "source layer %{y}", "target layer %{x}", "%{z", "bits", "n = %{customdata}"):
        assert part in hover


def test_text_from_the_data_is_never_read_as_html_latex_or_hover_variable() -> None:
    results = synthetic_results(modules=["<b>m</b>%{z}", "mlp"])
    results.attrs |= {"model": "<script>alert(1)</script>", "task": "$x$", "score": "<i>s</i>"}
    assert "&#37;{z}<br>source layer" in plots.gain_map(results).data[0].hovertemplate
    for figure in (plots.gain_map(results), plots.layer_module_heatmap(results)):
        text = figure.to_json()
        for raw in ("<script", "\\u003cscript", "<b>m", "\\u003cb\\u003em", "$x$", "<i>", "\\u003ci\\u003e"):
            assert raw not in text


def test_the_colour_scale_is_as_dark_on_both_sides_and_runs_from_red_to_blue() -> None:
    colours = [unlabel_rgb(colour) for _, colour in get_colorscale(plots.COLOUR_SCALE)]
    light = [0.2126 * (r / 255) ** 2.2 + 0.7152 * (g / 255) ** 2.2 + 0.0722 * (b / 255) ** 2.2 for r, g, b in colours]
    assert all(abs(low - high) < 0.06 for low, high in zip(light, light[::-1], strict=True))
    assert colours[0][0] > colours[0][2]
    assert colours[-1][2] > colours[-1][0]
    assert max(light) == light[len(light) // 2]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data.drop_vars("gain"), "no 'gain'"),
        (lambda data: data.isel(source_layer=0), "lacks source_layer"),
        (lambda data: data.expand_dims(seed=2), "has seed"),
        (lambda data: data.isel(example=slice(0)), "empty"),
        (lambda data: data["gain"], "DataArray"),
    ],
)
def test_unfit_data_is_an_error_that_says_what_is_wrong(spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        inspect.unwrap(with_directions)(spoil(synthetic_results()))


def test_plots_load_neither_torch_nor_analyses() -> None:
    code = "import sys, xtl.plots; sys.exit(any(name in sys.modules for name in ('torch', 'analyses')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(plots.__file__).parents[2]).returncode == 0


def test_save_png_writes_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr(go.Figure, "to_image", lambda self, **options: asked.update(options) or b"image")
    assert plots.save_png(go.Figure(), tmp_path / "a.png", 300, 200, 1.5).read_bytes() == b"image"
    assert asked == {"format": "png", "width": 300, "height": 200, "scale": 1.5}


def test_save_png_without_kaleido_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without_kaleido(name: str, *rest, **named):  # type: ignore[no-untyped-def]
        if name.startswith("kaleido"):
            raise ImportError(name)
        return load(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_kaleido)
    with pytest.raises(XtlError, match="pip install"):
        plots.save_png(go.Figure(), tmp_path / "a.png")


def test_save_png_without_a_browser_says_how_to_install_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kaleido")

    def no_browser(self: go.Figure, **options: object) -> bytes:
        raise RuntimeError("\n\nKaleido requires Google Chrome to be installed.\n")

    monkeypatch.setattr(go.Figure, "to_image", no_browser)
    with pytest.raises(plots.FigureError, match="apt-get install chromium") as caught:
        plots.save_png(go.Figure(), tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.png").exists()


def test_save_png_into_a_folder_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        plots.save_png(go.Figure(), tmp_path / "none" / "a.png")


def test_a_few_wrecked_cells_do_not_bleach_the_gains() -> None:
    results = synthetic_results()
    gain = results["gain"].values
    gain[:] = 0.1
    gain[..., 0, 0] = -50.0
    gain[..., 2, 2] = 0.4
    figure = plots.gain_map(results)
    assert figure.layout.coloraxis.cmax == pytest.approx(0.4)
    assert figure.layout.coloraxis.cmin == pytest.approx(-0.4)
    assert "2 losses beyond -0.4 have the last colour" in figure.layout.title.subtitle.text


def test_long_names_of_rows_and_columns_have_room() -> None:
    names = ["capitals, gemma-3-270m", "official_languages, gemma-3-270m", "capitals, SmolLM2-135M-Instruct (Q4_1)"]
    values = xr.DataArray(
        np.eye(3), dims=("chosen_on", "measured_on"), coords={"chosen_on": names, "measured_on": names}
    )
    figure = plots.heatmap_grid([plots.Panel("", values, xr.ones_like(values, dtype=int), "")], columns=1, title="t")
    assert figure.layout.margin.l > 6 * len("SmolLM2-135M-Instruct") + 30
    assert figure.layout.width - figure.layout.margin.l - figure.layout.margin.r == 440  # the panel is as wide as ever
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        assert max(len(line) for text in axis.ticktext for line in text.split("<br>")) <= 22
    assert plots.gain_map(synthetic_results()).layout.margin.l == 70


HOSTILE = "<b>q</b>$x^2$%{y}"


def _texts(part: Any) -> Iterator[str]:
    """Every text of a figure that is shown."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for name, value in part.items():
            if name != "legendgroup":
                yield from _texts(value)
    elif isinstance(part, (list, tuple, np.ndarray)):
        for value in part:
            yield from _texts(value)


def test_no_label_is_a_tag_mathematics_or_a_variable() -> None:
    from analyses import gain_maps, upper_bound
    from xtl.plots import lines
    from xtl.publish import figures
    from xtl.publish.figure_layout import Size

    data = synthetic_results(
        directions=[("en", HOSTILE), (HOSTILE, "es")], modules=["attn", HOSTILE], per_direction=6, layers=[0, 1]
    )
    data = data.assign_attrs(model=HOSTILE, task=HOSTILE, score_unit=HOSTILE)
    data = data.assign_coords(example=[HOSTILE + str(k) for k in range(12)], task=("example", [HOSTILE] * 12))
    line = lines.Line(HOSTILE, [0, 1], np.array([0.0, 1.0]))
    drawn = [
        plots.gain_map(data, title=HOSTILE), plots.layer_module_heatmap(data),
        *(draw(with_directions(data), Size(400.0, "screen")) for name, draw in figures.KINDS.items() if name != "interval_map"),
        *gain_maps.figures(gain_maps.compute(data, instances=2)).values(),
        *upper_bound.figures(upper_bound.compute(data)).values(),
        lines.line_grid([(HOSTILE, [line])], columns=1, title=HOSTILE, subtitle=HOSTILE, y=HOSTILE),
    ]  # fmt: skip
    shown = [text for figure in drawn for text in _texts(figure.to_dict())]
    assert any("&lt;b&gt;q&lt;/b&gt;&#36;x^2&#36;" in text for text in shown)
    assert [text for text in shown if "<b>q" in text or "$x" in text or "&#36;%{y}" in text] == []


def test_panels_of_lines_have_titles_within_their_width_and_grey_lines_of_their_own() -> None:
    from xtl.plots import lines

    own = [
        lines.Line(name, [0, 1], np.array([0.2, 0.3]), faint=name != "attn") for name in ("attn", "control", "chance")
    ]
    title = "knowledge (n = 120): layer as source and target"
    figure = lines.line_grid([(title, own)] * 4, columns=3, title="t", subtitle="s", y="share", x="layer")
    assert max(len(part) for part in figure.layout.annotations[0].text.split("<br>")) < 300 / 7
    dashes = {trace.name: trace.line.dash for trace in figure.data}
    assert len(set(dashes.values())) == 3
    assert [axis.title.text for axis in figure.select_xaxes()][:4] == [None, "layer", "layer", "layer"]


def test_what_the_browsers_driver_says_of_itself_is_not_shown_and_a_failure_is_tried_again(monkeypatch, caplog):
    tries = []

    def to_image(self, **options):
        tries.append(options)
        logging.getLogger("choreographer.channels.pipe").error("JSONError decoding message. Ignoring")
        if len(tries) == 1:
            raise ValueError("the browser said nothing")
        return b"image"

    monkeypatch.setattr(go.Figure, "to_image", to_image)
    pytest.importorskip("kaleido")
    assert plots.image_bytes(go.Figure(), "png") == b"image"
    assert len(tries) == 2
    assert caplog.records == []
    monkeypatch.setattr(go.Figure, "to_image", lambda *_, **__: (_ for _ in ()).throw(ValueError("nothing")))
    with pytest.raises(plots.FigureError, match=r"PNG export failed twice \(ValueError\)") as caught:
        plots.image_bytes(go.Figure(), "png")
    assert "\n" not in str(caught.value)
