"""Sharing out of jobs: with a pool that dies at will, with processes, and with real Ray actors."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import sys
import threading
import time
import types
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xtl
from tests.runs.filling import content, files_of, jobs_of
from xtl.runs import run, run_study
from xtl.runs.reports import FailedWorker, Failure, LoadedModel, MapFiles, Notice, Ready, Stopped
from xtl.runs.study import Study
from xtl.runs.workers.choose import parse_workers
from xtl.runs.workers.here import in_this_process
from xtl.runs.workers.limits import check_pair_timeout
from xtl.runs.workers.local import LocalPool
from xtl.runs.workers.ray import RayPool
from xtl.runs.workers.share import AHEAD, TRIES, share_out

STUDY = {"tasks": "capitals", "directions": ["en:es", "en:de"], "limit": 4}


class ScriptedPool:
    """Workers that do one job at each `wait`, in an order and with deaths that a script fixes.

    Those in `absent` never start; a job in `hangs` is never done; a second passes at each `wait`.
    """

    def __init__(self, size: int, script: list[tuple[int, bool]], absent=(), hangs=(), clock=None) -> None:
        self.size = size
        self.notes = []
        self.script = deque(script)
        self.absent = absent
        self.hangs = hangs
        self.clock = clock or [0.0]
        self.queues: dict[int, deque] = {}
        self.new: deque[int] = deque()
        self.ended: list[int] = []
        self.most_held = 0
        self.closed = False

    def start(self, worker):
        assert worker not in self.queues
        self.queues[worker] = deque()
        if worker not in self.absent:
            self.new.append(worker)

    def submit(self, worker, job):
        assert worker not in self.absent, "a job for a worker that has not answered"
        assert worker not in self.new
        self.queues[worker].append(job)
        self.most_held = max(self.most_held, len(self.queues[worker]))

    def wait(self):
        self.clock[0] += 1.0
        if self.new:
            yield self.new.popleft(), Ready()
            return
        busy = [worker for worker, queue in self.queues.items() if queue and queue[0].number not in self.hangs]
        if not busy:
            return
        choice, dies = self.script.popleft() if self.script else (0, False)
        worker = busy[choice % len(busy)]
        if dies:
            del self.queues[worker]
            yield worker, FailedWorker("ended by signal SIGKILL")
        else:
            job = self.queues[worker].popleft()
            yield worker, LoadedModel("tiny", {})
            yield worker, files_of(job)

    def end(self, worker):
        self.ended.append(worker)
        del self.queues[worker]

    def why_late(self):
        return "there is no room"

    def close(self):
        self.closed = True


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("xtl.runs.workers.share.time.monotonic", lambda: now[0])
    return now


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
    pool = ScriptedPool(size, script)
    reports = [report for report in share_out(pool, ALL[:n_jobs]) if not isinstance(report, LoadedModel)]
    assert sorted(report.number for report in reports) == list(range(n_jobs))
    assert all(isinstance(report, MapFiles) for report in reports), "two deaths are no reason to give a job up"
    assert pool.most_held <= AHEAD
    assert pool.closed


def test_a_job_that_kills_its_workers_is_given_up_and_the_rest_goes_on():
    pool = ScriptedPool(1, [(0, True)] * TRIES)
    reports = [report for report in share_out(pool, ALL[:4]) if not isinstance(report, LoadedModel)]
    assert reports[0] == Failure(0, f"{TRIES} workers died over it; the last one: ended by signal SIGKILL")
    assert [report.number for report in reports[1:]] == [1, 2, 3]


def test_workers_that_always_die_are_not_started_for_ever():
    pool = ScriptedPool(2, [(0, True)] * 100)
    with pytest.raises(xtl.ModelError, match="workers die as soon as they start"):
        list(share_out(pool, ALL * 3))
    assert pool.closed


def test_a_model_that_cannot_be_loaded_ends_the_run():
    class Refusing(ScriptedPool):
        def wait(self):
            yield 0, Stopped("no such model")

    with pytest.raises(xtl.ModelError, match="no such model"):
        list(share_out(Refusing(1, []), ALL[:2]))


@pytest.mark.parametrize("absent", [{1}, {0, 2}])
def test_jobs_go_to_workers_that_answered_and_the_late_ones_are_told_once(clock, absent):
    pool = ScriptedPool(3, [], absent=absent, clock=clock)
    reports = list(share_out(pool, ALL, start_timeout=4.0))
    assert sorted(report.number for report in reports if isinstance(report, MapFiles)) == list(range(len(ALL)))
    (told,) = [report.text for report in reports if isinstance(report, Notice)]
    assert told.startswith(f"{len(absent)} of 3 workers have not started after 4 s (there is no room)")


def test_workers_none_of_which_starts_end_the_run(clock):
    pool = ScriptedPool(2, [], absent={0, 1}, clock=clock)
    with pytest.raises(xtl.ModelError, match="no worker has started after 9 s: there is no room"):
        list(share_out(pool, ALL, start_timeout=9.0))
    assert pool.closed


@pytest.mark.parametrize("size", [1, 3])
def test_a_hung_worker_is_ended_its_pair_fails_and_a_new_one_does_the_rest(clock, size):
    pool = ScriptedPool(size, [], hangs={4}, clock=clock)
    reports = list(share_out(pool, ALL, pair_timeout=20.0))
    assert [report for report in reports if isinstance(report, Failure)] == [
        Failure(4, "took longer than 20 s, the limit of a pair; --pair-timeout sets another, or off")
    ]
    done = {report.number for report in reports if isinstance(report, MapFiles)}
    assert done == set(range(len(ALL))) - {4}
    assert len(pool.ended) == 1


def test_a_model_that_never_loads_is_no_failure_of_a_pair_but_ends_all_the_same(clock):
    pool = ScriptedPool(1, [], hangs=set(range(len(ALL))), clock=clock)
    with pytest.raises(xtl.ModelError, match="its model was not loaded after 5 s"):
        list(share_out(pool, ALL, pair_timeout=5.0))


def test_in_this_process_a_pair_that_takes_too_long_is_interrupted_and_the_model_is_loaded_anew():
    class Hanging:
        loads = 0
        model = None

        def load(self, index):
            if self.model is None:
                self.loads += 1
                self.model = index

        def unload(self):
            self.model = None

        def compute(self, job, progress):
            while job.number == 1:
                with contextlib.suppress(Exception):
                    time.sleep(60)
            return files_of(job)

    computer, before = Hanging(), signal.getsignal(signal.SIGALRM)
    reports = list(inspect.unwrap(in_this_process)(computer, ALL[:3], pair_timeout=0.5))
    assert [type(report) for report in reports] == [MapFiles, Failure, MapFiles]
    assert "took longer than 0.5 s" in reports[1].reason
    assert computer.loads == 2
    assert signal.getsignal(signal.SIGALRM) is before


@pytest.mark.parametrize("seconds", [0, -1, "60", True, float("nan"), float("inf")])
def test_a_wrong_limit_is_told(seconds):
    with pytest.raises(xtl.InputError, match="pair_timeout must be a number of seconds"):
        check_pair_timeout(seconds)


@pytest.mark.parametrize("text", ["local:0", "local:x", "spark", "", "2:3"])
def test_wrong_workers_are_told(text):
    with pytest.raises(xtl.InputError, match=r"must be local:N .*, ray, or ray:ADDRESS"):
        parse_workers(text)


@pytest.fixture
def straight(loaded, tmp_path) -> Path:
    run_study(STUDY | {"models": loaded}, tmp_path / "straight")
    return tmp_path / "straight"


def test_processes_give_what_one_gives_also_when_one_of_them_is_killed(straight, loaded, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    pools, killed = [], []
    real_init, real_add = LocalPool.__init__, run.Store.add

    def remember(self, *arguments):
        real_init(self, *arguments)
        pools.append(self)

    def kill_one(self, result):
        real_add(self, result)
        if not killed:
            killed.append(min(pools[0].processes))
            os.kill(pools[0].processes[killed[0]].pid, signal.SIGKILL)

    monkeypatch.setattr(LocalPool, "__init__", remember)
    monkeypatch.setattr(run.Store, "add", kill_one)
    outcome = run_study(STUDY | {"models": loaded}, tmp_path / "two", workers="local:2", activations="disk")
    assert killed
    assert (outcome.n_done, outcome.failed) == (8, {})
    assert content(tmp_path / "two") == content(straight)
    assert not (tmp_path / "two" / "activations").exists()
    assert not pools[0].processes


def test_a_worker_ends_when_the_process_that_started_it_is_gone(loaded):
    pool = LocalPool(1, {"study": Study.read(STUDY | {"models": loaded})})
    pool.start(0)
    process = pool.processes[0]
    pool._pipes[0].close()  # as the system does when this process dies
    assert process.wait(60) == 0


def test_a_process_that_hangs_is_ended(loaded):
    pool = LocalPool(1, {"study": Study.read(STUDY | {"models": loaded})})
    pool.start(0)
    process = pool.processes[0]
    os.kill(process.pid, signal.SIGSTOP)
    pool.end(0)
    assert process.returncode == -signal.SIGKILL
    assert list(pool.wait()) == []
    pool.close()


@pytest.mark.parametrize(
    ("nodes", "asked", "size", "cpus_each"),
    [
        ([{"CPU": 2}], 64, 2, 1),
        ([{"CPU": 8}], 2, 2, 4),
        ([{"CPU": 4}, {"CPU": 4}], 1, 1, 4),
        ([{"CPU": 3}, {"CPU": 3}], 3, 3, 1),
        ([{"CPU": 16, "GPU": 2}, {"CPU": 16}], None, 2, 1),
        ([{"CPU": 16, "GPU": 2}], 9, 2, 1),
    ],
)
def test_no_more_ray_actors_than_the_cluster_has_room_for(monkeypatch, nodes, asked, size, cpus_each):
    fake = types.SimpleNamespace(
        is_initialized=lambda: True,
        nodes=lambda: (
            [{"Alive": True, "Resources": node} for node in nodes] + [{"Alive": False, "Resources": {"CPU": 99}}]
        ),
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    pool = RayPool(None, {}, asked)
    assert pool.size == size
    assert pool._options["num_cpus"] == cpus_each
    assert sum(node["CPU"] // cpus_each for node in nodes) >= size
    assert bool(pool.notes) == ((asked or 0) > size)
    assert all(f"--actors {asked}: the cluster has room for {size}" in note for note in pool.notes)


@pytest.mark.ray
def test_ray_actors_give_what_one_process_gives_also_when_one_of_them_is_killed(
    straight, loaded, tmp_path, monkeypatch
):
    ray = pytest.importorskip("ray")
    killed = []
    real = RayPool.submit

    def submit(self, worker, job):
        real(self, worker, job)
        if job.number == 4 and not killed:
            killed.append(worker)
            threading.Thread(target=lambda: (time.sleep(0.05), ray.kill(self._actors[worker]))).start()

    monkeypatch.setattr(RayPool, "submit", submit)
    outcome = run_study(STUDY | {"models": loaded}, tmp_path / "ray", workers="ray", actors=2)
    assert killed
    assert (outcome.n_done, outcome.failed) == (8, {})
    assert content(tmp_path / "ray") == content(straight)
    assert not ray.is_initialized()


@pytest.mark.ray
def test_a_ray_cluster_that_is_not_there_is_told(loaded, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(xtl.InputError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        run_study(STUDY | {"models": loaded}, tmp_path / "run", workers="ray:127.0.0.1:1")
