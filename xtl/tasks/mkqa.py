"""MKQA: open questions with short answers, the same 10,000 in 26 languages. From the hub only; the paper's release doesn't
hold it.

On the hub, `apple/mkqa` holds a loading script and no data: `datasets` doesn't run those any more. The Parquet that loads is
that of the repository's pull request 5 (`refs/pr/5`, the hub's standard conversion, 20 MB), which is what is fetched; no
commit id of it is known to us, so that this is the one benchmark whose revision is a name. The authors' own `mkqa.jsonl.gz`
(github.com/apple/ml-mkqa, folder `dataset`) is read too, from `folder`.

Columns: `example_id`, `queries` (one text a language), `answers` (for each language a list of `type`, `text`, `aliases`). A
question counts if it has a written answer in the target language: those of the types "unanswerable" and "long_answer" have
none. `answers` holds the texts, then their aliases; the first text is the one whose likelihood is taken.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xtl.errors import InputError
from xtl.tasks.base import codes
from xtl.tasks.benchmark import Benchmark, Instance, Request, Side
from xtl.tasks.hub import HubFile, text_of
from xtl.tasks.prompts import label_line, lines, words_of

HUB = HubFile(
    repo="apple/mkqa",
    revision="refs/pr/5",
    path="mkqa/train-00000-of-00001.parquet",
    columns=("example_id", "queries", "answers"),
    other_paths=("mkqa/train/0000.parquet",),
)
AUTHORS_FILES = ("mkqa.jsonl.gz", "mkqa.jsonl", "dataset/mkqa.jsonl.gz")
LANGUAGES = codes("ar da de en es fi fr he hu it ja km ko ms nl no pl pt ru sv th tr vi zh_cn zh_hk zh_tw")


def prompt(language: str, question: str) -> str:
    """Our prompt in a language.

    >>> print(prompt("zh_tw", "誰寫了這本書"))
    問題：誰寫了這本書
    答案：
    """
    words = words_of(language)
    return lines(label_line(words, words.question, question), words.open_answer)


class Mkqa(Benchmark):
    """The task."""

    def hub_side(self, request: Request, language: str, is_source: bool) -> Side:
        """See `Benchmark`. Both sides hold the questions that have an answer in the target language."""
        instances = []
        for row, values in enumerate(_rows(request.folder)):
            where = f"{HUB.repo}, row {row}"
            answers = answers_of(values, request.target_lang, where)
            if not answers:
                continue
            queries = values["queries"]
            text = prompt(language, text_of(queries if isinstance(queries, dict) else {}, language, where))
            found = {} if is_source else {"row": row}
            key = str(values["example_id"])
            instances.append(Instance(key, text, where, answers[0], answers=answers, meta=found))
        if not instances:
            raise InputError(f"{HUB.repo}: no question has an answer in {request.target_lang!r}")
        return Side(language, f"{HUB.repo}@{HUB.revision}", instances, matched=True)


def answers_of(values: Mapping[str, Any], language: str, where: str) -> tuple[str, ...]:
    """The accepted answers of a question in a language: the texts, then the aliases; none for a question without an answer.

    Raises:
        InputError: the row has no such language.

    >>> answers_of({"answers": {"en": [{"type": "number", "text": "11", "aliases": ["eleven"]}]}}, "en", "row 0")
    ('11', 'eleven')
    """
    by_language = values["answers"]
    if not isinstance(by_language, Mapping) or not isinstance(by_language.get(language), list):
        raise InputError(f"{where}: no answers in {language!r}")
    given = by_language[language]
    texts = [answer.get("text") for answer in given]
    aliases = [alias for answer in given for alias in answer.get("aliases") or []]
    written = [text.strip() for text in [*texts, *aliases] if isinstance(text, str) and text.strip()]
    return tuple(dict.fromkeys(written)) if any(texts) else ()


def _rows(folder: Path | None) -> Iterator[dict[str, Any]]:
    """The rows of the Parquet file, or of the authors' file where a local folder has that."""
    for name in AUTHORS_FILES if folder is not None else ():
        path = Path(folder or "") / name
        if path.is_file():
            yield from _authors_rows(path)
            return
    yield from HUB.rows("", folder)


def _authors_rows(path: Path) -> Iterator[dict[str, Any]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(
                    f"{path}, line {number}: malformed JSON ({error.msg}, column {error.colno})"
                ) from error
            missing = [column for column in HUB.columns if not isinstance(row, dict) or column not in row]
            if missing:
                raise InputError(f"{path}, line {number}: no {', '.join(missing)}")
            yield row


MKQA = Mkqa(
    name="mkqa",
    description="Open questions with short answers (MKQA).",
    kind="generation",
    direction="en->xx",
    languages=LANGUAGES,
    score="answer",
    text_scores=("paper", "strict", "em", "f1"),
    release=None,
    hub_split="train",
)
"""The task."""
