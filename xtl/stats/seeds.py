"""Random numbers from explicit seeds: one `seed` argument a function, recorded in the attributes of its result.

The same seed in two functions gives two unrelated streams: the name of the purpose is part of the seed. Otherwise the splits of
a held-out selection and the resamples of its interval would be drawn from the same numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np

from xtl.errors import InputError, Whole, as_whole, check_whole, known_keywords


def generator(seed: Whole, purpose: str) -> np.random.Generator:
    """A generator that depends on `seed` and on what it is for.

    Args:
        seed: a whole number from 0.
        purpose: any fixed text, such as "bootstrap".

    Raises:
        InputError: a negative seed, or True or False.

    >>> bool(generator(0, "bootstrap").integers(100) == generator(0, "bootstrap").integers(100))
    True
    >>> bool(generator(0, "bootstrap").integers(2**60) == generator(0, "splits").integers(2**60))
    False
    """
    return np.random.default_rng([check_whole("seed", seed, 0), zlib.crc32(purpose.encode())])


@known_keywords()
def check_seeds(**named: Whole | Iterable[Whole]) -> list[int]:
    """Return all seeds of the arguments given, in order; each may stand there once.

    Two runs with one seed are one run: as a mean over seeds it would count twice, as real and control it would share its luck.

    Raises:
        InputError: a seed given twice (in one argument or in two), a negative one, True or False, none at all.

    >>> check_seeds(seeds=[1, 2], control_seed=3)
    [1, 2, 3]
    >>> check_seeds(seeds=[1, 1])
    Traceback (most recent call last):
    ...
    xtl.errors.InputError: seed 1 is given twice (seeds, seeds): give each run a seed of its own
    """
    homes: dict[int, str] = {}
    for name, value in named.items():
        for given in value if isinstance(value, Iterable) and not isinstance(value, str) else [value]:
            seed = as_whole(given)
            if seed is None or seed < 0:
                raise InputError(f"{name} must be a whole number from 0, got {given!r}")
            if seed in homes:
                raise InputError(f"seed {seed} is given twice ({homes[seed]}, {name}): give each run a seed of its own")
            homes[seed] = name
    if not homes:
        raise InputError(f"no seed given in {', '.join(named) or 'any argument'}: give at least one")
    return list(homes)
