"""`sweep_many`: the maps of many pairs, one after the other, so that thousands of them take no more memory than one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import xarray as xr
from typing_extensions import Unpack

from xtl.backend import Model
from xtl.engine.driver import Driver, Keep, Progress
from xtl.engine.prepare import Activations, Settings, Sweep, SweepSettings
from xtl.errors import InputError, check_flag, check_function, known_keywords, shown
from xtl.pairs import ParallelPair, check_pairs
from xtl.progress import SweepProgress
from xtl.scoring.likelihood import MixedOptions

Writes = Callable[[ParallelPair], Activations]
"""What to write for a pair."""


@known_keywords(Settings.__annotations__)
def sweep_many(
    model: Model,
    pairs: Iterable[ParallelPair],
    *,
    activations: Writes | None = None,
    keep: Keep | None = None,
    progress: bool | Progress = False,
    **settings: Unpack[Settings],
) -> Iterator[xr.Dataset]:
    """The maps of many pairs, each as soon as it is done: what is finished is kept when the work is stopped.

    Settings are checked at the call, and a list of pairs as a whole before the first one runs. Anything else (a generator over a
    large benchmark) is taken pair by pair. What comes is an iterator, which gives each map once: `concat_maps` and `xtl.stats`
    take it as it is, and use it up.

    Args:
        model: from `xtl.load_model`, or any HookedTransformer or TransformerBridge.
        pairs: what is asked; all with options, or none.
        activations: gives for each pair what to write instead of what its source prompt gives (see `xtl.sweep`).
        keep: a resume cache, `xtl.KeptMaps("folder")`: each map is kept in it once computed; those of an earlier call are read.
        progress: True shows pairs done, cells a second and time left on stderr; a function is called after each cell with
            (cells done, cells in all), which are known for a list alone.
        **settings: the arguments of `xtl.sweep` that are the same for every pair (`modules`, `engine`, ...).

    Yields:
        What `xtl.sweep` returns for each pair, with its id (or its number) as the coord `example`. `concat_maps` makes one
        Dataset of them.

    Raises:
        InputError: as `xtl.sweep`; no pairs; some pairs with options and some without.

    Example:
        >>> import xtl
        >>> pairs = xtl.get_task("capitals").pairs("en", "es", limit=5)
        >>> xtl.concat_maps(xtl.sweep_many(xtl.load_model(), pairs))  # doctest: +SKIP
    """
    if not isinstance(keep, Keep | None):
        wanted = f"; write keep=xtl.KeptMaps({str(keep)!r})" if isinstance(keep, str | os.PathLike) else ""
        raise InputError(f"keep must be an xtl.KeptMaps, got {shown(keep)}{wanted}")
    if callable(progress):
        check_function("progress", progress, "done", "n_cells")
    else:
        check_flag("progress", progress)
    driver = Driver(model, SweepSettings(**settings))  # what is wrong is told now, not when the first map is asked for
    pairs = check_pairs(pairs)
    if activations is not None and not callable(activations):
        got = "what is written for one" if isinstance(activations, Mapping) else type(activations).__name__
        raise InputError(f"activations must be a function of a pair, got {got}; xtl.controls.make gives one")
    if activations is not None:
        check_function("activations", activations, "pair")
    if not isinstance(pairs, Sequence):
        return _run_each(driver, map(driver.prepare, pairs), None, activations, keep, progress)
    if not pairs:
        raise InputError("pairs is empty: give at least one ParallelPair")
    _check_alike(pairs)
    sweeps = [driver.prepare(pair) for pair in pairs]
    _warn_of_mixed(sweeps)
    return _run_each(driver, sweeps, sum(sweep.plan.n_cells for sweep in sweeps), activations, keep, progress)


def _run_each(
    driver: Driver,
    sweeps: Iterable[Sweep],
    n_cells: int | None,
    activations: Writes | None,
    keep: Keep | None,
    progress: bool | Progress,
) -> Iterator[xr.Dataset]:
    n_pairs = len(sweeps) if isinstance(sweeps, Sequence) else None
    before = computed = 0
    first: ParallelPair | None = None
    mixed = MixedOptions()
    with SweepProgress(n_pairs, n_cells, shown=progress is True) as bar:
        bar.note = driver.slow.note if driver.slow else ""

        def tell(done: int, of_pair: int) -> None:
            if callable(progress):
                progress(before + done, n_cells if n_cells is not None else before + of_pair)

        def count(done: int, of_pair: int) -> None:
            bar.cells(computed + done)
            tell(done, of_pair)

        for index, sweep in enumerate(sweeps):
            pair, n = sweep.pair, sweep.plan.n_cells
            first = first or pair
            _check_alike([first, pair])
            mixed.add(sweep.question.mixed if sweep.question else None)
            if activations is not None:
                written = activations(pair)
                if not isinstance(written, Mapping):
                    raise InputError(
                        f"activations of the pair {pair.id or index} must be tensors by module name and source layer, "
                        f"got {shown(written)}"
                    )
                sweep = sweep.writing(written)
            result = driver.kept(sweep, keep)
            if result is not None:
                bar.was_done(n)
                tell(n, n)
            else:
                result = driver.map(sweep, count, keep)
                computed += n
                bar.pairs(index + 1)
            before += n
            yield result.assign_coords(example=pair.id or str(index))
    if n_pairs is None:  # a list's were told of before the first map
        mixed.warn()


def _warn_of_mixed(sweeps: Sequence[Sweep]) -> None:
    mixed = MixedOptions()
    for sweep in sweeps:
        mixed.add(sweep.question.mixed if sweep.question else None)
    mixed.warn()


def _check_alike(pairs: Sequence[ParallelPair]) -> None:
    if len({pair.options is None for pair in pairs}) > 1:
        raise InputError("some pairs have options and some have not: sweep them apart, their scores can't be compared")
