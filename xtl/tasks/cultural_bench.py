"""CulturalBench: questions about the daily life of 45 countries and regions. From the hub only; the paper's release doesn't
hold it.

The paper's direction is xx -> en: the source is the question in the culture's language, the target the same question in
English. The benchmark is in English alone: the questions in the culture's language come from a folder of translations (see
`xtl.tasks.culture`).

On the hub, `kellycyy/CulturalBench` holds two CSV files (an earlier form of the repository, with one table of multiple-choice
questions, is gone):

- `CulturalBench-Easy` (1,227): `data_idx`, `question_idx`, `prompt_question`, `prompt_option_a` ... `prompt_option_d`,
  `answer` ("A" to "D"), `country`;
- `CulturalBench-Hard` (the same questions, 4 rows each): `prompt_option` instead, and `answer` true or false. A question
  counts as solved if all four rows are right: `meta["question_idx"]` says which belong together. They stay
  together in every order, so that a `limit` should be a multiple of four.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtl.errors import InputError, check_choice, known_keywords
from xtl.tasks.base import normalise_language
from xtl.tasks.benchmark import Benchmark, Instance, Request, Side
from xtl.tasks.culture import Question, culture_of, read_translations, translated, write_questions
from xtl.tasks.hub import HubFile, choice_of, text_of
from xtl.tasks.prompts import label_line, letters, lines, option_lines, words_of

VARIANTS = ("easy", "hard")
OPTION_COLUMNS = ("prompt_option_a", "prompt_option_b", "prompt_option_c", "prompt_option_d")
REPO = "kellycyy/CulturalBench"
REVISION = "996d62a55f6a49c13596f0a31b772812a1aacd67"
HUB = {
    "easy": HubFile(
        repo=REPO,
        revision=REVISION,
        path="CulturalBench-Easy.csv",
        columns=("question_idx", "prompt_question", *OPTION_COLUMNS, "answer", "country"),
        other_paths=("CulturalBench-Easy/test/0000.parquet",),
    ),
    "hard": HubFile(
        repo=REPO,
        revision=REVISION,
        path="CulturalBench-Hard.csv",
        columns=("question_idx", "prompt_question", "prompt_option", "answer", "country"),
        other_paths=("CulturalBench-Hard/test/0000.parquet",),
    ),
}

JUDGING: dict[str, tuple[str, str, str, str]] = {
    "ar": ("الإجابة المقترحة", "هل هذه الإجابة صحيحة؟", "نعم", "لا"),
    "bn": ("প্রস্তাবিত উত্তর", "এই উত্তরটি কি সঠিক?", "হ্যাঁ", "না"),
    "cs": ("Navržená odpověď", "Je tato odpověď správná?", "Ano", "Ne"),
    "de": ("Vorgeschlagene Antwort", "Ist diese Antwort richtig?", "Ja", "Nein"),
    "en": ("Proposed answer", "Is this answer right?", "Yes", "No"),
    "es": ("Respuesta propuesta", "¿Es correcta esta respuesta?", "Sí", "No"),
    "fa": ("پاسخ پیشنهادی", "آیا این پاسخ درست است؟", "بله", "خیر"),
    "fr": ("Réponse proposée", "Cette réponse est-elle juste ?", "Oui", "Non"),
    "he": ("התשובה המוצעת", "האם התשובה הזאת נכונה?", "כן", "לא"),
    "hi": ("प्रस्तावित उत्तर", "क्या यह उत्तर सही है?", "हाँ", "नहीं"),
    "id": ("Jawaban yang diajukan", "Apakah jawaban ini benar?", "Ya", "Tidak"),
    "it": ("Risposta proposta", "Questa risposta è giusta?", "Sì", "No"),
    "ja": ("答えの候補", "この答えは正しいですか？", "はい", "いいえ"),
    "ko": ("제시된 답", "이 답이 맞습니까?", "네", "아니요"),
    "ms": ("Jawapan yang dicadangkan", "Adakah jawapan ini betul?", "Ya", "Tidak"),
    "ne": ("प्रस्तावित उत्तर", "के यो उत्तर सही हो?", "हो", "होइन"),
    "nl": ("Voorgesteld antwoord", "Is dit antwoord juist?", "Ja", "Nee"),
    "pl": ("Proponowana odpowiedź", "Czy ta odpowiedź jest poprawna?", "Tak", "Nie"),
    "pt": ("Resposta proposta", "Esta resposta está certa?", "Sim", "Não"),
    "ro": ("Răspuns propus", "Este corect acest răspuns?", "Da", "Nu"),
    "ru": ("Предложенный ответ", "Этот ответ верен?", "Да", "Нет"),
    "th": ("คำตอบที่เสนอ", "คำตอบนี้ถูกต้องหรือไม่", "ใช่", "ไม่ใช่"),
    "tl": ("Iminungkahing sagot", "Tama ba ang sagot na ito?", "Oo", "Hindi"),
    "tr": ("Önerilen cevap", "Bu cevap doğru mu?", "Evet", "Hayır"),
    "uk": ("Запропонована відповідь", "Чи правильна ця відповідь?", "Так", "Ні"),
    "ur": ("مجوزہ جواب", "کیا یہ جواب درست ہے؟", "ہاں", "نہیں"),
    "vi": ("Câu trả lời đề xuất", "Câu trả lời này có đúng không?", "Có", "Không"),
    "zh": ("给出的答案", "这个答案正确吗？", "是", "否"),
}
"""Our own words for the hard variant, by language: the label of the proposed answer, the question about it, yes, no."""


def easy_prompt(language: str, question: str, options: tuple[str, ...]) -> str:
    """Our prompt with all options.

    >>> print(easy_prompt("es", "¿Qué se come?", ("Pan", "Paja")))
    Pregunta: ¿Qué se come?
    (A) Pan
    (B) Paja
    Respuesta:
    """
    words = words_of(language)
    listed = option_lines(letters(len(options)), options)
    return lines(label_line(words, words.question, question), listed, words.open_answer)


def hard_prompt(language: str, question: str, option: str) -> str:
    """Our prompt with one proposed answer, to be judged.

    >>> print(hard_prompt("es", "¿Qué se come?", "Pan"))
    Pregunta: ¿Qué se come?
    Respuesta propuesta: Pan
    ¿Es correcta esta respuesta?
    (A) Sí
    (B) No
    Respuesta:
    """
    words, (label, ask, yes, no) = words_of(language), JUDGING[language]
    return lines(
        label_line(words, words.question, question),
        label_line(words, label, option),
        ask,
        option_lines(("A", "B"), (yes, no)),
        words.open_answer,
    )


@dataclass(frozen=True, kw_only=True)
class CulturalBench(Benchmark):
    """The task.

    Attributes:
        variant: "easy" (four options) or "hard" (judge each option).
        translations: folder of translated questions.
    """

    variant: str = "easy"
    translations: str | Path | None = None

    def check_direction(self, request: Request) -> None:
        """Refuse all but xx -> en."""
        check_choice("variant", self.variant, VARIANTS)
        if request.target_lang != "en":
            raise InputError(
                f"{self.name} has no {request.source_lang}->{request.target_lang}: "
                f"each language has its own questions, and they are published in "
                f"English; give target_lang='en' and the culture's language as source_lang"
            )

    def hub_side(self, request: Request, language: str, is_source: bool) -> Side:
        """See `Benchmark`. Both sides hold the questions of the culture's countries."""
        culture = request.source_lang
        table = read_translations(self.translations, language, self.name) if language != "en" else {}
        instances: list[Instance] = []
        for where, english, country, gold in self._questions(culture, request.folder):
            shown = translated(table, english, where) if table else english
            meta = {} if is_source else {"country": country, "culture": culture, "question_idx": english.id}
            if self.variant == "easy":
                text, keys = easy_prompt(language, shown.question, shown.options), letters(len(english.options))
                key = keys[gold]
                instances.append(Instance(english.id, text, where, key, keys, english.options, meta=meta))
                continue
            labels = JUDGING[language][2:]
            for index, option in enumerate(shown.options):
                text, key = hard_prompt(language, shown.question, option), "A" if index == gold else "B"
                instances.append(Instance(f"{english.id}/{index}", text, where, key, ("A", "B"), labels, meta=meta))
        if not instances:
            raise InputError(f"{REPO} has no question for the countries of {culture!r}")
        return Side(language, f"{REPO}@{REVISION[:8]}/CulturalBench-{self.variant.title()}", instances, matched=True)

    @known_keywords()
    def to_translate(self, culture: str, path: str | Path, folder: str | Path | None = None) -> int:
        """Write the questions of a culture, in English, to be translated; returns how many there are."""
        culture = normalise_language(culture, self.languages, "culture")
        check_choice("variant", self.variant, VARIANTS)
        found = self._questions(culture, Path(folder) if folder is not None else None)
        return write_questions(path, (question for _, question, _, _ in found))

    def _questions(self, culture: str, folder: Path | None) -> Iterator[tuple[str, Question, str, int]]:
        """Where, question, country and index of the right option of each question of a culture."""
        hard: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for row, values in enumerate(HUB[self.variant].rows("", folder)):
            where = f"{REPO} {self.variant}, row {row}"
            found = culture_of(text_of(values, "country", where))
            if found is None or found[0] != culture:
                continue
            if self.variant == "hard":
                hard.setdefault(str(values["question_idx"]), []).append((where, values))
                continue
            options = tuple(text_of({c: str(values[c])}, c, where) for c in OPTION_COLUMNS)
            gold = choice_of({"answer": str(values["answer"]).strip().upper()}, "answer", letters(4), where)
            question = Question(str(values["question_idx"]), text_of(values, "prompt_question", where), options)
            yield where, question, values["country"], gold
        for key, group in hard.items():
            where, first = group[0]
            options = tuple(text_of({"prompt_option": str(v["prompt_option"])}, "prompt_option", w) for w, v in group)
            right = [i for i, (_, v) in enumerate(group) if str(v["answer"]).strip().lower() in ("true", "1")]
            if len(right) != 1:
                raise InputError(f"{where}: question {key} has {len(right)} right options, expected 1")
            yield where, Question(key, text_of(first, "prompt_question", where), options), first["country"], right[0]


CULTURAL_BENCH = CulturalBench(
    name="cultural_bench",
    description="Questions about the daily life of countries and regions (CulturalBench).",
    kind="culture",
    direction="xx->en",
    languages=tuple(JUDGING),
    score="options",
    text_scores=("paper", "strict"),
    release=None,
    hub_split="test",
)
"""The task."""
