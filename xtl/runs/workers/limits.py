"""How long a worker may take: over a pair, and to start."""

from __future__ import annotations

import math

from xtl.errors import InputError

PAIR_TIMEOUT = 3600.0
"""Seconds that a pair may take, unless the user says otherwise: far more than a map should, far less than for ever."""
START_TIMEOUT = 300.0
"""Seconds after which a worker that has not started is told of; where none has, the run ends."""


def check_pair_timeout(seconds: object) -> float | None:
    """Seconds that a pair may take, or None for no limit. Raises `InputError`.

    >>> check_pair_timeout(90), check_pair_timeout(None)
    (90.0, None)
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise InputError(
            f"pair_timeout must be a number of seconds greater than 0, or None for no limit, got {seconds!r}"
        )
    return float(seconds)


def took_too_long(seconds: float) -> str:
    """Why a pair failed that took longer than its limit."""
    return f"took longer than {seconds:g} s, the limit of a pair; --pair-timeout sets another, or off"
