"""A user's own file: what is read, and each fault with its line."""

import csv
import difflib
import json
import unicodedata

import pandas as pd
import pytest

from xtl.errors import InputError
from xtl.tasks import Task, UserData, get_task, user_data, user_files
from xtl.tasks.user_data import load_pairs

ROW = {"id": "a", "source": "Two and two is", "target": "Dos y dos son", "source_lang": "en", "target_lang": "es"}
CHOICE = ROW | {"options": [" cuatro", " cinco"], "gold": 0, "labels": ["four", "five"], "topic": "sums"}
FREE = ROW | {"id": "b", "answers": ["cuatro", "4"]}


def jsonl(path, *rows):
    text = "".join(row + "\n" if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def test_options_that_run_into_their_prompt_are_a_warning(tmp_path):
    together = CHOICE | {"id": "c", "options": ["cuatro", " cinco"]}
    with pytest.warns(
        UserWarning, match="mine.jsonl: 1 of 4 answers or options follow .* such as 'Dos y dos soncuatro'"
    ):
        get_task(str(jsonl(tmp_path / "mine.jsonl", CHOICE, together))).pairs("en", "es")


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
    (CHOICE | {"gold": 2}, "gold 2 is no option; valid: an index from 0 to 1"),
    (CHOICE | {"gold": "seis"}, "gold 'seis' is no option; valid: an index from 0 to 1, or one of"),
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


def in_every_format(folder, row, gold):
    """The pair of a row with this gold in JSONL, CSV and Parquet, or the message of the error."""
    rows = [row | {"gold": gold}]
    jsonl(folder / "mine.jsonl", *rows)
    pd.DataFrame(rows).assign(options=lambda t: t["options"].map(json.dumps)).to_csv(folder / "mine.csv", index=False)
    pd.DataFrame(rows).to_parquet(folder / "mine.parquet")
    for suffix in (".jsonl", ".csv", ".parquet"):
        try:
            yield load_pairs(folder / f"mine{suffix}")[0].gold
        except InputError as error:
            yield str(error)


@pytest.mark.parametrize("gold", [1, "1", 1.0, "1.0", " cinco", "cinco"])
@pytest.mark.parametrize("options", [[" cuatro", " cinco"]])
def test_a_gold_means_the_same_in_every_format(tmp_path, gold, options):
    row = {name: value for name, value in CHOICE.items() if name != "labels"} | {"options": options}
    assert list(in_every_format(tmp_path, row, gold)) == [1, 1, 1]


@pytest.mark.parametrize("gold", [1, "1", 1.0, "1.0", 2, "2"])
@pytest.mark.parametrize("options", [[" 1", " 2", " 3"], ["1", "2", "3"], [" 1.0", " 2.0", " 3.0"], ["3", "2", "1"]])
def test_a_gold_of_two_readings_is_refused_with_both_or_they_agree(tmp_path, gold, options):
    row = {name: value for name, value in CHOICE.items() if name != "labels"} | {"options": options}
    number = int(float(gold))
    as_option = [float(option) for option in options].index(number)
    for found in in_every_format(tmp_path, row, gold):
        if as_option == number:
            assert found == number
        else:
            assert "is ambiguous" in found
            assert repr(options[number]) in found
            assert repr(options[as_option]) in found


def test_gold_index_and_the_option_with_its_space_say_which(tmp_path):
    row = {name: value for name, value in CHOICE.items() if name not in ("labels", "gold")} | {"options": [" 1", " 2"]}
    assert list(in_every_format(tmp_path, row, " 1")) == [0, 0, 0]
    for value in (1, "1", 1.0):
        assert load_pairs(jsonl(tmp_path / "mine.jsonl", row | {"gold_index": value}))[0].gold == 1
    for more, message in [
        ({"gold_index": 2}, "gold_index 2 is no option; valid: an index from 0 to 1"),
        ({"gold_index": " 1x"}, "gold_index ' 1x' is no option"),
        ({"gold_index": True}, "gold_index True is no option"),
        ({"gold_index": 0, "gold": 0}, "give gold or gold_index, not both"),
    ]:
        with pytest.raises(InputError, match=message):
            load_pairs(jsonl(tmp_path / "mine.jsonl", row | more))


@pytest.mark.parametrize("gold", [2.5, 2, -1, "-1", 1e300, "1_0", "٠", "nan", True, [0]])
def test_a_gold_that_is_no_option_is_refused_in_every_format(tmp_path, gold):
    row = {name: value for name, value in CHOICE.items() if name != "labels"}
    for found in in_every_format(tmp_path, row, gold):
        assert "is no option" in str(found) or "gold must be" in str(found)  # in a CSV "nan" is a gap of pandas's


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_unicode_forms_of_gold_and_option_are_the_same(tmp_path, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    options = [unicodedata.normalize(form, text) for text in (" mañana", " avión", " ไทย", " 각")]
    row = {name: value for name, value in CHOICE.items() if name != "labels"} | {"options": options}
    for place, option in enumerate(options):
        for gold in (option, unicodedata.normalize(other, option), unicodedata.normalize(other, option).strip()):
            assert list(in_every_format(tmp_path, row, gold)) == [place] * 3
        assert load_pairs(tmp_path / "mine.jsonl")[0].options == tuple(options)  # the prompt's own form is kept


def test_texts_that_look_alike_are_told_with_their_code_points(tmp_path):
    row = {name: value for name, value in CHOICE.items() if name != "labels"}
    with pytest.raises(InputError, match=r"' cinco' is not the same: from character 0 on U\+FF43 .* against U\+0063"):
        load_pairs(jsonl(tmp_path / "mine.jsonl", row | {"gold": "ｃinco"}))
    with pytest.raises(InputError, match=r"the same characters: from character 2 on U\+00E9 against U\+0065 U\+0301"):
        load_pairs(jsonl(tmp_path / "mine.jsonl", row | {"options": [" té", " te\u0301"], "gold": 0}))


def test_suggestions_are_looked_for_once_a_name_not_in_every_row(tmp_path, monkeypatch):
    looked_up = []
    real = difflib.get_close_matches
    monkeypatch.setattr(difflib, "get_close_matches", lambda *a, **k: looked_up.append(a[0]) or real(*a, **k))
    rows = [CHOICE | {"id": f"q{i}", "a column of mine": i} for i in range(50)]
    load_pairs(jsonl(tmp_path / "mine.jsonl", *rows))
    assert looked_up.count("a column of mine") <= 1


@pytest.mark.parametrize("stored", ["text", "dictionary"])
def test_a_parquet_that_unpacks_to_more_than_the_memory_is_not_read(tmp_path, monkeypatch, stored):
    """A dictionary holds a long text once, whatever the number of rows: the file's own size in bytes is small."""
    monkeypatch.setattr(user_files, "MOST_BYTES", 10**7)
    path = tmp_path / "mine.parquet"
    rows = pd.DataFrame([CHOICE | {"source": "x" * 10_000}] * 20_000).assign(id=range(20_000))
    if stored == "dictionary":  # which it also is when it is read
        rows["source"] = rows["source"].astype("category")
    rows.to_parquet(path)
    assert path.stat().st_size < 10**6
    with pytest.raises(InputError, match="unpacks to more than 0 GB, the most that is read"):
        load_pairs(path)
    monkeypatch.setattr(user_files, "MOST_VALUES", 1000)
    with pytest.raises(InputError, match="values; at most 1,000 are read"):
        load_pairs(path)


def test_ten_thousand_options_are_checked_at_once_and_a_million_are_refused():
    many = {k: v for k, v in CHOICE.items() if k != "labels"} | {"options": [f" {n}x" for n in range(10**6)]}
    with pytest.raises(InputError, match="options are 1,000,000; a question has at most 10,000"):
        user_data.pair_of(many)
    options = [f" {number}x" for number in range(9_999)]
    with pytest.raises(InputError, match="options must differ; repeated: ' 3x'"):
        user_data.pair_of({k: v for k, v in CHOICE.items() if k != "labels"} | {"options": [*options, " 3x"]})
