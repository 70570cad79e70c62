from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import xtl
from xtl.runs.jobs import hash_pairs
from xtl.runs.make_jobs import PAIRS_A_SHARD, make_jobs
from xtl.runs.study import Study
from xtl.tasks import get_task

SMALL = {"tasks": ["capitals"], "directions": ["en:es"], "limit": 2}


def test_a_study_from_yaml_and_from_a_dict_are_the_same_and_so_is_what_it_writes(tmp_path):
    path = tmp_path / "é study.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    study = Study.read(path)
    assert study == Study.read(SMALL)
    again = tmp_path / "again.yaml"
    again.write_text(study.to_yaml(), encoding="utf-8")
    assert Study.read(again) == study


def test_flags_take_the_place_of_keys():
    assert Study.read(SMALL, limit=7, modules=["mlp"]).limit == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limt": 3}, r"unknown key 'limt' \(did you mean 'limit'\?\); valid: models, tasks"),
        (
            {"models": [{"name": "gpt2", "dtpe": "float32"}]},
            r"models: 1: unknown key 'dtpe' \(did you mean 'dtype'\?\)",
        ),
        ({"models": ["no-such-model-anywhere"]}, "unknown model 'no-such-model-anywhere'"),
        ({"models": ["gpt2", "gpt2"]}, "the same model is given twice"),
        ({"models": []}, "models: tuple should have at least 1 item"),
        ({"models": [{"backend": "hoked"}]}, "unknown backend 'hoked' .did you mean 'hooked'"),
        ({"models": [{"dtype": "float31"}]}, "unknown dtype 'float31'"),
        ({"tasks": ["capitls"]}, "unknown task 'capitls' .did you mean 'capitals'"),
        ({"tasks": [{"name": "capitals", "n_option": 3}]}, "unknown key of task capitals 'n_option' .did you mean"),
        ({"tasks": [{"name": "capitals", "limit": 3}]}, "limit is given for the whole study"),
        ({"directions": ["en>es"]}, "direction 'en>es' must look like en->es"),
        ({"directions": ["en:xx"]}, "unknown language 'xx'"),
        ({"directions": ["*:*"]}, "names no language"),
        ({"directions": []}, "has no direction"),
        ({"directions": ["en:es", "EN -> es"]}, "the same direction is given twice: en->es"),
        ({"modules": ["atn"]}, "unknown module 'atn' .did you mean 'attn'"),
        ({"score": "liklihood"}, "unknown score 'liklihood' .did you mean 'likelihood'"),
        ({"score": "paper"}, "score 'paper' has no rule for task 'capitals'"),
        ({"limit": 0}, "limit: input should be greater than or equal to 1, got 0"),
        ({"limit": "many"}, "limit: input should be a valid integer.*got 'many'"),
        ({"max_new_tokens": 3}, "max_new_tokens is for generated answers"),
        ({"steps": "second"}, "unknown steps 'second'"),
        ({"engine": "warp"}, "unknown engine 'warp'"),
        ({"chunk_size": "big"}, "chunk_size must be 'auto'"),
        ({"source_layers": []}, "source_layers must be a list of layers"),
    ],
)
def test_what_is_wrong_is_told_before_anything_loads(changes, message):
    with pytest.raises(xtl.InputError, match=message) as error:
        Study.read(SMALL | changes)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_study(tmp_path):
    with pytest.raises(xtl.InputError, match="cannot read study"):
        Study.read(tmp_path / "none.yaml")
    for text, message in [
        ("a: [1", "is no YAML"),
        ("- a", "must hold keys and values"),
        ("limit: 3", "tasks is missing"),
    ]:
        path = tmp_path / "study.yaml"
        path.write_text(text)
        with pytest.raises(xtl.InputError, match=message):
            Study.read(path)


def test_a_star_is_every_other_language_and_a_task_has_its_own_directions():
    study = Study.read(
        {"tasks": ["capitals", {"name": "official_languages", "directions": "de:fr"}], "directions": "en:*"}
    )
    languages = get_task("capitals").languages
    assert study.tasks[0].directions == tuple(f"en->{code}" for code in languages if code != "en")
    assert study.tasks[1].directions == ("de->fr",)


def test_a_direction_may_be_named_beside_the_star_that_holds_it():
    both = Study.read(SMALL | {"directions": ["en:sw", "en:*"]}).tasks[0].directions
    assert both[0] == "en->sw"
    assert len(set(both)) == len(both) == len(get_task("capitals").languages) - 1


def test_generated_answers_have_a_length():
    assert Study.read(SMALL | {"score": "none"}).max_new_tokens == 20
    assert Study.read(SMALL | {"score": "strict", "max_new_tokens": 3}).max_new_tokens == 3


def test_a_score_that_does_not_go_with_the_data_is_told_before_anything_loads():
    with pytest.raises(xtl.InputError, match="answer"):
        make_jobs(Study.read(SMALL | {"score": "em"}))


@settings(max_examples=30)
@given(limit=st.integers(1, 81), targets=st.lists(st.sampled_from(["es", "de", "fr"]), min_size=1, unique=True))
def test_jobs_are_numbered_in_order_and_each_is_in_one_shard(limit, targets):
    jobs = make_jobs(Study.read(SMALL | {"limit": limit, "directions": [f"en:{target}" for target in targets]}))
    assert [job.number for job in jobs.all] == list(range(len(jobs))) == list(range(limit * len(targets)))
    for shard in jobs.shards:
        assert len({(job.model, job.task, job.direction) for job in shard.jobs}) == 1
        assert len(shard.jobs) <= PAIRS_A_SHARD
        assert all(jobs.shard_of(number) is shard for number in shard.numbers)
    assert len({shard.name for shard in jobs.shards}) == len(jobs.shards)


def test_the_hash_of_the_data_sees_what_is_asked_and_what_is_right():
    pairs = get_task("capitals").pairs("en", "es", limit=3)
    changed = [xtl.ParallelPair(**(vars(pair) | {"gold": (pair.gold + 1) % 4})) for pair in pairs]
    assert hash_pairs(pairs) == hash_pairs(get_task("capitals").pairs("en", "es", limit=3))
    assert len({hash_pairs(p) for p in (pairs, pairs[:2], pairs[::-1], changed)}) == 4


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("xtl.runs.study", {"torch", "pandas", "pyarrow", "xarray"}),
        ("xtl.runs.workers.limits", {"torch", "pandas", "pyarrow", "xarray"}),
        ("xtl.runs.status", {"torch", "transformers"}),
        ("xtl.runs.reading", {"torch", "transformers"}),
    ],
)
def test_a_study_and_what_was_computed_are_read_without_what_computes(module, unneeded):
    code = f"import sys, {module}; print(*{unneeded!r} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout.split() == []
