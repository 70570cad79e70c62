"""The registry and `xtl analyse`: every analysis runs, stores what it computed, says what it found, and refuses what is wrong."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import analyses
from xtl import stats
from xtl.errors import InputError
from xtl.runs import save_results

REAL, CONTROL = stats.simulate(
    languages=["es", "sw"], n_layers=4, planted={("attn", 1, 2): 3.0}, control=True, n_instances=12
)
COUNTRIES = ("FR", "GH", "DE", "ML", "IT", "SN", "ES", "UG", "PL", "ZM", "SE", "RW")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, data in (("real", REAL), ("control", CONTROL), ("again", REAL)):
        save_results(data.assign_attrs(model="m", task="capitals"), folder / name / "results.parquet")
    return folder


OF_RUNS = [a.name for a in analyses.ANALYSES.values() if a.needs != "model" and a.name != "selection"]
"""Those that every run is enough for; `tests/selectors/test_command.py` has the other one."""


@pytest.mark.parametrize("name", OF_RUNS)
def test_an_analysis_of_runs_is_stored_drawn_and_said(run, folders, tmp_path, name) -> None:
    runs = [folders / "real"] + ([folders / "again"] if name == "stability" else [])
    control = ["--control", folders / "control"] if name == "is_it_real" else []
    code, out, err = run("analyse", name, *runs, *control, "--out", tmp_path, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["found"]
    stored = xr.load_dataset(tmp_path / f"{name}.nc")
    request = analyses.Request(runs=runs, control=folders / "control" if control else None)
    computed = analyses.analyse(name, request)
    assert stored.sizes == computed.sizes
    for variable in computed.data_vars:
        if computed[variable].dtype.kind == "f":
            np.testing.assert_allclose(stored[variable].values, computed[variable].values, rtol=1e-6)
    for figure in analyses.figures(name, computed):
        assert (tmp_path / f"{figure}.html").stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("linear_probes", ["--labels", "language,continent"]),
        ("alignment", []),
        ("language_flow", ["--cell", "attn,1,2"]),
        ("direct_logit_attribution", ["--cell", "mlp,0,-1"]),
        ("effectiveness", ["--cell", "attn,1,2"]),
    ],
)
def test_an_analysis_of_a_model_runs_on_a_task(run, loaded, tmp_path, name, flags) -> None:
    rows = [
        {"id": str(k), "source": f"{a} {k} (", "target": f"{b} {k} (", "source_lang": a, "target_lang": b, "gold": k % 2,
         "options": ["ab", "cd"] if b == "es" else ["xy", "zw"], "country": COUNTRIES[k]}
        for a, b in (("en", "es"), ("es", "en")) for k in range(12)
    ]  # fmt: skip
    task = tmp_path / "mine.jsonl"
    task.write_text("\n".join(map(json.dumps, rows)))
    asked = ["--task", task, "--directions", "en:es", "--limit", 12 if name == "linear_probes" else 6]
    code, out, err = run("analyse", name, *asked, *flags, "--model", loaded, "--out", tmp_path)
    assert code == 0, err
    assert (tmp_path / f"{name}.nc").exists()
    assert out.splitlines()[-1].startswith("wrote ")


def test_the_maps_of_another_run_are_taken_off(run, folders, tmp_path) -> None:
    code, _, err = run("analyse", "gain_maps", folders / "real", "--against", folders / "control", "--out", tmp_path)
    assert code == 0, err
    stored = xr.load_dataset(tmp_path / "gain_maps.nc")
    gap = REAL["gain"].groupby("target_lang").mean("example") - CONTROL["gain"].groupby("target_lang").mean("example")
    np.testing.assert_allclose(stored["difference"].values, gap.sel(target_lang=["es", "sw"]).values, atol=1e-5)
    assert (tmp_path / "gain_maps_against.html").exists()


def test_activations_are_read_once_and_found_by_the_next_analysis(tiny_model, tmp_path, monkeypatch) -> None:
    from analyses import alignment
    from xtl.runs import activations
    from xtl.tasks import get_task

    model, pairs = tiny_model("llama"), get_task("capitals").pairs("en", "es", limit=5)
    first = alignment.compute(model, pairs, cache=activations.open_cache(model, tmp_path / "a"))
    assert len(list((tmp_path / "a").glob("*.safetensors"))) == 10

    def refuse(*_: object) -> None:
        raise AssertionError("the model ran again")

    monkeypatch.setattr(activations, "read_activations", refuse)
    again = alignment.compute(model, pairs, cache=activations.open_cache(model, tmp_path / "a"))
    xr.testing.assert_identical(first, again)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        activations.open_cache(model, tmp_path / "file")


def test_the_questions_of_several_tasks_are_asked_together() -> None:
    from xtl.commands.analyses import _pairs

    pairs, back = _pairs("capitals, official_languages", "en:es,en:sw", 3, 0)
    assert [pair.id.split("/")[0] for pair in pairs] == ["capitals"] * 6 + ["official_languages"] * 6
    assert [pair.direction for pair in back[:4]] == ["es->en"] * 3 + ["sw->en"]


SMALL = {
    "one instance": lambda data: data.isel(example=[0]),
    "one module": lambda data: data.isel(module=[1]),
    "one language": lambda data: data.isel(example=np.flatnonzero(data["target_lang"].values == "es")),
}
REFUSED = {
    "one instance": (set(OF_RUNS) - {"gain_maps"}, "fewer than 5|at least|one group alone"),
    "one module": ({"attn_vs_ffn"}, "lack the module attn"),
    "one language": ({"generalizability"}, "one group alone"),
}


@pytest.mark.parametrize("what", SMALL)
@pytest.mark.parametrize("name", OF_RUNS)
def test_runs_that_hold_too_little_are_refused_where_more_is_needed(tmp_path, name, what) -> None:
    for folder, data in (("real", REAL), ("control", CONTROL)):
        save_results(SMALL[what](data).assign_attrs(model="m"), tmp_path / folder / "results.parquet")
    control = tmp_path / "control" if name == "is_it_real" else None
    request = analyses.Request(runs=[tmp_path / "real"], control=control)
    refused, message = REFUSED[what]
    if name in refused:
        with pytest.raises(InputError, match=message):
            analyses.analyse(name, request)
    else:
        assert analyses.words(name, analyses.analyse(name, request))


def test_the_list_names_every_analysis(run) -> None:
    code, out, _ = run("analyse")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(analyses.ANALYSES)
    for name in analyses.ANALYSES:
        module = importlib.import_module(f"analyses.{name}")
        assert "How to read" in module.__doc__
        assert "falsify" in module.__doc__
        assert callable(module.compute)
        assert callable(module.figure)


def test_every_module_is_registered_and_what_is_installed_is_what_the_project_says() -> None:
    """Where this fails, the project's entry points changed since it was installed: `pip install -e .` renews them."""
    modules = {path.stem for path in Path(analyses.__file__).parent.glob("[a-z]*.py")}
    assert set(analyses.ANALYSES) == modules
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    section = project.split('[project.entry-points."xtl.analyses"]')[1].split("\n[")[0]
    assert dict(re.findall(r'(?m)^(\w+) = "(.*)"$', section)) == {name: f"analyses.{name}" for name in modules}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gain_map", "X"], "unknown analysis 'gain_map' (did you mean 'gain_maps'?)"),
        (["gain_maps"], "works on a stored run"),
        (["gain_maps", "R", "R"], "takes one run"),
        (["gain_maps", "nowhere"], "no run at 'nowhere'"),
        (["upper_bound", "R", "--against", "R"], "takes no against"),
        (["gain_maps", "R", "--cell", "attn,1,2"], "takes no cell"),
        (["is_it_real", "R"], "give control"),
        (["stability", "R", "R"], "given twice"),
        (["linear_probes"], "--task and --directions"),
        (
            ["linear_probes", "--task", "capitals", "--directions", "en-es"],
            "direction 'en-es' must look like en->es or en:es",
        ),
        (["language_flow", "--task", "capitals", "--directions", "en:es", "--cell", "attn"], "is no cell"),
        (["effectiveness", "--task", "capitals", "--directions", "en:es"], "needs cell"),
        (["attn_vs_ffn", "R", "--by", "model"], "unknown by"),
    ],
)
def test_bad_flags_end_with_one_line_and_load_nothing(run, folders, tmp_path, arguments, message) -> None:
    arguments = [folders / "real" if argument == "R" else argument for argument in arguments]
    code, _, err = run("analyse", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_out_nothing_runs(run, folders) -> None:
    code, _, err = run("analyse", "gain_maps", folders / "real")
    assert (code, "--out" in err) == (2, True)


def test_a_run_of_another_model_is_refused(folders, tiny_model, tmp_path) -> None:
    from xtl.tasks import get_task

    pairs = get_task("capitals").pairs("en", "es", limit=6)
    request = analyses.Request(runs=[folders / "real"], load=lambda: tiny_model("llama"), pairs=pairs)
    with pytest.raises(InputError, match="the run is of model 'm'"):
        analyses.analyse("alignment", request)


def test_tasks_of_a_run_that_are_not_scored_alike_are_not_averaged(run, loaded, tmp_path) -> None:
    """Log-probabilities of a gold option among options, and of an answer: both are nats, their mean is nothing."""
    ends = {"source": "The sea is", "target": "El mar es", "source_lang": "en", "target_lang": "es"}
    for name, asked in (("choice", {"options": [" azul", " rojo"], "gold": 0}), ("open", {"answer": " azul"})):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(ends | asked))
    tasks = ",".join(str(tmp_path / f"{name}.jsonl") for name in ("choice", "open"))
    few = ["--modules", "mlp", "--source-layers", "0", "--target-layers", "1"]
    code, _, err = run(
        "run",
        "--tasks",
        tasks,
        "--directions",
        "en:es",
        "--models",
        loaded,
        *few,
        "--out",
        tmp_path / "run",
    )
    assert code == 0, err
    code, _, err = run("analyse", "gain_maps", tmp_path / "run", "--out", tmp_path / "out")
    assert code == 2
    assert "are not scored alike" in err
    assert "among the options" in err
    assert "of the answer" in err
