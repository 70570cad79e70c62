"""GlobalOpinionQA: how would someone from a country answer a survey question? The answer is a distribution: what people there
said.

The paper's direction is xx -> en: the source is the question in the culture's language, the target the same question in
English. Each language has its own questions (those of its countries), so that no two languages but a culture's own and English
can be paired. The gold option is the one that most people chose; `distribution` holds the shares of all options (normalised:
the data is rounded, and adds up to 0.996-1.004).

The release names 20 languages. Its translated prompts translate the option letters in many of them ("(ሀ)", "(أ)", "(А)" in
Cyrillic), drop some, or use full-width brackets: pairs whose source doesn't show the letters of the target say so in
`meta["notes"]`, and `meta["source_option_keys"]` holds what it shows. Options and scores refer to the English target, which
has them all.

From the hub: `Anthropic/llm_global_opinions`, `data/global_opinions.csv`, columns `question`, `selections` (a text: a Python
dictionary of shares by country), `options` (a text: a Python list), `source`. As in the release, an instance is a question and
a country where at least 80% chose one option (`min_agreement`); left out are those whose shares don't add up to 1 or don't fit
the options, those with an empty or a repeated option, and those with two options at the top. The questions in the culture's
language come from a folder of translations (see `xtl.tasks.culture`); the frame of the prompt is ours.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtl.errors import InputError, check_number, known_keywords
from xtl.pairs import is_share
from xtl.tasks.base import normalise_language
from xtl.tasks.benchmark import Benchmark, Instance, Request, Side
from xtl.tasks.culture import Question, culture_of, read_translations, translated, write_questions
from xtl.tasks.hub import HubFile, text_of
from xtl.tasks.names import country_name
from xtl.tasks.prompts import LETTERS, label_line, letters, lines, option_lines, words_of
from xtl.tasks.released import check_counts, read_lines, read_texts

HUB = HubFile(
    repo="Anthropic/llm_global_opinions",
    revision="5c87e48d8db8ffc9ae8a6738f958d5130ee116e5",
    path="data/global_opinions.csv",
    columns=("question", "selections", "options", "source"),
    other_paths=("default/train/0000.parquet",),
)
RELEASED_NAMES = {"zh": "zh-CN"}
ENGLISH_OPTION = re.compile(r"^\(([A-Z])\) ?(.*)$", re.MULTILINE)
ANY_OPTION = re.compile(r"^\s*[(（]\s*(\S{1,3}?)\s*[)）]", re.MULTILINE)
ROUNDING = 0.02  # how far from 1 the shares of a question may add up to

FRAMES: dict[str, tuple[str, str]] = {
    "am": ("አገር", "በዚህ አገር የሚኖር ሰው ምን ብሎ ይመልሳል?"),
    "ar": ("البلد", "كيف سيجيب شخص من هذا البلد؟"),
    "de": ("Land", "Wie würde jemand aus diesem Land antworten?"),
    "el": ("Χώρα", "Πώς θα απαντούσε κάποιος από αυτή τη χώρα;"),
    "en": ("Country", "How would someone from this country answer?"),
    "es": ("País", "¿Qué respondería alguien de este país?"),
    "fr": ("Pays", "Que répondrait une personne de ce pays ?"),
    "hi": ("देश", "इस देश का कोई व्यक्ति क्या उत्तर देगा?"),
    "id": ("Negara", "Bagaimana orang dari negara ini akan menjawab?"),
    "ja": ("国名", "この国の人はどう答えますか？"),
    "pt": ("País", "O que responderia uma pessoa deste país?"),
    "ru": ("Страна", "Как ответил бы житель этой страны?"),
    "sv": ("Land", "Hur skulle någon från det här landet svara?"),
    "sw": ("Nchi", "Mtu kutoka nchi hii angejibuje?"),
    "tl": ("Bansa", "Paano sasagot ang isang tao mula sa bansang ito?"),
    "tr": ("Ülke", "Bu ülkeden biri nasıl cevap verirdi?"),
    "uk": ("Країна", "Як відповів би житель цієї країни?"),
    "ur": ("ملک", "اس ملک کا کوئی شخص کیا جواب دے گا؟"),
    "vi": ("Quốc gia", "Một người ở quốc gia này sẽ trả lời thế nào?"),
    "zh": ("国家", "这个国家的人会怎样回答？"),
}
"""Our own words for the country, and the question, by language."""


def prompt(language: str, country: str, question: Question) -> str:
    """Our prompt in a language; `country` is a code, and its name is CLDR's.

    >>> print(prompt("de", "JP", Question("1", "Sind Sie zufrieden?", ("Ja", "Nein"))))
    Land: Japan
    Frage: Sind Sie zufrieden?
    (A) Ja
    (B) Nein
    Wie würde jemand aus diesem Land antworten?
    Antwort:
    """
    words, (country_label, ask) = words_of(language), FRAMES[language]
    name = country_name(country, "fil" if language == "tl" else language)
    return lines(
        label_line(words, country_label, name),
        label_line(words, words.question, question.question),
        option_lines(letters(len(question.options)), question.options),
        ask,
        words.open_answer,
    )


@dataclass(frozen=True, kw_only=True)
class GlobalOpinionQa(Benchmark):
    """The task.

    Attributes:
        translations: folder of translated questions, for the hub's data.
        min_agreement: least share of people behind the gold option, for the hub's data.
    """

    translations: str | Path | None = None
    min_agreement: float = 0.8

    def check_direction(self, request: Request) -> None:
        """Refuse all but xx -> en."""
        check_number("min_agreement", self.min_agreement, 0, 1)
        if request.target_lang != "en":
            raise InputError(
                f"{self.name} has no {request.source_lang}->{request.target_lang}: "
                f"each language has its own questions, and options and golds are "
                f"English; give target_lang='en' and the culture's language as source_lang"
            )

    def released_side(self, request: Request, language: str, is_source: bool, root: Path) -> Side:
        """See `Benchmark`. The language of both files is the culture's."""
        culture = request.source_lang
        name = RELEASED_NAMES.get(culture, culture)
        path, english_path = root / "translated" / f"{name}.json", root / "split" / f"{name}.json"
        prompts, rows = read_texts(path, culture, "prompt"), read_lines(english_path, culture)
        check_counts((path, len(prompts)), (english_path, len(rows)))
        if is_source:
            instances = [Instance(f"{culture}/{row}", t, f"{path}, line {row + 1}") for row, t in enumerate(prompts)]
            return Side(language, str(path), instances)
        made = [
            _released_instance(value, f"{english_path}, line {row + 1}", culture, row, prompts[row])
            for row, value in enumerate(rows)
        ]
        return Side(language, str(english_path), made)

    def hub_side(self, request: Request, language: str, is_source: bool) -> Side:
        """See `Benchmark`. Both sides hold the questions of the culture's countries."""
        culture = request.source_lang
        table = read_translations(self.translations, language, self.name) if language != "en" else {}
        instances = []
        for where, question, country, shares in self._opinions(culture, request.folder):
            found = culture_of(country)
            shown = translated(table, question, where) if table else question
            text = prompt(language, found[1] if found else "", shown)
            key = f"{culture}/{question.id}/{country}"
            if is_source:
                instances.append(Instance(key, text, where))
                continue
            keys = letters(len(shares))
            gold = keys[shares.index(max(shares))]
            meta = {"row": int(question.id), "country": country, "culture": culture}
            instances.append(Instance(key, text, where, gold, keys, question.options, distribution=shares, meta=meta))
        if not instances:
            raise InputError(f"{HUB.repo} has no question for the countries of {culture!r}")
        return Side(language, f"{HUB.repo}@{HUB.revision[:8]}", instances, matched=True)

    @known_keywords()
    def to_translate(self, culture: str, path: str | Path, folder: str | Path | None = None) -> int:
        """Write the hub's questions of a culture, in English, to be translated; returns how many there are."""
        culture = normalise_language(culture, self.languages, "culture")
        check_number("min_agreement", self.min_agreement, 0, 1)
        found = self._opinions(culture, Path(folder) if folder is not None else None)
        return write_questions(path, (question for _, question, _, _ in found))

    def _opinions(self, culture: str, folder: Path | None) -> Iterator[tuple[str, Question, str, tuple[float, ...]]]:
        """Where, question, country and shares of each instance of a culture."""
        for row, values in enumerate(HUB.rows("", folder)):
            where = f"{HUB.repo}, row {row}"
            question = text_of(values, "question", where)
            options = _literal(values["options"], list, where)
            selections = _literal(values["selections"], dict, where)
            labels = tuple(str(option).strip() for option in options)
            for country, numbers in selections.items():
                if not isinstance(country, str):
                    raise InputError(f"{where}: the name of a country must be a text, got {country!r}")
                found = culture_of(country)
                if found is None or found[0] != culture:
                    continue
                fits = isinstance(numbers, list) and all(is_share(number) for number in numbers)
                fits = fits and len(numbers) == len(set(labels)) == len(labels) > 1 and all(labels)
                if not fits or max(numbers) < self.min_agreement or numbers.count(max(numbers)) > 1:
                    continue
                if abs(sum(numbers) - 1) <= ROUNDING:
                    shares = shares_of(numbers, len(labels), f"{where}, {country}")
                    yield where, Question(str(row), question, labels), country, shares


def shares_of(numbers: object, n_options: int, where: str) -> tuple[float, ...]:
    """Shares that add up to 1, from the data's rounded ones.

    Raises:
        InputError: not one number from 0 to 1 for each option, a sum far from 1, two that share the highest place, or more
            options than letters.

    >>> shares_of([0.88, 0.09, 0.031], 3, "row 0")[0]
    0.8791208791208792
    """
    if n_options > len(LETTERS):
        raise InputError(f"{where}: {n_options} options are too many: their keys are the letters A to Z")
    if not isinstance(numbers, list) or not all(is_share(n) for n in numbers) or len(numbers) != n_options:
        raise InputError(f"{where}: expected {n_options} shares, one for each option, got {numbers!r}")
    values = [float(number) for number in numbers]
    if abs(sum(values) - 1) > ROUNDING:
        raise InputError(f"{where}: shares add up to {sum(values):.3f}, not 1")
    if values.count(max(values)) > 1:
        raise InputError(f"{where}: no gold, since two options have the highest share ({max(values)})")
    return tuple(value / sum(values) for value in values)


def _released_instance(value: Any, where: str, culture: str, row: int, translation: str) -> Instance:
    if not isinstance(value, dict) or not isinstance(value.get("input_text"), str) or "label" not in value:
        raise InputError(f"{where}: expected an object with input_text, label and country")
    text = value["input_text"]
    options = ENGLISH_OPTION.findall(text)
    keys, labels = tuple(key for key, _ in options), tuple(label.strip() for _, label in options)
    if keys != LETTERS[: len(keys)] or len(keys) < 2 or not all(labels):
        raise InputError(
            f"{where}: the prompt's options must be (A), (B), ..., each with its text; found {', '.join(keys) or 'none'}"
        )
    shares = shares_of(value["label"], len(keys), where)
    shown = tuple(ANY_OPTION.findall(translation))
    notes = (
        ()
        if shown == keys
        else (f"the source prompt shows other options: {len(shown)} for {len(keys)}, or other letters",)
    )
    meta = {
        "row": row,
        "country": str(value.get("country", "")),
        "culture": culture,
        "source_option_keys": shown,
        "notes": notes,
    }
    gold = keys[shares.index(max(shares))]
    return Instance(f"{culture}/{row}", text, where, gold, keys, labels, distribution=shares, meta=meta)


def _literal(text: object, kind: type, where: str) -> Any:
    """The Python list or dictionary that a column holds as text; nothing is evaluated but constants.

    >>> _literal("defaultdict(<class 'list'>, {'Japan': [0.9, 0.1]})", dict, "row 0")
    {'Japan': [0.9, 0.1]}
    """
    opening, closing = ("{", "}") if kind is dict else ("[", "]")
    try:
        if not isinstance(text, str):
            raise ValueError("no text")
        value = ast.literal_eval(text[text.index(opening) : text.rindex(closing) + 1])
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise InputError(f"{where}: expected a {kind.__name__} as text, got {str(text)[:60]!r}") from error
    if not isinstance(value, kind):
        raise InputError(f"{where}: expected a {kind.__name__} as text, got {str(text)[:60]!r}")
    return value


GLOBAL_OPINION_QA = GlobalOpinionQa(
    name="global_opinion_qa",
    description="How people of a country answer survey questions (GlobalOpinionQA).",
    kind="culture",
    direction="xx->en",
    languages=tuple(FRAMES),
    score="options",
    text_scores=("paper", "strict", "distribution"),
    release="GlobalOpinionQA",
    hub_split="train",
)
"""The task."""
