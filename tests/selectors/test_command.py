"""`xtl select`, the analysis and the figures: they say what the table says."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from analyses import selection
from xtl import selectors
from xtl.analysis import Request, save
from xtl.errors import InputError
from xtl.plots.selection import NULLS, cost_figure, gain_figure
from xtl.results import concat_maps
from xtl.runs import save_results
from xtl.selectors.reading import wide_table

REAL, CONTROLS = selectors.simulate(n_questions=24, n_layers=2, planted={("attn", 1, 0): 4.0})
NAMES = ["vote_best", "contrast"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("selection")
    for name, data in (("real", REAL), ("control", CONTROLS[0]), ("control1", CONTROLS[1])):
        save_results(data, folder / name / "results.parquet")
    return [str(folder / name) for name in ("real", "control", "control1")]


def test_the_command_prints_the_table_and_writes_it_with_its_figures(run, stored, tmp_path) -> None:  # type: ignore[no-untyped-def]
    real, control, other = stored
    given = ["select", real, "--control", control, "--control", other, "--selectors", ",".join(NAMES), "--splits", "2"]
    code, out, err = run(*given, "--out", tmp_path / "out")
    assert code == 0, err
    expected = selectors.evaluate(REAL, CONTROLS, NAMES, n_splits=2)
    assert "new: questions; n = 48 of 24 questions, 4 cells" in out
    for name in ("vanilla", "corrected bound", *NAMES):
        assert f"{100 * expected.loc[name, 'accuracy']:.0f}%" in next(
            line for line in out.splitlines() if line.startswith(name)
        )
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["selection.csv", "selection.html", "selection_cost.html"]
    table = pd.read_csv(tmp_path / "out" / "selection.csv", index_col="selector")
    np.testing.assert_allclose(table["accuracy"], expected["accuracy"])
    code, out, err = run(*given, "--across", "none,language", "--json")
    assert [one["across"] for one in json.loads(out)] == ["none", "language"]
    assert json.loads(out)[0]["table"]["contrast"]["kind"] == "selector"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--selectors", "vot"], "unknown selectors 'vot' (did you mean 'vote'?)"),
        (["--selectors", "vote,vote"], "--selectors 'vote,vote' names 'vote' twice"),
        (["--across", "languages"], "unknown --across 'languages'"),
        (["--splits", "1"], "n_splits must be a whole number of at least 2"),
        (["--probes", "p.nc"], "--probes goes with --alignment"),
        (["--alignment", "nothing.nc"], "--alignment 'nothing.nc' is no file of `xtl analyse`"),
    ],
)
def test_a_mistake_is_one_line(run, stored, flags, line) -> None:  # type: ignore[no-untyped-def]
    code, out, err = run("select", stored[0], "--control", stored[1], *flags)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert line in err


def test_without_a_control_it_is_refused(run, stored) -> None:  # type: ignore[no-untyped-def]
    code, _, err = run("select", stored[0])
    assert (code, err.count("\n")) == (2, 1)
    assert "select needs --control" in err


def test_a_control_twice_and_a_run_without_details_are_one_line(run, stored, tmp_path) -> None:  # type: ignore[no-untyped-def]
    code, _, err = run("select", stored[0], "--control", stored[1], "--control", stored[1])
    assert code == 2
    assert "--control names a run twice" in err
    save_results(REAL.drop_vars(["option_logprob", "vanilla_option_logprob", "source_option_logprob", "option"]),
                 tmp_path / "results.parquet")  # fmt: skip
    code, _, err = run("select", tmp_path, "--control", stored[1])
    assert code == 2
    assert "xtl run --details options" in err


def test_layers_chosen_before_any_label_come_from_the_curves(run, stored, tmp_path) -> None:  # type: ignore[no-untyped-def]
    layers = {"module": ["attn"], "layer": [0, 1]}
    alignment = xr.Dataset(
        {"retrieval": (("direction", "module", "layer"), [[[0.2, 0.9]]])}, {"direction": ["x"], **layers}
    )
    save(alignment, tmp_path / "alignment.nc")
    code, out, err = run("select", stored[0], "--control", stored[1], "--selectors", "vote", "--splits", "2",
                         "--alignment", tmp_path / "alignment.nc")  # fmt: skip
    assert code == 0, err
    assert re.search(r"aligned_layers +\d+%", out)


def test_the_analysis_says_what_its_table_says() -> None:
    data = selection.compute(REAL, CONTROLS, selectors=NAMES, n_splits=2)
    assert list(data["across"].values) == ["none", "language"]
    table = selection.table(data)
    expected = selectors.evaluate(REAL, CONTROLS, NAMES, n_splits=2)
    assert table.loc["vote_best", "accuracy"] == pytest.approx(expected.loc["vote_best", "accuracy"])
    best = table[table["kind"] == "selector"]["accuracy"].idxmax()
    words = selection.in_words(data, "none")
    assert words[0].startswith(f"The best selector, {best}, is right in {table.loc[best, 'accuracy']:.0%} of n = 48")
    verdict = "its nulls hold" if table.loc[best, "null_holds"] else "a null does not hold"
    assert any(verdict in one for one in words)
    assert selection.words(data)[0].startswith("new questions: ")
    assert set(selection.figures(data)) == {
        "selection",
        "selection_cost",
        "selection_language",
        "selection_cost_language",
    }
    with pytest.raises(InputError, match="unknown across"):
        selection.in_words(data, "task")


def test_the_analysis_s_data_can_be_stored(tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = selection.compute(REAL, CONTROLS[:1], selectors=["contrast"], across=["none"], n_splits=2)
    again = xr.load_dataset(save(data, tmp_path / "selection.nc"))
    assert "second control" in str(again["reason"].sel(across="none", selector="contrast").item())
    assert selection.words(again) == selection.words(data)
    assert not any("its nulls hold" in one for one in selection.words(data))  # one of the two could not be judged
    assert selection.words(data)[-1].endswith(
        "needs a control to contrast with: give a second control, of another seed."
    )


def test_a_request_opens_the_run_and_its_control(stored) -> None:  # type: ignore[no-untyped-def]
    request = Request(runs=[stored[0]], control=stored[1])
    selection.ANALYSIS.check(request)
    opened = request.open_run()
    xr.testing.assert_equal(
        opened["option_logprob"].load().drop_vars("example"), REAL["option_logprob"].drop_vars("example")
    )
    with pytest.raises(InputError, match="compares a run with a control"):
        selection.ANALYSIS.check(Request(runs=[stored[0]]))


def test_figures_show_every_judged_selector_and_refuse_other_tables() -> None:
    table = selectors.evaluate(REAL, CONTROLS[:1], NAMES, n_splits=2)
    figure = cost_figure(table)
    named, (low, high) = sorted(note.y for note in figure.layout.annotations), figure.layout.yaxis.range
    assert len(named) == 4
    assert min(np.diff(named)) > 11 * (high - low) / 360  # bounds' names stand apart, however near the bounds
    shown = {trace.name for trace in figure.data}
    assert shown == {"vanilla", "source_answer", "fixed", "vanilla_contrast", *NAMES}
    assert [trace.name for trace in gain_figure(table).data] == list(NULLS.values())
    for function in (cost_figure, gain_figure, wide_table):
        with pytest.raises(InputError, match=r"the result of xtl\.selectors\.evaluate"):
            function(pd.DataFrame())


def test_two_tasks_are_told_apart() -> None:
    other = REAL.assign_coords(example=[f"other/{k // 2}" for k in range(48)]).assign_attrs(task="other")
    both = [concat_maps([one.assign_coords(task=("example", [name] * 48)) for name, one in (("a", first), ("b", second))])
            for first, second in ((REAL, other),)]  # fmt: skip
    table = selectors.evaluate(both[0], [], ["vote_best"], across="task", nulls=False, n_splits=2)
    assert table.loc["vote_best", "accuracy"] > 0.9
    assert table.attrs["n_questions"] == 48


def test_the_analysis_takes_several_controls_and_others_one(run, stored, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    real, control, other = stored
    compute = selection.compute
    monkeypatch.setattr(
        selection, "compute", lambda *maps: compute(*maps, selectors=["contrast"], across=["none"], n_splits=2)
    )
    both = ["--control", control, "--control", other, "--out", tmp_path / "out"]
    code, out, err = run("analyse", "selection", real, *both)
    assert code == 0, err
    assert "needs a control to contrast with" not in out
    for name, given, why in [
        ("is_it_real", both, "is_it_real takes one control, and 2 were given"),
        ("selection", ["--control", control, *both], "control names a run twice: give controls of different seeds"),
    ]:
        code, out, err = run("analyse", name, real, *given)
        assert (code, out) == (2, "")
        assert err == f"xtl: {why}\n"
