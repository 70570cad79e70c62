"""Running the paper's experiments: pairs of all languages, swept with the task's own score."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xtl import controls
from xtl.backend import Model
from xtl.engine.many import sweep_many
from xtl.engine.prepare import Settings
from xtl.errors import InputError, XtlError, check_choice, check_flag, check_whole, known_keywords
from xtl.models.chat import chat_pairs
from xtl.models.info import model_info
from xtl.pairs import ParallelPair
from xtl.results import concat_maps
from xtl.results.units import NORMALISATIONS
from xtl.scoring.names import get_text_score
from xtl.stats import select_cell
from xtl.stats.selection import STRATEGIES
from xtl.tasks import PAPER, Benchmark, PaperDefaults, Task, get_task, normalise_language
from xtl.tasks.hub import UnreachableError

ENGLISH = "en"
PER = ("language", "task")
SPLITS = ("all", "sample", "unseen")
"""Parts of a task that comes without a sample of its own: everything; its first half; its second half."""
GRID = ("modules", "source_layers", "target_layers")
"""The settings of a sweep that say which cells."""
SETTINGS = ("keep", *Settings.__annotations__)
"""What a protocol hands on to `xtl.sweep_many`."""


@dataclass(frozen=True)
class Data:
    """Where a benchmark's instances come from, and which of them; see `Benchmark.pairs`.

    Built-in tasks and files take `limit` and `seed`. They have no sample of their own: "sample" is the first half of the
    instances in the order that the seed draws, "unseen" the second, so that nothing is measured on what it was chosen on.

    Attributes:
        limit: instances a language; all by default.
        seed: of their order.
        origin: "released" or "hub".
        folder: of the released data.
        allow_misaligned: "refuse", or "truncate" a language whose data stops being parallel.
        chat: whether prompts are wrapped in the model's chat template: False (the paper), True or "auto" (see `xtl.chat_pairs`).
    """

    limit: int | None = None
    seed: int | None = 0
    origin: str | None = None
    folder: str | Path | None = None
    allow_misaligned: str = "refuse"
    chat: bool | str = False

    def pairs(self, task: Task, language: str, split: str, source: str | None = None) -> list[ParallelPair]:
        """The pairs of one language, in the task's own direction: English lends to it, or it to English.

        With `source` that language lends instead.
        """
        ends = (language, ENGLISH) if task.direction == "xx->en" else (ENGLISH, language)
        ends = (source or ends[0], ends[1])
        if not isinstance(task, Benchmark):
            return self._part(task.pairs(*ends, seed=self.seed or 0), split)
        return task.pairs(
            *ends,
            limit=self.limit,
            seed=self.seed,
            split=split,
            origin=self.origin,
            folder=self.folder,
            allow_misaligned=self.allow_misaligned,
        )

    def _part(self, pairs: list[ParallelPair], split: str) -> list[ParallelPair]:
        """The split of a task that has no splits."""
        half = (len(pairs) + 1) // 2
        parts = {"all": pairs, "sample": pairs[:half], "unseen": pairs[half:]}
        if self.limit is not None:
            check_whole("limit", self.limit, 1)
        return parts[check_choice("split", split, SPLITS)][: self.limit]


@known_keywords(SETTINGS)
def pairwise(
    model: Model,
    task: str | Task,
    languages: Sequence[str] | None = None,
    *,
    score: str | None = None,
    normalise: str = "none",
    split: str | None = None,
    data: Data | None = None,
    modules: Sequence[str] = ("attn", "mlp"),
    control: str | None = None,
    control_seed: int = 0,
    control_language: str | None = None,
    progress: bool = False,
    **settings: Any,
) -> xr.Dataset:
    """Every transplant of every instance: all source x target layers, by default of both modules (section 3 of the paper).

    Args:
        model: from `xtl.load_model`.
        task: a name from `xtl.get_task`, or a task.
        languages: codes other than English; by default all that the data has (a warning names those that are left out, and why).
        score: "likelihood" (the default for tasks that are not the paper's), "paper" (the default for those that are), "strict",
            "em", "f1": these have the model answer, 20 tokens at most, greedily.
        normalise: what likelihood is divided by (see `xtl.sweep`).
        split: "sample" (the default of a benchmark), "unseen", or "all" (the default of a task without a sample of its own).
        data: where the instances come from, and how many.
        modules: what is transplanted.
        control: a name from `xtl.controls.CONTROLS`: run the control instead, with the same prompts, cells and score.
        control_seed: of the control's random choices.
        control_language: the third language of the control "other_language".
        progress: show progress on stderr.
        **settings: for `xtl.sweep_many`: `engine`, `source_layers`, `verify`, ...; `keep`, so that it can be stopped and go on.

    Returns:
        The maps of all instances along `example`, with the task, split and score in the attributes.

    Raises:
        InputError: an unknown task, language or score; data that is missing or not parallel.

    Example:
        >>> import xtl
        >>> model = xtl.load_model()  # doctest: +SKIP
        >>> maps = pairwise(model, "xnli", ["de", "sw"], data=Data(limit=10))  # doctest: +SKIP
    """
    control_seed = check_whole("control_seed", control_seed, 0)
    check_flag("progress", progress)
    task = get_task(task) if isinstance(task, str) else task
    data = data or Data()
    split = split_of(task, split, "sample")
    groups = gather(task, languages, split, data)
    others = control_pairs(task, groups, split, data, control, control_language)
    pairs = chat_pairs(model, [pair for group in groups.values() for pair in group], data.chat)
    scoring = score_settings(task, score, normalise)
    settings = {"modules": modules, **scoring, **settings}
    if control is None:
        maps = concat_maps(sweep_many(model, pairs, progress=progress, **settings))
    else:
        others = chat_pairs(model, others, data.chat)
        run = controls.run(model, pairs, control, seed=control_seed, others=others, progress=progress, **settings)
        maps = concat_maps(run)
    return maps.assign_attrs(task=task.name, split=split, kind=task.kind, protocol="pairwise")


@known_keywords(SETTINGS, but=GRID)
def fixed(
    model: Model,
    task: str | Task,
    languages: Sequence[str] | None = None,
    *,
    score: str | None = None,
    split: str | None = None,
    data: Data | None = None,
    progress: bool = False,
    **settings: Any,
) -> xr.Dataset:
    """The paper's fixed layers on data that nothing was chosen on, by kind of task.

    Understanding: `attn`, last -> first layer. Generation and culture: `mlp`, first -> first layer.

    Args and errors as for `pairwise`, but for the cells, which are given, and the split: "unseen" by default, of a task without a
    sample of its own "all". A built-in task counts as understanding.
    """
    task = get_task(task) if isinstance(task, str) else task
    if own := [name for name in GRID if name in settings]:
        raise InputError(f"fixed takes no {own[0]}: its cell is the paper's; use pairwise for others")
    cell = paper_defaults(task)
    result = pairwise(
        model,
        task,
        languages,
        score=score,
        split=split_of(task, split, "unseen"),
        data=data,
        modules=[cell.module],
        source_layers=[cell.source_layer],
        target_layers=[cell.target_layer],
        progress=progress,
        **settings,
    )
    return result.assign_attrs(protocol="fixed")


@known_keywords(SETTINGS)
def select(
    model: Model,
    task: str | Task,
    languages: Sequence[str] | None = None,
    *,
    sample: xr.Dataset | None = None,
    strategy: str = "target_first",
    per: str = "language",
    score: str | None = None,
    normalise: str = "none",
    split: str = "unseen",
    data: Data | None = None,
    control: str | None = None,
    control_seed: int = 0,
    progress: bool = False,
    **settings: Any,
) -> xr.Dataset:
    """Choose the best cell on the sample and measure it on unseen data.

    Args:
        model, task, languages, score, normalise, data, progress: as for `pairwise`.
        sample: what `pairwise` gave on the sample; run here if it isn't given, on the split "sample".
        strategy: "target_first", "source_first" or "overall" (see `xtl.stats.select_cell`).
        per: choose a cell for each "language", or one for the whole "task".
        split: what to measure on.
        control: measure the same cells with this control's source instead; any of `xtl.controls.CONTROLS` but "other_language".
        control_seed: of its random choices.
        **settings: for both sweeps; `modules`, `source_layers` and `target_layers` for the sample, among whose cells it chooses.

    Returns:
        As `pairwise`, with one module and one source and target layer named "chosen": the coords `chosen_module`,
        `chosen_source_layer` and `chosen_target_layer` say which, along `example`.

    Raises:
        InputError: as `pairwise`; an unknown strategy; a sample of other languages, another score or model, of a control, or of
            the instances that are measured.
    """
    task = get_task(task) if isinstance(task, str) else task
    check_flag("progress", progress)
    check_choice("strategy", strategy, STRATEGIES)
    check_choice("per", per, PER)
    controls.check_control(control, None)
    control_seed = check_whole("control_seed", control_seed, 0)
    run = sweep_many if control is None else partial(controls.run, control=control, seed=control_seed)
    data = data or Data()
    groups = gather(task, languages, split, data)
    scoring = score_settings(task, score, normalise)
    if sample is not None:
        check_sample(sample, task, groups, score, model_info(model).name, normalise)
    else:
        choosing: dict[str, Any] = {
            "score": score,
            "normalise": normalise,
            "split": "sample",
            "data": data,
            "progress": progress,
        }
        sample = pairwise(model, task, list(groups), **choosing, **settings)
    settings = {name: value for name, value in settings.items() if name not in GRID}
    measure, sample = chosen_by(sample, score)
    learned = language_of(sample)
    parts = []
    for language, pairs in groups.items():
        part = sample if per == "task" else sample.isel(example=np.flatnonzero(learned.values == language))
        cell = select_cell(part, strategy=strategy, measure=measure)
        maps = concat_maps(
            run(
                model,
                chat_pairs(model, pairs, data.chat),
                modules=[cell.module],
                source_layers=[cell.source_layer],
                target_layers=[cell.target_layer],
                progress=progress,
                **scoring,
                **settings,
            )
        )
        where = (
            ("example", [cell.module] * len(pairs)),
            *(("example", [layer] * len(pairs)) for layer in (cell.source_layer, cell.target_layer)),
        )
        parts.append(
            maps.assign_coords(
                module=["chosen"],
                source_layer=[0],
                target_layer=[0],
                chosen_module=where[0],
                chosen_source_layer=where[1],
                chosen_target_layer=where[2],
            )
        )
    return concat_maps(parts).assign_attrs(
        task=task.name, split=split, kind=task.kind, protocol="select", strategy=strategy, chosen_per=per
    )


def chosen_by(sample: xr.Dataset, score: str | None) -> tuple[str, xr.Dataset]:
    """What cells are chosen by, and the sample with it: accuracy where there is one, else the gain (of similarity)."""
    if score == "distribution":
        return "gain", sample.assign(gain=sample["similarity"] - sample["vanilla_similarity"])
    return "accuracy" if "correct" in sample else "gain", sample


def split_of(task: Task, split: str | None, usual: str) -> str:
    """The split that is meant: a benchmark's usual one if none is named, or all of a task without a sample of its own."""
    return split or (usual if isinstance(task, Benchmark) else "all")


def gather(task: Task, languages: Sequence[str] | None, split: str, data: Data) -> dict[str, list[ParallelPair]]:
    """The pairs of each language; of every language that the data has if none are named."""
    if languages is not None:
        if isinstance(languages, str) or not languages:
            raise InputError(f"languages must be a list of codes, got {languages!r}")
        codes = [normalise_language(code, task.languages) for code in languages]
        if ENGLISH in codes:
            raise InputError("languages names English, which is the other side of every pair: leave it out")
        return {code: _some(task, code, split, data) for code in dict.fromkeys(codes)}
    found, left_out = {}, []
    for code in task.languages:
        if code == ENGLISH:
            continue
        try:
            found[code] = _some(task, code, split, data)
        except UnreachableError:
            raise
        except XtlError as error:
            left_out.append(f"{code} ({error})")
    if not found:
        raise InputError(f"{task.name}: no language could be read: {left_out[0] if left_out else 'it has none'}")
    if left_out:
        warnings.warn(f"{task.name}: left out {'; '.join(left_out)}", stacklevel=3)
    return found


def _some(task: Task, language: str, split: str, data: Data) -> list[ParallelPair]:
    pairs = data.pairs(task, language, split)
    if not pairs:
        raise InputError(f"{task.name} has no instance in {language!r} in the split {split!r}")
    return pairs


def control_pairs(
    task: Task, groups: dict[str, list[ParallelPair]], split: str, data: Data, control: str | None, language: str | None
) -> list[ParallelPair]:
    """The pairs whose source is the third language of the control "other_language"; none for others.

    Raises:
        InputError: a control that nobody knows; no third language, or one that is not a third one; none needed.
    """
    controls.check_control(control, language)
    if language is None:
        return []
    third = normalise_language(language, task.languages)
    return controls.in_third_language(
        third,
        [pair for group in groups.values() for pair in group],
        lambda: [pair for code in groups for pair in data.pairs(task, code, split, source=third)],
    )


def check_sample(
    sample: xr.Dataset,
    task: Task,
    measured: Mapping[str, Sequence[ParallelPair]],
    score: str | None,
    model: str | None = None,
    normalise: str = "none",
) -> None:
    """Raise `InputError` where cells can't be chosen on these results: another task, model, language or score, a control, or the
    very instances that are measured (by language)."""
    attrs = sample.attrs
    if (found := attrs.get("task")) not in (None, task.name):
        raise InputError(f"sample is of task {found!r}, not of {task.name!r}")
    if model is not None and attrs.get("model") not in (None, model):
        raise InputError(f"sample is of model {attrs['model']!r}, not of {model!r}")
    if attrs.get("control"):
        raise InputError(f"sample is of the control {attrs['control']!r}: choose on a run without one")
    text_score = score_settings(task, score, normalise).get("text_score")
    if (had := attrs.get("normalise", "none")) != normalise:
        raise InputError(f"sample is scored with normalise {had!r}, not {normalise!r}")
    has, wanted = attrs.get("text_score", "likelihood"), text_score.name if text_score else "likelihood"
    if has != wanted:
        raise InputError(f"sample is scored by {has}, not by {wanted}")
    if score == "distribution" and "similarity" not in sample:
        raise InputError("sample has no variable 'similarity', which the score 'distribution' chooses by")
    languages = language_of(sample).values
    for language, pairs in measured.items():
        if language not in languages:
            raise InputError(f"sample has no instances in {language!r}; it has: {', '.join(sorted(set(languages)))}")
        learned = set(sample["example"].values[languages == language].astype(str))
        if both := [pair.id for pair in pairs if pair.id in learned]:
            raise InputError(
                f"sample holds {len(both)} of the {len(pairs)} instances in {language!r} that the chosen cell is measured on "
                f"({', '.join(map(str, both[:3]))}): a cell must be chosen on others"
            )


def paper_defaults(task: Task) -> PaperDefaults:
    """The paper's fixed layers for this kind of task."""
    return PAPER.get(task.kind, PAPER["understanding"])


def score_settings(task: Task, score: str | None, normalise: str = "none") -> dict[str, Any]:
    """The settings of a sweep that scores so. Raises `InputError` for a score that the task doesn't have."""
    check_choice("normalise", normalise, NORMALISATIONS)
    score = score or ("paper" if "paper" in task.text_scores else "likelihood")
    if score in ("likelihood", "distribution"):
        if score == "distribution" and "distribution" not in task.text_scores:
            raise InputError(f"score 'distribution' needs shares of people; task {task.name!r} has none")
        return {} if normalise == "none" else {"normalise": normalise}
    if normalise != "none":
        raise InputError(f"normalise {normalise!r} is for scores by likelihood, not for {score}")
    check_choice("score", score, ["likelihood", *task.text_scores])
    return {
        "max_new_tokens": paper_defaults(task).max_new_tokens,
        "text_score": get_text_score(score, task.name),
    }


def language_of(results: xr.Dataset) -> xr.DataArray:
    """The language of each example that is not English (the source language of a pair within English)."""
    target, source = results["target_lang"].astype(str), results["source_lang"].astype(str)
    return xr.where(target == ENGLISH, source, target)
