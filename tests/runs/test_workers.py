"""Sharing out of jobs: with a crew that dies at will, with processes, and with real Ray actors."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xtl
from tests.runs.filling import content, files_of, jobs_of
from xtl.runs import run_study
from xtl.runs.compute import Failure
from xtl.runs.store import MapFiles
from xtl.runs.workers import AHEAD, TRIES, Lost, Stopped, parse_workers, share_out

STUDY = {"tasks": "capitals", "directions": ["en:es", "en:de"], "limit": 4}


class ScriptedCrew:
    """Workers that do one job at each `wait`, in an order and with deaths that a script fixes."""

    def __init__(self, size: int, script: list[tuple[int, bool]]) -> None:
        self.size = size
        self.script = deque(script)
        self.queues: dict[int, deque] = {}
        self.most_held = 0
        self.closed = False

    def start(self, worker):
        assert worker not in self.queues
        self.queues[worker] = deque()

    def give(self, worker, job):
        self.queues[worker].append(job)
        self.most_held = max(self.most_held, len(self.queues[worker]))

    def wait(self):
        busy = [worker for worker, queue in self.queues.items() if queue]
        choice, dies = self.script.popleft() if self.script else (0, False)
        worker = busy[choice % len(busy)]
        if dies:
            del self.queues[worker]
            yield worker, Lost("ended by signal SIGKILL")
        else:
            yield worker, files_of(self.queues[worker].popleft())

    def close(self):
        self.closed = True


ALL = jobs_of(limit=5).all


@given(
    size=st.integers(1, 4),
    n_jobs=st.integers(1, 10),
    script=st.lists(st.tuples(st.integers(0, 3), st.just(False)), max_size=30),
    deaths=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), max_size=2),
)
def test_every_job_is_reported_once_whatever_the_order_and_whoever_dies(size, n_jobs, script, deaths):
    for place, worker in deaths:
        script.insert(min(place, len(script)), (worker, True))
    crew = ScriptedCrew(size, script)
    reports = list(share_out(crew, ALL[:n_jobs]))
    assert sorted(report.number for report in reports) == list(range(n_jobs))
    assert all(isinstance(report, MapFiles) for report in reports), "two deaths are no reason to give a job up"
    assert crew.most_held <= AHEAD
    assert crew.closed


def test_a_job_that_kills_its_workers_is_given_up_and_the_rest_goes_on():
    crew = ScriptedCrew(1, [(0, True)] * TRIES)
    reports = list(share_out(crew, ALL[:4]))
    assert reports[0] == Failure(0, f"{TRIES} workers died over it; the last one: ended by signal SIGKILL")
    assert [report.number for report in reports[1:]] == [1, 2, 3]


def test_workers_that_always_die_are_not_started_for_ever():
    crew = ScriptedCrew(2, [(0, True)] * 100)
    with pytest.raises(xtl.ModelError, match="workers die as soon as they start"):
        list(share_out(crew, ALL * 3))
    assert crew.closed


def test_a_model_that_cannot_be_loaded_ends_the_run():
    class Refusing(ScriptedCrew):
        def wait(self):
            yield 0, Stopped("no such model")

    with pytest.raises(xtl.ModelError, match="no such model"):
        list(share_out(Refusing(1, []), ALL[:2]))


@pytest.mark.parametrize("text", ["local:0", "local:x", "spark", "", "2:3"])
def test_wrong_workers_are_told(text):
    with pytest.raises(xtl.InputError, match=r"must be local:N \(N processes\), ray, or ray:ADDRESS"):
        parse_workers(text)


@pytest.fixture
def alone(loaded, tmp_path) -> Path:
    run_study(STUDY | {"models": loaded}, tmp_path / "alone")
    return tmp_path / "alone"


def test_processes_give_what_one_gives_also_when_one_of_them_is_killed(alone, loaded, tmp_path, monkeypatch):
    from xtl.runs import local_workers, run

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    crews, killed = [], []
    real_init, real_add = local_workers.LocalCrew.__init__, run.Store.add

    def remember(self, *arguments):
        real_init(self, *arguments)
        crews.append(self)

    def kill_one(self, result):
        real_add(self, result)
        if not killed:
            killed.append(min(crews[0].processes))
            os.kill(crews[0].processes[killed[0]].pid, signal.SIGKILL)

    monkeypatch.setattr(local_workers.LocalCrew, "__init__", remember)
    monkeypatch.setattr(run.Store, "add", kill_one)
    outcome = run_study(STUDY | {"models": loaded}, tmp_path / "two", workers="local:2", activations="disk")
    assert killed
    assert (outcome.n_done, outcome.failed) == (8, {})
    assert content(tmp_path / "two") == content(alone)
    assert not (tmp_path / "two" / "activations").exists()
    assert not crews[0].processes


def test_a_worker_ends_when_the_process_that_started_it_is_gone(loaded):
    from xtl.runs.local_workers import LocalCrew
    from xtl.runs.study import Study

    crew = LocalCrew(1, {"study": Study.read(STUDY | {"models": loaded})})
    crew.start(0)
    process = crew.processes[0]
    crew._pipes[0].close()  # as the system does when this process dies
    assert process.wait(60) == 0


@pytest.mark.ray
def test_ray_actors_give_what_one_process_gives_also_when_one_of_them_is_killed(alone, loaded, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    from xtl.runs import ray_workers

    killed = []
    real = ray_workers.RayCrew.give

    def give(self, worker, job):
        real(self, worker, job)
        if job.number == 4 and not killed:
            killed.append(worker)
            threading.Thread(target=lambda: (time.sleep(0.05), ray.kill(self._actors[worker]))).start()

    monkeypatch.setattr(ray_workers.RayCrew, "give", give)
    outcome = run_study(STUDY | {"models": loaded}, tmp_path / "ray", workers="ray", actors=2)
    assert killed
    assert (outcome.n_done, outcome.failed) == (8, {})
    assert content(tmp_path / "ray") == content(alone)
    assert not ray.is_initialized()


@pytest.mark.ray
def test_a_ray_cluster_that_is_not_there_is_told(loaded, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(xtl.InputError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        run_study(STUDY | {"models": loaded}, tmp_path / "run", workers="ray:127.0.0.1:1")
