"""What a generated text is read as, whatever its score: two texts agree where they are read as the same answer.

>>> pair = ParallelPair("s", "t", options=(" (A)", " (B)"), gold=1)
>>> read_as("The answer is B.", pair), read_as("(B) No", pair), read_as("A or B", pair)
(1, 1, None)
>>> read_as(" The Seine. It is long", ParallelPair("s", "t", target_lang="en", answers=["Seine"]))
('seine',)
"""

from __future__ import annotations

from xtl.pairs import ParallelPair
from xtl.scoring.squad import answer_lines, answer_words
from xtl.scoring.strict import choose


def read_as(output: str, pair: ParallelPair) -> int | tuple[str, ...] | None:
    """The place of the option that a text commits to, or without options the words of its first sentence.

    As the strict scores read it (`xtl.scoring.strict.choose`, `xtl.scoring.squad.answer_words`): case, signs and articles don't
    count. None where a text names no option, or says nothing.
    """
    if pair.options is not None:
        return choose(output, pair)
    return answer_words(answer_lines(output)[-1], pair.target_lang) or None
