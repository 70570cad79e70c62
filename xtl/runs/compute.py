"""What a worker does: hold a model, compute the map of a job, hand back its bytes or say why it failed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xtl import controls, models
from xtl.engine.driver import Driver
from xtl.engine.engines import resolve_engine, why_slow
from xtl.engine.prepare import SweepSettings
from xtl.engine.rows import is_out_of_memory
from xtl.errors import SlowEngineWarning, XtlError, check_flag, one_line
from xtl.models.chat import chat_pairs, check_chat
from xtl.models.identity import identity_key
from xtl.pairs import ParallelPair
from xtl.runs.activations import ActivationCache
from xtl.runs.jobs import Group, Job
from xtl.runs.manifest import model_labels
from xtl.runs.model_record import model_record
from xtl.runs.reports import Failure, LoadedModel, MapFiles, Notice
from xtl.runs.study import Study
from xtl.runs.tables import encode_map
from xtl.scoring.names import get_text_score
from xtl.tokens import check_fits

ACTIVATIONS = ("disk", "memory", "off")
"""Where source activations are kept."""
Written = Mapping[tuple[str, int], Any]
"""What is written for a pair, `[d_model]` each, by module name and source layer."""


@dataclass(frozen=True)
class _Controlled:
    """A group's control: its pairs as the model is asked them, and what is written for each."""

    group: int
    pairs: Sequence[ParallelPair]
    written: Callable[[ParallelPair], Written]


class Computer:
    """Computes jobs of a study, one after the other; holds one model at a time.

    Args:
        study: the study.
        activations: where source activations are kept: "disk", "memory" or "off".
        folder: for those on disk.
        groups: the study's groups, which a control draws on; a study without one needs none.
        tell: told of each model that is loaded, before its first map, and of what the user should know.
        device: for models that name none.
        trust_remote_code: run code that comes with a model.
    """

    def __init__(
        self,
        study: Study,
        activations: str = "memory",
        folder: Path | None = None,
        groups: Sequence[Group] = (),
        tell: Callable[[LoadedModel | Notice], None] | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.study = study
        self.activations = activations
        self.folder = folder
        self.groups = groups
        self.tell = tell or (lambda _: None)
        self.device = device
        self.trust_remote_code = check_flag("trust_remote_code", trust_remote_code)
        self.model: Any = None
        self.cache: ActivationCache | None = None
        self.engine = study.engine
        self._index = -1
        self._controlled: _Controlled | None = None

    def compute(self, job: Job, progress: Callable[[int, int], None] | None = None) -> MapFiles | Failure:
        """The map of a job.

        Raises:
            XtlError: its model can't be loaded. Whatever else goes wrong is a `Failure` of this job alone.
        """
        self.load(job.model)
        start = time.monotonic()
        try:
            return self._map(job, start, progress)
        except Exception as error:  # the rest of the run goes on
            return Failure(job.number, reason(error))
        finally:
            self._tidy()

    def load(self, index: int) -> None:
        """Have this model of the study in memory, and no other."""
        if index == self._index:
            return
        self.unload()
        spec = self.study.models[index]
        self.model = models.load_model(
            spec.name,
            backend=spec.backend,
            dtype=spec.dtype,
            device=spec.device or (None if spec.device_map else self.device),
            device_map=spec.device_map,
            quantization=spec.quantization,
            trust_remote_code=self.trust_remote_code,
        )
        check_chat(self.model, self.study.chat)
        if index == 0:  # before the run's folder is made; what goes wrong with a later model alone fails of its pairs
            self._settings(None).cells(self.model)
            check_fits(self.model, "target", 1, self.study.max_new_tokens or 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SlowEngineWarning)  # the run says it, once for all its workers
            self.engine = resolve_engine(self.model, self.study.engine)
        record = model_record(self.model, spec, self.engine)
        self.label = model_labels(self.study)[index]
        if self.activations != "off":
            folder = self.folder if self.activations == "disk" else None
            self.cache = ActivationCache(identity_key(self.model), folder, told=lambda text: self.tell(Notice(text)))
        self._index = index
        self.tell(LoadedModel(self.label, record, why_slow(self.model, self.engine)))

    def unload(self) -> None:
        """Have no model in memory."""
        self.model = self.cache = self._controlled = None
        self._index = -1
        self._tidy()

    def _map(self, job: Job, start: float, progress: Callable[[int, int], None] | None) -> MapFiles:
        driver = Driver(self.model, self._settings(job.task))
        (pair,) = chat_pairs(self.model, [job.pair], self.study.chat)
        sweep = driver.prepare(pair)
        if self.study.control is not None:
            sweep = sweep.writing(self._written(job))
        elif self.cache is not None:
            sweep = sweep.writing(self.cache.get(self.model, sweep.plan))
        with warnings.catch_warnings():
            warnings.filterwarnings("default", message="out of memory")
            result = driver.map(sweep, progress)
        if self.study.control is not None:
            result = result.assign_attrs(control=self.study.control, seed=self.study.control_seed)
        cells, vanilla = encode_map(result, job, self.label)
        mixed = sweep.question.mixed if sweep.question else None
        return MapFiles(job.number, cells, vanilla, time.monotonic() - start, sweep.plan.n_cells, mixed)

    def _settings(self, task: str | None) -> SweepSettings:
        """The study's settings, with the score of a task's texts where those are scored."""
        study = self.study
        scored = task is not None and study.score not in ("likelihood", "none")
        return SweepSettings(
            **self._cells(),
            max_new_tokens=study.max_new_tokens,
            text_score=get_text_score(study.score, task) if scored and task is not None else None,
            normalise=study.normalise,
            steps=study.steps,
            alpha=study.alpha,
            engine=self.engine,
            verify=study.verify,
            chunk_size=study.chunk_size,
            details=study.details,
        )

    def _cells(self) -> dict[str, Any]:
        study = self.study
        return {
            "modules": study.modules,
            "source_layers": study.source_layers,
            "target_layers": study.target_layers,
        }

    def _written(self, job: Job) -> Written:
        """What the study's control writes for a job; the control of one group of jobs is held at a time."""
        if self._controlled is None or self._controlled.group != job.group:
            group, chat = self.groups[job.group], self.study.chat
            pairs = chat_pairs(self.model, group.pairs, chat)
            written = controls.make(
                self.model,
                pairs,
                self.study.control or "",
                seed=self.study.control_seed,
                others=chat_pairs(self.model, group.others, chat),
                **self._cells(),
            )
            self._controlled = _Controlled(job.group, pairs, written)
        return self._controlled.written(self._controlled.pairs[job.place])

    def _tidy(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def reason(error: BaseException) -> str:
    """Why a job failed, in one line.

    >>> reason(MemoryError())
    'out of memory (MemoryError)'
    """
    text, kind = one_line(error), type(error).__name__
    if is_out_of_memory(error):
        return f"out of memory ({text})"
    return text if isinstance(error, XtlError) or text == kind else f"{kind}: {text}"
