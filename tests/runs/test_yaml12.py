"""A study's file means what it says: the scalars of YAML 1.2, each key once, and nothing that is made of something else."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import xtl
from xtl.runs import yaml12
from xtl.runs.study import Study

TEXTS = [
    "no",
    "No",
    "yes",
    "on",
    "off",
    "y",
    "1:2",
    "12:30:45",
    "2024-01-01",
    "1_000",
    "0b11",
    "tRue",
    "0-2",
    "<<",
    "=",
    "0x",
]
NUMBERS = {"010": 10, "0o10": 8, "0x1F": 31, "+3": 3, "-7": -7, "1e3": 1000.0, ".5": 0.5, "5.": 5.0, "-.inf": -math.inf}
PLAIN = {"true": True, "FALSE": False, "null": None, "~": None, "": None, "'no'": "no", "'3'": "3", '"true"': "true"}


@pytest.mark.parametrize(("written", "meant"), [*((t, t) for t in TEXTS), *NUMBERS.items(), *PLAIN.items()])
def test_a_scalar_is_what_the_core_schema_says(written, meant):
    (got,) = yaml12.load(f"- {written}")
    assert (type(got), got) == (type(meant), meant)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text("no1e:-_.,~[]{}'\"# \n\té", max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("yno1:~.", max_size=5), inner, max_size=3),
        max_leaves=6,
    )
)
def test_what_is_written_is_read_back_also_by_a_reader_of_version_1_1(value):
    assert yaml12.load(yaml12.dump(value)) == value
    assert yaml.safe_load(yaml12.dump(value)) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limit: 1\nseed: 2\nlimit: 3", "key 'limit' is on line 1 and again on line 3"),
        ("limit: 1\n'limit': 3", "key 'limit' is on line 1 and again on line 2"),
        ("models:\n - {name: a,\n    name: b}", "key 'name' is on line 2 and again on line 3"),
        ("x: " + "[" * 3000 + "]" * 3000, "nested more than 20 deep"),
        ("x: " + "{a: " * 3000, "nested more than 20 deep"),
        ("\n".join(" " * i + "a:" for i in range(1000)), "nested more than 20 deep"),
        ("x: &x [*x]", "nested more than 20 deep"),
        ("".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)).replace(
            "*a", "1"), "more than 100,000 values"),
        ("x: !!python/object/apply:os.system [ls]", "is no YAML"),
        ("x: !!timestamp 2024-01-01", "is no YAML"),
        ("x: !!int true", "is no YAML"),
        ("x: !!bool 7", "is no YAML"),
        ("x: " + "9" * 5000, "is no YAML"),
        ("x: \0", "is no YAML"),
        ("x: *y", "undefined alias 'y' .line 1, column 4"),
        ("a: 1\n---\nb: 2", "another document .line 2"),
        ("1: 2", "a key must be a text .line 1"),
        ("true: 2", "a key must be a text .line 1"),
        ("? [a]\n: 2", "a key must be a text .line 1"),
    ],
)  # fmt: skip
def test_what_is_no_plain_yaml_is_told_in_one_line(text, message, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(xtl.InputError, match=message) as error:
        Study.read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_too_large_for_a_study_is_not_read(tmp_path):
    path = tmp_path / "study.yaml"
    with path.open("wb") as file:
        file.truncate(10**12)  # sparse
    with pytest.raises(xtl.InputError, match="more than 1,000,000 bytes"):
        Study.read(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("limit: true", "limit: input should be a valid integer, got True"),
        ("limit: '3'", "limit: input should be a valid integer, got '3'"),
        ("limit: 3.0", "limit: input should be a valid integer, got 3.0"),
        ("limit: 1e1", "limit: input should be a valid integer, got 10.0"),
        ("limit: 1:2", "limit: input should be a valid integer, got '1:2'"),
        ("seed: '0-7'", "seed: input should be a valid integer, got '0-7'"),
        ("seed: 0-7", "seed: input should be a valid integer, got '0-7'"),
        ("seed: false", "seed: input should be a valid integer, got False"),
        ("control_seed: '1'", "control_seed: input should be a valid integer"),
        ("verify: false", "verify: input should be a valid integer"),
        ("score: em\nmax_new_tokens: true", "max_new_tokens: input should be a valid integer"),
        ("chunk_size: true", "chunk_size: .*got True"),
        ("chunk_size: 0", "chunk_size .*at least 1"),
        ("chunk_size: 2.0", "chunk_size: .*got 2.0"),
        ("chat: no", "unknown chat 'no'; valid: false, true, auto"),
        ("chat: 1", "chat: .*got 1"),
        ("score: 3", "score: input should be a valid string, got 3"),
        (
            "modules: [true]",
            "modules: 1: input should be a valid string, got True|input should be a valid string, got True",
        ),
        ("source_layers: [true]", "source_layers must hold whole numbers and ranges of them, got True"),
        ("source_layers: true", "source_layers must be a list of layers, got True"),
        ("target_layers: [1.0]", "target_layers must hold whole numbers"),
        ("target_layers: {a: 1}", "target_layers must be a list of layers"),
        ("models: {name: gpt2, device: 0}", "device: input should be a valid string, got 0"),
    ],
)
def test_nothing_is_made_of_something_else(lines, message, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(f"tasks: [capitals]\n{lines}\n")
    with pytest.raises(xtl.InputError, match=message) as error:
        Study.read(path)
    assert "\n" not in str(error.value)


def test_norwegian_is_a_language_and_ten_is_ten(tmp_path):
    row = {"source": "2 + 2 er", "target": "2 + 2 is", "source_lang": "no", "target_lang": "en", "answer": " 4"}
    (tmp_path / "sums.jsonl").write_text(json.dumps(row))
    path = tmp_path / "study.yaml"
    path.write_text(
        f"tasks: [{tmp_path}/sums.jsonl]\ndirections: [no:en]\nlimit: 010\nsource_layers: [0-2, -1]\ntarget_layers: 0-2\n"
    )
    study = Study.read(path)
    assert (study.tasks[0].directions, study.limit) == (("no->en",), 10)
    assert (study.source_layers, study.target_layers) == ((0, 1, 2, -1), (0, 1, 2))
    path.write_text(study.to_yaml(), encoding="utf-8")
    assert Study.read(path) == study
