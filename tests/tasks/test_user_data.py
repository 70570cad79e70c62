"""A user's own file: what is read, and each fault with its line."""

import csv
import json

import pandas as pd
import pytest

from xtl.errors import InputError
from xtl.tasks import Task, UserData, get_task
from xtl.tasks.user_data import load_pairs

ROW = {"id": "a", "source": "Two and two is", "target": "Dos y dos son", "source_lang": "en", "target_lang": "es"}
CHOICE = ROW | {"options": [" cuatro", " cinco"], "gold": 0, "labels": ["four", "five"], "topic": "sums"}
FREE = ROW | {"id": "b", "answers": ["cuatro", "4"]}


def jsonl(path, *rows):
    text = "".join(row + "\n" if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_becomes_a_pair_and_other_columns_are_kept(tmp_path):
    choice, free = load_pairs(jsonl(tmp_path / "mine.jsonl", CHOICE, "", FREE))
    assert choice.options == (" cuatro", " cinco")
    assert choice.gold == 0
    assert choice.labels == ("four", "five")
    assert choice.meta == {"topic": "sums"}
    assert choice.id == "a"
    assert free.answer == " cuatro"
    assert free.answers == ("cuatro", "4")


def test_jsonl_csv_and_parquet_give_the_same_pairs(tmp_path):
    rows = [CHOICE | {"distribution": [0.75, 0.25]}, FREE]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (tmp_path / "mine.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
    pd.DataFrame(rows).to_parquet(tmp_path / "mine.parquet")
    expected = load_pairs(jsonl(tmp_path / "mine.jsonl", *rows))
    assert load_pairs(tmp_path / "mine.csv") == expected
    assert load_pairs(tmp_path / "mine.parquet") == expected


@pytest.mark.parametrize("gold", [1, "1", " cinco", "cinco", 1.0])
def test_gold_is_an_index_or_the_option(tmp_path, gold):
    assert load_pairs(jsonl(tmp_path / "mine.jsonl", CHOICE | {"gold": gold}))[0].gold == 1


def test_answers_continue_the_prompt_as_its_script_needs(tmp_path):
    row = FREE | {"target": "答案：", "target_lang": "zh", "answers": ["四"]}
    assert load_pairs(jsonl(tmp_path / "mine.jsonl", row))[0].answer == "四"
    pair = load_pairs(jsonl(tmp_path / "mine.jsonl", ROW | {"answer": " cuatro"}))[0]
    assert pair.answer == " cuatro"
    assert pair.answers == ("cuatro",)


def test_a_file_is_a_task(tmp_path):
    rows = [CHOICE | {"id": f"q{i}"} for i in range(9)]
    rows += [CHOICE | {"id": "q0", "source_lang": "es", "target_lang": "en"}]
    task = get_task(str(jsonl(tmp_path / "mine.jsonl", *rows)))
    assert isinstance(task, UserData)
    assert isinstance(task, Task)
    assert task.name == "mine"
    assert task.languages == ("en", "es")
    assert (task.kind, task.direction, task.score, task.text_scores) == ("user", "any", "options", ("strict",))
    assert len(task) == 10
    pairs = task.pairs("eng", "es-MX", seed=1)
    assert len(pairs) == 9
    assert task.pairs("en", "es", seed=1, limit=4) == pairs[:4]
    assert [pair.id for pair in task.pairs("en", "es", seed=None)] == [f"q{i}" for i in range(9)]
    with pytest.raises(InputError, match=r"has no row en->en; it has en->es, es->en"):
        task.pairs("en", "en")
    with pytest.raises(InputError, match="unknown target_lang 'de'; valid: en, es"):
        task.pairs("en", "de")
    assert UserData(jsonl(tmp_path / "qa.jsonl", FREE)).text_scores == ("strict", "em", "f1")
    assert UserData(jsonl(tmp_path / "both.jsonl", FREE, CHOICE)).score == "mixed"


BAD_ROWS = [
    ("{", "malformed JSON"),
    ("[1]", r"expected an object, got \[1\]"),
    (ROW, "nothing that is right: give options with gold, or answer, or answers"),
    ({k: v for k, v in CHOICE.items() if k != "target"}, "no target"),
    (CHOICE | {"target": "  "}, "target must be a non-empty text, got '  '"),
    (CHOICE | {"target_lang": 7}, "target_lang must be a non-empty text, got 7"),
    (CHOICE | {"gold": 2}, "gold 2 is no option; valid: 0 to 1"),
    (CHOICE | {"gold": "seis"}, "gold 'seis' is no option; valid: an index from 0, or one of"),
    (CHOICE | {"gold": True}, "gold True is no option"),
    (CHOICE | {"gold": None}, "gold must be the index of the right option"),
    (CHOICE | {"options": " cuatro"}, "options must be a list"),
    (CHOICE | {"options": []}, "options must be a list with something in it"),
    (CHOICE | {"options": [" x", " x"]}, "options must differ; repeated: ' x'"),
    (CHOICE | {"labels": ["four"]}, "labels has 1 items for 2 options"),
    (CHOICE | {"distribution": [0.5, 0.1]}, "distribution must be shares that add up to 1"),
    (CHOICE | {"distribution": ["a", "b"]}, "distribution must be numbers from 0 to 1"),
    (CHOICE | {"distribution": [0.5, float("nan")]}, r"distribution must be numbers from 0 to 1, got \[0.5, nan\]"),
    (CHOICE | {"distribution": [float("inf"), 0.0]}, "distribution must be numbers from 0 to 1"),
    (CHOICE | {"distribution": [10**400, 0]}, "distribution must be numbers from 0 to 1"),
    (CHOICE | {"distribution": [0, 0]}, "distribution must be shares that add up to 1"),
    (CHOICE | {"target": "\ud800 s"}, r"half a character, \\ud800"),
    ("[" * 100_000, "JSON nested too deeply"),
    ('{"gold": 1' + "0" * 5000 + "}", "a whole number of too many digits"),
    (CHOICE | {"answer": "cuatro"}, "give options with gold, or answer, not both"),
    (FREE | {"answers": [""]}, "answers must be a list of non-empty strings"),
    (ROW | {"answer": ""}, "nothing that is right"),
    (
        {("taget" if k == "target" else k): v for k, v in CHOICE.items()},
        r"unknown column 'taget' \(did you mean 'target'\?\)",
    ),
    (CHOICE, r"id 'a' is there twice for en->es \(first: .*line 1\)"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_faulty_row_is_named_with_its_line(tmp_path, row, message):
    path = jsonl(tmp_path / "mine.jsonl", CHOICE, "", row)
    with pytest.raises(InputError, match=rf"mine\.jsonl, line 3: .*{message}") as caught:
        load_pairs(path)
    assert "\n" not in str(caught.value)


def test_a_language_has_one_code_however_rows_write_it(tmp_path):
    codes = [("en", "es"), ("EN", "ES"), ("eng", "spa"), (" en-US ", "es_ES"), ("en", "und"), ("en", "tlh")]
    rows = [FREE | {"id": f"q{i}", "source_lang": s, "target_lang": t} for i, (s, t) in enumerate(codes)]
    task = UserData(jsonl(tmp_path / "mine.jsonl", *rows))
    assert task.languages == ("en", "es", "und", "tlh")
    assert [pair.id for pair in task.pairs("en", "es", seed=None)] == ["q0", "q1", "q2", "q3"]
    assert task.pairs("eng", "ES-es") == task.pairs("en", "es")


def test_scripts_and_regions_that_are_not_the_usual_ones_stay_apart(tmp_path):
    codes = ["zh", "zh-CN", "zh-Hans", "zho", "zh-TW", "zh_Hant", "zh-HK", "pt-BR", "pt-PT", "deu"]
    rows = [FREE | {"id": f"q{i}", "target_lang": code} for i, code in enumerate(codes)]
    task = UserData(jsonl(tmp_path / "mine.jsonl", *rows))
    assert task.languages == ("en", "zh", "zh_Hant", "zh_HK", "pt", "pt_PT", "de")
    assert len(task.pairs("en", "zh")) == 4
    assert len(task.pairs("en", "zh-TW")) == 2
    assert task.pairs("en", "pt-PT")[0].target_lang == "pt_PT"


def test_a_seed_is_a_whole_number_or_none(tmp_path):
    task = UserData(jsonl(tmp_path / "mine.jsonl", FREE))
    with pytest.raises(InputError, match="seed must be a whole number, got True; None keeps the order"):
        task.pairs("en", "es", seed=True)


def test_a_csv_says_what_it_cannot_hold(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("source,target,source,source_lang,target_lang,answer\na,b,c,en,es,d\n")
    with pytest.raises(InputError, match=r"mine\.csv, line 1: columns given more than once: source$"):
        load_pairs(path)
    path.write_text(f"source,target,source_lang,target_lang,answer\na,b,en,es,d\n{'a' * 200_000},b,en,es,d\n")
    with pytest.raises(InputError, match=r"mine\.csv, line 3: a field of more than 131,072 characters; JSONL and"):
        load_pairs(path)
    path.write_text('source,target,source_lang,target_lang,answers\na,b,en,es,"[""\\ud800""]"\n')
    with pytest.raises(InputError, match=r"line 2: answers must be a list .*: half a character"):
        load_pairs(path)


def test_a_faulty_csv_row_is_named_with_its_line_even_after_quoted_line_breaks(tmp_path):
    header = "source,target,source_lang,target_lang,answer\n"
    path = tmp_path / "mine.csv"
    path.write_text(header + '"a\nb",c,en,es,d\na,b,en\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.csv, line 4: another number of fields than the header"):
        load_pairs(path)
    path.write_text(header + '"a\nb",c,en,es,\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.csv, line 2: nothing that is right"):
        load_pairs(path)
    path.write_text(header + '"a,c,en,es,\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.csv, line 2: malformed CSV"):
        load_pairs(path)


def test_a_faulty_parquet_row_is_named(tmp_path):
    path = tmp_path / "mine.parquet"
    pd.DataFrame([CHOICE, CHOICE | {"id": "c", "gold": 5}]).to_parquet(path)
    with pytest.raises(InputError, match=r"mine\.parquet, row 1: gold 5 is no option"):
        load_pairs(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"mine\.parquet is no Parquet file"):
        load_pairs(path)


def test_files_that_cannot_be_read_are_errors(tmp_path):
    with pytest.raises(InputError, match="no file"):
        get_task(str(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match="no file"):
        load_pairs(tmp_path / "none.csv")
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match=r"unknown kind of file; valid: \.jsonl, \.csv, \.parquet"):
        load_pairs(tmp_path / "mine.txt")
    with pytest.raises(InputError, match="has no rows"):
        load_pairs(jsonl(tmp_path / "empty.jsonl"))
    (tmp_path / "bad.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"bad\.jsonl is not UTF-8"):
        load_pairs(tmp_path / "bad.jsonl")
