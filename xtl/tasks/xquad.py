"""XQuAD: answer a question from a paragraph, in 12 languages. The paper's release holds its sample (50), not its unseen data.

From the release: its prompts, and one gold answer a question, exactly as it has them (some are one or two characters long).

From the hub: `google/xquad` (1,190 questions), configs `xquad.xx`, columns `id`, `context`, `question`, `answers` (`text`,
`answer_start`), in prompts of our own; rows are matched by `id`. All of `answers` are accepted; the first is the one whose
likelihood is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xtl.errors import InputError
from xtl.tasks.benchmark import Benchmark, Instance, Request, Side
from xtl.tasks.hub import HubFile, text_of
from xtl.tasks.prompts import label_line, lines, words_of
from xtl.tasks.released import check_counts, read_texts

HUB = HubFile(
    repo="google/xquad",
    revision="51adfef1c1287aab1d2d91b5bead9bcfb9c68583",
    path="xquad.{config}/validation-00000-of-00001.parquet",
    columns=("id", "context", "question", "answers"),
    other_paths=("xquad.{config}/validation/0000.parquet",),
)
CONTEXTS: dict[str, str] = {
    "en": "Text",
    "ar": "النص",
    "de": "Text",
    "el": "Κείμενο",
    "es": "Texto",
    "hi": "अनुच्छेद",
    "ro": "Text",
    "ru": "Текст",
    "th": "ข้อความ",
    "tr": "Metin",
    "vi": "Đoạn văn",
    "zh": "文章",
}
"""Our own word for the paragraph, by language; the others are in `xtl.tasks.prompts`."""


def prompt(language: str, context: str, question: str) -> str:
    """Our prompt in a language.

    >>> print(prompt("tr", "Ankara başkenttir.", "Başkent neresidir?"))
    Metin: Ankara başkenttir.
    Soru: Başkent neresidir?
    Cevap:
    """
    words = words_of(language)
    return lines(
        label_line(words, CONTEXTS[language], context), label_line(words, words.question, question), words.open_answer
    )


def answers_of(given: object, where: str) -> tuple[str, ...]:
    """The accepted answers: a column of structs is read as one struct of lists, or as a list of structs.

    Raises:
        InputError: neither form, or no answer.

    >>> answers_of({"text": ["Ankara "], "answer_start": [0]}, "row 0")
    ('Ankara',)
    >>> answers_of([{"text": "Ankara", "answer_start": 0}], "row 0")
    ('Ankara',)
    """
    structs = given if isinstance(given, list) else [given]
    found = [struct.get("text") if isinstance(struct, Mapping) else struct for struct in structs]
    texts = [text for item in found for text in (item if isinstance(item, list) else [item])]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where}: answers must hold texts, got {given!r}")
    answers = tuple(dict.fromkeys(str(text).strip() for text in texts if str(text).strip()))
    if not answers:
        raise InputError(f"{where}: no answer")
    return answers


class Xquad(Benchmark):
    """The task."""

    def released_side(self, request: Request, language: str, is_source: bool, root: Path) -> Side:
        """See `Benchmark`."""
        path, gold_path = root / "split" / f"xquad.{language}.json", root / "ans" / f"xquad.{language}.json"
        prompts, golds = read_texts(path, language, "prompt"), read_texts(gold_path, language, "answer")
        check_counts((path, len(prompts)), (gold_path, len(golds)))
        instances = [
            Instance(
                str(row),
                text,
                f"{path}, line {row + 1}",
                gold,
                answers=(gold.strip(),),
                meta={} if is_source else {"row": row},
            )
            for row, (text, gold) in enumerate(zip(prompts, golds, strict=True))
        ]
        return Side(language, str(path), instances)

    def hub_side(self, request: Request, language: str, is_source: bool) -> Side:
        """See `Benchmark`."""
        instances = []
        for row, values in enumerate(HUB.rows(language, request.folder)):
            where = f"{HUB.repo} xquad.{language}, row {row}"
            answers = answers_of(values["answers"], where)
            text = prompt(language, text_of(values, "context", where), text_of(values, "question", where))
            meta = {} if is_source else {"row": row}
            key = text_of(values, "id", where)
            instances.append(Instance(key, text, where, answers[0], answers=answers, meta=meta))
        return Side(language, f"{HUB.repo}@{HUB.revision[:8]}/xquad.{language}", instances, matched=True)


XQUAD = Xquad(
    name="xquad",
    description="Answer a question from a paragraph (XQuAD).",
    kind="generation",
    direction="en->xx",
    languages=tuple(CONTEXTS),
    score="answer",
    text_scores=("paper", "strict", "em", "f1"),
    release="XQuAD",
    hub_split="validation",
)
"""The task."""
