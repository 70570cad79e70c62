"""XNLI: does a hypothesis follow from a premise? Three labels, 15 languages (14 of them in the paper's release).

From the release: its prompts, and in `meta["paper_labels"]` its words for the labels exactly as it has them. The French ones
hold the number and a non-breaking space ("(1)\\xa0Entraîner"); `labels` holds the words alone.

From the hub: the test split (5,010 pairs of sentences) of `facebook/xnli`, columns `premise`, `hypothesis`, `label` (0
entailment, 1 neutral, 2 contradiction), in prompts of our own. It has no ids: rows, labels and texts are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from xtl.errors import InputError
from xtl.tasks.benchmark import Benchmark, Instance, Request, Side
from xtl.tasks.hub import HubFile, choice_of, text_of
from xtl.tasks.prompts import label_line, lines, option_lines, words_of
from xtl.tasks.released import check_counts, read_golds, read_texts, read_words

KEYS = ("1", "2", "3")
HUB = HubFile(
    repo="facebook/xnli",
    revision="b8dd5d7af51114dbda02c0e3f6133f332186418e",
    path="{config}/test-00000-of-00001.parquet",
    columns=("premise", "hypothesis", "label"),
    other_paths=("{config}/test/0000.parquet",),
)


@dataclass(frozen=True)
class Wording:
    """One language's words for the task; `labels` in the order entailment, neutral, contradiction."""

    premise: str
    hypothesis: str
    question: str
    labels: tuple[str, str, str]


WORDINGS: dict[str, Wording] = {
    "en": Wording(
        "Premise",
        "Hypothesis",
        "How does the hypothesis relate to the premise?",
        ("Entailment", "Neutral", "Contradiction"),
    ),
    "ar": Wording("المقدمة", "الفرضية", "ما علاقة الفرضية بالمقدمة؟", ("استلزام", "حياد", "تناقض")),
    "bg": Wording(
        "Предпоставка",
        "Хипотеза",
        "Каква е връзката на хипотезата с предпоставката?",
        ("Следване", "Неутралност", "Противоречие"),
    ),
    "de": Wording(
        "Prämisse",
        "Hypothese",
        "In welchem Verhältnis steht die Hypothese zur Prämisse?",
        ("Folgerung", "Neutral", "Widerspruch"),
    ),
    "el": Wording(
        "Προκείμενη",
        "Υπόθεση",
        "Ποια είναι η σχέση της υπόθεσης με την προκείμενη;",
        ("Συνεπαγωγή", "Ουδετερότητα", "Αντίφαση"),
    ),
    "es": Wording(
        "Premisa",
        "Hipótesis",
        "¿Qué relación tiene la hipótesis con la premisa?",
        ("Implicación", "Neutral", "Contradicción"),
    ),
    "fr": Wording(
        "Prémisse",
        "Hypothèse",
        "Quel est le rapport entre l'hypothèse et la prémisse ?",
        ("Implication", "Neutre", "Contradiction"),
    ),
    "hi": Wording("आधार वाक्य", "परिकल्पना", "परिकल्पना का आधार वाक्य से क्या संबंध है?", ("निहितार्थ", "तटस्थ", "विरोधाभास")),
    "ru": Wording(
        "Посылка", "Гипотеза", "Как гипотеза относится к посылке?", ("Следование", "Нейтрально", "Противоречие")
    ),
    "sw": Wording(
        "Tamko la msingi",
        "Nadharia tete",
        "Nadharia tete ina uhusiano gani na tamko la msingi?",
        ("Inafuata", "Haihusiani", "Inapingana"),
    ),
    "th": Wording("ข้อตั้ง", "สมมติฐาน", "สมมติฐานมีความสัมพันธ์กับข้อตั้งอย่างไร", ("เป็นผลตามมา", "เป็นกลาง", "ขัดแย้งกัน")),
    "tr": Wording("Öncül", "Hipotez", "Hipotezin öncülle ilişkisi nedir?", ("Gerektirme", "Nötr", "Çelişki")),
    "ur": Wording("بنیادی بیان", "مفروضہ", "مفروضے کا بنیادی بیان سے کیا تعلق ہے؟", ("استلزام", "غیر جانبدار", "تضاد")),
    "vi": Wording(
        "Tiền đề", "Giả thuyết", "Giả thuyết có quan hệ gì với tiền đề?", ("Hệ quả", "Trung lập", "Mâu thuẫn")
    ),
    "zh": Wording("前提", "假设", "假设与前提是什么关系？", ("蕴含", "中立", "矛盾")),
}
"""Our own words, by language."""


def prompt(language: str, premise: str, hypothesis: str) -> str:
    """Our prompt in a language.

    >>> print(prompt("en", "A dog runs.", "An animal moves."))
    Premise: A dog runs.
    Hypothesis: An animal moves.
    How does the hypothesis relate to the premise?
    (1) Entailment
    (2) Neutral
    (3) Contradiction
    Answer:
    """
    words, wording = words_of(language), WORDINGS[language]
    return lines(
        label_line(words, wording.premise, premise),
        label_line(words, wording.hypothesis, hypothesis),
        wording.question,
        option_lines(KEYS, wording.labels),
        words.open_answer,
    )


class Xnli(Benchmark):
    """The task."""

    def released_side(self, request: Request, language: str, is_source: bool, root: Path) -> Side:
        """See `Benchmark`."""
        path, gold_path = root / "split" / f"{language}.json", root / "ans" / f"{language}.json"
        prompts, golds = read_texts(path, language, "prompt"), read_golds(gold_path, language, KEYS)
        check_counts((path, len(prompts)), (gold_path, len(golds)))
        words_path = root / "ans_lang" / f"{language}.json"
        words = read_words(words_path, language, KEYS)
        labels = tuple(re.sub(r"^\(\d\)\s*", "", word).strip() for word in words)
        if not all(labels):
            raise InputError(f"{words_path}, line 1: a label without a word: {', '.join(map(repr, words))}")
        meta = {} if is_source else {"paper_labels": words}
        instances = [
            Instance(
                str(row),
                prompt,
                f"{path}, line {row + 1}",
                gold,
                KEYS,
                labels,
                meta={**meta, **({} if is_source else {"row": row})},
            )
            for row, (prompt, gold) in enumerate(zip(prompts, golds, strict=True))
        ]
        return Side(language, str(path), instances)

    def hub_side(self, request: Request, language: str, is_source: bool) -> Side:
        """See `Benchmark`."""
        labels = WORDINGS[language].labels
        words = {} if is_source else {"paper_labels": labels}
        instances = []
        for row, values in enumerate(HUB.rows(language, request.folder)):
            where = f"{HUB.repo} {language}, row {row}"
            text = prompt(language, text_of(values, "premise", where), text_of(values, "hypothesis", where))
            gold = KEYS[choice_of(values, "label", (0, 1, 2), where)]
            meta = {} if is_source else {"row": row, **words}
            instances.append(Instance(str(row), text, where, gold, KEYS, labels, meta=meta))
        return Side(language, f"{HUB.repo}@{HUB.revision[:8]}", instances)


XNLI = Xnli(
    name="xnli",
    description="Natural language inference: entailment, neutral or contradiction (XNLI).",
    kind="understanding",
    direction="en->xx",
    languages=tuple(WORDINGS),
    score="options",
    text_scores=("paper", "strict"),
    release="XNLI",
    hub_split="test",
)
"""The task."""
