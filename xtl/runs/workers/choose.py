"""Which workers `--workers` names, and their pool."""

from __future__ import annotations

import importlib.util
import os
import re
from typing import Any

from xtl.errors import InputError, check_whole, shown
from xtl.packages import install_hint
from xtl.runs.workers.local import LocalPool
from xtl.runs.workers.pool import WorkerPool
from xtl.runs.workers.ray import RayPool

MOST_PROCESSES = 1000
"""Most worker processes on this machine: each holds a model."""


def parse_workers(text: str) -> tuple[str, str | None]:
    """What `--workers` says: `("local", "4")`, `("ray", address or None)`.

    >>> parse_workers("local:4"), parse_workers("1"), parse_workers("ray"), parse_workers("ray:10.0.0.1:6379")
    (('local', '4'), ('local', '1'), ('ray', None), ('ray', '10.0.0.1:6379'))
    """
    if match := re.fullmatch(r"(?:local:)?([0-9]{1,9})|local", str(text), re.ASCII):
        n = int(match[1]) if match[1] else os.cpu_count() or 1
        if 1 <= n <= MOST_PROCESSES:
            return "local", str(n)
    if match := re.fullmatch(r"ray(?::(\S+))?", str(text)):
        return "ray", match[1]
    raise InputError(
        f"workers {shown(text)} must be local:N (N processes, at most {MOST_PROCESSES:,}), ray, or ray:ADDRESS; "
        "local:1 works in this process"
    )


def check_workers(workers: str, actors: int | None = None) -> str:
    """Raise `InputError` where workers can't be had as they are asked for; return their kind, "local" or "ray".

    >>> check_workers("local:2", actors=8)
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: actors goes with workers ray; local:N says how many processes there are
    """
    kind, _ = parse_workers(workers)
    if actors is not None:
        check_whole("actors", actors, 1)
        if kind != "ray":
            raise InputError("actors goes with workers ray; local:N says how many processes there are")
    if kind == "ray" and importlib.util.find_spec("ray") is None:
        raise InputError(f"--workers ray needs the package ray: {install_hint('ray')}")
    return kind


def make_pool(workers: str, computer: dict[str, Any], actors: int | None = None) -> WorkerPool | None:
    """The worker pool that `workers` names; None where this process does the work itself.

    Args:
        workers: "local:N", "ray" or "ray:ADDRESS".
        computer: arguments of `Computer`.
        actors: how many actors on Ray; one a GPU (or CPU) by default.
    """
    kind, rest = parse_workers(workers)
    if kind == "ray":
        return RayPool(rest, computer, actors)
    return None if rest == "1" else LocalPool(int(rest or 1), computer)
