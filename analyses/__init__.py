"""One question per module: `compute()` gives labelled data, `figure()` draws it, `in_words()` says it.

`ANALYSES` lists them; `analyse` runs one on stored runs, or on a model, for the command line (`xtl analyse`).

>>> list(ANALYSES)[:4]
['gain_maps', 'is_it_real', 'upper_bound', 'attn_vs_ffn']
>>> ANALYSES["linear_probes"].needs
'model'
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from xtl.pairs import ParallelPair


@dataclass(frozen=True)
class Analysis:
    """An analysis of the registry.

    Attributes:
        name: of its module.
        question: what it asks, in one line.
        needs: "run" (a stored run), "runs" (one or several), "run and control", or "model".
        options: flags of `xtl analyse` that it takes beside the run or the model.
        needed: those of them that must be given.
    """

    name: str
    question: str
    needs: str
    options: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()

    @property
    def module(self) -> ModuleType:
        """The module, imported when it is first asked for."""
        return importlib.import_module(f"analyses.{self.name}")


ANALYSES: dict[str, Analysis] = {
    item.name: item
    for item in (
        Analysis("gain_maps", "Which layers and which module lift the target language?", "run", ("by", "against")),
        Analysis(
            "is_it_real", "Is the gain more than chance, and the question's own content?", "run and control", ("by",)
        ),
        Analysis(
            "upper_bound",
            "How much could a perfect choice of layers solve, and how much is luck?",
            "run",
            ("control", "by"),
        ),
        Analysis("attn_vs_ffn", "Which module helps which kind of task?", "run", ("control", "by")),
        Analysis(
            "direct_logit_attribution", "What does each module add to the right answer's logit?", "model", ("cell",)
        ),
        Analysis(
            "linear_probes",
            "What do attention and FFN outputs encode, layer by layer?",
            "model",
            ("labels", "activations"),
        ),
        Analysis(
            "alignment",
            "How alike are two languages' representations, and does the gain follow?",
            "model",
            ("run", "activations"),
        ),
        Analysis("language_flow", "In which language does the model think, layer by layer?", "model", ("cell",)),
        Analysis("stability", "How much do maps move when nothing that matters is changed?", "runs"),
        Analysis(
            "effectiveness", "Is a transplant better than what one could do instead?", "model", ("cell",), ("cell",)
        ),
        Analysis("generalizability", "Does a cell help on another task, language or model?", "runs", ("by", "cell")),
    )
}
"""Every analysis, by name."""


@dataclass
class Request:
    """What `analyse` is given.

    Attributes:
        runs: stored runs: a `results.parquet`, a folder that holds one, or the folder of `xtl run`.
        control: a stored control run.
        against: a second stored run, whose maps are taken off the first one's.
        load: gives the model; called once, and only by analyses that need it.
        pairs, back: the questions, and those of the opposite directions.
        cell: module, source layer, target layer.
        by: how examples are grouped.
        labels: of probes.
        activations: folder where activations are looked up and kept, for analyses that read them alone.
        chat: whether pairs are wrapped in the model's chat template (see `xtl.chat_pairs`).
    """

    runs: Sequence[Path] = ()
    control: Path | None = None
    against: Path | None = None
    load: Callable[[], Any] | None = None
    pairs: Sequence[ParallelPair] = ()
    back: Sequence[ParallelPair] = ()
    cell: tuple[str, int, int] | None = None
    by: str | None = None
    labels: Sequence[str] = field(default_factory=lambda: ["language"])
    activations: Path | None = None
    chat: bool | str = False


def get_analysis(name: str) -> Analysis:
    """The analysis of that name. Raises `InputError` for an unknown one; the message lists those there are."""
    from xtl.errors import check_choice

    return ANALYSES[check_choice("analysis", name, ANALYSES)]


def check_request(name: str, request: Request) -> None:
    """Raise `InputError` where an analysis is not given what it needs, or is given what it does not take; no model is loaded."""
    from xtl.errors import InputError

    item = get_analysis(name)
    given = {
        "control": request.control is not None, "against": request.against is not None,
        "by": request.by is not None, "cell": request.cell is not None,
        "activations": request.activations is not None, "labels": list(request.labels) != ["language"],
        "run": item.needs == "model" and bool(request.runs),
    }  # fmt: skip
    takes = (*item.options, "control") if item.needs == "run and control" else item.options
    for flag, is_given in given.items():
        if is_given and flag not in takes:
            raise InputError(f"{name} takes no {flag}; it takes: {', '.join(takes) or 'nothing more'}")
    for flag in item.needed:
        if not given[flag]:
            raise InputError(f"{name} needs {flag} (such as attn,12,13 for a cell)")
    if item.needs == "model":
        if not request.pairs or request.load is None:
            raise InputError(f"{name} runs the model: give a task and directions")
    elif not request.runs:
        raise InputError(f"{name} works on a stored run: give its folder")
    if item.needs in ("run", "run and control") and len(request.runs) > 1:
        raise InputError(f"{name} takes one run, and {len(request.runs)} were given")
    if item.needs == "run and control" and request.control is None:
        raise InputError(f"{name} compares a run with a control: give control")


def analyse(name: str, request: Request) -> xr.Dataset:
    """Compute one analysis.

    Args:
        name: one of `ANALYSES`.
        request: runs, or model and pairs, and options.

    Returns:
        What the analysis's `compute` gives.

    Raises:
        InputError: an unknown name; something that is missing or doesn't belong; and what the analysis itself refuses.
    """
    check_request(name, request)
    compute = get_analysis(name).module.compute
    runs = [_open(path) for path in request.runs]
    control = None if request.control is None else _open(request.control)
    by = {} if request.by is None else {"by": request.by}
    if name == "gain_maps":
        other = None if request.against is None else _open(request.against)
        return compute(runs[0], instances=12, against=other, **by)
    if name in ("is_it_real", "upper_bound", "attn_vs_ffn"):
        return compute(runs[0], control, **by)
    if name == "stability":
        return compute(_named(request.runs, runs))
    if name == "generalizability":
        some = runs[0] if len(runs) == 1 else _named(request.runs, runs)
        return compute(some, cell=request.cell, **by)
    assert request.load is not None
    model = request.load()
    from analyses._activations import open_cache
    from xtl.models.chat import chat_pairs

    pairs, back = (chat_pairs(model, some, request.chat) for some in (request.pairs, request.back))
    if name == "linear_probes":
        return compute(model, pairs, labels=request.labels, cache=open_cache(model, request.activations))
    if name == "alignment":
        return compute(model, pairs, results=runs[0] if runs else None, cache=open_cache(model, request.activations))
    return compute(model, pairs, back=back, cell=request.cell)


def figures(name: str, data: xr.Dataset) -> dict[str, go.Figure]:
    """Every figure of an analysis, by name."""
    module = get_analysis(name).module
    return module.figures(data) if hasattr(module, "figures") else {name: module.figure(data)}


def words(name: str, data: xr.Dataset) -> list[str]:
    """What an analysis found, in sentences: for each direction, label or group that it has."""
    module = get_analysis(name).module
    if name in ("stability", "generalizability", "effectiveness"):
        return module.in_words(data)
    dim = {"linear_probes": "label", "attn_vs_ffn": "group"}.get(name, "direction")
    found = []
    for value in dict.fromkeys(map(str, data[dim].values)):
        found += [f"{value}: {sentence}" for sentence in module.in_words(data, value)]
    return found


def save(data: xr.Dataset, path: Path) -> Path:
    """Write what an analysis computed as netCDF, whole or not at all; `xarray.load_dataset` reads it.

    Attributes that netCDF has no type for are written as text.
    """
    from xtl.files import write_whole

    plain = {key: value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else str(value)
             for key, value in data.attrs.items()}  # fmt: skip
    clean = data.assign_attrs(plain)
    clean.attrs = plain
    return write_whole(path, lambda temporary: clean.to_netcdf(temporary, engine="scipy"))


def _open(path: Path) -> xr.Dataset:
    from xtl.runs.reading import open_results, say_extent

    return say_extent(path, open_results(path))


def _named(paths: Sequence[Path], runs: Sequence[xr.Dataset]) -> dict[str, xr.Dataset]:
    """Runs by the name of their folder (the file's, for a loose file), made different where two are the same."""
    from xtl.errors import InputError

    names = [path.parent.name if path.name == "results.parquet" else path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise InputError(f"a run is given twice: {', '.join(names)}")
    return dict(zip(names, runs, strict=True))
