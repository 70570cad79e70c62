"""Analyses of other packages: found by their entry points, run as ours are, and no harm to the rest where one is broken."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

import analyses
from xtl import stats
from xtl.analysis import Analysis, Request, find_analyses, get_analysis, save
from xtl.errors import InputError
from xtl.runs import save_results

ROOT = Path(__file__).parents[2]
REAL = stats.simulate(languages=["es", "sw"], n_layers=3, planted={("attn", 1, 2): 3.0}, n_instances=6)


def blocks(language: str) -> list[str]:
    page = (ROOT / "docs" / "your-own-analysis.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


@pytest.fixture
def stored(tmp_path):
    save_results(REAL.assign_attrs(model="m", task="capitals"), tmp_path / "run" / "results.parquet")
    return tmp_path / "run"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package: its modules, and the entry points that its metadata name."""

    def call(modules: dict[str, str], entries: str, name: str = "my-analyses", folder: str = "site") -> Path:
        site = tmp_path / folder
        info = site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[xtl.analyses]\n{entries}\n")
        for module, text in modules.items():
            (site / module).parent.mkdir(parents=True, exist_ok=True)
            (site / module).write_text(text)
        for loaded in [name for name in sys.modules if name.partition(".")[0].startswith("my_")]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        return site

    return call


@pytest.fixture
def helping(install):
    """The package of docs/your-own-analysis.md."""
    (module,), (entry,) = blocks("python"), blocks("toml")
    return install({"my_analyses/helping.py": module}, entry.split("]\n")[1].replace('"', ""))


def test_the_example_of_the_docs_is_listed_with_its_package_and_runs(run, helping, stored, tmp_path) -> None:
    _, out, _ = run("analyse")
    (line,) = [line for line in out.splitlines() if line.startswith("helping")]
    assert line.endswith("Which share of the cells helps? (my-analyses)")
    assert out.count("(") == 1  # ours stand without a package
    rows = json.loads(run("analyse", "--json")[1])
    assert {row["package"] for row in rows} == {"xtl-interp", "my-analyses"}

    code, out, err = run("analyse", "helping", stored, "--out", tmp_path / "out")
    assert code == 0, err
    assert out.splitlines()[0].startswith("en → es: ")
    assert "of attn's cells help (n = 6)." in out
    data = xr.load_dataset(tmp_path / "out" / "helping.nc")
    assert data["share"].sizes == {"direction": 2, "module": 2}
    want = (REAL["gain"].groupby("target_lang").mean("example") > 0).mean(("source_layer", "target_layer"))
    assert data["share"].sel(direction="en->sw").values.tolist() == pytest.approx(want.sel(target_lang="sw").values)
    assert (tmp_path / "out" / "helping.html").stat().st_size > 1000
    assert set(analyses.ANALYSES) == {row["name"] for row in rows} - {"helping"}


def test_in_python_it_needs_no_installation(helping, stored) -> None:
    item = importlib.import_module("my_analyses.helping").ANALYSIS
    data = item.run(Request(runs=[str(stored)], by="task"))
    assert data["direction"].values.tolist() == ["capitals"]
    assert get_analysis("helping") == item


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["R", "--cell", "attn,1,2"], "helping takes no cell; it takes: by"),
        (["R", "R"], "helping takes one run, and 2 were given"),
        ([], "helping works on a stored run: give its folder"),
        (["nowhere"], "no run at 'nowhere'"),
        (["R", "--by", "model"], "unknown by 'model'"),  # the package's own
    ],
)
def test_bad_input_is_one_line(run, helping, stored, tmp_path, flags, message) -> None:
    flags = [stored if flag == "R" else flag for flag in flags]
    code, _, err = run("analyse", "helping", *flags, "--out", tmp_path / "out")
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


NAMED = "from xtl.analysis import Analysis\nANALYSIS = Analysis({!r}, 'Why?', {!r}, str, dict, list{})\n"
BROKEN = {
    "missing": ({}, "my_nothing", "can't be imported: ModuleNotFoundError: No module named 'my_nothing'"),
    "failing": ({"my_broken.py": "1 / 0"}, "my_broken", "can't be imported: ZeroDivisionError: division by zero"),
    "leaving": ({"my_broken.py": "raise SystemExit(3)"}, "my_broken", "can't be imported: SystemExit: 3"),
    "empty": ({"my_broken.py": ""}, "my_broken", "is a module, no xtl.analysis.Analysis, and has no ANALYSIS"),
    "other": ({"my_broken.py": NAMED.format("another", "run", "")}, "my_broken", "calls itself 'another'"),
    "needy": ({"my_broken.py": NAMED.format("x", "rum", "")}, "my_broken", "'rum' (did you mean 'run'?); valid: run,"),
    "odd": ({"my_broken.py": NAMED.format("x", "run", ", ('bye',)")}, "my_broken", "'bye' (did you mean 'by'?)"),
    "path": ({"my_broken.py": NAMED.format("../x", "run", "")}, "my_broken", "letters, digits and _, got '../x'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_a_line_that_names_it_and_leaves_the_others_alone(run, install, stored, tmp_path, name) -> None:
    modules, value, message = BROKEN[name]
    install(modules, f"{name} = {value}")
    with pytest.warns(UserWarning, match="my-analyses") as told:
        code, out, _ = run("analyse")
    (line,) = [str(one.message) for one in told]
    assert code == 0
    assert line.startswith(f"analysis '{name}' of the package my-analyses ({value}) ")
    assert message in line
    assert [row.split()[0] for row in out.splitlines()] == list(analyses.ANALYSES)

    code, _, err = run("analyse", name, stored, "--out", tmp_path / "out")
    assert (code, err) == (2, f"xtl: {line}\n")
    assert get_analysis("gain_maps").needs == "run"


def test_on_a_terminal_the_warning_is_one_line(install) -> None:
    site = install({"my_broken.py": "raise ImportError('no\\nsuch thing')"}, "broken = my_broken")
    script = f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv = ['xtl', 'analyse']; from xtl.cli import main; main()"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    why = r"can't be imported: ImportError: no\nsuch thing"
    assert said.stderr == f"xtl: analysis 'broken' of the package my-analyses (my_broken) {why}\n"
    assert "gain_maps" in said.stdout


def test_two_of_one_name_are_refused_by_name_and_the_others_run(run, install, stored, tmp_path) -> None:
    install({"my_maps.py": NAMED.format("gain_maps", "run", "")}, "gain_maps = my_maps")
    twice = (
        "analysis 'gain_maps' is offered by xtl-interp (analyses.gain_maps) and by my-analyses (my_maps): "
        "uninstall one, or rename yours"
    )
    code, _, err = run("analyse", "gain_maps", stored, "--out", tmp_path / "out")
    assert (code, err) == (2, f"xtl: {twice}\n")
    with pytest.warns(UserWarning, match=re.escape(twice)):
        assert "gain_maps" not in find_analyses()
    assert run("analyse", "upper_bound", stored, "--out", tmp_path / "out")[0] == 0


def test_a_package_that_lies_on_the_path_twice_counts_once_as_its_imports_do(install) -> None:
    install({"my_old.py": NAMED.format("mine", "run", "")}, "mine = my_old", folder="old")
    install({"my_new.py": NAMED.format("mine", "runs", "")}, "mine = my_new", folder="new")
    assert find_analyses()["mine"].load().needs == "runs"


def test_entry_points_that_cannot_be_read_are_a_line_that_names_the_package(install) -> None:
    site = install({}, "no equals sign")
    with pytest.warns(UserWarning, match="my_analyses-1.0.dist-info can't be read") as told:
        assert "gain_maps" in find_analyses()
    assert len(told) == 1
    (site / "my_analyses-1.0.dist-info" / "METADATA").unlink()
    (site / "my_analyses-1.0.dist-info" / "entry_points.txt").write_text("[xtl.analyses]\nmine = my_old.mine\n")
    importlib.invalidate_caches()
    assert find_analyses()["mine"].package == "my_old"


def test_without_an_installation_the_message_says_what_to_do(monkeypatch) -> None:
    from xtl.analysis import registry

    monkeypatch.setattr(registry, "distributions", lambda: [])
    with pytest.raises(InputError, match="no analysis is installed: `pip install` xtl-interp again"):
        get_analysis("gain_maps")


def test_what_is_no_dataset_or_no_netcdf_is_told(tmp_path) -> None:
    item = Analysis("mine", "Why?", "run", lambda request: 3, dict, list)  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match=r"the analysis mine gives a int; it must give an xarray.Dataset"):
        item.run(Request(runs=["x"]))
    with pytest.raises(InputError, match=r"mine\.nc can't be written as netCDF"):
        save(xr.Dataset({"a": ("x", [object()])}), tmp_path / "mine.nc")
    assert list(tmp_path.iterdir()) == []
    data = xr.Dataset({"a": ("x", [1.5], {"whole": True})}, attrs={"cell": ("attn", 1, 2), "n": 3})
    stored = xr.load_dataset(save(data, tmp_path / "mine.nc"))
    assert (stored.attrs, stored["a"].attrs) == ({"cell": "('attn', 1, 2)", "n": 3}, {"whole": "True"})
    assert data["a"].attrs == {"whole": True}
