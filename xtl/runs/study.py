"""A study: which models, tasks, directions, modules and layers, and how answers are scored. Checked before anything loads.

A study is a YAML file, a dict, or flags of `xtl run`; all three give a `Study`:

    models: [gemma-3-270m]
    tasks: [capitals]
    directions: [en->es, en->de]   # or en->*: every other language of the task
    modules: [attn, mlp]
    limit: 20

>>> study = Study.read({"tasks": "capitals", "directions": ["en:es"], "limit": 5})
>>> study.models[0].name, study.tasks[0].directions, study.modules
('gemma-3-270m', ('en->es',), ('attn', 'mlp'))
>>> Study.read({"tasks": ["capitals"], "module": ["attn"]})  # doctest: +ELLIPSIS
Traceback (most recent call last):
...
xtl.errors.InputError: study: unknown key 'module' (did you mean 'modules'?); valid: models, tasks, directions, modules, ...
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError, field_validator

from xtl.errors import InputError, XtlError, check_choice, check_chunk_size
from xtl.layers import parse_layers
from xtl.models.chat import CHAT
from xtl.models.load import BACKENDS, DTYPES, QUANTIZATIONS
from xtl.models.names import resolve_name
from xtl.pairs import parse_direction
from xtl.runs import yaml12
from xtl.runs.specs import ModelSpec, Strict, TaskSpec, WholeNumber, as_list
from xtl.tasks import Task, get_task, normalise_language

SCORES = ("likelihood", "none", "paper", "strict", "em", "f1", "contains")
"""How answers are scored: by likelihood, not at all, or as generated texts (see `xtl.scoring.names`)."""
NEW_TOKENS = 20
"""Tokens that are generated unless the study says otherwise; the paper's number."""


class Study(Strict):
    """What a run computes. Everything in it decides what the results are; how they are computed (workers) is not in it.

    Each key is also a flag of `xtl run`, with these words as its help.

    Attributes:
        models: names, folders or .gguf files; the embedded model by default.
        tasks: names from `xtl tasks`, or files of your own.
        directions: en:es, or en:* for every other language, of tasks that don't name their own; by default what the task is
            meant for.
        modules: names from `xtl.hooks.MODULES`: attn, mlp, attn_released, resid.
        chat: whether prompts are wrapped in the model's chat template: false (raw, as in the paper), true, or auto, which wraps
            for models that have one (see `xtl.chat_pairs`).
        score: likelihood, none, or of generated texts: paper, strict, em, f1, contains (see `xtl.scoring.names`).
        normalise: what log-probabilities are divided by, the length of options: none, token or byte (UTF-8); see `xtl.sweep`.
        control: run a control in place of the transplants, such as shuffled_source (see `xtl.controls`).
        control_seed: seed of the control's random choices.
        control_language: the third language of the control other_language.
        limit: instances of each task and direction; all by default.
        seed: seed of the order of instances, and of options where a task draws them.
        max_new_tokens: tokens to generate, for scores of texts.
        steps: first (patch the prompt's pass alone) or every (each new token too).
        alpha: how much of the source is written, own + alpha (source - own): 1 is the transplant, 0 nothing.
        source_layers: layers to read, as 0,3,-1 or 0-5 (5 is in it) or 0:18:3 (18 is not); all by default.
        target_layers: layers to write, in the same form; all by default.
        engine: auto, packed, batched or loop.
        verify: cells of each map that the loop computes again.
        chunk_size: cells at a time, or auto.
        details: what to keep of each cell beside its score: options (each one's log-probability), lens (the same at a
            middle layer), state (of the residual stream), confidence (of generated answers), agreement (with vanilla's answer
            and the source prompt's own); see `xtl.results.details`; nothing by default.
    """

    models: tuple[ModelSpec, ...] = Field((ModelSpec(),), min_length=1)
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    directions: tuple[StrictStr, ...] | None = None
    modules: tuple[StrictStr, ...] = Field(("attn", "mlp"), min_length=1)
    chat: StrictBool | StrictStr = False
    score: StrictStr = "likelihood"
    normalise: StrictStr = "none"
    control: StrictStr | None = None
    control_seed: WholeNumber = 0
    control_language: StrictStr | None = None
    limit: WholeNumber | None = Field(None, ge=1)
    seed: WholeNumber = 0
    max_new_tokens: WholeNumber | None = Field(None, ge=1)
    steps: StrictStr = "first"
    alpha: StrictFloat | StrictInt = Field(1.0, allow_inf_nan=False)
    source_layers: tuple[WholeNumber, ...] | None = None
    target_layers: tuple[WholeNumber, ...] | None = None
    engine: StrictStr = "auto"
    verify: WholeNumber = Field(1, ge=0)
    chunk_size: WholeNumber | StrictStr = "auto"
    details: tuple[StrictStr, ...] = ()

    @field_validator("models", "tasks", "directions", "modules", "details", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return as_list(value)

    @field_validator("source_layers", "target_layers", mode="before")
    @classmethod
    def _layers(cls, value: Any, info: Any) -> Any:
        return None if value is None else parse_layers(str(info.field_name), value)

    @classmethod
    def read(cls, source: str | os.PathLike[str] | Mapping[str, Any], **changes: Any) -> Study:
        """A study from a YAML file or a dict, checked and with all its directions spelled out.

        Args:
            source: a file or a dict.
            **changes: keys that take the place of the source's.

        Raises:
            InputError: no such file, no YAML, an unknown key, a wrong value, a task without that direction, ...
        """
        if isinstance(source, Mapping):
            where, values = "study", dict(source)
        else:
            where, values = str(source), _load_yaml(Path(source))
        try:
            study = cls.model_validate(values | changes)
        except ValidationError as error:
            raise _told(where, error) from None
        try:
            return study.resolved()
        except XtlError as error:
            raise type(error)(f"{where}: {error}") from error

    def resolved(self) -> Study:
        """The same study with each task's directions spelled out and what it leaves open filled in.

        Raises:
            InputError: a name that nobody knows, or things that do not go together.
        """
        # Here for start-up time: all of these load torch, and `xtl run --help` reads what a study is without it.
        from xtl.controls import check_control
        from xtl.engine import ENGINES
        from xtl.hooks import get_whole_modules
        from xtl.results.details import check_details
        from xtl.results.units import NORMALISATIONS
        from xtl.scoring.names import get_text_score
        from xtl.transplants import STEPS

        check_choice("score", self.score, SCORES)
        check_choice("normalise", self.normalise, NORMALISATIONS)
        if self.normalise != "none" and self.score != "likelihood":
            raise InputError(f"normalise {self.normalise!r} is for the score likelihood, not for {self.score}")
        details = check_details(self.details, generated=self.score != "likelihood")
        check_choice("steps", self.steps, STEPS)
        check_choice("engine", self.engine, ["auto", *ENGINES])
        get_whole_modules(self.modules)
        if self.chat not in CHAT:
            raise InputError(f"unknown chat {self.chat!r}; valid: false, true, auto")
        check_chunk_size(self.chunk_size)
        for model in self.models:
            check_choice("backend", model.backend, BACKENDS)
            check_choice("dtype", model.dtype, DTYPES)
            if model.quantization is not None:
                check_choice("quantization", model.quantization, QUANTIZATIONS)
            if model.device is not None and model.device_map is not None:
                raise InputError(f"model {model.name!r} has device and device_map; give one of them")
            resolve_name(model.name)
        _check_different("model", [repr(model) for model in self.models])
        tasks = tuple(self._resolve_task(spec) for spec in self.tasks)
        _check_different("task", [repr(task) for task in tasks])
        if self.score not in ("likelihood", "none"):
            for task in tasks:
                get_text_score(self.score, get_task(task.name).name)
        if details and self.score == "likelihood":
            for task in tasks:
                if get_task(task.name).score == "answer":
                    raise InputError(f"details {details[0]!r} needs options; task {task.name} has answers alone")
        check_control(self.control, self.control_language)
        n_new = self.max_new_tokens
        if self.score == "likelihood" and n_new is not None:
            raise InputError("max_new_tokens is for generated answers: give a score of texts, or leave it out")
        if self.score != "likelihood":
            n_new = n_new or NEW_TOKENS
        return self.model_copy(update={"tasks": tasks, "max_new_tokens": n_new, "directions": None, "details": details})

    def _resolve_task(self, spec: TaskSpec) -> TaskSpec:
        task = get_task(spec.name)
        valid = list(inspect.signature(task.pairs).parameters)[2:]
        for key in spec.options:
            if key in ("limit", "seed"):
                raise InputError(f"task {spec.name}: {key} is given for the whole study")
            check_choice(f"key of task {spec.name}", key, [name for name in valid if name not in ("limit", "seed")])
        wanted = spec.directions if spec.directions is not None else self.directions
        directions = spell_out(task, wanted if wanted is not None else (_usual(task),))
        return spec.model_copy(update={"directions": directions})

    def to_yaml(self) -> str:
        """The study as YAML; `Study.read` makes the same study of it."""
        return yaml12.dump(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The study as plain lists, numbers and texts."""
        return self.model_dump(mode="json", exclude={"directions"} if self.directions is None else None)


def spell_out(task: Task, directions: tuple[str, ...]) -> tuple[str, ...]:
    """Directions in the task's own codes, `*` replaced by every other language; each once, in order.

    Raises:
        InputError: a direction that the task does not have, or one that is named twice (beside a `*` that holds it it may be).

    >>> spell_out(get_task("capitals"), ("EN:es", "zh-CN -> en"))
    ('en->es', 'zh->en')
    """
    found: dict[str, None] = {}
    named: list[str] = []
    for direction in directions:
        parts = parse_direction(direction)
        if parts == ("*", "*"):
            raise InputError(f"direction {direction!r} names no language; write en->* or *->en")
        codes = [part if part == "*" else normalise_language(part, task.languages) for part in parts]
        named += [] if "*" in codes else ["->".join(codes)]
        for other in task.languages:
            source, target = (other if code == "*" else code for code in codes)
            if "*" not in codes or source != target:
                found[f"{source}->{target}"] = None
    _check_different("direction", named)
    if not found:
        raise InputError(f"task {task.name} has no direction {', '.join(directions) or '(none given)'}")
    return tuple(found)


def _usual(task: Task) -> str:
    """What the task is meant for; English lent to all others where it is meant for anything."""
    return {"xx->en": "*->en"}.get(task.direction, "en->*")


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > yaml12.MOST_BYTES:
            raise InputError(f"{str(path)!r} is no study: it has more than {yaml12.MOST_BYTES:,} bytes")
        values = yaml12.load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read study {str(path)!r}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is not UTF-8: {error.reason} at byte {error.start}") from error
    except InputError as error:
        raise InputError(f"{str(path)!r}: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{str(path)!r} must hold keys and values, such as 'tasks: [capitals]'")
    return values


def _check_different(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"the same {what} is given twice: {twice[0]}")


def _told(where: str, error: ValidationError) -> InputError:
    """What is wrong with a study, in one line."""
    return InputError(f"{where}: {'; '.join(map(_in_words, error.errors()))}")


def _in_one_line(make: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(make)
    def checked(self: Study, **keys: Any) -> None:
        try:
            make(self, **keys)
        except ValidationError as error:
            raise _told("study", error) from None

    return checked


Study.__init__ = _in_one_line(Study.__init__)  # type: ignore[method-assign]


def _in_words(error: Any) -> str:
    """One of pydantic's errors on one line, an unknown key with the nearest valid one."""
    *place, key = error["loc"] or ("study",)
    where = "".join(f"{part}: " if isinstance(part, str) else f"{part + 1}: " for part in place)
    if error["type"] == "extra_forbidden":
        fields = ModelSpec.model_fields if "models" in place else Study.model_fields
        try:
            check_choice("key", key, fields)
        except InputError as unknown:
            return where + str(unknown)
    if error["type"] == "missing":
        return f"{where}{key} is missing"
    if error["type"] == "value_error":  # an InputError, which names its argument
        return f"{where}{error['ctx']['error']}"
    given = "" if isinstance(error["input"], (dict, list, tuple)) else f", got {error['input']!r}"
    return f"{where}{key}: {error['msg'][0].lower()}{error['msg'][1:]}{given}"
