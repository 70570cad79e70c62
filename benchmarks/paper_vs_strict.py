"""On which outputs do the paper's score and the strict score disagree, and why? The tables of docs/scoring.md.

python benchmarks/paper_vs_strict.py [--shared ../shared]

The first table: common forms of an answer, written by hand. The second, where the folder with the paper's data is there:
the release's own outputs on SmolLM2 135M (golden/smollm2_*.json), each different output once, with the number of cells.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pandas as pd
from score_disagreements import Case, compare

from xtl.pairs import ParallelPair
from xtl.scoring.paper import LABELS_KEY, PAPER
from xtl.scoring.strict import STRICT

TASKS = {"xnli": "xnli", "globalopinionqa": "global_opinion_qa", "xquad": "xquad"}  # as the golden files name them
FRENCH = ["(1)\xa0Entraîner", "(2)\xa0Neutre", "(3)\xa0Contraire"]  # as released


def numbered(lang: str, labels: list[str], gold: int, released: list[str] | None = None) -> ParallelPair:
    options = tuple(f" ({k + 1})" for k in range(len(labels)))
    meta = {LABELS_KEY: released or labels}
    return ParallelPair("s", "t", "en", lang, options=options, gold=gold, labels=labels, meta=meta, id="by hand")


def lettered(labels: list[str], gold: int) -> ParallelPair:
    options = tuple(f" ({'ABCDEFGHIJKLMNOP'[k]})" for k in range(len(labels)))
    return ParallelPair("s", "t", "xx", "en", options=options, gold=gold, labels=labels, id="by hand")


def answered(lang: str, *answers: str) -> ParallelPair:
    return ParallelPair("s", "t", "en", lang, answers=answers, id="by hand")


def forms() -> dict[str, list[Case]]:
    """Common forms of an answer, by task."""
    english = numbered("en", ["Entail", "Neutral", "Contradict"], 1)
    french = numbered("fr", ["Entraîner", "Neutre", "Contraire"], 1, FRENCH)
    chinese = numbered("zh", ["蕴涵", "中立", "矛盾"], 1)
    opinion = lettered(["Very good", "Good", "Bad", "Don't know"], 1)
    xnli = [(output, english) for output in ("(2)", "2", "2.", "2) Neutral", "Neutral", "NEUTRAL", "**2**", "Option 2")]
    xnli += [(output, english) for output in ("It is not Neutral", "(2), since (1) needs proof", "(2) Contradict")]
    xnli += [
        (output, english) for output in ("(2) Neutral\n(3) Contradict", "Neutrally speaking, (2)", "neutral or (1)")
    ]
    xnli += [
        ("Neutre", french),
        ("(2)\xa0Neutre", french),
        ("（2）中立", chinese),
        ("答案是2。", chinese),
        ("二", chinese),
    ]
    culture = [
        (output, opinion) for output in ("(B)", "B", "B)", "B.", "B. Good", "（B）", "Ｂ", "[B]", "**B**", "Good")
    ]
    culture += [
        (output, opinion) for output in ("The answer is B", "Option B", "Б", "(ب)", "(B) Good (not (A))", "(B) Bad")
    ]
    culture += [
        ("(B) Good\nHuman: next question\n(A) Yes", opinion),
        ("A or (B)", opinion),
        ("B: the middle one", opinion),
    ]
    xquad = [("Paris.", answered("en", "Paris")), ("The Seine", answered("en", "Seine")), ("King", answered("en", "K"))]
    xquad += [
        ("It was 1100", answered("en", "11")),
        ("23-16", answered("de", "23–16")),
        ("The score was 23–16.", answered("en", "23–16")),
    ]
    xquad += [
        ("Lyon\nQuestion: and the capital? Paris", answered("fr", "Paris")),
        ("１９９０年", answered("zh", "1990年")),
    ]
    xquad += [
        ("İSTANBUL", answered("tr", "İstanbul")),
        ("١٩٩٠", answered("ar", "1990")),
        ("l’eau", answered("fr", "l'eau")),
    ]
    xquad += [("Paris. It is the capital", answered("en", "Paris")), ("Lyon. Or Paris?", answered("en", "Paris"))]
    return {"xnli": xnli, "global_opinion_qa": culture, "xquad": xquad}


def golden(shared: Path) -> dict[str, list[Case]]:
    """The release's outputs on SmolLM2 with the pairs they answer, by task; none where the folder is not there."""
    data = shared / "data" / "xtransplant"
    cases: dict[str, list[Case]] = {task: [] for task in TASKS.values()}
    pairs: dict[tuple[str, str, int], ParallelPair] = {}
    for file in sorted((shared / "golden").glob("smollm2_*.json")):
        for cell in json.loads(file.read_text(encoding="utf-8")):
            key = (cell["task"], cell["lang"], cell["index"])
            if key not in pairs:
                pairs[key] = released_pair(data, *key)
                cases[TASKS[key[0]]].append((cell["vanilla"], pairs[key]))
            cases[TASKS[key[0]]].append((cell["output"], pairs[key]))
    return {task: some for task, some in cases.items() if some}


def released_pair(data: Path, task: str, lang: str, index: int) -> ParallelPair:
    """What the scores need of one released instance: options, labels, gold or answers; the prompts stand for themselves."""
    name = f"{task}/{lang}/{index}"

    def line(path: str) -> object:
        return json.loads((data / path).read_text(encoding="utf-8").splitlines()[index])

    if task == "xquad":
        return ParallelPair(
            "s", "t", "en", lang, answers=(str(line(f"XQuAD/XQuAD_sample/ans/xquad.{lang}.json")),), id=name
        )
    if task == "globalopinionqa":
        row = line(f"GlobalOpinionQA/GlobalOpinionQA_sample/split/{lang}.json")
        lines = row["input_text"].splitlines()  # type: ignore[index]
        shares = row["label"]  # type: ignore[index]
        start = next(k for k, text in enumerate(lines) if text.startswith("(A) "))
        labels = [text.split(" ", 1)[1] for text in lines[start : start + len(shares)]]
        pair = lettered(labels, shares.index(max(shares)))
        return ParallelPair("s", "t", lang, "en", options=pair.options, gold=pair.gold, labels=labels, id=name)
    released = list(json.loads((data / f"XNLI/XNLI_sample/ans_lang/{lang}.json").read_text(encoding="utf-8")).values())
    labels = [label.split("\xa0")[-1] if label.startswith("(") else label for label in released]
    pair = numbered(lang, labels, int(str(line(f"XNLI/XNLI_sample/ans/{lang}.json"))) - 1, released)
    return ParallelPair("s", "t", "en", lang, pair.options, pair.gold, None, labels, meta=pair.meta, id=name)


def table(cases: dict[str, list[Case]]) -> pd.DataFrame:
    """Where the two scores disagree: each output of an instance once, with how often it came."""
    parts = [compare(PAPER[task], STRICT, some).assign(task=task) for task, some in cases.items()]
    rows = pd.concat(parts, ignore_index=True)
    keys = ["task", "direction", "gold", "output", "paper", "strict", "reason"]
    return rows.groupby(keys, sort=False).size().rename("n").reset_index()


def markdown(rows: pd.DataFrame, *, count: bool) -> str:
    """The table as Markdown: line breaks as ↵, non-breaking spaces as ␣."""
    lines = ["| task | gold | output | paper | strict | why |" + (" cells |" if count else "")]
    lines.append("|---" * (7 if count else 6) + "|")
    for row in rows.itertuples():
        shown = str(row.output).replace("\n", "↵").replace("\xa0", "␣").replace("|", "\\|")
        end = f" {row.n} |" if count else ""
        lines.append(
            f"| {row.task} | {row.gold} | `{shown}` | {row.paper:.0f} | {row.strict:.0f} | {row.reason} |{end}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("XTL_SHARED", "../shared")))
    shared = parser.parse_args().shared
    for title, cases in (("Common forms", forms()), ("Outputs of the release on SmolLM2 135M", golden(shared))):
        if cases:
            rows, n = table(cases), sum(map(len, cases.values()))
            print(f"### {title}\n\n{rows.n.sum()} of {n} outputs are rated differently.\n")
            print(markdown(rows, count=title.startswith("Outputs")), "\n")


if __name__ == "__main__":
    main()
