from __future__ import annotations

import pandas as pd
import pytest

import xtl
from xtl.tasks.user_data import load_pairs

ROWS = [
    {"en": "Two and two is", "es": "Dos y dos son", "right": " cuatro", "wrong": " cinco", "level": 1, "key": "a"},
    {"en": "One and two is", "es": "Uno y dos son", "right": " tres", "wrong": " diez", "level": 2, "key": "b"},
]
NAMED = {"source": "en", "target": "es", "options": ["right", "wrong"], "gold": "right", "id": "key"}


def as_rows(tmp_path):
    return ROWS


def as_frame(tmp_path):
    return pd.DataFrame(ROWS)


def as_csv(tmp_path):
    pd.DataFrame(ROWS).to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


def as_parquet(tmp_path):
    pd.DataFrame(ROWS).to_parquet(tmp_path / "mine.parquet")
    return str(tmp_path / "mine.parquet")


def as_dataset(tmp_path):
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_list(ROWS)


@pytest.mark.parametrize("made", [as_rows, as_frame, as_csv, as_parquet, as_dataset])
def test_any_table_gives_the_same_pairs(made, tmp_path):
    pairs = xtl.pairs_from(made(tmp_path), **NAMED)
    assert [(p.source, p.target, p.direction, p.id, p.gold) for p in pairs] == [
        ("Two and two is", "Dos y dos son", "en->es", "a", 0),
        ("One and two is", "Uno y dos son", "en->es", "b", 0),
    ]
    assert pairs[1].options == (" tres", " diez")
    assert str(pairs[1].meta["level"]) == "2"


def test_columns_that_have_their_names_need_no_argument(tmp_path):
    (tmp_path / "mine.jsonl").write_text(
        '{"id": "q", "source": "Hot is", "target": "Heiss ist", "source_lang": "en", "target_lang": "de", "answer": " kalt"}\n'
    )
    assert xtl.pairs_from(tmp_path / "mine.jsonl") == load_pairs(tmp_path / "mine.jsonl")


def test_a_list_of_options_and_languages_in_columns():
    rows = [{"q1": "a", "q2": "b", "choices": [" x", " y"], "truth": 1, "from": "EN", "to": "deu"}]
    [pair] = xtl.pairs_from(
        rows, source="q1", target="q2", options="choices", gold="truth", source_lang="from", target_lang="to"
    )
    assert (pair.direction, pair.options, pair.gold, pair.meta) == ("en->de", (" x", " y"), 1, {})
    [pair] = xtl.pairs_from(
        rows, source="q1", target="q2", options="choices", gold="truth", source_lang="en", target_lang="fr"
    )
    assert pair.direction == "en->fr"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": "eng"}, "source: the table has no column 'eng' (did you mean 'en'?); it has: en, es, right"),
        ({"options": ["right", "wrng"]}, "options: the table has no column 'wrng' (did you mean 'wrong'?)"),
        ({"gold": "nothing"}, "gold: the table has no column 'nothing'; it has"),
        ({"source": "right"}, "no source_lang; give a code (source_lang='en') or a column"),
        ({"target_lang": "Spanish!"}, "target_lang 'Spanish!' is neither a column nor a language code"),
        (
            {"label": "level"},
            "unknown argument 'label' (did you mean 'labels'?); valid: source, target, source_lang, target_",
        ),
        (
            {"option": "right"},
            "unknown argument 'option' (did you mean 'options'?); valid: source, target, ",
        ),
        ({"target_lang": "Spanish"}, "code (target_lang='es') or a column"),
        ({"source_lang": "english"}, "code (source_lang='en') or a column"),
        ({"target_lang": "Español"}, "code (target_lang='es') or a column"),
        ({"target_lang": "日本語"}, "code (target_lang='ja') or a column"),
        ({"gold": "level"}, "row 1: gold 2 is no option"),
        ({"options": 5}, "options must be the name of a column, or a list of names, got 5"),
        ({"source": 0}, "source: the table has no column 0"),
    ],
)
def test_a_mistake_is_one_clear_line(change, says, untyped):
    with pytest.raises(xtl.InputError) as error:
        xtl.pairs_from(ROWS, **(NAMED | change))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_of_one_name_are_refused_where_pandas_would_keep_the_last():
    frame = pd.DataFrame(ROWS)
    with pytest.raises(xtl.InputError, match="the table has columns of one name: es; rename them"):
        xtl.pairs_from(pd.concat([frame, frame[["es"]]], axis=1), **NAMED)


def test_missing_values_of_any_kind_are_missing():
    frame = pd.DataFrame(ROWS).assign(level=[pd.NA, 1], when=[pd.NaT, pd.Timestamp("2020-01-01")])
    assert [sorted(pair.meta) for pair in xtl.pairs_from(frame, **NAMED)] == [[], ["level", "when"]]


def test_tables_of_polars_and_arrow_are_rows():
    class Frame:
        columns = tuple(ROWS[0])

        def to_dicts(self):
            return ROWS

    arrow = pytest.importorskip("pyarrow").Table.from_pylist(ROWS)
    assert xtl.pairs_from(Frame(), **NAMED) == xtl.pairs_from(arrow, **NAMED) == xtl.pairs_from(ROWS, **NAMED)


def test_another_separator_is_named(tmp_path):
    (tmp_path / "mine.csv").write_text("en;es;right\nTwo is;Dos es; dos\n")
    with pytest.raises(xtl.InputError, match="its fields are parted by ';', not by ','"):
        xtl.pairs_from(tmp_path / "mine.csv", source="en", target="es", answer="right")


def test_an_answer_without_its_space_is_told():
    with pytest.warns(
        UserWarning, match="1 of 1 answers or options follow their prompt .* 'Dos y dos soncuatro'.*' cuatro'"
    ):
        xtl.pairs_from([ROWS[0] | {"right": "cuatro"}], source="en", target="es", answer="right")


@pytest.mark.parametrize("table", [3, {"en": ["a"]}, [1], None])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(xtl.InputError, match=r"the table|table must be"):
        xtl.pairs_from(table, source="en", target="es", answer="right")


@pytest.mark.parametrize("name", ["none.csv", "none.jsonl", "none.parquet", ".csv"])
def test_a_file_that_is_not_there_is_named(name, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / name, tmp_path / "folder.csv"):
        with pytest.raises(xtl.InputError, match=r"no file '.*' of parallel questions|unknown kind of file"):
            xtl.pairs_from(path, source="en", target="es", answer="right")


def test_no_rows_and_a_row_twice():
    with pytest.raises(xtl.InputError, match="the table has no rows"):
        xtl.pairs_from([], source="en", target="es", answer="right")
    with pytest.raises(xtl.InputError, match="row 1: id 'a' is there twice"):
        xtl.pairs_from([ROWS[0], ROWS[0]], **NAMED)
