"""A tiny release: the layout of the paper's data, with sentences of our own."""

import json
from pathlib import Path

CITIES = ["Oslo", "Lima", "Cairo", "Delhi", "Quito", "Hanoi", "Dakar", "Seoul", "Sofia", "Tunis", "Minsk", "Accra"]


def write(path: Path, values: list[object]) -> Path:
    """One JSON value a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
    return path


def xnli(root: Path, n: int = 12, split: str = "sample") -> Path:
    """XNLI in English, German and Chinese."""
    folder = root / "XNLI" / f"XNLI_{split}"
    words = {
        "en": ("Premise", "Hypothesis", ("Entail", "Neutral", "Contradict"), "My answer:"),
        "de": ("Prämisse", "Hypothese", ("Folgt", "Neutral", "Widerspricht"), "Meine Antwort:"),
        "zh": ("前提", "假设", ("蕴涵", "中立", "矛盾"), "我的答案是："),
    }
    for lang, (premise, hypothesis, labels, end) in words.items():
        prompts = [
            f"{premise}: {CITIES[row % 12]} {1900 + 7 * row}.\n{hypothesis}: {1900 + 7 * row}.\n\n"
            + "".join(f"({k}) {label}\n" for k, label in enumerate(labels, 1))
            + f"\n{end}"
            for row in range(n)
        ]
        write(folder / "split" / f"{lang}.json", prompts)
        write(folder / "ans" / f"{lang}.json", [str(1 + row * row % 3) for row in range(n)])
        write(folder / "ans_lang" / f"{lang}.json", [{str(k): label for k, label in enumerate(labels, 1)}])
    return folder


def xcopa(root: Path, n: int = 6) -> Path:
    """XCOPA in English and Italian; the English beside Italian is worded otherwise."""
    folder = root / "XCOPA" / "XCOPA_sample"
    asks = {
        "en": ("the cause of the given premise", "the result of the given premise"),
        "it": ("la causa", "l'effetto"),
    }
    for place, lang in (("split", "en"), ("split", "it"), ("en", "it"), ("en", "en")):
        ask = asks["it" if (place, lang) == ("split", "it") else "en"]
        prompts = [
            f"{place} {lang} {CITIES[row]}.\nOptions: (1) a {row}.\n(2) b {row}.\n\nWhich is {ask[row % 2]}.\n\nAnswer:"
            for row in range(n)
        ]
        write(folder / place / f"{lang}.json", prompts)
    for lang in asks:
        write(folder / "ans" / f"{lang}.json", [str(1 + row // 2 % 2) for row in range(n)])
    return folder


def xquad(root: Path, n: int = 8) -> Path:
    """XQuAD in English and Thai."""
    folder = root / "XQuAD" / "XQuAD_sample"
    for lang, words in (("en", "Who lived in"), ("th", "ใครอยู่ที่")):
        prompts = [f"{words} {CITIES[row]} {1800 + 9 * row}?\n\nA:" for row in range(n)]
        write(folder / "split" / f"xquad.{lang}.json", prompts)
        write(folder / "ans" / f"xquad.{lang}.json", [f"{lang} {row}" for row in range(n)])
    return folder


def opinions(root: Path, n: int = 4) -> Path:
    """GlobalOpinionQA in Chinese; row 1 of the translation shows other letters."""
    folder = root / "GlobalOpinionQA" / "GlobalOpinionQA_sample"
    english, chinese = [], []
    for row in range(n):
        text = f"Someone from China:\nTrust {CITIES[row]}?\n(A) Yes\n(B) No\n(C) Maybe\nMy answer would be:"
        english.append({"input_text": text, "label": [0.05, 0.9, 0.051], "country": "China (Non-national sample)"})
        letters = "АБВ" if row == 1 else "ABC"
        options = "".join(f"（{letter}）{word}\n" for letter, word in zip(letters, ("是", "否", "也许"), strict=True))
        chinese.append(f"中国人：\n信任 {CITIES[row]}？\n{options}我的答案是：")
    write(folder / "split" / "zh-CN.json", english)
    write(folder / "translated" / "zh-CN.json", chinese)
    return folder
