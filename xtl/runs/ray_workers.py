"""Workers as Ray actors, on one machine or a cluster: each holds the model, on a GPU of its own where there are GPUs.

An actor that is lost with its node is started again by us, wherever the cluster has room; its job goes to another. Ray comes with
the `ray` extra.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from xtl.errors import InputError, XtlError
from xtl.packages import install_hint
from xtl.runs.compute import Computer, Failure, LoadedModel
from xtl.runs.jobs import Job
from xtl.runs.store import MapFiles
from xtl.runs.workers import Lost, Report, Stopped

WAKE = 0.5
"""Seconds after which `wait` returns even if nothing was reported."""
CONNECT = 10.0
"""Seconds in which a cluster must answer."""


class Actor:
    """What runs in each actor."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.loaded: list[LoadedModel] = []
        self.computer = Computer(**arguments, on_model=self.loaded.append)

    def compute(self, job: Job) -> list[LoadedModel | MapFiles | Failure | Stopped]:
        """The models that were loaded for a job, and its map."""
        try:
            self.computer.load(job.model)
        except XtlError as error:
            return [Stopped(str(error))]
        result = self.computer.compute(job)
        loaded, self.loaded[:] = list(self.loaded), []
        return [*loaded, result]


class RayCrew:
    """Actors on Ray. See `xtl.runs.workers.Crew`.

    Args:
        address: of the cluster; None joins the one that this machine belongs to (`RAY_ADDRESS`, `ray start`), or starts one here.
        computer: arguments of `Computer`.
        actors: how many; one a GPU of the cluster by default, one a CPU where it has no GPU.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str | None, computer: dict[str, Any], actors: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise InputError(f"--workers ray needs the package ray: {install_hint('ray')}") from error
        self._ray = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(ray, address)
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        self.size = actors or gpus or cpus
        share = max(1, cpus // self.size)
        self._options = {"num_gpus": 1 if gpus else 0, "num_cpus": share if not gpus else 1, "max_restarts": 0}
        # A memory folder of this machine is none of another's: actors keep source activations in memory.
        self._computer = computer | {"activations": "off" if computer.get("activations") == "off" else "memory"}
        self._threads = share
        self._actors: dict[int, Any] = {}
        self._flying: dict[Any, int] = {}

    def start(self, worker: int) -> None:
        """Start this worker, or a new one in its place."""
        environment = {"env_vars": {"OMP_NUM_THREADS": str(self._threads), "TOKENIZERS_PARALLELISM": "false"}}
        made = self._ray.remote(Actor).options(**self._options, runtime_env=environment)
        self._actors[worker] = made.remote(self._computer)

    def give(self, worker: int, job: Job) -> None:
        """Have it compute a job after those that it has."""
        self._flying[self._actors[worker].compute.remote(job)] = worker

    def wait(self) -> Iterator[tuple[int, Report | Lost | Stopped]]:
        """What has been reported since."""
        if not self._flying:
            return
        ready, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=WAKE)
        for reference in ready:
            worker = self._flying.pop(reference)
            try:
                reports = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                self._flying = {other: owner for other, owner in self._flying.items() if owner != worker}
                self._ray.kill(self._actors.pop(worker))
                yield worker, Lost(" ".join(str(error).split())[:200])
            else:
                yield from ((worker, report) for report in reports)

    def close(self) -> None:
        """End all workers; leave a cluster that was there before."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._flying.clear()
        if self._ours:
            self._ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    """Join a cluster, or start one on this machine where none is named and it belongs to none."""
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address is not None:
            _check_reachable(address)
            ray.init(address=address, **quiet)
            return
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            ray.init(include_dashboard=False, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster at {address or 'this machine'}: {' '.join(str(error).split())[:200]}"
        ) from error


def _check_reachable(address: str) -> None:
    """Raise `OSError` where nobody answers at `host:port`; Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "//" not in address:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
