"""`xtl report` and `xtl figure` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.synthetic import synthetic_results
from xtl.commands import publish
from xtl.errors import InputError
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
