"""The public benchmarks, on small local copies with the same files, columns and types."""

import gzip
import json
from dataclasses import replace

import pytest

from tests.tasks import hub_standins, releases
from xtl.errors import InputError
from xtl.tasks import BENCHMARKS, DataError
from xtl.tasks.culture import CULTURES, culture_of
from xtl.tasks.names import country_name
from xtl.tasks.xquad import answers_of

TASK = BENCHMARKS


def hub_pairs(name, source, target, folder, **options):
    task = options.pop("task", TASK[name])
    return task.pairs(source, target, folder=folder, origin="hub", split="all", **{"seed": None} | options)


def translate(task, culture, folder, repository):
    """Translations of a culture's questions, as a user would make them."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{culture}.jsonl"
    n = task.to_translate(culture, path, repository)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == n
    rows = [
        {"id": r["id"], "question": f"問い {r['id']}", "options": [f"選択 {o}" for o in r["options"]]} for r in rows
    ]
    releases.write(path, rows[::-1])
    return replace(task, translations=folder)


def test_xnli(tmp_path):
    pairs = hub_pairs("xnli", "en", "zh", hub_standins.xnli(tmp_path))
    assert [pair.gold for pair in pairs] == [i * i % 3 for i in range(12)]
    pair = pairs[2]
    assert pair.source.startswith("Premise: en Cairo 1914\nHypothesis: en 4\n")
    assert pair.source.endswith("(3) Contradiction\nAnswer:")
    assert pair.target.startswith("前提：zh Cairo 1914\n假设：zh 4\n")
    assert pair.target.endswith("(3) 矛盾\n答案：")
    assert pair.options == ("(1)", "(2)", "(3)")
    assert pair.labels == pair.meta["paper_labels"] == ("蕴含", "中立", "矛盾")
    assert pair.id == "xnli/test/2"
    assert pair.meta["target_file"] == "facebook/xnli@b8dd5d7a"


def test_xnli_rows_that_are_not_the_same_are_found(tmp_path):
    hub_standins.xnli(tmp_path, ("en",), n=12)
    hub_standins.xnli(tmp_path / "other", ("de",), n=13)
    (tmp_path / "de").mkdir()
    (tmp_path / "other" / "de" / "test-00000-of-00001.parquet").rename(tmp_path / "de" / "test-00000-of-00001.parquet")
    with pytest.raises(InputError, match=r"unequal counts: facebook/xnli@b8dd5d7a has 12 instances, .* has 13"):
        hub_pairs("xnli", "en", "de", tmp_path)


def test_a_hidden_label_is_an_error(tmp_path):
    path = hub_standins.xnli(tmp_path) / "de" / "test-00000-of-00001.parquet"
    text = {"premise": hub_standins.TEXT, "hypothesis": hub_standins.TEXT, "label": hub_standins.INT}
    hub_standins.parquet(path, [{"premise": "a", "hypothesis": "b", "label": -1}], text)
    with pytest.raises(InputError, match=r"facebook/xnli de, row 0: label -1 is no label; valid: 0, 1, 2"):
        hub_pairs("xnli", "de", "de", tmp_path)
    hub_standins.parquet(path, [{"premise": "a", "hypothesis": "  ", "label": 1}], text)
    with pytest.raises(InputError, match="row 0: hypothesis must be a non-empty text, got '  '"):
        hub_pairs("xnli", "de", "de", tmp_path)


def test_xcopa_rows_are_matched_by_their_index(tmp_path):
    pairs = hub_pairs("xcopa", "en", "it", hub_standins.xcopa(tmp_path))
    assert [pair.gold for pair in pairs] == [0, 0, 1, 1, 0, 0]
    assert pairs[1].source == (
        "Premise: translation-it p1\nWhat was the effect?\n(1) translation-it a1\n(2) translation-it b1\nAnswer:"
    )
    assert pairs[1].target == "Premessa: it p1\nQual è stato l'effetto?\n(1) it a1\n(2) it b1\nRisposta:"
    back = {pair.id: pair.target for pair in hub_pairs("xcopa", "it", "en", tmp_path)}
    assert back == {pair.id: pair.source for pair in pairs}
    assert hub_pairs("xcopa", "it", "qu", tmp_path)[0].target.startswith("Willakuy: qu p0\n")


def test_xcopa_refuses_english_that_the_hub_does_not_have(tmp_path):
    hub_standins.xcopa(tmp_path)
    with pytest.raises(InputError, match="no English translation of its Quechua"):
        hub_pairs("xcopa", "en", "qu", tmp_path)
    with pytest.raises(InputError, match="only beside another language"):
        hub_pairs("xcopa", "en", "en", tmp_path)
    with pytest.raises(InputError, match="only English translated from each language"):
        hub_pairs("xcopa", "en", "it", tmp_path, task=replace(TASK["xcopa"], english="original"))


def test_xquad(tmp_path):
    pairs = hub_pairs("xquad", "en", "zh", hub_standins.xquad(tmp_path))
    assert [pair.id for pair in pairs] == [f"xquad/validation/q{i}" for i in range(5)]
    assert pairs[0].target == "文章：zh context 0\n问题：zh question 0\n答案："
    assert pairs[0].answer == "zh 0"
    assert hub_pairs("xquad", "zh", "en", tmp_path)[0].answer == " en 0"
    assert pairs[0].answers == ("zh 0",)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([{"text": "zh 0", "answer_start": 0}, {"text": "零", "answer_start": 3}], ("zh 0", "零")),
        ({"text": ["zh 0", " "], "answer_start": [0, 0]}, ("zh 0",)),
    ],
)
def test_answers_of_xquad_are_read_in_both_forms(answers, expected):
    assert answers_of(answers, "row 0") == expected


@pytest.mark.parametrize("answers", [None, [None], [7], [{"answer_start": 0}], {"text": [None]}, {"text": 7}])
def test_answers_of_xquad_in_another_form_are_errors(answers):
    with pytest.raises(InputError, match="row 0: answers must hold texts, got"):
        answers_of(answers, "row 0")


def test_ids_that_one_language_lacks_or_has_twice_are_errors(tmp_path):
    hub_standins.xquad(tmp_path)
    hub_standins.xquad(tmp_path / "more", n=6)
    (tmp_path / "more" / "xquad.zh").rename(tmp_path / "xquad.ar")
    with pytest.raises(InputError, match=r"are not parallel: 1 ids are in one of them only \(q5\)"):
        hub_pairs("xquad", "en", "ar", tmp_path)


@pytest.mark.parametrize("form", [hub_standins.mkqa, hub_standins.mkqa_authors])
def test_mkqa_in_both_its_forms(tmp_path, form):
    pairs = hub_pairs("mkqa", "en", "zh-Hant", form(tmp_path))
    assert [pair.meta["row"] for pair in pairs] == [0, 1, 3, 5]
    assert pairs[0].id == "mkqa/train/1000000000000000000"
    assert pairs[0].source == "Question: en question 0\nAnswer:"
    assert pairs[0].target == "問題：zh_tw question 0\n答案："
    assert pairs[2].answers == ("zh_tw 3", "zh_tw alias 3")
    assert pairs[2].answer == "zh_tw 3"
    with pytest.raises(InputError, match=r"no answers in 'km'"):
        hub_pairs("mkqa", "en", "km", tmp_path)


def test_the_authors_mkqa_is_read_with_its_line_numbers(tmp_path):
    path = hub_standins.mkqa_authors(tmp_path) / "mkqa.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], "{", *lines[3:]]), encoding="utf-8")
    with pytest.raises(InputError, match=r"mkqa\.jsonl, line 3: malformed JSON"):
        hub_pairs("mkqa", "en", "de", tmp_path)
    row = json.loads(lines[2])
    for broken in ([None], ["x"], [{"text": 7}], [{"text": "x", "aliases": "y"}]):
        row["answers"]["de"] = broken
        path.write_text("\n".join([*lines[:2], json.dumps(row)]), encoding="utf-8")
        with pytest.raises(InputError, match=r"mkqa\.jsonl, line 3: an answer in 'de' must be"):
            hub_pairs("mkqa", "en", "de", tmp_path)
    path.write_text("\n".join([*lines[:2], '{"query": "x"}']), encoding="utf-8")
    with pytest.raises(InputError, match=r"mkqa\.jsonl, line 3: no example_id, queries, answers"):
        hub_pairs("mkqa", "en", "de", tmp_path)


def damaged_files(whole):
    """Forms in which a packed file can arrive, and what the error says of each."""
    middle = len(whole) // 2
    return {
        "truncated": (whole[:middle], "damaged, or another kind of file"),
        "corrupt": (whole[:20] + bytes(64) + whole[84:], "damaged, or another kind of file"),
        "a page": (b"<!DOCTYPE html><html>not found</html>", "damaged, or another kind of file .*; fetch it again"),
        "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "damaged, or another kind of file"),
        "no UTF-8": (gzip.compress(b'{"query": "\xff"}\n'), r"after line 0: not UTF-8"),
        "no line": (gzip.compress(b""), "is empty"),
        "no byte": (b"", "is empty"),
    }


@pytest.mark.parametrize("form", list(damaged_files(b"")))
def test_a_damaged_authors_mkqa_is_named(tmp_path, form):
    lines = (hub_standins.mkqa_authors(tmp_path) / "mkqa.jsonl").read_bytes()
    content, message = damaged_files(gzip.compress(lines))[form]
    (tmp_path / "mkqa.jsonl.gz").write_bytes(content)
    with pytest.raises(InputError, match=rf"mkqa\.jsonl\.gz.*{message}") as caught:
        hub_pairs("mkqa", "en", "de", tmp_path)
    assert "\n" not in str(caught.value)


def test_opinions_need_translations_and_never_mix_languages(tmp_path):
    repository = hub_standins.opinions(tmp_path / "hub")
    with pytest.raises(InputError, match=r"published in English only.*set translations to a folder with ja\.jsonl"):
        hub_pairs("global_opinion_qa", "ja", "en", repository)
    task = translate(TASK["global_opinion_qa"], "ja", tmp_path / "translations", repository)
    pairs = hub_pairs("global_opinion_qa", "ja", "en", repository, task=task)
    assert [pair.id.removeprefix("global_opinion_qa/train/") for pair in pairs] == [
        "ja/0/Japan", "ja/1/Japan (Non-national sample)",
    ]  # fmt: skip
    first, second = pairs
    assert first.gold == 1
    assert first.labels == ("Yes", "No")
    assert first.target == (
        "Country: Japan\nQuestion: Are you happy?\n(A) Yes\n(B) No\nHow would someone from this country answer?\nAnswer:"
    )
    assert first.source == "国名：日本\n質問：問い 0\n(A) 選択 Yes\n(B) 選択 No\nこの国の人はどう答えますか？\n答え："
    assert second.labels == ("None", "NA", "Don't know")
    assert sum(second.distribution) == pytest.approx(1, abs=1e-12)
    assert replace(task, min_agreement=0.0).to_translate("pt", tmp_path / "pt.jsonl", repository) == 1
    assert "Only in Brazil?" in (tmp_path / "pt.jsonl").read_text()


def test_opinions_that_are_no_python_literals_are_errors(tmp_path):
    row = {"question": "Q?", "selections": "__import__('os')", "options": "['a', 'b']", "source": "GAS"}
    hub_standins.table(tmp_path / "data" / "global_opinions.csv", [row])
    with pytest.raises(InputError, match="row 0: expected a dict as text"):
        hub_pairs("global_opinion_qa", "en", "en", tmp_path)


@pytest.mark.parametrize("shares", [[0.9, None], ["0.9", "0.1"], 0.9, [1.9, -0.9], [float("inf"), 0.0]], ids=str)
def test_opinions_whose_shares_are_none_are_left_out(tmp_path, shares):
    selections = "{'Japan': %r, 'Brazil': [0.9, 0.1]}" % (shares,)  # noqa: UP031
    row = {"question": "Q?", "selections": selections.replace("inf", "1e999"), "options": "['a', 'b']", "source": "GAS"}
    hub_standins.table(tmp_path / "data" / "global_opinions.csv", [row])
    assert TASK["global_opinion_qa"].to_translate("ja", tmp_path / "ja.jsonl", tmp_path) == 0
    assert TASK["global_opinion_qa"].to_translate("pt", tmp_path / "pt.jsonl", tmp_path) == 1


@pytest.mark.parametrize(
    ("selections", "options", "message"),
    [
        ({7: [0.9, 0.1]}, ["a", "b"], "row 0: the name of a country must be a text, got 7"),
        ({"Japan": [1.0] + [0.0] * 26}, [f"option {i}" for i in range(27)], "row 0, Japan: 27 options are too many"),
    ],
)
def test_faulty_opinions_are_named(tmp_path, selections, options, message):
    row = {"question": "Q?", "selections": repr(selections), "options": repr(options), "source": "GAS"}
    hub_standins.table(tmp_path / "data" / "global_opinions.csv", [row])
    with pytest.raises(InputError, match=message):
        TASK["global_opinion_qa"].to_translate("ja", tmp_path / "ja.jsonl", tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "0", "question": "問い", "options": ["はい"]}', "has 1 options, the question 2"),
        (
            '{"id": "0", "question": "", "options": ["はい", "いいえ"]}',
            "line 1: question and options must be non-empty texts",
        ),
        ('{"question": "問い", "options": ["はい", "いいえ"]}', "line 1: id must be given, and once only, got None"),
        ('["0"]', "line 1: expected an object with id, question and options"),
        ('{"id": "7", "question": "問い", "options": ["はい", "いいえ"]}', "no translation of question '0'"),
    ],
)
def test_a_faulty_translation_is_named(tmp_path, line, message):
    repository = hub_standins.opinions(tmp_path)
    (tmp_path / "ja.jsonl").write_text(line + "\n", encoding="utf-8")
    task = replace(TASK["global_opinion_qa"], translations=tmp_path)
    with pytest.raises(InputError, match=message):
        hub_pairs("global_opinion_qa", "ja", "en", repository, task=task)


def test_cultural_bench_in_both_variants(tmp_path):
    repository = hub_standins.cultural_bench(tmp_path / "hub")
    task = translate(TASK["cultural_bench"], "ja", tmp_path / "translations", repository)
    easy = hub_pairs("cultural_bench", "ja", "en", repository, task=task)
    assert [pair.gold for pair in easy] == [0, 1]
    assert easy[0].labels == ("Soba", "None", "Pizza", "NA")
    assert easy[0].options == (" (A)", " (B)", " (C)", " (D)")
    assert easy[0].source.startswith("質問：問い 0\n(A) 選択 Soba\n")
    assert easy[0].target.startswith("Question: What do people in Japan eat at New Year?\n(A) Soba\n(B) None\n")
    hard = hub_pairs("cultural_bench", "ja", "en", repository, task=replace(task, variant="hard"))
    assert [pair.gold for pair in hard] == [0, 1, 1, 1, 1, 0, 1, 1]
    assert [pair.meta["question_idx"] for pair in hard] == ["0"] * 4 + ["1"] * 4
    assert "Proposed answer: Soba\nIs this answer right?\n(A) Yes\n(B) No\nAnswer:" in hard[0].target
    assert "答えの候補：選択 Soba\n" in hard[0].source
    shuffled = hub_pairs("cultural_bench", "ja", "en", repository, task=replace(task, variant="hard"), seed=3)
    assert [pair.meta["question_idx"] for pair in shuffled] in (["0"] * 4 + ["1"] * 4, ["1"] * 4 + ["0"] * 4)
    with pytest.raises(InputError, match="unknown variant 'medium'; valid: easy, hard"):
        hub_pairs("cultural_bench", "en", "en", repository, task=replace(task, variant="medium"))
    with pytest.raises(InputError, match="has no question for the countries of 'de'"):
        hub_pairs("cultural_bench", "de", "en", repository, task=replace(task, translations=make_empty(tmp_path)))
    with pytest.raises(InputError, match="has no en->ja: each language has its own questions"):
        hub_pairs("cultural_bench", "en", "ja", repository)


def make_empty(folder):
    (folder / "de.jsonl").write_text('{"id": "x", "question": "?", "options": ["a"]}\n')
    return folder


def test_a_hard_question_with_no_right_option_is_an_error(tmp_path):
    path = hub_standins.cultural_bench(tmp_path) / "CulturalBench-Hard.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("True", "False"), encoding="utf-8")
    releases.write(tmp_path / "es.jsonl", [{"id": "2", "question": "?", "options": list("abcd")}])
    task = replace(TASK["cultural_bench"], variant="hard", translations=tmp_path)
    with pytest.raises(InputError, match="question 2 has 0 right options, expected 1"):
        hub_pairs("cultural_bench", "es", "en", tmp_path, task=task)


def test_the_sample_of_a_hub_benchmark_is_fifty_drawn_for_everybody_and_unseen_is_the_rest(tmp_path):
    hub_standins.xnli(tmp_path, ("en", "de", "zh"), n=120)
    parts = {}
    for split in ("sample", "unseen", "all"):
        for target in ("de", "zh"):
            pairs = TASK["xnli"].pairs("en", target, folder=tmp_path, origin="hub", split=split, seed=None)
            parts[split, target] = [pair.id for pair in pairs]
    assert parts["sample", "de"] == parts["sample", "zh"]
    assert len(parts["sample", "de"]) == 50
    assert sorted(parts["sample", "de"] + parts["unseen", "de"]) == sorted(parts["all", "de"])
    assert parts["sample", "de"][:3] == ["xnli/test/1", "xnli/test/3", "xnli/test/5"]


def test_a_small_benchmark_has_nothing_unseen_and_says_so(tmp_path):
    hub_standins.xnli(tmp_path, n=50)
    with pytest.raises(
        InputError, match=r"xnli has only 50 questions for en->de: .* none is unseen; give split='sample'"
    ):
        TASK["xnli"].pairs("en", "de", folder=tmp_path, origin="hub", split="unseen")
    repository = hub_standins.cultural_bench(tmp_path / "culture")
    task = translate(TASK["cultural_bench"], "ja", tmp_path / "translations", repository)
    for variant in ("easy", "hard"):
        with pytest.raises(InputError, match="cultural_bench has only 2 questions for ja->en"):
            replace(task, variant=variant).pairs("ja", "en", folder=repository, origin="hub", split="unseen")
    hub_standins.xnli(tmp_path, n=51)
    assert len(TASK["xnli"].pairs("en", "de", folder=tmp_path, origin="hub", split="unseen")) == 1


def test_a_local_copy_may_have_the_layout_of_the_hubs_own_conversion(tmp_path):
    hub_standins.xnli(tmp_path)
    for lang in ("en", "de"):
        (tmp_path / lang / "test").mkdir()
        (tmp_path / lang / "test-00000-of-00001.parquet").rename(tmp_path / lang / "test" / "0000.parquet")
    assert len(hub_pairs("xnli", "en", "de", tmp_path)) == 12


def test_columns_files_and_folders_that_are_not_there_are_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no en/test-00000-of-00001\.parquet and no en/test/0000\.parquet"):
        hub_pairs("xnli", "en", "de", tmp_path)
    with pytest.raises(InputError, match=r"no folder '.*nowhere' with a copy of facebook/xnli"):
        hub_pairs("xnli", "en", "de", tmp_path / "nowhere")
    path = tmp_path / "en" / "test-00000-of-00001.parquet"
    hub_standins.parquet(
        path, [{"premise": "a", "label": 1}], {"premise": hub_standins.TEXT, "label": hub_standins.INT}
    )
    with pytest.raises(InputError, match=r"columns missing: hypothesis; it has premise, label"):
        hub_pairs("xnli", "en", "en", tmp_path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"en/test-00000-of-00001\.parquet cannot be read"):
        hub_pairs("xnli", "en", "en", tmp_path)


@pytest.mark.parametrize(
    ("name", "source", "target", "file"),
    [
        ("xnli", "en", "de", "facebook/xnli en/test-00000-of-00001.parquet"),
        ("xcopa", "en", "it", "cambridgeltl/xcopa translation-it/test-00000-of-00001.parquet"),
        ("xquad", "en", "zh", "google/xquad xquad.en/validation-00000-of-00001.parquet"),
        ("mkqa", "en", "da", "apple/mkqa mkqa/train-00000-of-00001.parquet"),
        ("global_opinion_qa", "en", "en", "Anthropic/llm_global_opinions data/global_opinions.csv"),
        ("cultural_bench", "en", "en", "kellycyy/CulturalBench CulturalBench-Easy.csv"),
    ],
)
def test_without_cache_and_network_the_error_says_what_to_run(monkeypatch, tmp_path, name, source, target, file):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("XTL_DATA", raising=False)
    with pytest.raises(DataError, match=r"not in the local cache and .* cannot be reached") as caught:
        TASK[name].pairs(source, target)
    message = str(caught.value)
    assert f"hf download {file} --repo-type dataset --revision " in message
    assert "give folder=FOLDER" in message
    assert "\n" not in message


def test_a_file_in_the_hubs_cache_is_read_without_network(monkeypatch, tmp_path):
    import huggingface_hub.constants

    from xtl.tasks.xnli import HUB

    snapshot = tmp_path / "datasets--facebook--xnli" / "snapshots" / HUB.revision
    hub_standins.xnli(snapshot)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert len(TASK["xnli"].pairs("en", "de", origin="hub", split="all")) == 12


def test_every_country_of_a_culture_has_a_name_and_a_language_that_the_task_speaks():
    spoken = set(TASK["global_opinion_qa"].languages) | set(TASK["cultural_bench"].languages)
    for name, (language, code) in CULTURES.items():
        assert culture_of(f"{name} (Non-national sample)") == (language, code)
        assert language in spoken
        assert country_name(code, "fil" if language == "tl" else language)


@pytest.mark.parametrize("name", ["global_opinion_qa", "cultural_bench"])
def test_questions_of_no_known_culture_are_refused_before_anything_is_fetched(name, tmp_path):
    with pytest.raises(InputError, match=r"unknown culture 'Japan' .did you mean 'ja'"):
        TASK[name].to_translate("Japan", tmp_path / "ja.jsonl", tmp_path)
    assert not list(tmp_path.iterdir())


WRONG = [("global_opinion_qa", {"min_agreement": "most"}), ("cultural_bench", {"variant": "x"})]


@pytest.mark.parametrize(("name", "change"), WRONG)
def test_what_a_benchmark_is_set_to_is_checked(name, change, tmp_path, untyped):
    with pytest.raises(InputError, match=next(iter(change))):
        replace(TASK[name], **change).to_translate("ja", tmp_path / "ja.jsonl", tmp_path)
