"""XCOPA: which of two sentences is the cause, or the effect, of a premise? 11 languages and English.

XCOPA has no English of its own: the release and the hub both hold, for each language, a machine translation of it back into
English. The English prompts beside a language are those, as source (en -> xx, as the paper does it) and as target (xx -> en):
`english="translated"`. `english="original"` takes the release's `split/en.json`, the original COPA, for both. Quechua has no
translation, only the original; Chinese has the original as its translation.

A fault of the release that pairs carry in `meta["notes"]`: its Thai prompts ask the same of causes and effects, and some Turkish
(51 of 500), Swahili (37), Indonesian (4) and Italian (4) ones ask for the effect where the question is about the cause. The
English prompts beside them do the same.

From the hub: the test split (500) of `cambridgeltl/xcopa`, configs `xx` and `translation-xx`, columns `premise`, `choice1`,
`choice2`, `question` ("cause" or "effect"), `label` (0, 1), `idx`; rows are matched by `idx`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtl.errors import InputError, check_choice
from xtl.tasks.benchmark import Benchmark, Instance, Request, Side
from xtl.tasks.hub import HubFile, choice_of, text_of
from xtl.tasks.prompts import label_line, lines, option_lines, words_of
from xtl.tasks.released import check_counts, read_golds, read_texts

KEYS = ("1", "2")
ENGLISH = ("translated", "original")
HUB = HubFile(
    repo="cambridgeltl/xcopa",
    revision="042f78955ba48e6404616762fa6e05e839c3907a",
    path="{config}/test-00000-of-00001.parquet",
    columns=("premise", "choice1", "choice2", "question", "label", "idx"),
    other_paths=("{config}/test/0000.parquet",),
)
CHOICES = re.compile(r"[(（]1[)）]\s*(.+?)\s*\n\s*[(（]2[)）]\s*(.+?)\s*\n", re.DOTALL)


@dataclass(frozen=True)
class Wording:
    """One language's words for the task."""

    premise: str
    cause: str
    effect: str


WORDINGS: dict[str, Wording] = {
    "en": Wording("Premise", "What was the cause?", "What was the effect?"),
    "et": Wording("Eeldus", "Mis oli põhjus?", "Mis oli tagajärg?"),
    "ht": Wording("Sitiyasyon", "Ki sa ki te lakòz sa?", "Ki sa ki te rive kòm rezilta?"),
    "id": Wording("Premis", "Apa penyebabnya?", "Apa akibatnya?"),
    "it": Wording("Premessa", "Qual è stata la causa?", "Qual è stato l'effetto?"),
    "qu": Wording("Willakuy", "Imaraykutaq chay karqan?", "Chayrayku imataq karqan?"),
    "sw": Wording("Tamko", "Sababu ilikuwa nini?", "Matokeo yalikuwa nini?"),
    "ta": Wording("கூற்று", "இதற்குக் காரணம் என்ன?", "இதன் விளைவு என்ன?"),
    "th": Wording("เหตุการณ์", "สาเหตุคืออะไร", "ผลที่ตามมาคืออะไร"),
    "tr": Wording("Öncül", "Bunun nedeni neydi?", "Bunun sonucu ne oldu?"),
    "vi": Wording("Tình huống", "Nguyên nhân là gì?", "Kết quả là gì?"),
    "zh": Wording("前提", "原因是什么？", "结果是什么？"),
}
"""Our own words, by language."""


def prompt(language: str, premise: str, choices: tuple[str, str], question: str) -> str:
    """Our prompt in a language; `question` is "cause" or "effect".

    >>> print(prompt("it", "Piove.", ("Esco.", "Resto a casa."), "effect"))
    Premessa: Piove.
    Qual è stato l'effetto?
    (1) Esco.
    (2) Resto a casa.
    Risposta:
    """
    words, wording = words_of(language), WORDINGS[language]
    ask = wording.cause if check_choice("question", question, ("cause", "effect")) == "cause" else wording.effect
    return lines(label_line(words, wording.premise, premise), ask, option_lines(KEYS, choices), words.open_answer)


@dataclass(frozen=True, kw_only=True)
class Xcopa(Benchmark):
    """The task; `english` names the English prompts ("translated" back from each language, or "original")."""

    english: str = "translated"

    def check_direction(self, request: Request) -> None:
        """Refuse English that there isn't."""
        check_choice("english", self.english, ENGLISH)
        others = {request.source_lang, request.target_lang} - {"en"}
        if (
            self.english == "translated"
            and "qu" in others
            and len(others) < 2
            and "en" in (request.source_lang, request.target_lang)
        ):
            raise InputError(
                "xcopa has no English translation of its Quechua; with the released data, Xcopa's english='original' takes the "
                "original English (dataclasses.replace(get_task('xcopa'), english='original'))"
            )
        if request.origin == "hub" and "en" in (request.source_lang, request.target_lang):
            if self.english == "original":
                raise InputError(
                    "xcopa from the hub has only English translated from each language: english='translated'"
                )
            if not others:
                raise InputError(
                    "xcopa from the hub has English only beside another language: give en and one of the others"
                )

    def released_side(self, request: Request, language: str, is_source: bool, root: Path) -> Side:
        """See `Benchmark`."""
        other = request.target_lang if is_source else request.source_lang
        translated = language == "en" and other != "en" and self.english == "translated"
        path = root / "en" / f"{other}.json" if translated else root / "split" / f"{language}.json"
        gold_path = root / "ans" / f"{language}.json"
        prompts = read_texts(path, other if translated else language, "prompt")
        golds = read_golds(gold_path, language, KEYS)
        originals = read_texts(root / "split" / "en.json", "en", "prompt")
        check_counts((path, len(prompts)), (gold_path, len(golds)), (root / "split" / "en.json", len(originals)))
        causes = ["the cause of the given premise" in text for text in originals]
        notes = question_notes(language, prompts, causes)
        instances = []
        for row, (text, gold) in enumerate(zip(prompts, golds, strict=True)):
            where = f"{path}, line {row + 1}"
            found = CHOICES.search(text)
            if found is None:
                raise InputError(f"{where}: the prompt has no two options (1) and (2)")
            meta: dict[str, Any] = {"notes": notes[row]}
            if not is_source:
                meta |= {"row": row, "question": "cause" if causes[row] else "effect"}
            instances.append(Instance(str(row), text, where, gold, KEYS, (found[1], found[2]), meta=meta))
        return Side(language, str(path), instances)

    def hub_side(self, request: Request, language: str, is_source: bool) -> Side:
        """See `Benchmark`."""
        other = request.target_lang if is_source else request.source_lang
        config = f"translation-{other}" if language == "en" else language
        instances = []
        for row, values in enumerate(HUB.rows(config, request.folder)):
            where = f"{HUB.repo} {config}, row {row}"
            choices = text_of(values, "choice1", where), text_of(values, "choice2", where)
            question = ("cause", "effect")[choice_of(values, "question", ("cause", "effect"), where)]
            text = prompt(language, text_of(values, "premise", where), choices, question)
            gold = KEYS[choice_of(values, "label", (0, 1), where)]
            meta = {} if is_source else {"row": row, "question": question}
            instances.append(Instance(str(values["idx"]), text, where, gold, KEYS, choices, meta=meta))
        return Side(language, f"{HUB.repo}@{HUB.revision[:8]}/{config}", instances, matched=True)


def question_notes(language: str, prompts: Sequence[str], causes: Sequence[bool]) -> list[tuple[str, ...]]:
    """For each of the release's prompts, whether it asks for the wrong one of cause and effect.

    Which sentence asks for which is taken from the majority: the prompts are one template a language, translated for each.

    >>> ask = ["P\\n\\nWhy?\\n\\nAnswer:", "P\\n\\nAnd then?\\n\\nAnswer:"]
    >>> question_notes("xx", [ask[0], ask[0], ask[1], ask[1], ask[1]], [True, True, False, False, True])[-1]
    ('the xx prompt asks for the effect, not the cause',)
    """
    asked = [prompt.rstrip().split("\n")[-3:][0] for prompt in prompts]
    usual = {
        kind: Counter(ask for ask, cause in zip(asked, causes, strict=True) if cause == kind).most_common(1)
        for kind in (True, False)
    }
    usual_asks = {kind: found[0][0] if found else None for kind, found in usual.items()}
    if usual_asks[True] == usual_asks[False]:
        return [(f"the {language} prompts ask the same of causes and effects",)] * len(asked)
    return [
        (f"the {language} prompt asks for the {'effect, not the cause' if cause else 'cause, not the effect'}",)
        if ask == usual_asks[not cause]
        else ()
        for ask, cause in zip(asked, causes, strict=True)
    ]


XCOPA = Xcopa(
    name="xcopa",
    description="Which of two sentences is the cause, or the effect, of a premise (XCOPA).",
    kind="understanding",
    direction="en->xx",
    languages=tuple(WORDINGS),
    score="options",
    text_scores=("paper", "strict"),
    release="XCOPA",
    hub_split="test",
)
"""The task."""
