"""xtl: cross-lingual latent transplantation on TransformerLens.

What happens when a multilingual model, while it reads a question in one language, is handed the activation that it computed
for the same question in another? `load_model` gives a model, `ParallelPair` holds a question in two languages, `transplant`
runs one transplant, `sweep` the whole map of them. The method is XTransplant (Ye et al., arXiv 2412.12686).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from xtl.packages import VERSION, lazily

if TYPE_CHECKING:
    from xtl import controls, plots, selectors, stats
    from xtl.engine import sweep, sweep_many
    from xtl.errors import ContractError, InputError, ModelError, SlowEngineWarning, XtlError
    from xtl.explorer.explore import explore
    from xtl.gradients import attribution
    from xtl.hooks import Module
    from xtl.models import load_model
    from xtl.models.chat import chat_pairs
    from xtl.pairs import ParallelPair
    from xtl.policies import Policy
    from xtl.publish.notebook import show
    from xtl.results import concat_maps
    from xtl.runs import KeptMaps, Study, open_run, run_study
    from xtl.tasks import get_task
    from xtl.tasks.user_columns import pairs_from
    from xtl.tokens import at_word, over_words
    from xtl.transplants import transplant


__version__ = VERSION

_HOME = {
    "load_model": "xtl.models",
    "chat_pairs": "xtl.models.chat",
    "Module": "xtl.hooks",
    "ParallelPair": "xtl.pairs",
    "transplant": "xtl.transplants",
    "at_word": "xtl.tokens",
    "over_words": "xtl.tokens",
    "sweep": "xtl.engine",
    "attribution": "xtl.gradients",
    "sweep_many": "xtl.engine",
    "concat_maps": "xtl.results",
    "Policy": "xtl.policies",
    "get_task": "xtl.tasks",
    "pairs_from": "xtl.tasks.user_columns",
    "explore": "xtl.explorer.explore",
    "show": "xtl.publish.notebook",
    "KeptMaps": "xtl.runs",
    "Study": "xtl.runs",
    "open_run": "xtl.runs",
    "run_study": "xtl.runs",
    "XtlError": "xtl.errors",
    "InputError": "xtl.errors",
    "ModelError": "xtl.errors",
    "ContractError": "xtl.errors",
    "SlowEngineWarning": "xtl.errors",
    "controls": "xtl.controls",
    "plots": "xtl.plots",
    "selectors": "xtl.selectors",
    "stats": "xtl.stats",
}

__getattr__, __dir__ = lazily(__name__, _HOME)

__all__ = [
    "ContractError",
    "InputError",
    "KeptMaps",
    "ModelError",
    "Module",
    "ParallelPair",
    "Policy",
    "SlowEngineWarning",
    "Study",
    "XtlError",
    "at_word",
    "attribution",
    "chat_pairs",
    "concat_maps",
    "controls",
    "explore",
    "get_task",
    "load_model",
    "open_run",
    "over_words",
    "pairs_from",
    "plots",
    "run_study",
    "selectors",
    "show",
    "stats",
    "sweep",
    "sweep_many",
    "transplant",
]

if "IPython" in sys.modules:  # a notebook: what a sweep gives shows its maps
    from xtl.publish.display import register

    register()
    del register
