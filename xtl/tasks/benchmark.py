"""What the six benchmarks of the paper share: two sides of instances, checked to be parallel, made into pairs.

A benchmark reads one language at a time, as a `Side`: its instances in the order of the data. `Benchmark.pairs` puts two sides
together, refuses them where they are not the same questions (see `xtl.tasks.alignment`), and makes the pairs. The data comes
from one of two places:

- `released`: a folder laid out as the paper's data, with its exact prompts (`xtl.tasks.released`);
- `hub`: the public benchmark (`xtl.tasks.hub`), in prompts of our own.
"""

from __future__ import annotations

import os
import random
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xtl.errors import InputError, Whole, check_choice, check_whole, known_keywords
from xtl.pairs import ParallelPair
from xtl.tasks.alignment import Alignment, check_alignment
from xtl.tasks.base import PAPER, PaperDefaults, check_seed, normalise_language
from xtl.tasks.hub import UnreachableError
from xtl.tasks.released import VARIABLE, WHERE, release_folder

ORIGINS = ("released", "hub")
MISALIGNED = ("refuse", "truncate")
N_SAMPLE = 50  # instances of a sample, as in the release
DRAW = "sample"  # seed of the split of a hub benchmark into sample and unseen: the same for everybody


@dataclass(frozen=True)
class Instance:
    """One question in one language.

    Attributes:
        key: what the same question has in every language: an id of the data, or the row.
        prompt: the question, ready for the model.
        where: file and line (or row), for messages.
        gold: key of the right option, or the canonical answer.
        keys: keys of the options as the prompt writes them ("1", "2"); none for a free answer.
        labels: the words behind the options.
        answers: accepted free answers, the canonical one first.
        distribution: share of people who chose each option.
        meta: what else the pair should keep.
    """

    key: str
    prompt: str
    where: str
    gold: str | None = None
    keys: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    distribution: tuple[float, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """All instances of a split in one language.

    Attributes:
        language: its code.
        file: where the prompts are from.
        instances: in the order of the data.
        matched: whether keys are ids of the data; if not they are row numbers, and prove nothing.
    """

    language: str
    file: str
    instances: list[Instance]
    matched: bool = False


@dataclass(frozen=True)
class Request:
    """What `Benchmark.pairs` was asked for, in clean form."""

    source_lang: str
    target_lang: str
    split: str
    origin: str
    folder: Path | None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A published benchmark (see `xtl.tasks.base.Task`).

    Attributes:
        name: name of the task.
        description: what is asked, in one line.
        kind: "understanding", "generation" or "culture".
        direction: the paper's direction, "en->xx" or "xx->en".
        languages: codes of its languages.
        score: "options" or "answer".
        text_scores: names of the scores of a generated text.
        release: its name in the released data; None where the release doesn't hold it.
        hub_split: name of the public split that is used.
    """

    name: str
    description: str
    kind: str
    direction: str
    languages: tuple[str, ...]
    score: str
    text_scores: tuple[str, ...]
    release: str | None
    hub_split: str

    @property
    def paper(self) -> PaperDefaults:
        """The layers, module and length of generation that the paper fixes for unseen data."""
        return PAPER[self.kind]

    @known_keywords()
    def pairs(
        self,
        source_lang: str,
        target_lang: str,
        *,
        limit: Whole | None = None,
        seed: Whole | None = 0,
        split: str = "sample",
        origin: str | None = None,
        folder: str | Path | None = None,
        allow_misaligned: str = "refuse",
    ) -> list[ParallelPair]:
        """Parallel pairs, in an order that `seed` fixes and that is the same for every pair of languages.

        Args:
            source_lang: language of the source prompts, in any form ("zh", "zh-CN", "zho").
            target_lang: language of the target prompts, options and answers; it may be the source language (a control).
            limit: take the first `limit` only; None, or more than there are, for all.
            seed: draws the order; None keeps the order of the data.
            split: "sample" or "unseen"; from the hub also "all". The hub's sample is 50 instances drawn once for all, its
                "unseen" the rest, if there is any.
            origin: "released" or "hub". None takes the release if `folder` or `XTL_DATA` names one and it holds the benchmark.
            folder: the released data, or with `origin="hub"` a local copy of the hub's repository.
            allow_misaligned: "refuse" data that isn't parallel to the end, or "truncate" it to the rows before.

        Returns:
            Pairs with `id` "name/split/key" and, in `meta`: task, origin, split, row, files, `option_keys`, `gold_key` and what
            the benchmark adds (country, the release's own words for the labels, notes on faults of the data).

        Raises:
            InputError: an unknown language or name, a direction that the data doesn't have, a fault of the data (with file and
                line), languages that are not parallel, or a split with nothing in it.
            xtl.tasks.hub.DataError: the benchmark isn't in the cache and there is no network.
        """
        check_choice("allow_misaligned", allow_misaligned, MISALIGNED)
        if limit is not None:
            limit = check_whole("limit", limit, 1)
        seed = check_seed(seed)
        request = self._request(source_lang, target_lang, split, origin, folder)
        source, target = self._sides(request)
        report = _align(source, target)
        n_rows = len(source.instances)
        if not report.parallel:
            n_rows = report.start or 0
            if allow_misaligned == "refuse" or n_rows == 0:
                raise InputError(self._misaligned(request, source, target, report))
        couples = list(zip(source.instances[:n_rows], target.instances[:n_rows], strict=True))
        if request.origin == "hub" and request.split != "all":
            couples = self._draw(couples, request)
        if seed is not None:
            couples = sorted(couples, key=lambda couple: _rank(f"{self.name}/{seed}", couple[1]))
        return [self._pair(request, source, target, *couple) for couple in couples[:limit]]

    def alignment(
        self,
        source_lang: str,
        target_lang: str,
        *,
        split: str = "sample",
        origin: str | None = None,
        folder: str | Path | None = None,
    ) -> Alignment:
        """Whether two languages are parallel, and from which row on they aren't, without raising for it.

        Args and errors are those of `pairs`.
        """
        request = self._request(source_lang, target_lang, split, origin, folder)
        return _align(*self._sides(request))

    def check_direction(self, request: Request) -> None:
        """Raise `InputError` where the data doesn't have the direction; most benchmarks have all."""

    def released_side(self, request: Request, language: str, is_source: bool, root: Path) -> Side:
        """One language of the release.

        Args:
            request: what was asked for.
            language: the language to read.
            is_source: whether its prompts are the source.
            root: folder of the benchmark and split.
        """
        raise NotImplementedError

    def hub_side(self, request: Request, language: str, is_source: bool) -> Side:
        """One language of the public benchmark, in our own prompts."""
        raise NotImplementedError

    def _request(
        self, source_lang: str, target_lang: str, split: str, origin: str | None, folder: str | Path | None
    ) -> Request:
        source_lang = normalise_language(source_lang, self.languages, "source_lang")
        target_lang = normalise_language(target_lang, self.languages, "target_lang")
        if origin is None:
            origin = "released" if self.release and (folder is not None or os.environ.get(VARIABLE)) else "hub"
        check_choice("origin", origin, ORIGINS)
        if origin == "released" and self.release is None:
            raise InputError(f"{self.name} is not in the paper's released data; use origin='hub'")
        check_choice("split", split, ("sample", "unseen") if origin == "released" else ("sample", "unseen", "all"))
        request = Request(source_lang, target_lang, split, origin, Path(folder) if folder is not None else None)
        self.check_direction(request)
        return request

    def _sides(self, request: Request) -> tuple[Side, Side]:
        wanted = ((request.source_lang, True), (request.target_lang, False))
        if request.origin == "released":
            root = release_folder(request.folder, self.release or "", request.split)
            sides = [self.released_side(request, language, is_source, root) for language, is_source in wanted]
        else:
            try:
                sides = [self.hub_side(request, language, is_source) for language, is_source in wanted]
            except UnreachableError as error:
                if self.release is None:
                    raise
                raise UnreachableError(f"{error}; or {WHERE}: give it with --data, folder=... or {VARIABLE}") from error
        source, target = sides
        if source.matched and target.matched:
            return _match(source, target)
        counts = len(source.instances), len(target.instances)
        if counts[0] != counts[1]:
            raise InputError(f"unequal counts: {source.file} has {counts[0]} instances, {target.file} has {counts[1]}")
        return source, target

    def _draw(self, couples: list[tuple[Instance, Instance]], request: Request) -> list[tuple[Instance, Instance]]:
        """The sample of a public benchmark (50, drawn the same for everybody), or the rest, in the order of the data.

        Raises:
            InputError: there is no rest.
        """
        ranks = [_rank(f"{self.name}/{DRAW}", couple[1]) for couple in couples]
        sample = set(sorted(set(ranks))[:N_SAMPLE])
        sampled = request.split == "sample"
        drawn = [couple for couple, rank in zip(couples, ranks, strict=True) if (rank in sample) == sampled]
        if not drawn:
            raise InputError(
                f"{self.name} has only {len(sample)} questions for {request.source_lang}->{request.target_lang}: all of them "
                f"are in the sample of {N_SAMPLE}, none is unseen; give split='sample' or split='all'"
            )
        return drawn

    def _misaligned(self, request: Request, source: Side, target: Side, report: Alignment) -> str:
        row = report.start or 0
        first = source.instances[row], target.instances[row]
        usable = f"; allow_misaligned='truncate' keeps the {row} rows before" if row else ""
        return (
            f"{self.name} {request.split}, {source.language}->{target.language}: {report.describe()}; rows count from 0, "
            f"row {row} is {first[0].where} and {first[1].where}{usable}"
        )

    def _pair(
        self, request: Request, source_side: Side, target_side: Side, source: Instance, target: Instance
    ) -> ParallelPair:
        space = separator(target.prompt)
        gold = None
        if target.keys:
            if target.gold not in target.keys:
                raise InputError(f"{target.where}: gold {target.gold!r} is no option; valid: {', '.join(target.keys)}")
            gold = target.keys.index(target.gold)
        return ParallelPair(
            source=source.prompt,
            target=target.prompt,
            source_lang=source_side.language,
            target_lang=target_side.language,
            options=_tags(target.prompt, target.keys),
            gold=gold,
            answer=space + target.answers[0] if target.answers and not target.keys else None,
            labels=target.labels or None,
            answers=target.answers or None,
            distribution=target.distribution or None,
            id=f"{self.name}/{request.split if request.origin == 'released' else self.hub_split}/{target.key}",
            meta={
                "task": self.name,
                "origin": request.origin,
                "split": request.split,
                "source_file": source_side.file,
                "target_file": target_side.file,
                "option_keys": target.keys,
                "gold_key": target.gold,
                **source.meta,
                **target.meta,
                "notes": (*source.meta.get("notes", ()), *target.meta.get("notes", ())),
            },
            source_options=_tags(source.prompt, source.keys) if len(source.keys) == len(target.keys) else None,
            source_labels=source.labels if source.labels and len(source.labels) == len(target.labels) else None,
            source_answers=source.answers or None,
        )


def _tags(prompt: str, keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """Options as they continue a prompt; None without."""
    return tuple(f"{separator(prompt)}({key})" for key in keys) or None


def _rank(draw: str, instance: Instance) -> float:
    """Place of an instance in a draw: the same in every language, and for all rows of one question."""
    return random.Random(f"{draw}/{instance.meta.get('question_idx', instance.key)}").random()


def separator(prompt: str) -> str:
    """What stands between a prompt and its answer: a space, but none after a space or a full-width sign other than Hangul.

    >>> separator("Answer:"), separator("答案："), separator("Answer: ")
    (' ', '', '')
    """
    last = prompt[-1:] or "a"
    wide = unicodedata.east_asian_width(last) in "WF" and not unicodedata.name(last, "").startswith("HANGUL")
    return "" if wide or last.isspace() else " "


def _align(source: Side, target: Side) -> Alignment:
    """Compare two sides: golds that are keys of options must agree; texts are looked at where keys are row numbers."""
    prompts = [[instance.prompt for instance in side.instances] for side in (source, target)]
    golds: list[list[str] | None] = [
        [instance.gold or "" for instance in side.instances] if all(i.keys and i.gold for i in side.instances) else None
        for side in (source, target)
    ]
    look = not (source.matched and target.matched) and source.language != target.language
    return check_alignment(prompts[0], prompts[1], golds[0], golds[1], texts=look)


def _match(source: Side, target: Side) -> tuple[Side, Side]:
    """Both sides in the order of the target, matched by id.

    Raises:
        InputError: an id twice, or one that the other language doesn't have.
    """
    tables = []
    for side in (source, target):
        table = {instance.key: instance for instance in side.instances}
        if len(table) < len(side.instances):
            raise InputError(f"{side.file}: {len(side.instances) - len(table)} ids are there more than once")
        tables.append(table)
    lone = sorted(set(tables[0]) ^ set(tables[1]))
    if lone:
        raise InputError(
            f"{source.file} and {target.file} are not parallel: {len(lone)} ids are in one of them only "
            f"({', '.join(lone[:5])}{', ...' if len(lone) > 5 else ''})"
        )
    ordered = [tables[0][instance.key] for instance in target.instances]
    return Side(source.language, source.file, ordered, True), target
