"""How long a study takes on so many workers, from what one map costs.

`xtl run STUDY --dry-run` measures the cost of a map on the machine at hand; here it is an input, so that a study can be planned
for machines that are elsewhere.

>>> study = [Work("llama", "xnli", n_pairs=700, seconds_a_map=0.5), Work("llama", "mkqa", n_pairs=300, seconds_a_map=6.0)]
>>> [round(hours(study, n_workers), 2) for n_workers in (1, 8)]
[0.61, 0.09]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xtl.tasks import BENCHMARKS

LOADING = 60.0
"""Seconds in which a worker has a model in memory; an assumption for 7 billion parameters on a local disk."""
FULL_MAP = 2 * 32 * 32
"""Cells of a map that costs are given for: two modules of a model of 32 layers."""

PAPER_LAYERS = {"llama-2-7b-chat": 32, "mistral-7b-instruct-v0.3": 32, "qwen2-7b-instruct": 28}
"""Layers of the three models of the paper's main study."""


@dataclass(frozen=True)
class Work:
    """The maps of one model and task.

    Attributes:
        model: its name.
        task: the task.
        n_pairs: how many maps.
        seconds_a_map: on one worker.
    """

    model: str
    task: str
    n_pairs: int
    seconds_a_map: float


def hours(study: Sequence[Work], n_workers: int, loading: float = LOADING) -> float:
    """Time from the start to the last map.

    Workers take models in order, and each loads each of them. The last map of all is waited for: half a map on average.

    Args:
        study: what there is to compute.
        n_workers: workers (GPUs).
        loading: seconds to load a model.
    """
    n_models = len({work.model for work in study})
    seconds = sum(work.n_pairs * work.seconds_a_map for work in study) / n_workers
    tail = 0.0 if n_workers == 1 else max(work.seconds_a_map for work in study) / 2
    return (seconds + tail + n_models * loading) / 3600


def paper_study(seconds_likelihood: float, seconds_generated: float, n_instances: int = 50) -> list[Work]:
    """The paper's maps: three models, six benchmarks, all of xtl's languages of each, the sample of each language.

    Args:
        seconds_likelihood: of a map of `FULL_MAP` cells scored by likelihood (benchmarks with options).
        seconds_generated: of one of `FULL_MAP` generated answers (benchmarks with free answers).
        n_instances: instances a language; the paper's samples have 50.
    """
    study = []
    for model, n_layers in PAPER_LAYERS.items():
        share = 2 * n_layers**2 / FULL_MAP
        for task in BENCHMARKS.values():
            n_languages = len([language for language in task.languages if language != "en"])
            cost = seconds_likelihood if task.score == "options" else seconds_generated
            study.append(Work(model, task.name, n_languages * n_instances, cost * share))
    return study
