"""Options in many languages and scripts, for the properties of scores."""

from __future__ import annotations

from xtl.pairs import ParallelPair

LABELS = {
    "en": ("Entail", "Neutral", "Contradict"),
    "ar": ("يستلزم", "محايد", "يتناقض"),
    "hi": ("निहित", "तटस्थ", "विरोधाभास"),
    "zh": ("蕴涵", "中立", "矛盾"),
    "ja": ("含意", "中立です", "ムジュン"),
    "th": ("สนับสนุน", "เป็นกลาง", "ขัดแย้ง"),
    "ru": ("Следствие", "Нейтральное", "Противоречие"),
    "el": ("Συνεπάγεται", "Ουδέτερο", "Αντίφαση"),
    "tr": ("Gerektirir", "Tarafsız", "Çelişkili"),
    "sw": ("Inajumuisha", "Kuegemea upande wowote", "Kupingana"),
    "ta": ("உட்படுத்துகிறது", "நடுநிலை", "முரண்படுகிறது"),
    "ko": ("함의", "중립", "모순"),
    "he": ("גורר", "ניטרלי", "סותר"),
    "vi": ("Kéo theo", "Trung lập", "Mâu thuẫn"),
    "de": ("Nach sich ziehen", "Neutral", "Größer"),
    "am": ("ያስከትላል", "ገለልተኛ", "ይቃረናል"),
}

NUMBERS = (" (1)", " (2)", " (3)")
LETTERS = (" (A)", " (B)", " (C)")


def question(lang: str, gold: int = 0, options: tuple[str, ...] = NUMBERS) -> ParallelPair:
    return ParallelPair("s", "t", "en", lang, options=options, gold=gold, labels=LABELS[lang])
