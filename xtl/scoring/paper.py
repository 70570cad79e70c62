"""The scores of the paper's release, benchmark by benchmark: substring matching.

They are here so that the paper's numbers can be computed again, faults included; `xtl.scoring.strict` is the score to trust.

| task | right where | known from |
|---|---|---|
| xnli | the text has "(2)", or is "2", or has the gold label as released; and no other number or label so | the release |
| xcopa | the text has "(2)", or is "2"; and no other number so | the release |
| global_opinion_qa | the text in capitals has "(B)", or is "B"; and no other letter A-Z so | the release |
| xquad | the text has the gold answer in it, both in lower case | the release |
| mkqa | as xquad, any of the accepted answers | assumed: the release has no code or data for it |
| cultural_bench | as global_opinion_qa | assumed: the release has no code or data for it |

"The release" is the paper's public repository, YYF-Tommy/XTransplant at e495060, its `evaluation` scripts (XCOPA: at 7dbe0c3,
`ApplyExp/evaluation`, gone since). What follows from these rules:

- "（2）" counts as "(2)" on XNLI and XCOPA, but "（B）" is no "(B)" on GlobalOpinionQA.
- "B)", "B.", "(B" and "B. No" name no option; "B" alone does, white space aside.
- Anything later in the text that names another option spoils a right answer, "(A)" in an explanation too.
- On XNLI the label counts anywhere, within a longer word or behind "not" too; it is compared with its letter case. The released
  French labels are "(1)", a non-breaking space and the word: the word alone is never recognised.
- On XQuAD a short gold ("3", "K") is found inside other words, and anywhere in the text.

The labels as released are read from `pair.meta["paper_labels"]`, one for each option, else from `pair.labels`. Options count by
their place, first (1) or (A), however `pair.options` writes them.

>>> from xtl.pairs import ParallelPair
>>> pair = ParallelPair("s", "t", options=(" (1)", " (2)", " (3)"), labels=("Entail", "Neutral", "Contradict"), gold=1)
>>> [PAPER["xnli"].rate(output, pair) for output in ("（2） Neutral", "2) Neutral", "2.", "(2), not (1)")]
[1.0, 1.0, 0.0, 0.0]
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

from xtl.errors import InputError
from xtl.pairs import ParallelPair
from xtl.scoring.normalise import check_gold
from xtl.scoring.squad import accepted_answers
from xtl.scoring.text import TextScore

LABELS_KEY = "paper_labels"
"""Where in `ParallelPair.meta` the label words stand exactly as released."""


def _names_gold_alone(text: str, tags: Sequence[str], gold: int, labels: Sequence[str] = ()) -> bool:
    """Whether the gold tag (in brackets, or as the whole text) or label is in the text and no other one is."""

    def is_named(k: int) -> bool:
        return f"({tags[k]})" in text or text.strip() == tags[k] or (k < len(labels) and labels[k] in text)

    return is_named(gold) and not any(is_named(k) for k in range(len(tags)) if k != gold)


def _ascii_brackets(text: str) -> str:
    return text.replace("（", "(").replace("）", ")")


def _options(name: str, pair: ParallelPair, most: int) -> tuple[int, int]:
    """How many options a pair has, and which is right; raises `InputError` where the rule can't tell so many apart."""
    gold = check_gold(f"paper ({name})", pair.gold)
    n_options = len(pair.options or ())
    if n_options > most:
        raise InputError(f"the paper's score of {name} knows {most} options at most, this pair has {n_options}")
    return n_options, gold


def _rate_xnli(output: str, pair: ParallelPair) -> float:
    n_options, gold = _options("xnli", pair, 9)
    labels = pair.meta.get(LABELS_KEY, pair.labels)
    if labels is None or isinstance(labels, str) or len(labels) != n_options:
        raise InputError(f"the paper's score of xnli needs labels or meta[{LABELS_KEY!r}], one for each option")
    tags = string.digits[1 : n_options + 1]
    return float(_names_gold_alone(_ascii_brackets(output), tags, gold, labels))


def _rate_xcopa(output: str, pair: ParallelPair) -> float:
    n_options, gold = _options("xcopa", pair, 9)
    return float(_names_gold_alone(_ascii_brackets(output), string.digits[1 : n_options + 1], gold))


def _rate_letters(name: str) -> Callable[[str, ParallelPair], float]:
    def rate(output: str, pair: ParallelPair) -> float:
        letters = string.ascii_uppercase  # all of them, however few options there are
        return float(_names_gold_alone(output.upper(), letters, _options(name, pair, len(letters))[1]))

    return rate


def _rate_answers(name: str) -> Callable[[str, ParallelPair], float]:
    def rate(output: str, pair: ParallelPair) -> float:
        return float(any(answer.lower() in output.lower() for answer in accepted_answers(f"paper ({name})", pair)))

    return rate


PAPER: dict[str, TextScore] = {
    "xnli": TextScore("paper", "the release's rule for XNLI: (number) or label in the text, no other", _rate_xnli),
    "xcopa": TextScore("paper", "the release's rule for XCOPA: (number) in the text, no other", _rate_xcopa),
    "xquad": TextScore("paper", "the release's rule for XQuAD: the answer is in the text", _rate_answers("xquad")),
    "mkqa": TextScore("paper", "assumed: an accepted answer is in the text", _rate_answers("mkqa")),
    "global_opinion_qa": TextScore(
        "paper",
        "the release's rule for GlobalOpinionQA: (letter) in the text, no other",
        _rate_letters("global_opinion_qa"),
    ),
    "cultural_bench": TextScore("paper", "assumed: (letter) in the text, no other", _rate_letters("cultural_bench")),
}
"""The paper's score of each of its benchmarks, by the task's name."""
