"""Small local copies of the hub's repositories: with the same files, columns and types, and sentences of our own."""

import csv
import json
from pathlib import Path
from typing import Any

import datasets
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from tests.tasks.releases import CITIES

datasets.disable_progress_bars()
TEXT, INT = Value("string"), Value("int64")
ANSWER_TYPES = [
    "entity", "long_answer", "unanswerable", "date", "number", "number_with_unit", "short_phrase", "binary",
]  # fmt: skip


def parquet(path: Path, rows: list[dict[str, Any]], features: dict[str, Any]) -> Path:
    """Rows as a Parquet file that carries its features, as the hub's do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {column: [row[column] for row in rows] for column in features}
    Dataset.from_dict(columns, features=Features(features)).to_parquet(str(path))
    return path


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def xnli(root: Path, languages: tuple[str, ...] = ("en", "de", "zh"), n: int = 12) -> Path:
    """`facebook/xnli`."""
    labels = ClassLabel(names=["entailment", "neutral", "contradiction"])
    for lang in languages:
        rows = [
            {"premise": f"{lang} {CITIES[i % 12]} {1900 + 7 * i}", "hypothesis": f"{lang} {i * i}", "label": i * i % 3}
            for i in range(n)
        ]
        features = {"premise": TEXT, "hypothesis": TEXT, "label": labels}
        parquet(root / lang / "test-00000-of-00001.parquet", rows, features)
    return root


def xcopa(root: Path, n: int = 6) -> Path:
    """`cambridgeltl/xcopa`: Italian, its English translation (in another order), and Quechua."""
    features = {
        "premise": TEXT, "choice1": TEXT, "choice2": TEXT, "question": TEXT, "label": Value("int32"),
        "idx": Value("int32"), "changed": Value("bool"),
    }  # fmt: skip
    for config in ("it", "translation-it", "qu"):
        rows = [
            {
                "premise": f"{config} p{i}", "choice1": f"{config} a{i}", "choice2": f"{config} b{i}",
                "question": ("cause", "effect")[i % 2], "label": i // 2 % 2, "idx": i, "changed": False,
            }
            for i in range(n)
        ]  # fmt: skip
        rows = rows[::-1] if config == "translation-it" else rows
        parquet(root / config / "test-00000-of-00001.parquet", rows, features)
    return root


def xquad(root: Path, n: int = 5) -> Path:
    """`google/xquad`."""
    features = {"id": TEXT, "context": TEXT, "question": TEXT}
    features["answers"] = Sequence({"text": TEXT, "answer_start": Value("int32")})
    for lang in ("en", "zh"):
        rows = [
            {
                "id": f"q{i}", "context": f"{lang} context {i}", "question": f"{lang} question {i}",
                "answers": {"text": [f"{lang} {i}"], "answer_start": [0]},
            }
            for i in range(n)
        ]  # fmt: skip
        parquet(root / f"xquad.{lang}" / "validation-00000-of-00001.parquet", rows, features)
    return root


def mkqa_rows(n: int = 6) -> list[dict[str, Any]]:
    """Rows of MKQA in three languages: the third question is unanswerable, the fourth has aliases, the fifth a long answer."""
    kinds = ["entity", "number", "unanswerable", "date", "long_answer", "binary"]
    rows = []
    for i in range(n):
        kind = kinds[i % 6]
        written = kind not in ("unanswerable", "long_answer")
        answers = {
            lang: [{
                "type": kind, "entity": f"Q{i}" if kind == "entity" else None, "text": f"{lang} {i}" if written else None,
                "aliases": [f"{lang} alias {i}"] if i == 3 else [],
            }]
            for lang in ("en", "de", "zh_tw")
        }  # fmt: skip
        queries = {lang: f"{lang} question {i}" for lang in answers}
        rows.append(
            {"example_id": f"{10**18 + i}", "queries": queries, "query": f"en question {i}", "answers": answers}
        )
    return rows


def mkqa(root: Path) -> Path:
    """`apple/mkqa` as the hub's conversion to Parquet has it: types are class labels."""
    answer = [{"type": ClassLabel(names=ANSWER_TYPES), "entity": TEXT, "text": TEXT, "aliases": [TEXT]}]
    rows = mkqa_rows()
    languages = list(rows[0]["queries"])
    features = {
        "example_id": TEXT, "queries": dict.fromkeys(languages, TEXT), "query": TEXT,
        "answers": dict.fromkeys(languages, answer),
    }  # fmt: skip
    parquet(root / "mkqa" / "train-00000-of-00001.parquet", rows, features)
    return root


def mkqa_authors(root: Path) -> Path:
    """The authors' own file: JSON lines, no aliases and no entity where there are none."""
    root.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in mkqa_rows():
        for given in row["answers"].values():
            for answer in given:
                for key in [key for key, value in answer.items() if key != "text" and not value]:
                    del answer[key]
        lines.append(json.dumps(row))
    (root / "mkqa.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def opinions(root: Path) -> Path:
    """`Anthropic/llm_global_opinions`: one question with a clear answer in Japan and none in Brazil, and unusable ones."""
    rows = [
        ("Are you happy?", {"Japan": [0.1, 0.9], "Brazil": [0.5, 0.5], "Atlantis": [1.0, 0.0]}, ["Yes", "No"]),
        ("None of these,\nor all?", {"Japan (Non-national sample)": [0.85, 0.1, 0.052]}, ["None", "NA", "Don't know"]),
        ("Twice the same?", {"Japan": [0.9, 0.1]}, ["Yes", "Yes"]),
        ("Does it add up?", {"Japan": [0.9, 0.4]}, ["Yes", "No"]),
        ("Only in Brazil?", {"Brazil": [0.99, 0.01]}, ["Yes", "No"]),
    ]
    table(
        root / "data" / "global_opinions.csv",
        [
            {
                "question": question,
                "selections": f"defaultdict(<class 'list'>, {selections!r})",
                "options": repr(options),
                "source": "GAS",
            }
            for question, selections, options in rows
        ],
    )
    return root


def cultural_bench(root: Path) -> Path:
    """`kellycyy/CulturalBench`, both variants: two questions about Japan, one about Peru."""
    questions = [
        (0, "What do people in Japan eat at New Year?", ["Soba", "None", "Pizza", "NA"], 0, "Japan"),
        (1, "What is polite in Japan?", ["Shouting", "Bowing", "Whistling", "Running"], 1, "Japan"),
        (2, "What do people in Peru drink?", ["Tea", "Milk", "Sake", "Chicha"], 3, "Peru"),
    ]
    easy, hard = [], []
    for index, question, options, gold, country in questions:
        columns = {f"prompt_option_{letter}": option for letter, option in zip("abcd", options, strict=True)}
        base = {"data_idx": index, "question_idx": index, "prompt_question": question}
        easy.append(base | columns | {"answer": "ABCD"[gold], "country": country})
        for place, option in enumerate(options):
            row = base | {"data_idx": 4 * index + place, "prompt_option": option}
            hard.append(row | {"answer": place == gold, "country": country})
    table(root / "CulturalBench-Easy.csv", easy)
    table(root / "CulturalBench-Hard.csv", hard)
    return root
