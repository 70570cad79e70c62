"""One question per module: `compute()` gives labelled data, `figures()` draws them, `in_words()` says them.

Each module says at its end, in `ANALYSIS`, what it needs; `xtl analyse` finds it as it finds those of your own packages
(`xtl.analysis`). `ANALYSES` holds ours by name.

>>> import analyses
>>> sorted(analyses.ANALYSES)[:4]
['alignment', 'attn_vs_ffn', 'direct_logit_attribution', 'effectiveness']
>>> analyses.ANALYSES["linear_probes"].needs
'model'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtl.analysis import Analysis, Request, find_analyses, get_analysis, save
from xtl.packages import DISTRIBUTION

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

__all__ = ["ANALYSES", "Analysis", "Request", "analyse", "check_request", "figures", "get_analysis", "save", "words"]

ANALYSES: dict[str, Analysis]
"""Our analyses, by name; loaded when they are first asked for."""


def check_request(name: str, request: Request) -> None:
    """Raise `InputError` where an analysis is not given what it needs, or is given what it does not take; no model is loaded."""
    get_analysis(name).check(request)


def analyse(name: str, request: Request) -> xr.Dataset:
    """Compute one analysis, ours or an installed package's.

    Args:
        name: see `xtl analyse`.
        request: runs, or model and pairs, and options.

    Returns:
        What the analysis's `compute` gives.

    Raises:
        InputError: an unknown name; something that is missing or doesn't belong; and what the analysis itself refuses.
    """
    return get_analysis(name).run(request)


def figures(name: str, data: xr.Dataset) -> dict[str, go.Figure]:
    """Every figure of an analysis, by name."""
    return get_analysis(name).figures(data)


def words(name: str, data: xr.Dataset) -> list[str]:
    """What an analysis found, in sentences: for each direction, label or group that it has."""
    return get_analysis(name).told(data)


def __getattr__(name: str) -> dict[str, Analysis]:
    if name != "ANALYSES":
        raise AttributeError(f"module 'analyses' has no attribute {name!r}; it has: {', '.join(__all__)}")
    ours = {name: offer.load() for name, offer in find_analyses().items() if offer.package == DISTRIBUTION}
    globals()["ANALYSES"] = ours
    return ours
