"""Words around an answer, in the languages of the benchmarks: what leads up to it, what joins two answers, what denies one.

Each list holds phrases that `xtl.scoring.strict` compares token by token. A language that is missing costs only those outputs
that put words before a bare tag or label ("The answer is B"): a tag in brackets, and an answer that comes first, need no words.
"""

from __future__ import annotations

from functools import lru_cache

from xtl.scoring.normalise import language, words

_NAMES = """
option, choice, alternative, number, letter | opción, alternativa, letra | choix, numéro, lettre |
auswahl, möglichkeit, buchstabe | opção, opções | opzione, scelta |
вариант, вариантом, ответом, опция, пункт, буква | варіант, літера | опция | επιλογή | الخيار, خيار | विकल्प |
آپشن, اختیار | ตัวเลือก, ข้อ, ตัวเลือกที่ | seçenek, şık | lựa chọn, phương án, đáp án | chaguo |
pilihan, opsi | 选项, 選項, 第 | 選択肢, オプション | 선택지, 보기, 옵션 | optsioon, valik, variant | விருப்பம், விடை | አማራጭ |
alternativ, svarsalternativ | opsyon, pagpipilian | opcija | אפשרות | বিকল্প | opțiunea, varianta
"""

_LEADS = """
is, be, answer, answers, choose, think, select, pick, say, as, chose, selected |
es, sería, respuesta, elijo, elegiría, seleccionaría |
est, serait, réponse, choisis, choisirais, sélectionne, sélectionnerais |
ist, wäre, lautet, antwort, wähle, nehme | é, seria, resposta, escolho, escolheria |
è, sarebbe, risposta, scelgo, sceglierei | ответ, это, выбираю, выбрал бы, будет, является |
відповідь, це, обираю, буде | отговор, отговорът, е, избирам | είναι, απάντηση, επιλέγω |
الإجابة, الجواب, إجابتي, هي, هو, أختار | उत्तर, जवाब, है, चुनूंगा | جواب, ہے, ہوگا | คือ, ตอบ, คำตอบ, เลือก |
cevap, cevabım, yanıt, yanıtım | là, trả lời, chọn | ni, jibu, jibu langu, ningechagua |
adalah, jawaban, jawabannya, memilih | 是, 为, 為, 选, 選, 选择, 選擇, 答案 | は, 答え, 回答, 正解 | 답은, 정답은, 답 |
vastus, on, valin | பதில் | መልስ, መልሴ | är, svaret, svar, väljer | ay, sagot, ang sagot ko | repons, se |
este, răspunsul |
es la, es el, sería la, elijo la, elegiría la | est la, est le, serait la, choisis la, choisirais la |
ist die, ist das, wäre die, wähle die, nehme die | é a, seria a, escolho a, escolheria a |
è la, sarebbe la, scelgo la, sceglierei la | είναι η, είναι το, επιλέγω την, επιλέγω το
"""

_AFTER = """
option, seçeneği, şıkkı, 选项, 選項, 項, 项, 号, 番, 번, 번입니다, 입니다, です, विकल्प, है, chaguo
"""

_JOINS = """
and, or | y, o, u | et, ou | und, oder | e | i, eller, och, og | и, или | та, або | και, ή | و, أو | और, या |
اور, یا | และ, หรือ | ve, veya | và, hoặc | na, au, ama | dan, atau | 和, 或, 或者, 与, 及 | と, か, または | 또는, 과, 와 |
ja, või | மற்றும், அல்லது | እና, ወይም | sau, și | ni
"""

_DENIALS = """
not, never, neither, cannot, t, isnt, except | no | pas, ne, jamais | nicht, kein, keine, weder | não, nem |
non, né | не, ни | ні | δεν, όχι, μη | لا, ليس, ليست, غير | नहीं | نہیں | ไม่, ไม่ใช่ | không | sio | bukan, tidak |
不, 非, 没 | ikke, inte, ei | አይደለም | hindi | nu
"""

_DENIALS_IN = {"ca": "ni", "es": "ni", "fr": "ni"}  # Swahili "ni" is "is"


def _phrases(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(words(phrase) for line in text.split("|") for phrase in line.split(",") if phrase.strip())


NAMES = _phrases(_NAMES)
"""Words for "option": a bare tag right after one is an answer."""

LEADS = _phrases(_LEADS)
"""Words such as "answer" and "is": a tag or a label may follow."""

AFTER = _phrases(_AFTER)
"""Words that may follow a bare tag directly ("B seçeneği")."""

JOINS = _phrases(_JOINS)
"""Words for "and" and "or": with another option behind them the answer names two."""

DENIALS = _phrases(_DENIALS)
"""Words for "not", whatever the language: what follows is no answer."""

LONGEST = max(len(phrase) for phrases in (NAMES, LEADS, AFTER, JOINS, DENIALS) for phrase in phrases)


@lru_cache
def denials(lang: str | None) -> frozenset[tuple[str, ...]]:
    """Words for "not" in texts of a language: `DENIALS`, and those that mean something else in another language.

    >>> ("ni",) in denials("es-MX"), ("ni",) in denials("sw"), ("ni",) in LEADS
    (True, False, True)
    """
    return DENIALS | _phrases(_DENIALS_IN.get(language(lang), ""))
