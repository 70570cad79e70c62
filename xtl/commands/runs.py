"""`xtl run`, `xtl status` and `xtl export`: flags to a study, a study to a run, and what to say of it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from xtl.commands import library
from xtl.commands.flags import Loading, StudyFlags, with_flags
from xtl.commands.output import STOPPED, JsonOption, wrote
from xtl.commands.strict import parse_number
from xtl.errors import InputError
from xtl.foreign import as_json, printable
from xtl.runs.study import Study

FINISHED_WITH_FAILURES = 3
"""Exit code of a run that is through but in which pairs failed."""


def register(app: typer.Typer) -> None:
    """Give an app the commands."""
    app.command(
        epilog="Example: xtl run study.yaml --out runs/study --workers local:2; "
        "or by flags: xtl run --tasks capitals --directions en:es,en:de --limit 20 --out runs/capitals"
    )(with_flags(run))
    app.command(epilog="Example: xtl status runs/capitals")(status)
    app.command(epilog="Example: xtl export runs/capitals --format csv")(export)


def run(
    study: Annotated[Path | None, typer.Argument(help="A YAML file; flags take the place of its keys.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME for NAME.yaml by default.")] = None,
    workers: Annotated[str, typer.Option(help="local:N (N processes), ray or ray:ADDRESS.")] = "local:1",
    actors: Annotated[int | None, typer.Option(help="Actors on Ray; one a GPU (or CPU) by default.")] = None,
    activations: Annotated[
        str, typer.Option(help="Where source activations are kept for other directions: memory, disk or off.")
    ] = "memory",
    pair_timeout: Annotated[
        str,
        typer.Option(
            help="Seconds that a pair may take; its worker is then ended, and the others go on. off for no limit."
        ),
    ] = "3600",
    allow_versions: Annotated[
        bool, typer.Option("--allow-versions", help="Go on with a run that other versions of the software began.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it takes; run two maps of each task.")] = False,
    no_calibration: Annotated[
        bool, typer.Option("--no-calibration", help="With --dry-run: count only, load no model.")
    ] = False,
    json_output: JsonOption = False,
    keys: StudyFlags = StudyFlags(),
    loading: Loading = Loading(),
) -> None:
    """Run a study into a folder, or go on where it stopped: the same command again loses nothing.

    Flags on how models are loaded hold for all of --models; in a file they are keys of a model.
    Exit code 0: all pairs are done; 2: nothing was run, one line says why; 3: through, but some pairs failed; 130: stopped.
    """

    given = keys.given()
    if study is None and "tasks" not in given:
        raise InputError("give a study (a YAML file), or at least --tasks")
    if models := _models(study, given.get("models"), loading.given()):
        given["models"] = models
    checked = Study.read({} if study is None else study, **given)
    computing: dict[str, Any] = {
        "workers": workers,
        "actors": actors,
        "activations": activations,
        "pair_timeout": parse_pair_timeout(pair_timeout),
    }
    if checked.control is None and "control_seed" in given:
        raise InputError("--control-seed goes with --control")
    if dry_run:
        library.check_computing(out, **computing)
        _print_estimate(checked, workers, actors, not no_calibration, json_output, loading.trust_remote_code)
        return
    if no_calibration:
        raise InputError("--no-calibration goes with --dry-run")
    if out is None and study is None:
        raise InputError("give --out, the folder of the run")
    _run(
        checked,
        out or Path("runs") / Path(study or "").stem,
        json_output,
        **computing,
        allow_versions=allow_versions,
        trust_remote_code=loading.trust_remote_code,
    )


def status(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    json_output: JsonOption = False,
) -> None:
    """Say how far a run is, also while it is at work."""

    found = library.run_status(run)
    print(as_json(found, indent=1) if json_output else library.status_in_words(found))


def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    form: Annotated[str, typer.Option("--format", help="csv, parquet, netcdf or latex.")],
    out: Annotated[Path | None, typer.Option(help="The file; export.csv, ... in the run's folder by default.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Which model; needed for netcdf and latex if there are several.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Which task; all by default.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take what there is of a run that is not whole; the file says so.")
    ] = False,
) -> None:
    """Write a run's maps as one CSV or Parquet table, as netCDF, or as a LaTeX table of the best cells."""

    wrote(library.export_run(run, form, out, model=model, task=task, partial=partial))


def parse_pair_timeout(text: str) -> float | None:
    """Seconds from `--pair-timeout`; None for `off`.

    >>> parse_pair_timeout("90"), parse_pair_timeout("off")
    (90.0, None)
    """

    try:
        return None if text == "off" else library.check_pair_timeout(parse_number("--pair-timeout", text))
    except InputError:
        raise InputError(f"--pair-timeout {text!r} must be a number of seconds greater than 0, or off") from None


def _run(study: Any, out: Path, json_output: bool, **options: Any) -> None:

    before = signal.signal(signal.SIGTERM, _stop)  # as a cluster ends a job: what is done is put in order first
    try:
        outcome = library.run_study(study, out, progress=True, **options)
    finally:
        signal.signal(signal.SIGTERM, before)
    if json_output:
        shown = vars(outcome) | {"folder": str(outcome.folder)}
        print(as_json(shown, indent=1))
    else:
        print(
            f"{outcome.n_done} of {outcome.n_pairs} pairs are done in {printable(outcome.folder)} "
            f"({outcome.n_before} were before)"
        )
    for example, why in list(outcome.failed.items())[:20]:
        print(f"xtl: failed: {printable(example)}: {printable(why)}", file=sys.stderr)
    if len(outcome.failed) > 20:
        print(printable(f"xtl: ... and {len(outcome.failed) - 20} more; see xtl status {out} --json"), file=sys.stderr)
    if outcome.stopped:
        print("xtl: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(STOPPED)
    if outcome.failed:
        print(f"xtl: {len(outcome.failed)} pairs failed; the same command tries them again", file=sys.stderr)
        sys.exit(FINISHED_WITH_FAILURES)


def _print_estimate(
    study: Any, workers: str, actors: int | None, calibrate: bool, json_output: bool, trust_remote_code: bool
) -> None:

    kind, rest = library.parse_workers(workers)
    n_workers = int(rest or 1) if kind == "local" else actors or 1
    estimate = library.dry_run(study, workers=n_workers, calibrate=calibrate, trust_remote_code=trust_remote_code)
    print(as_json(estimate.to_dict(), indent=1) if json_output else printable(estimate.in_words(), lines=True))


def _models(study: Path | None, names: list[str] | None, options: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The models that were named, each with the flags on how models are loaded."""
    given = {key: value for key, value in options.items() if key != "trust_remote_code"}
    if names is None:
        if given and study is not None:
            raise InputError(
                f"--{next(iter(given)).replace('_', '-')} goes with --models; in a study it is a key of its model"
            )
        return [given] if given else None
    return [{"name": name, **given} for name in names]


def _stop(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
