"""Laws that every built-in task obeys: parallel in every direction, deterministic, and picky about its arguments."""

import ast
from functools import cache
from pathlib import Path

import pytest

import xtl.tasks
from xtl.errors import InputError
from xtl.tasks import BENCHMARKS, TASKS, Task, get_task, task_names
from xtl.tasks.names import country_name

NAMES = sorted(set(TASKS) - set(BENCHMARKS))
DIRECTIONS = [("en", "es"), ("es", "en"), ("en", "zh"), ("ar", "ru"), ("th", "ur"), ("sw", "sw")]


@cache
def all_pairs(name, target):
    """Every pair of a task from English, kept: several laws look at all of them, in all languages."""
    return TASKS[name].pairs("en", target)


@pytest.fixture(params=NAMES)
def task(request):
    return TASKS[request.param]


def test_a_task_speaks_the_protocol_under_its_own_name(task):
    assert isinstance(task, Task)
    assert get_task(task.name) is task
    assert task.score == "options"
    assert task.description
    assert "\n" not in task.description
    assert len(set(task.languages)) == len(task.languages) >= 16


def test_a_task_has_forty_countries_or_more(task):
    assert len(task.pairs("en", "es")) == len(task) >= 40


def test_every_direction_has_the_same_instances_options_and_gold(task):
    reference = task.pairs("en", "de", seed=7)
    for source, target in DIRECTIONS:
        pairs = task.pairs(source, target, seed=7)
        assert [(p.id, p.gold, p.meta["option_keys"]) for p in pairs] == [
            (p.id, p.gold, p.meta["option_keys"]) for p in reference
        ]
        assert {(p.source_lang, p.target_lang) for p in pairs} == {(source, target)}


def test_swapping_the_languages_swaps_the_prompts(task):
    there, back = task.pairs("fr", "hi"), task.pairs("hi", "fr")
    assert [(p.source, p.target) for p in there] == [(p.target, p.source) for p in back]


def test_options_depend_on_the_target_language_only(task):
    assert [p.options for p in task.pairs("en", "ja")] == [p.options for p in task.pairs("ko", "ja")]
    assert [p.options for p in task.pairs("en", "ja")] != [p.options for p in task.pairs("en", "ko")]


def test_the_gold_option_is_the_answer_of_that_country_in_every_language(task):
    for lang in task.languages:
        for pair in all_pairs(task.name, lang):
            answer = task.answer_name(task.answers[pair.meta["country"]], lang)
            assert pair.options[pair.gold].strip() == answer
            assert pair.meta["option_keys"][pair.gold] == task.answers[pair.meta["country"]]


def test_options_of_all_answers_differ_in_every_language(task):
    for lang in task.languages:
        answers = sorted(set(task.answers.values()))
        assert len({task.answer_name(key, lang).casefold() for key in answers}) == len(answers), lang


def test_the_country_stands_in_the_prompt_exactly_as_cldr_writes_it(task):
    for lang in task.languages:
        for pair in all_pairs(task.name, lang):
            assert country_name(pair.meta["country"], lang) in pair.target
            assert country_name(pair.meta["country"], "en") in pair.source


def test_a_language_onto_itself_has_the_same_prompt_twice(task):
    for pair in task.pairs("ru", "ru"):
        assert pair.source == pair.target


def test_prompts_end_at_the_boundary_and_options_carry_the_space(task):
    unspaced = {"zh", "ja"}
    for lang in task.languages:
        for pair in all_pairs(task.name, lang):
            assert pair.target == pair.target.strip()
            assert pair.target[-1] == ("：" if lang in unspaced else ":")
            for option in pair.options:
                assert option == ("" if lang in unspaced else " ") + option.strip()


def test_two_templates_differ_in_layout_alone(task):
    for lang in task.languages:
        for one, two in zip(task.pairs("en", lang, limit=9), task.pairs("en", lang, template=1, limit=9), strict=True):
            assert "\n" not in one.target
            assert two.target.count("\n") == 1
            assert (one.options, one.gold) == (two.options, two.gold)
            first, second = two.target.split("\n")
            assert one.target.startswith(first)
            assert one.target.endswith(second)


def test_the_same_arguments_give_the_same_pairs(task):
    assert task.pairs("en", "el", seed=3, n_options=5) == task.pairs("en", "el", seed=3, n_options=5)


def test_the_draw_is_the_same_on_every_machine_and_day():
    """Stored results are compared by id and option: a change here makes old runs incomparable with new ones."""
    drawn = [(p.id, p.meta["option_keys"]) for p in get_task("official_languages").pairs("en", "es", limit=3)]
    assert drawn == [
        ("official_languages/AO", ("ar", "de", "en", "pt")),
        ("official_languages/CL", ("es", "de", "en", "it")),
        ("official_languages/LR", ("en", "fr", "it", "nl")),
    ]


def test_the_seed_changes_order_distractors_and_places_but_not_the_questions(task):
    first, second = task.pairs("en", "el", seed=0), task.pairs("en", "el", seed=1)
    assert [p.id for p in first] != [p.id for p in second]
    assert {p.id for p in first} == {p.id for p in second}
    other = {p.id: p for p in second}
    assert any(set(p.options) != set(other[p.id].options) for p in first)
    assert any(p.gold != other[p.id].gold for p in first)


def test_a_limit_takes_the_beginning_of_the_order(task):
    everything = task.pairs("en", "bn", seed=5)
    assert task.pairs("en", "bn", seed=5, limit=7) == everything[:7]
    assert task.pairs("en", "bn", seed=5, limit=10_000) == everything


def test_without_a_seed_the_order_is_that_of_the_data(task):
    pairs = task.pairs("en", "bn", seed=None)
    assert [pair.meta["country"] for pair in pairs] == list(task.answers)
    assert {pair.id: pair for pair in pairs} == {pair.id: pair for pair in task.pairs("en", "bn", seed=0)}


def test_an_instance_does_not_depend_on_the_limit_or_the_template(task):
    pair = task.pairs("en", "fa", limit=1)[0]
    again = task.pairs("en", "fa", template=1)[0]
    assert (pair.id, pair.options, pair.gold) == (again.id, again.options, again.gold)


@pytest.mark.parametrize("n_options", [2, 3, 4, 11])
def test_there_are_as_many_options_as_asked_for(task, n_options):
    for pair in task.pairs("en", "tr", n_options=n_options):
        assert len(set(pair.options)) == n_options


def test_all_answers_can_be_options_and_not_one_more(task):
    most = len(set(task.answers.values()))
    assert set(task.pairs("en", "vi", n_options=most, limit=1)[0].meta["option_keys"]) == set(task.answers.values())
    with pytest.raises(InputError, match=f"n_options must be a whole number from 2 to {most}, got {most + 1}"):
        task.pairs("en", "vi", n_options=most + 1)


def test_the_gold_option_takes_every_place_about_equally_often(task):
    places = [p.gold for seed in range(6) for p in task.pairs("en", "pl", seed=seed)]
    for place in range(4):
        assert 0.15 < places.count(place) / len(places) < 0.35


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "limit must be a whole number of at least 1, got 0"),
        ({"limit": -3}, "limit must be a whole number of at least 1, got -3"),
        ({"limit": True}, "limit must be a whole number of at least 1, got True"),
        ({"n_options": 1}, "n_options must be a whole number from 2 to"),
        ({"n_options": True}, "n_options must be a whole number from 2 to"),
        ({"template": 2}, "template must be a whole number from 0 to 1, got 2"),
        ({"template": -1}, "template must be a whole number from 0 to 1, got -1"),
        ({"seed": False}, "seed must be a whole number, got False"),
    ],
)
def test_a_bad_number_is_an_error(task, arguments, message):
    with pytest.raises(InputError, match=message):
        task.pairs("en", "es", **arguments)


@pytest.mark.parametrize("bad", ["xx", "klingon", "", "zh-TW"])
def test_an_unknown_language_is_an_error_that_names_the_argument_and_the_valid_ones(task, bad):
    with pytest.raises(InputError, match=r"source_lang.*valid: en, es, de"):
        task.pairs(bad, "en")
    with pytest.raises(InputError, match=r"target_lang.*valid: en, es, de"):
        task.pairs("en", bad)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Spanish", "es"),
        ("german", "de"),
        ("Deutsch", "de"),
        ("jp", "ja"),
        ("gr", "el"),
        ("sp", "es"),
        ("swahil", "sw"),
    ],
)
def test_a_language_by_name_or_by_its_country_is_told_its_code(task, said, code):
    with pytest.raises(InputError, match=rf"^unknown target_lang '{said}' \(did you mean '{code}'\?\); valid: en, "):
        task.pairs("en", said)


def test_a_code_of_another_language_gets_no_advice(task):
    with pytest.raises(InputError, match=r"unknown target_lang 'et'; valid"):  # Estonian
        task.pairs("en", "et")


def test_any_form_of_a_language_code_gives_the_same_pairs(task):
    assert task.pairs("ENG", "zh_Hans-CN") == task.pairs("en", "zh")


def test_an_unknown_task_is_an_error_that_lists_the_tasks():
    assert task_names() == list(TASKS)
    with pytest.raises(InputError, match=r"unknown task 'capitols'.*capitals, official_languages"):
        get_task("capitols")


def test_the_tasks_import_nothing_heavier_than_babel():
    for path in Path(xtl.tasks.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {m.split(".")[0] for m in modules} & {"torch", "transformers", "transformer_lens", "numpy"}, path
            assert all(
                m.startswith(("xtl.errors", "xtl.files", "xtl.languages", "xtl.packages", "xtl.pairs", "xtl.tasks"))
                for m in modules
                if m.startswith("xtl")
            )
