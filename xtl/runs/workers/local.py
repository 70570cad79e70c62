"""Workers as processes on this machine, each with its own model and, where there are GPUs, its own GPU.

Each is a fresh Python at one end of a pipe. When a worker dies the pipe closes, which is how that is noticed; when this process
dies the workers notice it the same way and end.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from xtl.errors import InputError, XtlError
from xtl.runs.compute import Computer
from xtl.runs.jobs import Job
from xtl.runs.reports import FailedWorker, Ready, Stopped, WorkerReport
from xtl.runs.workers.pool import WAKE


class LocalPool:
    """`size` processes. See `xtl.runs.workers.pool.WorkerPool`.

    Args:
        size: how many.
        computer: arguments of `Computer`.
    """

    def __init__(self, size: int, computer: dict[str, Any]) -> None:
        if os.name == "nt":
            raise InputError("workers local:N needs Linux or macOS; use local:1 or ray")
        self.size = size
        self.notes: list[str] = []
        self.computer = computer
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self._pipes: dict[int, Connection] = {}

    def start(self, worker: int) -> None:
        """Start this worker, or a new one in its place."""
        ours, theirs = Pipe()
        command = [sys.executable, "-c", f"from xtl.runs.workers.local import work; work({theirs.fileno()})"]
        # A session of its own: Ctrl-C is for this process, which ends its workers.
        process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()
        self.processes[worker], self._pipes[worker] = process, ours
        threads = max(1, (os.cpu_count() or 1) // self.size)
        self._send(worker, (self.computer, {"worker": worker, "threads": threads}))

    def submit(self, worker: int, job: Job) -> None:
        """Have it compute a job after those that it has."""
        self._send(worker, job)

    def wait(self) -> Iterator[tuple[int, WorkerReport]]:
        """What has been reported since."""
        of_pipe = {id(pipe): worker for worker, pipe in self._pipes.items()}
        for pipe in wait(list(self._pipes.values()), timeout=WAKE):
            worker = of_pipe[id(pipe)]
            try:
                yield worker, self._pipes[worker].recv()
            except (EOFError, OSError):
                self._pipes.pop(worker).close()
                yield worker, FailedWorker(_how_it_ended(_end(self.processes.pop(worker))))

    def end(self, worker: int) -> None:
        """End this worker, whatever it is at; nothing more is reported of it."""
        self._pipes.pop(worker).close()
        process = self.processes.pop(worker)
        process.kill()
        process.wait()

    def why_late(self) -> str:
        """Why workers may not have started."""
        return "their processes are there and do not answer"

    def close(self) -> None:
        """End all workers."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            _end(process)
        for pipe in self._pipes.values():
            pipe.close()
        self.processes.clear()
        self._pipes.clear()

    def _send(self, worker: int, message: Any) -> None:
        with suppress(OSError):  # it is dead: `wait` will say so
            self._pipes[worker].send(message)


def work(handle: int) -> None:
    """A worker's life: take a job, report its map, until the pipe closes.

    Args:
        handle: file descriptor of its end of the pipe.
    """
    pipe = Connection(handle)

    def tell(message: Any) -> None:
        """Report; end this process where the one that started it has ended, whichever of our threads sees it first."""
        try:
            pipe.send(message)
        except OSError:
            os._exit(0)

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    arguments, settings = pipe.recv()
    jobs: queue.Queue[Job] = queue.Queue()
    threading.Thread(target=_listen, args=(pipe, jobs), daemon=True).start()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(settings["threads"])
    device = f"cuda:{settings['worker'] % torch.cuda.device_count()}" if torch.cuda.is_available() else None
    computer = Computer(**arguments, tell=tell, device=device)
    tell(Ready())
    while True:
        job = jobs.get()
        try:
            computer.load(job.model)
        except XtlError as error:
            tell(Stopped(str(error)))
            return
        tell(computer.compute(job))


def _listen(pipe: Connection, jobs: queue.Queue[Job]) -> None:
    """Take jobs as they come, so that nobody waits for us; end this process when the one that started it has ended."""
    try:
        while True:
            jobs.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


def _end(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _how_it_ended(code: int) -> str:
    return f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
