"""`xtl report` and `xtl figure` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.synthetic import control_of, synthetic_results
from xtl.commands import publish
from xtl.errors import InputError
from xtl.publish.export import latex_table
from xtl.publish.figures import KINDS
from xtl.runs import save_results


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    publish.register(made)
    return made


def test_report_and_figure_write_and_say_what(app: typer.Typer, tmp_path: Path) -> None:
    save_results(synthetic_results(per_direction=6), tmp_path / "results.parquet")
    result = CliRunner().invoke(app, ["report", str(tmp_path), "--title", "mine"], catch_exceptions=False)
    assert result.stdout == f"wrote {tmp_path / 'report.html'}\n"
    assert "<h1>mine</h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    options = ["--kind", "layer_profile", "--format", "html", "--width", "84mm", "--direction", "en:sw"]
    result = CliRunner().invoke(app, ["figure", str(tmp_path), *options], catch_exceptions=False)
    assert result.stdout == f"wrote {tmp_path / 'layer_profile.html'}, {tmp_path / 'layer_profile.csv'}\n"


def test_the_help_lists_every_kind(app: typer.Typer) -> None:
    shown = CliRunner().invoke(app, ["figure", "--help"], env={"COLUMNS": "300"}).stdout
    assert all(kind in shown for kind in KINDS)


def test_a_folder_that_is_no_run_is_an_input_error(app: typer.Typer, tmp_path: Path) -> None:
    for command in (["report", str(tmp_path)], ["figure", str(tmp_path)]):
        with pytest.raises(InputError, match="no run at"):
            CliRunner().invoke(app, command, catch_exceptions=False)


def test_a_latex_table_says_of_a_control_that_it_is_one_and_has_dashes_where_nothing_is_known() -> None:
    real = synthetic_results(directions=[("en", "es")])
    real = real.assign_coords(task=("example", ["a_b"] * 4)).assign(gain=real["gain"].where(real["module"] == "attn"))
    control = latex_table(control_of(real).assign(gain=real["gain"]))
    assert "with the control shuffled\\_source in place of the source" in control
    assert "control" not in latex_table(real)
    assert r"mlp & 4 & " in control
    assert "-- & -- & --" in control
    assert "NaN" not in control
