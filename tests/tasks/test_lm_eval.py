"""Tasks of lm-evaluation-harness: YAML files and data written here, of the form that its folders have."""

from __future__ import annotations

import json

import pytest

import xtl
from xtl.tasks import get_task

pytest.importorskip("datasets")

COMMON = """
dataset_path: json
output_type: multiple_choice
test_split: test
doc_to_text: "{{passage}}\\nQ: {{question.strip()}}\\nA: {{one}}\\nB: {{two}}\\nAnswer:"
doc_to_choice: ["A", "B"]
doc_to_target: "{{['1', '2'].index(right)}}"
metric_list:
  - metric: acc
"""
ROWS = {
    "eng_Latn": [("It rains.", "Is it dry? ", "yes", "no", "2"), ("It is noon.", "Is it dark?", "no", "yes", "1")],
    "deu_Latn": [
        ("Es regnet.", "Ist es trocken?", "ja", "nein", "2"),
        ("Es ist Mittag.", "Dunkel?", "nein", "ja", "1"),
    ],
}
COLUMNS = ("passage", "question", "one", "two", "right")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def data(folder, language, rows, columns=COLUMNS, **more):
    lines = [json.dumps(dict(zip(columns, row, strict=True)) | more | {"id": k}) for k, row in enumerate(rows)]
    (folder / f"{language}.jsonl").write_text("\n".join(lines), encoding="utf-8")


def config(folder, language, text=None, stem="reading"):
    own = (
        f"include: _common_yaml\ntask: {stem}_{language}\ndataset_kwargs:\n  data_files:\n    test: {language}.jsonl\n"
    )
    (folder / f"{stem}_{language}.yaml").write_text(own + (text or ""), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "reading"
    made.mkdir()
    (made / "_common_yaml").write_text(COMMON, encoding="utf-8")
    (made / "_reading.yaml").write_text(
        "group: reading\ntask: [reading_eng_Latn, reading_deu_Latn]\n", encoding="utf-8"
    )
    for language, rows in ROWS.items():
        data(made, language, rows)
        config(made, language)
    return made


def test_two_languages_of_a_folder_are_pairs(folder):
    task = get_task(f"lm-eval:{folder}")
    assert (task.name, task.languages, task.score) == ("lm-eval-reading", ("de", "en"), "options")
    first, second = task.pairs("en", "de", seed=None)
    assert first.source == "It rains.\nQ: Is it dry?\nA: yes\nB: no\nAnswer:"
    assert first.target.startswith("Es regnet.\nQ: Ist es trocken?")
    assert (first.options, first.gold, first.id, first.direction) == ((" A", " B"), 1, "reading/0", "en->de")
    assert second.gold == 0
    assert task.pairs("en", "de", limit=1, seed=3) == task.pairs("en", "de", limit=1, seed=3)


def test_rows_of_another_order_are_found_by_their_id(folder):
    data(folder, "deu_Latn", ROWS["deu_Latn"][::-1])
    lines = (folder / "deu_Latn.jsonl").read_text(encoding="utf-8").splitlines()
    swapped = [json.dumps(json.loads(line) | {"id": 1 - k}, ensure_ascii=False) for k, line in enumerate(lines)]
    (folder / "deu_Latn.jsonl").write_text("\n".join(swapped), encoding="utf-8")
    task = get_task(f"lm-eval:{folder}")
    with pytest.raises(xtl.InputError, match="they are not the same question; give id_column"):
        task.pairs("en", "de")
    found = {pair.id: pair for pair in task.pairs("en", "de", id_column="id")}
    assert found["reading/0"].target.startswith("Es regnet.")
    with pytest.raises(xtl.InputError, match="no id_column 'number'; it has passage"):
        task.pairs("en", "de", id_column="number")


def test_choices_that_hold_the_whole_text_give_the_prompt(folder):
    own = (
        "doc_to_text: ''\ndoc_to_choice: '{{[passage + \" right? Yes, \" + one, passage + \" right? No, \" + two]}}'\n"
    )
    for language in ROWS:
        config(folder, language, own)
    [first, _] = get_task(f"lm-eval:{folder}").pairs("en", "de", seed=None)
    assert first.source == "It rains. right?"
    assert first.options == (" Yes, ja", " No, nein")


def test_answers_are_generated(folder):
    own = "output_type: generate_until\ndoc_to_target: one\n"
    for language in ROWS:
        config(folder, language, own)
    [first, _] = get_task(f"lm-eval:{folder}").pairs("en", "de", seed=None)
    assert (first.options, first.answer, first.answers) == (None, " ja", ("ja",))


def test_code_runs_only_when_it_is_allowed(folder):
    (folder / "utils.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"
        "def text(row):\n    return row['passage'] + ' ' + row['question']\n",
        encoding="utf-8",
    )
    for language in ROWS:
        config(folder, language, "doc_to_text: !function utils.text\n")
    with pytest.raises(xtl.InputError, match=r"doc_to_text is Python code .*read it, and then allow it"):
        get_task(f"lm-eval:{folder}").pairs("en", "de")
    assert not (folder / "ran").exists()
    [first, _] = get_task(f"lm-eval:{folder}", run_code=True).pairs("en", "de", seed=None)
    assert first.source == "It rains. Is it dry?"
    assert (folder / "ran").exists()
    with pytest.raises(xtl.InputError, match="'capitals' has no code"):
        get_task("capitals", run_code=True)


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ("doc_to_text: '{{().__class__.__mro__}}'\n", "doc_to_text .* fails"),
        ("doc_to_text: '{{missing}}'\n", "'missing' is undefined"),
        ("doc_to_text: '{{'\n", "doc_to_text '{{' fails"),
        ("doc_to_choice: '{{1}}'\n", "doc_to_choice"),
        ("doc_to_choice: ['A']\n", "a list of two or more"),
        ("doc_to_target: 7\n", "doc_to_target gives 7; valid: 0 to 1"),
        ("output_type: loglikelihood_rolling\n", "output_type 'loglikelihood_rolling' can't be paired"),
        ("dataset_path: null\n", "dataset_path must be a text"),
        ("dataset_kwargs: {data_files: {test: none.jsonl}}\n", "the data of json can't be read"),
        ("test_split: null\n", "give split"),
        ("include: 3\n", "include must be a file's name, or a list of them, got 3"),
        ("dataset_kwargs: [1]\n", "dataset_kwargs must hold keys and values"),
        ("doc_to_text: \"{{passage | regex_replace('(', '')}}\"\n", "doc_to_text .* fails"),
        ("doc_to_choice: [A, null]\n", "doc_to_choice gives None, no text"),
        ("doc_to_choice: [A, A]\n", "deu_Latn.yaml, row .: options must differ; repeated: ' A'"),
        ("output_type: generate_until\ndoc_to_target: '{{{1: 2}}}'\n", "not the same question|no text"),
        ("process_docs: 3\n", "process_docs must be a !function"),
        ("task: reading_deu_Latn\ninclude: nowhere\n", "nowhere can't be read"),
        ("a: [\n", "can't be read"),
        ("a: !!python/object/apply:os.getcwd []\n", "can't be read"),
    ],
)
def test_a_mistake_is_one_clear_line(folder, own, says):
    config(folder, "deu_Latn", own)
    with pytest.raises(xtl.InputError, match=says) as error:
        get_task(f"lm-eval:{folder}").pairs("en", "de")
    assert "\n" not in str(error.value)


NUMBERS = "doc_to_choice: ['1', '2', '3']\n"


@pytest.mark.parametrize(("target", "golds"), [("'{{right}}'", [2, 1]), ("right", [1, 0])])
def test_where_choices_are_numbers_a_templates_number_is_an_index_and_a_columns_a_choice(folder, target, golds):
    for language in ROWS:
        config(folder, language, f"{NUMBERS}doc_to_target: {target}\n")
    pairs = get_task(f"lm-eval:{folder}").pairs("en", "de", seed=None)
    assert [pair.gold for pair in pairs] == golds  # as lm-evaluation-harness reads them


@pytest.mark.parametrize("answer", [None, {"text": ["ja"]}, []])
def test_an_answer_that_is_no_text_is_refused(folder, answer):
    for language, rows in ROWS.items():
        data(folder, language, rows, said=answer)
        config(folder, language, "output_type: generate_until\ndoc_to_target: said\n")
    with pytest.raises(xtl.InputError, match=r"row 0: doc_to_target gives .*, no text|row 0: no answer"):
        get_task(f"lm-eval:{folder}").pairs("en", "de", seed=None)


def test_code_that_fails_is_told_in_one_line(folder):
    (folder / "utils.py").write_text("def ask(row):\n    return row['nothing']\n", encoding="utf-8")
    for language in ROWS:
        config(folder, language, "doc_to_text: !function utils.ask\n")
    with pytest.raises(xtl.InputError, match="doc_to_text fails: KeyError: 'nothing'"):
        get_task(f"lm-eval:{folder}", run_code=True).pairs("en", "de")


def test_what_includes_itself_and_rows_of_other_numbers(folder):
    data(folder, "deu_Latn", ROWS["deu_Latn"][:1])
    with pytest.raises(xtl.InputError, match="en has 2 rows and de 1"):
        get_task(f"lm-eval:{folder}").pairs("en", "de")
    (folder / "_common_yaml").write_text("include: _common_yaml\n", encoding="utf-8")
    with pytest.raises(xtl.InputError, match="included by what it includes"):
        get_task(f"lm-eval:{folder}")


@pytest.mark.parametrize("name", ["lm-eval:", "lm-eval:no/such", "lm-eval:nothing_of_that_name"])
def test_no_such_folder(name):
    with pytest.raises(xtl.InputError):
        get_task(name)


def test_a_folder_without_languages(tmp_path):
    (tmp_path / "a.yaml").write_text("task: sums\n", encoding="utf-8")
    with pytest.raises(xtl.InputError, match="no YAML file whose task ends in a language code"):
        _ = get_task(f"lm-eval:{tmp_path}").languages
