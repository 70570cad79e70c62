"""What the two culture benchmarks share: which language goes with a country, and translations from a user's folder.

Both benchmarks are published in English only. The paper translated them; its release holds the translations of
GlobalOpinionQA. A prompt that puts an English question into, say, a Turkish frame is no Turkish prompt, so that xtl doesn't
make one: for the public benchmarks, the questions in the culture's language come from a folder of the user's, `translations`,
with one file a language:

    tr.jsonl    {"id": "17", "question": "...", "options": ["...", "..."]}

`to_translate` of a task writes such files, in English, ready to be translated; ids, number and order of the options must stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xtl.errors import InputError
from xtl.tasks.released import read_lines

COUNTRIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "am": ("ET", ("Ethiopia",)),
    "bn": ("BD", ("Bangladesh",)),
    "cs": ("CZ", ("Czech Republic", "Czech Rep.", "Czechia")),
    "fa": ("IR", ("Iran",)),
    "he": ("IL", ("Israel",)),
    "hi": ("IN", ("India",)),
    "id": ("ID", ("Indonesia",)),
    "it": ("IT", ("Italy",)),
    "ja": ("JP", ("Japan",)),
    "ko": ("KR", ("South Korea", "S. Korea")),
    "ms": ("MY", ("Malaysia",)),
    "ne": ("NP", ("Nepal",)),
    "nl": ("NL", ("Netherlands",)),
    "pl": ("PL", ("Poland",)),
    "ro": ("RO", ("Romania",)),
    "ru": ("RU", ("Russia",)),
    "sv": ("SE", ("Sweden",)),
    "th": ("TH", ("Thailand",)),
    "tl": ("PH", ("Philippines",)),
    "tr": ("TR", ("Turkey", "Türkiye")),
    "uk": ("UA", ("Ukraine",)),
    "ur": ("PK", ("Pakistan",)),
    "vi": ("VN", ("Vietnam",)),
}
"""Languages of one country: its code and the names that the benchmarks have for it."""

SHARED: dict[str, dict[str, str]] = {
    "ar": {
        "Egypt": "EG", "Iraq": "IQ", "Jordan": "JO", "Kuwait": "KW", "Lebanon": "LB", "Libya": "LY", "Morocco": "MA",
        "Palest. ter.": "PS", "Saudi Arabia": "SA", "Tunisia": "TN",
    },
    "de": {"Austria": "AT", "Germany": "DE", "Switzerland": "CH"},
    "el": {"Cyprus": "CY", "Greece": "GR"},
    "en": {
        "Australia": "AU", "Britain": "GB", "Canada": "CA", "Ghana": "GH", "Great Britain": "GB", "New Zealand": "NZ",
        "Nigeria": "NG", "Northern Ireland": "GB", "S. Africa": "ZA", "Singapore": "SG", "South Africa": "ZA", "Uganda": "UG",
        "United Kingdom": "GB", "United States": "US", "Zimbabwe": "ZW",
    },
    "es": {
        "Argentina": "AR", "Bolivia": "BO", "Chile": "CL", "Colombia": "CO", "Ecuador": "EC", "El Salvador": "SV",
        "Guatemala": "GT", "Honduras": "HN", "Mexico": "MX", "Nicaragua": "NI", "Peru": "PE", "Puerto Rico": "PR", "Spain": "ES",
        "Uruguay": "UY", "Venezuela": "VE",
    },
    "fr": {"Burkina Faso": "BF", "France": "FR", "Ivory Coast": "CI", "Mali": "ML", "Senegal": "SN"},
    "pt": {"Angola": "AO", "Brazil": "BR", "Portugal": "PT"},
    "sw": {"Kenya": "KE", "Tanzania": "TZ"},
    "zh": {"China": "CN", "Hong Kong": "HK", "Hong Kong SAR": "HK", "Macau SAR": "MO", "Taiwan": "TW"},
}  # fmt: skip
"""Languages of several countries: names as the benchmarks have them, and codes."""

CULTURES: dict[str, tuple[str, str]] = {
    **{name: (language, code) for language, (code, names) in COUNTRIES.items() for name in names},
    **{name: (language, code) for language, countries in SHARED.items() for name, code in countries.items()},
}
"""Language and country code of each country of the benchmarks, as the release pairs them."""


def culture_of(country: str) -> tuple[str, str] | None:
    """Language and country code of a country as the benchmarks name it; None for one that no language is given for.

    >>> culture_of("China (Non-national sample)"), culture_of("Atlantis")
    (('zh', 'CN'), None)
    """
    return CULTURES.get(re.sub(r"\s*\(.*", "", country).strip())


@dataclass(frozen=True)
class Question:
    """A question with its options, in one language."""

    id: str
    question: str
    options: tuple[str, ...]


def read_translations(folder: str | Path | None, language: str, task: str) -> dict[str, Question]:
    """A user's translated questions, by id.

    Raises:
        InputError: no folder given (why, and what to do), no file of the language, or a faulty line.
    """
    if folder is None:
        raise InputError(
            f"{task} is published in English only: source prompts in {language!r} need translated questions; "
            f"set translations to a folder with {language}.jsonl (see docs/tasks.md), or ask for en->en"
        )
    path = Path(folder) / f"{language}.jsonl"
    if not path.is_file():
        raise InputError(f"no file {path} with translations of {task}; write it with to_translate and translate it")
    found: dict[str, Question] = {}
    for number, value in enumerate(read_lines(path, language), start=1):
        where = f"{path}, line {number}"
        if not isinstance(value, dict):
            raise InputError(f"{where}: expected an object with id, question and options, got {value!r}")
        key, question, options = (value.get(name) for name in ("id", "question", "options"))
        if not isinstance(key, (str, int)) or str(key) in found:
            raise InputError(f"{where}: id must be given, and once only, got {key!r}")
        texts = [question, *(options if isinstance(options, list) else [None])]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise InputError(f"{where}: question and options must be non-empty texts")
        found[str(key)] = Question(str(key), texts[0], tuple(texts[1:]))
    return found


def translated(table: dict[str, Question], english: Question, where: str) -> Question:
    """The translation of a question.

    Raises:
        InputError: there is none, or it has another number of options.
    """
    if english.id not in table:
        raise InputError(f"{where}: no translation of question {english.id!r}")
    found = table[english.id]
    if len(found.options) != len(english.options):
        raise InputError(
            f"{where}: the translation of question {english.id!r} has {len(found.options)} options, "
            f"the question {len(english.options)}"
        )
    return found


def write_questions(path: str | Path, questions: Iterable[Question]) -> int:
    """Write questions to be translated; returns how many there are. Raises `InputError` where that can't be done."""
    from xtl.files import write_text

    unique = {question.id: question for question in questions}
    rows = [{"id": q.id, "question": q.question, "options": list(q.options)} for q in unique.values()]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(path, text)
    return len(rows)
