"""Words and punctuation of our own prompts, in every language of the public benchmarks.

The release of the paper has its own prompts, which are read as they are. Public benchmarks come without any: ours are short
forms of labelled lines ("Question: ...", "Answer:"), written in each language, alike in all of them. They were not reviewed by
native speakers of all.

>>> print(lines(label_line(words_of("fr"), words_of("fr").question, "Où ?"), words_of("fr").open_answer))
Question : Où ?
Réponse :
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from xtl.errors import InputError, check_choice

LETTERS = tuple(string.ascii_uppercase)


@dataclass(frozen=True)
class Words:
    """One language's labels; `colon` holds the spaces around it, as the language has them."""

    question: str
    answer: str
    colon: str = ": "

    @property
    def open_answer(self) -> str:
        """The last line of a prompt, left open; it doesn't end in a space."""
        return f"{self.answer}{self.colon}".rstrip()


WORDS: dict[str, Words] = {
    "am": Words("ጥያቄ", "መልስ"),
    "ar": Words("السؤال", "الجواب"),
    "bg": Words("Въпрос", "Отговор"),
    "bn": Words("প্রশ্ন", "উত্তর"),
    "cs": Words("Otázka", "Odpověď"),
    "da": Words("Spørgsmål", "Svar"),
    "de": Words("Frage", "Antwort"),
    "el": Words("Ερώτηση", "Απάντηση"),
    "en": Words("Question", "Answer"),
    "es": Words("Pregunta", "Respuesta"),
    "et": Words("Küsimus", "Vastus"),
    "fa": Words("پرسش", "پاسخ"),
    "fi": Words("Kysymys", "Vastaus"),
    "fr": Words("Question", "Réponse", " : "),
    "he": Words("שאלה", "תשובה"),
    "hi": Words("प्रश्न", "उत्तर"),
    "ht": Words("Kesyon", "Repons"),
    "hu": Words("Kérdés", "Válasz"),
    "id": Words("Pertanyaan", "Jawaban"),
    "it": Words("Domanda", "Risposta"),
    "ja": Words("質問", "答え", "："),
    "km": Words("សំណួរ", "ចម្លើយ", "៖ "),
    "ko": Words("질문", "답변"),
    "ms": Words("Soalan", "Jawapan"),
    "ne": Words("प्रश्न", "उत्तर"),
    "nl": Words("Vraag", "Antwoord"),
    "no": Words("Spørsmål", "Svar"),
    "pl": Words("Pytanie", "Odpowiedź"),
    "pt": Words("Pergunta", "Resposta"),
    "qu": Words("Tapukuy", "Kutichiy"),
    "ro": Words("Întrebare", "Răspuns"),
    "ru": Words("Вопрос", "Ответ"),
    "sv": Words("Fråga", "Svar"),
    "sw": Words("Swali", "Jibu"),
    "ta": Words("கேள்வி", "பதில்"),
    "th": Words("คำถาม", "คำตอบ"),
    "tl": Words("Tanong", "Sagot"),
    "tr": Words("Soru", "Cevap"),
    "uk": Words("Запитання", "Відповідь"),
    "ur": Words("سوال", "جواب"),
    "vi": Words("Câu hỏi", "Câu trả lời"),
    "zh": Words("问题", "答案", "："),
    "zh_cn": Words("问题", "答案", "："),
    "zh_hk": Words("問題", "答案", "："),
    "zh_tw": Words("問題", "答案", "："),
}
"""Our words, by language."""


def words_of(language: str) -> Words:
    """The words of a language.

    Raises:
        InputError: a language that has none.
    """
    return WORDS[check_choice("language", language, WORDS)]


def label_line(words: Words, label: str, value: str) -> str:
    """A labelled line, with the colon of the language.

    >>> label_line(words_of("zh"), "前提", "他走了。")
    '前提：他走了。'
    """
    return f"{label}{words.colon}{value}"


def option_lines(keys: Sequence[str], labels: Sequence[str]) -> str:
    """One line an option.

    >>> option_lines(("A", "B"), ("Yes", "No"))
    '(A) Yes\\n(B) No'
    """
    return "\n".join(f"({key}) {label}" for key, label in zip(keys, labels, strict=True))


def lines(*parts: str) -> str:
    """The parts of a prompt, one below the other.

    >>> lines("a", "b")
    'a\\nb'
    """
    return "\n".join(parts)


def letters(count: int) -> tuple[str, ...]:
    """Keys of options: A, B, C, ...

    Raises:
        InputError: more than there are letters.

    >>> letters(3)
    ('A', 'B', 'C')
    """
    if count > len(LETTERS):
        raise InputError(f"{count} options are too many: their keys are the {len(LETTERS)} letters A to Z")
    return LETTERS[:count]
