"""The explorer: a cell is what the model says; clicks, choices and sliders show the same; it degrades to a picture."""

from __future__ import annotations

import builtins
import dataclasses
import sys
import types
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import xtl
from tests.conftest import SOURCE, TARGET
from tests.synthetic import PLANTED, single_sweep, synthetic_results
from xtl.backend import forward
from xtl.errors import InputError, XtlError
from xtl.explorer.explore import explore
from xtl.pairs import ParallelPair
from xtl.publish import display
from xtl.publish.notebook import show

PAIR = ParallelPair(SOURCE, TARGET, options=(" Paris", " Roma"), gold=0, source_lang="en", target_lang="es", id="fr")
OPEN = ParallelPair("A <b> c", "d <script>alert(1)</script> e")


@pytest.fixture(scope="module", params=["hooked", "bridge"])
def model(request: pytest.FixtureRequest, tiny_model: Any) -> Any:
    return tiny_model("llama", request.param)


@pytest.fixture(scope="module")
def explorer(model: Any) -> Any:
    return explore(model, [PAIR, OPEN], max_new_tokens=3)


def test_a_cell_is_what_a_transplant_gives(model: Any, explorer: Any) -> None:
    view = explorer.cell("attn", 1, 2)
    run = xtl.transplant(model, PAIR, module="attn", source_layer=1, target_layer=2, max_new_tokens=3)
    assert (view.transplant.text, view.transplant.vanilla_text) == (run.text, run.vanilla_text)
    before, after = run.vanilla_logits.float().softmax(-1), run.logits.float().softmax(-1)
    assert view.top["transplanted"].is_monotonic_decreasing
    assert view.top["transplanted"].max() == pytest.approx(float(after.max()), rel=1e-4)
    assert view.top["vanilla"].max() == pytest.approx(float(before.max()), rel=1e-4)


def test_the_lens_ends_where_the_model_ends_and_changes_from_the_target_layer_on(model: Any, explorer: Any) -> None:
    view = explorer.cell("mlp", 0, 2)
    ids = model.tokenizer(TARGET)["input_ids"]
    token = model.tokenizer(TARGET + " Paris")["input_ids"][len(ids)]
    last = view.lens.iloc[-1]
    for name, logits in (("vanilla", forward(model, ids)[-1]), ("transplanted", view.transplant.logits)):
        assert last[name] == pytest.approx(float(logits.float().softmax(-1)[token]), rel=1e-3)
        assert bool(last[f"{name}_top"]) == (int(logits.argmax()) == token)
    same = np.isclose(view.lens["vanilla"], view.lens["transplanted"], rtol=1e-5)
    assert same[:2].all()
    assert not same[2]


def test_a_token_that_ties_with_another_is_not_the_likeliest(tiny_folder: Any) -> None:
    model = xtl.load_model(tiny_folder("llama"), backend="bridge")
    weight = model.original_model.lm_head.weight
    options = tuple("abcdefgh")
    first, second = (model.tokenizer(TARGET + text)["input_ids"][-1] for text in options[:2])
    asked = xtl.ParallelPair(SOURCE, TARGET, options=options, gold=0)
    with torch.no_grad():
        weight.mul_(0.01)  # all others are about as likely as each other, and less so than the first where it is
        weight[first] = torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(0))
    alone = explore(model, asked, max_new_tokens=1).cell("mlp", 0, 2).lens
    assert alone["vanilla_top"].any() | alone["transplanted_top"].any()
    with torch.no_grad():
        weight[second] = weight[first]
    tied = explore(model, asked, max_new_tokens=1).cell("mlp", 0, 2).lens
    assert not tied["vanilla_top"].any()
    assert not tied["transplanted_top"].any()


def test_where_the_answer_appears_is_the_layer_from_which_it_stays(explorer: Any) -> None:
    tops = {"vanilla_top": [True, False, True, True], "transplanted_top": [True, True, True, False]}
    lens = pd.DataFrame({"layer": [0, 1, 2, 3], **tops})
    view = dataclasses.replace(explorer.cell("attn", 1, 2), token="x", lens=lens)
    assert view.appears("vanilla") == 2
    assert view.appears() is None
    assert view.in_words() == "'x' is the likeliest token: vanilla from layer 2 on; transplanted never."
    with pytest.raises(InputError, match="unknown run"):
        view.appears("other")


def test_a_pair_without_a_question_shows_where_answers_change(explorer: Any) -> None:
    result = explorer.result_of(1)
    changed = explorer.measures(1)["changed"]
    np.testing.assert_array_equal(changed.astype(bool), (result["text"] != result["vanilla_text"]).values)
    assert explorer.figure(pair=1).data[0].z.shape == changed[0].shape
    assert set(explorer.measures(0)) == {"gain", "correct"}


def test_clicks_choices_and_sliders_show_the_cell(model: Any, explorer: Any) -> None:
    pytest.importorskip("ipywidgets")
    pytest.importorskip("anywidget")
    from xtl.explorer.widget import Controls

    controls = Controls(explorer)
    gain = explorer.result["gain"].sel(module="attn")
    best = gain.isel(gain.argmax(("source_layer", "target_layer")))
    assert (controls.source.value, controls.target.value) == (int(best["source_layer"]), int(best["target_layer"]))
    np.testing.assert_allclose(controls.map.data[0].z, gain.values)

    class Points:
        xs, ys = ["2"], ["1"]

    controls._clicked(None, Points(), None)
    assert (controls.source.value, controls.target.value) == (1, 2)
    assert "attn 1 → 2" in controls.words.value
    view = explorer.cell("attn", 1, 2)
    np.testing.assert_allclose(controls.lens.data[1].y, view.lens["transplanted"])
    controls.module.value = "mlp"
    np.testing.assert_allclose(controls.map.data[0].z, explorer.result["gain"].sel(module="mlp").values)
    assert "mlp 1 → 2" in controls.words.value
    controls.source.value = 0
    assert "mlp 0 → 2" in controls.words.value
    controls.pair.value = 1
    assert controls.measure.options == (("answer changed", "changed"),)  # what is shown is what its name says
    assert "answer changed +" in controls.words.value
    assert "<script" not in controls.words.value
    assert "&lt;script&gt;" in controls.words.value


def test_a_click_at_an_edge_leaves_the_maps_ranges_and_the_cell_beside_it(explorer: Any) -> None:
    pytest.importorskip("ipywidgets")
    pytest.importorskip("anywidget")
    from xtl.explorer.widget import Controls

    controls = Controls(explorer)
    layers = len(controls.source.options)
    controls._set(controls.source.options[-1], controls.target.options[-1])
    for axis in (controls.map.layout.xaxis, controls.map.layout.yaxis):
        assert (axis.autorange, axis.range) == (False, (-0.5, layers - 0.5))
        assert len(axis.categoryarray) == layers
    choices, rest = controls.box.children
    assert controls.source in choices.children
    assert rest.children[0] is controls.map
    assert rest.children[1].children[0] is controls.words
    assert controls.map.layout.width + 20 * 16 < 760  # side by side at 1,200 px beside Jupyter's own bars


def test_line_breaks_of_answers_are_signs(explorer: Any) -> None:
    pytest.importorskip("ipywidgets")
    pytest.importorskip("anywidget")
    from xtl.explorer.widget import cell_html, tokens_html

    view = explorer.cell("attn", 1, 2)
    run = dataclasses.replace(view.transplant, text="Paris\n<b>\r\nEs\n")
    page = cell_html(dataclasses.replace(view, transplant=run), "x", "two\nlines", "y")
    assert "Paris⏎&lt;b&gt;⏎Es⏎<" in page
    assert "two\nlines" in page
    assert tokens_html(view).count("<tr>") == 1 + len(view.top)


def test_it_shows_a_widget_where_there_is_one_and_a_view_everywhere(
    explorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ipywidgets")
    pytest.importorskip("anywidget")
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "data:image/png;base64," in bundle["text/html"]
    load = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] in ("ipywidgets", "anywidget") or name == "xtl.explorer.widget":
            raise ImportError(f"No module named {name!r}")
        return load(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "xtl.explorer.widget", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(XtlError, match=r"pip install .*\[notebooks\]"):
        explorer.widget()
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" not in bundle
    assert "still view" in bundle["text/html"]


def test_colab_is_asked_for_its_widgets(explorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    asked: list[str] = []
    output = types.SimpleNamespace(enable_custom_widget_manager=lambda: asked.append("widgets"))
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(output=output))
    assert "application/vnd.jupyter.widget-view+json" in explorer._repr_mimebundle_()
    assert asked == ["widgets"]


def test_what_is_wrong_is_told_at_once(tiny_model: Any) -> None:
    model = tiny_model("llama")
    with pytest.raises(InputError, match="pair is empty"):
        explore(model, [])
    with pytest.raises(InputError, match="unknown module 'atn'"):
        explore(model, PAIR, modules=["atn"])
    with pytest.raises(InputError, match="out of range"):
        explore(model, PAIR, source_layers=[99])
    with pytest.raises(InputError, match="out of range"):
        explore(model, PAIR).cell("attn", 99, 0)
    for pair in (1, -1):
        with pytest.raises(InputError, match="pair must be a whole number from 0 to 0"):
            explore(model, PAIR).figure(pair=pair)


def test_a_view_of_a_result_says_what_was_found() -> None:
    view = show(synthetic_results(per_direction=6))
    module, i, j = PLANTED
    assert f"{module}: best cell {i} → {j}" in repr(view)
    assert "tiny-model, capitals, en → es: n = 6" in repr(view)
    page = view._repr_html_()
    assert page.count("<img") == 4
    assert f"best {i} → {j}" in page
    assert "n = 1," in repr(show(single_sweep()))


def test_in_ipython_a_result_shows_its_maps_and_other_datasets_show_as_they_did() -> None:
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    from traitlets.config import Config

    shell = interactive.InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    assert display.register(shell)
    result, other = single_sweep(), xr.Dataset({"a": ("x", [1.0])})
    (shown, _), (own, _) = (shell.display_formatter.format(data) for data in (result, other))
    assert show(result)._repr_html_() in shown["text/html"]
    assert shown["text/plain"] == repr(result)
    assert "<img" not in own["text/html"]
    without = result.drop_vars(["gain", "score", "correct"])
    assert "<img" not in display.dataset_html(without)
    assert not display.register(object())
    shell.restore_sys_module_state()


def test_a_view_escapes_and_says_what_it_leaves_out() -> None:
    results = synthetic_results(directions=[("en", f"x{k}") for k in range(14)], per_direction=1, modules=["<b>"])
    page = show(results)._repr_html_()
    assert "<b>&lt;b&gt;</b>" in page
    assert "and 2 more directions" in page
    with pytest.raises(InputError, match="no 'gain'"):
        show(results.drop_vars(["gain", "correct"]))


def test_hooks_are_off_again(model: Any, explorer: Any) -> None:
    ids = model.tokenizer(TARGET)["input_ids"]
    before = forward(model, ids)
    explorer.cell("attn", 0, 0)
    torch.testing.assert_close(forward(model, ids), before)


def test_the_explorers_map_has_a_line_where_layers_were_left_out():
    from xtl.explorer.widget import _map_figure

    lines = [(shape.x0, shape.y0) for shape in _map_figure([0, 1, 2], [0, 3, 4, 8]).layout.shapes]
    assert lines == [(0.5, 0), (2.5, 0)]
