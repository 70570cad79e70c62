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
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xtl.errors import InputError
from xtl.tasks.base import codes
from xtl.tasks.benchmark import Benchmark, Instance, Request, Side
from xtl.tasks.hub import HubFile, text_of
from xtl.tasks.json_values import parse_json
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
        for row, (where, values) in enumerate(_rows(request.folder)):
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
        InputError: the row has no such language, or something else than answers there.

    >>> answers_of({"answers": {"en": [{"type": "number", "text": "11", "aliases": ["eleven"]}]}}, "en", "row 0")
    ('11', 'eleven')
    """
    by_language = values["answers"]
    if not isinstance(by_language, Mapping) or not isinstance(by_language.get(language), list):
        raise InputError(f"{where}: no answers in {language!r}")
    given = by_language[language]
    for answer in given:
        if not isinstance(answer, Mapping) or not isinstance(answer.get("aliases") or [], list):
            raise InputError(
                f"{where}: an answer in {language!r} must be an object with text and aliases, got {answer!r}"
            )
    texts = [answer.get("text") for answer in given]
    aliases = [alias for answer in given for alias in answer.get("aliases") or []]
    for text in [*texts, *aliases]:
        if not isinstance(text, str | None):
            raise InputError(f"{where}: an answer in {language!r} must be a text, got {text!r}")
    written = [text.strip() for text in [*texts, *aliases] if isinstance(text, str) and text.strip()]
    return tuple(dict.fromkeys(written)) if any(texts) else ()


def _rows(folder: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each row is, and its values: of the Parquet file, or of the authors' file where a local folder has that."""
    for name in AUTHORS_FILES if folder is not None else ():
        path = Path(folder or "") / name
        if path.is_file():
            yield from _authors_rows(path)
            return
    for row, values in enumerate(HUB.rows("", folder)):
        yield f"{HUB.repo}, row {row}", values


def _authors_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        try:
            row = parse_json(line)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        missing = [column for column in HUB.columns if not isinstance(row, dict) or column not in row]
        if missing:
            raise InputError(f"{where}: no {', '.join(missing)}")
        yield where, row


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, packed or not.

    Raises:
        InputError: it has none, is not UTF-8, or is damaged.
    """
    read = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            for line in file:
                read += 1
                yield str(line)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, after line {read}: not UTF-8 ({error.reason})") from error
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{path}, after line {read}: damaged, or another kind of file ({error}); fetch it again"
        ) from error
    if not read:
        raise InputError(f"{path} is empty; fetch it again")


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
