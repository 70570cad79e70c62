"""Workers as Ray actors, on one machine or a cluster: each holds the model, on a GPU of its own where there are GPUs.

An actor that fails with its node is started again by us, wherever the cluster has room; its job goes to another. Ray comes with
the `ray` extra.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from xtl.errors import InputError, XtlError, one_line
from xtl.runs.compute import Computer
from xtl.runs.jobs import Job
from xtl.runs.reports import FailedWorker, Failure, LoadedModel, MapFiles, Notice, Ready, Stopped, WorkerReport
from xtl.runs.workers.pool import WAKE

CONNECT = 10.0
"""Seconds in which a cluster must answer."""


class Actor:
    """What runs in each actor."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.told: list[LoadedModel | Notice] = []
        self.computer = Computer(**arguments, tell=self.told.append)

    def ready(self) -> list[Ready]:
        """Answers once the actor has its place on the cluster."""
        return [Ready()]

    def load(self, model: int) -> list[LoadedModel | Notice | Stopped]:
        """Have a model of the study in memory."""
        try:
            self.computer.load(model)
        except XtlError as error:
            return [Stopped(str(error))]
        return [*self._said()]

    def compute(self, job: Job) -> list[LoadedModel | Notice | MapFiles | Failure]:
        """The map of a job whose model is loaded."""
        result = self.computer.compute(job)
        return [*self._said(), result]

    def _said(self) -> list[LoadedModel | Notice]:
        told, self.told[:] = list(self.told), []
        return told


class RayPool:
    """Actors on Ray. See `xtl.runs.workers.pool.WorkerPool`.

    Args:
        address: of the cluster; None joins the one that this machine belongs to (`RAY_ADDRESS`, `ray start`), or starts one here.
        computer: arguments of `Computer`.
        actors: how many; one a GPU of the cluster by default, one a CPU where it has no GPU, which is also the most that there is
            room for: `notes` says so where more are asked for.

    Raises:
        InputError: Ray is not installed, there is no cluster at the address, or it has no CPU.
    """

    def __init__(self, address: str | None, computer: dict[str, Any], actors: int | None = None) -> None:
        import ray

        self._ray = ray
        self._actors: dict[int, Any] = {}
        self._models: dict[int, int] = {}
        self._flying: dict[Any, int] = {}
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(ray, address)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._gpus, cpus = (sum(int(node.get(kind, 0)) for node in nodes) for kind in ("GPU", "CPU"))
        most = self._gpus or cpus
        if not most:
            self.close()
            raise InputError(
                "the Ray cluster has neither GPU nor CPU to work with: start nodes that have (`ray start`)"
            )
        self.size = min(actors or most, most)
        self.notes = []
        if (actors or 0) > most:
            self.notes.append(
                f"--actors {actors}: the cluster has room for {most} ({self._kind}s: {most}); {most} are started"
            )
        share = share_of(self.size, [int(node.get("CPU", 0)) for node in nodes])
        self._options = (
            {"num_gpus": 1, "num_cpus": 1 if cpus >= self.size else 0} if self._gpus else {"num_cpus": share}
        ) | {"max_restarts": 0}
        # A memory folder of this machine is none of another's: actors keep source activations in memory.
        self._computer = computer | {"activations": "off" if computer.get("activations") == "off" else "memory"}
        self._threads = share

    @property
    def _kind(self) -> str:
        return "GPU" if self._gpus else "CPU"

    def start(self, worker: int) -> None:
        """Start this worker, or a new one in its place."""
        environment = {"env_vars": {"OMP_NUM_THREADS": str(self._threads), "TOKENIZERS_PARALLELISM": "false"}}
        made = self._ray.remote(Actor).options(**self._options, runtime_env=environment)
        self._actors[worker] = made.remote(self._computer)
        self._models.pop(worker, None)
        self._flying[self._actors[worker].ready.remote()] = worker

    def submit(self, worker: int, job: Job) -> None:
        """Have it compute a job after those that it has."""
        actor = self._actors[worker]
        if self._models.get(worker) != job.model:
            self._models[worker] = job.model
            self._flying[actor.load.remote(job.model)] = worker
        self._flying[actor.compute.remote(job)] = worker

    def wait(self) -> Iterator[tuple[int, WorkerReport]]:
        """What has been reported since."""
        if not self._flying:
            return
        ready, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=WAKE)
        for reference in ready:
            worker = self._flying.pop(reference)
            try:
                reports = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                self.end(worker)
                yield worker, FailedWorker(one_line(error, 200))
            else:
                yield from ((worker, report) for report in reports)

    def end(self, worker: int) -> None:
        """End this worker, whatever it is at; nothing more is reported of it."""
        self._flying = {other: owner for other, owner in self._flying.items() if owner != worker}
        self._ray.kill(self._actors.pop(worker))

    def why_late(self) -> str:
        """Why workers may not have started."""
        free = self._ray.available_resources().get(self._kind, 0)
        return f"each waits for a {self._kind} of the cluster, of which {free:g} are free: others are at work there"

    def close(self) -> None:
        """End all workers; leave a cluster that was there before."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._flying.clear()
        if self._ours:
            self._ray.shutdown()


def share_of(size: int, cpus: list[int]) -> int:
    """CPUs of each of `size` actors, so that all find room on nodes with so many CPUs; at least one.

    >>> share_of(2, [8]), share_of(1, [4, 4]), share_of(3, [3, 3])
    (4, 4, 1)
    """
    share = max(1, min(sum(cpus) // size, max(cpus)))
    while share > 1 and sum(one // share for one in cpus) < size:
        share -= 1
    return share


def _connect(ray: Any, address: str | None) -> None:
    """Join a cluster, or start one on this machine where none is named and it belongs to none."""
    unlogged = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address is not None:
            _check_reachable(address)
            ray.init(address=address, **unlogged)
            return
        try:
            ray.init(address="auto", **unlogged)
        except ConnectionError:
            ray.init(include_dashboard=False, **unlogged)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray cluster at {address or 'this machine'}: {one_line(error, 200)}") from error


def _check_reachable(address: str) -> None:
    """Raise `OSError` where nobody answers at `host:port`; Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "//" not in address:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
