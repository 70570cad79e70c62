"""What the commands run, imported when it is first used: help and mistakes are answered without torch, which takes seconds.

The one place for that in this room: a command calls `library.sweep_many(...)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtl.packages import lazily

if TYPE_CHECKING:
    from xtl import controls as controls
    from xtl import plots as plots
    from xtl.backend import backend_name as backend_name
    from xtl.backend import is_bridge as is_bridge
    from xtl.controls import CONTROLS as CONTROLS
    from xtl.controls import check_control as check_control
    from xtl.engine import ENGINES as ENGINES
    from xtl.engine import sweep_many as sweep_many
    from xtl.engine.engines import resolve_engine as resolve_engine
    from xtl.hooks import MODULES as MODULES
    from xtl.hooks import get_modules as get_modules
    from xtl.hooks import get_whole_modules as get_whole_modules
    from xtl.models import load_model as load_model
    from xtl.models.chat import chat_pairs as chat_pairs
    from xtl.models.chat import chat_prompt as chat_prompt
    from xtl.models.load import check_asked as check_asked
    from xtl.models.precision import contract_tolerance as contract_tolerance
    from xtl.plots.images import image_bytes as image_bytes
    from xtl.plots.selection import cost_figure as cost_figure
    from xtl.plots.selection import gain_figure as gain_figure
    from xtl.policies import Policy as Policy
    from xtl.policies.applying import prompt_hooks as prompt_hooks
    from xtl.protocols.policies import policies_of as policies_of
    from xtl.protocols.tables import accuracy_table as accuracy_table
    from xtl.protocols.tables import measure_of as measure_of
    from xtl.protocols.tables import write_table as write_table
    from xtl.publish import report_run as report_run
    from xtl.publish import write_report as write_report
    from xtl.publish.export import export_run as export_run
    from xtl.publish.figure_files import export_figure as export_figure
    from xtl.results import best_cells as best_cells
    from xtl.results import concat_maps as concat_maps
    from xtl.results import mean_maps as mean_maps
    from xtl.results import with_directions as with_directions
    from xtl.results.details import check_details as check_details
    from xtl.results.units import NORMALISATIONS as NORMALISATIONS
    from xtl.runs import KeptMaps as KeptMaps
    from xtl.runs import load_results as load_results
    from xtl.runs import save_results as save_results
    from xtl.runs.dry_run import dry_run as dry_run
    from xtl.runs.extent import Extent as Extent
    from xtl.runs.extent import extent_attrs as extent_attrs
    from xtl.runs.extent import note_of as note_of
    from xtl.runs.reading import open_results as open_results
    from xtl.runs.reading import say_extent as say_extent
    from xtl.runs.run import check_computing as check_computing
    from xtl.runs.run import run_study as run_study
    from xtl.runs.status import run_status as run_status
    from xtl.runs.workers.choose import parse_workers as parse_workers
    from xtl.runs.workers.limits import check_pair_timeout as check_pair_timeout
    from xtl.selectors import evaluate as evaluate
    from xtl.selectors import get_selectors as get_selectors
    from xtl.selectors.aligned import AlignedLayers as AlignedLayers
    from xtl.selectors.aligned import aligned_layers as aligned_layers
    from xtl.selectors.table import ACROSS as ACROSS
    from xtl.stats import summary_table as summary_table
    from xtl.stats import summary_wide as summary_wide
    from xtl.stats.selection import STRATEGIES as STRATEGIES
    from xtl.tokens import check_fits as check_fits
    from xtl.tokens import decode as decode
    from xtl.tokens import encode as encode
    from xtl.transplants import STEPS as STEPS
    from xtl.transplants import generate as generate
    from xtl.transplants import transplant as transplant

__getattr__, __dir__ = lazily(
    __name__,
    {
        "ACROSS": "xtl.selectors.table",
        "AlignedLayers": "xtl.selectors.aligned",
        "ENGINES": "xtl.engine",
        "Extent": "xtl.runs.extent",
        "KeptMaps": "xtl.runs",
        "MODULES": "xtl.hooks",
        "NORMALISATIONS": "xtl.results.units",
        "check_details": "xtl.results.details",
        "STEPS": "xtl.transplants",
        "STRATEGIES": "xtl.stats.selection",
        "accuracy_table": "xtl.protocols.tables",
        "aligned_layers": "xtl.selectors.aligned",
        "backend_name": "xtl.backend",
        "best_cells": "xtl.results",
        "chat_pairs": "xtl.models.chat",
        "chat_prompt": "xtl.models.chat",
        "check_asked": "xtl.models.load",
        "check_computing": "xtl.runs.run",
        "CONTROLS": "xtl.controls",
        "check_control": "xtl.controls",
        "controls": "xtl:controls",
        "check_pair_timeout": "xtl.runs.workers.limits",
        "concat_maps": "xtl.results",
        "contract_tolerance": "xtl.models.precision",
        "cost_figure": "xtl.plots.selection",
        "dry_run": "xtl.runs.dry_run",
        "evaluate": "xtl.selectors",
        "export_figure": "xtl.publish.figure_files",
        "export_run": "xtl.publish.export",
        "extent_attrs": "xtl.runs.extent",
        "gain_figure": "xtl.plots.selection",
        "get_modules": "xtl.hooks",
        "get_whole_modules": "xtl.hooks",
        "get_selectors": "xtl.selectors",
        "image_bytes": "xtl.plots.images",
        "is_bridge": "xtl.backend",
        "load_model": "xtl.models",
        "load_results": "xtl.runs",
        "mean_maps": "xtl.results",
        "measure_of": "xtl.protocols.tables",
        "note_of": "xtl.runs.extent",
        "open_results": "xtl.runs.reading",
        "parse_workers": "xtl.runs.workers.choose",
        "plots": "xtl:plots",
        "encode": "xtl.tokens",
        "decode": "xtl.tokens",
        "check_fits": "xtl.tokens",
        "generate": "xtl.transplants",
        "Policy": "xtl.policies",
        "policies_of": "xtl.protocols.policies",
        "prompt_hooks": "xtl.policies.applying",
        "protocols": "xtl.protocols:run",
        "report_run": "xtl.publish",
        "resolve_engine": "xtl.engine.engines",
        "run_status": "xtl.runs.status",
        "run_study": "xtl.runs.run",
        "save_results": "xtl.runs",
        "say_extent": "xtl.runs.reading",
        "selection_wide": "xtl.selectors.reading:wide_table",
        "status_in_words": "xtl.runs.status:in_words",
        "summary_table": "xtl.stats",
        "summary_wide": "xtl.stats",
        "sweep_many": "xtl.engine",
        "transplant": "xtl.transplants",
        "upper_bound_table": "xtl.protocols.tables:upper_bound",
        "with_directions": "xtl.results",
        "write_report": "xtl.publish",
        "write_table": "xtl.protocols.tables",
    },
)
