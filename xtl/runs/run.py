"""`run_study`: compute what a store lacks of a study, whoever computes it, and keep each map as soon as it is there."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xtl.errors import InputError, SlowEngineWarning, check_choice, check_flag, known_keywords
from xtl.files import check_can_write, write_text
from xtl.foreign import printable
from xtl.progress import SweepProgress
from xtl.runs.card import write_card
from xtl.runs.compute import ACTIVATIONS, Computer
from xtl.runs.folder import MANIFEST, SHARED_ACTIVATIONS, check_free
from xtl.runs.jobs import Job
from xtl.runs.make_jobs import make_jobs
from xtl.runs.preflight import check_models
from xtl.runs.reports import Failure, LoadedModel, MapFiles, Notice, Report
from xtl.runs.store import Store
from xtl.runs.study import Study
from xtl.runs.workers.choose import check_workers, make_pool
from xtl.runs.workers.here import in_this_process
from xtl.runs.workers.limits import PAIR_TIMEOUT, check_pair_timeout
from xtl.runs.workers.share import share_out
from xtl.scoring.likelihood import MixedOptions

STATUS_EVERY = 2.0
"""Seconds between writes of `progress.json`."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        folder: the store.
        n_pairs: pairs of the study.
        n_before: those that were done before.
        n_done: those that are done now.
        failed: reasons by example ("en->es capitals/FR"; with its model where there are several), of pairs that failed.
        damaged: files that were found damaged and computed again.
        stopped: whether it was stopped by Ctrl-C or SIGTERM.
    """

    folder: Path
    n_pairs: int
    n_before: int
    n_done: int
    failed: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    stopped: bool = False


@known_keywords()
def run_study(
    study: Study | str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    workers: str = "local:1",
    actors: int | None = None,
    activations: str = "memory",
    allow_versions: bool = False,
    trust_remote_code: bool = False,
    progress: bool = False,
    pair_timeout: float | int | None = PAIR_TIMEOUT,
) -> Outcome:
    """Run a study into a folder, or go on where an earlier run stopped.

    Nothing is written before the first model is loaded and the study is found to go with it; what can be known of the other
    models from their configurations is checked then too. A folder in which no map is yet takes another study.

    Args:
        study: a `Study`, a YAML file or a dict (see `Study`).
        out: the folder; `xtl.open_run` reads it.
        workers: "local:1" (this process), "local:N" (N processes), "ray" or "ray:ADDRESS".
        actors: how many actors on Ray.
        activations: where source activations are kept for other directions: "memory", "disk" (in the folder, so that workers on
            this machine share them; removed at the end) or "off".
        allow_versions: go on with a run that other versions of the software began.
        trust_remote_code: run Python code that comes with a model (see `xtl.load_model` on what it can do).
        progress: show it on stderr.
        pair_timeout: seconds that a pair may take; then its worker is ended, the pair is a failure and the others go on. None for
            no limit.

    Returns:
        What came of it. Pairs that failed are in it with their reasons; the same call tries them again.

    Raises:
        InputError: a wrong study; a folder that can't be written, holds another study or is held by another process; a full disk.
        ModelError: a model can't be loaded.

    Example:
        >>> import xtl
        >>> study = {"tasks": "capitals", "directions": ["en->es"], "limit": 20}
        >>> xtl.run_study(study, "runs/capitals", workers="local:2")  # doctest: +SKIP
    """
    kind = check_computing(out, workers, actors, activations, pair_timeout)
    for name, flag in (
        ("allow_versions", allow_versions),
        ("trust_remote_code", trust_remote_code),
        ("progress", progress),
    ):
        check_flag(name, flag)
    study = study.resolved() if isinstance(study, Study) else Study.read(study)
    folder = Path(out)
    jobs = make_jobs(study)
    stopped = False
    mixed = MixedOptions()
    with ExitStack() as held:
        store = Store(folder, jobs, allow_versions)
        if (folder / MANIFEST).exists():
            held.enter_context(store)
        else:
            check_free(folder)
        todo = [job for job in jobs.all if job.number not in store.done]
        before = len(jobs) - len(todo)
        bar = SweepProgress(len(jobs), None, shown=progress and bool(todo), before=before)
        shared = (folder / SHARED_ACTIVATIONS).absolute()
        computer = {
            "study": study,
            "activations": activations,
            "folder": shared,
            "groups": () if study.control is None else jobs.groups,
            "trust_remote_code": trust_remote_code,
        }
        try:
            if todo:
                check_models(study, trust_remote_code=trust_remote_code, elsewhere=kind == "ray")
            with bar:
                _take_in(store, held, todo, _reports(workers, actors, computer, todo, bar, pair_timeout), bar, mixed)
        except KeyboardInterrupt:
            stopped = True
        if store.is_open:
            store.compact_all()
            write_status(store, bar, ended=True)
            write_card(folder, store.manifest, len(store.done))
        if len(store.done) == len(jobs):
            shutil.rmtree(shared, ignore_errors=True)
        outcome = Outcome(
            folder,
            len(jobs),
            before,
            len(store.done),
            {store.named(number): why for number, why in sorted(store.failed.items())},
            store.damaged,
            stopped,
        )
    mixed.warn()
    return outcome


def _reports(
    workers: str,
    actors: int | None,
    computer: dict[str, Any],
    todo: list[Job],
    bar: SweepProgress,
    pair_timeout: float | None,
) -> Iterator[Report]:
    if not todo:
        return iter(())
    pool = make_pool(workers, computer, actors)
    if pool is not None:
        return share_out(pool, todo, pair_timeout)
    finished = 0

    def count(done: int, of_pair: int) -> None:
        nonlocal finished
        bar.cells(finished + done)
        if done == of_pair:
            finished += of_pair

    return in_this_process(Computer(**computer), todo, count, pair_timeout)


def check_computing(
    out: str | os.PathLike[str] | None,
    workers: str,
    actors: int | None,
    activations: str,
    pair_timeout: float | int | None,
) -> str:
    """Check what decides how and where a study is computed, but not what comes of it; return the kind of workers.

    Raises:
        InputError: a wrong value; workers that can't be had; a folder that can't be written.
    """
    check_choice("activations", activations, ACTIVATIONS)
    check_pair_timeout(pair_timeout)
    if out is not None:
        check_can_write(Path(out))
    return check_workers(workers, actors)


def _take_in(
    store: Store,
    held: ExitStack,
    todo: list[Job],
    reports: Iterator[Report],
    bar: SweepProgress,
    mixed: MixedOptions,
) -> None:
    """Keep what is reported; close the workers whatever happens.

    A new run's folder is made at the first report: workers have started then, and a model is loaded that the study goes with.
    """
    by_number = {job.number: job for job in todo}
    slow: set[str] = set()
    cells = 0
    told: set[str] = set()
    last = time.monotonic() - STATUS_EVERY
    try:
        for report in reports:
            if isinstance(report, Notice):
                if report.text not in told:
                    told.add(report.text)
                    print(f"xtl: {printable(report.text)}", file=sys.stderr, flush=True)
                continue
            if not store.is_open:
                held.enter_context(store)
                if store.done:
                    raise InputError(
                        f"another process has begun this run in {str(store.folder)!r} meanwhile; repeat the command"
                    )
            if isinstance(report, LoadedModel):
                store.note_model(report.name, report.record)
                bar.loaded()
                bar.note = report.slow.note if report.slow else ""
                if report.slow and report.name not in slow:
                    slow.add(report.name)
                    warnings.warn(f"{report.name}: {report.slow}", SlowEngineWarning, stacklevel=4)
                continue
            job = by_number[report.number]
            bar.language = f"{job.task} {job.direction}"
            if isinstance(report, Failure):
                store.fail(job, report.reason)
                bar.failed()
            else:
                assert isinstance(report, MapFiles)
                store.add(report)
                mixed.add(report.mixed)
                cells += report.n_cells
                bar.done_cells = cells
                bar.took(report.seconds)
                bar.pairs(bar.done_pairs + 1)
            if time.monotonic() - last >= STATUS_EVERY:
                last = time.monotonic()
                write_status(store, bar)
    finally:
        close = getattr(reports, "close", None)
        if close is not None:
            close()


def write_status(store: Store, bar: SweepProgress, ended: bool = False) -> None:
    """Write `progress.json`, for `xtl status`."""
    left = bar.seconds_left()
    status = {
        "pid": os.getpid(),
        "host": store.manifest["sessions"][-1]["machine"]["host"],
        "ended": ended,
        "pairs_done": len(store.done),
        "pairs": len(store.jobs),
        "failed": len(store.failed),
        "now": bar.language,
        "cells_per_second": round(bar.speed(), 1),
        "seconds_left": None if left is None or ended else round(left),
    }
    store.check_there()
    write_text(store.folder / "progress.json", json.dumps(status, ensure_ascii=False), make_folder=False)
